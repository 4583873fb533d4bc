package epoch

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Sizes of an epoch (spec 30 section 2).
const (
	BoxesPerPage  = 12    // so that a page frame fills one 16 KiB envelope
	MaxBoxes      = 1_008 // of an epoch, padding included
	boxCiphertext = SealOverhead + 64
	maxCore       = 8_192
)

// Core is what an epoch says besides its boxes, in the order in which it is
// encoded. All lists are sorted and without repeats.
type Core struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Suite     uint8
	Random    [32]byte
	Gen       uint32             // 1 + the highest gen of a parent; 0 exactly when there is none
	Parents   []protocol.EpochID // at most MaxEpochParents
	GovHeads  []protocol.OpID    // at most MaxHeads
	Roster    [32]byte           // RosterHash of the devices boxed
	Issuer    identity.MemberID
	Seq       uint64 // of the issuing device's headers, from 1
	CreatedAt int64  // unix seconds
	Boxes     uint16 // 10, 48 or a multiple of 48 up to MaxBoxes
	PageKey   [32]byte
	InboxKey  protocol.KEMPublic
	InboxRead [32]byte
	OrgEpoch  []byte                // empty, or the 32-byte id of the organisers' epoch whose inbox an author's epoch keeps
	Lanes     []protocol.LanePublic // at most MaxLanes
	Heals     []protocol.ItemID     // KeyUpdates, at most MaxHeals
}

// ByAuthor says that the epoch was issued without the organisers' secret.
func (c *Core) ByAuthor() bool { return len(c.OrgEpoch) != 0 }

// Inline says that all boxes travel in the header.
func (c *Core) Inline() bool { return c.Boxes <= protocol.SmallGroup }

func (c *Core) pages() int { return (int(c.Boxes) + BoxesPerPage - 1) / BoxesPerPage }

func (c *Core) check() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrHeader, what) }
	switch {
	case c.Version != protocol.Version:
		return bad("unknown version")
	case c.Suite != protocol.Suite:
		return bad("unknown cipher suite")
	case len(c.Parents) > protocol.MaxEpochParents || len(c.GovHeads) > protocol.MaxHeads ||
		len(c.Lanes) > protocol.MaxLanes || len(c.Heals) > protocol.MaxHeals:
		return bad("a list is too long")
	case !protocol.SortedIDs(c.Parents) || !protocol.SortedIDs(c.GovHeads) ||
		!protocol.SortedIDs(c.Lanes) || !protocol.SortedIDs(c.Heals):
		return bad("a list is not in order")
	case (c.Gen == 0) != (len(c.Parents) == 0):
		return bad("generation and parents contradict each other")
	case c.Seq == 0 || c.CreatedAt < 0:
		return bad("sequence number or time out of range")
	case !validBoxes(int(c.Boxes)):
		return bad("wrong number of boxes")
	case len(c.OrgEpoch) != 0 && len(c.OrgEpoch) != 32:
		return bad("wrong length of the organisers' epoch")
	case c.ByAuthor() && (c.Gen == 0 || !c.Inline()):
		return bad("an author cannot issue such an epoch")
	case CheckKEMPublic(&c.InboxKey) != nil:
		return bad("inbox key")
	}
	return nil
}

func validBoxes(n int) bool {
	return n == 10 || (n > 0 && n%protocol.SmallGroup == 0 && n <= MaxBoxes)
}

// paddedBoxes is the number of boxes that hides n recipients.
func paddedBoxes(n int) int {
	if n <= 10 {
		return 10
	}
	return (n + protocol.SmallGroup - 1) / protocol.SmallGroup * protocol.SmallGroup
}

// Boxed names one device and the KEM key to which its box is sealed.
type Boxed struct {
	Member identity.MemberID
	Device identity.DeviceID
	Key    protocol.KEMRef
}

// RosterHash is Ref("Roster", CBOR list of [member, device, Ref("KemKey", key)])
// sorted by member, then device, then key; what a header says of its recipients.
func RosterHash(boxed []Boxed) [32]byte {
	rows := make([]rosterRow, len(boxed))
	for i, b := range boxed {
		rows[i] = rosterRow{Member: b.Member, Device: b.Device, Key: b.Key}
	}
	slices.SortFunc(rows, func(a, b rosterRow) int {
		if c := bytes.Compare(a.Member[:], b.Member[:]); c != 0 {
			return c
		}
		if c := bytes.Compare(a.Device[:], b.Device[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.Key[:], b.Key[:])
	})
	return label.Ref(label.Roster, wire.Marshal(rows))
}

type rosterRow struct {
	_      struct{} `cbor:",toarray"`
	Member identity.MemberID
	Device identity.DeviceID
	Key    [32]byte
}
