package p2p

import (
	"context"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	ma "github.com/multiformats/go-multiaddr"
)

// maxPunched is how many addresses the other side may tell.
const maxPunched = 4

// punching makes direct links of those between members that go through a ferry, by
// libp2p's DCUtR inside the circuit: both tell where a ferry saw them come from and send
// to one another at the same moment, so that both routers take the packets for answers.
// It begins once a ferry has said where this host comes from, and is for hosts that
// listen by QUIC.
type punching struct {
	c     *circuits
	ready chan struct{} // closed when service takes part
	over  chan struct{} // closed at the end

	mu      sync.Mutex
	closed  bool
	service *holepunch.Service    // nil: no ferry has said anything yet
	handler network.StreamHandler // of the side that dialled the circuit
	begin   network.Notifiee      // of the other side, which begins
}

// start begins to take part, once.
func (p *punching) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.service != nil {
		return
	}
	// It fails for want of its second argument alone.
	p.service, _ = holepunch.NewService(&puncher{p.c.above, p}, noIdentify{}, p.c.observed)
}

func (p *punching) close() {
	p.mu.Lock()
	p.closed = true
	service := p.service
	p.mu.Unlock()
	close(p.over)
	if service != nil {
		service.Close()
	}
}

// try makes a link direct if it can be; it does not block.
func (p *punching) try(l *link) {
	if !l.conn.circuit || l.conn.dialled || l.proven.class != Member {
		return
	}
	p.mu.Lock()
	begun := p.service != nil
	p.mu.Unlock()
	if !begun {
		return
	}
	l.host.spawn(func() {
		select {
		case <-p.ready:
		case <-l.gone:
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.closed {
			p.begin.Connected(l.host.net, l.conn.Conn) // it goes on beside
		}
	})
}

// inbound takes the other side's wish to make a circuit's link direct.
func (p *punching) inbound(s network.Stream) {
	p.mu.Lock()
	begun := p.service != nil && !p.closed
	p.mu.Unlock()
	if !begun {
		s.Reset()
		return
	}
	select {
	case <-p.ready: // it takes a moment after the ferry has answered
	case <-p.over:
		s.Reset()
		return
	}
	p.mu.Lock()
	to := p.handler
	p.mu.Unlock()
	takeStream(s, holepunch.Protocol, to)
}

// observed returns where ferries saw this host come from.
func (c *circuits) observed() (list []ma.Multiaddr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.ferries {
		if f.seen != nil && !slices.ContainsFunc(list, f.seen.Equal) && len(list) < maxPunched {
			list = append(list, f.seen)
		}
	}
	return list
}

// noIdentify says at once that identify is over, which no circuit runs.
type noIdentify struct{ identify.IDService }

func (noIdentify) IdentifyWait(network.Conn) <-chan struct{} {
	over := make(chan struct{})
	close(over)
	return over
}

// puncher is what libp2p's hole puncher takes for a host. Its connections are those of
// circuits, and what it connects to has to pass the gate.
type puncher struct {
	host.Host
	p *punching
}

func (x *puncher) Network() network.Network { return punched{x.p.c.host.net, x.p} }

func (x *puncher) SetStreamHandler(_ protocol.ID, h network.StreamHandler) {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	x.p.handler = h
}

func (x *puncher) RemoveStreamHandler(protocol.ID) {}

// NewStream opens a stream inside the circuit of a link.
func (x *puncher) NewStream(ctx context.Context, p peer.ID, _ ...protocol.ID) (network.Stream, error) {
	l := x.p.c.host.linkTo(p)
	if l == nil || !l.conn.circuit {
		return nil, errEnded
	}
	return openStream(ctx, l.conn, holepunch.Protocol)
}

// Connect makes a direct connection at the same moment as the other side, and proves on
// it what the link through the ferry proved. The side that is QUIC's client is the
// gate's dialler, as elsewhere.
func (x *puncher) Connect(ctx context.Context, to peer.AddrInfo) error {
	h := x.p.c.host
	if !h.enter() {
		return ErrClosed
	}
	defer h.work.Done()
	l := h.linkTo(to.ID)
	if l == nil {
		return errEnded
	}
	if !l.conn.circuit {
		return nil
	}
	key, ok := h.dialKey(l.proven)
	addrs := slices.DeleteFunc(slices.Clone(to.Addrs), func(a ma.Multiaddr) bool {
		_, ok := punchable(a.Bytes())
		return !ok
	})
	if addrs = addrs[:min(len(addrs), maxPunched)]; len(addrs) == 0 || !ok {
		return errNotDialable
	}
	if _, client, _ := network.GetSimultaneousConnect(ctx); client {
		unlock, err := h.lockPeer(ctx.Done(), to.ID)
		if err != nil {
			return err
		}
		defer unlock()
	} else {
		// Their proof, which takes the lock, may come while libp2p still waits for the
		// connection: if that was faster than this call, it waits in vain.
		defer h.net.expect(to.ID)()
	}
	ps := h.net.Peerstore()
	ps.ClearAddrs(to.ID)
	ps.AddAddrs(to.ID, addrs, peerstore.TempAddrTTL)
	nc, err := h.net.Swarm.DialPeer(ctx, to.ID)
	if err != nil {
		return errNoAnswer
	}
	c := h.net.adopt(nc)
	if c == nil {
		return errEnded
	}
	if c.dialled {
		_, err := h.proveOut(ctx, c, key)
		return err
	}
	if v := c.wait(); v != shown {
		return errGate
	}
	return nil
}

// dialKey returns the key to dial with that was proven.
func (h *Host) dialKey(p proven) (Key, bool) {
	for _, k := range h.currentKeys().Dial {
		if k.Tag == p.tag && k.Class == Member {
			return k, true
		}
	}
	return Key{}, false
}

// punched is the network that the hole puncher sees: it hears of connections by try.
type punched struct {
	*gated
	p *punching
}

func (n punched) Notify(x network.Notifiee) {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	n.p.begin = x
	close(n.p.ready)
}
