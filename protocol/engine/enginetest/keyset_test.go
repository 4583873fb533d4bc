package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

// messageKeys is the message with what is for organisers' devices (spec 65 section 2).
const messageKeys = 16

// largeGroup founds a group whose epochs have pages: an organiser and some others
// run, the rest of 52 are off.
func largeGroup(t testing.TB, seed uint64, on int) (*World, []*Node, []*absent) {
	t.Helper()
	w := NewWorld(seed)
	nodes := crowd(t, w, on)
	off := letIn(t, w, nodes[0], 53-on)
	must(t, nodes[0].removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(400)))
	return w, nodes, off[1:]
}

// oldKeys counts the private keys that a node keeps beside its newest one.
func oldKeys(t testing.TB, n *Node) (old int) {
	t.Helper()
	for _, k := range n.Store.keys(tableOfKEM) {
		var r struct {
			_       struct{} `cbor:",toarray"`
			Counter uint64
			KEM     [32]byte
			Lane    [32]byte
			Frame   protocol.ItemID
			Used    int64
			Gone    bool
		}
		must(t, wire.Unmarshal(n.Store.rows[tableOfKEM][k].value, 256, &r))
		if !r.Gone {
			old++
		}
	}
	return old - 1
}

// keysGiven counts the key frames that nodes are given from now on, in envelopes
// and in messages of their own.
func keysGiven(w *World) (by map[*Node]int, stop func()) {
	by = map[*Node]int{}
	w.committed = func(n *Node, b engine.Batch) {
		for _, r := range b.Puts {
			if r.Table != tableOfEnvelopes {
				continue
			}
			if k := protocol.FrameKind(r.Key[68]); k == protocol.KindKeyUpdate || k == protocol.KindKeyPackage || k == protocol.KindInbox {
				by[n]++
			}
		}
	}
	w.tap = func(_, to *Node, data []byte) bool {
		if data[0] == messageKeys {
			by[to]++
		}
		return true
	}
	return by, func() { w.committed, w.tap = nil, nil }
}

// Spec 65 section 10: after a rekey in a large group the new keys go to the
// organiser alone, who acknowledges them, so that the old ones are erased; and the
// next epoch is sealed to them.
func TestKeysGoToOrganisers(t *testing.T) {
	w, nodes, off := largeGroup(t, 811, 4)
	ana, bea := nodes[0], nodes[1]
	by, stop := keysGiven(w)
	must(t, ana.removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(400)))
	stop()
	for _, n := range nodes[1:] {
		if by[n] != 0 {
			t.Errorf("%s was given %d keys of others", n.Name, by[n])
		}
		if old := oldKeys(t, n); old != 0 {
			t.Errorf("%s keeps %d old private keys: nobody acknowledged the new one", n.Name, old)
		}
	}
	if by[ana] < 3 {
		t.Errorf("the organiser was given %d keys", by[ana])
	}
	must(t, ana.removeAbsent(off[1]))
	must(t, bea.Post("après", "Corps.", 0))
	must(t, w.Run(engine.Seconds(400)))
	must(t, w.Check())
}

// An organiser's phone that dies before it has acknowledged a key does so later.
func TestKeysAreAcknowledgedAfterARestart(t *testing.T) {
	w, nodes, off := largeGroup(t, 815, 3)
	ana, bea := nodes[0], nodes[1]
	must(t, ana.removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(200))) // an acknowledgement waits for 300 s
	if oldKeys(t, bea) == 0 {
		t.Fatal("the key was acknowledged before the phone died")
	}
	ana.Stop()
	must(t, w.Run(engine.Seconds(10)))
	must(t, ana.Start())
	must(t, w.Run(engine.Seconds(1_800)))
	if old := oldKeys(t, bea); old != 0 {
		t.Errorf("%d old private keys are kept: nobody acknowledged the new one", old)
	}
}

// Who has no link to an organiser hands its key on, and members carry it there.
func TestKeysAreCarried(t *testing.T) {
	w, nodes, off := largeGroup(t, 812, 4)
	// A line: the organiser, and three others of whom each meets the next only.
	for i, a := range nodes {
		for j, b := range nodes {
			if j-i > 1 || i-j > 1 {
				w.Cut(a, b)
			}
		}
	}
	must(t, nodes[0].removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(1_200)))
	for _, n := range nodes[1:] {
		if old := oldKeys(t, n); n.epoch() != 2 || old != 0 {
			t.Errorf("%s is at epoch %d and keeps %d old private keys", n.Name, n.epoch(), old)
		}
	}
	must(t, nodes[0].removeAbsent(off[1]))
	must(t, w.Run(engine.Seconds(600)))
	must(t, nodes[3].Post("du bout", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, w.Check())
	if got := nodes[3].epoch(); got != 3 {
		t.Errorf("the last one is at epoch %d", got)
	}
}

// A member who becomes an organiser has nobody's keys, gets them from the others,
// and renews the keys of the group alone.
func TestNewOrganiserGetsTheKeys(t *testing.T) {
	w, nodes, off := largeGroup(t, 813, 4)
	ana, bea, cam := nodes[0], nodes[1], nodes[2]
	_, err := ana.Organise(bea)
	must(t, err)
	must(t, w.Run(engine.Seconds(400)))
	late := letIn(t, w, ana, 2)
	must(t, w.Run(engine.Seconds(60)))
	ana.Stop()
	before := bea.epoch()
	must(t, bea.removeAbsent(off[0]))
	must(t, bea.removeAbsent(late[0]))
	must(t, cam.Post("sans Ana", "Corps.", 0))
	must(t, w.Run(engine.Seconds(400)))
	must(t, ana.Start())
	must(t, w.Run(engine.Seconds(400)))
	must(t, w.Check())
	if got := cam.epoch(); got == before {
		t.Error("no epoch came after the removal")
	}
	if boxes := len(bea.Engine.Members()); boxes != 52 {
		t.Errorf("%d members", boxes)
	}
}

// A group that becomes small audits again: everybody needs everybody's keys.
func TestLargeGroupBecomesSmall(t *testing.T) {
	w, nodes, off := largeGroup(t, 814, 4)
	ana, bea := nodes[0], nodes[1]
	must(t, ana.removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(400)))
	for _, a := range off[1:5] {
		must(t, ana.removeAbsent(a))
	}
	must(t, w.Run(engine.Seconds(120)))
	if got := len(bea.Engine.Members()); got != protocol.SmallGroup-1 {
		t.Fatalf("%d members", got)
	}
	must(t, bea.Post("petit", "Corps.", 0))
	must(t, ana.removeAbsent(off[5]))
	must(t, w.Run(engine.Seconds(120)))
	must(t, bea.Post("encore", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, w.Check())
}
