package epoch

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

func reboxOf(size int) ReBox {
	w := welcomeOf(size)
	return ReBox{Epochs: w.Epochs, Originals: w.Originals, KeyFrames: w.KeyFrames, Ops: w.Ops, Chains: w.Chains}
}

// Spec 30 section 11: one frame or chunks, in any order, for one named device.
func TestReBoxWholeAndInChunks(t *testing.T) {
	key, self := KEMPrivateFromSeed([32]byte{1}), identity.DeviceID{5}
	pk, d := key.Public(), identity.DeviceKeyFromSeed([32]byte{3})
	signer := func(id identity.DeviceID, r *ReBox) (identity.DevicePublic, bool) {
		return d.Public(), id == d.Public().ID() && len(r.KeyFrames) == 1
	}
	for size, want := range map[int]int{0: 1, 60_000: 1, 63_900: 1, 64_900: 2, 70_000: 3, 600_000: 11} {
		r := reboxOf(size)
		frames := must[[]protocol.Frame](t)(SealReBox(testGroup, d, self, &pk, r, dice(1)))
		if len(frames) != want {
			t.Errorf("%d bytes: %d frames", size, len(frames))
		}
		for _, f := range frames {
			if n := len(f.Marshal()); n > protocol.RoomLarge {
				t.Errorf("a frame of %d bytes", n)
			}
			if !f.Verify(testGroup, d.Public()) {
				t.Error("a frame is not signed")
			}
		}
		if n := must[int](t)(ReBoxChunks(frames[0])); n != len(frames)-1 {
			t.Errorf("the first frame names %d chunks", n)
		}
		slices.Reverse(frames)
		got := must[*ReBox](t)(OpenReBox(testGroup, frames, self, key, signer))
		if !bytes.Equal(got.marshal(), r.marshal()) {
			t.Errorf("%d bytes do not come back", size)
		}
	}
	if _, err := SealReBox(testGroup, d, self, &pk, reboxOf(MaxReBox), dice(1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// The first frame alone tells its device, and no other, with whichever of its keys
// it was sealed to.
func TestReBoxKey(t *testing.T) {
	keys := []KEMPrivate{KEMPrivateFromSeed([32]byte{1}), KEMPrivateFromSeed([32]byte{2}), KEMPrivateFromSeed([32]byte{3})}
	pk, d, self := keys[1].Public(), identity.DeviceKeyFromSeed([32]byte{3}), identity.DeviceID{5}
	for _, size := range []int{0, 200_000} {
		f := must[[]protocol.Frame](t)(SealReBox(testGroup, d, self, &pk, reboxOf(size), dice(1)))[0]
		if k, ok := ReBoxKey(testGroup, f, self, keys...); !ok || k.Seed() != keys[1].Seed() {
			t.Error("the device does not know its own ReBox")
		}
		for name, ok := range map[string]bool{
			"other keys":   second(ReBoxKey(testGroup, f, self, keys[0], keys[2])),
			"other device": second(ReBoxKey(testGroup, f, identity.DeviceID{6}, keys...)),
			"other group":  second(ReBoxKey(protocol.GroupID{9}, f, self, keys...)),
			"other kind":   second(ReBoxKey(testGroup, protocol.Frame{Kind: protocol.KindWelcome, Body: f.Body}, self, keys...)),
		} {
			if ok {
				t.Errorf("%s: found a ReBox", name)
			}
		}
		if ref := pk.Ref(); bytes.Contains(f.Body, self[:]) || bytes.Contains(f.Body, ref[:]) {
			t.Error("the frame names its device in the clear")
		}
	}
}

func second(_ KEMPrivate, ok bool) bool { return ok }

// A random source that repeats must not give one content key to two texts.
func TestReBoxKeyDependsOnItsText(t *testing.T) {
	key, self := KEMPrivateFromSeed([32]byte{1}), identity.DeviceID{5}
	pk, d := key.Public(), identity.DeviceKeyFromSeed([32]byte{3})
	seen := map[[32]byte]bool{}
	for _, size := range []int{0, 1, 2} {
		f := must[[]protocol.Frame](t)(SealReBox(testGroup, d, self, &pk, reboxOf(size), bytes.NewReader(make([]byte, 32))))[0]
		content := must[[32]byte](t)(must[manifest](t)(reboxParcel.parse(f)).unlock(testGroup, self, key))
		if seen[content] {
			t.Error("two texts were sealed under one content key")
		}
		seen[content] = true
	}
	if _, err := SealReBox(testGroup, d, self, &pk, reboxOf(0), bytes.NewReader(make([]byte, 31))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("random ran out: %v", err)
	}
}

// Spec 30 section 11: a device that no header boxes reads on with what a ReBox brings.
func TestReBoxBringsADeviceBack(t *testing.T) {
	g := newGroup(t, 4, 60)
	lost := g.people[3]
	g.people = g.people[:3]
	f, h, k := g.issue(t)
	giver := g.open(t, h, 1)
	early, o, err := k.Seal(g.id, g.people[0].key, text("early"), g.random)
	if err != nil {
		t.Fatal(err)
	}
	g.read(t, giver, early)
	for _, operator := range []bool{false, true} {
		r := ReBox{Epochs: []WelcomeEpoch{{Header: f.Marshal(), Keys: must[[]byte](t)(giver.Export(operator))}},
			Originals: [][]byte{o.Marshal()}}
		frames := must[[]protocol.Frame](t)(SealReBox(g.id, g.people[1].key, lost.id(), &lost.pub, r, g.random))
		got := must[*ReBox](t)(OpenReBox(g.id, frames, lost.id(), lost.kem, func(d identity.DeviceID, _ *ReBox) (identity.DevicePublic, bool) {
			return g.lookup(d)
		}))
		h := must[*Header](t)(ParseHeader(g.id, must[protocol.Frame](t)(protocol.ParseFrame(got.Epochs[0].Header))))
		mine := must[*Keys](t)(ParseExport(got.Epochs[0].Keys))
		if err := h.Confirm(mine); err != nil || mine.Organiser() != operator {
			t.Errorf("operator %v: %v, organisers' secret held is %v", operator, err, mine.Organiser())
		}
		if _, err := mine.Open(g.id, early, g.lookup); !errors.Is(err, ErrReplay) {
			t.Errorf("a message that the giver had read: %v", err)
		}
		late, _, err := k.Seal(g.id, g.people[0].key, text("late"), g.random)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.read(t, mine, late); got != "late" {
			t.Errorf("reads %q", got)
		}
		own, _, err := mine.Seal(g.id, lost.key, text("back"), g.random)
		if err != nil {
			t.Fatal(err)
		}
		all := &group{id: g.id, people: append(slices.Clone(g.people), lost)}
		if got := all.read(t, g.open(t, h, 0), own); got != "back" {
			t.Errorf("the others read %q", got)
		}
	}
}

func TestReBoxRefusals(t *testing.T) {
	key, self := KEMPrivateFromSeed([32]byte{1}), identity.DeviceID{5}
	pk, d := key.Public(), identity.DeviceKeyFromSeed([32]byte{3})
	other := identity.DeviceKeyFromSeed([32]byte{4})
	any := func(identity.DeviceID, *ReBox) (identity.DevicePublic, bool) { return d.Public(), true }
	none := func(identity.DeviceID, *ReBox) (identity.DevicePublic, bool) { return d.Public(), false }
	seal := func(r ReBox) []protocol.Frame {
		return must[[]protocol.Frame](t)(SealReBox(testGroup, d, self, &pk, r, dice(1)))
	}
	open := func(f []protocol.Frame) error {
		_, err := OpenReBox(testGroup, f, self, key, any)
		return err
	}
	big, twin := seal(reboxOf(200_000)), must[[]protocol.Frame](t)(SealReBox(testGroup, d, self, &pk, reboxOf(200_000), dice(2)))
	if err := open(big); err != nil {
		t.Fatal(err)
	}
	replace := func(i int, f protocol.Frame) []protocol.Frame {
		out := slices.Clone(big)
		out[i] = f
		return out
	}
	unsigned, first := big[2], big[0]
	unsigned.Sig[0]++
	first.Sig[0]++
	body := func(b reboxBody) error {
		return open([]protocol.Frame{protocol.SignFrame(testGroup, protocol.KindReBox, d, wire.Marshal(b))})
	}
	lock := make([]byte, lockSize)
	as := func(self identity.DeviceID, key KEMPrivate, g protocol.GroupID) error {
		_, err := OpenReBox(g, big, self, key, any)
		return err
	}
	m := must[manifest](t)(reboxParcel.parse(seal(reboxOf(0))[0]))
	alien := must[manifest](t)(reboxParcel.parse(must[[]protocol.Frame](t)(SealReBox(testGroup, d, self, &pk, reboxOf(1), dice(5)))[0]))
	for name, err := range map[string]error{
		"nothing":              open(nil),
		"chunk missing":        open(big[:len(big)-1]),
		"no first frame":       open(big[1:]),
		"chunk of another":     open(replace(2, twin[2])),
		"chunk twice":          open(replace(2, big[1])),
		"two first frames":     open(replace(2, big[0])),
		"chunk of a device":    open(replace(2, protocol.SignFrame(testGroup, protocol.KindChunk, other, big[2].Body))),
		"chunk not signed":     open(replace(2, unsigned)),
		"first not signed":     open(replace(0, first)),
		"too many frames":      open(slices.Repeat(big[:1], 66)),
		"a welcome":            open(must[[]protocol.Frame](t)(SealWelcome(testGroup, d, &pk, [32]byte{}, welcomeOf(0)))),
		"version":              body(reboxBody{Version: 2, Lock: lock, Sealed: make([]byte, 50)}),
		"empty":                body(reboxBody{Version: 1, Lock: lock}),
		"no lock":              body(reboxBody{Version: 1, Sealed: m.sealed}),
		"lock long":            body(reboxBody{Version: 1, Lock: append(slices.Clone(m.lock), 0), Sealed: m.sealed}),
		"lock of another":      body(reboxBody{Version: 1, Lock: alien.lock, Sealed: m.sealed}),
		"both forms":           body(reboxBody{Version: 1, Lock: m.lock, Sealed: m.sealed, Chunks: make([][32]byte, 2)}),
		"one chunk, missing":   body(reboxBody{Version: 1, Lock: m.lock, Chunks: make([][32]byte, 1)}),
		"one small chunk":      open(oneChunk(d, m)),
		"65 chunks":            body(reboxBody{Version: 1, Lock: m.lock, Chunks: make([][32]byte, 65)}),
		"whole too large":      body(reboxBody{Version: 1, Lock: m.lock, Sealed: make([]byte, reboxParcel.whole()+1)}),
		"sealed short":         body(reboxBody{Version: 1, Lock: m.lock, Sealed: m.sealed[:15]}),
		"other device":         as(identity.DeviceID{6}, key, testGroup),
		"other key":            as(self, KEMPrivateFromSeed([32]byte{9}), testGroup),
		"other group":          as(self, key, protocol.GroupID{9}),
		"signed by who mayn't": func() error { _, err := OpenReBox(testGroup, big, self, key, none); return err }(),
	} {
		if !errors.Is(err, ErrReBox) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*ReBox){
		"no epoch":        func(r *ReBox) { r.Epochs = nil },
		"17 epochs":       func(r *ReBox) { r.Epochs = slices.Repeat(r.Epochs, 17) },
		"epoch empty":     func(r *ReBox) { r.Epochs[0].Keys = nil },
		"header empty":    func(r *ReBox) { r.Epochs[0].Header = nil },
		"chains unsorted": func(r *ReBox) { slices.Reverse(r.Chains) },
		"chain at 0":      func(r *ReBox) { r.Chains[0].Seq = 0 },
		"1001 chains":     func(r *ReBox) { r.Chains = manyChains(1_001) },
		"op empty":        func(r *ReBox) { r.Ops = [][]byte{{}} },
		"original empty":  func(r *ReBox) { r.Originals = [][]byte{{}} },
		"key frame long":  func(r *ReBox) { r.KeyFrames = [][]byte{make([]byte, protocol.MaxRoom+1)} },
	} {
		r := reboxOf(0)
		spoil(&r)
		if _, err := parseReBox(r.marshal()); !errors.Is(err, ErrReBox) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := SealReBox(testGroup, d, self, &pk, r, dice(1)); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	// Refused before anything is opened.
	for name, b := range map[string]reboxBody{
		"no lock":         {Version: 1, Sealed: m.sealed},
		"lock short":      {Version: 1, Lock: m.lock[1:], Sealed: m.sealed},
		"lock long":       {Version: 1, Lock: append(slices.Clone(m.lock), 0), Sealed: m.sealed},
		"whole too large": {Version: 1, Lock: m.lock, Sealed: make([]byte, reboxParcel.whole()+1)},
		"65 chunks":       {Version: 1, Lock: m.lock, Chunks: make([][32]byte, 65)},
	} {
		if _, err := ReBoxChunks(protocol.Frame{Kind: protocol.KindReBox, Body: wire.Marshal(b)}); !errors.Is(err, ErrReBox) {
			t.Errorf("%s: parsed, %v", name, err)
		}
	}
	plain := seal(reboxOf(0))[0]
	for i := 0; i < len(plain.Body); i += 9 {
		bad := protocol.SignFrame(testGroup, protocol.KindReBox, d, slices.Clone(plain.Body))
		bad.Body[i] ^= 1
		if err := open([]protocol.Frame{bad}); !errors.Is(err, ErrReBox) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		cut := protocol.SignFrame(testGroup, protocol.KindReBox, d, plain.Body[:i])
		if err := open([]protocol.Frame{cut}); !errors.Is(err, ErrReBox) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
}

// oneChunk puts into a chunk what would fit into the first frame.
func oneChunk(d identity.DeviceKey, m manifest) []protocol.Frame {
	parts, hashes := cut(m.sealed)
	first := protocol.SignFrame(testGroup, protocol.KindReBox, d, reboxParcel.marshal(manifest{lock: m.lock, chunks: hashes}))
	return append([]protocol.Frame{first}, chunkFrames(testGroup, d, first.ID(testGroup), parts)...)
}

func manyChains(n int) (out []WelcomeChain) {
	for i := range n {
		out = append(out, WelcomeChain{Device: identity.DeviceID{byte(i >> 8), byte(i)}, Seq: 1})
	}
	return out
}

// A Welcome's key does not open a ReBox's lock, though both seal to one KEM key.
func TestReBoxContextCounts(t *testing.T) {
	var a, b protocol.KEMPublic
	b[0] = 1
	contexts := map[string]bool{}
	for _, c := range [][]byte{
		reboxContext(testGroup, identity.DeviceID{1}, &a), reboxContext(protocol.GroupID{9}, identity.DeviceID{1}, &a),
		reboxContext(testGroup, identity.DeviceID{2}, &a), reboxContext(testGroup, identity.DeviceID{1}, &b),
	} {
		contexts[string(c)] = true
	}
	if len(contexts) != 4 || label.ReBoxLock == label.WelcomeBox {
		t.Error("a field of the context does not count")
	}
}
