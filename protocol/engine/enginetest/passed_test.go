package enginetest

import (
	"testing"
	"testing/cryptotest"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Cam is suspended; the others renew their keys twice without her, and let dia in,
// who has the last of these epochs only. Ben's phone is lost just when he gives cam
// back, with the epoch that it makes, and cam is the only organiser whose phone does
// anything: the epoch that she issues must follow one that she cannot open,
// or nobody would send in it, and dia must find it.
func TestGivenBackIssuesAlone(t *testing.T) {
	w, ana, ben, cam := organised(t)
	eve := w.Add("Eve")
	link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, eve.Join(link))
	must(t, w.Run(engine.Seconds(60)))
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(90)))
	without := ana.epoch()
	must(t, ana.Remove(eve))
	must(t, w.Run(engine.Seconds(90)))
	if got := ana.epoch(); got != without+1 || cam.epoch() >= without {
		t.Fatalf("ana is at epoch %d, cam at %d; want %d and less", got, cam.epoch(), without+1)
	}
	link, err = ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	dia := w.Add("Dia")
	must(t, dia.Join(link))
	must(t, w.Run(engine.Seconds(60)))
	if dia.epoch() != ana.epoch() {
		t.Fatalf("dia is at epoch %d, ana at %d", dia.epoch(), ana.epoch())
	}

	p, err := ana.Reinstate(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(5)))
	ana.still = ana.Now()
	w.tap = func(from, _ *Node, data []byte) bool {
		return from != ben || data[0] != messageGive || len(data) < 8<<10
	}
	_, err = ben.Vote(p.ID.String()[:6])
	must(t, err)
	must(t, w.Run(engine.Seconds(3)))
	ben.Stop()
	w.tap = nil
	must(t, ana.Post("tout de suite", "Corps.", 0)) // no epoch has cam in it yet
	must(t, w.Run(exchangeFor+wakeUp))
	for _, n := range []*Node{ana, dia} {
		if n.epoch() != cam.epoch() || cam.Engine.Waiting() {
			t.Errorf("%s is at epoch %d, cam at %d", n.Name, n.epoch(), cam.epoch())
		}
	}
	if cam.epoch() != without+2 {
		t.Errorf("cam is at epoch %d, want %d", cam.epoch(), without+2)
	}
	must(t, cam.Post("merci", "Corps.", 0))
	must(t, ana.Post("bienvenue", "Corps.", 0))
	must(t, dia.Post("bonjour", "Corps.", 0))
	must(t, w.Run(deliverFor))
	for _, n := range []*Node{ana, cam, dia} {
		n.sees(t, true, "merci", "bienvenue", "bonjour")
	}
	ana.start()
	must(t, ben.Start())
	must(t, w.Run(healFor))
	cam.sees(t, true, "tout de suite")
	ben.sees(t, true, "merci", "bienvenue", "bonjour")
	must(t, w.Check())
}

// Ben removes dia while ana and cam, whom he does not reach, make her an organiser:
// the removal falls, and each side has renewed the keys, ben's without her. Whichever
// of the two comes first by its id, ben's phone alone brings all into one that all read.
func TestRemovedAndMadeOrganiser(t *testing.T) {
	for draw := range uint64(6) {
		cryptotest.SetGlobalRandom(t, draw)
		w, ana, ben, cam := organised(t)
		dia, eve := w.Add("Dia"), w.Add("Eve")
		link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, dia.Join(link))
		must(t, w.Run(engine.Seconds(60)))
		for _, n := range []*Node{ana, cam, dia} {
			for _, x := range []*Node{ben, eve} {
				w.Cut(n, x)
				w.Cut(x, n)
			}
		}
		p := ana.promote(t, dia)
		must(t, w.Run(engine.Seconds(5)))
		cam.vote(t, p)
		must(t, ben.Remove(dia))
		link, err = ben.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, eve.Join(link)) // she has ben's epoch only
		must(t, w.Run(engine.Seconds(90)))
		for _, n := range []*Node{ana, cam, dia} {
			n.still = n.Now()
		}
		clear(w.cuts)
		must(t, w.Run(exchangeFor+wakeUp))
		for _, n := range []*Node{ana, cam, dia, eve} {
			if n.Engine.Waiting() || n.epoch() != ben.epoch() {
				t.Errorf("draw %d: %s is at epoch %d, ben at %d", draw, n.Name, n.epoch(), ben.epoch())
			}
		}
		for _, n := range w.nodes {
			must(t, n.Post("de "+n.Name, "Corps.", 0))
		}
		must(t, w.Run(deliverFor))
		for _, n := range w.nodes {
			n.sees(t, true, "de Ana", "de Ben", "de Cam", "de Dia", "de Eve")
		}
		for _, n := range []*Node{ana, cam, dia} {
			n.start()
		}
		must(t, w.Run(healFor))
		must(t, w.Check())
	}
}
