package group

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
)

// Who came late has the newest keys of a device only. It is given the older ones to
// which an epoch was sealed, audits with them, and is otherwise as before.
func TestRecalledKeysAreForAuditsAlone(t *testing.T) {
	w, l, giver, _, kid := ringWorld(t)
	g := w.g.ID()
	giver.Follow(l.Resolve())
	late := NewKeyRing(w.g)
	late.Follow(l.Resolve())
	for _, k := range []*KeyRing{giver, late} {
		k.Add(w.pack(kid))
	}
	c := chain(g, kid, w.pack(kid).ID(g), 7)
	for _, f := range c {
		giver.Add(f)
	}
	late.Restore(giver.Frames(kid.dev()))
	older := giver.Older(kid.dev(), func(k DeviceKeys) bool { return k.KEM == kemOf(5001) || k.KEM == kemOf(5002) || k.KEM == kemOf(5006) })
	if len(older) != 2 || older[0].ID(g) != c[1].ID(g) || older[1].ID(g) != c[2].ID(g) {
		t.Fatalf("%d older frames", len(older))
	}
	before := late.Frames(kid.dev())
	forged := c[0]
	forged.Sig[0] ^= 1
	late.Recall([]protocol.Frame{forged, w.pack(kid), c[6], older[0], older[0], older[1]})
	var counters []uint64
	for _, k := range late.All(kid.dev()) {
		counters = append(counters, k.Counter)
	}
	if !slices.Equal(counters, []uint64{7, 6, 5, 0, 2, 3}) {
		t.Errorf("counters %v", counters)
	}
	if k, _ := late.Newest(kid.dev()); k.Counter != 7 || late.Flagged(kid.dev()) || len(late.Frames(kid.dev())) != len(before) || late.OldestKept(kid.dev()) != 0 {
		t.Error("what was recalled counts for more than audits")
	}
	// Bounded.
	many := chain(g, kid, w.pack(kid).ID(g), 40)
	for _, f := range many {
		giver.Add(f)
	}
	late.Restore(giver.Frames(kid.dev()))
	late.Recall(many)
	if n := len(late.All(kid.dev())); n > 2*maxAuditKeys+1 {
		t.Errorf("%d keys", n)
	}
}
