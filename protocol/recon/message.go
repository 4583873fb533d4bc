package recon

import (
	"errors"
	"fmt"
	"math"
)

// Mode says what a range carries (spec 70 section 2).
type Mode uint8

const (
	// Skip says: nothing more to do in this range.
	Skip Mode = 0
	// Fingerprint carries the digest of all ids of the sender in the range.
	Fingerprint Mode = 1
	// IDList carries all ids of the sender in the range.
	IDList Mode = 2
)

// Bound separates items: those before it and those not before it. In order it
// stands where an item with its time and its id prefix followed by zeros would.
type Bound struct {
	// Time is that of an item, or math.MaxUint64 for infinity.
	Time uint64
	// Prefix holds the first Len bytes of an id; the others are zero.
	Prefix ID
	// Len is the number of bytes of Prefix on the wire, 0 to 32.
	Len int
}

// Infinity returns the bound after all items.
func Infinity() Bound { return Bound{Time: math.MaxUint64} }

// floor returns the least item that is not before b.
func (b Bound) floor() Item { return Item{Time: b.Time, ID: b.Prefix} }

// before reports whether b comes before c. Prefixes that differ by zeros at the
// end only are the same place.
func (b Bound) before(c Bound) bool { return b.floor().Compare(c.floor()) < 0 }

// between returns the shortest bound that is after prev and not after next,
// which must be ordered so.
func between(prev, next Item) Bound {
	b := Bound{Time: next.Time}
	if prev.Time != next.Time {
		return b
	}
	for b.Len < IDSize {
		b.Prefix[b.Len] = next.ID[b.Len]
		b.Len++
		if prev.ID[b.Len-1] != next.ID[b.Len-1] {
			break
		}
	}
	return b
}

// Range is one range of a message: from the upper bound of the range before it
// to Upper.
type Range struct {
	Upper Bound
	Mode  Mode
	// Fingerprint is set in mode Fingerprint only.
	Fingerprint [FingerprintSize]byte
	// IDs is set in mode IDList only, and may be empty there.
	IDs []ID
}

// Message is a parsed message. The version byte is not kept: there is only one.
type Message struct {
	Ranges []Range
}

// sequence holds the rules for the ranges of one message (spec 70 section 4),
// for reading and for writing alike.
type sequence struct {
	last  Bound
	mode  Mode
	count int
}

// accept takes the next range.
func (q *sequence) accept(r *Range) error {
	if q.count == MaxRanges {
		return errors.New("too many ranges")
	}
	b := &r.Upper
	switch {
	case b.Len < 0 || b.Len > IDSize:
		return errors.New("id prefix is too long")
	case b.Time == math.MaxUint64 && b.Len != 0:
		return errors.New("infinity has an id prefix")
	case !q.last.before(*b):
		return errors.New("bounds are not ascending")
	}
	for _, x := range b.Prefix[b.Len:] {
		if x != 0 {
			return errors.New("id prefix is longer than its length")
		}
	}
	switch {
	case r.Mode > IDList:
		return fmt.Errorf("mode %d is unknown", r.Mode)
	case r.Mode != IDList && len(r.IDs) > 0:
		return errors.New("ids outside an id list")
	case r.Mode != Fingerprint && r.Fingerprint != [FingerprintSize]byte{}:
		return errors.New("fingerprint outside its mode")
	case r.Mode == Skip && q.count > 0 && q.mode == Skip:
		return errors.New("two skipped ranges in a row")
	case repeats(r.IDs):
		return errors.New("id list repeats an id")
	}
	q.last, q.mode = *b, r.Mode
	q.count++
	return nil
}

// end says whether the message may end here.
func (q *sequence) end() error {
	if q.count > 0 && q.mode == Skip {
		return errors.New("last range is skipped")
	}
	return nil
}

func repeats(ids []ID) bool {
	if len(ids) < 2 {
		return false
	}
	seen := make(map[ID]struct{}, len(ids))
	for _, id := range ids {
		seen[id] = struct{}{}
	}
	return len(seen) < len(ids)
}
