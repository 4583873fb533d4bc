// Package recon is two-party set reconciliation: it finds which items each side
// of a connection lacks, at a cost that follows the differences and not the size
// of the sets. The messages are those of Negentropy version 1 (spec 70).
//
// Start with NewInitiator on the side that asks and Respond on the other. The
// initiator learns both differences; the responder keeps no state at all.
//
//	message  0x61, then ranges in ascending order
//	range    upper bound, mode (varint), payload
//	bound    time (varint: 0 infinity, else 1 + difference to the time of the
//	         bound before), length n (varint, 0 to 32), n bytes of id prefix
//	payload  mode 0 skip: nothing
//	         mode 1 fingerprint: 16 bytes
//	         mode 2 id list: count (varint), count ids of 32 bytes
//	varint   base 128, most significant digit first, high bit on all bytes but
//	         the last, no leading zero digit
//
// A range runs from the upper bound before it (inclusive; the first from time 0
// and the zero id) to its own (exclusive). What follows the last range is skipped.
//
// What is promised, with two honest parties and sets that stand still: when the
// session is done, have and need together are exactly the difference, each id
// once, however small the frames. If a session breaks off, all that it reported
// stands, and a new one finds the rest. The initiator works on the set as it was
// when the session began (a Set is a value, so it keeps its own); the responder
// answers each message from the set that it is given, so an item that arrives
// there under way is found in this session or in the next.
//
// What a hostile party can do: at most MaxMessage bytes in and a frame out,
// MaxRanges range lookups, with one fingerprint for each range of the message and
// one for each range of the answer, all in O(log n), and in the responder never
// more ids copied than one frame holds. An initiator ends after
// MaxRounds messages, holds at most MaxOpen open ranges, and walks each of its
// own items at most once per session.
//
// BUG: a party may lie: claim ids that do not exist, or fall silent about what it
// holds. Only asking other parties helps.
//
// BUG: the fingerprint adds ids, which Negentropy prescribes. Whoever can
// publish many items of his own choice can search for two groups of them with
// equal sums, deliver one group to each of two members and so hide a further
// item in the same range from both, as long as these two ask nobody else and
// their sets stay as they are. The project answers with hints, several partners
// and short sessions, not with a different sum.
package recon

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
)

const (
	// Version is the first byte of each message (spec 70 section 2).
	Version = 0x61
	// IDSize is the length of an id in bytes.
	IDSize = 32
	// FingerprintSize is the length of a fingerprint in bytes (spec 70 section 3).
	FingerprintSize = 16

	// MaxTime is the largest time of an item; the value above it means infinity.
	MaxTime = math.MaxUint64 - 1
	// MaxMessage is the size in bytes above which a message is refused.
	MaxMessage = 64 << 10
	// MaxRanges is the most ranges in a message. An honest message has at most
	// two for each fingerprint that fits into the message it answers.
	MaxRanges = 8192

	// DefaultFrame is the size in bytes that a party keeps its own messages to.
	DefaultFrame = 60 << 10
	// MinFrame is the smallest frame size that a party may choose. Any one
	// range can be answered in it, so each message brings the session forward.
	MinFrame = 4096

	// MaxRounds is the most messages that an initiator sends in a session.
	MaxRounds = 1024
	// MaxOpen is the most ranges that an initiator keeps for later messages.
	MaxOpen = 1 << 16
)

// ErrPeer is wrapped by each error that the other party alone can have caused:
// a message that is not of the form of spec 70, or an answer to a question that
// was not asked. The session is over and the party at fault.
var ErrPeer = errors.New("reconciliation message refused")

// ErrSessionLimit says that a session reached MaxRounds or MaxOpen. What it
// found is good; after acting on it, a new session finds the rest.
var ErrSessionLimit = errors.New("reconciliation session is at its limit")

// ID names an item; all of its 32 bytes count. It is an alias because the ids
// reconciled are the caller's, of several types.
type ID = [IDSize]byte

// Item is one element of a set. Items are ordered by Time, then by ID.
type Item struct {
	// Time places the item; the project uses days (unix time / 86,400). Both
	// parties must give an id the same one, so it has to follow from the item
	// itself or from its mailbox, never from when it arrived: the same id under
	// two times is two items here, and is reported as have and as need for ever.
	Time uint64
	// ID is the item's id. Ids are assumed to be spread evenly (SHA-256); other
	// ids are still reconciled correctly.
	ID ID
}

// Compare orders items: negative if a comes before b, 0 if they are equal.
func (a Item) Compare(b Item) int {
	if c := cmp.Compare(a.Time, b.Time); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

func peerError(format string, a ...any) error {
	return fmt.Errorf("%w: %w", ErrPeer, fmt.Errorf(format, a...))
}

// frameLimit applies the default to size and checks it.
func frameLimit(size int) (int, error) {
	if size == 0 {
		return DefaultFrame, nil
	}
	if size < MinFrame || size > MaxMessage {
		return 0, fmt.Errorf("frame size %d is not between %d and %d", size, MinFrame, MaxMessage)
	}
	return size, nil
}
