package engine

import (
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file chooses the epoch to send in among those that are held.

// chooseSending picks the epoch to send in: among those that can be opened and
// pass the rules of group keys section 4.3 one of an organiser, then the highest
// generation, then the smallest id. With none, messages wait.
func (e *Engine) chooseSending() (bool, error) {
	if e.chosen == e.version {
		return false, nil
	}
	e.chosen = e.version
	var best *epochState
	for _, s := range e.byGen {
		if !e.mayServe(s) || !e.counts(s) || !e.covers(s) || !e.justified(s) || !e.isExact(s) {
			continue
		}
		if best == nil || s.goesBefore(best) {
			best = s
		}
	}
	var id protocol.EpochID
	if best != nil {
		id = best.header.ID()
	}
	if id == e.sending {
		return false, nil
	}
	before := e.sending
	e.sending = id
	if best == nil {
		e.gateStale = true
		return true, nil
	}
	e.lastOps = id
	e.put(tableMeta, keySending, id[:], 0)
	e.noteAbandoned()
	e.gateStale = true
	e.dropIdleWants() // who held it may be shut out now
	e.repair.pass = true
	if before != (protocol.EpochID{}) || len(e.peers) > 0 {
		e.moveLinks()
	}
	if e.frozen {
		return true, nil
	}
	if err := e.repeatIn(best); err != nil {
		return false, err
	}
	if err := e.bridge(best); err != nil {
		return false, err
	}
	// Newer keys may have been told in an older epoch, before this one was known here.
	return true, e.sealNewer(best, best, e.self.deviceID)
}

// mayServe says whether an epoch can be opened and its issuer had, and kept, the
// right to issue it.
func (e *Engine) mayServe(s *epochState) bool {
	return s.accepted && s.keys != nil && e.standsNow(s)
}

// standsNow says whether neither an organiser rejected the epoch nor its issuer
// lost the right to issue it.
func (e *Engine) standsNow(s *epochState) bool {
	c := &s.header.Core
	return !e.log.Resolve().Rejected(s.header.ID()) && !e.log.EpochVoid(group.IssuedEpoch{
		ID: s.header.ID(), Issuer: c.Issuer, Device: s.header.Device, ByAuthor: c.ByAuthor(), GovHeads: c.GovHeads,
		In: func(head protocol.EpochID) bool { return e.descends(head, s.header.ID()) },
	})
}

// descends says whether an epoch is another one or comes after it, as far as
// the headers are held.
func (e *Engine) descends(from, to protocol.EpochID) bool {
	seen := map[protocol.EpochID]bool{}
	for queue := []protocol.EpochID{from}; len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if id == to {
			return true
		}
		if s := e.epochs[id]; s != nil && !seen[id] {
			seen[id] = true
			queue = append(queue, s.header.Core.Parents...)
		}
	}
	return false
}

// covers says whether nobody who is out by now was to be boxed in the epoch, or can
// have been handed it. Of an epoch whose operations are not held this device cannot
// tell, so it is not.
func (e *Engine) covers(s *epochState) bool {
	out, ok := e.log.Uncovered(s.header.Core.GovHeads)
	return ok && len(out) == 0 && len(e.wasBack(s)) == 0
}

// isExact audits the boxes of a small group's epoch once its keys are known:
// every effective device of who is not suspended once, and nobody else.
func (e *Engine) isExact(s *epochState) bool {
	if s.exact {
		return true
	}
	if !s.header.Core.Inline() {
		roster, ok := e.log.At(s.header.Core.GovHeads)
		return ok && !needlesslyPaged(s, roster)
	}
	if s.audited == e.version {
		return false
	}
	s.audited = e.version
	roster, ok := e.log.At(s.header.Core.GovHeads)
	if !ok {
		return false
	}
	found, err := s.header.Audit(s.keys, e.expected(roster))
	if err != nil || !found.Exact() {
		return false
	}
	s.exact = true
	e.putEpoch(s)
	return true
}

// needlesslyPaged says whether an epoch of a small group has its boxes apart, where
// readers could not audit them: nobody has so many to box.
func needlesslyPaged(s *epochState, then *group.Roster) bool {
	return !s.header.Core.Inline() && len(then.Boxed()) <= protocol.SmallGroup
}

// superseded says that somebody was to be boxed in the epoch who is out by now.
func (e *Engine) superseded(id protocol.EpochID) bool {
	s := e.epochs[id]
	return s == nil || !e.covers(s)
}
