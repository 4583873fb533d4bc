package enginetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// ask gives a node one governing command.
func (n *Node) ask(t *testing.T, f func(e *engine.Engine, now engine.Time) (engine.Proposed, error)) (p engine.Proposed) {
	t.Helper()
	_, err := n.do(func(e *engine.Engine, now engine.Time) (err error) { p, err = f(e, now); return err })
	must(t, err)
	return p
}

func (n *Node) promote(t *testing.T, x *Node) engine.Proposed {
	t.Helper()
	p, err := n.Organise(x)
	must(t, err)
	return p
}

func (n *Node) expel(t *testing.T, x *Node) engine.Proposed {
	t.Helper()
	p, err := n.Expel(x)
	must(t, err)
	return p
}

// trio is a group of three organisers.
func trio(t *testing.T) (w *World, ana, ben, cam *Node) {
	t.Helper()
	w, ana, ben, cam = gathered(t)
	if p := ana.promote(t, ben); !p.Effective || p.Have != 1 || p.Need != 1 || p.Of != 1 {
		t.Fatalf("one organiser alone did not decide: %+v", p)
	}
	must(t, w.Run(engine.Seconds(20)))
	if p := ana.promote(t, cam); p.Effective {
		t.Fatalf("one of two decided: %+v", p)
	}
	must(t, w.Run(engine.Seconds(20)))
	if p := ben.promote(t, cam); !p.Effective {
		t.Fatalf("two of two did not decide: %+v", p)
	}
	must(t, w.Run(engine.Seconds(90)))
	for _, n := range []*Node{ana, ben, cam} {
		if a := n.Engine.Authority(); a.Of != 3 || a.Need != 2 || len(a.Open) != 0 {
			t.Fatalf("%s has %+v", n.Name, a)
		}
	}
	must(t, w.Check())
	return w, ana, ben, cam
}

func (n *Node) opCount() int { return len(n.Store.rows[tableOfOps]) }

// Nothing that organisers' devices do by themselves goes on for ever, and a
// restart does none of it twice.
func TestGoverningComesToRest(t *testing.T) {
	w, ana, ben, cam := trio(t)
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

// A suspension: the next epoch is without the target at once and everybody else
// sends in it; the target's vote still counts, though it has no newer key.
func TestSuspendedStillVotes(t *testing.T) {
	w, ana, ben, cam := trio(t)
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
	must(t, w.Run(engine.Seconds(300)))
	if _, err := cam.do(func(e *engine.Engine, now engine.Time) error { return nil }); err != nil {
		t.Fatal(err)
	}
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

// Three organisers lose one.
func TestExpelled(t *testing.T) {
	w, ana, ben, cam := trio(t)
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
	w, ana, ben, cam := trio(t)
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

// A wrong command changes nothing: neither a row nor an event.
func TestRefusedGoverningChangesNothing(t *testing.T) {
	w, ana, ben, cam := trio(t)
	_ = w
	old := ana.Engine.Changes(0)
	for name, f := range map[string]func(e *engine.Engine, now engine.Time) error{
		"suspend self":   func(e *engine.Engine, now engine.Time) error { return e.Suspend(now, ana.member.String()) },
		"suspend nobody": func(e *engine.Engine, now engine.Time) error { return e.Suspend(now, "000000") },
		"short prefix":   func(e *engine.Engine, now engine.Time) error { return e.Suspend(now, ben.member.String()[:5]) },
		"empty prefix":   func(e *engine.Engine, now engine.Time) error { _, err := e.Expel(now, "", nil); return err },
		"vote unknown":   func(e *engine.Engine, now engine.Time) error { _, err := e.Vote(now, "ffffff"); return err },
		"vote short":     func(e *engine.Engine, now engine.Time) error { _, err := e.Vote(now, ""); return err },
		"vote decided":   func(e *engine.Engine, now engine.Time) error { _, err := e.Vote(now, old[0].ID.String()); return err },
		"reinstate": func(e *engine.Engine, now engine.Time) error {
			_, err := e.Reinstate(now, ben.member.String())
			return err
		},
		"grant again": func(e *engine.Engine, now engine.Time) error {
			_, err := e.GrantOrganiser(now, ben.member.String())
			return err
		},
		"repudiate unknown": func(e *engine.Engine, now engine.Time) error {
			_, err := e.Expel(now, ben.member.String(), []string{"ffffff"})
			return err
		},
		"repudiate others'": func(e *engine.Engine, now engine.Time) error {
			_, err := e.Expel(now, ben.member.String(), []string{old[len(old)-1].ID.String()})
			return err
		},
		"repudiate short": func(e *engine.Engine, now engine.Time) error {
			_, err := e.Expel(now, ben.member.String(), []string{""})
			return err
		},
		"no devices": func(e *engine.Engine, now engine.Time) error {
			_, err := e.SetDevices(now, ben.member.String(), nil)
			return err
		},
		"same devices": func(e *engine.Engine, now engine.Time) error {
			_, err := e.SetDevices(now, ben.member.String(), []string{device0(t, e, ben.member)})
			return err
		},
		"another's device": func(e *engine.Engine, now engine.Time) error {
			_, err := e.SetDevices(now, ben.member.String(), []string{device0(t, e, cam.member)})
			return err
		},
		"same policy": func(e *engine.Engine, now engine.Time) error {
			_, err := e.SetPolicy(now, func(p group.Policy) group.Policy { return p })
			return err
		},
		"bad policy": func(e *engine.Engine, now engine.Time) error {
			_, err := e.SetPolicy(now, func(p group.Policy) group.Policy { p.Posting = 99; return p })
			return err
		},
		"no paper to end": func(e *engine.Engine, now engine.Time) error {
			_, err := e.SetRecovery(now, group.RecoveryPublic{})
			return err
		},
		"paper of nobody": func(e *engine.Engine, now engine.Time) error {
			_, err := e.RecoveryVote(now, "ffffff", identity.RecoveryKeyFromSeed([32]byte{1}))
			return err
		},
		"operating device": func(e *engine.Engine, now engine.Time) error { return e.RemoveDevice(now, device0(t, e, ben.member)) },
		"own operating":    func(e *engine.Engine, now engine.Time) error { return e.RemoveDevice(now, device0(t, e, ana.member)) },
		"leave":            func(e *engine.Engine, now engine.Time) error { return e.Leave(now) },
		"remove organiser": func(e *engine.Engine, now engine.Time) error { return e.Remove(now, ben.member.String()) },
		"confirm no alarm": func(e *engine.Engine, now engine.Time) error { return e.ConfirmAuthority(now) },
	} {
		before, told := ana.Store.names(), len(ana.Events)
		if _, err := ana.do(f); err == nil {
			t.Errorf("%s: not refused", name)
		} else if errors.Is(err, group.ErrOp) {
			t.Errorf("%s: refused by its encoding: %v", name, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
		if !slices.Equal(before, ana.Store.names()) || len(ana.Events) != told {
			t.Errorf("%s: something changed", name)
		}
	}
}

func device0(t *testing.T, e *engine.Engine, m identity.MemberID) string {
	t.Helper()
	l, err := e.Devices(m.String())
	must(t, err)
	return l[0].ID.String()
}

// A split vote: two organisers apart decide differently with the two voices of
// the third. All come to one decision, and everybody's last vote is for it.
func TestSplitVoteIsAcknowledged(t *testing.T) {
	w, ana, ben, cam := trio(t)
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

// Two operations of one operating device under one number: one of the honest
// organisers suspends its owner, once, with both as evidence. The owner freezes.
func TestEvidenceIsAnsweredOnce(t *testing.T) {
	w, ana, ben, cam := trio(t)
	f := equivocate(t, cam)
	k := secrets(t, ana)
	a := asMember(t, ana)
	a.give(sealed(t, k, ana, f))
	must(t, w.Run(engine.Seconds(300)))
	for _, n := range []*Node{ana, ben} {
		var by []identity.MemberID
		for _, o := range n.Engine.Authority().Organisers {
			if o.ID == cam.member {
				by = o.SuspendedBy
			} else if len(o.SuspendedBy) > 0 {
				t.Errorf("%s has %v suspended", n.Name, o.ID)
			}
		}
		if len(by) == 0 {
			t.Fatalf("%s: nobody answered", n.Name)
		}
		t.Logf("suspended by %d", len(by))
	}
	l := logOf(t, ana)
	for _, s := range l.Resolve().Suspensions() {
		_, p, _ := l.Op(s.ID)
		if e := p.(group.Suspend).Evidence; len(e) != 2 {
			t.Errorf("%d frames of evidence", len(e))
		}
	}
	if _, err := cam.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Expel(now, ana.member.String(), nil)
		return err
	}); !errors.Is(err, engine.ErrCopied) {
		t.Errorf("cam, copied, signs: %v", err)
	}
	cam.Stop()
	must(t, cam.Start())
	if _, err := cam.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Expel(now, ana.member.String(), nil)
		return err
	}); !errors.Is(err, engine.ErrCopied) {
		t.Errorf("cam, copied, signs after a start: %v", err)
	}
	ops := ana.opCount()
	for _, n := range []*Node{ana, ben} {
		n.Stop()
		must(t, n.Start())
	}
	must(t, w.Run(engine.Seconds(3600)))
	if got := ana.opCount(); got != ops {
		t.Errorf("%d operations became %d", ops, got)
	}
	// Reinstated, it is not suspended for the same again.
	p := ana.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.Reinstate(now, cam.member.String())
	})
	must(t, w.Run(engine.Seconds(30)))
	if p = ben.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, p.ID.String()) }); !p.Effective {
		t.Fatalf("%+v", p)
	}
	must(t, w.Run(engine.Seconds(3600)))
	for _, o := range ben.Engine.Authority().Organisers {
		if len(o.SuspendedBy) > 0 {
			t.Errorf("%v is suspended again", o.ID)
		}
	}
}

// A device that does not vote is no reason to stop its owner: it can be taken out
// by itself.
func TestEvidenceOfAnotherDevice(t *testing.T) {
	w, ana, ben, cam := trio(t)
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

// A decision that held for more than a week and is rewritten is an alarm:
// nothing is sent before a person has confirmed, also after a start.
func TestRewrittenDecisionIsAnAlarm(t *testing.T) {
	for _, days := range []int64{6, 8} {
		w, ana, ben, cam := trio(t)
		// What ben and cam have, they lose to a thief: they can rewrite from before
		// the last decision, in which ana and ben made cam an organiser.
		base := logOf(t, ana)
		p := ana.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays = 3; return p })
		})
		must(t, w.Run(engine.Seconds(30)))
		// Ben does not hear of it while ana and cam decide.
		w.Cut(ben, ana)
		w.Cut(ana, ben)
		w.Cut(ben, cam)
		w.Cut(cam, ben)
		if p = cam.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, p.ID.String()) }); !p.Effective {
			t.Fatalf("%+v", p)
		}
		// A start on the way does not begin the week anew.
		must(t, w.Run(engine.Seconds((days-2)*protocol.DaySeconds)))
		ana.Stop()
		must(t, ana.Start())
		must(t, w.Run(engine.Seconds(2*protocol.DaySeconds)))
		ben.Stop()
		must(t, ana.Post("avant", "Corps.", 0))
		// Ben and cam's stolen keys decide for another policy from the old state.
		d := group.DefaultPolicy(10)
		d.PeriodDays = 2
		l := base
		prop, err := l.NewOp(device(t, ben), ben.member, group.Proposal{Prev: l.Resolve().LastDecision(), Decision: group.SetPolicy{Policy: d}}, nil, 1)
		must(t, err)
		_, err = l.Add(prop)
		must(t, err)
		id := protocol.OpID(prop.ID(ana.id))
		var frames []protocol.Frame
		frames = append(frames, prop)
		for range 3 { // vote numbers above all that cam used since
			for _, x := range []*Node{ben, cam} {
				v, err := l.NewOp(device(t, x), x.member, l.NextVote(x.member, id), nil, 1)
				must(t, err)
				_, err = l.Add(v)
				must(t, err)
				frames = append(frames, v)
			}
		}
		k := secrets(t, ana)
		at := asMember(t, ana)
		for _, f := range frames {
			at.give(sealed(t, k, ana, f))
		}
		must(t, w.Run(engine.Seconds(5)))
		if got := ana.Engine.Authority().Policy.PeriodDays; got != 2 {
			t.Fatalf("the chain was not rewritten: period %d", got)
		}
		alarm := days > 7
		if s := ana.Engine.Status(); s.AuthorityAlarm != alarm {
			t.Errorf("after %d days the alarm is %t", days, s.AuthorityAlarm)
		}
		alarms := 0
		for _, ev := range ana.Events {
			if ev.Kind == engine.EventAlarm {
				alarms++
			}
		}
		if alarms > 1 || (alarms == 1) != alarm {
			t.Errorf("%d alarms", alarms)
		}
		if !alarm {
			continue
		}
		ana.Stop()
		must(t, ana.Start())
		if s := ana.Engine.Status(); !s.AuthorityAlarm {
			t.Error("the alarm did not survive a start")
		}
		must(t, ana.Post("pendant", "Corps.", 0))
		if v, err := ana.See("pendant"); err == nil {
			t.Errorf("it was sent during the alarm: %v", v.Status)
		}
		_, err = ana.do(func(e *engine.Engine, now engine.Time) error { return e.ConfirmAuthority(now) })
		must(t, err)
		must(t, w.Run(engine.Seconds(120)))
		if _, err := ana.See("pendant"); err != nil || ana.Engine.Status().AuthorityAlarm {
			t.Errorf("after the confirmation: %v", err)
		}
		ana.Stop()
		must(t, ana.Start())
		if s := ana.Engine.Status(); s.AuthorityAlarm {
			t.Error("the alarm came back by a start")
		}
	}
}

// Proposal and vote of one command are both there after a crash, or neither.
func TestProposalAndVoteAreOneBatch(t *testing.T) {
	for _, sent := range []bool{false, true} {
		w, ana, ben, cam := trio(t)
		_ = cam
		if sent {
			ana.crashSent = 1
		} else {
			ana.crashIn = 1
		}
		ana.do(func(e *engine.Engine, now engine.Time) error {
			_, err := e.Expel(now, ben.member.String(), nil)
			return err
		})
		if !ana.off {
			t.Fatal("it did not die")
		}
		must(t, ana.Start())
		open := ana.Engine.Authority().Open
		if want := map[bool]int{false: 0, true: 1}[sent]; len(open) != want || want == 1 && (!open[0].Voted || open[0].Have != 1) {
			t.Errorf("sent %t: %+v", sent, open)
		}
		must(t, w.Run(engine.Seconds(60)))
	}
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

// Who leaves is heard, and the group's keys are renewed.
func TestLeaveIsHeard(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	// Nobody is there when he leaves.
	for _, n := range []*Node{ana, ben} {
		w.Cut(n, cam)
		w.Cut(cam, n)
	}
	_, err := cam.do(func(e *engine.Engine, now engine.Time) error { return e.Leave(now) })
	must(t, err)
	cam.Stop()
	must(t, cam.Start())
	cam.gone()
	if !cam.Engine.Status().Removed {
		t.Error("cam takes itself for a member")
	}
	if err := cam.Post("encore", "Corps.", 0); err == nil {
		t.Error("who left posts")
	}
	must(t, w.Run(engine.Seconds(60)))
	w.Heal(ana, cam)
	must(t, w.Run(engine.Seconds(180)))
	if len(ana.Engine.Members()) != 2 || len(ben.Engine.Members()) != 2 {
		t.Error("nobody heard of it")
	}
	must(t, ben.Post("sans cam", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	if g := cam.gate; g != nil && len(g.Dial) > 0 {
		t.Error("who left and was heard still knocks")
	}
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

const tableOfKeyFrames = 3

// addDevice signs a second device of x, as x's phone does, and gives it to n.
func addDevice(t *testing.T, n, x *Node, seed byte) identity.DeviceID {
	t.Helper()
	l := logOf(t, n)
	var self struct {
		_      struct{} `cbor:",toarray"`
		Member [32]byte
		Device [32]byte
		Rescue [32]byte
		Name   string
	}
	must(t, wire.Unmarshal(x.Store.rows[tableOfMeta]["self"].value, 1024, &self))
	d := identity.DeviceKeyFromSeed([32]byte{seed, 77})
	cert := identity.Certify(n.id, identity.MemberKeyFromSeed(self.Member), d)
	kem, err := epoch.NewKEMPrivate(n.random)
	must(t, err)
	kp := group.NewKeyPackage(n.id, d, group.KeyPackage{Cert: cert, KEM: kem.Public(),
		Lane: epoch.MailKeyFromSeed([32]byte{seed, 78}).Public(), Expires: n.Now().Unix() + 3600})
	op, err := l.NewOp(device(t, x), x.member, group.AddDevice{Cert: cert.Marshal(), KeyPackage: kp.ID(n.id)}, nil, n.Now().Unix())
	must(t, err)
	// x's phone has it, or it would take it for the work of a copy.
	x.Stop()
	id, kid := op.ID(n.id), kp.ID(n.id)
	x.Store.Commit(engine.Batch{Puts: []engine.Record{{Table: tableOfOps, Key: id[:], Value: op.Marshal()},
		{Table: tableOfKeyFrames, Key: kid[:], Value: kp.Marshal()}}})
	must(t, x.Start())
	k, a := secrets(t, n), asMember(t, n)
	a.give(sealed(t, k, n, op))
	a.give(sealed(t, k, n, kp))
	a.step(engine.PeerDown{Peer: a.id})
	return d.Public().ID()
}

// told counts the events of authority by operation.
func (n *Node) told(from int) map[string]int {
	m := map[string]int{}
	for _, ev := range n.Events[from:] {
		if ev.Kind == engine.EventAuthority {
			m[ev.ID]++
		}
	}
	return m
}

// A device that a member adds is told of, and the member takes it out again; so
// does an organiser with another's. The next epoch is without them.
func TestDevicesComeAndGo(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	from := map[*Node]int{}
	for _, n := range []*Node{ana, ben, cam} {
		from[n] = len(n.Events)
	}
	d1 := addDevice(t, ana, ben, 1)
	must(t, w.Run(engine.Seconds(60)))
	d2 := addDevice(t, ana, cam, 2)
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range []*Node{ana, ben, cam} {
		got := n.told(from[n])
		// The phone on which a device was added knows of it since before its start.
		if want := map[*Node]int{ana: 2, ben: 1, cam: 1}[n]; len(got) != want {
			t.Errorf("%s is told of %v", n.Name, got)
		}
		for id, count := range got {
			if count != 1 {
				t.Errorf("%s is told of %s %d times", n.Name, id, count)
			}
		}
		from[n] = len(n.Events)
		for _, x := range []*Node{ben, cam} {
			if l, err := n.Engine.Devices(x.member.String()); err != nil || len(l) != 2 {
				t.Errorf("%s: devices of %s: %v %v", n.Name, x.Name, l, err)
			}
		}
	}
	drop := func(n *Node, d identity.DeviceID) error {
		_, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.RemoveDevice(now, d.String()[:6]) })
		return err
	}
	if err := drop(ben, d2); err == nil {
		t.Error("a member removes another's device")
	}
	gen := ana.epoch()
	must(t, drop(ben, d1))
	if ben.epoch() != gen {
		t.Error("a reader issued an epoch")
	}
	must(t, w.Run(engine.Seconds(120)))
	if ana.epoch() != gen+1 || ben.epoch() != gen+1 || ana.Engine.Waiting() {
		t.Errorf("epochs %d and %d, was %d", ana.epoch(), ben.epoch(), gen)
	}
	must(t, drop(ana, d2))
	if ana.epoch() != gen+2 {
		t.Error("an organiser did not renew at once")
	}
	must(t, w.Run(engine.Seconds(120)))
	for _, n := range []*Node{ana, ben, cam} {
		if n.epoch() != gen+2 || len(n.told(from[n])) != 2 {
			t.Errorf("%s at epoch %d, told of %v", n.Name, n.epoch(), n.told(from[n]))
		}
		l, err := n.Engine.Devices(ben.member.String())
		if must(t, err); len(l) != 2 || !l[0].Effective || l[1].Effective || l[1].ID != d1 {
			t.Errorf("%s: %+v", n.Name, l)
		}
	}
	must(t, w.Check())
}

// What happens to the group is told to every member, once for every state of it,
// and not again after a start.
func TestEveryChangeIsToldToAll(t *testing.T) {
	w, ana, ben, cam := trio(t)
	all := []*Node{ana, ben, cam}
	from := map[*Node]int{}
	mark := func() {
		for _, n := range all {
			from[n] = len(n.Events)
		}
	}
	check := func(what string, want int) {
		t.Helper()
		must(t, w.Run(engine.Seconds(120)))
		for _, n := range all {
			total := 0
			for _, c := range n.told(from[n]) {
				total += c
			}
			if total != want {
				t.Errorf("%s: %s is told %d times: %v", what, n.Name, total, n.told(from[n]))
			}
		}
		mark()
	}
	mark()
	days := uint8(3)
	set := func(n *Node) engine.Proposed {
		return n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays = days; return p })
		})
	}
	set(ana)
	check("a proposal", 1)
	if p := set(ben); !p.Effective {
		t.Fatal(p)
	}
	check("its decision", 1)
	for _, n := range all {
		n.Stop()
		must(t, n.Start())
	}
	check("a start", 0)
	must(t, ana.Suspend(cam))
	all = []*Node{ana, ben} // cam has it under no key, but knows of it from the old one
	check("a suspension", 1)
}

// An organiser's phone was replaced: the others set the new one, the old one reads
// nothing later, votes no more and is cut off at once.
func TestReplacedPhone(t *testing.T) {
	w, ana, ben, cam := trio(t)
	d1 := addDevice(t, ana, ben, 1)
	must(t, w.Run(engine.Seconds(120)))
	set := func(n *Node) engine.Proposed {
		return n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetDevices(now, ben.member.String(), []string{d1.String()[:8]})
		})
	}
	must(t, ben.Post("ancien", "Corps.", 0))
	must(t, w.Run(engine.Seconds(30)))
	set(ana)
	must(t, w.Run(engine.Seconds(30)))
	gen := cam.epoch()
	if p := set(cam); !p.Effective || p.Have < 2 || p.Need != 2 || p.Of != 3 {
		t.Errorf("%+v", p)
	}
	if cam.epoch() != gen+1 {
		t.Errorf("epoch %d, was %d", cam.epoch(), gen)
	}
	must(t, w.Run(engine.Seconds(120)))
	must(t, ana.Post("neuf", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	for _, name := range []string{"ancien", "neuf"} {
		var shown bool
		for _, v := range cam.Engine.Notices(cam.Now(), nil, false) {
			shown = shown || v.Title == name
		}
		if !shown {
			t.Errorf("%q is not shown", name)
		}
	}
	if _, err := ben.See("neuf"); err == nil {
		t.Error("the old phone reads on")
	}
	for _, o := range ana.Engine.Authority().Organisers {
		if o.ID == ben.member && !slices.Equal(o.Devices, []identity.DeviceID{d1}) {
			t.Errorf("ben votes by %v", o.Devices)
		}
	}
	before := ben.Store.names()
	if _, err := ben.Expel(ana); err == nil {
		t.Error("the old phone proposes")
	}
	if !slices.Equal(before, ben.Store.names()) {
		t.Error("a refused command left something")
	}
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
