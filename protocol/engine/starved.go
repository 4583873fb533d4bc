package engine

import (
	"slices"

	"github.com/palabre-app/palabre/protocol"
)

// starvedWait is how long a device waits for what opens an epoch that is for it
// before it asks for the next one.
var starvedWait = Seconds(120)

// pageWait is how long it waits while it is still looking for the page in which
// its box lies: in a large group in which few have a link to an organiser's device
// that takes a while, and one phone must not renew the keys of five hundred.
var pageWait = Seconds(3_600)

// heldWait is how long a device that can send in no epoch waits before it asks
// for the next one: others may send in one that it never heard of. It asks again
// after as long as a heal keeps others from asking.
var heldWait = Seconds(3_600)

// heldDue is when this device asks because it has waited for an epoch to send in;
// 0: it does not. It notes since when it waits.
func (e *Engine) heldDue() Time {
	r := &e.rejects
	switch {
	case e.sending != (protocol.EpochID{}) || e.frozen || e.lastOps == (protocol.EpochID{}) || !e.isBoxed():
		r.heldAt = 0
	case r.heldAt == 0:
		r.heldAt = e.now + heldWait
	}
	return r.heldAt
}

// isBoxed says whether new epochs have a box for this device.
func (e *Engine) isBoxed() bool {
	_, boxed := slices.BinarySearchFunc(e.log.Resolve().Boxed(), e.self.deviceID, compareDevices)
	return boxed
}

// starved finds an epoch in which the others may send and in which this device was
// to have a box, and has none that opens: the issuer sealed rubbish, or to a key
// that is long erased. No audit of others sees that (spec 46 section 10).
func (e *Engine) starved() *epochState {
	if e.frozen || e.lastOps == (protocol.EpochID{}) {
		return nil
	}
	used := e.epochs[e.sending]
	for _, s := range slices.Backward(e.byGen) {
		id := s.header.ID()
		if used != nil && used.goesBefore(s) {
			continue // nobody who has the one in which this device sends prefers it
		}
		if !s.accepted || s.keys != nil || s.erased || s.healed || s.covered != 0 || !e.standsNow(s) || !e.covers(s) || !e.justified(s) ||
			e.descends(e.sending, id) {
			continue
		}
		roster, ok := e.log.At(s.header.Core.GovHeads)
		if !ok {
			continue
		}
		if _, boxed := slices.BinarySearchFunc(roster.Boxed(), e.self.deviceID, compareDevices); boxed {
			return s
		}
	}
	return nil
}

// starvedDue is when this device asks for the next epoch because it cannot open
// one; 0: it does not.
func (e *Engine) starvedDue() Time {
	r := &e.rejects
	if r.starvedAt != e.version {
		r.starvedAt, r.starved = e.version, e.starved()
	}
	if r.starved == nil {
		return 0
	}
	if e.lacksOwnPage(r.starved) {
		return r.starved.arrived + pageWait
	}
	return r.starved.arrived + starvedWait
}

// lacksOwnPage says whether a page is not held in which a box for this device may
// be.
func (e *Engine) lacksOwnPage(s *epochState) bool {
	return s.header.Pages() > 0 && slices.ContainsFunc(e.private, func(k kemKey) bool {
		if k.gone {
			return false
		}
		pub := k.kem.Public()
		return !e.pages.held[pageKey{s.header.ID(), s.header.PageOf(&pub)}]
	})
}

// askIfStarved makes rekeyIfDue ask for the next epoch, once for each that does
// not open.
func (e *Engine) askIfStarved() (bool, error) {
	if at := e.heldDue(); at != 0 && e.now >= at {
		e.rejects.heldAt = e.now + days(1)
		e.planned.heal = true
		return true, e.request(protocol.EpochID{})
	}
	if at := e.starvedDue(); at == 0 || e.now < at {
		return false, nil
	}
	lost := e.rejects.starved
	lost.healed = true
	e.rejects.starved = nil
	e.planned.heal = true
	e.version++ // perhaps there is another one
	return true, e.request(lost.header.ID())
}

// depositForStarved puts a header where devices are that asked for it from an
// epoch that is none of its parents: they may have nothing else that opens. With
// it go the operations since.
func (e *Engine) depositForStarved(s *epochState, parents []*epochState) error {
	for _, old := range e.keptEpochs() {
		if old == s || slices.Contains(parents, old) || !old.accepted {
			continue
		}
		asked := slices.ContainsFunc(s.header.Core.Heals, func(h protocol.ItemID) bool {
			return e.held.hasItem(old.header.ID(), h, false)
		})
		if !asked {
			continue
		}
		if err := e.depositHeader(old, s); err != nil {
			return err
		}
		if err := e.sealOps(old); err != nil {
			return err
		}
		if err := e.sealKeys(s); err != nil {
			return err // those told in the epoch that does not open
		}
	}
	return nil
}
