package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// This file puts headers where their issuers could not put them (spec 46 section 2).
// Whoever holds an epoch and its header seals the same envelope, so nobody waits.

// bridge puts a header under those parents which its issuer could not open, and the
// operations without which nobody could judge it: whoever has nothing else finds them
// there. All who can do so seal the same.
func (e *Engine) bridge(s *epochState) error {
	day := protocol.DayOf(s.header.Core.CreatedAt)
	for _, p := range e.parentsOf(s) {
		if p.keys == nil || e.given(p, s.header.Device) || !p.accepted || day < firstDay(p) || day > p.openTo {
			continue
		}
		ops, err := e.log.Between(p.header.Core.GovHeads, s.header.Core.GovHeads)
		if err != nil {
			return err
		}
		for _, f := range ops[:min(len(ops), maxRepeated)] {
			if err := e.sealFrame(p.header.ID(), day, f, 0); err != nil {
				return err
			}
		}
		if err := e.putHeader(p, s); err != nil {
			return err
		}
	}
	return nil
}

// bridgeGaps tells organisers' devices of epochs that they were not given, and whose
// parents they were not given either: the headers lie where they cannot look. They
// have to follow the newest (see passedBy). A header goes under the newest epoch that
// the device was given, the newest 8 for each device.
func (e *Engine) bridgeGaps() (bool, error) {
	if e.bridged == e.version || e.frozen {
		return false, nil
	}
	e.bridged = e.version
	used := e.epochs[e.sending]
	for _, d := range e.log.Resolve().Operators() {
		if d == e.self.deviceID || used != nil && e.given(used, d) {
			continue
		}
		old := e.newestGiven(d, nil)
		if old == nil {
			continue
		}
		n := 0
		for _, s := range slices.Backward(e.byGen) {
			if n == maxBetween || s.header.Core.Gen < old.header.Core.Gen {
				break
			}
			if s == old || !s.accepted || !e.sound(s) || e.finds(d, s) {
				continue
			}
			n++
			if err := e.putHeader(old, s); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// finds says whether a device was given an epoch or one of its parents.
func (e *Engine) finds(d identity.DeviceID, s *epochState) bool {
	return e.given(s, d) || slices.ContainsFunc(e.parentsOf(s), func(p *epochState) bool { return e.given(p, d) })
}

// putHeader seals a header into the common mailbox of another epoch, of the day on
// which the epoch was made, unless it is there.
func (e *Engine) putHeader(in, s *epochState) error {
	day := protocol.DayOf(s.header.Core.CreatedAt)
	if day < firstDay(in) || day > in.openTo || e.held.hasItem(in.header.ID(), protocol.ItemID(s.header.ID()), true) {
		return nil
	}
	f, err := protocol.ParseFrame(s.frame)
	if err != nil {
		return err
	}
	return e.sealFrame(in.header.ID(), day, f, 0)
}
