package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Ana, whom nobody reaches, renews the keys and removes eve under the new ones; ben lets
// dia in, who cannot open these, and removes gil. Once ana reaches ben alone, dia hears from ben who is
// out, with the keys of whom ana let in, though ben's phone does nothing that is due:
// else dia would go on sending what eve reads.
func TestRemovalInAnotherRowIsToldAtOnce(t *testing.T) {
	w, ana, ben, cam := organised(t)
	eve, hal, gil, fay := w.Add("Eve"), w.Add("Hal"), w.Add("Gil"), w.Add("Fay")
	let := func(by *Node, n *Node) {
		t.Helper()
		link, err := by.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, n.Join(link))
		must(t, w.Run(engine.Seconds(30)))
	}
	let(ana, eve)
	let(ana, hal)
	let(ana, gil)
	for _, n := range []*Node{ben, cam, eve, hal, gil} {
		w.Cut(ana, n)
		w.Cut(n, ana)
	}
	must(t, ana.Remove(hal))
	must(t, w.Run(engine.Seconds(90)))
	let(ana, fay)
	must(t, ana.Remove(eve))
	dia := w.Add("Dia")
	for _, n := range []*Node{ana, fay} {
		w.Cut(dia, n)
		w.Cut(n, dia)
	}
	for _, n := range []*Node{ben, cam, eve, hal, gil} {
		w.Cut(fay, n)
		w.Cut(n, fay)
	}
	let(ben, dia)
	must(t, ben.Remove(gil))
	must(t, w.Run(engine.Seconds(90)))
	if dia.Engine.Waiting() || len(dia.Engine.Members()) != 6 {
		t.Fatalf("before: dia waits: %t, has the members %s", dia.Engine.Waiting(), dia.roster())
	}

	ben.still, cam.still = ben.Now(), cam.Now()
	w.Heal(ana, ben)
	must(t, w.Run(engine.Seconds(10)))
	lists := func(x *Node) bool {
		return slices.ContainsFunc(dia.Engine.Members(), func(m engine.MemberView) bool { return m.ID == x.member })
	}
	if !dia.Engine.Waiting() || lists(eve) || !lists(fay) {
		t.Errorf("dia waits: %t, has the members %s", dia.Engine.Waiting(), dia.roster())
	}
	cam.start()
	must(t, w.Run(wakeUp))
	if dia.Engine.Waiting() || dia.epoch() != cam.epoch() {
		t.Errorf("cam issued: dia waits: %t, is at epoch %d, cam at %d", dia.Engine.Waiting(), dia.epoch(), cam.epoch())
	}
}
