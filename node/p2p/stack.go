package p2p

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quictransport "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

const (
	// userAgent is what every libp2p program says that sets nothing itself; the
	// default would name this module.
	userAgent = "go-libp2p"
	// linkScope is the name under which the resource manager counts links. It
	// never travels.
	linkScope protocol.ID = "link"
)

type closer func() error

func (c closer) Close() error { return c() }

// build puts the stack together, bottom up. What it opened is in h.closers, also
// when it fails.
func (h *Host) build(listen []ma.Multiaddr) error {
	if err := quicSettings(); err != nil {
		return err
	}
	sk := h.bounds.peerKey
	var err error
	if sk == nil {
		if sk, _, err = crypto.GenerateEd25519Key(rand.Reader); err != nil {
			return fmt.Errorf("p2p: make a peer key: %w", err)
		}
	}
	if h.self, err = peer.IDFromPrivateKey(sk); err != nil {
		return fmt.Errorf("p2p: name a peer key: %w", err)
	}
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return fmt.Errorf("p2p: make a peer store: %w", err)
	}
	if err := store.AddPubKey(h.self, sk.GetPublic()); err != nil {
		return fmt.Errorf("p2p: keep a peer key: %w", err)
	}
	if err := store.AddPrivKey(h.self, sk); err != nil {
		return fmt.Errorf("p2p: keep a peer key: %w", err)
	}
	resources, err := newResources()
	if err != nil {
		return fmt.Errorf("p2p: set limits: %w", err)
	}
	h.closers = append(h.closers, resources)
	waiting := newWaiting(h.bounds)
	door := door{waiting: waiting}
	sw, err := swarm.NewSwarm(h.self, store, eventbus.NewBus(), swarm.WithConnectionGater(door),
		swarm.WithResourceManager(resources), swarm.WithMetrics(&h.meter),
		// A black hole detector stops dialling what failed before; addresses here
		// are few and named by people.
		swarm.WithUDPBlackHoleSuccessCounter(nil), swarm.WithIPv6BlackHoleSuccessCounter(nil))
	if err != nil {
		return fmt.Errorf("p2p: make a swarm: %w", err)
	}
	h.closers = append(h.closers, sw)

	// Both keys are random: with fixed ones, packets of two of our hosts could be
	// linked by their reset tokens.
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	rand.Read(reset[:])
	rand.Read(token[:])
	reuse, err := quicreuse.NewConnManager(reset, token)
	if err != nil {
		return fmt.Errorf("p2p: prepare quic: %w", err)
	}
	h.closers = append(h.closers[:len(h.closers)-1], closer(reuse.Close), sw) // sockets after the swarm
	q, err := quictransport.NewTransport(sk, reuse, nil, door, resources)
	if err != nil {
		return fmt.Errorf("p2p: prepare quic: %w", err)
	}
	h.quic = &byAddress{Transport: q, ready: map[peer.ID]tpt.CapableConn{}}
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	if h.noise, err = noise.New(noise.ID, sk, muxers); err != nil {
		return fmt.Errorf("p2p: prepare noise: %w", err)
	}
	up, err := upgrader.New([]sec.SecureTransport{h.noise}, muxers, nil, resources, door)
	if err != nil {
		return fmt.Errorf("p2p: prepare tcp: %w", err)
	}
	// Without port reuse: two hosts that dial each other at the same moment from
	// their listening ports would share one TCP connection, with two diallers.
	t, err := tcp.NewTCPTransport(up, resources, nil, tcp.DisableReuseport())
	if err != nil {
		return fmt.Errorf("p2p: prepare tcp: %w", err)
	}
	for _, x := range []tpt.Transport{h.quic, t} {
		if err := sw.AddTransport(x); err != nil {
			return fmt.Errorf("p2p: add a transport: %w", err)
		}
	}
	bus := eventbus.NewBus()
	emitter, err := bus.Emitter(new(event.EvtPeerConnectednessChanged))
	if err != nil {
		return fmt.Errorf("p2p: make an emitter: %w", err)
	}
	h.net = newGated(sw, h.bounds, waiting, emitter, h.proveIn)
	host, err := basichost.NewHost(h.net, &basichost.HostOpts{
		EventBus:  bus,
		UserAgent: userAgent,
		// Members learn addresses from what members say of themselves, sealed;
		// identify tells none, so it cannot tell a LAN address to the far world.
		AddrsFactory:            func([]ma.Multiaddr) []ma.Multiaddr { return nil },
		DisableSignedPeerRecord: true,
	})
	if err != nil {
		return fmt.Errorf("p2p: make a host: %w", err)
	}
	h.closers[len(h.closers)-1] = io.Closer(host) // it closes the swarm
	host.Start()
	if h.hints, err = startHints(h.ctx, host, h); err != nil {
		return err
	}
	for _, a := range listen {
		if err := sw.Listen(a); err != nil {
			return fmt.Errorf("p2p: listen: %w", err)
		}
	}
	return nil
}
