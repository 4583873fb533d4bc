package p2p

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
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

// stack is a swarm over QUIC and TCP with Noise, or with a proxy over TCP alone, and
// what lies below it.
type stack struct {
	self    peer.ID
	swarm   *swarm.Swarm
	quic    *byAddress // nil with a proxy
	tcp     *byAddress
	noise   *noise.Transport
	closers []io.Closer // last opened first closed; the swarm is the last one
}

// newStack makes one that listens nowhere. What it opened is in closers, also when
// it fails.
func newStack(sk crypto.PrivKey, d door, resources network.ResourceManager, m *meter, by *socks) (*stack, error) {
	k := &stack{closers: []io.Closer{resources}}
	if err := quicSettings(); err != nil {
		return k, err
	}
	var err error
	if k.self, err = peer.IDFromPrivateKey(sk); err != nil {
		return k, fmt.Errorf("p2p: name a peer key: %w", err)
	}
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return k, fmt.Errorf("p2p: make a peer store: %w", err)
	}
	if err := store.AddPubKey(k.self, sk.GetPublic()); err != nil {
		return k, fmt.Errorf("p2p: keep a peer key: %w", err)
	}
	if err := store.AddPrivKey(k.self, sk); err != nil {
		return k, fmt.Errorf("p2p: keep a peer key: %w", err)
	}
	var reuse *quicreuse.ConnManager
	if by == nil {
		// Both keys are random: with fixed ones, packets of two of our hosts could be
		// linked by their reset tokens.
		var reset quic.StatelessResetKey
		var token quic.TokenGeneratorKey
		rand.Read(reset[:])
		rand.Read(token[:])
		if reuse, err = quicreuse.NewConnManager(reset, token, countUDP(m.traffic.ofHosts())); err != nil {
			return k, fmt.Errorf("p2p: prepare quic: %w", err)
		}
		k.closers = append(k.closers, closer(reuse.Close)) // sockets after the swarm
	}
	options := []swarm.Option{swarm.WithConnectionGater(d),
		swarm.WithResourceManager(resources), swarm.WithMetrics(m),
		// A black hole detector stops dialling what failed before; addresses here
		// are few and named by people.
		swarm.WithUDPBlackHoleSuccessCounter(nil), swarm.WithIPv6BlackHoleSuccessCounter(nil)}
	if by != nil { // the default ranker lets an onion name wait for a second
		options = append(options, swarm.WithDialTimeout(proxyPatience), swarm.WithDialTimeoutLocal(proxyPatience),
			swarm.WithDialRanker(swarm.NoDelayDialRanker))
	}
	if k.swarm, err = swarm.NewSwarm(k.self, store, eventbus.NewBus(), options...); err != nil {
		return k, fmt.Errorf("p2p: make a swarm: %w", err)
	}
	k.closers = append(k.closers, k.swarm)
	var transports []tpt.Transport
	if by == nil {
		q, err := quictransport.NewTransport(sk, reuse, nil, d, resources)
		if err != nil {
			return k, fmt.Errorf("p2p: prepare quic: %w", err)
		}
		k.quic = newByAddress(q, firstQUIC(q))
		transports = append(transports, k.quic)
	}
	t, err := newTCP(sk, d, resources, by, m.traffic.ofHosts(), &k.noise)
	if err != nil {
		return k, err
	}
	first, err := firstTCP(k.noise, k.self, d, resources, by, m.traffic.ofHosts(), t)
	if err != nil {
		return k, err
	}
	k.tcp = newByAddress(t, first)
	for _, x := range append(transports, k.tcp) {
		if err := k.swarm.AddTransport(x); err != nil {
			return k, fmt.Errorf("p2p: add a transport: %w", err)
		}
	}
	return k, nil
}

// muxers make streams of a connection.
var muxers = []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}

// newUpgrader makes connections of bytes into secure ones with streams, by Noise and
// yamux.
func newUpgrader(sk crypto.PrivKey, d door, resources network.ResourceManager) (tpt.Upgrader, *noise.Transport, error) {
	n, err := noise.New(noise.ID, sk, muxers)
	if err != nil {
		return nil, nil, fmt.Errorf("p2p: prepare noise: %w", err)
	}
	up, err := upgrader.New([]sec.SecureTransport{n}, muxers, nil, resources, d)
	if err != nil {
		return nil, nil, fmt.Errorf("p2p: prepare noise: %w", err)
	}
	return up, n, nil
}

// newTCP makes a TCP transport, which dials through the proxy if there is one, and
// its Noise.
func newTCP(sk crypto.PrivKey, d door, resources network.ResourceManager, by *socks, count *tally, n **noise.Transport) (tpt.Transport, error) {
	plain, its, err := newUpgrader(sk, d, resources)
	if err != nil {
		return nil, err
	}
	*n = its
	up := countTCP(plain, count)
	// Without port reuse: two hosts that dial each other at the same moment from
	// their listening ports would share one TCP connection, with two diallers.
	t, err := tcp.NewTCPTransport(up, resources, nil, tcp.DisableReuseport())
	if err != nil {
		return nil, fmt.Errorf("p2p: prepare tcp: %w", err)
	}
	if by != nil {
		return &byProxy{Transport: t, proxy: by, upgrader: up, resources: resources}, nil
	}
	return t, nil
}

// build puts the host together, bottom up. What it opened is in h.closers, also
// when it fails.
func (h *Host) build(listen []ma.Multiaddr) error {
	sk := h.bounds.peerKey
	var err error
	if sk == nil {
		if sk, _, err = crypto.GenerateEd25519Key(rand.Reader); err != nil {
			return fmt.Errorf("p2p: make a peer key: %w", err)
		}
	}
	resources, err := newResources(phoneScale, h.proxy.rates()...)
	if err != nil {
		return fmt.Errorf("p2p: set limits: %w", err)
	}
	waiting := newWaiting(h.bounds)
	k, err := newStack(sk, door{waiting: waiting}, resources, &h.meter, h.proxy)
	h.closers = k.closers
	if err != nil {
		return err
	}
	h.self, h.quic, h.tcp, h.noise = k.self, k.quic, k.tcp, k.noise
	bus := eventbus.NewBus()
	emitter, err := bus.Emitter(new(event.EvtPeerConnectednessChanged))
	if err != nil {
		return fmt.Errorf("p2p: make an emitter: %w", err)
	}
	h.net = newGated(k.swarm, h.bounds, waiting, emitter, h.proveIn)
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
	if h.proxy == nil {
		if h.circuits, err = newCircuits(h, host, sk, door{waiting: waiting}, resources); err != nil {
			return err
		}
	}
	for _, a := range listen {
		if err := k.swarm.Listen(a); err != nil {
			return fmt.Errorf("p2p: listen: %w", err)
		}
	}
	if h.circuits != nil && len(listen) > 0 {
		return h.circuits.listen(listen)
	}
	return nil
}
