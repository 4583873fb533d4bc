package group

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// OpKind says what an operation does (spec 40 section 4).
type OpKind uint8

// Kinds of operations. Numbers are part of the wire format. Those marked
// "carried", and all others, are nodes of the graph without effect.
const (
	KindMerge        OpKind = 0
	KindProposal     OpKind = 1 // carried
	KindVote         OpKind = 2 // carried
	KindRecoveryVote OpKind = 3 // carried
	KindSuspend      OpKind = 4 // carried
	KindAddMember    OpKind = 5
	KindRemoveMember OpKind = 6
	KindGrantAuthor  OpKind = 7
	KindRevokeAuthor OpKind = 8
	KindRemoveDevice OpKind = 9
	KindRejectEpoch  OpKind = 10 // carried
	KindLeave        OpKind = 11 // carried
	KindAddDevice    OpKind = 12 // carried
)

// MaxCutoffs is how many devices of the target one removal may name.
const MaxCutoffs = 16

// Cutoff is the last message of a device that a remover had seen: what comes
// after it in the device's chain, or beside it, does not count as said before
// the removal. Seq 0 with a zero Content says that none had been seen.
type Cutoff struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	Seq     uint64             // dev_seq of the message
	Content protocol.ContentID // its content id
}

// Payload is what an operation of a built kind does: Merge, AddMember,
// RemoveMember, GrantAuthor, RevokeAuthor or RemoveDevice.
type Payload interface {
	Kind() OpKind
	marshal() []byte
}

// Merge joins heads and does nothing else.
type Merge struct{}

// AddMember makes a person a member with one device.
type AddMember struct {
	_          struct{}        `cbor:",toarray"`
	Cert       []byte          // encoded identity.DeviceCert of this group
	KeyPackage protocol.ItemID // item id of the KeyPackage frame
}

// RemoveMember ends a membership with all its devices.
type RemoveMember struct {
	_       struct{} `cbor:",toarray"`
	Target  identity.MemberID
	Cutoffs []Cutoff // sorted by device, at most MaxCutoffs
}

// GrantAuthor lets a member post where the policy asks for authors.
type GrantAuthor struct {
	_      struct{} `cbor:",toarray"`
	Target identity.MemberID
}

// RevokeAuthor ends GrantAuthor.
type RevokeAuthor struct {
	_       struct{} `cbor:",toarray"`
	Target  identity.MemberID
	Cutoffs []Cutoff // sorted by device, at most MaxCutoffs
}

// RemoveDevice takes one device out of the group. Its payload is a Cutoff.
type RemoveDevice Cutoff

// Kind returns KindMerge.
func (Merge) Kind() OpKind { return KindMerge }

// Kind returns KindAddMember.
func (AddMember) Kind() OpKind { return KindAddMember }

// Kind returns KindRemoveMember.
func (RemoveMember) Kind() OpKind { return KindRemoveMember }

// Kind returns KindGrantAuthor.
func (GrantAuthor) Kind() OpKind { return KindGrantAuthor }

// Kind returns KindRevokeAuthor.
func (RevokeAuthor) Kind() OpKind { return KindRevokeAuthor }

// Kind returns KindRemoveDevice.
func (RemoveDevice) Kind() OpKind { return KindRemoveDevice }

func (Merge) marshal() []byte          { return []byte{} }
func (p AddMember) marshal() []byte    { return wire.Marshal(p) }
func (p RemoveMember) marshal() []byte { return wire.Marshal(p) }
func (p GrantAuthor) marshal() []byte  { return wire.Marshal(p) }
func (p RevokeAuthor) marshal() []byte { return wire.Marshal(p) }
func (p RemoveDevice) marshal() []byte { return wire.Marshal(p) }

var errPayload = errors.New("payload out of its bounds")

// parsePayload decodes the payload of a built kind; it returns nil for others,
// whose faults a later version must treat as "no effect", because devices of
// this version have already built on them. cert is set for AddMember.
func parsePayload(kind OpKind, b []byte, g protocol.GroupID) (p Payload, cert identity.DeviceCert, err error) {
	switch kind {
	case KindMerge:
		if len(b) != 0 {
			return nil, cert, errPayload
		}
		return Merge{}, cert, nil
	case KindAddMember:
		var a AddMember
		if err := wire.Unmarshal(b, protocol.RoomMedium, &a); err != nil {
			return nil, cert, err
		}
		cert, err = identity.ParseCert(a.Cert, g)
		return a, cert, err
	case KindRemoveMember:
		var r RemoveMember
		err = wire.Unmarshal(b, protocol.RoomMedium, &r)
		return r, cert, errors.Join(err, checkCutoffs(r.Cutoffs))
	case KindGrantAuthor:
		var a GrantAuthor
		err = wire.Unmarshal(b, protocol.RoomMedium, &a)
		return a, cert, err
	case KindRevokeAuthor:
		var r RevokeAuthor
		err = wire.Unmarshal(b, protocol.RoomMedium, &r)
		return r, cert, errors.Join(err, checkCutoffs(r.Cutoffs))
	case KindRemoveDevice:
		var r RemoveDevice
		if err := wire.Unmarshal(b, protocol.RoomMedium, &r); err != nil {
			return nil, cert, err
		}
		if (r.Seq == 0) != (r.Content == protocol.ContentID{}) {
			return nil, cert, errPayload
		}
		return r, cert, nil
	}
	return nil, cert, nil
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
