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
