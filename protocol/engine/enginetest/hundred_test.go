package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// A group of about a hundred devices, of which six or seven run: people come, go
// and are removed, the keys are renewed, phones are off; whoever runs reads all,
// and whoever was removed reads nothing of what was written without him.
func TestHundredDevices(t *testing.T) {
	w := NewWorld(901)
	nodes := crowd(t, w, 6)
	ana, bea, out := nodes[0], nodes[1], nodes[5]
	_, err := ana.Organise(bea)
	must(t, err)
	must(t, w.Run(engine.Seconds(60)))
	off := letIn(t, w, ana, 60)
	must(t, ana.removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(400)))
	off = append(off, letIn(t, w, bea, 36)...)
	must(t, w.Run(engine.Seconds(60)))
	if got := len(out.Engine.Members()); got != 101 {
		t.Fatalf("%d members", got)
	}
	say := func(what string, list ...*Node) {
		t.Helper()
		for _, n := range list {
			must(t, n.Post(what+" "+n.Name, "Corps.", 0))
		}
		must(t, w.Run(engine.Seconds(60)))
		must(t, w.Check())
	}
	say("à cent", nodes...)

	// Somebody comes, while pages are how keys travel.
	link, err := bea.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	x := w.Add("Neuf")
	must(t, x.Join(link))
	must(t, w.Run(engine.Seconds(60)))
	if x.joined == 0 {
		t.Fatal("the newcomer is not in")
	}
	say("bienvenue", ana, x)

	// Two are removed at one time by two organisers who do not reach each other.
	w.Cut(ana, bea)
	w.Cut(bea, ana)
	must(t, ana.Remove(out))
	must(t, bea.removeAbsent(off[1]))
	must(t, w.Run(engine.Seconds(120)))
	w.Heal(ana, bea)
	must(t, w.Run(engine.Seconds(400)))
	rest := append(nodes[:5:5], x)
	say("sans lui", rest...)

	// A phone is off while the period ends and the next one is removed.
	late := nodes[4]
	late.Stop()
	for _, n := range rest {
		if n != late {
			n.Stop()
		}
	}
	w.Now += engine.Seconds(7 * protocol.DaySeconds)
	before := uint32(0)
	for _, n := range rest {
		if n != late {
			must(t, n.Start())
			before = max(before, n.epoch())
		}
	}
	must(t, w.Run(engine.Seconds(180)))
	must(t, bea.removeAbsent(off[2]))
	must(t, w.Run(engine.Seconds(120)))
	must(t, late.Start())
	must(t, w.Run(engine.Seconds(400)))
	say("tous", rest...)
	for _, n := range rest {
		if got := n.epoch(); got < before+2 {
			t.Errorf("%s is at epoch %d, before the end of the period it was %d", n.Name, got, before)
		}
		if got := len(n.Engine.Members()); got != 99 {
			t.Errorf("%s knows of %d members", n.Name, got)
		}
		if old := oldKeys(t, n); old > 0 {
			t.Errorf("%s keeps %d old private keys", n.Name, old)
		}
	}
}
