package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Who is silent takes and does not give; a slow line and a long way take their time; and
// what leaves is told.
func TestSilentAndSlow(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	bytes := map[*Node]int{}
	w.Sent(func(from, _ *Node, n int) { bytes[from] += n })
	ben.Silent = true
	must(t, ben.Post("de ben", "Corps.", 0))
	must(t, ana.Post("d'ana", "Corps.", 0))
	must(t, w.Run(engine.Seconds(20)))
	if _, err := ana.See("de ben"); err == nil {
		t.Error("who is silent was heard")
	}
	if bytes[ben] != 0 || bytes[ana] < 2_048 {
		t.Errorf("one who is silent sent %d bytes, the other one %d", bytes[ben], bytes[ana])
	}
	ben.Silent = false
	must(t, w.Run(engine.Seconds(400)))
	if _, err := ana.See("de ben"); err != nil {
		t.Error("who is silent no more was not heard")
	}
	for _, x := range []struct {
		name  string
		f     Faults
		least engine.Time
	}{
		// A notice is an envelope of 2 KiB, which comes after a hint and a question.
		{"a slow line", Faults{DelayMax: 1, Rate: 1}, 2_048},
		{"a long way", Faults{DelayMax: 1, DelayMin: 700}, 2_100},
	} {
		w.Faults = x.f
		must(t, ana.Post(x.name, "Corps.", 0))
		must(t, w.Run(x.least-10))
		if _, err := ben.See(x.name); err == nil {
			t.Errorf("%s: it came too early", x.name)
		}
		must(t, w.Run(3*x.least))
		if _, err := ben.See(x.name); err != nil {
			t.Errorf("%s: it did not come", x.name)
		}
	}
}
