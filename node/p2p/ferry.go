package p2p

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// ferryProtocol is the name of the one protocol of a ferry (spec 75 section 3).
const ferryProtocol protocol.ID = "/ferry/1"

// Connections on which nothing happens are closed when there are more than the
// upper number, down to the lower one, oldest first.
const (
	ferryIdleLow, ferryIdleHigh = 192, 320
	ferryIdleGrace              = 20 * time.Second
)

// Stream is a byte stream to somebody whose peer id the connection has proven.
type Stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	CloseWrite() error
}

// FerryConfig is all that NewFerry needs.
type FerryConfig struct {
	// Seed is the Ed25519 seed of the ferry's peer ID, which groups know it by.
	Seed [32]byte
	// Listen holds addresses as in Config, or of the web road (spec 63), such as
	// /ip4/0.0.0.0/tcp/443/tls/ws, or /dns4/letters.example.org/tcp/443/tls/ws for a
	// machine that is known by that name; at least one.
	Listen []string
	// Certificate is for the web road; nil without.
	Certificate *tls.Certificate
	// OnSession serves a client's stream, in a goroutine of its own, and closes it.
	// Client is the client's peer ID, from the address of its connection.
	OnSession func(st Stream, client []byte, from netip.Addr)
	// Holder says whether a peer has shown a ticket: then it may be reached and reach
	// others through this ferry, within the bounds of a closed one. It is called from
	// goroutines of the host and must not block. If nil, everybody may, within those of
	// an open one (spec 75 section 11).
	Holder func(peer []byte) bool
}

// FerryHost is a libp2p host without a gate: it serves strangers, and has nothing
// but sealed letters. All methods may be called from any goroutine.
type FerryHost struct {
	id      string
	self    []byte
	stack   *stack
	serve   func(Stream, []byte, netip.Addr)
	names   []ma.Multiaddr // of the web road
	closers []io.Closer    // last opened first closed

	circuits circuitCounts

	mu       sync.Mutex
	closed   bool
	sessions sync.WaitGroup
}

// NewFerry makes a host and starts to listen.
func NewFerry(cfg FerryConfig) (*FerryHost, error) {
	return newFerry(cfg, relayBounds(cfg.Holder != nil))
}

func newFerry(cfg FerryConfig, bounds relay.Resources) (*FerryHost, error) {
	if len(cfg.Listen) == 0 || cfg.OnSession == nil {
		return nil, errors.New("p2p: a ferry needs an address and somebody who serves")
	}
	f := &FerryHost{serve: cfg.OnSession}
	listen, err := f.parse(cfg.Listen, cfg.Certificate)
	if err != nil {
		return nil, err
	}
	if err := f.build(cfg, bounds, listen); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// parse takes addresses to listen at, and keeps names for those who come.
func (f *FerryHost) parse(addrs []string, cert *tls.Certificate) (list []ma.Multiaddr, err error) {
	for _, s := range addrs {
		plain, err := parseListen([]string{s}, nil)
		if err == nil {
			list = append(list, plain...)
			continue
		}
		listen, named, err := webListen(s, cert)
		if err != nil {
			return nil, err
		}
		if list = append(list, listen); named != nil {
			f.names = append(f.names, named)
		}
	}
	return list, nil
}

func (f *FerryHost) build(cfg FerryConfig, bounds relay.Resources, listen []ma.Multiaddr) error {
	sk, err := ferryKey(cfg.Seed)
	if err != nil {
		return err
	}
	resources, err := newResources(ferryScale)
	if err != nil {
		return err
	}
	f.stack, err = newStack(sk, door{}, resources, &meter{}, nil)
	f.closers = f.stack.closers
	if err != nil {
		return err
	}
	if cfg.Certificate != nil {
		if err := addWeb(f.stack, sk, door{}, resources, cfg.Certificate); err != nil {
			return err
		}
	}
	f.id, f.self = f.stack.self.String(), []byte(f.stack.self)
	idle, err := connmgr.NewConnManager(ferryIdleLow, ferryIdleHigh, connmgr.WithGracePeriod(ferryIdleGrace))
	if err != nil {
		return err
	}
	host, err := basichost.NewHost(f.stack.swarm, &basichost.HostOpts{
		EventBus: eventbus.NewBus(), UserAgent: userAgent, ConnManager: idle, DisableSignedPeerRecord: true,
		// Who comes knows the address by which it came.
		AddrsFactory: func([]ma.Multiaddr) []ma.Multiaddr { return nil },
	})
	if err != nil {
		return err
	}
	f.closers[len(f.closers)-1] = io.Closer(host) // it closes the swarm
	host.SetStreamHandler(ferryProtocol, f.session)
	host.Start()
	passes, err := startRelay(host, cfg.Holder, bounds, &f.circuits)
	if err != nil {
		return err
	}
	f.closers = append(f.closers, passes)
	for _, a := range listen {
		if err := f.stack.swarm.Listen(a); err != nil {
			return err
		}
	}
	return nil
}

// ferryKey is the peer key of a ferry.
func ferryKey(seed [32]byte) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
}

// FerryID returns the peer ID of the ferry of a seed, as bytes. The caller owns them.
func FerryID(seed [32]byte) ([]byte, error) {
	sk, err := ferryKey(seed)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(sk)
	return []byte(id), err
}

// CheckListen says whether a ferry could listen at an address, as far as its form
// tells.
func CheckListen(addr string) error {
	if WebAddr(addr) {
		return nil
	}
	_, err := parseListen([]string{addr}, nil)
	return err
}

// session hands a stream on. One that comes through a relay has no network that it
// could count against, and is refused.
func (f *FerryHost) session(s network.Stream) {
	from, ok := ipOf(s.Conn().RemoteMultiaddr())
	f.mu.Lock()
	if ok = ok && !f.closed && !s.Conn().Stat().Limited; ok {
		f.sessions.Add(1)
	}
	f.mu.Unlock()
	if !ok {
		s.Reset()
		return
	}
	defer f.sessions.Done()
	conn := s.Conn()
	f.serve(s, []byte(conn.RemotePeer()), from)
	conn.Close() // one connection, one session
}

func ipOf(a ma.Multiaddr) (netip.Addr, bool) {
	raw, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(raw)
	return ip.Unmap(), ok
}

// ID returns the peer ID, as bytes. The caller owns them.
func (f *FerryHost) ID() []byte { return append([]byte(nil), f.self...) }

// Addrs returns the addresses at which the ferry can be reached, each with its
// peer ID, as a group's policy names them.
func (f *FerryHost) Addrs() (list []string) {
	all, err := f.stack.swarm.InterfaceListenAddresses()
	if err != nil {
		all = f.stack.swarm.ListenAddresses()
	}
	for _, a := range all {
		if !manet.IsIP6LinkLocal(a) && !manet.IsIPUnspecified(a) && !(isWeb(a) && len(f.names) > 0) {
			list = append(list, a.String()+"/p2p/"+f.id)
		}
	}
	for _, a := range f.names {
		list = append(list, a.String()+"/p2p/"+f.id)
	}
	return list
}

// Close ends all sessions and gives up the sockets. It returns when the last session
// has ended.
func (f *FerryHost) Close() error {
	f.mu.Lock()
	f.closed = true
	closers := f.closers
	f.closers = nil
	f.mu.Unlock()
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i].Close())
	}
	f.sessions.Wait()
	return errors.Join(errs...)
}

// FerryAddr takes the address of a ferry apart: where to dial, and the peer ID that
// must answer there. The address is ip and tcp, or ip, udp and quic-v1, or onion3, or
// one of the web road (spec 63), then p2p.
func FerryAddr(s string) (addr string, id []byte, err error) {
	a, p, err := parseFerryAddr(s)
	if err != nil {
		return "", nil, err
	}
	return a.String(), []byte(p), nil
}
