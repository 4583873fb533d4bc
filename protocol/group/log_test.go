package group

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

func TestHeldUntilParentsArrive(t *testing.T) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	b := w.op(kid, Merge{}, a)
	w.raw(kid, 40, []byte("later version"), b)
	l := NewLog(w.g)
	for _, i := range []int{2, 1} {
		if r, err := l.Add(w.frames[i]); err != nil || r.Outcome != Held {
			t.Fatalf("%v %v", r, err)
		}
	}
	if r, _ := l.Add(w.frames[1]); r.Outcome != Duplicate {
		t.Error("a held frame again is no duplicate")
	}
	if m := l.Missing(); len(m) != 1 || m[0] != a {
		t.Fatalf("missing %v", m)
	}
	r, err := l.Add(w.frames[0])
	if err != nil || r.Outcome != Added || !slices.Equal(r.Added, w.ids) {
		t.Fatalf("%+v %v", r, err)
	}
	if l.HeldCount() != 0 || len(l.Missing()) != 0 || l.held.bytes != 0 || l.held.unknown != (room{}) || len(l.held.waiters) != 0 {
		t.Error("something is left behind")
	}
	if h := l.Heads(); len(h) != 1 || h[0] != w.ids[2] {
		t.Errorf("heads %v", h)
	}
	if r, _ := l.Add(w.frames[0]); r.Outcome != Duplicate {
		t.Error("no duplicate")
	}
}

// A copy with a false signature cannot be told while the certificate is missing;
// it must not keep the true one out.
func TestFalseCopyDoesNotHideTheTrueOne(t *testing.T) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	b := w.op(kid, Merge{}, a)
	forged := w.frames[1]
	forged.Sig[3] ^= 1
	l := NewLog(w.g)
	l.Add(forged)
	if r, err := l.Add(w.frames[1]); err != nil || r.Outcome != Held {
		t.Fatalf("%v %v", r, err)
	}
	l.Add(w.frames[0])
	if !l.Has(b) {
		t.Error("the true copy was lost")
	}
	if _, err := l.Add(forged); err != nil && !errors.Is(err, ErrOp) {
		t.Error(err)
	}
	if f, _ := l.Frame(b); f.Sig != w.frames[1].Sig {
		t.Error("the false copy is kept")
	}
}

func TestHeldIsBounded(t *testing.T) {
	ann := person(0)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	l := NewLog(w.g)
	stranger := person(5)
	for i := range MaxHeldUnknown + 5 {
		w.sign(stranger, Op{Kind: KindMerge, Seq: 1, CreatedAt: int64(i), Parents: []protocol.OpID{{1}}})
		_, err := l.Add(w.frames[len(w.frames)-1])
		if full := errors.Is(err, ErrHeldFull); full != (i >= MaxHeldUnknown) {
			t.Fatalf("op %d: %v", i, err)
		}
	}
	// A known device still finds room, and what is in order needs none.
	w.sign(ann, Op{Kind: KindMerge, Seq: 1, Parents: []protocol.OpID{{1}}})
	if r, err := l.Add(w.frames[len(w.frames)-1]); err != nil || r.Outcome != Held {
		t.Errorf("%v %v", r, err)
	}
	w.op(ann, Merge{})
	if r, err := l.Add(w.frames[len(w.frames)-1]); err != nil || r.Outcome != Added {
		t.Errorf("%v %v", r, err)
	}
}

// Spec 40 section 3: large operations without parents, of one device and of many
// that nobody knows, leave room for what others sign, in whatever order it comes.
func TestWaitingRoomIsShared(t *testing.T) {
	ann, ben, cam := person(0), person(1), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann, ben, cam))
	l := NewLog(w.g)
	large := slices.Repeat([]byte{7}, 12_000)
	took := map[bool]int{}
	for i := range 200 { // as much as MaxHeldBytes and more
		signer, known := ann, true
		if i%2 == 0 {
			signer, known = person(10+i), false
		}
		w.sign(signer, Op{Kind: 200, Seq: 1, CreatedAt: int64(i), Parents: []protocol.OpID{{1}}, Payload: large})
		r, err := l.Add(w.frames[len(w.frames)-1])
		if err == nil && r.Outcome == Held {
			took[known] += len(w.frames[len(w.frames)-1].Body)
		} else if !errors.Is(err, ErrHeldFull) {
			t.Fatalf("%v %v", r, err)
		}
	}
	for known, n := range took {
		if n > MaxHeldDeviceBytes || n < MaxHeldDeviceBytes-13_000 {
			t.Errorf("known %t: %d bytes wait", known, n)
		}
	}
	first := len(w.frames)
	for i := range 400 { // one chain of two
		w.op([]actor{ben, cam}[i%2], Merge{})
	}
	for _, f := range slices.Backward(w.frames[first:]) {
		if _, err := l.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	if l.Len() != 400 {
		t.Errorf("%d of 400 are in", l.Len())
	}
}

// Spec 40 section 3 and the list of what must be rejected.
func TestMalformedOps(t *testing.T) {
	ann, ben, kid := person(0), person(1), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann, ben))
	g := w.g.ID()
	other := found(t, DefaultPolicy(100), ann, ben).ID()
	a := w.op(ann, w.add(kid))
	b := w.op(ben, Merge{})
	good := Op{Kind: KindMerge, Seq: 2, PrevOwn: a, Parents: []protocol.OpID{a}}
	with := func(f func(*Op)) Op { o := good; f(&o); o.Version, o.Member = o.Version+1, ann.id(); return o }
	many := make([]protocol.OpID, protocol.MaxParents+1)
	manyEpochs := make([]protocol.EpochID, protocol.MaxHeads+1)
	for i := range many {
		many[i][0], manyEpochs[i][0] = byte(i), byte(i)
	}
	ids := protocol.SortIDs([]protocol.OpID{a, b})
	foreign := identity.Certify(other, kid.member, kid.device).Marshal()
	cut := Cutoff{Device: kid.dev(), Seq: 1, Content: protocol.ContentID{1}}
	manyCuts := make([]Cutoff, MaxCutoffs+1)
	for i := range manyCuts {
		manyCuts[i] = Cutoff{Device: identity.DeviceID{byte(i)}, Seq: 1, Content: protocol.ContentID{1}}
	}
	pay := func(p Payload) func(*Op) {
		return func(o *Op) { o.Kind, o.Payload = p.Kind(), p.marshal() }
	}
	for name, o := range map[string]Op{
		"version 0":              func() Op { o := with(func(*Op) {}); o.Version = 0; return o }(),
		"version 2":              with(func(o *Op) { o.Version = 1 }),
		"seq 0":                  with(func(o *Op) { o.Seq = 0 }),
		"seq 1 with prev_own":    with(func(o *Op) { o.Seq = 1 }),
		"seq 2 without prev_own": with(func(o *Op) { o.PrevOwn = protocol.OpID{} }),
		"seq gap":                with(func(o *Op) { o.Seq = 3 }),
		"another's prev_own":     with(func(o *Op) { o.PrevOwn = b }),
		"unsorted parents":       with(func(o *Op) { o.Parents = []protocol.OpID{ids[1], ids[0]} }),
		"parent twice":           with(func(o *Op) { o.Parents = []protocol.OpID{a, a} }),
		"too many parents":       with(func(o *Op) { o.Parents = many }),
		"too many epoch heads":   with(func(o *Op) { o.EpochHeads = manyEpochs }),
		"epoch head twice":       with(func(o *Op) { o.EpochHeads = make([]protocol.EpochID, 2) }),
		"negative time":          with(func(o *Op) { o.CreatedAt = -1 }),
		"merge with payload":     with(func(o *Op) { o.Payload = []byte{0x80} }),
		"add without payload":    with(func(o *Op) { o.Kind = KindAddMember }),
		"add of another group":   with(pay(AddMember{Cert: foreign})),
		"short target":           with(func(o *Op) { o.Kind, o.Payload = KindGrantAuthor, append([]byte{0x81, 0x4f}, make([]byte, 15)...) }),
		"trailing payload":       with(func(o *Op) { pay(GrantAuthor{})(o); o.Payload = append(o.Payload, 0) }),
		"cut-off twice":          with(pay(RemoveMember{Cutoffs: []Cutoff{cut, cut}})),
		"cut-off of nothing":     with(pay(RemoveMember{Cutoffs: []Cutoff{{Device: kid.dev()}}})),
		"cut-off at 0":           with(pay(RemoveMember{Cutoffs: []Cutoff{{Device: kid.dev(), Content: protocol.ContentID{1}}}})),
		"cut-off without id":     with(pay(RevokeAuthor{Cutoffs: []Cutoff{{Device: kid.dev(), Seq: 1}}})),
		"too many cut-offs":      with(pay(RemoveMember{Cutoffs: manyCuts})),
		"device seq without id":  with(pay(RemoveDevice{Device: kid.dev(), Seq: 1})),
		"other member's name":    func() Op { o := with(func(*Op) {}); o.Member = ben.id(); return o }(),
	} {
		l := w.log(t)
		before := dump(l.Resolve(), nil)
		if _, err := l.Add(protocol.SignFrame(g, protocol.KindOp, ann.device, marshalOp(o))); !errors.Is(err, ErrOp) {
			t.Errorf("%s: %v", name, err)
		}
		if l.Len() != 2 || l.HeldCount() != 0 || dump(l.Resolve(), nil) != before {
			t.Errorf("%s: changed something", name)
		}
	}
	l := w.log(t)
	ok := marshalOp(with(func(*Op) {}))
	for name, f := range map[string]protocol.Frame{
		"another group":    protocol.SignFrame(other, protocol.KindOp, ann.device, ok),
		"another kind":     protocol.SignFrame(g, protocol.KindKeyUpdate, ann.device, ok),
		"another's device": {Kind: protocol.KindOp, Device: ben.dev(), Body: ok, Sig: protocol.SignFrame(g, protocol.KindOp, ann.device, ok).Sig},
		"too large":        protocol.SignFrame(g, protocol.KindOp, ann.device, marshalOp(with(func(o *Op) { o.Kind, o.Payload = 50, make([]byte, protocol.RoomMedium) }))),
		"empty":            protocol.SignFrame(g, protocol.KindOp, ann.device, nil),
	} {
		if _, err := l.Add(f); !errors.Is(err, ErrOp) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, err := l.Add(protocol.SignFrame(g, protocol.KindOp, ann.device, ok)); err != nil || r.Outcome != Added {
		t.Errorf("the good one: %v", err)
	}
}

func TestBitFlipsAndTruncations(t *testing.T) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	w.op(ann, w.add(kid))
	b := w.frames[0].Marshal()
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if f, err := protocol.ParseFrame(bad); err == nil {
			l := NewLog(w.g)
			if r, err := l.Add(f); err == nil && r.Outcome != Held {
				t.Fatalf("byte %d changed and the op was taken", i)
			}
			if len(l.Resolve().Members()) != 1 {
				t.Fatalf("byte %d changed the roster", i)
			}
		}
		body := w.frames[0].Body
		if i < len(body) {
			if _, _, err := ParseOp(protocol.SignFrame(w.g.ID(), protocol.KindOp, ann.device, body[:i]), w.g.ID()); err == nil {
				t.Fatalf("cut to %d bytes and the op was taken", i)
			}
		}
	}
}

func TestEachFieldChangesTheID(t *testing.T) {
	ann := person(0)
	g := found(t, DefaultPolicy(3), ann).ID()
	base := Op{Version: 1, Seq: 2, Payload: []byte{}}
	ids := map[protocol.ItemID]bool{}
	id := func(g protocol.GroupID, k protocol.FrameKind, a actor, o Op) {
		i := protocol.SignFrame(g, k, a.device, marshalOp(o)).ID(g)
		if ids[i] {
			t.Error("two operations have one id")
		}
		ids[i] = true
	}
	id(g, protocol.KindOp, ann, base)
	id(protocol.GroupID{1}, protocol.KindOp, ann, base)
	id(g, protocol.KindBatch, ann, base)
	id(g, protocol.KindOp, person(1), base)
	for _, f := range []func(*Op){
		func(o *Op) { o.Version = 2 }, func(o *Op) { o.Kind = 1 }, func(o *Op) { o.Member[0] = 1 },
		func(o *Op) { o.Seq = 3 }, func(o *Op) { o.PrevOwn[0] = 1 }, func(o *Op) { o.Parents = make([]protocol.OpID, 1) },
		func(o *Op) { o.EpochHeads = make([]protocol.EpochID, 1) }, func(o *Op) { o.CreatedAt = 1 }, func(o *Op) { o.Payload = []byte{1} },
	} {
		o := base
		f(&o)
		id(g, protocol.KindOp, ann, o)
	}
}
