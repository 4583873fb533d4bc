package engine

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
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
	until   Time   // until then nothing more is done
	left    bool   // to others
	counter uint64 // of the device's newest key then
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
	for _, s := range e.sortedEpochs() {
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
// key since it was left to others: then it has opened something.
func (e *Engine) isServed(s *epochState, d identity.DeviceID) bool {
	h, ok := e.repair.served[senderKey{s.header.ID(), d}]
	if !ok || e.now < h.until {
		return ok
	}
	k, _ := e.ring.Newest(d)
	return h.left && k.Counter > h.counter
}

// serve notes that this device hands a device what it lacks, or that others did so
// for as many: for whom a ReBox is, only that device can see.
func (e *Engine) serve(d identity.DeviceID, others bool) {
	if e.repair.served == nil {
		e.repair.served = map[senderKey]handed{}
	}
	k, _ := e.ring.Newest(d)
	for _, id := range e.passedOver()[d] {
		h := handed{until: e.now + serveAgain}
		row := numberKey(uint64(h.until))
		if others {
			h = handed{until: e.now + othersServe, left: true, counter: k.Counter}
			row = append(numberKey(uint64(h.until)), numberKey(h.counter)...)
		}
		e.repair.served[senderKey{id, d}] = h
		e.put(tableServed, chainKey(id, d), row, 0)
	}
}

func (e *Engine) loadServed(key, value []byte) error {
	if len(key) != 48 || len(value) != 8 && len(value) != 16 {
		return errors.New("a row of what was handed over is damaged")
	}
	if e.repair.served == nil {
		e.repair.served = map[senderKey]handed{}
	}
	k := senderKey{protocol.EpochID(key[:32]), identity.DeviceID(key[32:])}
	h := handed{until: Time(binary.BigEndian.Uint64(value)), left: len(value) == 16}
	if h.left {
		h.counter = binary.BigEndian.Uint64(value[8:])
	}
	e.repair.served[k] = h
	return nil
}

// dropServed forgets who was handed an epoch that was erased.
func (e *Engine) dropServed(id protocol.EpochID) {
	var devices []identity.DeviceID
	for k := range e.repair.served {
		if k.epoch == id {
			devices = append(devices, k.device)
		}
	}
	slices.SortFunc(devices, compareDevices)
	for _, d := range devices {
		delete(e.repair.served, senderKey{id, d})
		e.erase(tableServed, chainKey(id, d))
	}
}
