package enginetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// A large group in one process: an organiser and three readers run, all others
// are off. What the organiser makes is what has to leave its phone once.
const readersOn = 3

// costGroup founds a group of n devices; of one less where that is the most, so
// that somebody can still come.
func costGroup(t testing.TB, n int) (w *World, organiser *Node, readers []*Node, off []*absent) {
	w = NewWorld(uint64(700 + n))
	readers = crowd(t, w, 1+readersOn)
	organiser, readers = readers[0], readers[1:]
	grow := func(n int) {
		off = append(off, letIn(t, w, organiser, n-len(organiser.Engine.Members()))...)
		must(t, organiser.removeAbsent(off[0]))
		off = off[1:]
		must(t, w.Run(engine.Seconds(400)))
	}
	// From the first epoch with pages on keys are for organisers alone; and all that
	// came before the last epoch is in no later one.
	if n > 60 {
		grow(60)
	}
	grow(min(n+1, protocol.MaxMembers))
	if got := len(organiser.Engine.Members()); got != min(n, protocol.MaxMembers-1) {
		t.Fatalf("%d members, want %d", got, n)
	}
	return w, organiser, readers, off
}

// meter counts what nodes make for others and what they are given.
type meter struct {
	w     *World
	came  map[*Node]map[protocol.EnvelopeID]bool
	made  map[*Node]map[string]int              // bytes by kind
	ops   map[*Node]map[protocol.EnvelopeID]int // bytes of operations that it sealed and gave to nobody yet: others may seal the same
	given map[*Node]map[string]int
	lines map[*Node]int // bytes of all messages to it
	keys  map[*Node]int // bytes of messages with keys for organisers from it
}

// tableOfPages is the number of the table of pages (spec 65 section 7).
const tableOfPages = 20

func measure(w *World) *meter {
	m := &meter{w: w, came: map[*Node]map[protocol.EnvelopeID]bool{}, made: map[*Node]map[string]int{}, ops: map[*Node]map[protocol.EnvelopeID]int{}, given: map[*Node]map[string]int{}, lines: map[*Node]int{}, keys: map[*Node]int{}}
	for _, n := range w.nodes {
		m.watch(n)
	}
	w.spent = map[*Node]time.Duration{}
	w.tap = func(from, to *Node, data []byte) bool {
		m.lines[to] += len(data)
		if data[0] == messageKeys {
			m.keys[from] += len(data)
		}
		if data[0] == messageGive && m.came[to] != nil {
			id := protocol.IDOf(data[1:])
			m.came[to][id] = true
			m.made[from][kindOfOps] += m.ops[from][id]
			delete(m.ops[from], id)
		}
		return true
	}
	w.committed = func(n *Node, b engine.Batch) {
		for _, r := range b.Puts {
			kind := "page"
			switch r.Table {
			case tableOfEnvelopes:
				kind = fmt.Sprintf("kind %d", r.Key[68])
			case tableOfPages:
			default:
				continue
			}
			if kind == "kind 8" && n == w.nodes[0] {
				continue // of a large group's device, not in an envelope: it was not made here
			}
			id := protocol.IDOf(r.Value)
			switch {
			case m.came[n][id]:
				m.given[n][kind] += len(r.Value)
			case kind == kindOfOps:
				m.ops[n][id] = len(r.Value)
			default:
				m.made[n][kind] += len(r.Value)
			}
		}
	}
	return m
}

const kindOfOps = "kind 1"

func (m *meter) watch(n *Node) {
	m.came[n], m.made[n], m.ops[n], m.given[n] = map[protocol.EnvelopeID]bool{}, map[string]int{}, map[protocol.EnvelopeID]int{}, map[string]int{}
}

func (m *meter) stop() {
	m.w.tap, m.w.committed = nil, nil
}

func sum(of map[string]int, kinds ...string) (n int) {
	for k, size := range of {
		if len(kinds) == 0 || slices.Contains(kinds, k) {
			n += size
		}
	}
	return n
}

func list(of map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, of[k]>>10))
	}
	return strings.Join(parts, ", ")
}

// costs is what one change cost.
type costs struct {
	name              string
	organiser, reader map[string]int // bytes of envelopes: made by the one, given to the other
	line              int            // bytes of all messages to the reader
	key               int            // bytes of keys from the reader to organisers
	issue, open       time.Duration  // in the engine of the organiser, and of the reader, in all
	command, opened   time.Duration  // of them the command, and until the reader had the epoch
}

func (m *meter) costs(name string, organiser, reader *Node) costs {
	m.stop()
	return costs{name: name, organiser: m.made[organiser], reader: m.given[reader], line: m.lines[reader], key: m.keys[reader],
		issue: m.w.spent[organiser], open: m.w.spent[reader]}
}

// costOf measures an addition, a removal and a rekey in a group of n devices.
func costOf(t testing.TB, n int) []costs {
	w, organiser, readers, off := costGroup(t, n)
	var out []costs
	m := measure(w)
	must(t, organiser.removeAbsent(off[0]))
	command := w.spent[organiser]
	must(t, w.Run(engine.Seconds(3)))
	if organiser.epoch() != readers[0].epoch() {
		t.Fatal("the reader has not followed in three seconds")
	}
	opened := w.spent[readers[0]]
	must(t, w.Run(engine.Seconds(400)))
	c := m.costs("removal", organiser, readers[0])
	c.command, c.opened = command, opened
	out = append(out, c)

	// A link made before the removal would let nobody in by itself.
	link, err := organiser.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, w.Run(engine.Seconds(60)))
	m = measure(w)
	x := w.Add("newcomer")
	m.watch(x)
	must(t, x.Join(link))
	for i := 0; x.joined == 0; i++ {
		if i == 1_000 {
			t.Fatal("the newcomer is not in")
		}
		must(t, w.Run(engine.Time(50)))
	}
	welcome := m.lines[x]
	must(t, w.Run(engine.Seconds(400)))
	out = append(out, m.costs("addition", organiser, readers[0]))
	out = append(out, costs{name: "joiner", reader: map[string]int{"Welcome": welcome, "then": m.lines[x] - welcome}, line: m.lines[x], open: w.spent[x]})

	for _, x := range w.nodes {
		x.Stop()
	}
	w.Now += engine.Seconds(7 * protocol.DaySeconds)
	for _, x := range w.nodes {
		must(t, x.Start())
	}
	before := organiser.epoch()
	m = measure(w)
	must(t, w.Run(engine.Seconds(400)))
	out = append(out, m.costs("rekey", organiser, readers[0]))
	if got := organiser.epoch(); got != before+1 || readers[0].epoch() != got {
		t.Fatalf("epoch %d after %d, the reader has %d", got, before, readers[0].epoch())
	}
	must(t, organiser.Post("encore", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, w.Check())
	return out
}

// BenchmarkCost is the table of spec 46 section 13.
func BenchmarkCost(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			for range b.N {
				for _, c := range costOf(b, n) {
					if c.organiser != nil {
						b.ReportMetric(float64(sum(c.organiser))/1024, c.name+"-sent-KiB")
						b.ReportMetric(float64(c.issue.Microseconds())/1000, c.name+"-organiser-ms")
					}
					b.ReportMetric(float64(sum(c.reader))/1024, c.name+"-fetched-KiB")
					b.ReportMetric(float64(c.open.Microseconds())/1000, c.name+"-reader-ms")
					if c.command != 0 {
						b.ReportMetric(float64(c.command.Microseconds())/1000, c.name+"-command-ms")
						b.ReportMetric(float64(c.opened.Microseconds())/1000, c.name+"-opening-ms")
					}
					b.Logf("%s: organiser makes %s; reader is given %s, all messages to it %d KiB, keys from it %d B; %v, %v",
						c.name, list(c.organiser), list(c.reader), c.line>>10, c.key, c.issue, c.open)
				}
			}
		})
	}
}
