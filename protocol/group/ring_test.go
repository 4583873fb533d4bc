package group

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// chain signs n key updates of a device that start from an id.
func chain(g protocol.GroupID, a actor, from protocol.ItemID, n int) (out []protocol.Frame) {
	for i := range n {
		f := NewKeyUpdate(g, a.device, KeyUpdate{Counter: uint64(i + 1), Prev: from, KEM: kemOf(5000 + i), Lane: protocol.LanePublic{byte(i + 1)}, Heal: i == 3})
		from = f.ID(g)
		out = append(out, f)
	}
	return out
}

func ringWorld(t *testing.T) (*world, *Log, *KeyRing, actor, actor) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	w.op(ann, w.add(kid))
	l := w.log(t)
	return w, l, NewKeyRing(w.g), ann, kid
}

func TestKeyPackageCountsOnceNamed(t *testing.T) {
	w, l, k, ann, kid := ringWorld(t)
	if d, ok := k.Newest(ann.dev()); !ok || d.KEM != ann.kem || d.Lane != ann.lane || d.ID != protocol.ItemID(w.g.ID()) {
		t.Error("the founder's keys are not those of the Genesis")
	}
	pack := w.pack(kid)
	if k.Add(pack) != protocol.Accept || k.Add(pack) != protocol.Ignore {
		t.Error("a package that is not named yet does not wait")
	}
	if _, ok := k.Newest(kid.dev()); ok {
		t.Error("a package counts before an operation names it")
	}
	if got := k.Follow(l.Resolve()); len(got) != 1 || got[0] != pack.ID(w.g.ID()) {
		t.Errorf("followed %v", got)
	}
	if d, ok := k.Newest(kid.dev()); !ok || d.KEM != kid.kem || d.Counter != 0 {
		t.Error("the named package does not count")
	}
	// The order does not matter, and another package of the same device does not count.
	k = NewKeyRing(w.g)
	k.Follow(l.Resolve())
	second := NewKeyPackage(w.g.ID(), kid.device, KeyPackage{Cert: identity.Certify(w.g.ID(), kid.member, kid.device), KEM: kemOf(77), Expires: 5})
	k.Add(second)
	k.Follow(l.Resolve())
	if _, ok := k.Newest(kid.dev()); ok {
		t.Error("a package that no operation names counts")
	}
	if k.Add(pack) != protocol.Accept {
		t.Error("the named package is refused")
	}
	if d, ok := k.Newest(kid.dev()); !ok || d.KEM != kid.kem {
		t.Error("the named package does not count")
	}
}

func TestKeyUpdatesInAnyOrder(t *testing.T) {
	w, l, _, ann, kid := ringWorld(t)
	g := w.g.ID()
	frames := append(chain(g, kid, w.pack(kid).ID(g), 6), w.pack(kid))
	frames = append(frames, chain(g, ann, protocol.ItemID(g), 6)...)
	for n := range uint64(30) {
		rnd := rand.New(rand.NewPCG(n, 1))
		k := NewKeyRing(w.g)
		k.Follow(l.Resolve())
		k.Add(w.pack(kid))
		for _, i := range rnd.Perm(len(frames)) {
			k.Add(frames[i])
			k.Add(frames[rnd.IntN(len(frames))])
		}
		for _, a := range []actor{ann, kid} {
			d, ok := k.Newest(a.dev())
			if !ok || d.Counter != 6 || d.KEM != kemOf(5005) || len(k.All(a.dev())) < MaxKeptKeys || k.Flagged(a.dev()) {
				t.Fatalf("order %d: %+v %v", n, d.Counter, ok)
			}
			if k.All(a.dev())[0].Counter != 6 || k.All(a.dev())[2].Counter != 4 {
				t.Fatal("not newest first")
			}
		}
		if h := k.Heals(); len(h) != 2 || !k.IsHeal(h[0]) || !k.IsHeal(h[1]) || k.IsHeal(protocol.ItemID{}) {
			t.Fatalf("heals %v", h)
		}
	}
}

func TestKeyUpdatesRefused(t *testing.T) {
	w, l, k, ann, kid := ringWorld(t)
	g := w.g.ID()
	k.Follow(l.Resolve())
	k.Add(w.pack(kid))
	c := chain(g, kid, w.pack(kid).ID(g), 12)
	forged := c[0]
	forged.Sig[0] ^= 1
	if k.Add(forged) != protocol.Reject {
		t.Error("forged")
	}
	if k.Add(NewKeyUpdate(protocol.GroupID{1}, kid.device, KeyUpdate{Counter: 1, KEM: kid.kem})) != protocol.Reject {
		t.Error("of another group")
	}
	other := NewKeyUpdate(g, ann.device, KeyUpdate{Counter: 1, Prev: w.pack(kid).ID(g), KEM: kid.kem})
	other.Device = kid.dev()
	if k.Add(other) != protocol.Reject {
		t.Error("by another device")
	}
	if k.Add(NewKeyUpdate(g, person(9).device, KeyUpdate{Counter: 1, KEM: kid.kem})) != protocol.Ignore {
		t.Error("of a stranger")
	}
	if k.Add(c[11]) != protocol.Accept {
		t.Error("one far ahead is not held")
	}
	if k.Add(c[4]) != protocol.Accept {
		t.Error("a gap is held")
	}
	if d, _ := k.Newest(kid.dev()); d.Counter != 0 {
		t.Error("a gap was jumped")
	}
	if k.Add(protocol.SignFrame(g, protocol.KindOp, kid.device, nil)) != protocol.Reject {
		t.Error("of another kind")
	}
}

// Who missed updates goes on with as many that name one another as are kept of a
// device, in every order, and with fewer not.
func TestMissedUpdates(t *testing.T) {
	w, l, _, _, kid := ringWorld(t)
	g := w.g.ID()
	c := chain(g, kid, w.pack(kid).ID(g), 30)
	for n := range uint64(24) {
		k := NewKeyRing(w.g)
		k.Follow(l.Resolve())
		k.Add(w.pack(kid))
		kept := c[27:]
		for i, at := range rand.New(rand.NewPCG(n, 3)).Perm(len(kept)) {
			if d, _ := k.Newest(kid.dev()); d.Counter != 0 {
				t.Fatalf("order %d: at %d after %d updates", n, d.Counter, i)
			}
			k.Add(kept[at])
		}
		if d, ok := k.Newest(kid.dev()); !ok || d.Counter != 30 || len(k.Frames(kid.dev())) != 1+MaxKeptKeys {
			t.Fatalf("order %d: %t, at %d with %d frames", n, ok, d.Counter, len(k.Frames(kid.dev())))
		}
		if k.Add(c[4]) != protocol.Ignore {
			t.Fatal("one that was missed counts later")
		}
		if k.Add(NewKeyUpdate(g, kid.device, KeyUpdate{Counter: 27, KEM: kemOf(99)})); !k.Flagged(kid.dev()) {
			t.Fatal("a second update before those that were kept does not flag")
		}
	}
	// What does not name one another is no row, and of what is held the newest stays.
	k := NewKeyRing(w.g)
	k.Follow(l.Resolve())
	k.Add(w.pack(kid))
	for i := range 3 {
		k.Add(NewKeyUpdate(g, kid.device, KeyUpdate{Counter: uint64(10 + i), Prev: protocol.ItemID{9}, KEM: kemOf(90)}))
	}
	if d, _ := k.Newest(kid.dev()); d.Counter != 0 {
		t.Fatal("updates that do not name one another count")
	}
	for i := range MaxHeldKeys {
		k.Add(c[13+2*i])
	}
	if k.Add(c[11]) != protocol.Ignore || len(k.rows[kid.dev()].held) != MaxHeldKeys {
		t.Errorf("%d are held", len(k.rows[kid.dev()].held))
	}
}

// Two updates for one counter flag the device in every order.
func TestSecondUpdateFlags(t *testing.T) {
	w, l, _, _, kid := ringWorld(t)
	g := w.g.ID()
	c := chain(g, kid, w.pack(kid).ID(g), 3)
	for name, bad := range map[string]protocol.Frame{
		"same predecessor":  NewKeyUpdate(g, kid.device, KeyUpdate{Counter: 2, Prev: c[0].ID(g), KEM: kemOf(99)}),
		"other predecessor": NewKeyUpdate(g, kid.device, KeyUpdate{Counter: 2, Prev: protocol.ItemID{9}, KEM: kemOf(99)}),
		"at counter 1":      NewKeyUpdate(g, kid.device, KeyUpdate{Counter: 1, Prev: w.pack(kid).ID(g), KEM: kemOf(99)}),
	} {
		all := append([]protocol.Frame{bad}, c...)
		for n := range uint64(24) {
			k := NewKeyRing(w.g)
			k.Follow(l.Resolve())
			k.Add(w.pack(kid))
			for _, i := range rand.New(rand.NewPCG(n, 2)).Perm(len(all)) {
				k.Add(all[i])
			}
			if _, ok := k.Newest(kid.dev()); ok || !k.Flagged(kid.dev()) {
				t.Fatalf("%s, order %d: the device is boxed", name, n)
			}
			again := NewKeyRing(w.g)
			again.Follow(l.Resolve())
			again.Restore(k.Frames(kid.dev()))
			if !again.Flagged(kid.dev()) && name != "other predecessor" {
				t.Fatalf("%s, order %d: the flag is lost in a restart", name, n)
			}
		}
	}
}

func TestRestoreFromThePruned(t *testing.T) {
	w, l, k, _, kid := ringWorld(t)
	g := w.g.ID()
	k.Follow(l.Resolve())
	k.Add(w.pack(kid))
	for _, f := range chain(g, kid, w.pack(kid).ID(g), 20) {
		if k.Add(f) != protocol.Accept {
			t.Fatal("refused")
		}
	}
	frames := k.Frames(kid.dev())
	if len(frames) != MaxKeptKeys+1 {
		t.Fatalf("%d frames", len(frames))
	}
	again := NewKeyRing(w.g)
	again.Follow(l.Resolve())
	frames[0], frames[3] = frames[3], frames[0]
	if n := again.Restore(frames); n != 4 {
		t.Fatalf("%d of 4 count", n)
	}
	a, _ := k.Newest(kid.dev())
	b, ok := again.Newest(kid.dev())
	if !ok || a != b || a.Counter != 20 {
		t.Error("another key after a restart")
	}
}

func TestUnnamedPackagesAreBounded(t *testing.T) {
	w, _, k, _, kid := ringWorld(t)
	for i := range MaxUnnamed + 1 {
		v := k.Add(NewKeyPackage(w.g.ID(), kid.device, KeyPackage{Cert: identity.Certify(w.g.ID(), kid.member, kid.device), KEM: kid.kem, Expires: int64(i + 1)}))
		if (v == protocol.Accept) != (i < MaxUnnamed) {
			t.Fatalf("package %d: %v", i, v)
		}
	}
}

func TestKeyFramesMustReject(t *testing.T) {
	w, _, _, ann, kid := ringWorld(t)
	g := w.g.ID()
	cert := identity.Certify(g, kid.member, kid.device)
	good := KeyPackage{Cert: cert, Invite: protocol.InviteID{1}, Inviter: ann.member.Public().Ref(), KEM: kid.kem, Expires: 1000}
	with := func(f func(*KeyPackage)) protocol.Frame { p := good; f(&p); return NewKeyPackage(g, kid.device, p) }
	badMLKEM, badPoint := kid.kem, kid.kem
	badMLKEM[0], badMLKEM[1] = 0xff, 0xff
	clear(badPoint[len(badPoint)-32:])
	order := badPoint
	order[len(order)-32] = 1 // u = 1 has small order as well
	for name, f := range map[string]protocol.Frame{
		"malformed ML-KEM":  with(func(p *KeyPackage) { p.KEM = badMLKEM }),
		"all-zero X25519":   with(func(p *KeyPackage) { p.KEM = badPoint }),
		"small-order point": with(func(p *KeyPackage) { p.KEM = order }),
		"never expires":     with(func(p *KeyPackage) { p.Expires = 0 }),
		"another's cert":    with(func(p *KeyPackage) { p.Cert = identity.Certify(g, ann.member, ann.device) }),
		"another group":     NewKeyPackage(protocol.GroupID{1}, kid.device, good),
		"cert of another":   with(func(p *KeyPackage) { p.Cert = identity.Certify([32]byte{1}, kid.member, kid.device) }),
		"another kind":      protocol.SignFrame(g, protocol.KindKeyUpdate, kid.device, with(func(*KeyPackage) {}).Body),
	} {
		if _, err := ParseKeyPackage(g, f); !errors.Is(err, ErrKeyPackage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := ParseKeyPackage(g, with(func(*KeyPackage) {}))
	if err != nil || p != good {
		t.Fatal("the good one", err)
	}
	if p.For(protocol.InviteID{1}, ann.member.Public(), 999) != nil {
		t.Error("refused for its own invite")
	}
	if p.For(protocol.InviteID{2}, ann.member.Public(), 999) == nil || p.For(protocol.InviteID{1}, kid.member.Public(), 999) == nil ||
		p.For(protocol.InviteID{1}, ann.member.Public(), 1000) == nil {
		t.Error("accepted for another invite, inviter, or after its time")
	}
	for name, u := range map[string]KeyUpdate{
		"counter 0":       {KEM: kid.kem},
		"all-zero X25519": {Counter: 1, KEM: badPoint},
	} {
		if _, err := ParseKeyUpdate(NewKeyUpdate(g, kid.device, u)); !errors.Is(err, ErrKeyUpdate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	u := NewKeyUpdate(g, kid.device, KeyUpdate{Counter: 1, KEM: kid.kem, Heal: true})
	for name, f := range map[string]protocol.Frame{"package": with(func(*KeyPackage) {}), "update": u} {
		for i := range f.Body {
			short, flipped := f, f
			short.Body = f.Body[:i]
			flipped.Body = bytes.Clone(f.Body)
			flipped.Body[i] ^= 1
			for _, bad := range []protocol.Frame{short, flipped} {
				if _, err := ParseKeyPackage(g, bad); err == nil {
					t.Fatalf("%s: byte %d changed and it was taken", name, i)
				}
			}
			if _, err := ParseKeyUpdate(short); err == nil {
				t.Fatalf("%s cut to %d bytes was taken", name, i)
			}
		}
	}
	if n := len(with(func(*KeyPackage) {}).Marshal()); n > protocol.RoomSmall {
		t.Errorf("a key package has %d bytes", n)
	}
}

func TestAck(t *testing.T) {
	g, a := protocol.GroupID{1}, person(1)
	var ids []protocol.ItemID
	for i := range MaxAck {
		ids = append(ids, protocol.ItemID{byte(MaxAck - i), byte(i)})
	}
	f := NewAck(g, a.device, append(ids[:MaxAck-1:MaxAck-1], ids[0]))
	list, err := ParseAck(f)
	if err != nil || len(list) != MaxAck-1 || list[0] != AckPrefix(ids[MaxAck-2]) {
		t.Fatalf("%d %v", len(list), err)
	}
	f = NewAck(g, a.device, ids)
	if len(f.Marshal()) > protocol.RoomSmall {
		t.Error("a full ack does not fit")
	}
	for name, body := range map[string][]byte{
		"empty":    {0x80},
		"unsorted": append(append([]byte{0x82, 0x48}, "bbbbbbbb\x48"...), "aaaaaaaa"...),
		"twice":    append(append([]byte{0x82, 0x48}, "bbbbbbbb\x48"...), "bbbbbbbb"...),
		"short id": append([]byte{0x81, 0x47}, "aaaaaaa"...),
		"long id":  append([]byte{0x81, 0x49}, "aaaaaaaaa"...),
		"nothing":  nil,
		"trailing": append(append([]byte{0x81, 0x48}, "aaaaaaaa"...), 0),
	} {
		if _, err := ParseAck(protocol.SignFrame(g, protocol.KindAck, a.device, body)); !errors.Is(err, ErrAck) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range f.Body {
		if _, err := ParseAck(protocol.SignFrame(g, protocol.KindAck, a.device, f.Body[:i])); err == nil {
			t.Fatalf("cut to %d bytes and taken", i)
		}
	}
}
