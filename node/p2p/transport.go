package p2p

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
)

var errNotDialable = errors.New("p2p: an address must be ip and tcp, or ip, udp and quic-v1, or onion3")

// byAddress is the QUIC transport for a dialler that knows no peer ID. A
// connection made by reach waits here until the swarm asks for one to its ID, so
// that dialling by address costs one handshake, not two.
type byAddress struct {
	tpt.Transport // QUIC

	mu    sync.Mutex
	ready map[peer.ID]tpt.CapableConn
}

// named is a connection that was dialled without an ID and has learnt it.
type named struct {
	tpt.CapableConn
	id peer.ID
}

func (n named) RemotePeer() peer.ID { return n.id }

// reach connects to a and returns the ID of whoever answered.
func (t *byAddress) reach(ctx context.Context, a ma.Multiaddr) (peer.ID, error) {
	c, err := t.Transport.Dial(ctx, a, "")
	if err != nil {
		return "", errNoAnswer
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
	if t == nil { // there is a proxy, hence no QUIC
		return
	}
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

// reachTCP learns the ID behind a TCP address by a Noise handshake of its own:
// libp2p's TCP dialler insists on knowing the ID first. The ID is not yet
// trusted, the real connection proves it again.
func reachTCP(ctx context.Context, n *noise.Transport, by *socks, count *tally, a ma.Multiaddr) (peer.ID, error) {
	c, err := by.dial(ctx, a)
	if err != nil {
		return "", err
	}
	c = count.conn(c, false)
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := msmux.SelectProtoOrFail(string(noise.ID), c); err != nil {
		return "", ErrRefused
	}
	session, err := n.WithSessionOptions(noise.DisablePeerIDCheck())
	if err != nil {
		return "", err
	}
	var sc sec.SecureConn
	if sc, err = session.SecureOutbound(ctx, c, ""); err != nil {
		return "", ErrRefused
	}
	id := sc.RemotePeer()
	if !isEd25519(id) {
		return "", ErrRefused
	}
	return id, nil
}
