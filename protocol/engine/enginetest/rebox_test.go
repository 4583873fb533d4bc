package enginetest

import (
	"testing"
	"testing/cryptotest"

	"github.com/palabre-app/palabre/protocol/engine"
)

// part takes the links between two sets of nodes away.
func (w *World) part(a, b []*Node) {
	for _, n := range a {
		for _, x := range b {
			w.Cut(n, x)
			w.Cut(x, n)
		}
	}
}

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
	gil, hal := w.Add("Gil"), w.Add("Hal")
	w.part([]*Node{ana, gil}, []*Node{ben, cam, fay, dia, hal})
	w.part([]*Node{ben, cam, fay}, []*Node{dia, hal})
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
	if n := ana.reboxes(); n != 1 {
		t.Errorf("%d ReBoxes were made for gil", n)
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

// Eve, whom ana let in, says something that dia, whom ben let in apart, is handed. It
// comes before the operations by which dia can tell who eve is, and is shown once
// they are there.
func TestHandedOverBeforeItsOperations(t *testing.T) {
	w, ana, ben, cam := organised(t)
	fay, gil := w.Add("Fay"), w.Add("Gil")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, fay.Join(link))
	must(t, gil.Join(link))
	must(t, w.Run(engine.Seconds(90)))
	dia, eve := w.Add("Dia"), w.Add("Eve")
	for _, n := range []*Node{ana, cam, eve, fay, gil} {
		for _, x := range []*Node{ben, dia} {
			w.Cut(n, x)
			w.Cut(x, n)
		}
	}
	must(t, ana.Remove(fay))
	for _, x := range [][2]*Node{{ana, eve}, {ben, dia}} {
		l, err := x[0].Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, x[1].Join(l))
	}
	must(t, w.Run(engine.Seconds(30)))
	dia.Stop()
	must(t, eve.Post("bonjour", "Corps.", 0))
	must(t, w.Run(engine.Seconds(10)))
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(2)))
	must(t, ben.Remove(gil)) // the epoch after it has a box for dia
	must(t, w.Run(engine.Seconds(300)))
	early := 0
	w.tap = func(_, to *Node, data []byte) bool {
		switch small := len(data) < 8<<10; {
		case to != dia || data[0] != messageGive:
		case small:
			return false
		default:
			early++
		}
		return true
	}
	must(t, dia.Start())
	must(t, w.Run(engine.Seconds(15)))
	if dia.sees(t, false, "bonjour"); early == 0 {
		t.Fatal("nothing came first")
	}
	w.tap = nil
	must(t, w.Run(engine.Seconds(120)))
	dia.sees(t, true, "bonjour")
	if dia.epoch() != ana.epoch() {
		t.Errorf("dia is at epoch %d, ana at %d", dia.epoch(), ana.epoch())
	}
	must(t, w.Check())
}

// Ben and cam, who do not reach each other, remove fay, and so renew the keys twice.
// Dia, whom ana let in apart, is handed ben's. Where all go on in these, what gil said
// under cam's is for dia as well, though no box in the one and no Welcome gave her
// either.
func TestHandedOverAndPassedOver(t *testing.T) {
	bens := 0
	for draw := range uint64(6) {
		cryptotest.SetGlobalRandom(t, draw)
		w, ana, ben, cam := organised(t)
		fay, gil := w.Add("Fay"), w.Add("Gil")
		link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
		must(t, err)
		must(t, fay.Join(link))
		must(t, gil.Join(link))
		must(t, w.Run(engine.Seconds(90)))
		dia := w.Add("Dia")
		w.part([]*Node{cam, gil}, []*Node{ana, ben, fay, dia})
		w.part([]*Node{ana, dia}, []*Node{ben, fay})
		link, err = ana.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, dia.Join(link))
		must(t, ben.Remove(fay))
		must(t, cam.Remove(fay))
		must(t, w.Run(engine.Seconds(30)))
		must(t, gil.Post("de loin", "Corps.", 0))
		clear(w.cuts)
		w.part([]*Node{cam, gil}, []*Node{ana, ben, fay, dia})
		must(t, w.Run(engine.Seconds(300)))
		if dia.epoch() != ben.epoch() {
			t.Fatalf("dia is at epoch %d, ben at %d", dia.epoch(), ben.epoch())
		}
		must(t, dia.Post("de dia", "Corps.", 0))
		before, _ := ben.sendingIn()
		must(t, w.Run(engine.Seconds(60)))
		clear(w.cuts)
		must(t, w.Run(wakeUp))
		dia.sees(t, true, "de loin")
		if after, _ := ben.sendingIn(); after == before {
			bens++
		}
		must(t, w.Run(healFor))
		must(t, w.Check())
	}
	if bens == 0 || bens == 6 {
		t.Errorf("of 6 draws all went on in ben's keys in %d", bens)
	}
}

// Ana handed dia, whom she let in apart, ben's keys. Ben does not know that, renews
// them once more, and hands dia his under the last epoch that he knows her to have. She
// comes with a newer one, and is told of what lies under the older.
func TestHandedOverUnderAnOlderEpoch(t *testing.T) {
	w, ana, ben, cam := organised(t)
	fay, gil := w.Add("Fay"), w.Add("Gil")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, fay.Join(link))
	must(t, gil.Join(link))
	must(t, w.Run(engine.Seconds(90)))
	dia := w.Add("Dia")
	w.part([]*Node{ana, dia}, []*Node{ben, cam, fay, gil})
	link, err = ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, ben.Remove(fay))
	must(t, w.Run(engine.Seconds(60)))
	ben.Stop()
	cam.Stop()
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(200)))
	if dia.epoch() != gil.epoch() {
		t.Fatalf("dia is at epoch %d, gil at %d", dia.epoch(), gil.epoch())
	}
	dia.Stop()
	w.part([]*Node{ben}, []*Node{ana, gil, dia})
	must(t, ben.Start())
	must(t, ben.Remove(gil))
	must(t, w.Run(engine.Seconds(30)))
	ana.still = ana.Now() // she says that dia is in, and does nothing
	w.Heal(ana, ben)
	must(t, w.Run(engine.Seconds(90)))
	ana.Stop()
	if ben.reboxes() == 0 {
		t.Fatal("ben hands nothing over")
	}
	clear(w.cuts)
	must(t, dia.Start())
	must(t, w.Run(wakeUp))
	if dia.epoch() != ben.epoch() || dia.Engine.Waiting() {
		t.Errorf("dia is at epoch %d, ben at %d", dia.epoch(), ben.epoch())
	}
	must(t, w.Check())
}
