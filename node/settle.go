package node

import (
	"errors"
	"fmt"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol/engine"
)

// settle brings everything to rest after a batch: what the engines did becomes
// durable and leaves, hosts open and close, dials start.
func (n *Node) settle() {
	n.countData()
	n.endPolls()
	for again := true; again && n.fatal == nil; {
		for _, g := range n.sortedGroups() {
			n.commit(g)
		}
		again = n.online && n.tendHosts()
	}
	if n.online && n.fatal == nil {
		n.visitDue()
		n.tendPlaces()
		n.dialDue()
		n.tendNear()
		n.nearDue()
	}
}

// commit makes what an engine did durable, then lets it leave. A group whose
// last commit failed is left alone until its time has come, or somebody asks.
func (n *Node) commit(g *groupState) {
	r := g.engine.Ready()
	g.wake = r.Wake
	if r.Empty() || n.fatal != nil || g.retryAt > n.now() {
		return
	}
	if !r.Persist.Empty() {
		if err := n.db.Commit(store.Space(g.id), r.Persist); err != nil {
			n.commitFailed(g, err)
			return
		}
		g.pause = 0
	}
	n.carryOut(g, r)
	g.engine.Advance()
}

// commitFailed puts a group back to what the disk holds. While the disk is full
// the group stays off the network for a growing time: taking things in only to
// throw them away would cost everybody.
func (n *Node) commitFailed(g *groupState, err error) {
	if !errors.Is(err, store.ErrFull) && !errors.Is(err, store.ErrTooLarge) {
		n.fatal = fmt.Errorf("%w: %w", errFatal, err)
		n.lost[g] = n.fatal
		return
	}
	n.lose(g, err)
	n.holdBack(g)
	n.closeHost(g)
}

// holdBack lets a growing time pass before a group is tried again.
func (n *Node) holdBack(g *groupState) {
	g.pause = longer(g.pause, pauseFirst, pauseJoining)
	g.retryAt = n.now() + g.pause
}

// lose throws away an engine that is ahead of the disk, or in an unknown state,
// and opens the group again. All that this batch changed in it is gone, and
// whoever waits for it is told err. Links end: their state was in the engine.
func (n *Node) lose(g *groupState, err error) {
	n.lost[g] = err
	e, err := engine.Load(n.engineConfig(g.id), g.id, n.now())
	if err != nil {
		n.fatal = fmt.Errorf("%w: %w", errFatal, err)
		n.lost[g] = n.fatal
		return
	}
	g.engine, g.gate = e, nil // the new one tells the gate anew
	for id := range g.links {
		g.host.CloseLink(id)
	}
	g.poll.on = false
	clear(g.links)
	clear(g.through)
	if v := g.carriers.visit; v != nil {
		v.Close()
		g.carriers.visit, g.carriers.busy = nil, false
	}
	g.book.allDown(n.now())
}

// step gives one input to a group's engine. An engine's error is a damaged store
// or a mistake of the program: the group is loaded again from the disk.
func (n *Node) step(g *groupState, in engine.Input) {
	if n.fatal != nil {
		return
	}
	if err := g.engine.Step(n.now(), in); err != nil {
		n.lose(g, err)
	}
}

// carryOut does what a Ready asks for, once that is durable. It gives nothing to
// the engine, which would take it for a part of this Ready.
func (n *Node) carryOut(g *groupState, r *engine.Ready) {
	if r.Gate != nil {
		n.setGate(g, r.Gate)
	}
	visit := g.carriers.visit
	if g.host != nil {
		for _, m := range r.Send {
			if m.Peer >= firstVisitPeer {
				if visit != nil && m.Peer == g.carriers.peer {
					_ = visit.Send(m.Data) // if it has ended, the next one brings it
				}
				continue
			}
			g.poll.told(n.now())
			// A link that is behind is closed by the host; whoever is behind it
			// reconciles on the next one.
			_ = g.host.Send(p2p.LinkID(m.Peer), m.Data)
		}
		if len(r.Announce) > 0 {
			ids := make([][32]byte, len(r.Announce))
			for i, id := range r.Announce {
				ids[i] = id
			}
			_ = g.host.Announce(ids) // a hint that gets lost is found by reconciliation
		}
	}
	n.notifyAll(g, r.Deliver)
	if g.host != nil {
		for _, p := range r.Close {
			switch {
			case p < firstVisitPeer:
				g.host.CloseLink(p2p.LinkID(p))
			case visit != nil && p == g.carriers.peer:
				visit.Close() // its end is told when it is over
			}
		}
	}
}

// setGate puts new keys into force, and makes places that refused the old ones
// worth a try at once.
func (n *Node) setGate(g *groupState, gate *engine.Gate) {
	switch keys := len(gate.Accept)+len(gate.Dial) > 0; {
	case !keys && g.leaving != nil:
		g.handedOver()
		return // the links by which it was told stay until the group goes
	case keys && g.engine.Status().Removed && !gate.Knocks:
		g.tellsLeaving() // the engine leaves the gate open for this alone
	}
	if g.gate == nil || !sameKeys(g.gate.Dial, gate.Dial) {
		g.book.hurry(n.now())
		n.near.hurry(g.id)
	}
	g.gate = gate
	if g.host == nil {
		return
	}
	g.signer.gate.Store(gate)
	if err := g.host.SetKeys(gateKeys(gate)); err != nil {
		g.reopen = true
	}
}

func sameKeys(a, b []engine.GateKey) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Tag != b[i].Tag {
			return false
		}
	}
	return true
}
