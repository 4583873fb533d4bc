package enginetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Spec 95 row 43: a clock that jumps a year ahead destroys nothing that it cannot bring
// back; one that runs a year back, also over a start, brings nothing back; and
// what is dated ahead is not shown before its time.
func TestClockJumps(t *testing.T) {
	const year = 365 * protocol.DaySeconds
	w, ana, ben, cam := gathered(t)
	must(t, ben.Post("durable", "Texte durable.", 5*protocol.DaySeconds))
	must(t, ben.Post("bref", "Texte bref.", protocol.DaySeconds))
	must(t, w.Run(engine.Seconds(60)))
	shows := func(n *Node, want ...string) {
		t.Helper()
		var got []string
		for _, v := range n.Engine.Notices(n.Now(), nil, false) {
			got = append(got, v.Title)
		}
		if must(t, wantSet(got, want)); len(want) == 0 && len(got) > 0 {
			t.Error(got)
		}
	}
	shows(ana, "durable", "bref")

	before := ana.Store.names()
	ana.Skew = engine.Seconds(year)
	must(t, w.Run(engine.Seconds(600)))
	if !ana.Store.keeps("Texte durable.") || !ana.Store.keeps("Texte bref.") {
		t.Error("a wrong clock destroyed what has not expired")
	}
	ana.Stop()
	must(t, ana.Start())
	must(t, w.Run(engine.Seconds(60)))
	for _, row := range before {
		// Rows of links and requests come and go; texts and secrets stay.
		if (strings.HasPrefix(row, "8 ") || strings.HasPrefix(row, "5 ")) && !slices.Contains(ana.Store.names(), row) {
			t.Errorf("after a start with a wrong clock the row %s is gone", row)
		}
	}
	ana.Skew = 0
	must(t, w.Run(engine.Seconds(600)))
	shows(ana, "durable", "bref")

	must(t, w.Run(engine.Seconds(2*protocol.DaySeconds)))
	shows(ana, "durable")
	if ana.Store.keeps("Texte bref.") {
		t.Error("what expired is still on the disk")
	}
	ana.Skew = -engine.Seconds(year)
	ana.Stop()
	must(t, ana.Start())
	must(t, w.Run(engine.Seconds(600)))
	shows(ana)
	if v, err := ana.See("bref"); err == nil {
		t.Errorf("what expired is back: %s", v.Status)
	}
	ana.Skew = 0
	must(t, w.Run(engine.Seconds(600)))
	shows(ana, "durable")

	cam.Skew = engine.Seconds(20 * 3600)
	must(t, cam.Post("demain", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	shows(ana, "durable")
	must(t, w.Run(engine.Seconds(20*3600)))
	shows(ana, "durable", "demain")
	shows(ben, "durable", "demain")
}
