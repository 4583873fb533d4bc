package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Bounds of what waits for parents. Operations offered in causal order never
// wait, so a full waiting room delays but does not jam; but whoever is given a
// long past in no order would wait long with it. So one device fills its own part
// alone, and all signers that are not known yet, whose signature cannot be
// checked, fill one part together.
const (
	MaxHeldOps         = 8_192
	MaxHeldBytes       = 8 << 20
	MaxHeldUnknown     = 1_024
	MaxHeldPerDevice   = 2_048
	MaxHeldDeviceBytes = 1 << 20 // of one device, and of all that are not known
)

// holding is the waiting room. It is keyed by id and signature: a copy with a
// false signature, which cannot be told before the certificate arrives, must
// not take the place of the true one.
type holding struct {
	ops       map[heldKey]waiting
	ids       map[protocol.OpID]int // how many copies
	waiters   map[protocol.OpID][]heldKey
	perDevice map[identity.DeviceID]room
	bytes     int
	unknown   room
}

// room is what is taken of a part of the waiting room.
type room struct{ ops, bytes int }

// lacks says whether one operation more of size bytes has no place.
func (r room) lacks(size, ops int) bool { return r.ops >= ops || r.bytes+size > MaxHeldDeviceBytes }

type heldKey struct {
	id  protocol.OpID
	sig identity.Signature
}

type waiting struct {
	node
	missing []protocol.OpID
	known   bool
}

func newHolding() holding {
	return holding{
		ops: map[heldKey]waiting{}, ids: map[protocol.OpID]int{},
		waiters: map[protocol.OpID][]heldKey{}, perDevice: map[identity.DeviceID]room{},
	}
}

func (h *holding) put(n node, missing []protocol.OpID, known bool) (Result, error) {
	key := heldKey{n.id, n.frame.Sig}
	if _, ok := h.ops[key]; ok {
		return Result{Outcome: Duplicate}, nil
	}
	size, of := len(n.frame.Body), h.perDevice[n.frame.Device]
	if len(h.ops) >= MaxHeldOps || h.bytes+size > MaxHeldBytes || of.lacks(size, MaxHeldPerDevice) ||
		!known && h.unknown.lacks(size, MaxHeldUnknown) {
		return Result{}, ErrHeldFull
	}
	h.ops[key] = waiting{node: n, missing: missing, known: known}
	h.ids[n.id]++
	h.perDevice[n.frame.Device] = room{of.ops + 1, of.bytes + size}
	h.bytes += size
	if !known {
		h.unknown = room{h.unknown.ops + 1, h.unknown.bytes + size}
	}
	for _, id := range missing {
		h.waiters[id] = append(h.waiters[id], key)
	}
	return Result{Outcome: Held}, nil
}

// release returns what waited for id, which no longer does.
func (h *holding) release(id protocol.OpID) []node {
	keys := h.waiters[id]
	delete(h.waiters, id)
	out := make([]node, 0, len(keys))
	for _, k := range keys {
		if w, ok := h.ops[k]; ok {
			out = append(out, w.node)
		}
	}
	return out
}

func (h *holding) drop(n node) {
	key := heldKey{n.id, n.frame.Sig}
	w, ok := h.ops[key]
	if !ok {
		return
	}
	delete(h.ops, key)
	if h.ids[n.id]--; h.ids[n.id] == 0 {
		delete(h.ids, n.id)
	}
	size, of := len(n.frame.Body), h.perDevice[n.frame.Device]
	if of = (room{of.ops - 1, of.bytes - size}); of.ops == 0 {
		delete(h.perDevice, n.frame.Device)
	} else {
		h.perDevice[n.frame.Device] = of
	}
	h.bytes -= size
	if !w.known {
		h.unknown = room{h.unknown.ops - 1, h.unknown.bytes - size}
	}
	for _, id := range w.missing {
		list := slices.DeleteFunc(h.waiters[id], func(k heldKey) bool { return k == key })
		if len(list) == 0 {
			delete(h.waiters, id)
		} else {
			h.waiters[id] = list
		}
	}
}

// HeldCount returns how many frames wait for what they build on.
func (l *Log) HeldCount() int { return len(l.held.ops) }

// Missing returns, sorted, the ids that held operations build on and that are
// neither in the log nor held: what to ask others for.
func (l *Log) Missing() []protocol.OpID {
	var out []protocol.OpID
	for id := range l.held.waiters {
		if l.held.ids[id] == 0 {
			out = append(out, id)
		}
	}
	return protocol.SortIDs(out)
}
