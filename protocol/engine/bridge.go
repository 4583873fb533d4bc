package engine

import (
	"errors"
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
	for _, p := range e.parentsOf(s) {
		day := dayIn(p, s)
		if p.keys == nil || e.given(p, s.header.Device) || !p.accepted || day > p.openTo {
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

// dayIn is the day in whose mailbox of an epoch the header of another one lies: that
// on which it was made, or the first that there is.
func dayIn(in, s *epochState) protocol.Day {
	return max(protocol.DayOf(s.header.Core.CreatedAt), firstDay(in))
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

// tellRows has whoever holds epochs of two rows tell those who are in one of the
// newest of the other: parts of the group that did not reach each other for weeks have
// nothing that leads from one to the other. Of each issuer it is one epoch.
func (e *Engine) tellRows() (bool, error) {
	used := e.epochs[e.lastOps]
	if e.rows == e.version || e.frozen || used == nil || used.keys == nil || !e.log.Resolve().IsMember(e.self.memberID) {
		return false, nil
	}
	e.rows = e.version
	line, told := map[protocol.EpochID]bool{}, map[identity.MemberID]bool{}
	for _, a := range e.ancestors(used) {
		line[a.header.ID()] = true
	}
	for _, s := range slices.Backward(e.byGen) {
		if line[s.header.ID()] || s.keys == nil || !s.accepted || !e.counts(s) || !e.standsNow(s) || told[s.header.Core.Issuer] ||
			slices.ContainsFunc(s.header.Core.Parents, func(p protocol.EpochID) bool { return line[p] && e.allGiven(used, p) }) {
			continue // or it lies where all who are in the used one look
		}
		told[s.header.Core.Issuer] = true
		if err := errors.Join(e.tellAcross(used, s), e.tellAcross(s, used)); err != nil {
			return false, err
		}
	}
	return false, nil
}

// allGiven says whether all who were to have a box in an epoch were given another one,
// in which they look.
func (e *Engine) allGiven(s *epochState, id protocol.EpochID) bool {
	then, ok := e.log.At(s.header.Core.GovHeads)
	p := e.epochs[id]
	return ok && p != nil && !slices.ContainsFunc(then.Boxed(), func(d identity.DeviceID) bool { return !e.given(p, d) })
}

// tellAcross seals the header of an epoch of another row under one, unless a newer one
// of that row lies there.
func (e *Engine) tellAcross(in, s *epochState) error {
	if in == nil || in.keys == nil || s == nil || e.descends(s.header.ID(), in.header.ID()) || e.descends(in.header.ID(), s.header.ID()) {
		return nil
	}
	for _, x := range e.byGen {
		if e.descends(x.header.ID(), s.header.ID()) && e.held.hasItem(in.header.ID(), protocol.ItemID(x.header.ID()), false) {
			return nil
		}
	}
	return e.putAcross(in, s)
}

// putAcross seals a header under an epoch of another part of the group, where it may
// be asked for (see lost): neither part has an epoch in which both meet.
func (e *Engine) putAcross(in, s *epochState) error {
	e.version++ // it can be asked for now
	return e.putHeader(in, s)
}

// putHeader seals a header into the common mailbox of another epoch, unless it is
// there.
func (e *Engine) putHeader(in, s *epochState) error {
	day := dayIn(in, s)
	if day > in.openTo || e.held.hasItem(in.header.ID(), protocol.ItemID(s.header.ID()), true) {
		return nil
	}
	f, err := protocol.ParseFrame(s.frame)
	if err != nil {
		return err
	}
	return e.sealFrame(in.header.ID(), day, f, 0)
}
