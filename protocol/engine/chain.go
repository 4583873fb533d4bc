package engine

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// chainLink is one message of a device's chain: what it was and what it follows.
type chainLink struct {
	id, prev protocol.ContentID
	knows    bool     // its author knew that this device's member is in the group
	at       slot     // of the key that it was sealed under
	frame    [16]byte // first half of the item id of its frame; zero: it came as an original
}

// slot names a message key of one device: the first half of its epoch's id, and
// the number of the key.
type slot struct {
	epoch      [16]byte
	generation uint32
}

func slotOf(id protocol.EpochID, generation uint32) slot {
	return slot{epoch: [16]byte(id[:16]), generation: generation}
}

// chain is what is known of one device's messages, by their number. Gaps below
// the highest number are messages that are missing.
type chain struct {
	first uint64 // the first number that counts; what came before is not ours to have
	links map[uint64]chainLink
	top   uint64
	// since is the lowest number of a message whose author knew this device's
	// member; 0: none is known. What he said before may be sealed under an epoch
	// that this device never had, and is not missed.
	since uint64
	start protocol.ContentID // the last message before first, if there was one
}

// head returns the last message that is known of. A device whose messages never
// came has none; it may be called on a nil chain.
func (c *chain) head() (seq uint64, id protocol.ContentID, ok bool) {
	if c == nil || c.top == 0 {
		return 0, protocol.ContentID{}, false
	}
	if c.top < c.first {
		return c.top, c.start, true
	}
	return c.top, c.links[c.top].id, true
}

func (e *Engine) chainOf(d identity.DeviceID) *chain {
	c := e.chains[d]
	if c == nil {
		c = &chain{first: 1, links: map[uint64]chainLink{}}
		e.chains[d] = c
	}
	return c
}

func (c *chain) add(seq uint64, l chainLink) {
	c.links[seq] = l
	c.top = max(c.top, seq)
	if l.knows && (c.since == 0 || seq < c.since) {
		c.since = seq
	}
}

// gap is a run of numbers of messages that are missing, ends included.
type gap struct{ from, to uint64 }

// gaps lists what is missing up to a cut-off (nil: of all), ascending. It takes as long as
// there are messages, whatever numbers somebody gives to his.
func (c *chain) gaps(cut *group.Cutoff) (list []gap) {
	top := c.top
	if cut != nil {
		top = min(top, cut.Seq)
		if cut.Seq > c.top && cut.Seq >= c.first {
			top = cut.Seq // the remover had seen more than we hold
		}
	}
	next := max(c.first, c.since)
	if c.since == 0 || top < next {
		return nil
	}
	for _, seq := range slices.Sorted(maps.Keys(c.links)) {
		if seq < next || seq > top {
			continue
		}
		if seq > next {
			list = append(list, gap{next, seq - 1})
		}
		if seq == top {
			return list
		}
		next = seq + 1
	}
	return append(list, gap{next, top})
}

// maxCounted bounds what counts as missing of one device: a number that somebody made
// up says nothing to people.
const maxCounted = 4_096

// missing counts what the gaps have.
func (c *chain) missing(cut *group.Cutoff) int {
	n := uint64(0)
	for _, g := range c.gaps(cut) {
		if n += min(g.to-g.from, maxCounted) + 1; n >= maxCounted {
			return maxCounted
		}
	}
	return int(n)
}

// before says whether message seq is the cut-off's message or an ancestor of
// it by prev_msg. While links are missing it is not (group keys section 5.4).
func (c *chain) before(seq uint64, id protocol.ContentID, cut group.Cutoff) bool {
	if seq > cut.Seq || cut.Seq == 0 {
		return false
	}
	want := cut.Content
	for at := cut.Seq; ; at-- {
		l, ok := c.links[at]
		if !ok || l.id != want {
			return false
		}
		if at == seq {
			return l.id == id
		}
		want = l.prev
	}
}

// startBefore says whether message seq came before the start of the chain, with
// the cut-off's message at or after that start. The Welcome that told the start is
// then the only word for what the message was.
func (c *chain) startBefore(seq uint64, cut group.Cutoff) bool {
	return c.first > 1 && seq < c.first && cut.Seq >= c.first-1 &&
		(cut.Seq == c.first-1 && cut.Content == c.start || c.before(c.first, c.links[c.first].id, cut) && c.links[c.first].prev == c.start)
}

// storeLink makes one link of a chain durable.
func (e *Engine) storeLink(d identity.DeviceID, seq uint64, l chainLink) {
	e.chainOf(d).add(seq, l)
	if _, cut := e.log.Resolve().Cutoff(d); cut {
		e.rejudge = true // the link may be the one that was missing between others and the cut-off
	}
	e.put(tableLinks, linkKey(d, seq), l.marshal(), 0)
}

// linkSize is the size of a stored link: two content ids, one byte, a slot and half
// of an item id.
const linkSize = 32 + 32 + 1 + 16 + 4 + 16

func (l chainLink) marshal() []byte {
	row := make([]byte, 64, linkSize)
	copy(row, l.id[:])
	copy(row[32:], l.prev[:])
	row = append(row, 0)
	if l.knows {
		row[64] = 1
	}
	row = append(row, l.at.epoch[:]...)
	row = binary.BigEndian.AppendUint32(row, l.at.generation)
	return append(row, l.frame[:]...)
}

// parseLink reads a stored link.
func parseLink(b []byte) (l chainLink, ok bool) {
	if len(b) != linkSize || b[64] > 1 {
		return l, false
	}
	return chainLink{id: protocol.ContentID(b[:32]), prev: protocol.ContentID(b[32:64]), knows: b[64] == 1,
		at: slot{[16]byte(b[65:81]), binary.BigEndian.Uint32(b[81:])}, frame: [16]byte(b[85:])}, true
}

// storeFirst makes the start of a chain durable: a link that stands for all
// that came before it.
func (e *Engine) storeFirst(d identity.DeviceID, last uint64, id protocol.ContentID) {
	c := e.chainOf(d)
	c.first, c.start = last+1, id
	c.top = max(c.top, last)
	e.put(tableLinks, linkKey(d, 0), append(numberKey(last), id[:]...), 0)
}

func linkKey(d identity.DeviceID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(d[:], seq)
}

func (e *Engine) loadLink(key, value []byte) error {
	if len(key) != 24 {
		return errors.New("malformed row of a chain")
	}
	c := e.chainOf(identity.DeviceID(key[:16]))
	seq := binary.BigEndian.Uint64(key[16:])
	if seq == 0 && len(value) == 40 {
		last := binary.BigEndian.Uint64(value)
		c.first, c.top = last+1, max(c.top, last)
		c.start = protocol.ContentID(value[8:])
		return nil
	}
	l, ok := parseLink(value)
	if seq == 0 || !ok {
		return errors.New("malformed row of a chain")
	}
	c.add(seq, l)
	return nil
}
