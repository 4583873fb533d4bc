package p2p

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// admit turns a proven connection into a link that is not started yet. It fails
// if the connection ended meanwhile, or if it is one too many to this peer.
func (h *Host) admit(c *conn, s network.Stream, p proven) (*link, error) {
	// Accounting only, nothing of it travels: a stream without a protocol would
	// for ever count among the unproven.
	if err := s.SetProtocol(linkScope); err != nil {
		return nil, errGate
	}
	h.mu.Lock()
	h.lastLink++
	l := newLink(h, h.lastLink, c, s, p)
	old := h.byPeer[l.peer]
	if old != nil && !old.isClosing() && !h.better(l, old) {
		h.mu.Unlock()
		return nil, errGate
	}
	h.links[l.id], h.byPeer[l.peer] = l, l
	h.mu.Unlock()
	if old != nil {
		// The host above must never hold two connections to one peer: gossip, when
		// the older one ends, forgets what it heard on the newer one.
		h.net.hide(old.conn)
		old.stop()
		h.hints.part(l.peer)
	}
	ok := false
	switch {
	case p.class == Member && c.circuit:
		// Neither gossip nor identify: what a circuit can carry is for the link.
		ok = c.decide(relayed)
	case p.class == Member:
		ok = h.net.show(c)
	default:
		ok = c.decide(admitted)
	}
	if !ok {
		h.forget(l)
		return nil, errGate
	}
	return l, nil
}

// better reports whether the new link a is to replace b, which leads to the same
// peer. Both sides compute this alike (spec 60 section 4): the wider class wins;
// then the direct one; then the connection dialled by the smaller peer ID; then the newer one, since a
// dialler makes no second connection while it holds its first.
//
// That a dialler holds no link also decides when it was not one of two that
// dialled at the same moment: then b is dead, and only we have not noticed.
func (h *Host) better(a, b *link) bool {
	if x, y := a.proven.class.rank(), b.proven.class.rank(); x != y {
		return x > y
	}
	if a.conn.circuit != b.conn.circuit {
		return b.conn.circuit
	}
	if a.conn.dialled == b.conn.dialled {
		return true
	}
	if !a.conn.dialled && a.conn.Stat().Opened.After(b.since.Add(h.bounds.settled)) {
		return true
	}
	return a.conn.dialled == (h.self < a.peer)
}

// forget takes l out of the tables.
func (h *Host) forget(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, l.id)
	if h.byPeer[l.peer] == l {
		delete(h.byPeer, l.peer)
	}
}

// linkTo returns the link to p that is up and not closing, or nil.
func (h *Host) linkTo(p peer.ID) *link {
	h.mu.Lock()
	l := h.byPeer[p]
	h.mu.Unlock()
	if l == nil || l.isClosing() {
		return nil
	}
	return l
}

// linkBy returns the link to p that is up, unless a is a direct road and the link is
// through a ferry: then the direct one takes its place.
func (h *Host) linkBy(p peer.ID, a ma.Multiaddr) *link {
	if l := h.linkTo(p); l != nil && (!l.conn.circuit || isCircuit(a)) {
		return l
	}
	return nil
}

// proveIn is the listener's side of the gate, on the first stream of c.
func (h *Host) proveIn(c *conn, s network.Stream) {
	if !h.enter() {
		c.shut()
		return
	}
	defer h.work.Done()
	s.SetDeadline(time.Now().Add(h.bounds.proof))
	var l *link
	g := gatekeeper{rw: s, ends: ends{from: h.self, to: c.RemotePeer()}, signer: h.signer}
	over := func() {}
	err := g.listen(h.currentKeys().Accept, func() (err error) {
		over, err = h.turn(c)
		return err
	}, func(p proven) (err error) {
		l, err = h.admit(c, s, p)
		return err
	})
	over()
	if err == nil {
		s.SetDeadline(time.Time{})
		if l.start() {
			if h.circuits != nil {
				h.circuits.punch.try(l)
			}
			return
		}
	}
	s.Reset()
	if l != nil {
		l.stop()
	}
	c.shut()
}

// turn makes the proofs of two connections between the same two hosts follow one
// another if we dialled as well: the side with the smaller peer ID, whose own
// connection is the one to keep, answers the other one when its own dial is over.
// The other side never waits, so the two cannot wait for each other.
func (h *Host) turn(c *conn) (over func(), err error) {
	if h.self > c.RemotePeer() {
		return func() {}, nil
	}
	return h.lockPeer(c.decided, c.RemotePeer())
}

// proveOut is the dialler's side: it opens the first stream of c.
func (h *Host) proveOut(ctx context.Context, c *conn, k Key) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, h.bounds.proof)
	defer cancel()
	s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "proof"))
	if err != nil {
		c.shut()
		return nil, errGate
	}
	s.SetDeadline(time.Now().Add(h.bounds.proof))
	interrupted := context.AfterFunc(ctx, c.shut) // reading knows no context
	g := gatekeeper{rw: s, ends: ends{from: h.self, to: c.RemotePeer()}, signer: h.signer}
	p, err := g.dial(k)
	interrupted()
	var l *link
	if err == nil {
		l, err = h.admit(c, s, p)
	}
	if err == nil {
		s.SetDeadline(time.Time{})
		if l.start() {
			return l, nil
		}
		err = ErrClosed
		l.stop()
	}
	s.Reset()
	c.shut()
	return nil, err
}
