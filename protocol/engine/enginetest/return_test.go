package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// pass lets days go by in which the phones are on for a quarter of an hour each
// day, all but those named.
func (w *World) pass(t *testing.T, days int, off ...*Node) {
	t.Helper()
	asleep := func(n *Node) bool {
		for _, x := range off {
			if x == n {
				return true
			}
		}
		return false
	}
	const awake = 900
	for range days {
		for _, n := range w.nodes {
			if !n.off {
				n.Stop()
			}
		}
		must(t, w.Run(engine.Seconds(5))) // last words
		w.events = nil
		w.Now += engine.Seconds(daySeconds - awake - 5)
		for _, n := range w.nodes {
			if !asleep(n) {
				must(t, n.Start())
			}
		}
		must(t, w.Run(engine.Seconds(awake)))
	}
}

func (n *Node) policy(t *testing.T, f func(p *group.Policy)) {
	t.Helper()
	n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.SetPolicy(now, func(p group.Policy) group.Policy { f(&p); return p })
	})
}

// sees wants a notice to be listed, or not.
func (n *Node) sees(t *testing.T, want bool, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := n.See(name); (err == nil) != want {
			t.Errorf("%s sees %q: %t", n.Name, name, !want)
		}
	}
}

// Who was off for longer than anybody keeps the last epoch that it has comes back
// by itself: it reads what is sent from then on and what is still kept, and what it
// wrote meanwhile goes out.
func TestReturnAfterWeeks(t *testing.T) {
	for _, v := range []struct {
		name string
		high bool
		days int
	}{{"standard", false, 60}, {"high risk", true, 15}} {
		t.Run(v.name, func(t *testing.T) {
			w, ana, ben, cam := gathered(t)
			if v.high {
				ana.policy(t, func(p *group.Policy) { p.HighRisk = true })
			}
			must(t, w.Run(engine.Seconds(600)))
			cam.Stop()
			w.pass(t, v.days-8, cam)
			must(t, ana.Post("avant le retour", "Corps.", 20*daySeconds))
			w.pass(t, 8, cam)
			must(t, ben.Post("hier", "Corps.", 20*daySeconds))
			must(t, w.Run(engine.Seconds(60)))
			if cam.Store.rows[tableOfSecrets] == nil || ana.epoch() < 2 {
				t.Fatal("nothing was renewed")
			}
			// Nobody is there yet when he writes.
			for _, n := range []*Node{ana, ben} {
				w.Cut(n, cam)
				w.Cut(cam, n)
			}
			must(t, cam.Start())
			must(t, cam.Post("seul", "Corps.", 20*daySeconds))
			must(t, w.Run(engine.Seconds(60)))
			cam.sees(t, false, "hier", "avant le retour")
			w.Heal(ana, cam)
			must(t, w.Run(engine.Seconds(300)))
			if cam.epoch() != ana.epoch() || cam.Engine.Waiting() {
				t.Fatalf("cam is at epoch %d, ana at %d", cam.epoch(), ana.epoch())
			}
			must(t, w.Run(engine.Seconds(1800)))
			cam.sees(t, true, "hier", "avant le retour")
			ana.sees(t, true, "seul")
			ben.sees(t, true, "seul")
			must(t, ben.Post("après", "Corps.", 0))
			must(t, cam.Post("merci", "Corps.", 0))
			must(t, w.Run(engine.Seconds(600)))
			cam.sees(t, true, "après")
			ana.sees(t, true, "merci")
			must(t, w.Check())
			// And he stays: his keys are renewed, and he goes with the next epoch.
			w.pass(t, 9)
			if cam.epoch() != ana.epoch() || w.linkOf(ana, cam) == nil {
				t.Errorf("cam does not stay: epoch %d of %d", cam.epoch(), ana.epoch())
			}
			must(t, w.Check())
		})
	}
}

// An organiser who is suspended for longer than epochs are kept goes on deciding
// with the others however long it takes, and comes back when it is given back.
func TestSuspendedForWeeks(t *testing.T) {
	for _, days := range []int{1, 5, 40} {
		w, ana, ben, cam := organised(t)
		for _, n := range []*Node{ana, ben} {
			n.policy(t, func(p *group.Policy) { p.RetentionDays = 2 })
			must(t, w.Run(engine.Seconds(60)))
		}
		must(t, ana.Suspend(cam))
		w.pass(t, days)
		p, err := ana.Reinstate(cam)
		must(t, err)
		must(t, w.Run(engine.Seconds(300)))
		if a := cam.Engine.Authority(); len(a.Open) != 1 {
			t.Fatalf("after %d days cam does not hear what is proposed: %+v", days, a)
		}
		if p = ben.vote(t, p); !p.Effective {
			t.Fatalf("%+v", p)
		}
		must(t, w.Run(engine.Seconds(1200)))
		if cam.epoch() != ana.epoch() || cam.Engine.Waiting() {
			t.Errorf("after %d days cam does not come back: epoch %d of %d, waiting %t", days, cam.epoch(), ana.epoch(), cam.Engine.Waiting())
		}
		must(t, cam.Post("me revoilà", "Corps.", 0))
		must(t, ana.Post("bienvenue", "Corps.", 0))
		must(t, w.Run(engine.Seconds(900)))
		cam.sees(t, true, "bienvenue")
		ben.sees(t, true, "me revoilà")
		w.pass(t, 9)
		if cam.epoch() != ana.epoch() {
			t.Errorf("cam does not stay")
		}
	}
}

func (n *Node) vote(t *testing.T, p engine.Proposed) engine.Proposed {
	t.Helper()
	return n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, p.ID.String()) })
}

// The vote of who is suspended counts after weeks, with the standard retention.
func TestSuspendedVotesAfterWeeks(t *testing.T) {
	w, ana, ben, cam := organised(t)
	must(t, ana.Suspend(cam))
	w.pass(t, 45, ben)
	p, err := ana.Reinstate(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(600)))
	if p.Effective {
		t.Fatal("one of three decided")
	}
	if p = cam.vote(t, p); !p.Effective {
		t.Fatalf("%+v", p)
	}
	must(t, w.Run(engine.Seconds(1200)))
	if s := ana.suspended(); len(s) != 0 {
		t.Fatal("the vote did not reach ana")
	}
	if cam.epoch() != ana.epoch() || cam.Engine.Waiting() {
		t.Errorf("cam does not come back: epoch %d of %d", cam.epoch(), ana.epoch())
	}
	// Ben, who was off all that time, comes back as well.
	must(t, ben.Start())
	must(t, w.Run(engine.Seconds(1200)))
	must(t, ana.Post("tous là", "Corps.", 0))
	must(t, w.Run(engine.Seconds(900)))
	ben.sees(t, true, "tous là")
	cam.sees(t, true, "tous là")
	must(t, w.Check())
}

// Somebody who was let in while off collects the Welcome after most of 90 days:
// the epochs inside are gone everywhere, and he comes in all the same.
func TestLateWelcome(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	must(t, w.Run(engine.Seconds(600)))
	link, err := ana.Invite(engine.InviteParams{Seconds: 3 * daySeconds})
	must(t, err)
	dia := w.Add("Dia")
	must(t, dia.Join(link))
	must(t, w.Run(engine.Seconds(5)))
	dia.Stop()
	must(t, ana.Approve("Dia"))
	w.pass(t, 88, dia)
	must(t, ben.Post("avant", "Corps.", 0))
	must(t, w.Run(engine.Seconds(300)))
	must(t, dia.Start())
	must(t, w.Run(engine.Seconds(1800)))
	if !dia.Engine.Joined() || dia.epoch() != ana.epoch() {
		t.Fatalf("dia is in %t, at epoch %d of %d", dia.Engine.Joined(), dia.epoch(), ana.epoch())
	}
	must(t, cam.Post("bienvenue", "Corps.", 0))
	must(t, dia.Post("enfin", "Corps.", 0))
	must(t, w.Run(engine.Seconds(900)))
	dia.sees(t, true, "avant", "bienvenue")
	ana.sees(t, true, "enfin")
	must(t, w.Check())
}

// Each half of a group renews its keys each day for three weeks without the other.
// What was said on the first day reaches the other half, though it lies in the oldest
// of more epochs than are compared at once; and whoever was off all the time is
// brought past more epochs than are taken in before they can be judged.
func TestApartForWeeks(t *testing.T) {
	w, ana, ben, cam := organised(t)
	for _, n := range []*Node{ana, ben} {
		n.policy(t, func(p *group.Policy) { p.PeriodDays = 1 })
		must(t, w.Run(engine.Seconds(60)))
	}
	dia, eve, fay := w.Add("Dia"), w.Add("Eve"), w.Add("Fay")
	link, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	for _, n := range []*Node{dia, eve, fay} {
		must(t, n.Join(link))
	}
	must(t, w.Run(engine.Seconds(600)))
	w.part([]*Node{ana, ben}, []*Node{cam, dia})
	eve.Stop()
	fay.Stop()
	must(t, ana.Remove(fay))
	must(t, cam.Post("de loin", "Corps.", 40*daySeconds))
	w.pass(t, 21, eve, fay)
	dia.sees(t, true, "de loin")
	ana.sees(t, false, "de loin")
	must(t, cam.Post("de la veille", "Corps.", 40*daySeconds))
	if ana.epoch() < 20 || cam.epoch() < 20 {
		t.Fatalf("ana is at epoch %d, cam at %d", ana.epoch(), cam.epoch())
	}
	for _, n := range []*Node{cam, dia} { // eve meets one half first
		w.Cut(n, eve)
		w.Cut(eve, n)
	}
	must(t, eve.Start())
	must(t, w.Run(engine.Seconds(300)))
	if eve.epoch() != ana.epoch() || eve.Engine.Waiting() {
		t.Errorf("eve is at epoch %d, ana at %d", eve.epoch(), ana.epoch())
	}
	clear(w.cuts)
	w.part([]*Node{eve}, []*Node{cam, dia}) // she has old keys of both
	must(t, w.Run(engine.Seconds(3600)))
	for _, n := range []*Node{ana, ben, eve} {
		n.sees(t, true, "de loin")
		n.sees(t, true, "de la veille")
	}
	// For ana and ben by cam, for cam and dia by ana or ben, and for eve by one of each
	// part at most, since no one brings more than 16 epochs.
	if n := eve.reboxes(); n > 6 {
		t.Errorf("%d ReBoxes were made", n)
	}
	w.pass(t, 2)
	cams, _ := cam.sendingIn()
	for _, n := range []*Node{ana, ben, dia, eve} {
		if s, _ := n.sendingIn(); s != cams {
			t.Errorf("%s and Cam do not send in one epoch", n.Name)
		}
	}
	must(t, w.Check())
}
