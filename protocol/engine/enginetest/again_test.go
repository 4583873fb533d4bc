package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// keysIn counts the envelopes with a key in them that a node holds of its newest
// epoch, and their bytes in all epochs.
func (n *Node) keysIn() (newest, bytes int) {
	tag := n.gate.Accept[0].Tag
	for _, row := range n.Store.keys(tableOfEnvelopes) {
		if k := protocol.FrameKind(row[68]); k != protocol.KindKeyPackage && k != protocol.KindKeyUpdate {
			continue
		}
		bytes += len(n.Store.rows[tableOfEnvelopes][row].value)
		if row[:32] == string(tag[:]) {
			newest++
		}
	}
	return newest, bytes
}

// A group renews its keys each day, by one issuer and at last by two who do not
// hear each other. Whoever was in the epoch before has the keys that were told in
// it, so an epoch holds those that are new in it; one that joins two holds the newest
// of each device.
func TestKeysAreSealedAgainForWhoLacksThem(t *testing.T) {
	w := NewWorld(46)
	sent := 0
	w.tap = func(_, _ *Node, data []byte) bool { sent += len(data); return true }
	for _, name := range []string{"Ana", "Ben", "Cam", "Dia"} {
		w.Add(name)
	}
	x := &seizing{World: w, t: t, ana: w.nodes[0], ben: w.nodes[1]}
	p := group.DefaultPolicy(10)
	p.PeriodDays = 1
	must(t, x.ana.Found("Jardin", p))
	l, err := x.ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	for _, n := range w.nodes[1:] {
		must(t, n.Join(l))
	}
	x.run(engine.Seconds(60))
	most := 0
	for d := range 9 {
		if d == 8 {
			_, err = x.ana.Organise(x.ben)
			must(t, err)
			x.run(engine.Seconds(90))
		}
		x.apart(day - engine.Seconds(300))
		x.run(engine.Seconds(300))
		for _, n := range w.nodes {
			if n.Engine.Waiting() || n.epoch() != x.ana.epoch() {
				t.Fatalf("day %d: %s is at epoch %d, waiting %t; ana at %d", d, n.Name, n.epoch(), n.Engine.Waiting(), x.ana.epoch())
			}
			newest, _ := n.keysIn()
			if most = max(most, newest); newest > 3*len(w.nodes) { // each tells a new key in the epochs it may send in next, too
				t.Errorf("day %d: %s holds %d keys in its newest epoch", d, n.Name, newest)
			}
		}
	}
	// The two epochs of the last day have an heir, with what either half lacks.
	x.apart(day - engine.Seconds(300))
	x.run(engine.Seconds(600))
	must(t, w.Check())
	newest, bytes := x.ana.keysIn()
	t.Logf("epoch %d: at most %d keys in one, %d in the last; %d bytes of keys held, %d bytes sent by all", x.ana.epoch(), most, newest, bytes, sent)
	if newest > 4*len(w.nodes) {
		t.Errorf("%d keys in one epoch", newest)
	}
}

// reboxes counts the ReBoxes that a node holds.
func (n *Node) reboxes() (count int) {
	for _, row := range n.Store.keys(tableOfEnvelopes) {
		if protocol.FrameKind(row[68]) == protocol.KindReBox {
			count++
		}
	}
	return count
}

// Ana lets dia in while ben, whom she does not reach, renews the keys. Dia is handed
// what she lacks once, however often the phones that could do it are started.
func TestKeysAreHandedOverOnce(t *testing.T) {
	w := NewWorld(47)
	for _, name := range []string{"Ana", "Ben", "Cam"} {
		w.Add(name)
	}
	ana, ben, cam := w.nodes[0], w.nodes[1], w.nodes[2]
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	l, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	must(t, ben.Join(l))
	must(t, cam.Join(l))
	must(t, w.Run(engine.Seconds(30)))
	_, err = ana.Organise(ben)
	must(t, err)
	must(t, w.Run(engine.Seconds(120)))
	dia := w.Add("Dia")
	for _, n := range []*Node{ana, dia} {
		for _, m := range []*Node{ben, cam} {
			w.Cut(n, m)
			w.Cut(m, n)
		}
	}
	must(t, dia.Join(l))
	must(t, ben.Remove(cam))
	must(t, w.Run(engine.Seconds(120)))
	must(t, w.HealAll())
	must(t, w.Run(engine.Seconds(240)))
	must(t, ben.Post("ensemble", "Corps.", 0))
	must(t, w.Run(engine.Seconds(20)))
	if _, err := dia.See("ensemble"); err != nil {
		t.Fatal(err)
	}
	before := ana.reboxes()
	if before == 0 {
		t.Fatal("nothing was handed over")
	}
	for range 3 {
		for _, n := range []*Node{ana, ben} {
			n.Stop()
			must(t, n.Start())
			must(t, w.Run(engine.Seconds(180)))
		}
	}
	if n := ana.reboxes(); n != before {
		t.Errorf("%d ReBoxes before, %d after the phones were started again", before, n)
	}
}
