package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// A reader's phone in other hands tells one new key after the other, as fast as it can,
// to who was away while somebody was removed. The new epoch has a box for the key that
// the phone had then: who comes back knows it for one of that phone's all the same,
// does not take the epoch for a bad one, and writes in it at once.
func TestFloodOfKeysHidesNoBox(t *testing.T) {
	for _, heal := range []bool{false, true} {
		w, x, ben, cam, dia, eve := heldUp(t)
		must(t, x.n.Start()) // the founder's phone is her own again
		fay := w.Add("Fay")
		link, err := ben.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, fay.Join(link))
		must(t, w.Run(engine.Seconds(90)))
		flood := seize(t, w, dia)
		away := []*Node{cam, fay}
		for _, n := range away {
			w.alone(n)
		}
		must(t, ben.Remove(eve))
		must(t, w.Run(engine.Seconds(60)))
		first, _ := ben.sendingIn()
		for range 200 {
			flood.give(flood.last, away, flood.newKey(heal))
		}
		for i, n := range away {
			w.Heal(n, ben)
			must(t, w.Run(engine.Seconds(20)))
			if in, ok := n.sendingIn(); !ok || !heal && in != first || n.Engine.Waiting() {
				t.Errorf("heal %t: %s waits %t at epoch %d, ben is at %d", heal, n.Name, n.Engine.Waiting(), n.epoch(), ben.epoch())
			}
			if in, _ := ben.sendingIn(); i == 0 && !heal && in != first {
				t.Error("the keys are renewed again")
			}
		}
		must(t, w.Run(engine.Seconds(120)))
		talk(t, w, "après", x.n, ben, cam, fay)
		last, _ := ben.sendingIn()
		for _, n := range []*Node{x.n, cam, fay} {
			if in, _ := n.sendingIn(); in != last {
				t.Errorf("heal %t: %s does not go on with ben", heal, n.Name)
			}
		}
		must(t, w.checkRemoved())
	}
}
