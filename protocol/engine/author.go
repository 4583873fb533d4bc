package engine

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file lets a small group go on after a removal while no organiser is
// online: whoever may post renews the keys in their place (spec 45 section 4, spec
// 40 section 6.8). Such an epoch does one thing, to leave out who is out, and
// has authority for nothing else.
//
// BUG: who has moved on to other keys meanwhile, apart from the author and with
// every organiser, and erased the old ones, never reads what was sent in such an
// epoch; status counts it as missing. What a member's device that is no organiser's
// hands over is taken from nobody (spec 46).

// Authors wait so long for an organiser to renew the keys, and by chance up to
// authorSpread longer for one another.
var (
	authorWait   = Seconds(60)
	authorSpread = Seconds(240)
)

// maxAuthored bounds the epochs of one author's device that were taken in and that
// count for nothing, at least yet, or that nothing has succeeded.
const maxAuthored = 4

// authors says whether this device may renew the keys in the organisers' place:
// one of somebody who may post in a small group, and no organiser's that acts.
func (e *Engine) authors() bool {
	if e.join != nil || e.frozen || e.authority.alarm || e.organises() {
		return false
	}
	r := e.log.Resolve()
	m, ok := r.MemberOfDevice(e.self.deviceID)
	return ok && m.ID == e.self.memberID && r.MayPost(m.ID) && len(r.Boxed()) <= protocol.SmallGroup
}

// OthersRenew says whether members who do not organise renew the keys where no
// organiser does, a few minutes later.
func (e *Engine) OthersRenew() bool {
	if e.join != nil || e.authority.alarm {
		return false
	}
	r := e.log.Resolve()
	return len(r.Boxed()) <= protocol.SmallGroup && slices.ContainsFunc(r.Members(), func(m group.Member) bool {
		return m.Role != group.Organiser && r.MayPost(m.ID)
	})
}

// authorNeedsEpoch says whether nothing can be sent because of a removal that no
// epoch here covers, and this device could make one that does and is exact. It
// waits to be linked: who is alone may know old keys, and nobody would hear it.
func (e *Engine) authorNeedsEpoch() bool {
	if e.sending != (protocol.EpochID{}) || e.planned.issued == e.log.Len() || !e.linked() || !e.authors() {
		return false
	}
	heads, parents := e.log.Heads(), e.parents()
	for _, p := range parents {
		if !e.log.LeavesOut(heads, p.header.Core.GovHeads) {
			return false
		}
	}
	if len(parents) == 0 {
		return false
	}
	for _, d := range e.log.Resolve().Boxed() {
		if _, ok := e.ring.Newest(d); !ok && !e.ring.Flagged(d) {
			return false // the key of a device is not here yet: it would be left out
		}
	}
	return true
}

// linked says whether another member's device is connected.
func (e *Engine) linked() bool {
	for _, p := range e.peers {
		if p.class != ClassInvite {
			return true
		}
	}
	return false
}

// counts says whether an accepted epoch is more than readable: whether others may
// follow it. Of an author's epoch that asks that it stands and does what an
// author's may.
func (e *Engine) counts(s *epochState) bool {
	if !s.accepted || !s.header.Core.ByAuthor() {
		return s.accepted
	}
	if s.weighed != e.version+1 {
		s.weighed = e.version + 1
		s.author = (s.exact || s.keys != nil) && e.standsNow(s) && e.authorMight(s) && e.isExact(s)
	}
	return s.author
}

// goesBefore says whether an epoch is sent in rather than another one: it is of a
// higher generation, or of the same and has the smaller id. An author's stands in for
// an organiser's only where there is none: its issuer may have known fewer keys.
func (s *epochState) goesBefore(o *epochState) bool {
	if a, b := s.header.Core.ByAuthor(), o.header.Core.ByAuthor(); a != b {
		return b
	}
	if s.header.Core.Gen == o.header.Core.Gen {
		return bytes.Compare(s.id(), o.id()) < 0
	}
	return s.header.Core.Gen > o.header.Core.Gen
}

// authorMight says whether an author's epoch covers a removal that none of its
// parents covers, and keeps the organisers' inbox. What was erased, or came before
// this device, is not asked for.
func (e *Engine) authorMight(s *epochState) bool {
	var parents []*epochState
	for _, id := range s.header.Core.Parents {
		p := e.epochs[id]
		if p == nil {
			continue
		}
		if !e.log.LeavesOut(s.header.Core.GovHeads, p.header.Core.GovHeads) {
			return false
		}
		parents = append(parents, p)
	}
	org, sure := e.inboxOver(parents)
	if sure && len(parents) == len(s.header.Core.Parents) {
		return s.header.KeepsInbox(org) == nil
	}
	named := e.epochs[s.header.InboxEpoch()]
	return named == nil || s.header.KeepsInbox(named.header) == nil
}

// inboxOver is the newest epoch that an organiser issued among some epochs and
// their ancestors, of several of one generation that with the smallest id: an
// author's epoch over them keeps its inbox. Not sure: its header may be erased;
// then an author's epoch may stand for it.
func (e *Engine) inboxOver(parents []*epochState) (best *epoch.Header, sure bool) {
	sure = true
	for _, p := range parents {
		h := p.header
		if org := e.epochs[h.InboxEpoch()]; org != nil {
			h = org.header
		} else {
			sure = false
		}
		if best == nil || h.Core.Gen > best.Core.Gen || h.Core.Gen == best.Core.Gen && slices.Compare(idOf(h), idOf(best)) < 0 {
			best = h
		}
	}
	return best, sure
}

func idOf(h *epoch.Header) []byte {
	id := h.ID()
	return id[:]
}

// authoredRoom says whether another epoch of an author's device is taken in: one
// device must not fill the others' disks, nor make them change keys again and again.
func (e *Engine) authoredRoom(h *epoch.Header) bool {
	n := 0
	succeeded := e.succeeded()
	for id, s := range e.epochs {
		if s.header.Core.ByAuthor() && s.header.Device == h.Device && (!e.counts(s) || !succeeded[id]) {
			n++
		}
	}
	return n < maxAuthored
}
