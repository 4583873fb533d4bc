package engine

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// This file keeps account of which devices got which epochs (spec 46 section 2).

// serveAgain is after how long a device that still lacks an epoch is handed it
// once more: what was sealed for it may have been lost.
var serveAgain = days(7)

// othersServe is after how long this device does it itself, if nothing came of what
// others did.
var othersServe = Seconds(600)

// handed is that an epoch was handed to a device.
type handed struct {
	until   Time              // until then nothing more is done
	left    bool              // to another one
	by      identity.DeviceID // which says that it has done it
	counter uint64            // of the device's newest key then
	late    bool              // it is or was done once more, for what came later
}

// given says whether a device got an epoch: by a box, or with the Welcome of
// somebody who held it.
func (e *Engine) given(s *epochState, d identity.DeviceID) bool {
	if then, ok := e.log.At(s.header.Core.GovHeads); ok {
		if _, boxed := slices.BinarySearchFunc(then.Boxed(), d, compareDevices); boxed {
			return true
		}
	}
	for _, op := range e.log.Adds(d) {
		if slices.ContainsFunc(op.EpochHeads, func(h protocol.EpochID) bool { return e.descends(h, s.header.ID()) }) {
			return true
		}
	}
	return false
}

// passedOver lists, by device of the group, the epochs kept here that it did not
// get and for which it was not served yet.
func (e *Engine) passedOver() map[identity.DeviceID][]protocol.EpochID {
	out := map[identity.DeviceID][]protocol.EpochID{}
	now := e.log.Resolve().Boxed()
	for _, s := range e.byGen {
		if !s.accepted || s.keys == nil {
			continue
		}
		var then []identity.DeviceID
		if r, ok := e.log.At(s.header.Core.GovHeads); ok {
			then = r.Boxed()
		}
		for _, d := range now {
			if d == e.self.deviceID || s.keys.HasChain(d) || e.isServed(s, d) {
				continue
			}
			id := s.header.ID()
			_, boxed := slices.BinarySearchFunc(then, d, compareDevices)
			if !boxed && !e.given(s, d) || e.repair.asked[d].lacks[id] {
				out[d] = append(out[d], id)
			}
		}
	}
	return out
}

// isServed says whether a device was handed an epoch not long ago, or has a newer
// key since it was left to another one: then it has opened something. From who may not
// hand out keys, as is known by now, it opens nothing.
func (e *Engine) isServed(s *epochState, d identity.DeviceID) bool {
	h, ok := e.repair.served[senderKey{s.header.ID(), d}]
	if !ok || h.left && !e.mayHand(h.by) {
		return false
	}
	if e.now < h.until {
		return true
	}
	k, _ := e.ring.Newest(d)
	return h.left && k.Counter > h.counter
}

// serve notes that this device hands a device what it lacks.
func (e *Engine) serve(d identity.DeviceID) {
	for _, id := range e.passedOver()[d] {
		k := senderKey{id, d}
		e.putServed(k, handed{until: e.now + serveAgain, late: e.repair.served[k].late})
	}
}

// noteHanded leaves to another organiser's device what it says that it has handed
// over: an epoch, and those before it. Of each once, so that nobody can put it off
// for ever.
func (e *Engine) noteHanded(by identity.DeviceID, x epoch.HandedItem) {
	if !e.mayHand(by) {
		return
	}
	h := heard{x, by, e.now}
	e.repair.handed = append(e.repair.handed[max(0, len(e.repair.handed)+1-maxHandedKept):], h)
	e.leaveTo(h, x.Devices)
	for _, d := range x.Devices {
		delete(e.repair.missed, d)
	}
}

// mayHand says whether a device acts for an organiser who is not suspended.
func (e *Engine) mayHand(d identity.DeviceID) bool {
	m, ok := e.log.Resolve().MemberOfDevice(d)
	return ok && !m.Suspended && e.log.Resolve().IsOrganiser(d)
}

// heard is what another device said that it has handed over, and when it came here.
type heard struct {
	epoch.HandedItem
	by identity.DeviceID
	at Time
}

// A request may come after what another device has said of it: on links that are made
// again each minute. So many of the last items are kept, and count for so long.
const maxHandedKept = 16

var heardFor = Seconds(60)

// leaveTo leaves to others what an item says that they have handed to some of its
// devices: the epoch and those before it, and what these asked for, but for what the
// other one asks for itself: it cannot have handed it over.
func (e *Engine) leaveTo(x heard, devices []identity.DeviceID) {
	lacking := e.passedOver()
	for _, d := range devices {
		newest, _ := e.ring.Newest(d)
		for _, id := range lacking[d] {
			k := senderKey{id, d}
			if _, known := e.repair.served[k]; known || !e.descends(x.Epoch, id) && !e.repair.asked[d].lacks[id] || e.repair.asked[x.by].lacks[id] {
				continue
			}
			h := handed{until: e.now + othersServe, left: true, by: x.by, counter: newest.Counter}
			e.putServed(k, h)
			if e.repair.again == 0 || h.until < e.repair.again {
				e.repair.again = h.until
			}
		}
	}
	e.version++
}

// takeBack makes it this device's again to hand over epochs that were left to one that
// asks for them itself.
func (e *Engine) takeBack(by identity.DeviceID, lacks map[protocol.EpochID]bool) {
	for k, h := range e.repair.served {
		if h.left && h.by == by && lacks[k.epoch] {
			delete(e.repair.served, k)
			e.erase(tableServed, chainKey(k.epoch, k.device))
		}
	}
}

// nextServed is when it is looked next whether something came of what was left to
// others, or what came late; 0: nothing is open.
func (e *Engine) nextServed() (next Time) {
	for _, h := range e.repair.served {
		if (h.left || h.late) && h.until > e.now && (next == 0 || h.until < next) {
			next = h.until
		}
	}
	return next
}

// lateUnder notes that a message came under an epoch in which nobody sends any more:
// who was not given that one, and got what had been said in it, gets once more what
// came since.
func (e *Engine) lateUnder(id protocol.EpochID) {
	if !e.superseded(id) {
		return
	}
	for _, d := range e.servedUnder(id) {
		k := senderKey{id, d}
		if h := e.repair.served[k]; !h.late {
			h = handed{until: min(h.until, e.now+othersServe), late: true}
			e.putServed(k, h)
			if e.repair.again == 0 || h.until < e.repair.again {
				e.repair.again = h.until
			}
		}
	}
}

func (e *Engine) putServed(k senderKey, h handed) {
	if e.repair.served == nil {
		e.repair.served = map[senderKey]handed{}
	}
	e.repair.served[k] = h
	row := append(numberKey(uint64(h.until)), numberKey(h.counter)...)
	flags := byte(0)
	if h.left {
		flags |= 1
	}
	if h.late {
		flags |= 2
	}
	row = append(append(row, flags), h.by[:]...)
	e.put(tableServed, chainKey(k.epoch, k.device), row, 0)
}

func (e *Engine) loadServed(key, value []byte) error {
	if len(key) != 48 || len(value) != 33 || value[16] > 3 {
		return errors.New("a row of what was handed over is damaged")
	}
	if e.repair.served == nil {
		e.repair.served = map[senderKey]handed{}
	}
	k := senderKey{protocol.EpochID(key[:32]), identity.DeviceID(key[32:])}
	e.repair.served[k] = handed{until: Time(binary.BigEndian.Uint64(value)), counter: binary.BigEndian.Uint64(value[8:]),
		left: value[16]&1 != 0, late: value[16]&2 != 0, by: identity.DeviceID(value[17:])}
	return nil
}

// servedUnder lists who was handed an epoch, sorted.
func (e *Engine) servedUnder(id protocol.EpochID) (devices []identity.DeviceID) {
	for k := range e.repair.served {
		if k.epoch == id {
			devices = append(devices, k.device)
		}
	}
	slices.SortFunc(devices, compareDevices)
	return devices
}

// dropServed forgets who was handed an epoch that was erased.
func (e *Engine) dropServed(id protocol.EpochID) {
	for _, d := range e.servedUnder(id) {
		delete(e.repair.served, senderKey{id, d})
		e.erase(tableServed, chainKey(id, d))
	}
}
