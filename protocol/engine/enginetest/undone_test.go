package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// While apart, Ben removes Hal, lets Lou in and has her organise; Ana suspends Ben, by
// which the removal of Hal is undone. Lou never heard of Hal's keys: they were told in
// epochs of before her time. The others tell her in her first epoch, and she makes
// another one, with nobody else to do it.
func TestNewcomerHearsOfWhoIsBack(t *testing.T) {
	w, ana, ben, cam := organised(t)
	hal, fay, lou := w.Add("Hal"), w.Add("Fay"), w.Add("Lou")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, hal.Join(link))
	must(t, fay.Join(link))
	must(t, w.Run(engine.Seconds(120)))
	w.part([]*Node{ana, fay}, []*Node{ben, cam, hal, lou})
	must(t, ana.Suspend(ben))
	must(t, ben.Remove(hal))
	must(t, w.Run(engine.Seconds(60)))
	link, err = ben.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, lou.Join(link))
	must(t, w.Run(engine.Seconds(60)))
	p, err := ben.Organise(lou)
	must(t, err)
	must(t, w.Run(engine.Seconds(20)))
	_, err = cam.Vote(p.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(120)))
	for _, n := range []*Node{ana, ben, cam, lou} {
		n.still = n.Now() // they exchange what they hold, and do nothing else
	}
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(60)))
	ana.Stop()
	cam.Stop()
	lou.start()
	must(t, w.Run(engine.Seconds(300)))
	if !lou.organises() {
		t.Fatal("she does not organise")
	}
	must(t, fay.Post("après", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	lou.sees(t, true, "après")
	if lou.waits() || lou.epoch() != fay.epoch() {
		t.Errorf("lou is at epoch %d, fay at %d", lou.epoch(), fay.epoch())
	}
}
