package group

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// OpKind says what an operation does (spec 40 section 4).
type OpKind uint8

// Kinds of operations. Numbers are part of the wire format. All others are
// nodes of the graph without effect.
const (
	KindMerge        OpKind = 0
	KindProposal     OpKind = 1
	KindVote         OpKind = 2
	KindRecoveryVote OpKind = 3
	KindSuspend      OpKind = 4
	KindAddMember    OpKind = 5
	KindRemoveMember OpKind = 6
	KindGrantAuthor  OpKind = 7
	KindRevokeAuthor OpKind = 8
	KindRemoveDevice OpKind = 9
	KindRejectEpoch  OpKind = 10
	KindLeave        OpKind = 11
	KindAddDevice    OpKind = 12
)

// MaxCutoffs is how many devices of the target one removal may name.
const MaxCutoffs = 16

// tolerant says of which kinds a fault in the payload leaves a node without
// effect, where other kinds are refused: devices that could not read the kind
// have built on such nodes.
func (k OpKind) tolerant() bool {
	return k >= KindProposal && k <= KindSuspend || k >= KindRejectEpoch
}

// Cutoff is the last message of a device that a remover had seen: what comes
// after it in the device's chain, or beside it, does not count as said before
// the removal. Seq 0 with a zero Content says that none had been seen.
type Cutoff struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	Seq     uint64             // dev_seq of the message
	Content protocol.ContentID // its content id
}

// Payload is what an operation does: Merge, Proposal, Vote, RecoveryVote,
// Suspend, AddMember, RemoveMember, GrantAuthor, RevokeAuthor, RemoveDevice,
// RejectEpoch, Leave or AddDevice.
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

// Suspend stops one organiser at once: what its author had not seen of the
// target has no effect until a quorum reinstates the target.
type Suspend struct {
	_        struct{} `cbor:",toarray"`
	Target   identity.MemberID
	Cutoffs  []Cutoff // sorted by device, at most MaxCutoffs
	Evidence [][]byte // none, or two encoded frames of one device and one seq
}

// RejectEpoch takes an epoch out of the choice of the sending epoch.
type RejectEpoch struct {
	_      struct{} `cbor:",toarray"`
	Epoch  protocol.EpochID
	Reason Rejection
}

// Rejection says why an organiser's device rejects an epoch. Shown only.
type Rejection uint8

// Reasons to reject an epoch.
const (
	RejectStranger Rejection = 1 // a box for nobody in the group
	RejectMissing  Rejection = 2 // a device of the group has no box
	RejectSecret   Rejection = 3 // the organisers' secret does not confirm it
	RejectPerson   Rejection = 4 // a person decided so
)

// Leave ends the signer's own membership with all its devices.
type Leave struct {
	_       struct{} `cbor:",toarray"`
	Cutoffs []Cutoff // sorted by device, at most MaxCutoffs
}

// AddDevice adds a further device of the signing member.
type AddDevice struct {
	_          struct{}        `cbor:",toarray"`
	Cert       []byte          // encoded identity.DeviceCert of this group and of the signing member
	KeyPackage protocol.ItemID // item id of the KeyPackage frame
}

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

// Kind returns KindSuspend.
func (Suspend) Kind() OpKind { return KindSuspend }

// Kind returns KindRejectEpoch.
func (RejectEpoch) Kind() OpKind { return KindRejectEpoch }

// Kind returns KindLeave.
func (Leave) Kind() OpKind { return KindLeave }

// Kind returns KindAddDevice.
func (AddDevice) Kind() OpKind { return KindAddDevice }

func (p Suspend) marshal() []byte      { return wire.Marshal(p) }
func (p RejectEpoch) marshal() []byte  { return wire.Marshal(p) }
func (p Leave) marshal() []byte        { return wire.Marshal(p) }
func (p AddDevice) marshal() []byte    { return wire.Marshal(p) }
func (Merge) marshal() []byte          { return []byte{} }
func (p AddMember) marshal() []byte    { return wire.Marshal(p) }
func (p RemoveMember) marshal() []byte { return wire.Marshal(p) }
func (p GrantAuthor) marshal() []byte  { return wire.Marshal(p) }
func (p RevokeAuthor) marshal() []byte { return wire.Marshal(p) }
func (p RemoveDevice) marshal() []byte { return wire.Marshal(p) }

var errPayload = errors.New("payload out of its bounds")
