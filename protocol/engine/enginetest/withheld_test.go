package enginetest

import (
	"fmt"
	"maps"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// kept is a copy of what a ferry has.
func (f *Ferry) kept() map[protocol.MailboxID]map[protocol.EnvelopeID]ferry.Row {
	all := map[protocol.MailboxID]map[protocol.EnvelopeID]ferry.Row{}
	for m, rows := range f.store.rows {
		all[m] = maps.Clone(rows)
	}
	return all
}

// Spec 95 row 37: a ferry serves what it had yesterday, with and without the newest
// letter. Who visits it is told how many are missing, until another ferry brings them;
// who has them keeps them, and who brought them is told of the loss and brings them again.
func TestFerryOfYesterday(t *testing.T) {
	w, ana, ben, cam := organised(t)
	old, honest := newFerry(t, w, "old"), newFerry(t, w, "honest")
	w.isolate()
	missing := func(n *Node, want int) {
		t.Helper()
		if got := n.Engine.Status().Missing; got != want {
			t.Errorf("%s misses %d, not %d", n.Name, got, want)
		}
	}
	write := func(names ...string) {
		t.Helper()
		for _, name := range names {
			must(t, ana.Post(name, "Corps.", 0))
		}
		ana.visiting(t, old)
		ana.visiting(t, honest)
	}
	write("hier")
	ben.visiting(t, old)
	ben.sees(t, true, "hier")
	yesterday := old.kept()
	write("un", "deux")
	before := old.kept()
	write("trois")
	newest := 0
	served := old.kept()
	clear(old.store.rows)
	maps.Copy(old.store.rows, yesterday)
	yesterday = old.kept()
	for m, rows := range served {
		for id, row := range rows {
			if _, was := before[m][id]; !was {
				if old.store.rows[m] == nil {
					old.store.rows[m] = map[protocol.EnvelopeID]ferry.Row{}
				}
				old.store.rows[m][id] = row
				newest++
			}
		}
	}
	if newest == 0 {
		t.Fatal("nothing is new")
	}
	for range 2 {
		ben.visiting(t, old)
		ben.sees(t, true, "hier", "trois")
		ben.sees(t, false, "un", "deux")
		missing(ben, 2)
	}
	ben.visiting(t, honest)
	ben.sees(t, true, "hier", "un", "deux", "trois")
	missing(ben, 0)

	old.store.rows = yesterday
	ben.Stop()
	must(t, ben.Start())
	ana.visiting(t, old) // brings again what it said that it keeps
	if f := ana.Engine.Faults()["ferry old"]; f.Lost == 0 {
		t.Errorf("ana is told of %+v", f)
	}
	ben.visiting(t, old)
	ben.sees(t, true, "hier", "un", "deux", "trois")
	missing(ben, 0)
	cam.visiting(t, old)
	cam.sees(t, true, "hier", "un", "deux", "trois")
	missing(cam, 0)
}

// Spec 95 row 9: of ten whom a phone is linked to eight take everything, say that they
// have it, and give nothing. All that somebody writes whom it does not reach comes
// within two rounds of comparing, and is given by the other two.
func TestMostGiveNothing(t *testing.T) {
	w := NewWorld(95)
	nodes := crowd(t, w, 12)
	author, reader, honest, holes := nodes[0], nodes[1], nodes[2:4], map[*Node]bool{}
	for _, n := range nodes[4:] {
		holes[n] = true
	}
	w.Cut(author, reader)
	w.Cut(reader, author)
	must(t, w.Run(engine.Seconds(60)))
	if len(reader.links) != 10 || len(holes) != 8 || len(honest) != 2 {
		t.Fatalf("%d links", len(reader.links))
	}
	swallowed := 0
	w.tap = func(from, to *Node, data []byte) bool {
		if holes[from] && data[0] == messageGive {
			swallowed++
			return false
		}
		return true
	}
	for i := range 20 {
		must(t, author.Post(fmt.Sprint("avis ", i), "Corps.", 0))
		must(t, w.Run(engine.Seconds(1)))
	}
	must(t, w.Run(engine.Seconds(2*300)))
	for i := range 20 {
		reader.sees(t, true, fmt.Sprint("avis ", i))
	}
	if swallowed == 0 {
		t.Error("nobody was asked who gives nothing")
	}
}
