package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// What is written while a link comes up, before hints run on it, is there seconds later
// and not with the next round of comparing.
func TestWrittenWhileALinkComesUp(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	w.alone(cam)
	w.alone(ana)
	must(t, w.Run(engine.Seconds(30)))
	w.Faults.HintLoss = 1
	w.Heal(ana, ben)
	for n := 0; len(ana.links) == 0; n++ {
		must(t, w.Run(engine.Seconds(1)/10))
		if n > 100 {
			t.Fatal("no link")
		}
	}
	must(t, w.Run(engine.Seconds(1)))
	must(t, ana.Post("un", "Corps.", 0))
	must(t, ben.Post("deux", "Corps.", 0))
	must(t, w.Run(engine.Seconds(6)))
	for n, title := range map[*Node]string{ana: "deux", ben: "un"} {
		if _, err := n.See(title); err != nil {
			t.Error(err)
		}
	}
}
