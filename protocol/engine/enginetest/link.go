package enginetest

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// circuitBytes is what a carrier lets through in either direction.
const circuitBytes = 128 << 10

// link is one proven connection.
type link struct {
	w       *World
	a, b    *Node // a dialled
	id      engine.Peer
	class   engine.Class
	up      bool
	nextA   engine.Time // what was sent to a earlier arrives earlier
	nextB   engine.Time
	carried map[*Node]int // bytes that came from each, if a carrier counts them
}

// dial connects a to b as the gate would: by the first of a's keys, newest
// first, that b takes, with a device signature of whoever holds the key for the
// newer one where the other side holds it for an old one.
func (w *World) dial(a, b *Node) {
	if a.gate == nil || b.gate == nil || w.cuts[pair{a, b}] || w.linkOf(a, b) != nil {
		return
	}
	for _, ka := range a.gate.Dial {
		for _, kb := range b.gate.Accept {
			if ka.Secret != kb.Secret {
				continue
			}
			class := engine.ClassMember
			switch {
			case ka.Class == engine.ClassInvite || kb.Class == engine.ClassInvite:
				class = engine.ClassInvite
			case w.Bug == AnyoneEnters:
			case ka.Class == engine.ClassCatchUp && !admits(a.gate, b.gate, ka), kb.Class == engine.ClassCatchUp && !admits(b.gate, a.gate, kb):
				w.Counts["refused"]++
				continue
			case ka.Class == engine.ClassCatchUp || kb.Class == engine.ClassCatchUp:
				class = engine.ClassCatchUp
			}
			w.connect(a, b, class, ka.Tag, kb.Tag)
			return
		}
	}
}

func admits(asking, asked *engine.Gate, k engine.GateKey) bool {
	pub := asked.Device.Public()
	if k.Device != (identity.DeviceID{}) && k.Device != pub.ID() {
		return false
	}
	return asking.Devices[pub.ID()] == pub
}

func (w *World) connect(a, b *Node, class engine.Class, tagA, tagB [32]byte) {
	w.links++
	l := &link{w: w, a: a, b: b, id: engine.Peer(w.links), class: class, up: true}
	if w.relayed {
		l.carried = map[*Node]int{}
		w.Counts["circuit"]++
	}
	a.links = append(a.links, l)
	b.links = append(b.links, l)
	w.checkLink(l)
	if class == engine.ClassCatchUp {
		w.Counts["catch-up"]++
	}
	a.step(engine.PeerUp{Peer: l.id, Class: class, Tag: tagA, Dialled: w.Bug != NobodyAsks, Limit: w.limit()})
	if l.up {
		b.step(engine.PeerUp{Peer: l.id, Class: class, Tag: tagB, Limit: w.limit()})
	}
}

// limit is that of the links that come about now.
func (w *World) limit() int {
	if w.relayed {
		return circuitBytes
	}
	return 0
}

func (l *link) other(n *Node) *Node {
	if l.a == n {
		return l.b
	}
	return l.a
}

// send queues a message from n; order is kept, what is under way is lost with
// the link.
func (l *link) send(n *Node, data []byte) {
	to, next := l.b, &l.nextB
	if n == l.b {
		to, next = l.a, &l.nextA
	}
	if n.Silent {
		return
	}
	*next = max(*next, n.leaves(len(data))+l.w.Faults.DelayMin+l.w.delay(l.w.Faults.DelayMax))
	data = slices.Clone(data)
	l.w.count(n, to, len(data))
	if l.w.tap != nil && !l.w.tap(n, to, data) {
		return
	}
	if l.carried != nil {
		// A length here, what Noise and yamux add below.
		if l.carried[n] += 4 + len(data) + 18 + 12; l.carried[n] > circuitBytes {
			l.w.Counts["circuit cut"]++
			l.w.at(*next, l.end)
			return
		}
	}
	l.w.at(*next, func() {
		if !l.up {
			l.w.Counts["message lost"]++
			return
		}
		to.step(engine.Received{Peer: l.id, Data: data})
	})
}

// leaves is when so many bytes have left a node, behind all that it sent before.
func (n *Node) leaves(bytes int) engine.Time {
	rate := n.w.Faults.Rate
	if rate == 0 {
		return n.w.Now
	}
	n.line = max(n.line, int64(n.w.Now)*rate) + int64(bytes)
	return engine.Time(n.line / rate)
}

// hint announces ids to the other side: late, twice or not at all.
func (l *link) hint(n *Node, ids []protocol.EnvelopeID) {
	to, f := l.other(n), l.w.Faults
	if l.carried != nil || n.Silent {
		return // gossip does not run over a circuit
	}
	l.w.count(n, to, 8+32*len(ids)) // spec 60 section 5
	if l.w.chance("hint lost", f.HintLoss) {
		return
	}
	times := 1
	if l.w.chance("hint twice", f.HintTwice) {
		times = 2
	}
	ids = slices.Clone(ids)
	leaves := n.leaves(8 + 32*len(ids))
	for range times {
		extra := engine.Time(0)
		if f.HintDelay > 0 && l.w.chance("hint late", 0.3) {
			extra = l.w.delay(f.HintDelay)
		}
		l.w.at(leaves+f.DelayMin+l.w.delay(f.DelayMax)+extra, func() {
			if l.up {
				to.step(engine.Hinted{Peer: l.id, IDs: slices.Clone(ids)})
			}
		})
	}
}

// end closes the link for both sides; they may dial again a second later.
func (l *link) end() {
	if !l.up {
		return
	}
	l.up = false
	for _, n := range []*Node{l.a, l.b} {
		n.links = slices.DeleteFunc(n.links, func(x *link) bool { return x == l })
	}
	for _, n := range []*Node{l.a, l.b} {
		n.step(engine.PeerDown{Peer: l.id})
	}
	l.w.at(l.w.Now+engine.Seconds(1), func() { l.w.dial(l.a, l.b) })
}

// endAfterWords closes the link of a node that died once what it had sent has
// arrived.
func (l *link) endAfterWords(dead *Node) {
	dead.links = slices.DeleteFunc(dead.links, func(x *link) bool { return x == l })
	next := l.nextB
	if dead == l.b {
		next = l.nextA
	}
	l.w.at(next+1, l.end)
}
