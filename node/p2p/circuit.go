package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// maxFerries is how many ferries a host is told of.
	maxFerries = 8
	// ticketFor is how long a ferry is taken to know this host by the ticket that was
	// shown. It is below what a ferry keeps (spec 75 section 11).
	ticketFor = 12 * time.Hour

	circuitMiddle = "/p2p-circuit/p2p/"
)

var (
	// ErrNoPlace says that a ferry did not answer, or has no place.
	ErrNoPlace = errors.New("p2p: the ferry gave no place")

	errNotCircuit = errors.New("p2p: an address through a ferry must be /p2p/, its peer ID, /p2p-circuit/p2p/ and the phone's")
	errNoFerry    = errors.New("p2p: the ferry is none that was named")
)

// Ferry is one that may connect this host with others.
type Ferry struct {
	Addr string // as VisitFerry takes it
	// Show shows a ticket on a visit that is open and not started, and returns when the
	// visit is over: with nil if the ferry took it. If nil, there is no ticket.
	Show func(ctx context.Context, v *Visit) error
}

// Reservation is a place at a ferry, by which others can reach this host.
type Reservation struct {
	Addr  string          // to be dialled with Host.Dial by who is told the same ferry
	Until time.Time       // to be renewed before
	Lost  <-chan struct{} // closed when the connection to the ferry has ended
}

// circuits are the roads of a host through ferries. All methods may be called from any
// goroutine.
type circuits struct {
	host      *Host
	above     host.Host
	key       crypto.PrivKey // of the host's peer ID
	client    *client.Client
	stop      network.StreamHandler // the client's, for somebody who calls
	listening bool                  // others may come
	quic      bool                  // by QUIC too
	punch     *punching

	mu      sync.Mutex
	ferries map[peer.ID]*ferry
}

// ferry is one of them. While conn is set no proof runs on that connection, and nothing
// that the ferry asks is answered but that somebody calls.
type ferry struct {
	id    peer.ID
	at    []ma.Multiaddr // the one that led there last first
	named string         // the same, as SetFerries got them
	show  func(context.Context, *Visit) error
	shown time.Time    // zero: not yet
	conn  *conn        // nil: none
	users int          // dials and reservations that are being made
	until time.Time    // there is a place until then
	seen  ma.Multiaddr // where the ferry sees us come from by QUIC; nil: it is not known
}

// CircuitAddr says whether s is the address of a phone through a ferry:
// /p2p/<ferry>/p2p-circuit/p2p/<phone>. Where the ferry is, whoever dials it knows.
func CircuitAddr(s string) bool {
	_, _, err := parseCircuit(s)
	return err == nil
}

func parseCircuit(s string) (ferry, phone peer.ID, err error) {
	a, ok := strings.CutPrefix(s, "/p2p/")
	x, y, both := strings.Cut(a, circuitMiddle)
	if !ok || !both || len(s) > maxAddr {
		return "", "", errNotCircuit
	}
	for _, p := range []struct {
		to   *peer.ID
		name string
	}{{&ferry, x}, {&phone, y}} {
		id, err := peer.Decode(p.name)
		if err != nil || !isEd25519(id) || id.String() != p.name {
			return "", "", errNotCircuit
		}
		*p.to = id
	}
	if ferry == phone {
		return "", "", errNotCircuit
	}
	return ferry, phone, nil
}

// isCircuit says whether a connection's address goes through a ferry. What the ferry
// says of limits does not decide it.
func isCircuit(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// SetFerries names the ferries that may connect this host with others, at most 8; of one
// that is named with several addresses that by QUIC is tried first, then the others in
// this order. Places and circuits at others end. With a proxy they are passed over. On
// an error nothing changes.
func (h *Host) SetFerries(list []Ferry) error {
	if h.circuits == nil {
		return nil
	}
	if len(list) > maxFerries {
		return errors.New("p2p: too many ferries")
	}
	named := map[peer.ID]*ferry{}
	for _, f := range list {
		at, id, err := parseFerryAddr(f.Addr)
		if err != nil {
			return err
		}
		if err := h.proxy.carries(at); err != nil {
			continue // an onion name: visits go there, circuits do not
		}
		x := named[id]
		if x == nil {
			x = &ferry{id: id, show: f.Show}
			named[id] = x
		}
		if x.show == nil {
			x.show = f.Show
		}
		x.at, x.named = append(x.at, at), x.named+at.String()
	}
	for _, f := range named {
		slices.SortStableFunc(f.at, quicFirst)
	}
	h.circuits.replace(named)
	return nil
}

func (c *circuits) replace(named map[peer.ID]*ferry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, old := range c.ferries {
		if f := named[id]; f != nil && f.named == old.named && (f.show == nil) == (old.show == nil) {
			old.show = f.show
			named[id] = old
		} else if old.conn != nil {
			go old.conn.Close() // it may call back
		}
	}
	c.ferries = named
}

// ferry returns the one of an id, or nil.
func (c *circuits) ferry(id peer.ID) *ferry {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ferries[id]
}

// Reserve asks a ferry of SetFerries, named by its peer ID as bytes, for a place, or for
// the same one for longer. While there is one, whoever proves a key through the ferry
// has a link, as if it had dialled. It blocks until the ferry has answered or ctx ends.
// Errors: ErrNoPlace, which wraps the reason; ErrClosed; ctx.Err().
func (h *Host) Reserve(ctx context.Context, id []byte) (Reservation, error) {
	if !h.enter() {
		return Reservation{}, ErrClosed
	}
	defer h.work.Done()
	ctx, cancel := h.bind(ctx)
	defer cancel()
	f := h.circuits.ferry(peer.ID(id))
	if f == nil || !h.circuits.listening {
		return Reservation{}, fmt.Errorf("%w: %w", ErrNoPlace, errNoFerry)
	}
	to, done, err := h.circuits.use(ctx, f)
	if err == nil {
		defer done()
		var r *client.Reservation
		if r, err = client.Reserve(ctx, h.circuits.below(), peer.AddrInfo{ID: f.id}); err == nil {
			until := r.Expiration
			if latest := time.Now().Add(reservedFor); until.After(latest) {
				until = latest
			}
			h.circuits.mu.Lock()
			f.until = until
			h.circuits.mu.Unlock()
			return Reservation{Addr: "/p2p/" + f.id.String() + circuitMiddle + h.self.String(), Until: until, Lost: to.ended}, nil
		}
	}
	if ended := h.dialError(ctx, nil); ended != nil {
		return Reservation{}, ended
	}
	return Reservation{}, fmt.Errorf("%w: %w", ErrNoPlace, plain(err))
}

// plain leaves of an error of libp2p, which may name peers, what it is.
func plain(err error) error {
	var r client.ReservationError
	if errors.As(err, &r) {
		return errors.New("p2p: the ferry said no")
	}
	return err
}

// dialCircuit is Dial for an address through a ferry.
func (h *Host) dialCircuit(ctx context.Context, addr string) (LinkID, error) {
	by, id, err := parseCircuit(addr)
	if err != nil {
		return 0, err
	}
	if h.circuits == nil {
		return 0, ErrNotByProxy
	}
	f := h.circuits.ferry(by)
	if f == nil {
		return 0, errNoFerry
	}
	keys := h.currentKeys().Dial
	if len(keys) == 0 {
		return 0, errors.New("p2p: no key to dial with")
	}
	if id == h.self {
		return 0, ErrSelf
	}
	if l := h.linkTo(id); l != nil {
		return l.id, nil
	}
	ctx, cancel := h.bind(ctx)
	defer cancel()
	to, done, err := h.circuits.use(ctx, f)
	if err != nil {
		return 0, h.dialError(ctx, err)
	}
	defer done()
	return h.meet(ctx, id, f.road(to), keys)
}

// road is where libp2p dials through the ferry.
func (f *ferry) road(by *conn) ma.Multiaddr {
	return by.RemoteMultiaddr().Encapsulate(ma.StringCast("/p2p/" + f.id.String() + "/p2p-circuit"))
}

func quicFirst(a, b ma.Multiaddr) int {
	switch {
	case isQUIC(a) == isQUIC(b):
		return 0
	case isQUIC(a):
		return -1
	}
	return 1
}

// use connects to a ferry, if that is not done, and keeps the connection until done is
// called, and longer if something needs it then.
func (c *circuits) use(ctx context.Context, f *ferry) (to *conn, done func(), err error) {
	c.mu.Lock()
	f.users++
	c.mu.Unlock()
	done = func() {
		c.mu.Lock()
		f.users--
		c.mu.Unlock()
		c.tidy()
	}
	if to, err = c.connect(ctx, f); err != nil {
		done()
		return nil, nil, err
	}
	return to, done, nil
}

func (c *circuits) connect(ctx context.Context, f *ferry) (*conn, error) {
	h := c.host
	unlock, err := h.lockPeer(ctx.Done(), f.id)
	if err != nil {
		return nil, errNoAnswer
	}
	defer unlock()
	c.mu.Lock()
	to, known, show := f.conn, f.show == nil || time.Since(f.shown) < ticketFor, f.show
	c.mu.Unlock()
	if !known {
		if err := c.byEach(ctx, f, func(ctx context.Context, at ma.Multiaddr) error { return c.showTicket(ctx, f, at, show) }); err != nil {
			return nil, err
		}
	}
	if to != nil && !to.IsClosed() {
		return to, nil
	}
	err = c.byEach(ctx, f, func(ctx context.Context, at ma.Multiaddr) (err error) { to, err = c.dial(ctx, f, at); return err })
	if err != nil {
		return nil, err
	}
	var seen ma.Multiaddr
	if c.quic && isQUIC(to.RemoteMultiaddr()) {
		seen = observe(ctx, to)
	}
	c.mu.Lock()
	f.conn, f.until, f.seen = to, time.Time{}, seen
	named := c.ferries[f.id] == f
	c.mu.Unlock()
	if !named { // not any more
		to.Close()
		return nil, errNoFerry
	}
	if seen != nil {
		c.punch.start()
	}
	return to, nil
}

// byEach tries the addresses of a ferry until one leads there, which is tried first from
// then on.
func (c *circuits) byEach(ctx context.Context, f *ferry, try func(context.Context, ma.Multiaddr) error) (err error) {
	c.mu.Lock()
	list := slices.Clone(f.at)
	c.mu.Unlock()
	for i, at := range list {
		this, stop := ctx, func() {}
		if i < len(list)-1 {
			this, stop = context.WithTimeout(ctx, c.host.bounds.road)
		}
		err = try(this, at)
		stop()
		if err == nil {
			c.mu.Lock()
			f.at = append([]ma.Multiaddr{at}, slices.DeleteFunc(list, at.Equal)...)
			c.mu.Unlock()
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
	return err
}

// dial makes a connection to a ferry. One that is ending is waited for.
func (c *circuits) dial(ctx context.Context, f *ferry, at ma.Multiaddr) (*conn, error) {
	h, ps := c.host, c.host.net.Peerstore()
	for range maxWaits {
		ps.ClearAddrs(f.id)
		ps.AddAddr(f.id, at, peerstore.TempAddrTTL)
		nc, err := h.net.Swarm.DialPeer(network.WithForceDirectDial(ctx, "ferry"), f.id)
		if err != nil {
			return nil, errNoAnswer
		}
		to := h.net.adopt(nc)
		if to == nil {
			continue
		}
		if to.dialled && to.decide(carrier) {
			return to, nil
		}
		to.Close()
		select {
		case <-to.ended:
		case <-ctx.Done():
			return nil, errEnded
		}
	}
	return nil, errEnded
}

// showTicket visits the ferry under the peer ID of this host, which it knows then.
func (c *circuits) showTicket(ctx context.Context, f *ferry, at ma.Multiaddr, show func(context.Context, *Visit) error) error {
	v, err := visitAs(ctx, c.key, at, f.id, nil, c.host.meter.traffic)
	if err != nil {
		return errNoAnswer
	}
	if err := show(ctx, v); err != nil {
		v.stop()
		return errors.New("p2p: the ferry did not take the ticket")
	}
	c.mu.Lock()
	f.shown = time.Now()
	c.mu.Unlock()
	return nil
}

// tidy closes connections to ferries that nothing needs.
func (c *circuits) tidy() {
	now := time.Now()
	c.mu.Lock()
	var idle []*ferry
	for _, f := range c.ferries {
		if f.conn != nil && f.users == 0 && !f.until.After(now) {
			idle = append(idle, f)
		}
	}
	c.mu.Unlock()
	for _, f := range idle {
		if c.carries(f.id) {
			continue
		}
		c.mu.Lock()
		to := f.conn
		if f.users > 0 || f.until.After(now) {
			to = nil
		} else {
			f.conn = nil // so that nobody begins to use it
		}
		c.mu.Unlock()
		if to != nil {
			to.Close()
		}
	}
}

// carries says whether a circuit through a ferry is open.
func (c *circuits) carries(id peer.ID) bool {
	return slices.ContainsFunc(c.host.net.Swarm.Conns(), func(nc network.Conn) bool {
		by, err := nc.RemoteMultiaddr().ValueForProtocol(ma.P_P2P)
		return err == nil && isCircuit(nc.RemoteMultiaddr()) && by == id.String()
	})
}
