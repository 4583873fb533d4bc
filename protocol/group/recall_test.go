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
	first := late.All(kid.dev())[3].KEM
	var refs []protocol.KEMRef
	for _, k := range []protocol.KEMPublic{kemOf(5006), kemOf(5005), kemOf(5004), first, kemOf(5001), kemOf(5002)} {
		refs = append(refs, k.Ref())
	}
	if !slices.Equal(late.Refs(kid.dev()), refs) || len(late.All(kid.dev())) != 4 {
		t.Errorf("%d keys, of them %d kept", len(late.Refs(kid.dev())), len(late.All(kid.dev())))
	}
	if k, _ := late.Newest(kid.dev()); k.Counter != 7 || late.Flagged(kid.dev()) || len(late.Frames(kid.dev())) != len(before) || late.OldestKept(kid.dev()) != 0 {
		t.Error("what was recalled counts for more than audits")
	}
	// However many come, each is known by its name up to a bound, and few are kept.
	many := chain(g, kid, w.pack(kid).ID(g), maxPastKeys+40)
	for _, f := range many {
		giver.Add(f)
	}
	named := giver.Refs(kid.dev())
	if kept := len(giver.All(kid.dev())); kept != maxAuditKeys || len(named) != maxAuditKeys+maxPastKeys {
		t.Errorf("%d keys, of them %d kept", len(named), kept)
	}
	old, _ := ParseKeyUpdate(many[30])
	gone, _ := ParseKeyUpdate(many[3])
	if !slices.Contains(named, old.KEM.Ref()) || slices.Contains(named, gone.KEM.Ref()) {
		t.Error("the oldest ones are to go first")
	}
	late.Restore(giver.Frames(kid.dev()))
	late.Recall(many)
	if n := len(late.Refs(kid.dev())); n > maxAuditKeys+maxPastKeys {
		t.Errorf("%d keys", n)
	}
}

// A heal moves the group however many keys its device tells after it: who finds an
// epoch that answers it knows it.
func TestHealIsKnownBehindManyKeys(t *testing.T) {
	w, l, k, _, kid := ringWorld(t)
	g := w.g.ID()
	k.Follow(l.Resolve())
	k.Add(w.pack(kid))
	keys := chain(g, kid, w.pack(kid).ID(g), 60)
	for _, f := range keys {
		k.Add(f)
	}
	heal, plain := keys[3].ID(g), keys[4].ID(g)
	if d, ok := k.HealBy(heal); !ok || d != kid.dev() {
		t.Error("the heal is forgotten")
	}
	if _, ok := k.HealBy(plain); ok {
		t.Error("a key that asks for nothing is a heal")
	}
	if len(k.Heals()) != 0 {
		t.Error("an old heal asks for another epoch")
	}
}
