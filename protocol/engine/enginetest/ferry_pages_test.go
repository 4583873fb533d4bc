package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

const tableOfPagePuts engine.Table = 25

// In a group of more than 48 devices the boxes of an epoch travel apart from its header.
// Who is away while the keys are renewed, twice, and finds nobody afterwards, fetches the
// pages with his boxes from a ferry; an organiser fetches all of them. Who issued the
// epochs left them there, after a start, and does so once.
func TestPagesThroughAFerry(t *testing.T) {
	w := NewWorld(99)
	all := crowd(t, w, 52)
	ana, ben, reader := all[0], all[1], all[51]
	ana.promote(t, ben)
	must(t, w.Run(engine.Seconds(90)))
	f := newFerry(t, w, "F")
	w.isolate()
	for _, n := range all[1:] {
		n.Stop()
	}
	for range 2 {
		must(t, ana.Remove(all[len(all)-2])) // the keys are renewed at once
		all = append(all[:len(all)-2], all[len(all)-1])
		must(t, w.Run(engine.Seconds(10)))
	}
	pages := len(ana.Store.rows[tableOfPages])
	if pages < 8 || len(ana.Store.rows[tableOfPagePuts]) != pages {
		t.Fatalf("%d pages, %d of them may be left", pages, len(ana.Store.rows[tableOfPagePuts]))
	}
	must(t, ana.Post("après", "Corps.", 0))
	ana.Stop()
	must(t, ana.Start())
	first := ana.visiting(t, f)
	again := ana.visiting(t, f)
	if first.bytes < pages*protocol.BucketMedium || again.bytes > 8_500 { // to offer the pages takes 3,300
		t.Errorf("the first visit took %d bytes, the second %d", first.bytes, again.bytes)
	}
	ana.Stop()
	for _, n := range []*Node{reader, ben} {
		must(t, n.Start())
		n.visiting(t, f)
		n.sees(t, true, "après")
		got := len(n.Store.rows[tableOfPages])
		if n == ben && got != pages || n == reader && (got < 2 || got > 4) {
			t.Errorf("%s holds %d of %d pages", n.Name, got, pages)
		}
		must(t, n.Post("de "+n.Name, "Corps.", 0))
		n.visiting(t, f)
		n.Stop()
	}
	must(t, ana.Start())
	ana.visiting(t, f)
	ana.sees(t, true, "de "+ben.Name, "de "+reader.Name)
}
