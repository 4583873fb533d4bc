package engine

import (
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// This file has both sides of a request: what a device was given and cannot open it
// asks the organisers for (spec 46 section 10), who hand it over as to any device
// that was passed over.

// request asks the organisers for an epoch that was sealed to this device and does
// not open, and for what was said in it: the next epoch, for which the heal asks,
// brings neither (spec 46 section 10). Zero: for one that is not known here.
func (e *Engine) request(lost protocol.EpochID) error {
	if !e.canSign() || !e.log.Resolve().IsMember(e.self.memberID) {
		return nil
	}
	return e.tellOrganisers(e.requestFrom(e.lastOps, lost))
}

// requestFrom is a request of who can open an epoch, and cannot open one that was
// lost; zero: it knows of none.
func (e *Engine) requestFrom(newest, lost protocol.EpochID) epoch.RequestItem {
	item := epoch.RequestItem{Newest: newest, Lost: lost}
	if last := e.private[len(e.private)-1]; last.counter > 0 {
		item.KeyUpdate = last.frame
	}
	return item
}

// lostWait is how long a device that has an epoch which does not open waits for
// another one of the same people that does.
var lostWait = Seconds(30)

// lost lists epochs that were sealed to this device and that it cannot read in full: to
// keys that it erased since, because a part of the group that it did not reach for
// weeks knew no newer ones; or what led to them cannot be reached from here.
func (e *Engine) lost() (list []*epochState) {
	if e.frozen || e.lastOps == (protocol.EpochID{}) || !e.canSign() || !e.log.Resolve().IsMember(e.self.memberID) {
		return nil
	}
	for _, s := range e.byGen {
		if s.erased || s.keys != nil && !e.hasGap(s) || s.keys == nil && e.lacksOwnPage(s) || len(e.mayAsk(s)) == 0 {
			continue
		}
		roster, ok := e.log.At(s.header.Core.GovHeads)
		if !ok || !mayIssue(roster, s.header) {
			continue
		}
		if _, boxed := slices.BinarySearchFunc(roster.Boxed(), e.self.deviceID, compareDevices); boxed {
			list = append(list, s)
		}
	}
	return list
}

// hasGap says whether a parent of an epoch is not known here.
func (e *Engine) hasGap(s *epochState) bool {
	return slices.ContainsFunc(s.header.Core.Parents, func(p protocol.EpochID) bool { return e.epochs[p] == nil })
}

// askUnder lists the epochs under which one that was lost can be asked for: its
// header lies there, so whoever put it there has both. If it can be opened, they are
// those from which nothing known here leads to it.
func (e *Engine) askUnder(s *epochState) (list []*epochState) {
	id := protocol.ItemID(s.header.ID())
	for _, x := range e.byGen {
		if x != s && x.keys != nil && x.accepted && e.now.Day() <= x.openTo && (s.keys == nil || !e.descends(s.header.ID(), x.header.ID())) &&
			(e.held.hasItem(x.header.ID(), id, true) || e.held.hasItem(x.header.ID(), id, false)) {
			list = append(list, x)
		}
	}
	return list
}

// mayAsk lists the epochs under which one that was lost is to be asked for now: all that
// there are; and once it was asked for, a newer one in which this device has come to send.
// Nobody else who organises may be able to open the earlier ones.
func (e *Engine) mayAsk(s *epochState) []*epochState {
	return slices.DeleteFunc(e.askUnder(s), func(x *epochState) bool {
		return s.asked != 0 && (x.header.ID() != e.sending || x.header.Core.Gen < s.asked)
	})
}

// lostDue is when this device asks for what it lost; 0: it lost nothing.
func (e *Engine) lostDue() (at Time) {
	r := &e.rejects
	if r.lostAt != e.version {
		r.lostAt, r.lost = e.version, e.lost()
	}
	for _, s := range r.lost {
		if at == 0 || s.arrived+lostWait < at {
			at = s.arrived + lostWait
		}
	}
	return at
}

// askForLost asks the organisers for each epoch that was lost.
func (e *Engine) askForLost() (bool, error) {
	if at := e.lostDue(); at == 0 || e.now < at {
		return false, nil
	}
	asked := map[*epochState][]*epochState{}
	for _, s := range e.rejects.lost {
		if e.now < s.arrived+lostWait {
			continue
		}
		under := e.mayAsk(s)
		for _, p := range under {
			s.asked = max(s.asked, p.header.Core.Gen+1)
		}
		e.putEpoch(s)
		for _, p := range under {
			if slices.ContainsFunc(asked[p], func(x *epochState) bool {
				return e.descends(x.header.ID(), s.header.ID()) || e.descends(s.header.ID(), x.header.ID())
			}) {
				continue // one of its row is asked for there
			}
			if len(asked[p]) == 0 {
				if err := e.tellKeysIn(p); err != nil {
					return false, err
				}
			}
			asked[p] = append(asked[p], s)
			if err := e.tellOrganisersIn(p, e.requestFrom(p.header.ID(), s.header.ID())); err != nil {
				return false, err
			}
		}
	}
	e.version++
	return true, nil
}

// tellKeysIn tells the own newest keys in an epoch of long ago: as many as carry the
// row on for whoever missed those before.
func (e *Engine) tellKeysIn(s *epochState) error {
	for _, f := range e.ring.Frames(e.self.deviceID) {
		if !s.header.Core.Inline() {
			e.tellCollectors(f)
		} else if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
			return err
		}
	}
	return nil
}

// asking is what a device said that it cannot open.
type asking struct {
	newest protocol.EpochID // the newest that it can
	lacks  map[protocol.EpochID]bool
}

// noteRequest takes note of a device that asks for what it cannot open: epochs that
// it was given, that do not lead to the newest that it can open, and in which it
// has not sent. If it names one it is for that one's row.
func (e *Engine) noteRequest(d identity.DeviceID, x epoch.RequestItem) {
	if _, in := e.log.Resolve().MemberOfDevice(d); !in {
		return
	}
	asks := asking{x.Newest, map[protocol.EpochID]bool{}}
	for _, s := range e.byGen {
		id, held := s.header.ID(), s.accepted && s.keys != nil
		switch {
		case s.erased, !e.given(s, d), e.descends(x.Newest, id), held && s.keys.HasChain(d):
		case x.Lost == protocol.EpochID{} && held, e.descends(id, x.Lost), e.descends(x.Lost, id):
			asks.lacks[id] = true // of what is not held here yet it may come to be
		}
	}
	// It asks for more than one row, and under each epoch in which it saw one.
	before := e.repair.asked[d]
	maps.Copy(asks.lacks, before.lacks)
	if old, in := e.epochs[before.newest], e.epochs[x.Newest]; old != nil && (in == nil || old.header.Core.Gen > in.header.Core.Gen) {
		asks.newest = before.newest
	}
	maps.DeleteFunc(asks.lacks, func(id protocol.EpochID, _ bool) bool {
		return e.descends(x.Newest, id) || e.descends(asks.newest, id)
	})
	if e.repair.asked == nil {
		e.repair.asked = map[identity.DeviceID]asking{}
	}
	e.repair.asked[d] = asks
	e.takeBack(d, asks.lacks)
	e.version++
	for _, h := range e.repair.handed {
		if e.now < h.at+heardFor && slices.Contains(h.Devices, d) {
			e.leaveTo(h, []identity.DeviceID{d})
		}
	}
}
