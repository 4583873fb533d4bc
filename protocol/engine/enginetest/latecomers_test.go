package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// risky is a group at high risk: three organisers, or two, and dia and eve.
func risky(t *testing.T, organisers int) (w *World, ana, ben, cam, dia, eve *Node) {
	t.Helper()
	if organisers == 2 {
		w, ana, ben, cam = gathered(t)
		ana.promote(t, ben)
	} else {
		w, ana, ben, cam = organised(t)
	}
	must(t, w.Run(engine.Seconds(120)))
	for _, n := range []*Node{ana, ben} {
		n.policy(t, func(p *group.Policy) { p.HighRisk = true })
		must(t, w.Run(engine.Seconds(60)))
	}
	dia, eve = w.Add("Dia"), w.Add("Eve")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, eve.Join(link))
	must(t, w.Run(engine.Seconds(600)))
	return w, ana, ben, cam, dia, eve
}

// Dia and eve reach nobody else for so long that the others have erased the keys under
// which the two wrote. Each has taken what the other said, so their phones count it as
// sent, and say so again when they meet: the others read it all the same.
func TestSaidAmongLatecomers(t *testing.T) {
	for _, first := range []string{"Dia", "Eve"} {
		t.Run(first, func(t *testing.T) {
			w, ana, ben, cam, dia, eve := risky(t, 3)
			w.part([]*Node{ana, ben, cam}, []*Node{dia, eve})
			must(t, dia.Post("à deux", "Corps.", 20*daySeconds))
			must(t, eve.Post("nous deux", "Corps.", 20*daySeconds))
			must(t, w.Run(engine.Seconds(60)))
			for _, n := range []*Node{dia, eve} {
				n.sees(t, true, "à deux", "nous deux")
				if u := n.Engine.Status().Unsent; u != 0 {
					t.Fatalf("%d messages of %s count as not sent", u, n.Name)
				}
			}
			w.pass(t, 10)
			back, later := dia, eve
			if first == "Eve" {
				back, later = eve, dia
			}
			later.Stop()
			clear(w.cuts)
			for range 60 {
				if back.epoch() != ana.epoch() {
					must(t, w.Run(engine.Seconds(1)))
				}
			}
			must(t, later.Start())
			must(t, w.Run(engine.Seconds(600)))
			for _, n := range []*Node{ana, ben, cam} {
				n.sees(t, true, "à deux", "nous deux")
			}
			for _, n := range []*Node{dia, eve} {
				if u := n.Engine.Status().Unsent; u != 0 {
					t.Errorf("%d messages of %s count as not sent", u, n.Name)
				}
			}
			must(t, w.Check())
		})
	}
}

// A Welcome brings epochs that nobody sends in any more, and who was away for longer than
// keys are kept has one that nothing which still is anywhere follows. Their secrets go
// as everywhere else, though the phones are started anew each day.
func TestOldEpochsGoEverywhere(t *testing.T) {
	w, ana, ben, cam, dia, eve := risky(t, 3)
	w.part([]*Node{ana, ben, cam, eve}, []*Node{dia})
	if n := len(eve.Store.rows[tableOfSecrets]); n < 2 {
		t.Fatalf("the Welcome brought %d epochs", n)
	}
	w.pass(t, 10)
	if n := len(dia.Store.rows[tableOfSecrets]); n != 1 {
		t.Errorf("dia, who has heard of no other epoch, has the secrets of %d", n)
	}
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(600)))
	w.pass(t, 9)
	for _, n := range w.nodes {
		for id := range n.Store.rows[tableOfSecrets] {
			if _, ok := ana.Store.rows[tableOfSecrets][id]; !ok {
				t.Errorf("%s keeps the secrets of an epoch that ana has erased", n.Name)
			}
		}
	}
	must(t, w.Check())
}

// Each of two organisers was with readers for longer than keys live, and neither can open
// the other's epochs. All read each other within a quarter of an hour.
func TestTwoOrganisersApart(t *testing.T) {
	w, ana, ben, cam, dia, eve := risky(t, 2)
	w.part([]*Node{ana, cam, dia}, []*Node{ben, eve})
	w.pass(t, 9)
	must(t, ana.Post("ici", "Corps.", 20*daySeconds))
	must(t, ben.Post("là", "Corps.", 20*daySeconds))
	must(t, w.Run(engine.Seconds(60)))
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(900)))
	for _, n := range []*Node{ana, ben, cam, dia, eve} {
		n.sees(t, true, "ici", "là")
	}
	must(t, ana.Post("ici aussi", "Corps.", 0))
	must(t, ben.Post("là aussi", "Corps.", 0))
	must(t, w.Run(deliverFor))
	for _, n := range []*Node{ana, ben, cam, dia, eve} {
		n.sees(t, true, "ici aussi", "là aussi")
	}
}

// What dia wrote reached ben in a file, and her phone does not know. After weeks it seals
// again what nobody seems to have: with the signature that it had, so that nobody takes
// it for a second message under its number, and her phone for a copied one.
func TestSealedAgainIsNotSaidTwice(t *testing.T) {
	w, ana, ben, _, dia, _ := risky(t, 3)
	ana.promote(t, dia) // it would be suspended
	w.part([]*Node{dia}, w.nodes[:3])
	w.part([]*Node{dia}, w.nodes[4:])
	join := func(name string) *Node {
		n := w.Add(name)
		w.part([]*Node{dia}, []*Node{n})
		link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, n.Join(link))
		must(t, w.Run(engine.Seconds(60)))
		return n
	}
	join("Fay") // dia does not know her when she writes
	must(t, dia.Post("par fichier", "Corps.", 20*daySeconds))
	must(t, w.Run(engine.Seconds(10)))
	if all, _ := ben.bring(t, dia.bundle(t, 0)); all.New == 0 {
		t.Fatalf("ben got nothing: %+v", all)
	}
	ben.sees(t, true, "par fichier")
	must(t, w.Run(engine.Seconds(30)))
	gil := join("Gil")
	if u := dia.Engine.Status().Unsent; u != 1 {
		t.Fatalf("%d messages of dia's count as not sent", u)
	}
	w.pass(t, 10)
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(1200)))
	for _, n := range w.nodes {
		n.sees(t, n != gil, "par fichier") // he came later
		for _, m := range n.Engine.Members() {
			if m.Twice {
				t.Errorf("for %s %s said two things", n.Name, m.Name)
			}
		}
	}
	if u := dia.Engine.Status().Unsent; u != 0 {
		t.Errorf("%d messages of dia's count as not sent", u)
	}
}
