package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// TestAlarm: a decision that held for more than a week is rewritten with old
// keys. Nothing is sent before a person has looked.
func TestAlarm(t *testing.T) {
	for _, days := range []int64{2, 8} {
		w, ana, ben, cam := organised(t)
		old, err := w.Copy(ben, "Old")
		must(t, err)
		for _, x := range []*Node{ana, ben} {
			for _, y := range []*Node{old, cam} {
				w.Cut(x, y)
				w.Cut(y, x)
			}
		}
		p, err := ana.SetPolicy(group.PostAuthors)
		must(t, err)
		must(t, w.Run(engine.Seconds(10)))
		_, err = ben.Vote(p.ID.String())
		must(t, err)
		must(t, w.Run(engine.Seconds(10)))
		ben.Stop()
		must(t, w.Run(engine.Seconds(days*protocol.DaySeconds)))
		q, err := cam.SetPolicy(group.PostOrganisers)
		must(t, err)
		must(t, w.Run(engine.Seconds(60)))
		_, err = old.Vote(q.ID.String())
		must(t, err)
		_, err = old.SetPolicy(group.PostAuthors) // a second vote on that branch
		must(t, err)
		must(t, w.Run(engine.Seconds(60)))
		w.Heal(ana, cam)
		w.Heal(cam, ana)
		ana.Events = nil
		if alarmed(t, w, ana, p.ID, days > 7); days > 7 {
			if _, err := cam.See("attend"); err != nil || ana.Engine.Status().Unsent != 0 {
				t.Errorf("after it was confirmed: %+v, %v", ana.Engine.Status(), err)
			}
		}
	}
}

// alarmed checks what a phone does that voted for a decision and has just seen
// it rewritten: with alarm nothing is sent before a person has confirmed, also
// after a start; without, it goes on.
func alarmed(t *testing.T, w *World, n *Node, gone protocol.OpID, alarm bool) {
	t.Helper()
	must(t, w.Run(engine.Seconds(300)))
	count := 0
	if alarm {
		count = 1
	}
	if n.Engine.Status().AuthorityAlarm != alarm || n.Engine.Waiting() != alarm || len(toldOf(n, engine.EventAlarm)) != count {
		t.Fatalf("alarm %t, waiting %t, told %d times", n.Engine.Status().AuthorityAlarm, n.Engine.Waiting(), len(toldOf(n, engine.EventAlarm)))
	}
	if !slices.Contains(toldOf(n, engine.EventAuthority), gone.String()) {
		t.Error("nothing is said of the decision that is gone")
	}
	if !alarm {
		return
	}
	must(t, n.Post("attend", "Corps.", 0))
	n.Stop()
	must(t, n.Start())
	must(t, w.Run(engine.Seconds(300)))
	if s := n.Engine.Status(); !s.AuthorityAlarm || s.Unsent != 1 {
		t.Errorf("a restart ends the alarm: %+v", s)
	}
	if v, err := n.See("attend"); err == nil {
		t.Errorf("it was sent during the alarm: %v", v.Status)
	}
	if v, ok := logOf(t, n).Resolve().LatestVote(n.member); !ok || v != gone {
		t.Errorf("it stands on what nobody looked at: %v", v)
	}
	_, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.ConfirmAuthority(now) })
	must(t, err)
	must(t, w.Run(engine.Seconds(300)))
	if n.Engine.Status().AuthorityAlarm {
		t.Error("it is confirmed, and the alarm goes on")
	}
	if _, err := n.See("attend"); err != nil {
		t.Error("it was not sent after the confirmation: ", err)
	}
	if v, ok := logOf(t, n).Resolve().LatestVote(n.member); !ok || v == gone {
		t.Error("it does not stand on what was confirmed")
	}
	n.Stop()
	must(t, n.Start())
	if n.Engine.Status().AuthorityAlarm {
		t.Error("a restart brings the alarm back")
	}
}

// TestRewrittenDecisionIsAnAlarm: the same where one of the two gave a member
// the operations of thieves, and a start on the way does not begin the week anew.
func TestRewrittenDecisionIsAnAlarm(t *testing.T) {
	for _, days := range []int64{6, 8} {
		w, ana, ben, cam := organised(t)
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
		ana.Events = nil
		for _, f := range frames {
			at.give(sealed(t, k, ana, f))
		}
		must(t, w.Run(engine.Seconds(5)))
		if got := ana.Engine.Authority().Policy.PeriodDays; got != 2 {
			t.Fatalf("the chain was not rewritten: period %d", got)
		}
		alarmed(t, w, ana, p.ID, days > 7)
	}
}
