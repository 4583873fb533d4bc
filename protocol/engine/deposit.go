package engine

import (
	"errors"
	"math"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file puts a new epoch where others find it: its header under each parent,
// and in it what its parents' mailboxes hold that somebody would lack.

// sealKeys seals the newest keys of all devices into an epoch, for who was not in
// the epochs in which they were told.
func (e *Engine) sealKeys(s *epochState) error {
	if !s.header.Core.Inline() {
		return nil // organisers' devices have another way
	}
	for _, d := range e.log.Resolve().Boxed() {
		for _, f := range e.ring.Frames(d) {
			if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// depositHeader puts a header into this device's lane under a parent, or into
// the common mailbox where the parent has no lane for it.
func (e *Engine) depositHeader(parent, s *epochState) error {
	box, day := e.laneUnder(parent), protocol.Day(0)
	if box == nil {
		day = e.now.Day()
		box = e.common(parent, day)
	}
	envelope, err := box.Seal(s.frame)
	if err != nil {
		return err
	}
	item := s.header.ID()
	n := entry{epoch: parent.header.ID(), day: day, id: protocol.IDOf(envelope), kind: protocol.KindEpoch, item: [16]byte(item[:16])}
	e.keep(n, envelope)
	e.announce(n)
	return nil
}

// depositForReturning puts the header where devices find it that were given none
// of the parents, such as those of an organiser who was suspended, or of who was
// let in apart: under the newest epoch that each was given, with the operations since, and with the newest keys in
// the new one, which they missed as well.
func (e *Engine) depositForReturning(s *epochState, recipients []epoch.Recipient, parents []*epochState) error {
	done := map[*epochState]bool{}
	for _, r := range recipients {
		if slices.ContainsFunc(parents, func(p *epochState) bool { return e.given(p, r.Device) }) {
			continue
		}
		old := e.newestGiven(r.Device, s)
		if old == nil || done[old] {
			continue
		}
		done[old] = true
		if err := e.depositHeader(old, s); err != nil {
			return err
		}
		if err := e.depositBetween(old, s); err != nil {
			return err
		}
		if err := e.sealOps(old); err != nil {
			return err
		}
		if err := e.sealKeys(s); err != nil {
			return err
		}
	}
	return nil
}

// maxBetween bounds the headers that go to who returns beside that of the new
// epoch.
const maxBetween = 8

// depositBetween puts the headers of the epochs that lie between two, the newest
// ones, where the new one is found: whoever comes back compares it with them, and
// not with the one in which he was last (spec 46 section 9).
func (e *Engine) depositBetween(old, s *epochState) error {
	n := 0
	for _, k := range e.ancestors(s)[1:] {
		item := protocol.ItemID(k.header.ID())
		if n == maxBetween || k.header.Core.Gen <= old.header.Core.Gen || e.held.hasItem(old.header.ID(), item, true) ||
			e.held.hasItem(old.header.ID(), item, false) {
			continue
		}
		n++
		if err := e.depositHeader(old, k); err != nil {
			return err
		}
	}
	return nil
}

// laneUnder finds the lane of this device that a parent lists.
func (e *Engine) laneUnder(parent *epochState) *epoch.Mailbox {
	for _, lane := range parent.header.Core.Lanes {
		for i := range e.private {
			if e.private[i].public == lane {
				return epoch.LaneMailbox(parent.keys.Net(), lane)
			}
		}
	}
	return nil
}

// sealAgain seals under a new epoch of this device the operations that the heads of
// some parent do not cover and, where somebody was not given all of the parents, the keys that
// are kept of each device: so that nobody is blocked by something sealed under an
// epoch that he never had. Keys that all can find are not repeated: every epoch
// would carry those of all before it.
func (e *Engine) sealAgain(s *epochState, recipients []epoch.Recipient, parents []*epochState) error {
	if err := e.repeatOps(s, parents, math.MaxInt); err != nil {
		return err
	}
	if !s.header.Core.Inline() {
		return nil
	}
	if slices.ContainsFunc(parents, func(p *epochState) bool { return !p.header.Core.Inline() }) {
		return e.sealKeys(s) // the group became small: now everybody audits
	}
	for _, r := range recipients {
		for _, p := range parents {
			if err := e.sealNewer(s, p, r.Device); err != nil {
				return err
			}
			if err := e.sealReturned(s, p, r.Device); err != nil {
				return err
			}
		}
	}
	lacks := func(r epoch.Recipient) bool {
		return slices.ContainsFunc(parents, func(p *epochState) bool { return !e.given(p, r.Device) })
	}
	if !slices.ContainsFunc(recipients, lacks) {
		return nil
	}
	return e.sealKeptKeys(s, parents)
}

// sealNewer seals into an epoch the keys of a device that are newer than the one in
// its box in another epoch, and that were not told there: they were told in an older
// one, that not all who are in this one were given.
func (e *Engine) sealNewer(s, in *epochState, d identity.DeviceID) error {
	if !in.header.Core.Inline() {
		return nil
	}
	told := map[protocol.ItemID]bool{}
	for _, k := range e.ring.All(d) { // newest first
		if in.header.Boxes(k.KEM.Ref()) {
			break
		}
		told[k.ID] = e.held.hasItem(in.header.ID(), k.ID, false)
	}
	for _, f := range e.ring.Frames(d) {
		if t, newer := told[f.ID(e.id)]; f.Kind != protocol.KindKeyUpdate || !newer || t {
			continue
		}
		if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
			return err
		}
	}
	return nil
}

// sealReturned seals into an epoch the keys of a device that was to have no box in a
// parent: who was let in meanwhile was not told them.
func (e *Engine) sealReturned(s, parent *epochState, d identity.DeviceID) error {
	then, ok := e.log.At(parent.header.Core.GovHeads)
	if !ok {
		return nil
	}
	if _, boxed := slices.BinarySearchFunc(then.Boxed(), d, compareDevices); boxed {
		return nil
	}
	for _, f := range e.ring.Frames(d) {
		if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
			return err
		}
	}
	return nil
}

// maxRepeated bounds the operations that a device seals again into an epoch of
// another one, so that nobody can have all others fill their disks.
const maxRepeated = 256

// repeatIn seals into an epoch to which this device moves what its issuer seals
// again there, as far as it is held here: an envelope follows from the epoch and
// what is in it, so what all have is not sent again. The rest is fetched.
func (e *Engine) repeatIn(s *epochState) error {
	if day := protocol.DayOf(s.header.Core.CreatedAt); day < firstDay(s) || day > s.openTo {
		return nil
	}
	return e.repeatOps(s, e.parentsOf(s), maxRepeated)
}

// repeatOps seals into an epoch, in the mailbox of the day on which it was made,
// the operations that the heads of some parent do not cover, and tells nobody: who
// lacks one learns of it when epochs are compared.
func (e *Engine) repeatOps(s *epochState, parents []*epochState, room int) error {
	day := protocol.DayOf(s.header.Core.CreatedAt)
	for _, p := range parents {
		ops, err := e.log.Between(p.header.Core.GovHeads, s.header.Core.GovHeads)
		if errors.Is(err, group.ErrUnknownHead) {
			continue
		} else if err != nil {
			return err
		}
		ops = ops[:min(len(ops), room)]
		room -= len(ops)
		for _, op := range ops {
			for _, f := range e.withKeys(s, op) {
				if _, _, err := e.putIn(s.header.ID(), day, f, 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// parentsOf lists the parents of an epoch that are known here.
func (e *Engine) parentsOf(s *epochState) []*epochState {
	var list []*epochState
	for _, id := range s.header.Core.Parents {
		if p := e.epochs[id]; p != nil {
			list = append(list, p)
		}
	}
	return list
}

// sealOp seals an operation into an epoch, and the keys of the device that it
// adds: they were told under the epoch in which its adder was.
func (e *Engine) sealOp(s *epochState, f protocol.Frame) error {
	for _, f := range e.withKeys(s, f) {
		if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
			return err
		}
	}
	return nil
}

// withKeys is an operation, and the keys of the device that it adds.
func (e *Engine) withKeys(s *epochState, f protocol.Frame) []protocol.Frame {
	frames := []protocol.Frame{f}
	_, payload, _ := e.log.Op(protocol.OpID(f.ID(e.id)))
	var added protocol.ItemID
	switch p := payload.(type) {
	case group.AddMember:
		added = p.KeyPackage
	case group.AddDevice:
		added = p.KeyPackage
	}
	for _, m := range e.log.Resolve().Members() {
		for _, d := range m.Devices {
			if added != (protocol.ItemID{}) && d.KeyPackage == added && s.header.Core.Inline() {
				frames = append(frames, e.ring.Frames(d.ID)...)
			}
		}
	}
	return frames
}

// sealKeptKeys seals under a new epoch the kept updates of each device, and what
// its parents' mailboxes hold of keys that count still.
func (e *Engine) sealKeptKeys(s *epochState, parents []*epochState) error {
	for _, m := range e.log.Resolve().Members() {
		for _, d := range m.Devices {
			for _, f := range e.ring.Frames(d.ID) {
				id := f.ID(e.id)
				again := f.Kind == protocol.KindKeyUpdate
				for _, p := range parents {
					again = again || e.held.hasItem(p.header.ID(), id, false)
				}
				if !again {
					continue
				}
				if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (n entry) isKey() bool {
	return n.kind == protocol.KindKeyPackage || n.kind == protocol.KindKeyUpdate
}
