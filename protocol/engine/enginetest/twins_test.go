package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// twice is whether a node's list of changes has a suspension of somebody whose
// device signed two things under one number, and how many suspensions there are.
func (n *Node) twice(of *Node) (twice bool, suspensions int) {
	for _, c := range n.Engine.Changes(0) {
		if c.Kind == group.KindSuspend && c.Target == of.member {
			twice, suspensions = twice || c.Twice, suspensions+1
		}
	}
	return twice, suspensions
}

// giveBack has two organisers give somebody back, and waits until all is done.
func giveBack(t *testing.T, w *World, who, by, and *Node) {
	t.Helper()
	p, err := by.Reinstate(who)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	if p, err = and.Vote(p.ID.String()); err != nil || !p.Effective {
		t.Fatal(p, err)
	}
	must(t, w.Run(engine.Seconds(200)))
}

// Spec 46 section 8: a seized organiser's phone issues two epochs under one number,
// one for each half of the group. Both are read, everybody sends in one, an
// organiser's device suspends it by itself, once, and all are told why. Whom the
// organisers give back is not suspended for it again.
func TestTwoEpochsUnderOneNumber(t *testing.T) {
	for _, reason := range []bool{true, false} {
		w, x, ben, cam, dia, eve := heldUp(t)
		in := []*Node{ben, cam, dia, eve}
		heal := x.heal()
		d := x.draft(x.last)
		frames := []protocol.Frame{heal}
		if reason {
			d.Heals = []protocol.ItemID{heal.ID(x.n.id)}
		}
		one, h := x.issue(d)
		other, k := x.issue(d)
		if h.ID() == k.ID() || h.Core.Seq != k.Core.Seq {
			t.Fatal("not two under one number")
		}
		x.give(x.last, []*Node{ben, dia}, append(frames, one)...)
		must(t, ben.Post("au milieu", "Corps.", 0))
		x.give(x.last, []*Node{cam, eve}, append(frames, other)...)
		must(t, cam.Post("de même", "Corps.", 0))
		must(t, w.Run(engine.Seconds(130)))
		talk(t, w, "ensemble", in...)
		check := func(when string, suspended bool) {
			t.Helper()
			for _, n := range in {
				n.sees(t, true, "au milieu", "de même")
				if twice, list := n.twice(x.n); !twice || list != 1 || n.epoch() != ben.epoch() {
					t.Errorf("%s, %s: told of it %t, %d suspensions, epoch %d", when, n.Name, twice, list, n.epoch())
				}
				for _, o := range n.Engine.Authority().Organisers {
					if o.ID == x.n.member && (len(o.SuspendedBy) > 0) != suspended {
						t.Errorf("%s, %s: suspended by %d", when, n.Name, len(o.SuspendedBy))
					}
				}
			}
		}
		check("after it", true)
		for _, n := range in {
			n.Stop()
			must(t, n.Start())
		}
		must(t, w.Run(engine.Seconds(200)))
		check("after a start", true)
		giveBack(t, w, x.n, ben, cam)
		talk(t, w, "décidé", in...)
		check("given back", false)
	}
}

// A copy of a phone issues an epoch under a number that the phone has used: the
// phone learns that it was copied.
func TestTwinFreezesItsOwner(t *testing.T) {
	w, x, _, _, _, _ := heldUp(t)
	under, d := x.last, x.draft(x.last)
	own := x.heads[under.ID()]
	for _, h := range x.heads {
		if h.Device == x.device.Public().ID() && (own.Device != h.Device || h.Core.Seq > own.Core.Seq) {
			own = h
		}
	}
	if own.Device != x.device.Public().ID() {
		t.Fatal("the phone has issued nothing")
	}
	d.Seq = own.Core.Seq
	f, _ := x.issue(d)
	must(t, x.n.Start())
	if x.n.Engine.Frozen() {
		t.Fatal("frozen before anything came")
	}
	x.give(under, []*Node{x.n}, f)
	if !x.n.Engine.Frozen() {
		t.Error("the phone does not notice that it was copied")
	}
	must(t, w.Run(engine.Seconds(60)))
}
