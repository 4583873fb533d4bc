package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// While cam's phone is off, gil is handed the new keys. Then cam's is the only phone
// of an organiser that does anything, and hal, whom dia let in apart, needs them as
// well: what was made for gil, and lies in the same mailbox, is not taken for his.
func TestOldReBoxIsForSomebodyElse(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia, fay := w.Add("Dia"), w.Add("Fay")
	link, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, fay.Join(link))
	must(t, w.Run(engine.Seconds(60)))
	p := ana.promote(t, dia)
	must(t, w.Run(engine.Seconds(5)))
	ben.vote(t, p)
	must(t, w.Run(engine.Seconds(90)))
	apart := func(a, b []*Node) {
		for _, n := range a {
			for _, x := range b {
				w.Cut(n, x)
				w.Cut(x, n)
			}
		}
	}
	gil, hal := w.Add("Gil"), w.Add("Hal")
	apart([]*Node{ana, gil}, []*Node{ben, cam, fay, dia, hal})
	apart([]*Node{ben, cam, fay}, []*Node{dia, hal})
	for _, x := range [][2]*Node{{ana, gil}, {dia, hal}} {
		l, err := x[0].Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, x[1].Join(l))
	}
	must(t, ben.Remove(fay))
	must(t, w.Run(engine.Seconds(60)))
	if cam.epoch() != gil.epoch()+1 || hal.epoch() != gil.epoch() {
		t.Fatalf("cam is at epoch %d, gil at %d, hal at %d", cam.epoch(), gil.epoch(), hal.epoch())
	}
	cam.Stop()
	dia.Stop()
	hal.Stop()
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(300)))
	if gil.epoch() != ben.epoch() {
		t.Fatal("gil was not brought back")
	}
	ana.Stop()
	ben.Stop()
	gil.Stop()
	must(t, cam.Start())
	must(t, hal.Start())
	must(t, dia.Start())
	dia.still = dia.Now() // without her nobody lets hal in: she exchanges, and does nothing
	must(t, w.Run(engine.Seconds(2)))
	must(t, gil.Start())
	must(t, w.Run(wakeUp))
	if hal.epoch() != cam.epoch() || hal.Engine.Waiting() {
		t.Errorf("hal is at epoch %d, cam at %d", hal.epoch(), cam.epoch())
	}
	must(t, w.Check())
}
