package engine

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Peer names one proven connection, as numbered by the shell.
type Peer uint64

// Class is what a connection was proven for (spec 60).
type Class uint8

// Classes of connection.
const (
	ClassMember  Class = 1 // under the sending epoch, or one that nothing covers more than
	ClassCatchUp Class = 2 // under an older one: operations and headers only
	ClassInvite  Class = 3 // under an invite: card, request and the joiner's own rescue mailbox
)

// Input is something that happened: PeerUp, FerryUp, PeerDown, Received, Hinted or
// Tick.
type Input interface{ input() }

// PeerUp says that a connection was proven.
type PeerUp struct {
	Peer    Peer
	Class   Class
	Tag     [32]byte // epoch or invite id of the key that proved it, or address of a rescue mailbox
	Dialled bool     // by this side
	Limit   int      // bytes after which a carrier cuts it, in either direction; 0: it goes through none
}

// PeerDown says that a connection ended.
type PeerDown struct{ Peer Peer }

// Received is one message on a connection's link. The engine keeps Data.
type Received struct {
	Peer Peer
	Data []byte
}

// Hinted is a list of envelope ids that a member announced.
type Hinted struct {
	Peer Peer
	IDs  []protocol.EnvelopeID
}

// Tick says that time has passed: Ready.Wake came, or more.
type Tick struct{}

func (PeerUp) input()   {}
func (PeerDown) input() {}
func (Received) input() {}
func (Hinted) input()   {}
func (Tick) input()     {}

// Ready is what the shell must do now, field by field in this order.
type Ready struct {
	// Persist must be durable before anything below is done and before anybody
	// is told that a command succeeded.
	Persist Batch
	// Gate, if not nil, replaces the keys that connections are proven under. It
	// comes before Send, so that whoever is told of a new epoch can come back
	// under it.
	Gate *Gate
	// Send holds messages for links, in order per link. A link that is gone is
	// passed over: reconciliation brings what was lost.
	Send []Outgoing
	// Announce lists envelopes to hint to all members.
	Announce []protocol.EnvelopeID
	// Deliver tells the person's side what changed. Nothing in it is content.
	Deliver []Event
	// Close lists links to close once Send was handed over.
	Close []Peer
	// Wake is when Step(Tick) is due at the latest; 0: never.
	Wake Time
}

// Empty says that there is nothing to do but wait for Wake.
func (r *Ready) Empty() bool {
	return r.Persist.Empty() && r.Gate == nil && len(r.Send) == 0 && len(r.Announce) == 0 &&
		len(r.Deliver) == 0 && len(r.Close) == 0
}

// Outgoing is one message for one link.
type Outgoing struct {
	Peer Peer
	Data []byte
}

// Gate is the set of keys for the gate below the group's host, and what the
// gate needs to judge a device signature. It is immutable.
type Gate struct {
	Accept  []GateKey
	Dial    []GateKey // at most 7: the newest net keys, some older ones, and rescue keys
	Device  identity.DeviceKey
	Devices map[identity.DeviceID]identity.DevicePublic // whom an older key admits
	// Knocks says that this device is out, and asks for a while whether it still is.
	Knocks bool
}

// GateKey is one key of the gate.
type GateKey struct {
	Secret [32]byte
	Class  Class
	Tag    [32]byte
	// Device, if not zero, is the only device whose signature the key admits.
	Device identity.DeviceID
}

// String hides the key.
func (GateKey) String() string { return "[gate key]" }

// GoString hides the key.
func (GateKey) GoString() string { return "[gate key]" }

// EventKind says what changed.
type EventKind string

// Events.
const (
	EventNotice    EventKind = "notice"  // a notice is new
	EventChanged   EventKind = "changed" // a notice was edited, cancelled or is in conflict
	EventExpired   EventKind = "expired"
	EventMembers   EventKind = "members"   // somebody was added, removed, suspended, or given a role, a device or a name
	EventAuthority EventKind = "authority" // an operation or proposal got, lost or changed its effect: see Changes and Authority
	EventAlarm     EventKind = "alarm"     // an old decision does not hold any more: sending waits for ConfirmAuthority
	EventRequest   EventKind = "request"   // somebody asks to join
	EventJoined    EventKind = "joined"    // this device is in the group
	EventUsedUp    EventKind = "used_up"   // the link that this device joins by lets nobody in any more
	EventRemoved   EventKind = "removed"   // this device's member is no longer in the group
	EventTaken     EventKind = "taken"     // all own messages were taken by somebody
	EventAddresses EventKind = "addresses" // a member can be dialled elsewhere
)

// Event is one change, without content.
type Event struct {
	Kind EventKind
	ID   string // hex of the notice, request, member or operation that it concerns
	Own  bool   // made by this device
}

// erase takes a row out of the batch, and asks for its deletion.
func (b *Batch) erase(t Table, key []byte) {
	b.Puts = slices.DeleteFunc(b.Puts, func(r Record) bool { return r.Table == t && bytes.Equal(r.Key, key) })
	b.Deletes = append(b.Deletes, Ref{Table: t, Key: key})
}

// find returns the row that the batch is about to put, or nil.
func (b *Batch) find(t Table, key []byte) *Record {
	for i := range b.Puts {
		if b.Puts[i].Table == t && bytes.Equal(b.Puts[i].Key, key) {
			return &b.Puts[i]
		}
	}
	return nil
}
