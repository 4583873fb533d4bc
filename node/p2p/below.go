package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
)

// negotiation bounds how long two sides may take to name a protocol.
const negotiation = 10 * time.Second

// below is what libp2p's relay client takes for a host: it works on connections that
// the real host, above the gate, never sees.
type below struct {
	host.Host
	c *circuits
}

func (c *circuits) below() *below { return &below{c.above, c} }

// newCircuits makes the roads of a host through ferries. The swarm closes what it opens.
func newCircuits(h *Host, above host.Host, sk crypto.PrivKey, d door, resources network.ResourceManager) (*circuits, error) {
	c := &circuits{host: h, above: above, key: sk, ferries: map[peer.ID]*ferry{}}
	c.punch = &punching{c: c, ready: make(chan struct{}), over: make(chan struct{})}
	up, err := upgrader.New([]sec.SecureTransport{h.noise}, muxers, nil, resources, d)
	if err != nil {
		return nil, fmt.Errorf("p2p: prepare circuits: %w", err)
	}
	if c.client, err = client.New(c.below(), up); err != nil {
		return nil, fmt.Errorf("p2p: prepare circuits: %w", err)
	}
	web := &byWeb{upgrader: up, resources: resources, count: h.meter.traffic.ofHosts()} // to ferries alone
	for _, t := range []tpt.Transport{c.client, web} {
		if err := h.net.Swarm.AddTransport(t); err != nil {
			return nil, fmt.Errorf("p2p: add a transport: %w", err)
		}
	}
	h.net.lower, h.net.circuitOver = c.inbound, func() { h.spawn(c.tidy) }
	return c, nil
}

// listen lets those in whom ferries announce.
func (c *circuits) listen(at []ma.Multiaddr) error {
	c.quic = slices.ContainsFunc(at, isQUIC)
	c.client.Start()
	if err := c.host.net.Swarm.Listen(ma.StringCast("/p2p-circuit")); err != nil {
		return fmt.Errorf("p2p: listen: %w", err)
	}
	c.listening = true
	return nil
}

// Network is the real one, which has no connections of this kind.
func (b *below) Network() network.Network { return b.c.host.net }

func (b *below) SetStreamHandler(_ protocol.ID, h network.StreamHandler) { b.c.stop = h }

func (b *below) RemoveStreamHandler(protocol.ID) {}

// NewStream opens a stream to a ferry that is connected.
func (b *below) NewStream(ctx context.Context, p peer.ID, names ...protocol.ID) (network.Stream, error) {
	if len(names) != 1 || names[0] != proto.ProtoIDv2Hop {
		return nil, errors.New("p2p: no such protocol of a ferry")
	}
	f := b.c.ferry(p)
	if f == nil {
		return nil, errNoFerry
	}
	b.c.mu.Lock()
	to := f.conn
	b.c.mu.Unlock()
	if to == nil {
		return nil, errEnded
	}
	return openStream(ctx, to, names[0])
}

// openStream opens a stream of a connection for one protocol.
func openStream(ctx context.Context, c *conn, name protocol.ID) (network.Stream, error) {
	s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "circuit"))
	if err != nil {
		return nil, errEnded
	}
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	s.SetDeadline(time.Now().Add(negotiation))
	if msmux.SelectProtoOrFail(name, s) != nil || s.SetProtocol(name) != nil {
		s.Reset()
		return nil, errNoAnswer
	}
	s.SetDeadline(time.Time{})
	return s, nil
}

// inbound takes a stream on a connection that is not for the host above: from a ferry,
// that somebody calls; from a member whom we called, that there may be a direct road.
// Nothing else is answered.
func (c *circuits) inbound(v verdict, s network.Stream) {
	switch {
	case v == carrier && c.stop != nil:
		takeStream(s, proto.ProtoIDv2Stop, c.stop)
	case v == relayed:
		c.punch.inbound(s)
	default:
		s.Reset()
	}
}

// takeStream hands a stream on if it is for one protocol.
func takeStream(s network.Stream, name protocol.ID, to network.StreamHandler) {
	m := msmux.NewMultistreamMuxer[protocol.ID]()
	m.AddHandler(name, nil)
	s.SetDeadline(time.Now().Add(negotiation))
	if _, _, err := m.Negotiate(s); err != nil || s.SetProtocol(name) != nil {
		s.Reset()
		return
	}
	s.SetDeadline(time.Time{})
	to(s)
}
