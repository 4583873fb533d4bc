package group

import (
	"errors"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

func marshalOp(o Op) []byte { return wire.Marshal(o) }

func mustAdd(t *testing.T, l *Log, f protocol.Frame, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := l.Add(f); err != nil || r.Outcome != Added {
		t.Fatalf("%v %v", r.Outcome, err)
	}
}

func TestBuilderFollowsItself(t *testing.T) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	l := NewLog(w.g)
	heads := []protocol.EpochID{{2}, {1}, {2}}
	for i, p := range []Payload{w.add(kid), GrantAuthor{Target: kid.id()}, RevokeAuthor{Target: kid.id()}, Merge{}, RemoveMember{Target: kid.id()}} {
		f, err := l.NewOp(ann.device, ann.id(), p, heads, 100)
		mustAdd(t, l, f, err)
		o, _, _ := l.Op(protocol.OpID(f.ID(w.g.ID())))
		if o.Seq != uint64(i+1) || len(o.EpochHeads) != 2 || o.EpochHeads[0] != (protocol.EpochID{1}) {
			t.Fatalf("op %+v", o)
		}
		if len(l.Heads()) != 1 {
			t.Fatal("the new operation is not the only head")
		}
	}
	if heads[0] != (protocol.EpochID{2}) {
		t.Error("the caller's slice was sorted")
	}
}

func TestBuilderRefuses(t *testing.T) {
	ann, kid, dan, eve := person(0), person(2), person(3), person(4)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	b := w.op(ann, w.add(dan), a)
	w.op(ann, RemoveMember{Target: dan.id()}, b)
	l := w.log(t)
	for name, c := range map[string]struct {
		who  actor
		p    Payload
		want error
	}{
		"reader adds":           {kid, w.add(eve), ErrNotAllowed},
		"removed merges":        {dan, Merge{}, ErrNotAllowed},
		"stranger merges":       {eve, Merge{}, ErrNotAllowed},
		"member again":          {ann, w.add(kid), ErrMember},
		"device again":          {ann, w.add(dan), ErrKnownDevice},
		"stranger's removal":    {ann, RemoveMember{Target: eve.id()}, ErrNotMember},
		"grant to a stranger":   {ann, GrantAuthor{Target: eve.id()}, ErrNotMember},
		"reader drops another":  {kid, RemoveDevice{Device: ann.dev()}, ErrOrganiser},
		"drop of a stranger":    {ann, RemoveDevice{Device: eve.dev()}, ErrNotMember},
		"reader grants himself": {kid, GrantAuthor{Target: kid.id()}, ErrNotAllowed},
	} {
		if _, err := l.NewOp(c.who.device, c.who.id(), c.p, nil, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// The same person comes back with fresh device keys.
	f, err := l.NewOp(ann.device, ann.id(), w.add(deviceOf(3, 1)), nil, 1)
	mustAdd(t, l, f, err)
	wantRole(t, l, dan, Reader)
}

func TestTooManyHeadsNeedAMerge(t *testing.T) {
	ann := person(0)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	for range 40 {
		w.op(ann, Merge{})
	}
	l := w.log(t)
	if _, err := l.NewOp(ann.device, ann.id(), GrantAuthor{Target: ann.id()}, nil, 1); !errors.Is(err, ErrManyHeads) {
		t.Fatal(err)
	}
	merges := 0
	for len(l.Heads()) > protocol.MaxParents {
		f, err := l.NewMerge(ann.device, ann.id(), nil, 1)
		mustAdd(t, l, f, err)
		merges++
	}
	if merges != 2 {
		t.Errorf("%d merges for 40 heads", merges)
	}
	f, err := l.NewOp(ann.device, ann.id(), GrantAuthor{Target: ann.id()}, nil, 1)
	mustAdd(t, l, f, err)
}

func TestFramesAndBetween(t *testing.T) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	b := w.op(ann, GrantAuthor{Target: kid.id()}, a)
	c := w.op(kid, Merge{}, a)
	l := NewLog(w.g)
	for _, i := range []int{2, 1, 0} {
		l.Add(w.frames[i])
	}
	other := NewLog(w.g)
	for _, f := range l.Frames() {
		if r, err := other.Add(f); err != nil || r.Outcome != Added {
			t.Fatal("frames are not in an order that needs no holding")
		}
	}
	got, err := l.Between([]protocol.OpID{b}, protocol.SortIDs([]protocol.OpID{b, c}))
	if err != nil || len(got) != 1 || protocol.OpID(got[0].ID(w.g.ID())) != c {
		t.Errorf("between: %d frames, %v", len(got), err)
	}
	if _, err := l.Between(nil, []protocol.OpID{{9}}); !errors.Is(err, ErrUnknownHead) {
		t.Error(err)
	}
	if _, ok := l.At([]protocol.OpID{{9}}); ok {
		t.Error("a roster at unknown heads")
	}
}

// What is out of its bounds would be a node without effect: it is not signed.
func TestNewOpSignsNothingWithoutEffect(t *testing.T) {
	g := found(t, DefaultPolicy(5), person(1))
	l, a := NewLog(g), person(1)
	for _, p := range []Payload{
		Proposal{Prev: l.Resolve().LastDecision(), Decision: SetDevices{Target: a.id()}},
		Proposal{Prev: l.Resolve().LastDecision(), Decision: SetRecovery{Key: []byte{1}}},
	} {
		if _, err := l.NewOp(a.device, a.id(), p, nil, 1); !errors.Is(err, ErrImpossible) {
			t.Errorf("%T: %v", p, err)
		}
	}
}
