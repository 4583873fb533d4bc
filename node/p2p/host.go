package p2p

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Host is one libp2p host for one group. All methods may be called from any
// goroutine.
type Host struct {
	self    peer.ID
	proxy   *socks // nil: none
	bounds  bounds
	signer  Signer
	onEvent func(Event)
	sort    func([]byte) Purpose // nil: all is Letters
	meter   meter
	net     *gated
	quic    *byAddress // nil with a proxy
	tcp     *byAddress
	noise   *noise.Transport
	hints   *hinting
	nearMu  sync.Mutex    // one ListenNear at a time
	near    atomic.Uint32 // its port; 0: none
	// circuits are the roads through ferries; with a proxy there are none.
	circuits *circuits
	closers  []io.Closer // last opened first closed

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines and calls that Close waits for

	mu       sync.Mutex
	closed   bool
	keys     Keys
	lastLink LinkID
	links    map[LinkID]*link
	byPeer   map[peer.ID]*link         // the link to keep, of those to a peer
	proving  map[peer.ID]chan struct{} // closed when that proof is over; see lockPeer
}

// New makes a host with a fresh peer ID and starts to listen.
func New(cfg Config) (*Host, error) { return newHost(cfg, defaultBounds()) }

func newHost(cfg Config, b bounds) (*Host, error) {
	if cfg.OnEvent == nil {
		return nil, errors.New("p2p: the config has no receiver of events")
	}
	keys, err := cfg.Keys.checked()
	if err != nil {
		return nil, err
	}
	by, err := newSocks(cfg.Proxy)
	if err != nil {
		return nil, err
	}
	listen, err := parseListen(cfg.Listen, by)
	if err != nil {
		return nil, err
	}
	h := &Host{
		proxy: by, bounds: b, signer: cfg.Signer, onEvent: cfg.OnEvent, keys: keys,
		sort: cfg.Sort, meter: meter{traffic: cfg.Traffic}, links: map[LinkID]*link{}, byPeer: map[peer.ID]*link{}, proving: map[peer.ID]chan struct{}{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.build(listen); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Close ends all links and gives up the sockets. It returns when every goroutine
// of the host has ended and every LinkDown has been delivered.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		h.work.Wait()
		return nil
	}
	h.closed = true
	links := make([]*link, 0, len(h.links))
	for _, l := range h.links {
		links = append(links, l)
	}
	h.mu.Unlock()
	h.cancel()
	for _, l := range links {
		l.stop()
	}
	if h.circuits != nil {
		h.circuits.punch.close() // what it does goes through links, which have ended
	}
	var errs []error
	for i := len(h.closers) - 1; i >= 0; i-- {
		errs = append(errs, h.closers[i].Close())
	}
	h.work.Wait()
	return errors.Join(errs...)
}

// SetKeys replaces the keys for connections from now on; those that are up stay
// up. On an error nothing changes.
func (h *Host) SetKeys(k Keys) error {
	k, err := k.checked()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys = k
	return nil
}

func (h *Host) currentKeys() Keys {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keys
}

// Addrs returns the addresses at which others can dial this host, without a peer
// ID: those of the interfaces where it listens on all, loopback only if there is
// nothing else. With a proxy there are none: what is local would tell who hides.
func (h *Host) Addrs() []string {
	if h.proxy != nil {
		return nil
	}
	all, err := h.net.InterfaceListenAddresses()
	if err != nil {
		all = h.net.ListenAddresses()
	}
	var out, loopback []string
	for _, a := range all {
		switch {
		case h.isNear(a): // for neighbours, and for a short time
		case isCircuit(a): // what a reservation returns is dialled instead
		case manet.IsIPLoopback(a):
			loopback = append(loopback, a.String())
		case manet.IsIPUnspecified(a), manet.IsIP6LinkLocal(a): // the latter need a zone
		default:
			out = append(out, a.String())
		}
	}
	if len(out) == 0 {
		return loopback
	}
	return out
}

// Send queues a copy of data, 1 to MaxMessage bytes, on a link. At most 4 MiB
// wait on a link; what would be more closes it and is ErrBehind. ErrNoLink if it
// is not up. That data arrived is never known here.
func (h *Host) Send(id LinkID, data []byte) error {
	l := h.link(id)
	if l == nil {
		return ErrNoLink
	}
	return l.send(data)
}

// CloseLink sends what is queued, waits up to 5 s in the background for the
// other side to have read it, and closes the connection. Messages may still come
// in before LinkDown. Unknown links are ignored. It does not block.
func (h *Host) CloseLink(id LinkID) {
	if l := h.link(id); l != nil {
		l.finish()
	}
}

func (h *Host) link(id LinkID) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.links[id]
}

// Counters returns the bytes read and written on all streams since New: gate,
// links, identify and gossip, without what QUIC, TLS, Noise and IP add.
func (h *Host) Counters() (in, out int64) { return h.meter.in.Load(), h.meter.out.Load() }

// count tells the traffic of a message of a link.
func (h *Host) count(message []byte, in bool) {
	p, n := Letters, frameHead+len(message)
	if h.sort != nil {
		p = h.sort(message)
	}
	if in {
		h.meter.traffic.message(p, n, 0)
	} else {
		h.meter.traffic.message(p, 0, n)
	}
}

// enter registers a call that Close waits for; false once the host is closed.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Add(1)
	return true
}

// spawn starts all of fs, or none if the host is closed.
func (h *Host) spawn(fs ...func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	for _, f := range fs {
		h.work.Go(f)
	}
	return true
}

// bind returns a context that ends with ctx and with the host.
func (h *Host) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
