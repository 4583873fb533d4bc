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

// This file finds devices that said two things in one place of their chain of messages:
// they were copied, or tell different people different things (spec 45 section 3).
// Whoever holds both messages sees it by itself, so nothing is sent about it.

// link takes a message into its device's chain.
func (e *Engine) link(o protocol.Original, c protocol.Content, id protocol.ContentID, frame [16]byte) {
	l := chainLink{id: id, prev: c.PrevMsg, knows: e.knownBy(c.GovHeads), at: slotOf(o.Epoch, o.Generation), frame: frame}
	if old, ok := e.chainOf(o.Device).links[c.DevSeq]; ok && frame == ([16]byte{}) {
		l.at, l.frame = old.at, old.frame // an original does not say in which frame it came
	}
	e.storeLink(o.Device, c.DevSeq, l)
	if e.chains[o.Device].forks(c.DevSeq) {
		e.noteTwice(o.Device, protocol.DayOf(c.CreatedAt))
	}
}

// forks says whether a message does not follow the one before it, or the one after
// it does not follow it, as far as they are held. What a Welcome says of the start of
// a chain is nothing that the device has signed, and proves nothing.
func (c *chain) forks(seq uint64) bool {
	l := c.links[seq]
	before, ok := c.links[seq-1]
	if ok && before.id != l.prev {
		return true
	}
	after, ok := c.links[seq+1]
	return ok && after.prev != l.id
}

// sealedTwice judges a message whose key is used up: if the key was used for another
// frame, the device sealed two under it. What the second says can be read by those
// alone who did not get the first.
func (e *Engine) sealedTwice(f protocol.Frame, n *entry) protocol.Verdict {
	generation, err := e.epochs[n.epoch].keys.Generation(e.id, f)
	c := e.chains[f.Device]
	if err != nil || c == nil {
		return protocol.Ignore
	}
	at := slotOf(n.epoch, generation)
	for _, l := range c.links {
		if l.at == at && l.frame != ([16]byte{}) && l.frame != n.item {
			return e.carryTwin(f.Device, n)
		}
	}
	return protocol.Ignore
}

// carryTwin notes that a device said two things, and keeps and carries the second
// one, as long as a message is: all are to hold both. One a day is enough.
func (e *Engine) carryTwin(d identity.DeviceID, n *entry) protocol.Verdict {
	if !e.noteTwice(d, n.day) {
		return protocol.Ignore
	}
	n.shred = n.day + protocol.MaxNoticeSeconds/protocol.DaySeconds
	return protocol.Accept
}

// noteTwice notes that a device said two things on a day. False: it is known for that
// day or a later one, or is this device, of which checkOwn has to tell.
func (e *Engine) noteTwice(d identity.DeviceID, day protocol.Day) bool {
	day = min(day, e.now.Day()+2)
	if known, ok := e.twice[d]; ok && known >= day || d == e.self.deviceID {
		return false
	}
	e.twice[d] = day
	e.put(tableTwice, d[:], binary.BigEndian.AppendUint32(nil, day), 0)
	e.authority.judged = nil // an organiser's device may have to be stopped
	if m, ok := e.log.Resolve().MemberOfCert(d); ok {
		e.deliver(Event{Kind: EventMembers, ID: m.String()})
	}
	return true
}

func (e *Engine) loadTwice(key, value []byte) error {
	if len(key) != 16 || len(value) != 4 {
		return errors.New("malformed row of a device that said two things")
	}
	e.twice[identity.DeviceID(key)] = binary.BigEndian.Uint32(value)
	return nil
}

// saidTwice finds an organiser whose device said two things and who is to be suspended
// for it: not if the organisers gave it back since that day.
func (e *Engine) saidTwice() (identity.MemberID, bool) {
	r := e.log.Resolve()
	for _, d := range slices.SortedFunc(maps.Keys(e.twice), compareDevices) {
		m, ok := r.MemberOfDevice(d)
		if ok && m.ID != e.self.memberID && !m.Suspended && r.Operates(m.ID, d) &&
			!e.givenBackSince(m.ID, int64(e.twice[d])*protocol.DaySeconds) {
			return m.ID, true
		}
	}
	return identity.MemberID{}, false
}

// givenBackSince says whether the organisers gave a member back by a proposal that is
// not dated before a time, in unix seconds.
func (e *Engine) givenBackSince(m identity.MemberID, since int64) bool {
	return slices.ContainsFunc(e.log.Resolve().Decisions(), func(d group.Decided) bool {
		x, ok := d.Decision.(group.Reinstate)
		o, _, _ := e.log.Op(d.ID)
		return ok && x.Target == m && o.CreatedAt >= since
	})
}
