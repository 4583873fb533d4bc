package p2p

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// gated is the network that the libp2p host sees: the swarm without the
// connections that are not shown. The host gets no event, stream or connection
// of those, and it never dials on its own account.
type gated struct {
	*swarm.Swarm
	bounds  bounds
	waiting *waiting
	emitter event.Emitter
	// prove runs the listener's side of the gate on a connection's first stream.
	prove func(*conn, network.Stream)
	// lower takes a stream that is not for the host above, on a connection that we
	// dialled and that is not shown; circuitOver hears of the end of a circuit.
	lower       func(verdict, network.Stream)
	circuitOver func()

	mu        sync.Mutex
	conns     map[network.Conn]*conn
	expected  map[peer.ID]bool
	notifiees map[network.Notifiee]struct{}
	handler   network.StreamHandler
}

func newGated(s *swarm.Swarm, b bounds, w *waiting, e event.Emitter, prove func(*conn, network.Stream)) *gated {
	g := &gated{
		Swarm: s, bounds: b, waiting: w, emitter: e, prove: prove,
		conns: map[network.Conn]*conn{}, expected: map[peer.ID]bool{}, notifiees: map[network.Notifiee]struct{}{},
	}
	s.SetStreamHandler(g.inbound)
	s.Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { g.adopt(c) },
		DisconnectedF: func(_ network.Network, c network.Conn) { g.disconnected(c) },
	})
	return g
}

// adopt returns the record of a swarm connection and makes it if need be: by the
// swarm's notice, which comes before the first stream, or by a dialler, to whom
// the swarm may show the connection before that. It returns nil, and closes the
// connection, if it is one too many; and nil if it has ended.
func (g *gated) adopt(nc network.Conn) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.conns[nc]; c != nil {
		return c
	}
	// The swarm tells of the end after the connection is closed, so an open one
	// will still be taken from the table.
	if nc.IsClosed() {
		return nil
	}
	c := &conn{Conn: nc, dialled: nc.Stat().Direction == network.DirOutbound, circuit: isCircuit(nc.RemoteMultiaddr()),
		decided: make(chan struct{}), ended: make(chan struct{}), leave: func() {}}
	if g.expected[nc.RemotePeer()] && !c.circuit {
		c.dialled = false
	}
	if !c.dialled {
		if c.leave = g.waiting.enter(nc.RemoteMultiaddr()); c.leave == nil {
			go nc.Close() // it may call back
			return nil
		}
	}
	c.mu.Lock()
	c.timer = time.AfterFunc(g.bounds.proof, func() {
		if c.decide(refused) {
			c.Conn.Close()
		}
	})
	c.mu.Unlock()
	g.conns[nc] = c
	return c
}

// expect says that p is about to come in by a connection that libp2p takes for one that
// we dialled, until done is called.
func (g *gated) expect(p peer.ID) (done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expected[p] = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.expected, p)
	}
}

func (g *gated) disconnected(nc network.Conn) {
	g.mu.Lock()
	c := g.conns[nc]
	delete(g.conns, nc)
	g.mu.Unlock()
	if c == nil {
		return
	}
	if c.circuit {
		g.circuitOver()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.decideLocked(refused)
	g.hideLocked(c)
	close(c.ended)
}

// hide takes a connection from the sight of the host above, as if it had closed.
func (g *gated) hide(c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g.hideLocked(c)
}

func (g *gated) hideLocked(c *conn) {
	if !c.visible.CompareAndSwap(true, false) {
		return
	}
	for _, n := range g.watchers() {
		n.Disconnected(g, c.Conn)
	}
	g.tell(c.RemotePeer())
}

// show makes an unproven connection visible to the host above. The verdict is
// out only when the host has heard of it: a held stream must not come first.
func (g *gated) show(c *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.decideLocked(shown) {
		return false
	}
	c.visible.Store(true)
	for _, n := range g.watchers() {
		n.Connected(g, c.Conn)
	}
	g.tell(c.RemotePeer())
	close(c.decided)
	return true
}

func (g *gated) tell(p peer.ID) {
	g.emitter.Emit(event.EvtPeerConnectednessChanged{Peer: p, Connectedness: g.Connectedness(p)})
}

func (g *gated) watchers() []network.Notifiee {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]network.Notifiee, 0, len(g.notifiees))
	for n := range g.notifiees {
		out = append(out, n)
	}
	return out
}

func (g *gated) record(nc network.Conn) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conns[nc]
}

// inbound takes every stream that a peer opens, in a goroutine of its own.
func (g *gated) inbound(s network.Stream) {
	c := g.record(s.Conn())
	if c == nil {
		s.Reset()
		return
	}
	if !c.dialled && c.claimed.CompareAndSwap(false, true) {
		g.prove(c, s)
		return
	}
	if !c.visible.Load() {
		// The listener shows the connection before it answers us, so its streams
		// may overtake the answer: hold them, read nothing. On a connection that
		// they dialled there is nothing to wait for.
		v := refused
		if c.dialled {
			if v = c.decidedAs(); v == pending && c.held.Add(1) <= int64(g.bounds.held) {
				v = c.wait()
			}
		}
		switch v {
		case shown:
		case relayed, carrier:
			g.lower(v, s)
			return
		default:
			s.Reset()
			c.shut()
			return
		}
	}
	g.mu.Lock()
	h := g.handler
	g.mu.Unlock()
	if h == nil {
		s.Reset()
		return
	}
	h(s)
}

func (g *gated) SetStreamHandler(h network.StreamHandler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handler = h
}

func (g *gated) Notify(n network.Notifiee) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notifiees[n] = struct{}{}
}

func (g *gated) StopNotify(n network.Notifiee) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.notifiees, n)
}

func (g *gated) only(all []network.Conn) []network.Conn {
	var out []network.Conn
	for _, nc := range all {
		if c := g.record(nc); c != nil && c.visible.Load() {
			out = append(out, nc)
		}
	}
	return out
}

func (g *gated) Conns() []network.Conn { return g.only(g.Swarm.Conns()) }

func (g *gated) ConnsToPeer(p peer.ID) []network.Conn { return g.only(g.Swarm.ConnsToPeer(p)) }

func (g *gated) Connectedness(p peer.ID) network.Connectedness {
	best := network.NotConnected
	for _, c := range g.ConnsToPeer(p) {
		if !c.Stat().Limited {
			return network.Connected
		}
		best = network.Limited
	}
	return best
}

func (g *gated) Peers() []peer.ID {
	var out []peer.ID
	for _, p := range g.Swarm.Peers() {
		if len(g.ConnsToPeer(p)) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// DialPeer finds a connection and never makes one.
func (g *gated) DialPeer(_ context.Context, p peer.ID) (network.Conn, error) {
	if cs := g.ConnsToPeer(p); len(cs) > 0 {
		return cs[0], nil
	}
	return nil, network.ErrNoConn
}

func (g *gated) NewStream(ctx context.Context, p peer.ID) (network.Stream, error) {
	c, err := g.DialPeer(ctx, p)
	if err != nil {
		return nil, err
	}
	return c.NewStream(ctx)
}
