package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
)

var errNotDialable = errors.New("p2p: an address must be ip and tcp, or ip, udp and quic-v1, or onion3")

// byAddress is a transport for a dialler that knows no peer ID. A connection made by
// reach waits here until the swarm asks for one to its ID, so that dialling by address
// costs one handshake, not two.
type byAddress struct {
	tpt.Transport
	first func(context.Context, ma.Multiaddr) (tpt.CapableConn, error) // connects to whoever is there

	mu    sync.Mutex
	ready map[peer.ID]tpt.CapableConn
}

func newByAddress(t tpt.Transport, first func(context.Context, ma.Multiaddr) (tpt.CapableConn, error)) *byAddress {
	return &byAddress{Transport: t, first: first, ready: map[peer.ID]tpt.CapableConn{}}
}

// named is a connection that was dialled without an ID and has learnt it.
type named struct {
	tpt.CapableConn
	id peer.ID
}

func (n named) RemotePeer() peer.ID { return n.id }

// reach connects to a and returns the ID of whoever answered.
func (t *byAddress) reach(ctx context.Context, a ma.Multiaddr) (peer.ID, error) {
	c, err := t.first(ctx, a)
	if err != nil {
		return "", err
	}
	id, err := peer.IDFromPublicKey(c.RemotePublicKey())
	if err != nil || !isEd25519(id) {
		c.Close()
		return "", ErrRefused
	}
	t.mu.Lock()
	old := t.ready[id]
	t.ready[id] = named{CapableConn: c, id: id}
	t.mu.Unlock()
	if old != nil {
		old.Close()
	}
	return id, nil
}

func (t *byAddress) take(id peer.ID) tpt.CapableConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.ready[id]
	delete(t.ready, id)
	return c
}

// drop closes what reach left for id, if nobody took it.
func (t *byAddress) drop(id peer.ID) {
	if c := t.take(id); c != nil {
		c.Close()
	}
}

// Dial is called by the swarm.
func (t *byAddress) Dial(ctx context.Context, a ma.Multiaddr, id peer.ID) (tpt.CapableConn, error) {
	if c := t.take(id); c != nil {
		if c.RemoteMultiaddr().Equal(a) && !c.IsClosed() {
			return c, nil
		}
		c.Close()
	}
	return t.Transport.Dial(ctx, a, id)
}

// Close is what the swarm looks for in a transport, and embedding hides.
func (t *byAddress) Close() error {
	t.mu.Lock()
	ready := t.ready
	t.ready = map[peer.ID]tpt.CapableConn{}
	t.mu.Unlock()
	for _, c := range ready {
		c.Close()
	}
	if c, ok := t.Transport.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// firstQUIC connects by QUIC, which does not insist on an ID.
func firstQUIC(t tpt.Transport) func(context.Context, ma.Multiaddr) (tpt.CapableConn, error) {
	return func(ctx context.Context, a ma.Multiaddr) (tpt.CapableConn, error) {
		c, err := t.Dial(ctx, a, "")
		if err != nil {
			return nil, errNoAnswer
		}
		return c, nil
	}
}

// firstTCP connects by TCP. Libp2p's TCP dialler insists on an ID, so it gets our own; the
// Noise below compares none, and tells which one the other side has proved.
func firstTCP(n *noise.Transport, self peer.ID, d door, resources network.ResourceManager, by *socks, count *tally, t tpt.Transport) (func(context.Context, ma.Multiaddr) (tpt.CapableConn, error), error) {
	anybody, err := n.WithSessionOptions(noise.DisablePeerIDCheck())
	if err != nil {
		return nil, fmt.Errorf("p2p: prepare noise: %w", err)
	}
	plain, err := upgrader.New([]sec.SecureTransport{anybody}, muxers, nil, resources, d)
	if err != nil {
		return nil, fmt.Errorf("p2p: prepare noise: %w", err)
	}
	up := countTCP(plain, count)
	return func(ctx context.Context, a ma.Multiaddr) (tpt.CapableConn, error) {
		scope, err := resources.OpenConnection(network.DirOutbound, true, a)
		if err != nil {
			return nil, err
		}
		c, err := by.dial(ctx, a)
		if err != nil {
			scope.Done()
			return nil, err
		}
		if l, ok := c.(interface{ SetLinger(int) error }); ok { // as libp2p's own dialler does
			_ = l.SetLinger(0)
		}
		secure, err := up.Upgrade(ctx, t, c, network.DirOutbound, self, scope) // it ends both if it fails
		if err != nil {
			return nil, ErrRefused
		}
		return secure, nil
	}, nil
}
