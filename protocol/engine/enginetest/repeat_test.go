package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

// givenOps is how many bytes of operations a node was given.
func (m *meter) givenOps(n *Node) int { return m.given[n][kindOfOps] }

// An organiser lets 300 people in and removes one: all that lies in the new epoch as
// well, and the phones that hold it do not fetch it twice. They seal 256 again, which
// bounds what somebody can have all others store.
func TestWhatAllHoldIsNotSentAgain(t *testing.T) {
	w := NewWorld(21)
	nodes := crowd(t, w, 3)
	ana, ben := nodes[0], nodes[1]
	off := letIn(t, w, ana, 300)
	must(t, w.Run(engine.Seconds(60)))

	m := measure(w)
	must(t, ana.removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(400)))
	m.stop()
	if ben.epoch() != ana.epoch() {
		t.Fatalf("ben is in epoch %d, ana in %d", ben.epoch(), ana.epoch())
	}
	// The removal under the epoch before, and of the new epoch what is beyond 256.
	const wanted = 1 + (3 + 300 - 256)
	for _, n := range nodes[1:] {
		if got := m.givenOps(n) >> 11; got < wanted-3 || got > wanted {
			t.Errorf("%s was given %d operations, want about %d", n.Name, got, wanted)
		}
	}

	// The next removal: all is in both epochs, and is told once.
	m = measure(w)
	must(t, ana.removeAbsent(off[1]))
	must(t, w.Run(engine.Seconds(400)))
	for _, n := range nodes[1:] {
		if got := m.givenOps(n); got != 2<<10 {
			t.Errorf("%s was given %d bytes of operations for a removal, want %d", n.Name, got, 2<<10)
		}
	}
	if made := m.made[ana][kindOfOps]; made != 2<<10 {
		t.Errorf("ana has to send %d bytes of operations, want %d", made, 2<<10)
	}
	must(t, ana.Post("encore", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range nodes {
		if _, err := n.See("encore"); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
	}
	must(t, w.Check())
}
