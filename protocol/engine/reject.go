package engine

import (
	"errors"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file takes epochs out of use that were not made as they have to be (spec
// 46 section 8): an organiser's device signs a RejectEpoch by itself, once among
// all of them, and renews the keys without the bad epoch.

// keysWait is how long after its arrival an epoch is waited for with boxes that
// the keys held here do not explain, while others are connected: a KeyUpdate may
// be on its way.
var keysWait = Seconds(600)

// auditPause is how long after an audit of pages that found something the next
// one is made: it reads all pages from the disk, and keys come one by one.
var auditPause = Seconds(60)

// lookBy makes this device look again at a time at the latest.
func (r *rejections) lookBy(at Time) {
	if r.look == 0 || at < r.look {
		r.look = at
	}
}

// rejections is what this device means to reject. It is found again after a
// restart; what was signed is in the log.
type rejections struct {
	seen  uint64 // version at which the epochs were looked at last
	touch Time   // lateFrom at that time
	look  Time   // when to look again though nothing changed; 0: not
	due   map[protocol.EpochID]rejection
	// what this device cannot open, as of a version (starved.go); nil: nothing
	starved   *epochState
	starvedAt uint64
	lost      []*epochState // the same, of what it was given (asked.go)
	lostAt    uint64
	heldAt    Time                      // when this device asks because it has nothing to send in; 0: it has
	org       map[protocol.EpochID]bool // epochs whose own box was looked into: whether it is as it has to be
}

type rejection struct {
	at     Time
	reason group.Rejection
}

// next is when the next rejection is due, or the next look. 0: none.
func (r *rejections) next() Time {
	next := r.look
	for _, x := range r.due {
		if next == 0 || x.at < next {
			next = x.at
		}
	}
	return next
}

// rejectIfDue rejects what no honest device makes. Each organiser's device draws
// a wait of up to a minute and drops the plan if another was quicker.
func (e *Engine) rejectIfDue() (bool, error) {
	r := &e.rejects
	if touch := e.lateFrom(); r.seen != e.version || r.touch != touch || r.look != 0 && e.now >= r.look {
		r.seen, r.touch = e.version, touch
		if err := e.planRejections(); err != nil {
			return false, err
		}
	}
	for _, s := range e.byGen {
		id := s.header.ID()
		x, ok := r.due[id]
		if !ok || e.now < x.at {
			continue
		}
		delete(r.due, id)
		if _, err := e.sign(group.RejectEpoch{Epoch: id, Reason: x.reason}); err != nil {
			return false, nil // the right went meanwhile, or there is no room
		}
		e.planned.now = true
		return true, nil
	}
	return false, nil
}

func (e *Engine) planRejections() error {
	r := &e.rejects
	before := r.due
	r.due, r.look = map[protocol.EpochID]rejection{}, 0
	if !e.organises() || e.frozen || e.authority.alarm || !e.canSign() {
		return nil
	}
	for _, s := range e.byGen {
		if !e.mattersNow(s) {
			continue
		}
		reason, sure := e.fault(s)
		if reason == 0 {
			continue
		}
		from := e.now
		if !sure {
			if r.touch == 0 {
				continue // nobody is there who could bring a key
			}
			from = max(from, r.touch, s.arrived+keysWait)
		}
		if from > e.now {
			r.lookBy(from)
			continue
		}
		x, planned := before[s.header.ID()]
		if !planned {
			wait, err := e.randomBelow(int64(issueWait))
			if err != nil {
				return err
			}
			x.at = e.now + Time(wait)
		}
		x.reason = reason
		r.due[s.header.ID()] = x
	}
	return nil
}

// mattersNow says whether an epoch of another device is in play.
func (e *Engine) mattersNow(s *epochState) bool {
	return s.header.Device != e.self.deviceID && e.inPlay(s)
}

// inPlay says whether anybody could send in an epoch, or did, and the group has not
// gone on from it.
func (e *Engine) inPlay(s *epochState) bool {
	id := s.header.ID()
	return s.accepted && !s.erased && e.standsNow(s) && e.justified(s) && (id == e.sending || !e.descends(e.sending, id))
}

// fault finds what is wrong with an epoch by its own gov_heads; 0: nothing that
// can be told. Sure says that no key that is not held here could explain it.
func (e *Engine) fault(s *epochState) (reason group.Rejection, sure bool) {
	roster, ok := e.log.At(s.header.Core.GovHeads)
	if !ok || s.exact && s.header.Pages() > 0 {
		return 0, false
	}
	if needlesslyPaged(s, roster) {
		return group.RejectStranger, true
	}
	if e.now < s.lookAt {
		e.rejects.lookBy(s.lookAt)
		return s.fault, s.sure
	}
	defer s.header.DropPages() // memory holds no boxes that are on disk
	if !e.ownBoxGood(s, roster) {
		return group.RejectSecret, true
	}
	if s.keys == nil || s.exact {
		return 0, false
	}
	if whole, err := e.loadPages(s); err != nil || !whole {
		return 0, false
	}
	reason, sure = e.auditNow(s, roster)
	if s.header.Pages() > 0 {
		s.fault, s.sure, s.lookAt = reason, sure, e.now+auditPause
		if reason == 0 {
			s.exact = true
			e.putEpoch(s)
		}
	}
	return reason, sure
}

// auditNow compares all boxes of an epoch with those for whom they are to be.
func (e *Engine) auditNow(s *epochState, roster *group.Roster) (reason group.Rejection, sure bool) {
	want := e.expected(roster)
	// Whose keys nobody told here is left out by all who did not hear of them: to reject
	// that would have no end. Who has the keys rejects it, and tells them.
	for i := range want {
		want[i].Optional = want[i].Optional || len(want[i].Keys) == 0
	}
	found, err := s.header.Audit(s.keys, want)
	if err != nil || found.Exact() {
		return 0, false
	}
	// A device whose newest key is not held here, or that is in two hands, may be
	// behind one box that nothing explains. More boxes, or fewer, are no accident.
	missing, unmatched := len(found.Missing), len(found.Unmatched)
	maybe := 0
	for _, x := range want {
		if x.Optional {
			maybe++
		}
	}
	switch {
	case unmatched > missing+maybe:
		return group.RejectStranger, true
	case missing > unmatched, slices.Contains(found.Missing, e.self.deviceID):
		return group.RejectMissing, true
	case len(found.Repeated) > 0, missing+unmatched == 0:
		return group.RejectStranger, true // two boxes for one device, or a roster of others
	case missing > 0:
		return group.RejectMissing, false
	}
	return group.RejectStranger, false
}

// ownBoxGood says whether the box that the epoch has for this device gives what
// it has to: the epoch's secret, and to an operating device the organisers'. It
// is looked into while the key for it is held; without a box there is nothing to
// be said here.
func (e *Engine) ownBoxGood(s *epochState, then *group.Roster) bool {
	id := s.header.ID()
	if good, known := e.rejects.org[id]; known {
		return good
	}
	good := true
	for i := range e.private {
		if e.private[i].gone {
			continue
		}
		pub := e.private[i].kem.Public()
		if at := s.header.PageOf(&pub); s.header.Pages() > 0 && (!e.pages.held[pageKey{id, at}] || e.loadPage(s, at) != nil) {
			continue
		}
		_, err := s.header.Open(e.private[i].kem, then.IsOrganiser(e.self.deviceID))
		if errors.Is(err, epoch.ErrNoBox) || errors.Is(err, epoch.ErrPageMissing) {
			continue
		}
		good = err == nil
		if e.rejects.org == nil {
			e.rejects.org = map[protocol.EpochID]bool{}
		}
		e.rejects.org[id] = good
		break
	}
	return good
}

// expected lists whom an epoch over a roster is to be boxed to, with all keys of
// theirs that are held.
func (e *Engine) expected(roster *group.Roster) []epoch.Expected {
	var want []epoch.Expected
	for _, m := range roster.Members() {
		if m.Suspended {
			continue
		}
		for _, d := range m.Devices {
			want = append(want, epoch.Expected{Member: m.ID, Device: d.ID, Keys: e.ring.Refs(d.ID), Optional: e.ring.Flagged(d.ID)})
		}
	}
	return want
}
