package p2p

import (
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// bounds are the limits of a host; a test shortens the times (spec 60 section 6).
type bounds struct {
	peerKey     crypto.PrivKey // nil, except in tests: a fresh one
	unproven    int            // inbound connections that have not proven anything
	unprovenNet int            // of those, from one IPv4 /24 or IPv6 /56
	proof       time.Duration  // for a proof, from the end of the handshake
	settled     time.Duration  // from when on a link is no part of a simultaneous dial
	stall       time.Duration  // for the other side to take one write
	drain       time.Duration  // for a closing link to be read to its end
	road        time.Duration  // for one address of a ferry while there are others
	held        int            // streams that wait for the answer to our proof
	queue       int            // bytes that wait on one link
	hints       int            // ids that wait on one link
}

func defaultBounds() bounds {
	return bounds{
		unproven: 16, unprovenNet: 2,
		proof: 5 * time.Second, settled: 10 * time.Second, stall: 60 * time.Second, drain: 5 * time.Second, road: 6 * time.Second,
		held: 8, queue: 4 << 20, hints: 16 * MaxHints,
	}
}

// Scales of newResources: a ferry has room for many phones.
const (
	phoneScale = 1
	ferryScale = 4
)

// newResources limits what all peers together can take, times scale. Every scope is
// explicit. Unsecured connections and streams without a protocol live in the
// transient scope, so it bounds those who have proven nothing.
func newResources(scale int, more ...rcmgr.Option) (network.ResourceManager, error) {
	const mb = 1 << 20
	one := rcmgr.ResourceLimits{Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1,
		Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: 16 * mb}
	all := rcmgr.ResourceLimits{Streams: 256, StreamsInbound: 192, StreamsOutbound: 192,
		Conns: 128, ConnsInbound: 96, ConnsOutbound: 96, FD: 128, Memory: 96 * mb}
	one4peer := rcmgr.ResourceLimits{Streams: 24, StreamsInbound: 16, StreamsOutbound: 16,
		Conns: 4, ConnsInbound: 4, ConnsOutbound: 4, FD: 4, Memory: 16 * mb}
	transient := rcmgr.ResourceLimits{Streams: 64, StreamsInbound: 48, StreamsOutbound: 48,
		// More than one address may have: who opens sockets and says nothing bars nobody else.
		Conns: 104, ConnsInbound: 80, ConnsOutbound: 24, FD: 104, Memory: 16 * mb}
	for _, l := range []*rcmgr.ResourceLimits{&all, &transient} {
		for _, n := range []*rcmgr.LimitVal{&l.Streams, &l.StreamsInbound, &l.StreamsOutbound, &l.Conns, &l.ConnsInbound, &l.ConnsOutbound, &l.FD} {
			*n *= rcmgr.LimitVal(scale)
		}
		l.Memory *= rcmgr.LimitVal64(scale)
	}
	// Circuits between others leave room for what is said to the ferry itself.
	passed := all
	passed.Streams, passed.StreamsInbound, passed.StreamsOutbound = all.Streams/2, all.StreamsInbound/2, all.StreamsOutbound/2
	passed.Memory = all.Memory / 2
	limits := rcmgr.PartialLimitConfig{
		System: all, Transient: transient,
		AllowlistedSystem: one, AllowlistedTransient: one, // there is no such list
		ServiceDefault: all, ServicePeerDefault: one4peer,
		Service:         map[string]rcmgr.ResourceLimits{relay.ServiceName: passed},
		ProtocolDefault: all, ProtocolPeerDefault: one4peer,
		PeerDefault: one4peer, Conn: one, Stream: one,
		// Connections dialled before the other's ID is known count as this peer.
		Peer: map[peer.ID]rcmgr.ResourceLimits{"": all},
	}.Build(rcmgr.DefaultLimits.Scale(int64(scale)*96*mb, scale*128))
	// Many members can share one address (a shelter's Wi-Fi, a carrier's NAT).
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), append(more, rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: 64}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: 64}, {PrefixLength: 48, ConnCount: 96}}))...)
}

// waiting counts inbound connections that have not proven anything.
type waiting struct {
	mu    sync.Mutex
	limit bounds
	all   int
	nets  map[netip.Prefix]int
}

func newWaiting(b bounds) *waiting { return &waiting{limit: b, nets: map[netip.Prefix]int{}} }

// network is the prefix that addr counts against; loopback counts against none.
func networkOf(addr ma.Multiaddr) (netip.Prefix, bool) {
	raw, err := manet.ToIP(addr)
	if err != nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.Prefix{}, false
	}
	ip = ip.Unmap()
	bits := 56
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.Prefix(bits)
	return p, err == nil && !ip.IsLoopback()
}

func (w *waiting) fits(p netip.Prefix, counted bool) bool {
	return w.all < w.limit.unproven && (!counted || w.nets[p] < w.limit.unprovenNet)
}

// room says whether enter would succeed now.
func (w *waiting) room(addr ma.Multiaddr) bool {
	p, counted := networkOf(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fits(p, counted)
}

// enter takes a place, or returns nil if there is none. The returned func gives
// it back, once however often it is called.
func (w *waiting) enter(addr ma.Multiaddr) (leave func()) {
	p, counted := networkOf(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.fits(p, counted) {
		return nil
	}
	w.all++
	if counted {
		w.nets[p]++
	}
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if counted {
			if w.nets[p]--; w.nets[p] == 0 {
				delete(w.nets, p)
			}
		}
	})
}
