package p2p

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
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
	"go.uber.org/goleak"
)

// patience bounds every wait of a test; it is never slept.
const patience = 30 * time.Second

var kinds = []string{"quic", "tcp"}

func listenAll() []string {
	return []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}
}

func key(name string, c Class) Key {
	var k Key
	var secret [32]byte
	copy(secret[:], name)
	copy(k.Tag[:], name)
	k.Secret, k.Class = NewSecret(secret), c
	return k
}

func keys(ks ...Key) Keys { return Keys{Accept: ks, Dial: ks} }

// node is a Host whose events can be waited for.
type node struct {
	*Host
	t       *testing.T
	mu      sync.Mutex
	events  []Event
	changed chan struct{}
	hold    func(Event) // runs first, may block
}

func start(t *testing.T, k Keys, change ...func(*Config, *bounds, *node)) *node {
	t.Helper()
	n := &node{t: t, changed: make(chan struct{})}
	cfg := Config{Listen: listenAll(), Keys: k, OnEvent: n.record}
	b := defaultBounds()
	for _, f := range change {
		f(&cfg, &b, n)
	}
	h, err := newHost(cfg, b)
	if err != nil {
		t.Fatal(err)
	}
	n.Host = h
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *node) record(e Event) {
	if n.hold != nil {
		n.hold(e)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
	close(n.changed)
	n.changed = make(chan struct{})
}

// until waits for ok to hold of all events so far.
func (n *node) until(what string, ok func([]Event) bool) {
	n.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		n.mu.Lock()
		events, changed := slices.Clone(n.events), n.changed
		n.mu.Unlock()
		if ok(events) {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			n.t.Fatalf("waited too long for %s; events: %v", what, events)
		}
	}
}

// find waits for an event of type T that satisfies ok and returns it.
func find[T Event](n *node, ok func(T) bool) (got T) {
	n.t.Helper()
	n.until("an event", func(events []Event) bool {
		for _, e := range events {
			if x, is := e.(T); is && ok(x) {
				got = x
				return true
			}
		}
		return false
	})
	return got
}

func anyUp(LinkUp) bool { return true }

func (n *node) addr(kind string) string {
	for _, a := range n.Addrs() {
		if strings.Contains(a, kind) {
			return a
		}
	}
	n.t.Fatal("no address of kind " + kind)
	return ""
}

func (n *node) dial(addr string) (LinkID, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return n.Dial(ctx, addr)
}

func (n *node) mustDial(addr string) LinkID {
	n.t.Helper()
	l, err := n.dial(addr)
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

// untilHints waits until gossip between n and other has been set up on n's side.
func (n *node) untilHints(others ...*node) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h, err := n.hints.topic.EventHandler()
	if err != nil {
		n.t.Fatal(err)
	}
	defer h.Cancel()
	want := map[peer.ID]bool{}
	for _, o := range others {
		want[o.self] = true
	}
	for len(want) > 0 {
		e, err := h.NextPeerEvent(ctx)
		if err != nil {
			n.t.Fatal("no gossip with a member: ", err)
		}
		delete(want, e.Peer)
	}
}

// silent fails the test if the node ever had a link.
func (n *node) silent() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.events) > 0 {
		n.t.Fatalf("events: %v", n.events)
	}
}

// stranger is a bare swarm: libp2p's connections with nothing above them, so
// that a test decides what goes over each stream.
type stranger struct {
	*swarm.Swarm
	t      *testing.T
	opened chan network.Stream // streams that others opened to it
}

func newStranger(t *testing.T, sk crypto.PrivKey) *stranger {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if sk == nil {
		var err error
		sk, _, err = crypto.GenerateEd25519Key(rand.Reader)
		must(err)
	}
	id, err := peer.IDFromPrivateKey(sk)
	must(err)
	ps, err := pstoremem.NewPeerstore()
	must(err)
	must(ps.AddPubKey(id, sk.GetPublic()))
	must(ps.AddPrivKey(id, sk))
	sw, err := swarm.NewSwarm(id, ps, eventbus.NewBus())
	must(err)
	cm, err := quicreuse.NewConnManager(quic.StatelessResetKey{}, quic.TokenGeneratorKey{})
	must(err)
	q, err := quictransport.NewTransport(sk, cm, nil, nil, nil)
	must(err)
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	nt, err := noise.New(noise.ID, sk, muxers)
	must(err)
	up, err := upgrader.New([]sec.SecureTransport{nt}, muxers, nil, nil, nil)
	must(err)
	tt, err := tcp.NewTCPTransport(up, nil, nil)
	must(err)
	must(sw.AddTransport(q))
	must(sw.AddTransport(tt))
	s := &stranger{Swarm: sw, t: t, opened: make(chan network.Stream, 64)}
	sw.SetStreamHandler(func(x network.Stream) { s.opened <- x })
	t.Cleanup(func() { sw.Close(); cm.Close() })
	return s
}

// connect gives a fresh connection to the victim.
func (s *stranger) connect(v *node, kind string) (network.Conn, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.Peerstore().ClearAddrs(v.self)
	s.Peerstore().AddAddr(v.self, ma.StringCast(v.addr(kind)), peerstore.TempAddrTTL)
	return s.DialPeer(ctx, v.self)
}

// knock connects, opens a stream, and passes the gate if it can.
func (s *stranger) knock(v *node, kind string, k Key, signer Signer) (network.Stream, error) {
	c, err := s.connect(v, kind)
	if err != nil {
		return nil, err
	}
	st, err := c.NewStream(context.Background())
	if err != nil {
		return nil, err
	}
	st.SetDeadline(time.Now().Add(patience))
	g := gatekeeper{rw: st, ends: ends{from: s.LocalPeer(), to: v.self}, signer: signer}
	_, err = g.dial(k)
	return st, err
}

func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}
