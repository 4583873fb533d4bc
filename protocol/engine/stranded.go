package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file finds the devices to which this one, an organiser's, has to hand something
// over, and where they look for it (spec 46 section 2).

// newestGiven is the newest epoch here, but one, that a device got; nil: none.
func (e *Engine) newestGiven(d identity.DeviceID, but *epochState) *epochState {
	for _, s := range slices.Backward(e.byGen) {
		if s != but && s.keys != nil && s.accepted && e.given(s, d) {
			return s
		}
	}
	return nil
}

// newestHad is the newest epoch here, but one, that a device not only could be handed,
// as newestGiven says, but was: by a box, with its Welcome, or it wrote there. What is put
// elsewhere for it lies where it does not look.
func (e *Engine) newestHad(d identity.DeviceID, but *epochState) *epochState {
	for _, s := range slices.Backward(e.byGen) {
		if s == but || s.keys == nil || !s.accepted {
			continue
		}
		if then, ok := e.log.At(s.header.Core.GovHeads); ok {
			if _, boxed := slices.BinarySearchFunc(then.Boxed(), d, compareDevices); boxed {
				return s
			}
		}
		welcomed := func(op group.Op) bool { return slices.Contains(op.EpochHeads, s.header.ID()) }
		if s.keys.HasChain(d) || slices.ContainsFunc(e.log.Adds(d), welcomed) {
			return s
		}
	}
	return nil
}

// stranded lists devices of the group that did not get the sending epoch, with an
// older one under which they can be reached, and those that did get it and lack
// what was said under others.
func (e *Engine) stranded() map[identity.DeviceID]*epochState {
	s := e.epochs[e.sending]
	if s == nil || e.asOrganiser() != nil {
		return nil
	}
	out := map[identity.DeviceID]*epochState{}
	for d, lacks := range e.passedOver() {
		if _, ok := e.ring.Newest(d); !ok || e.ring.Flagged(d) {
			continue
		}
		if x := e.repair.asked[d]; slices.ContainsFunc(lacks, func(id protocol.EpochID) bool { return x.lacks[id] }) {
			if old := e.epochs[x.newest]; old != nil && old.keys != nil && old.accepted && e.given(old, d) {
				out[d] = old
			}
			continue
		}
		if !slices.Contains(lacks, e.sending) {
			out[d] = s
			if old := e.newestHad(d, s); old != nil && !e.given(s, d) && !s.keys.HasChain(d) {
				out[d] = old // it was handed the sending epoch, and may not have opened it
			}
		} else if !s.keys.HasChain(d) {
			out[d] = s // with nothing in reach others carry it on from there (passon.go)
			if old := e.newestHad(d, s); old != nil {
				out[d] = old
			}
		}
	}
	for _, d := range e.lackingOnes(s) {
		if _, ok := e.ring.Newest(d); ok && out[d] == nil && !e.ring.Flagged(d) {
			out[d] = s
		}
	}
	return out
}
