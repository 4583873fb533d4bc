package enginetest

import (
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// In a group at high risk old keys live for 3 days, and epochs for 7. Two parts of it
// that did not reach each other for longer have no epoch in common that both can open,
// and some have no epoch in common at all. They read each other within the hour, and
// go on together from the next renewal on.
func TestApartAtHighRisk(t *testing.T) {
	for _, days := range []int{9, 15} {
		t.Run(fmt.Sprint(days), func(t *testing.T) {
			w, ana, ben, cam := organised(t)
			for _, n := range []*Node{ana, ben} {
				n.policy(t, func(p *group.Policy) { p.HighRisk = true })
				must(t, w.Run(engine.Seconds(60)))
			}
			dia, eve := w.Add("Dia"), w.Add("Eve")
			link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
			must(t, err)
			must(t, dia.Join(link))
			must(t, eve.Join(link))
			must(t, w.Run(engine.Seconds(600)))
			w.part([]*Node{ana, ben, eve}, []*Node{cam, dia})
			w.pass(t, days)
			must(t, cam.Post("de loin", "Corps.", 20*daySeconds))
			must(t, eve.Post("d'ici", "Corps.", 20*daySeconds))
			must(t, w.Run(engine.Seconds(60)))
			clear(w.cuts)
			w.part([]*Node{ana}, []*Node{dia}) // two phones alone meet those of the other part
			w.part([]*Node{ben, eve}, []*Node{cam, dia})
			must(t, w.Run(engine.Seconds(3600)))
			for _, n := range w.nodes {
				n.sees(t, true, "de loin", "d'ici")
			}
			w.pass(t, 2)
			cams, _ := cam.sendingIn()
			for _, n := range w.nodes {
				if s, _ := n.sendingIn(); s != cams {
					t.Errorf("%s and Cam do not send in one epoch", n.Name)
				}
			}
			must(t, w.Check())
		})
	}
}

// A phone that was apart for so long that all know only keys that it erased tells its new
// ones on its rescue link, and is handed the epoch under them on the next one: that they
// were told to all is no sign that it could open anything.
func TestComesBackWithNewKeys(t *testing.T) {
	w, ana, ben, cam := organised(t)
	for _, n := range []*Node{ana, ben} {
		n.policy(t, func(p *group.Policy) { p.HighRisk = true })
		must(t, w.Run(engine.Seconds(60)))
	}
	dia := w.Add("Dia")
	link, err := ana.Invite(engine.InviteParams{Uses: 1, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, w.Run(engine.Seconds(600)))
	w.part([]*Node{ana, ben}, []*Node{cam, dia}) // Cam renews the keys for both
	w.pass(t, 11)
	must(t, ana.Post("pour Dia", "Corps.", 20*daySeconds))
	must(t, w.Run(engine.Seconds(60)))
	clear(w.cuts)
	w.part([]*Node{cam}, []*Node{ana, ben, dia})
	w.part([]*Node{ben}, []*Node{dia})
	dia.still = dia.Now() // it gives and takes, and dials nobody again for a minute
	must(t, w.Run(engine.Seconds(60)))
	dia.sees(t, false, "pour Dia")
	_, err = ana.Invite(engine.InviteParams{Uses: 1}) // whom she lets in is looked at anew
	must(t, err)
	dia.start()
	must(t, w.Run(engine.Seconds(60)))
	dia.sees(t, true, "pour Dia")
}
