package p2p

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// Dial connects to addr, for example /ip4/192.0.2.1/udp/4001/quic-v1, without
// knowing who is there, or to one that CircuitAddr takes, through a ferry of SetFerries, and proves one of the Dial keys, newest first, with a
// connection for each. If a link to whoever answers is up already, its id is
// returned. It blocks until the proof or ctx ends. Errors: ErrSelf; ErrRefused if
// no key was answered; ErrNotByProxy and ErrNeedsProxy before anything is sent;
// ErrProxy; ErrClosed; ctx.Err(); else nobody listens there.
func (h *Host) Dial(ctx context.Context, addr string) (LinkID, error) {
	return h.dial(ctx, addr, h.currentKeys().Dial)
}

func (h *Host) dial(ctx context.Context, addr string, keys []Key) (LinkID, error) {
	if !h.enter() {
		return 0, ErrClosed
	}
	defer h.work.Done()
	if CircuitAddr(addr) {
		return h.dialCircuit(ctx, addr)
	}
	a, err := parseAddr(addr)
	if err != nil {
		return 0, err
	}
	if err := h.proxy.carries(a); err != nil {
		return 0, err
	}
	if len(keys) == 0 {
		return 0, errors.New("p2p: no key to dial with")
	}
	ctx, cancel := h.bind(ctx)
	defer cancel()
	id, err := h.reach(ctx, a)
	if err != nil {
		return 0, h.dialError(ctx, err)
	}
	defer h.drop(id)
	if h.circuits.ferry(id) != nil { // one that somebody names as a member
		return 0, ErrRefused
	}
	return h.meet(ctx, id, a, keys)
}

// meet connects to id at a and proves one of the keys; keys are not none.
func (h *Host) meet(ctx context.Context, id peer.ID, a ma.Multiaddr, keys []Key) (LinkID, error) {
	if id == h.self {
		return 0, ErrSelf
	}
	unlock, err := h.lockPeer(ctx.Done(), id)
	if err != nil {
		return 0, h.dialError(ctx, err)
	}
	defer func() { unlock() }()
	for try, waits := 0, 0; try < len(keys) && waits <= maxWaits; {
		if l := h.linkBy(id, a); l != nil {
			return l.id, nil
		}
		if err := h.awaitLeaving(ctx, id); err != nil {
			return 0, h.dialError(ctx, err)
		}
		c, err := h.connect(ctx, id, a)
		if err == errEnded {
			waits++
			continue
		}
		if err != nil {
			return 0, h.dialError(ctx, err)
		}
		if !c.dialled { // they were faster; their proof decides, and costs us no key
			waits++
			h.drop(id) // they may be waiting for this one, which we do not use
			unlock()   // or for us
			c.wait()
			if unlock, err = h.lockPeer(ctx.Done(), id); err != nil {
				return 0, h.dialError(ctx, err)
			}
			continue
		}
		if l := h.linkBy(id, a); l != nil { // M1 says that we hold no link
			c.shut()
			return l.id, nil
		}
		l, err := h.proveOut(ctx, c, keys[try])
		if err == nil {
			return l.id, nil
		}
		if ctx.Err() != nil {
			return 0, h.dialError(ctx, err)
		}
		try++
	}
	if l := h.linkBy(id, a); l != nil { // both dialled, and theirs was the one to keep
		return l.id, nil
	}
	return 0, h.dialError(ctx, ErrRefused)
}

// dialError says why a dial ended: the host's or the caller's end comes first.
func (h *Host) dialError(ctx context.Context, err error) error {
	if h.ctx.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (h *Host) reach(ctx context.Context, a ma.Multiaddr) (peer.ID, error) {
	if isQUIC(a) {
		return h.quic.reach(ctx, a)
	}
	return h.tcp.reach(ctx, a)
}

// drop closes what reach left for id, if nobody took it.
func (h *Host) drop(id peer.ID) {
	h.tcp.drop(id)
	if h.quic != nil { // no proxy
		h.quic.drop(id)
	}
}

// errEnded says that the connection that the swarm gave is no more.
var errEnded = errors.New("p2p: the connection has ended")

// connect gets a connection to id from the swarm, with its record.
func (h *Host) connect(ctx context.Context, id peer.ID, a ma.Multiaddr) (*conn, error) {
	ps := h.net.Peerstore()
	ps.ClearAddrs(id)
	ps.AddAddr(id, a, peerstore.TempAddrTTL)
	if isCircuit(a) {
		h.net.Swarm.Backoff().Clear(id) // who dials decides how often
	} else {
		ctx = network.WithForceDirectDial(ctx, "by address")
	}
	if h.proxy != nil {
		ctx = network.WithDialPeerTimeout(ctx, proxyPatience)
	}
	nc, err := h.net.Swarm.DialPeer(ctx, id)
	if err != nil {
		return nil, errors.New("p2p: the connection failed")
	}
	c := h.net.adopt(nc)
	if c == nil {
		return nil, errEnded
	}
	return c, nil
}

// awaitLeaving waits for a link to id that is closing. Then the other side has
// closed it too, and does not weigh it against the new connection.
func (h *Host) awaitLeaving(ctx context.Context, id peer.ID) error {
	h.mu.Lock()
	l := h.byPeer[id]
	h.mu.Unlock()
	if l == nil || !l.isClosing() {
		return nil
	}
	select {
	case <-l.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lockPeer lets one proof at a time go on with a peer, for those who ask. It
// fails when give is closed; unlock is then a func that does nothing.
func (h *Host) lockPeer(give <-chan struct{}, id peer.ID) (unlock func(), err error) {
	mine := make(chan struct{})
	for {
		h.mu.Lock()
		other := h.proving[id]
		if other == nil {
			h.proving[id] = mine
		}
		h.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-give:
			return func() {}, errGate
		}
	}
	return func() {
		h.mu.Lock()
		delete(h.proving, id)
		h.mu.Unlock()
		close(mine)
	}, nil
}

// parseAddr takes ip/tcp, ip/udp/quic-v1 and onion3 addresses and nothing else:
// another name would ask a resolver, which tells it whom we look for.
func parseAddr(s string) (ma.Multiaddr, error) {
	if len(s) > maxAddr {
		return nil, errNotDialable
	}
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return nil, errNotDialable
	}
	var codes []int
	for _, p := range a.Protocols() {
		codes = append(codes, p.Code)
	}
	ok := len(codes) == 1 && codes[0] == ma.P_ONION3 ||
		len(codes) >= 2 && (codes[0] == ma.P_IP4 || codes[0] == ma.P_IP6) &&
			(len(codes) == 2 && codes[1] == ma.P_TCP ||
				len(codes) == 3 && codes[1] == ma.P_UDP && codes[2] == ma.P_QUIC_V1)
	if !ok {
		return nil, errNotDialable
	}
	return a, nil
}

// parseListen takes the addresses that can be listened on, given a proxy or none.
func parseListen(addrs []string, by *socks) (list []ma.Multiaddr, err error) {
	for _, s := range addrs {
		a, err := parseAddr(s)
		if err != nil {
			return nil, err
		}
		if err := by.hears(a); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// maxWaits is how often one Dial waits for a connection that the other side made.
const maxWaits = 8

// maxAddr is the longest address in characters that is looked at.
const maxAddr = 128

func isQUIC(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_QUIC_V1)
	return err == nil
}
