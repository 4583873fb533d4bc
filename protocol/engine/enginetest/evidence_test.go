package enginetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// TestEvidenceIsAnswered: of an organiser whose phone is in two hands another
// organiser's phone says so by a suspension with both operations in it, once,
// and not before the minute in which one of them does it for all.
func TestEvidenceIsAnswered(t *testing.T) {
	w, ana, ben, cam := organised(t)
	thief, err := w.Copy(cam, "Thief")
	must(t, err)
	w.Cut(thief, cam)
	w.Cut(cam, thief)
	for _, n := range []*Node{ana, ben} {
		w.Cut(thief, n)
		w.Cut(n, thief)
	}
	_, err = cam.SetPolicy(group.PostAuthors)
	must(t, err)
	_, err = thief.SetPolicy(group.PostOrganisers)
	must(t, err)
	must(t, w.Run(engine.Seconds(5)))
	if len(ana.suspended()) != 0 {
		t.Fatal("suspended without evidence")
	}
	w.Heal(thief, ana)
	must(t, w.Run(engine.Seconds(300)))
	answered(t, w, ana, ben, cam)
}

// answered checks what comes of the two hands that cam's phone is in: it is
// suspended, for a reason that everybody can check, it freezes, and nothing of
// that is done twice.
func answered(t *testing.T, w *World, ana, ben, cam *Node) {
	t.Helper()
	for _, n := range []*Node{ana, ben} {
		if !slices.ContainsFunc(n.suspended(), func(x *Node) bool { return x == cam }) {
			t.Fatalf("%s: nobody answered", n.Name)
		}
		for _, x := range n.suspended() {
			if x.member != cam.member {
				t.Errorf("%s has %s suspended", n.Name, x.Name)
			}
		}
	}
	l := logOf(t, ana)
	list := l.Resolve().Suspensions()
	for _, x := range list {
		_, p, _ := l.Op(x.ID)
		s := p.(group.Suspend)
		if len(s.Evidence) != 2 || bytes.Compare(s.Evidence[0], s.Evidence[1]) >= 0 || s.Target != cam.member {
			t.Errorf("a suspension without its reason: %+v", s)
		}
	}
	if len(list) < 1 || len(list) > 2 {
		t.Errorf("%d suspensions", len(list))
	}
	// The phone itself sees that it was copied, and signs nothing more.
	if err := cam.Suspend(ana); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("a copied phone suspends: %v", err)
	}
	if _, err := cam.Expel(ana); !errors.Is(err, engine.ErrCopied) {
		t.Errorf("a copied phone signs on: %v", err)
	}
	ops := ana.opCount()
	for _, n := range []*Node{cam, ana, ben} {
		n.Stop()
		must(t, n.Start())
	}
	if _, err := cam.Expel(ana); !errors.Is(err, engine.ErrCopied) {
		t.Errorf("after a restart a copied phone signs on: %v", err)
	}
	must(t, w.Run(engine.Seconds(3600)))
	if got := ana.opCount(); got != ops {
		t.Errorf("%d operations became %d", ops, got)
	}
	// Given back by both, it is not suspended for the same again.
	p, err := ana.Reinstate(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(30)))
	p, err = ben.Vote(p.ID.String())
	if must(t, err); !p.Effective {
		t.Fatalf("%+v", p)
	}
	must(t, w.Run(engine.Seconds(3600)))
	if len(ana.suspended()) != 0 || len(ben.suspended()) != 0 {
		t.Error("what the organisers judged is answered again")
	}
}

// equivocate signs a second operation for the place of x's newest one.
func equivocate(t *testing.T, x *Node) protocol.Frame {
	t.Helper()
	l, d := logOf(t, x), device(t, x)
	// From before the newest operation of the device: a copy restored from there.
	g, _ := group.ParseGenesis(x.Store.rows[tableOfMeta]["genesis"].value)
	old := group.NewLog(g)
	last, ok := l.LastOf(d.Public().ID())
	if !ok {
		t.Fatal("nothing signed yet")
	}
	for _, f := range l.Frames() {
		if protocol.OpID(f.ID(x.id)) == last {
			break
		}
		_, err := old.Add(f)
		must(t, err)
	}
	f, err := old.NewOp(d, x.member, group.Merge{}, nil, x.Now().Unix()+1)
	must(t, err)
	return f
}

// TestTwoUnderOneNumber: two operations of one operating device under one number,
// brought by a member, are answered as two phones are.
func TestTwoUnderOneNumber(t *testing.T) {
	w, ana, ben, cam := organised(t)
	f := equivocate(t, cam)
	asMember(t, ana).give(sealed(t, secrets(t, ana), ana, f))
	must(t, w.Run(engine.Seconds(300)))
	answered(t, w, ana, ben, cam)
}

// A device that does not vote is no reason to stop its owner: it can be taken out
// by itself.
func TestEvidenceOfAnotherDevice(t *testing.T) {
	w, ana, ben, cam := organised(t)
	addDevice(t, ana, cam, 5)
	must(t, w.Run(engine.Seconds(60)))
	l, d := logOf(t, ana), identity.DeviceKeyFromSeed([32]byte{5, 77})
	k, a := secrets(t, ana), asMember(t, ana)
	for at := range int64(2) {
		f, err := l.NewOp(d, cam.member, group.Merge{}, nil, 1000+at)
		must(t, err)
		a.give(sealed(t, k, ana, f))
	}
	must(t, w.Run(engine.Seconds(300)))
	if got := len(logOf(t, ana).Evidence()); got != 1 {
		t.Fatalf("%d pieces of evidence", got)
	}
	for _, n := range []*Node{ana, ben} {
		for _, o := range n.Engine.Authority().Organisers {
			if len(o.SuspendedBy) > 0 {
				t.Errorf("%s has %v suspended", n.Name, o.ID)
			}
		}
	}
}
