package enginetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// Nothing that organisers' devices do by themselves goes on for ever, and a
// restart does none of it twice.
func TestGoverningComesToRest(t *testing.T) {
	w, ana, ben, cam := organised(t)
	before := ana.opCount()
	for range 3 {
		for _, n := range []*Node{ana, ben, cam} {
			n.Stop()
			must(t, n.Start())
		}
		must(t, w.Run(engine.Seconds(600)))
	}
	if got := ana.opCount(); got != before {
		t.Errorf("%d operations became %d by restarts", before, got)
	}
	t.Logf("%d operations", before)
}

// Three organisers lose one.
func TestExpelled(t *testing.T) {
	w, ana, ben, cam := organised(t)
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(60)))
	if p := ana.expel(t, cam); p.Effective || p.Have != 1 || p.Need != 2 || p.Of != 3 {
		t.Fatalf("%+v", p)
	}
	must(t, w.Run(engine.Seconds(60)))
	if p := ben.expel(t, cam); !p.Effective {
		t.Fatalf("%+v", p)
	}
	cam.gone()
	must(t, w.Run(engine.Seconds(60)))
	must(t, ben.Post("sans cam", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	if a := ana.Engine.Authority(); a.Of != 2 || len(a.Open) != 0 || len(ana.Engine.Members()) != 2 {
		t.Errorf("%+v", a)
	}
	if _, err := cam.do(func(e *engine.Engine, now engine.Time) error { return e.Suspend(now, ana.member.String()) }); err == nil {
		t.Error("cam still suspends")
	}
	must(t, w.Check())
}

// A direct expulsion by the deciding vote renews the keys at once, on the device
// that cast it.
func TestDecidingVoteRenewsAtOnce(t *testing.T) {
	w, ana, ben, cam := organised(t)
	p := ana.expel(t, cam)
	must(t, w.Run(engine.Seconds(30)))
	gen := ben.epoch()
	v := ben.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.Vote(now, p.ID.String()[:6])
	})
	if !v.Effective || v.ID != p.ID || ben.epoch() != gen+1 {
		t.Errorf("%+v, epoch %d then %d", v, gen, ben.epoch())
	}
	cam.gone()
	must(t, w.Run(engine.Seconds(90)))
	must(t, w.Check())
}

// A suspension: the next epoch is without the target at once and everybody else
// sends in it; the target's vote still counts, though it has no newer key.
func TestSuspendedStillVotes(t *testing.T) {
	w, ana, ben, cam := organised(t)
	gen := ana.epoch()
	must(t, ana.Suspend(cam))
	if ana.epoch() != gen+1 {
		t.Fatalf("ana is at epoch %d after a suspension, was at %d", ana.epoch(), gen)
	}
	must(t, w.Run(engine.Seconds(120)))
	if ben.epoch() != gen+1 || ben.Engine.Waiting() {
		t.Fatalf("ben is at epoch %d, waiting %t", ben.epoch(), ben.Engine.Waiting())
	}
	must(t, ana.Post("secret", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	if _, err := ben.See("secret"); err != nil {
		t.Error("ben does not see it: ", err)
	}
	if _, err := cam.See("secret"); err == nil {
		t.Error("the suspended one reads on")
	}
	if _, err := cam.do(func(e *engine.Engine, now engine.Time) error { return e.Suspend(now, ana.member.String()) }); err == nil {
		t.Error("a suspended organiser suspended another")
	}
	if _, err := cam.do(func(e *engine.Engine, now engine.Time) error { return e.Remove(now, ben.member.String()) }); err == nil {
		t.Error("a suspended organiser removed somebody")
	}
	p := cam.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.Reinstate(now, cam.member.String())
	})
	if p.Effective || p.Have != 1 {
		t.Fatalf("%+v", p)
	}
	must(t, w.Run(engine.Seconds(120)))
	open := ben.Engine.Authority().Open
	if len(open) != 1 || !slices.Contains(open[0].Voters, cam.member) {
		t.Fatalf("the proposal of the suspended one did not arrive: %+v", open)
	}
	p = ben.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.Reinstate(now, cam.member.String())
	})
	if !p.Effective {
		t.Fatalf("%+v", p)
	}
	// Before the keys are renewed for cam somebody who knows that he is back writes.
	gen = ben.epoch()
	if must(t, ben.Post("entre", "Corps.", 0)); ben.epoch() != gen || ben.Engine.Waiting() {
		t.Fatal("the keys were renewed at once")
	}
	must(t, w.Run(engine.Seconds(300)))
	cam.sees(t, true, "entre")
	must(t, cam.Post("retour", "Corps.", 0))
	must(t, w.Run(engine.Seconds(120)))
	if _, err := ana.See("retour"); err != nil {
		t.Error("ana does not see cam's: ", err)
	}
	for _, n := range []*Node{ana, ben, cam} {
		if n.Engine.Waiting() || n.epoch() != ana.epoch() {
			t.Errorf("%s at epoch %d, waiting %t; ana at %d", n.Name, n.epoch(), n.Engine.Waiting(), ana.epoch())
		}
	}
}

// TestNothingBetween kills the phone at the commit of a proposal: it is there
// with its vote, or it is not.
func TestNothingBetween(t *testing.T) {
	w, ana, ben, cam := organised(t)
	before := ana.Engine.Authority()
	for _, crash := range []string{"before", "after"} {
		if crash == "before" {
			ana.crashIn = 1
		} else {
			ana.crashSent = 1
		}
		ana.Expel(cam)
		if !ana.off {
			t.Fatal("the phone lives")
		}
		must(t, ana.Start())
		open := ana.Engine.Authority().Open
		if crash == "before" && len(open) != len(before.Open) {
			t.Errorf("something was stored: %+v", open)
		}
		if crash == "after" && (len(open) != 1 || !open[0].Voted || open[0].Have != 1) {
			t.Errorf("not all was stored: %+v", open)
		}
	}
	must(t, w.Run(engine.Seconds(60)))
	if open := ben.Engine.Authority().Open; len(open) != 1 || open[0].Have != 1 || open[0].Voted {
		t.Errorf("the others have %+v", open)
	}
}

// A split vote: two organisers apart decide differently with the two voices of
// the third. All come to one decision, and everybody's last vote is for it.
func TestSplitVoteIsAcknowledged(t *testing.T) {
	w, ana, ben, cam := organised(t)
	w.Cut(ana, ben)
	w.Cut(ben, ana)
	set := func(n *Node, days uint8) engine.Proposed {
		return n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays = days; return p })
		})
	}
	w.Cut(ana, cam)
	w.Cut(cam, ana)
	w.Cut(ben, cam)
	w.Cut(cam, ben)
	set(ana, 3)
	set(ben, 5)
	w.Heal(ana, cam)
	w.Heal(ben, cam)
	must(t, w.Run(engine.Seconds(60)))
	open := cam.Engine.Authority().Open
	if len(open) != 2 {
		t.Fatalf("cam knows of %d proposals", len(open))
	}
	cam.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.Vote(now, open[0].ID.String())
	})
	w.Heal(ana, ben)
	must(t, w.Run(engine.Seconds(300)))
	ops := ana.opCount()
	must(t, w.Run(engine.Seconds(3600)))
	if got := ana.opCount(); got != ops {
		t.Errorf("the votes go on: %d, then %d", ops, got)
	}
	for _, n := range []*Node{ana, ben, cam} {
		a := n.Engine.Authority()
		if a.Policy != cam.Engine.Authority().Policy || len(a.Open) != 0 {
			t.Errorf("%s has %+v", n.Name, a)
		}
	}
	l := logOf(t, ana)
	r := l.Resolve()
	for _, m := range []identity.MemberID{ana.member, ben.member, cam.member} {
		if v, ok := r.LatestVote(m); !ok || v != r.LastDecision() {
			t.Errorf("%v stands on %v, %t", m, v, ok)
		}
	}
	must(t, w.Check())
}

// TestJoiningTakesNothingMoreBack: a proposal to expel that also takes back what
// others did is not joined, but made anew.
func TestJoiningTakesNothingMoreBack(t *testing.T) {
	w, ana, ben, cam := organised(t)
	l := logOf(t, ana)
	theirs := ana.Engine.Changes(1)[0].ID
	body := group.Expel{Target: cam.member, Repudiate: []protocol.ItemID{protocol.ItemID(theirs)}}
	if o, _, _ := l.Op(theirs); o.Member == cam.member {
		t.Fatal("that is the target's")
	}
	k := device(t, ana)
	for _, p := range []group.Payload{group.Proposal{Prev: l.Resolve().LastDecision(), Decision: body}, nil} {
		if p == nil {
			p = l.NextVote(ana.member, l.Resolve().Open()[0].ID)
		}
		f, err := l.NewOp(k, ana.member, p, nil, 1)
		must(t, err)
		_, err = l.Add(f)
		must(t, err)
		asMember(t, ben).give(sealed(t, secrets(t, ana), ana, f))
	}
	if open := ben.Engine.Authority().Open; len(open) != 1 || open[0].Have != 1 {
		t.Fatalf("the first one is not open: %+v", open)
	}
	p, err := ben.Expel(cam)
	must(t, err)
	if p.Effective || p.Have != 1 {
		t.Errorf("ben joined what undoes ana's work: %+v", p)
	}
	must(t, w.Run(engine.Seconds(1)))
}

// TestManyHeads: where more operations stand side by side than one can name,
// what is signed joins them first.
func TestManyHeads(t *testing.T) {
	w, ana, ben, cam := organised(t)
	base := logOf(t, ana)
	roots := base.Frames()
	var side []protocol.Frame
	// Members' phones sign merges at one time: each with a log of its own.
	for _, n := range []*Node{ben, cam} {
		k, m := device(t, n), n.member
		for i := range 20 {
			l := group.NewLog(base.Genesis())
			for _, f := range roots {
				_, err := l.Add(f)
				must(t, err)
			}
			f, err := l.NewMerge(k, m, nil, int64(i+1))
			must(t, err)
			side = append(side, f)
		}
	}
	a := asMember(t, ana)
	for _, f := range side {
		a.give(sealed(t, secrets(t, ana), ana, f))
	}
	if n := len(logOf(t, ana).Heads()); n < 17 {
		t.Fatalf("%d heads", n)
	}
	_, err := ana.SetPolicy(group.PostAuthors)
	must(t, err)
	if n := len(logOf(t, ana).Heads()); n != 1 {
		t.Errorf("%d heads are left", n)
	}
	must(t, w.Run(engine.Seconds(1)))
}

// Two organisers and a paper.
func TestPaperExpels(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	paper := identity.RecoveryKeyFromSeed([32]byte{7})
	set := func(n *Node) engine.Proposed {
		return n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetRecovery(now, paper.Public())
		})
	}
	if p := set(ana); !p.Effective {
		t.Fatalf("%+v", p)
	}
	ana.promote(t, ben)
	must(t, w.Run(engine.Seconds(60)))
	p := ana.expel(t, ben)
	if p.Effective || p.Have != 1 || p.Need != 2 || !p.PaperMay {
		t.Fatalf("%+v", p)
	}
	must(t, w.Run(engine.Seconds(60)))
	vote := func(n *Node, k identity.RecoveryKey) (v engine.Proposed, err error) {
		_, err = n.do(func(e *engine.Engine, now engine.Time) error {
			v, err = e.RecoveryVote(now, p.ID.String(), k)
			return err
		})
		return v, err
	}
	if _, err := vote(cam, identity.RecoveryKeyFromSeed([32]byte{8})); !errors.Is(err, engine.ErrPaper) {
		t.Errorf("a false paper: %v", err)
	}
	gen := ana.epoch()
	v, err := vote(cam, paper)
	if must(t, err); !v.Effective {
		t.Fatalf("%+v", v)
	}
	ben.gone()
	must(t, w.Run(engine.Seconds(180)))
	if ana.epoch() <= gen {
		t.Errorf("ana is still at epoch %d", ana.epoch())
	}
	must(t, cam.Post("suite", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, w.Check())
}

// A member without a device is not made an organiser.
func TestGrantWithoutDevices(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	d := device(t, ben).Public().ID()
	_, err := ana.do(func(e *engine.Engine, now engine.Time) error { return e.RemoveDevice(now, d.String()) })
	must(t, err)
	before := ana.Store.names()
	_, err = ana.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.GrantOrganiser(now, ben.member.String())
		return err
	})
	t.Log(err)
	if err == nil || errors.Is(err, group.ErrOp) || !errors.Is(err, engine.ErrImpossible) {
		t.Errorf("refused with %v", err)
	}
	if !slices.Equal(before, ana.Store.names()) {
		t.Error("something changed")
	}
	must(t, w.Run(engine.Seconds(90)))
}

// A person changes the period, and the keys are renewed by it; who may post is
// by the policy in force.
func TestPolicyTakesEffect(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	p := ana.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays, p.Posting = 1, group.PostOrganisers; return p })
	})
	if !p.Effective {
		t.Fatal(p)
	}
	must(t, w.Run(engine.Seconds(30)))
	if err := ben.Post("non", "Corps.", 0); !errors.Is(err, engine.ErrMayNotPost) {
		t.Errorf("ben posts: %v", err)
	}
	gen := ana.epoch()
	must(t, w.Run(engine.Seconds(protocol.DaySeconds+600)))
	if ana.epoch() != gen+1 || ben.epoch() != gen+1 {
		t.Errorf("epoch %d and %d after a day, was %d", ana.epoch(), ben.epoch(), gen)
	}
}
