package group

import (
	"errors"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// What NewOp refuses because it would have no effect, or not the one meant.
var (
	ErrManyHeads   = errors.New("too many heads: sign a merge first")
	ErrNotAllowed  = errors.New("this device may not sign that operation")
	ErrOrganiser   = errors.New("that takes the votes of the organisers")
	ErrNotMember   = errors.New("no such member or device in the group")
	ErrMember      = errors.New("already a member")
	ErrKnownDevice = errors.New("this device was in the group before: fresh keys are needed")
	ErrGroupFull   = errors.New("the group has as many members or devices as it can hold")
	ErrDecided     = errors.New("that proposal is not open")
	ErrImpossible  = errors.New("that decision is not possible now")
	ErrSuspended   = errors.New("this organiser is suspended already")
	ErrOneSuspend  = errors.New("an organiser can hold only one other suspended")
	ErrGivenBack   = errors.New("the organisers gave this one back: it takes their votes now")
)

// NewOp signs an operation that builds on all heads of the log, as device d of
// member m. epochHeads are the newest accepted epochs held, at most MaxHeads, in
// any order; createdAt is unix seconds and only shown. The log is not changed:
// give the frame to Add. With more than MaxParents heads it fails with
// ErrManyHeads, and NewMerge comes first.
func (l *Log) NewOp(d identity.DeviceKey, m identity.MemberID, p Payload, epochHeads []protocol.EpochID, createdAt int64) (protocol.Frame, error) {
	if err := l.allowed(d.Public().ID(), m, p); err != nil {
		return protocol.Frame{}, err
	}
	heads := l.Heads()
	if len(heads) > protocol.MaxParents {
		return protocol.Frame{}, ErrManyHeads
	}
	return l.sign(d, m, p, heads, epochHeads, createdAt)
}

// NewMerge signs a Merge of at most MaxParents heads. Each, once added, brings
// the number of heads down by up to 15; repeat until NewOp signs. Any effective
// device may sign one.
func (l *Log) NewMerge(d identity.DeviceKey, m identity.MemberID, epochHeads []protocol.EpochID, createdAt int64) (protocol.Frame, error) {
	if err := l.allowed(d.Public().ID(), m, Merge{}); err != nil {
		return protocol.Frame{}, err
	}
	heads := l.Heads()
	return l.sign(d, m, Merge{}, heads[:min(len(heads), protocol.MaxParents)], epochHeads, createdAt)
}

func (l *Log) sign(d identity.DeviceKey, m identity.MemberID, p Payload, parents []protocol.OpID, epochHeads []protocol.EpochID, createdAt int64) (protocol.Frame, error) {
	o := Op{
		Version: protocol.Version, Kind: p.Kind(), Member: m, Seq: 1, Parents: parents,
		EpochHeads: protocol.SortIDs(slices.Clone(epochHeads)), CreatedAt: createdAt, Payload: p.marshal(),
	}
	if last, ok := l.LastOf(d.Public().ID()); ok {
		o.Seq, o.PrevOwn = l.nodes[l.index[last]].op.Seq+1, last
	}
	f := protocol.SignFrame(l.id, protocol.KindOp, d, wire.Marshal(o))
	_, parsed, err := ParseOp(f, l.id)
	if err != nil {
		return protocol.Frame{}, fmt.Errorf("signing an operation: %w", err)
	}
	if parsed == nil { // out of its bounds, so it would have no effect
		return protocol.Frame{}, ErrImpossible
	}
	return f, nil
}

// LastOf returns the device's operation with the highest seq; of two, that with
// the smaller id. A device that finds its own above what it remembers was
// restored from a copy and must not sign.
func (l *Log) LastOf(d identity.DeviceID) (protocol.OpID, bool) {
	list := l.byPlace[place{d, l.newest[d]}]
	if len(list) == 0 {
		return protocol.OpID{}, false
	}
	best := l.nodes[list[0]].id
	for _, i := range list[1:] {
		if compareOps(l.nodes[i].id, best) < 0 {
			best = l.nodes[i].id
		}
	}
	return best, true
}

// Allows says why NewOp would refuse the payload; nil: it would sign it.
func (l *Log) Allows(d identity.DeviceID, m identity.MemberID, p Payload) error {
	return l.allowed(d, m, p)
}

// allowed says whether the operation would have its effect now.
func (l *Log) allowed(d identity.DeviceID, m identity.MemberID, p Payload) error {
	r := l.Resolve()
	if owner, ok := r.MemberOfDevice(d); !ok || owner.ID != m {
		return ErrNotAllowed
	}
	switch p := p.(type) {
	case Merge, RecoveryVote:
		return nil
	case Proposal:
		return l.allowedProposal(r, d, m, p)
	case Vote:
		return l.allowedVote(r, d, m, p)
	case Suspend:
		return l.allowedSuspend(r, d, m, p)
	case RejectEpoch:
		if !r.IsOrganiser(d) {
			return ErrNotAllowed
		}
		return nil
	case Leave:
		if r.resolver.auth.organises(m) {
			return ErrOrganiser
		}
		return nil
	case AddDevice:
		return l.allowedAddDevice(r, m, p)
	case RemoveDevice:
		return l.allowedDrop(r, d, m, p.Device)
	case AddMember:
		if !r.IsOrganiser(d) {
			return ErrNotAllowed
		}
		return l.allowedAdd(r, p)
	case RemoveMember:
		return allowedOn(r, d, p.Target, true)
	case GrantAuthor:
		return allowedOn(r, d, p.Target, false)
	case RevokeAuthor:
		return allowedOn(r, d, p.Target, false)
	}
	return ErrNotAllowed
}

func (l *Log) allowedAdd(r *Roster, p AddMember) error {
	cert, err := identity.ParseCert(p.Cert, l.id)
	if err != nil {
		return err
	}
	if r.IsMember(cert.Member.ID()) {
		return ErrMember
	}
	// The key updates of a device are one row, counted from its key package: a
	// second package for the same device would make two rows of it.
	if _, known := l.certs[cert.Device.ID()]; known {
		return ErrKnownDevice
	}
	if len(r.list) >= protocol.MaxMembers || r.DeviceCount() >= protocol.MaxDevices {
		return ErrGroupFull
	}
	return nil
}

func (l *Log) allowedDrop(r *Roster, signer identity.DeviceID, m identity.MemberID, target identity.DeviceID) error {
	owner, ok := r.MemberOfDevice(target)
	if !ok {
		return l.allowedStop(r, signer, target)
	}
	if r.resolver.auth.operates(owner.ID, target) {
		return ErrOrganiser
	}
	if !r.IsOrganiser(signer) && owner.ID != m {
		return ErrNotAllowed
	}
	return nil
}

// allowedStop lets an organiser remove a device that is out by its owner's word
// only: it may go on removing the owner's other devices.
func (l *Log) allowedStop(r *Roster, signer, target identity.DeviceID) error {
	owner, ok := r.MemberOfCert(target)
	removed := slices.ContainsFunc(r.resolver.drops[target], func(i int) bool {
		_, decided := l.nodes[i].payload.(Proposal)
		return decided || r.resolver.valid(i)
	})
	if !ok || removed || !r.IsMember(owner) {
		return ErrNotMember
	}
	if !r.IsOrganiser(signer) {
		return ErrNotAllowed
	}
	return nil
}

func allowedOn(r *Roster, signer identity.DeviceID, target identity.MemberID, removal bool) error {
	m, ok := r.Member(target)
	switch {
	case !r.IsOrganiser(signer):
		return ErrNotAllowed
	case !ok:
		return ErrNotMember
	case removal && m.Role == Organiser:
		return ErrOrganiser
	}
	return nil
}
