package group

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// parsePayload decodes the payload of a known kind; of others it returns nil.
// cert is set for AddMember and AddDevice.
func parsePayload(o *Op, g protocol.GroupID) (p Payload, cert identity.DeviceCert, err error) {
	p, cert, err = parseKnown(o, g)
	if err != nil && o.Kind.tolerant() {
		return nil, identity.DeviceCert{}, nil
	}
	return p, cert, err
}

func parseKnown(o *Op, g protocol.GroupID) (p Payload, cert identity.DeviceCert, err error) {
	b := o.Payload
	switch o.Kind {
	case KindMerge:
		if len(b) != 0 {
			return nil, cert, errPayload
		}
		return Merge{}, cert, nil
	case KindProposal:
		p, err = parseProposal(b)
		return p, cert, err
	case KindVote:
		v, err := decode[Vote](b)
		if v.Seq == 0 || (v.Seq == 1) != (v.Prev == protocol.OpID{}) {
			return nil, cert, errPayload
		}
		return v, cert, err
	case KindRecoveryVote:
		v, err := decode[RecoveryVote](b)
		return v, cert, err
	case KindSuspend:
		s, err := decode[Suspend](b)
		return s, cert, errors.Join(err, checkCutoffs(s.Cutoffs), s.checkEvidence())
	case KindAddMember:
		a, err := decode[AddMember](b)
		if err != nil {
			return nil, cert, err
		}
		cert, err = identity.ParseCert(a.Cert, g)
		return a, cert, err
	case KindRemoveMember:
		r, err := decode[RemoveMember](b)
		return r, cert, errors.Join(err, checkCutoffs(r.Cutoffs))
	case KindGrantAuthor:
		a, err := decode[GrantAuthor](b)
		return a, cert, err
	case KindRevokeAuthor:
		r, err := decode[RevokeAuthor](b)
		return r, cert, errors.Join(err, checkCutoffs(r.Cutoffs))
	case KindRemoveDevice:
		r, err := decode[RemoveDevice](b)
		if err == nil && (r.Seq == 0) != (r.Content == protocol.ContentID{}) {
			err = errPayload
		}
		return r, cert, err
	case KindRejectEpoch:
		r, err := decode[RejectEpoch](b)
		return r, cert, err
	case KindLeave:
		l, err := decode[Leave](b)
		return l, cert, errors.Join(err, checkCutoffs(l.Cutoffs))
	case KindAddDevice:
		a, err := decode[AddDevice](b)
		if err != nil {
			return nil, cert, err
		}
		if cert, err = identity.ParseCert(a.Cert, g); err == nil && cert.Member.ID() != o.Member {
			err = errPayload
		}
		return a, cert, err
	}
	return nil, cert, nil
}

func decode[T any](b []byte) (v T, err error) {
	err = wire.Unmarshal(b, protocol.RoomMedium, &v)
	return v, err
}

// checkCutoffs demands one form: sorted, no repeats, and no entry that says
// what an absent one says.
func checkCutoffs(list []Cutoff) error {
	if len(list) > MaxCutoffs {
		return errPayload
	}
	for i, c := range list {
		if c.Seq == 0 || c.Content == (protocol.ContentID{}) || i > 0 && compareDevices(list[i-1].Device, c.Device) >= 0 {
			return errPayload
		}
	}
	return nil
}

// checkEvidence demands none, or two different operations of one device at one
// seq. Whose signatures they bear is for whoever shows them to check.
func (s Suspend) checkEvidence() error {
	if len(s.Evidence) == 0 {
		return nil
	}
	if len(s.Evidence) != 2 || string(s.Evidence[0]) >= string(s.Evidence[1]) {
		return errPayload
	}
	var at [2]place
	for i, b := range s.Evidence {
		f, err := protocol.ParseFrame(b)
		if err != nil || f.Kind != protocol.KindOp {
			return errPayload
		}
		o, err := decode[Op](f.Body)
		if err != nil {
			return errPayload
		}
		at[i] = place{f.Device, o.Seq}
	}
	if at[0] != at[1] {
		return errPayload
	}
	return nil
}

// deviceList demands one to MaxOperating devices in strictly ascending order.
func deviceList(list []identity.DeviceID) error {
	if len(list) == 0 || len(list) > MaxOperating {
		return errPayload
	}
	for i := range list {
		if i > 0 && compareDevices(list[i-1], list[i]) >= 0 {
			return errPayload
		}
	}
	return nil
}
