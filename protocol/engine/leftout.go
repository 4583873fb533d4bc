package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file is about devices for which an epoch has no box because its issuer never
// heard of their keys (spec 46 section 8).

// watchLeftOut tells the keys of devices that an epoch leaves out in it, so that its
// issuer does not leave them out again. If that is this device, which has heard of
// them by now, the epoch does not count any more, and the next one is due.
func (e *Engine) watchLeftOut() (bool, error) {
	if e.left == e.version || e.frozen || !e.log.Resolve().IsMember(e.self.memberID) {
		return false, nil
	}
	e.left = e.version
	did := false
	told := map[identity.MemberID]bool{} // of each issuer's epochs the newest
	for _, s := range slices.Backward(e.byGen) {
		own := s.header.Device == e.self.deviceID
		if s.keys == nil || s.exact && !own || !s.header.Core.Inline() || !e.inPlay(s) || told[s.header.Core.Issuer] {
			continue
		}
		told[s.header.Core.Issuer] = true
		for _, d := range e.leftOut(s) {
			if own {
				if s.exact && e.ring.OldestKept(d) == 0 { // else the box may be for one that is forgotten
					s.exact, did = false, true
					e.planned.issued = 0 // by the same operations, and yet not one like it
					e.version++
					e.putEpoch(s)
				}
				continue
			}
			if e.toldBefore(s, d) {
				continue // its issuer leaves it out knowingly
			}
			for _, f := range e.ring.Frames(d) {
				if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
					return did, err
				}
			}
		}
	}
	return did, nil
}

// toldBefore says whether a key of a device lies in an epoch, or in one before it that
// its issuer holds for sure.
func (e *Engine) toldBefore(s *epochState, d identity.DeviceID) bool {
	frames := e.ring.Frames(d)
	return slices.ContainsFunc(e.ancestors(s), func(a *epochState) bool {
		return e.looksIn(a, s.header.Device) && slices.ContainsFunc(frames, func(f protocol.Frame) bool { return e.held.hasItem(a.header.ID(), f.ID(e.id), false) })
	})
}

// looksIn says whether a device was to have a box in an epoch, or was let in when it was
// the newest. Of those before it a Welcome brings only what covers: who was let in after
// a removal that is undone by now never looked where the keys of that one were told.
func (e *Engine) looksIn(s *epochState, d identity.DeviceID) bool {
	then, ok := e.log.At(s.header.Core.GovHeads)
	return ok && slices.Contains(then.Boxed(), d) ||
		slices.ContainsFunc(e.log.Adds(d), func(op group.Op) bool { return slices.Contains(op.EpochHeads, s.header.ID()) })
}

// leftOut lists the devices that were to have a box in an epoch and have none, though
// keys of theirs are known here.
func (e *Engine) leftOut(s *epochState) (list []identity.DeviceID) {
	roster, ok := e.log.At(s.header.Core.GovHeads)
	if !ok {
		return nil
	}
	for _, d := range roster.Boxed() {
		if refs := e.ring.Refs(d); len(refs) > 0 && !e.ring.Flagged(d) && !slices.ContainsFunc(refs, s.header.Boxes) {
			list = append(list, d)
		}
	}
	return list
}
