package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Ben is given back on one side while Cam suspends Dia on the other, in an epoch that Ben
// was not given. Ben goes on in one of his own, which has Dia: whoever holds both tells
// him there, at once, as he would go on sending to her.
func TestToldInAnEpochBeside(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia := w.Add("Dia")
	link, err := ana.Invite(engine.InviteParams{Uses: 1, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, w.Run(engine.Seconds(300)))
	p := ana.promote(t, dia)
	must(t, w.Run(engine.Seconds(20)))
	_, err = ben.Vote(p.ID.String()[:6])
	must(t, err)
	must(t, w.Run(engine.Seconds(300)))
	must(t, dia.Suspend(ben))
	must(t, w.Run(engine.Seconds(5)))
	for _, n := range []*Node{ana, cam, dia} {
		n.still = n.Now() // they take and give, and issue nothing
	}
	p, err = cam.Reinstate(ben)
	must(t, err)
	must(t, w.Run(engine.Seconds(5)))
	w.part([]*Node{cam}, []*Node{ana, ben, dia})
	must(t, cam.Suspend(dia))
	for _, n := range []*Node{ana, dia} {
		_, err = n.Vote(p.ID.String()[:6])
		must(t, err)
		must(t, w.Run(engine.Seconds(5)))
	}
	must(t, w.Run(engine.Seconds(120)))
	if _, sends := ben.sendingIn(); !sends || slices.Contains(ben.suspended(), dia) {
		t.Fatal("Ben does not go on alone")
	}
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(5)))
	if !slices.Contains(ben.suspended(), dia) {
		t.Error("Ben does not hear that Dia is suspended")
	}
}
