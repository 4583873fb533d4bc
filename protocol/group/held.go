package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Bounds of what waits for parents. Operations offered in causal order never
// wait, so a full waiting room delays but does not jam.
const (
	MaxHeldOps       = 8_192
	MaxHeldBytes     = 8 << 20
	MaxHeldUnknown   = 1_024 // of signers not known yet, whose signature cannot be checked
	MaxHeldPerDevice = 2_048
)

// holding is the waiting room. It is keyed by id and signature: a copy with a
// false signature, which cannot be told before the certificate arrives, must
// not take the place of the true one.
type holding struct {
	ops       map[heldKey]waiting
	ids       map[protocol.OpID]int // how many copies
	waiters   map[protocol.OpID][]heldKey
	perDevice map[identity.DeviceID]int
	bytes     int
	unknown   int
}

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
		waiters: map[protocol.OpID][]heldKey{}, perDevice: map[identity.DeviceID]int{},
	}
}

func (h *holding) put(n node, missing []protocol.OpID, known bool) (Result, error) {
	key := heldKey{n.id, n.frame.Sig}
	if _, ok := h.ops[key]; ok {
		return Result{Outcome: Duplicate}, nil
	}
	if len(h.ops) >= MaxHeldOps || h.bytes+len(n.frame.Body) > MaxHeldBytes ||
		h.perDevice[n.frame.Device] >= MaxHeldPerDevice || !known && h.unknown >= MaxHeldUnknown {
		return Result{}, ErrHeldFull
	}
	h.ops[key] = waiting{node: n, missing: missing, known: known}
	h.ids[n.id]++
	h.perDevice[n.frame.Device]++
	h.bytes += len(n.frame.Body)
	if !known {
		h.unknown++
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
	if h.perDevice[n.frame.Device]--; h.perDevice[n.frame.Device] == 0 {
		delete(h.perDevice, n.frame.Device)
	}
	h.bytes -= len(n.frame.Body)
	if !w.known {
		h.unknown--
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
