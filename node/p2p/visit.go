package p2p

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quictransport "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"
)

// Visit is one connection to a ferry, with one stream, and a peer ID made for it: no
// two visits can be told to be of one device by it. There is no host on this side, so
// nobody can ask it anything. All methods may be called from any goroutine.
type Visit struct {
	conn   tpt.CapableConn
	stream network.MuxedStream
	count  *tally
	server peer.ID
	client peer.ID
	reuse  *quicreuse.ConnManager // nil over TCP

	wake chan struct{}
	gone chan struct{}
	end  sync.Once

	mu      sync.Mutex
	queue   [][]byte // frames
	queued  int      // their bytes
	started bool
	closing bool
}

// Bounds of a visit.
const (
	visitQueue = 8 << 20          // bytes that wait
	visitStall = 60 * time.Second // for the ferry to take one write
	visitDrain = 30 * time.Second // for what is queued at the end
)

// errNotFerry says what an address of a ferry must be.
var errNotFerry = errors.New("p2p: a ferry's address must be one to dial, then /p2p/ and its peer ID")

func parseFerryAddr(s string) (ma.Multiaddr, peer.ID, error) {
	at, name, ok := strings.Cut(s, "/p2p/")
	if !ok || len(name) > maxAddr {
		return nil, "", errNotFerry
	}
	a, err := parseAddr(at)
	if err != nil {
		if a, err = parseWeb(at); err != nil {
			return nil, "", err
		}
	}
	id, err := peer.Decode(name)
	if err != nil || !isEd25519(id) {
		return nil, "", errNotFerry
	}
	return a, id, nil
}

// VisitFerry connects to a ferry, and to nobody else who answers at its address,
// directly or through a proxy as in Config.Proxy, each visit by a circuit of its own.
// It blocks until the ferry's stream is open or ctx ends. Then call Start. Traffic, which
// may be nil, counts the visit as Carriers. Errors:
// ErrNotByProxy and ErrNeedsProxy before anything is sent; ErrProxy; ctx.Err(); else
// the ferry does not answer there.
func VisitFerry(ctx context.Context, addr, proxy string, traffic *Traffic) (*Visit, error) {
	a, id, err := parseFerryAddr(addr)
	if err != nil {
		return nil, err
	}
	by, err := newSocks(proxy)
	if err != nil {
		return nil, err
	}
	if err := by.carries(a); err != nil {
		return nil, err
	}
	sk, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	return visitAs(ctx, sk, a, id, by, traffic)
}

// visitAs is VisitFerry under a peer ID that is given.
func visitAs(ctx context.Context, sk crypto.PrivKey, a ma.Multiaddr, id peer.ID, by *socks, traffic *Traffic) (v *Visit, err error) {
	v = &Visit{server: id, count: traffic.ofVisits(), wake: make(chan struct{}, 1), gone: make(chan struct{})}
	if v.client, err = peer.IDFromPrivateKey(sk); err != nil {
		return nil, err
	}
	if err := v.open(ctx, sk, a, by); err != nil {
		v.stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, ErrProxy) {
			return nil, ErrProxy
		}
		return nil, errors.New("p2p: no ferry of this name answered there")
	}
	return v, nil
}

func (v *Visit) open(ctx context.Context, sk crypto.PrivKey, a ma.Multiaddr, by *socks) error {
	t, err := v.transport(sk, a, by)
	if err != nil {
		return err
	}
	if v.conn, err = t.Dial(ctx, a, v.server); err != nil {
		return err
	}
	// What the other side would ask of a host is not answered.
	conn := v.conn
	go func() {
		for {
			s, err := conn.AcceptStream()
			if err != nil {
				return
			}
			s.Reset()
		}
	}()
	if v.stream, err = v.conn.OpenStream(ctx); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return msmux.SelectProtoOrFail(ferryProtocol, v.stream)
}

func (v *Visit) transport(sk crypto.PrivKey, a ma.Multiaddr, by *socks) (tpt.Transport, error) {
	resources := &network.NullResourceManager{}
	if isWeb(a) {
		up, _, err := newUpgrader(sk, door{}, resources)
		return &byWeb{proxy: by, upgrader: up, resources: resources, count: v.count}, err
	}
	if !isQUIC(a) {
		var n *noise.Transport
		return newTCP(sk, door{}, resources, by, v.count, &n)
	}
	if err := quicSettings(); err != nil {
		return nil, err
	}
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	rand.Read(reset[:])
	rand.Read(token[:])
	var err error
	if v.reuse, err = quicreuse.NewConnManager(reset, token, countUDP(v.count)); err != nil {
		return nil, err
	}
	return quictransport.NewTransport(sk, v.reuse, nil, door{}, resources)
}

// Ferry and Client return the peer IDs of both sides, as bytes, as the connection
// authenticated them. The caller owns them.
func (v *Visit) Ferry() []byte { return []byte(v.server) }

// Client is said at Ferry.
func (v *Visit) Client() []byte { return []byte(v.client) }

// Start begins to read and write. Each message goes to onMessage, which owns it and
// blocks the reading; onEnd comes last. Both are called from one goroutine.
func (v *Visit) Start(onMessage func([]byte), onEnd func()) {
	v.mu.Lock()
	v.started = true
	v.mu.Unlock()
	go v.write()
	go func() {
		defer onEnd()
		defer v.stop()
		r := bufio.NewReaderSize(v.stream, 4096)
		for {
			data, err := ReadFrame(r)
			if err != nil {
				return
			}
			onMessage(data)
		}
	}()
}

// Send queues a copy of data, 1 to MaxMessage bytes. ErrNoLink after the end,
// ErrBehind if too much waits, which is the end.
func (v *Visit) Send(data []byte) error {
	if len(data) == 0 || len(data) > MaxMessage {
		return errors.New("p2p: a message has a length out of bounds")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return ErrNoLink
	}
	if v.queued+frameHead+len(data) > visitQueue {
		v.closing = true
		go v.stop()
		return ErrBehind
	}
	v.queue = append(v.queue, Frame(data))
	v.queued += frameHead + len(data)
	signal(v.wake)
	return nil
}

// Close sends what is queued, for at most 30 s, and ends the visit. It does not block.
func (v *Visit) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.started { // nobody would send what is queued
		go v.stop()
		return
	}
	if !v.closing {
		v.closing = true
		t := time.AfterFunc(visitDrain, v.stop)
		go func() { <-v.gone; t.Stop() }()
	}
	signal(v.wake)
}

func (v *Visit) write() {
	for {
		v.mu.Lock()
		var next []byte
		if len(v.queue) > 0 {
			next, v.queue = v.queue[0], v.queue[1:]
			v.queued -= len(next)
		}
		closing := v.closing
		v.mu.Unlock()
		switch {
		case next != nil:
			v.stream.SetWriteDeadline(time.Now().Add(visitStall))
			if _, err := v.stream.Write(next); err != nil {
				v.stop()
				return
			}
		case closing:
			v.stop()
			return
		default:
			select {
			case <-v.wake:
			case <-v.gone:
				return
			}
		}
	}
}

// stop gives the connection up.
func (v *Visit) stop() {
	v.end.Do(func() {
		v.mu.Lock()
		v.closing = true
		v.mu.Unlock()
		if v.stream != nil {
			v.stream.CloseWrite()
		}
		if v.conn != nil {
			v.conn.Close()
		}
		if v.reuse != nil {
			v.reuse.Close()
		}
		close(v.gone)
	})
}
