package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Who leaves is heard, and the group's keys are renewed.
func TestLeaveIsHeard(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	// Nobody is there when he leaves.
	for _, n := range []*Node{ana, ben} {
		w.Cut(n, cam)
		w.Cut(cam, n)
	}
	_, err := cam.do(func(e *engine.Engine, now engine.Time) error { return e.Leave(now) })
	must(t, err)
	cam.Stop()
	must(t, cam.Start())
	cam.gone()
	if !cam.Engine.Status().Removed {
		t.Error("cam takes itself for a member")
	}
	if err := cam.Post("encore", "Corps.", 0); err == nil {
		t.Error("who left posts")
	}
	must(t, w.Run(engine.Seconds(60)))
	w.Heal(ana, cam)
	must(t, w.Run(engine.Seconds(180)))
	if len(ana.Engine.Members()) != 2 || len(ben.Engine.Members()) != 2 {
		t.Error("nobody heard of it")
	}
	must(t, ben.Post("sans cam", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	if g := cam.gate; g != nil && len(g.Dial) > 0 {
		t.Error("who left and was heard still knocks")
	}
	must(t, w.Check())
}

// TestLeaveWhateverIsLost: a departure is heard though the phone dies at its write,
// or what it gave is lost with the link; then the phone is silent for good.
func TestLeaveWhateverIsLost(t *testing.T) {
	for _, x := range []struct {
		name string
		dies Death
		lose bool
		mute bool
	}{
		{name: "nothing is lost"},
		{name: "dies before the commit", dies: BeforeCommit},
		{name: "dies before it sends", dies: BeforeSend},
		{name: "dies while it sends", dies: AmidSend},
		{name: "what it gave is lost", lose: true},
		{name: "nobody says that it came", mute: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			w, ana, ben, cam := gathered(t)
			lost := 0
			w.tap = func(from, to *Node, data []byte) bool {
				if x.mute && to == cam && data[0] == 1 {
					return false
				}
				if x.lose && from == cam && data[0] == messageGive {
					lost++
					return false
				}
				return true
			}
			gen := ana.epoch()
			cam.DieAt(1, x.dies)
			if err := cam.Leave(); (err != nil) != (x.dies == BeforeCommit) {
				t.Fatal(err)
			}
			if x.lose { // the links break sooner than what is given counts as heard
				must(t, w.Run(engine.Seconds(5)))
			}
			for _, n := range []*Node{ana, ben} {
				w.Cut(n, cam)
				w.Cut(cam, n)
			}
			must(t, w.Run(engine.Seconds(30)))
			if x.lose != (lost > 0) {
				t.Fatalf("%d messages were lost", lost)
			}
			if x.lose = false; x.dies == 0 {
				cam.Stop()
			}
			must(t, cam.Start())
			if x.dies == BeforeCommit {
				if cam.Engine.Status().Removed {
					t.Fatal("it left with what was never stored")
				}
				must(t, cam.Leave())
			}
			if !cam.Engine.Status().Removed {
				t.Error("it forgot that it left")
			}
			must(t, w.HealAll())
			must(t, w.Run(engine.Seconds(180)))
			for _, n := range []*Node{ana, ben} {
				if len(n.Engine.Members()) != 2 || n.epoch() <= gen {
					t.Errorf("%s has %d members at epoch %d", n.Name, len(n.Engine.Members()), n.epoch())
				}
			}
			for range 2 {
				for range 6 * 6 {
					if g := cam.gate; len(g.Dial)+len(g.Accept) > 0 {
						t.Fatal("who left and was heard still knocks")
					}
					must(t, w.Run(engine.Seconds(600)))
				}
				cam.Stop()
				must(t, cam.Start())
			}
			must(t, w.Check())
		})
	}
}
