package group

import (
	"math/rand/v2"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Spec 40 section 6: the roster is a pure function of the set of operations.
func TestAnyOrderGivesTheRosterOfTheText(t *testing.T) {
	policies := []Policy{DefaultPolicy(5), DefaultPolicy(100), {Posting: PostAuthors, PeriodDays: 7, RetentionDays: 30}}
	seen := map[string]int{}
	for n := range uint64(100) {
		rnd := rand.New(rand.NewPCG(n, 7))
		founders := 1 + rnd.IntN(3)
		var cast []actor
		for i := range founders {
			cast = append(cast, person(i))
		}
		g := found(t, policies[n%3], cast...)
		w, devices := history(rnd, g, founders, 26)
		want := newSlow(g, w.frames).dump(devices)
		seen[want]++
		var first *Log
		for range 3 {
			l := shuffled(rnd, g, w)
			if got := dump(l.Resolve(), devices); got != want {
				t.Fatalf("seed %d\ngot\n%s\nwant\n%s", n, got, want)
			}
			if first == nil {
				first = l
				continue
			}
			if len(l.Evidence()) != len(first.Evidence()) || l.Len() != first.Len() {
				t.Fatalf("seed %d: evidence or size depends on the order", n)
			}
			for i, e := range l.Evidence() {
				if f := first.Evidence()[i]; f.Frames[0].ID(g.ID()) != e.Frames[0].ID(g.ID()) || f.Frames[1].ID(g.ID()) != e.Frames[1].ID(g.ID()) {
					t.Fatalf("seed %d: evidence depends on the order", n)
				}
			}
		}
		checkAt(t, rnd, g, first, devices)
	}
	if len(seen) < 70 {
		t.Errorf("only %d different rosters: the histories are too alike", len(seen))
	}
}

func shuffled(rnd *rand.Rand, g Genesis, w *world) *Log {
	l := NewLog(g)
	for _, i := range rnd.Perm(len(w.frames)) {
		l.Add(w.frames[i])
		l.Add(w.frames[rnd.IntN(len(w.frames))])
	}
	return l
}

// checkAt compares At(heads) with a log that has the past of heads alone.
func checkAt(t *testing.T, rnd *rand.Rand, g Genesis, l *Log, devices []identity.DeviceID) {
	t.Helper()
	for range 4 {
		var heads []protocol.OpID
		for range 1 + rnd.IntN(2) {
			if l.Len() > 0 {
				heads = append(heads, l.nodes[rnd.IntN(l.Len())].id)
			}
		}
		heads = protocol.SortIDs(heads)
		frames, err := l.Between(nil, heads)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := l.At(heads)
		if !ok {
			t.Fatal("heads of the log are unknown to it")
		}
		// prev_own is no causal edge, so the past alone may lack one: the slow
		// resolver is given the operations as they stand.
		s := newSlow(g, l.Frames())
		past := map[protocol.OpID]bool{}
		for _, f := range frames {
			past[protocol.OpID(f.ID(g.ID()))] = true
		}
		if got, want := dump(r, devices), s.restrict(past).dump(devices); got != want {
			t.Fatalf("at heads\ngot\n%s\nwant\n%s", got, want)
		}
		for _, id := range heads {
			if !l.Covers(heads, id) {
				t.Fatal("heads do not cover themselves")
			}
		}
		for _, n := range l.nodes {
			if l.Covers(heads, n.id) != past[n.id] {
				t.Fatal("Covers and Between disagree")
			}
		}
	}
}
