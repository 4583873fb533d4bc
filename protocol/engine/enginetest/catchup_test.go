package enginetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// This file measures what it costs to come back after days (spec 70 section 10). An
// organiser and an author stay, post every day, and visit a ferry then; a reader is away.
// He is brought all of it by the ferry alone, and, put back to what he had, by the author
// alone.

// wayOnly is a network on which nothing takes time but the way, 1 ms for each message.
var wayOnly = Faults{DelayMax: 1}

// line counts what goes over links and visits of a world of wayOnly.
type line struct {
	bytes map[string]int // of all messages with their lengths, and of hints, by what they are
	came  []engine.Time  // when something arrived, ascending, each time once
	last  engine.Time    // when the last envelope did that the reader lacked
}

// watchLine begins to count, and takes note of envelopes that come to the reader and are
// in lacking.
func watchLine(w *World, reader *Node, lacking map[protocol.EnvelopeID]int) *line {
	x := &line{bytes: map[string]int{}}
	w.tap = func(from, to *Node, data []byte) bool {
		l := w.linkOf(from, to)
		at := l.nextA
		if to == l.b {
			at = l.nextB
		}
		x.count(fmt.Sprintf("type %d", data[0]), data, at)
		if to == reader && data[0] == messageGive && lacking[protocol.IDOf(data[1:])] != 0 {
			x.last = at
		}
		return true
	}
	// What somebody takes or makes is hinted on each member link (spec 65 section 1).
	w.committed = func(n *Node, b engine.Batch) {
		for _, r := range b.Puts {
			if r.Table == tableOfEnvelopes {
				for _, l := range n.links {
					if l.class == engine.ClassMember {
						x.bytes["hints"] += len(protocol.EnvelopeID{})
					}
				}
			}
		}
	}
	return x
}

func (x *line) count(what string, data []byte, at engine.Time) {
	x.bytes[what] += 4 + len(data)
	if i, known := slices.BinarySearch(x.came, at); !known {
		x.came = slices.Insert(x.came, i, at)
	}
}

// rounds is how often the direction turned until the last envelope was there, by two: a
// round is twice the way on a line on which nothing else takes time. Times in which
// nothing is under way, because a clock is waited for, do not count.
func (x *line) rounds() int {
	n, known := slices.BinarySearch(x.came, x.last)
	if known {
		n++
	}
	return (n + 1) / 2
}

// absence is a group of which somebody was away.
type absence struct {
	w                         *World
	organiser, author, reader *Node
	carrier                   *Ferry
	notices                   int
	store                     *Memory // of the reader, when it went
	epochs                    uint32  // that began meanwhile
}

// away lets a reader be away while organiser and author post as many notices as said on
// each of some days, half each. Both visit a ferry every day.
func away(t testing.TB, days, perDay int) *absence {
	t.Helper()
	w := NewWorld(uint64(70_000 + perDay))
	nodes := crowd(t, w, 3)
	a := &absence{w: w, organiser: nodes[0], author: nodes[1], reader: nodes[2], notices: days * perDay}
	f, err := w.AddFerry("F", ferry.DefaultLimits())
	must(t, err)
	a.carrier = f
	must(t, w.Run(engine.Seconds(120)))
	a.reader.Stop()
	a.store = a.reader.Store.Clone()
	first := a.author.epoch()
	w.isolate()
	must(t, w.Run(engine.Seconds(60)))
	p := join(t, a.organiser, a.author)
	for range days {
		p.post(t, 0, perDay/2) // less than what ends an epoch before its time (spec 65 section 3)
		p.post(t, 1, perDay-perDay/2)
		for _, n := range p.nodes {
			n.Poll(f)
			must(t, w.Run(engine.Seconds(30)))
			p.settle(t)
		}
		p.pass(t)
	}
	p.part(t)
	a.epochs = a.author.epoch() - first
	return a
}

// lacking is what the author holds and the reader does not, with the sizes.
func (a *absence) lacking() map[protocol.EnvelopeID]int {
	ids := map[protocol.EnvelopeID]int{}
	for _, r := range a.author.Store.rows[tableOfEnvelopes] {
		ids[protocol.IDOf(r.value)] = len(r.value)
	}
	for _, r := range a.reader.Store.rows[tableOfEnvelopes] {
		delete(ids, protocol.IDOf(r.value))
	}
	return ids
}

// brought sums up what of it the reader holds now.
func (a *absence) brought(lacking map[protocol.EnvelopeID]int) (envelopes, bytes int) {
	for _, r := range a.reader.Store.rows[tableOfEnvelopes] {
		if size := lacking[protocol.IDOf(r.value)]; size != 0 {
			envelopes, bytes = envelopes+1, bytes+size
		}
	}
	return envelopes, bytes
}

// readsAll fails if the reader does not show every notice.
func (a *absence) readsAll(t testing.TB) {
	t.Helper()
	if got, s := len(a.reader.Engine.Notices(a.reader.Now(), nil, true)), a.reader.Engine.Status(); got != a.notices || s.Missing != 0 {
		t.Fatalf("the reader shows %d of %d notices, and misses %d", got, a.notices, s.Missing)
	}
}

// caught is what catching up cost.
type caught struct {
	envelopes, missing, bytes, rounds, visits int
	circuits, cut                             int // of a carrier that limits them
	kinds                                     map[string]int
}

func (c caught) ratio() float64 { return float64(c.bytes) / float64(c.missing) }

func (c caught) String() string {
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(c.kinds)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, c.kinds[k]))
	}
	return fmt.Sprintf("%d envelopes of %d bytes were missing, %d bytes both ways (%.4f), %d rounds, %d visits, %d circuits of which %d were cut; bytes: %s",
		c.envelopes, c.missing, c.bytes, c.ratio(), c.rounds, c.visits, c.circuits, c.cut, strings.Join(kinds, ", "))
}

// direct lets the reader come back with a connection to the author alone, which it dialled.
func (a *absence) direct(t testing.TB) caught { return a.connected(t, a.reader, a.author) }

// dialled is direct, but for that the author dialled.
func (a *absence) dialled(t testing.TB) caught { return a.connected(t, a.author, a.reader) }

// relayed is direct, but for a carrier in between that cuts each connection after 128 KiB.
func (a *absence) relayed(t testing.TB) caught {
	w := a.w
	w.relayed = true
	defer func() { w.relayed = false }()
	was, cut := w.Counts["circuit"], w.Counts["circuit cut"]
	c := a.connected(t, a.reader, a.author)
	c.circuits, c.cut = w.Counts["circuit"]-was, w.Counts["circuit cut"]-cut
	return c
}

func (a *absence) connected(t testing.TB, dials, other *Node) caught {
	w := a.w
	a.reader.Stop()
	a.reader.Store, a.reader.shown = a.store.Clone(), map[string]int{}
	w.isolate()
	w.Faults = wayOnly
	must(t, a.reader.Start())
	lacking := a.lacking()
	x := watchLine(w, a.reader, lacking)
	delete(w.cuts, pair{dials, other})
	must(t, w.Run(engine.Seconds(20)))
	for range 1_000 { // a circuit follows another after a second
		if w.relayed && len(a.reader.Engine.Notices(a.reader.Now(), nil, true)) < a.notices {
			must(t, w.Run(engine.Seconds(10)))
		}
	}
	w.tap, w.committed = nil, nil
	c := caught{rounds: x.rounds(), kinds: x.bytes, bytes: sum(x.bytes)}
	c.envelopes, c.missing = a.brought(lacking)
	a.readsAll(t)
	return c
}

// byFerry lets the reader come back with nothing but the ferry in reach.
func (a *absence) byFerry(t testing.TB) (c caught) {
	w := a.w
	a.reader.Stop()
	a.reader.Store, a.reader.shown = a.store.Clone(), map[string]int{}
	w.isolate()
	w.Faults = wayOnly
	must(t, a.reader.Start())
	lacking := a.lacking()
	c.kinds = map[string]int{}
	for c.visits < 5 && len(a.reader.Engine.Notices(a.reader.Now(), nil, true)) < a.notices {
		c.visits++
		begun, last := w.Now, w.Now
		given := 0
		a.carrier.Lie = func(msg []byte) [][]byte {
			c.kinds[fmt.Sprintf("from the ferry %d", msg[0])] += 4 + len(msg)
			given += 4 + len(msg)
			if (msg[0] == ferry.TypeGive || msg[0] == ferry.TypeGiveSigned) && w.Now >= last {
				last = w.Now + 1
			}
			return [][]byte{msg}
		}
		v := a.reader.Poll(a.carrier)
		must(t, w.Run(engine.Seconds(20)))
		if v == nil || v.up {
			t.Fatal("a visit does not end")
		}
		a.carrier.Lie = nil
		c.rounds += int(last-begun+1) / 2
		c.bytes += v.bytes
		c.kinds["to the ferry"] += v.bytes - given
	}
	c.envelopes, c.missing = a.brought(lacking)
	a.readsAll(t)
	return c
}

// Catching up costs little more than what was missed, whichever way it comes, and few
// rounds (spec 70 section 10; the whole measure is BenchmarkCatchUp).
func TestCatchUp(t *testing.T) {
	a := away(t, 10, 60)
	for _, c := range []struct {
		name string
		by   func(testing.TB) caught
	}{{"a ferry", a.byFerry}, {"one connection", a.direct}, {"one connection to who was away", a.dialled}} {
		t.Run(c.name, func(t *testing.T) {
			got := c.by(t)
			t.Log(got)
			if got.envelopes < a.notices {
				t.Errorf("%d envelopes came for %d notices", got.envelopes, a.notices)
			}
			if got.ratio() > 1.1 || got.rounds > 12 || got.visits > 1 {
				t.Error("that is more than it may cost")
			}
		})
	}
}

// Through a carrier that limits each connection a reader gets all, 50 envelopes on each,
// none of which it cuts.
func TestCatchUpThroughCircuits(t *testing.T) {
	a := away(t, 10, 60)
	got := a.relayed(t)
	t.Log(got)
	if most := got.envelopes/50 + 2; got.circuits > most || got.cut > 0 {
		t.Errorf("it took more than %d circuits", most)
	}
	if got.ratio() > 1.25 {
		t.Error("that is more bytes than it may cost")
	}
}

// BenchmarkCatchUp is the table of spec 70 section 10.
func BenchmarkCatchUp(b *testing.B) {
	for range b.N {
		a := away(b, 10, 1_000)
		for _, c := range []struct {
			name string
			by   func(testing.TB) caught
		}{{"ferry", a.byFerry}, {"direct", a.direct}, {"dialled", a.dialled}, {"relayed", a.relayed}} {
			got := c.by(b)
			b.Logf("%s, %d days, %d epochs began: %v", c.name, 10, a.epochs, got)
			b.ReportMetric(got.ratio(), c.name+"-bytes/missing")
			b.ReportMetric(float64(got.rounds), c.name+"-rounds")
			b.ReportMetric(float64(got.circuits), c.name+"-circuits")
		}
		s := equals(b, 30, 1_000)
		b.Logf("nothing missing: %v", s)
		b.ReportMetric(float64(s.bytes), "equal-bytes")
		b.ReportMetric(float64(s.mailboxes), "equal-mailboxes")
	}
}
