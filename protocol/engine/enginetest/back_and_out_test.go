package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Spec 46 section 2: an organiser is suspended, given back, and expelled. What was
// handed to him between, the keys from while he was suspended among it, is of no use
// for what is sent after the last decision.
func TestOutAfterBeingBack(t *testing.T) {
	// New keys come after he is back, or he is out before.
	for name, between := range map[string]int64{"at once": 5, "after new keys": 300} {
		t.Run(name, func(t *testing.T) { outAfterBeingBack(t, engine.Seconds(between)) })
	}
}

func outAfterBeingBack(t *testing.T, between engine.Time) {
	w, ana, ben, cam := organised(t)
	dia := w.Add("Dia")
	l, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	decide := func(p engine.Proposed, err error) {
		t.Helper()
		must(t, err)
		must(t, w.Run(engine.Seconds(5)))
		_, err = ben.Vote(p.ID.String())
		must(t, err)
	}
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "sans", ana, ben, dia)
	decide(ana.Reinstate(cam))
	must(t, w.Run(between))
	if between > engine.Seconds(60) {
		talk(t, w, "avec", ana, ben, cam, dia)
	}
	decide(ana.Expel(cam))
	must(t, w.Run(engine.Seconds(5)))
	must(t, ana.Post("aussitôt", "Corps.", 0))
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "après", ana, ben, dia)
	for _, title := range []string{"aussitôt", "après Dia", "après Ana", "après Ben"} {
		if heldBy(t, w, cam, cam.Store, title) {
			t.Errorf("who was expelled reads %q", title)
		}
	}
	if between > engine.Seconds(60) && !heldBy(t, w, cam, cam.Store, "avec Dia") {
		t.Error("he does not read what he may: the test looks at nothing")
	}
	for _, n := range []*Node{ana, ben, dia} {
		if n.Engine.Waiting() {
			t.Errorf("%s waits", n.Name)
		}
	}
}

// Whoever sends an alert before the new keys are there is told of who was back.
func TestAlertNamesWhoWasBack(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia := w.Add("Dia")
	l, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(90)))
	p, err := ana.Reinstate(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(5)))
	_, err = ben.Vote(p.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(300)))
	p, err = ana.Expel(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(5)))
	carry(t, dia, lonely(t, w, ben, func() error { _, err := ben.Vote(p.ID.String()); return err }))
	if r, waits := dia.Engine.Readers(); !waits || !slices.Equal(r.Removed, []identity.MemberID{cam.member}) {
		t.Errorf("it waits: %t; an alert would tell that %v can read it", waits, r.Removed)
	}
}
