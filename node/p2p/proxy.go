package p2p

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// proxyPatience replaces libp2p's own limits on one dial, 5 to 60 s: through a
// proxy the caller's context is the limit.
const proxyPatience = 10 * time.Minute

var (
	errNoAnswer  = errors.New("p2p: nobody answered there")
	errBadProxy  = errors.New("p2p: a proxy must be an ip address and a port")
	errOnlyLocal = errors.New("p2p: with a proxy, only loopback and tcp can be listened on")
)

// socks is a SOCKS5 proxy through which everything is dialled (spec 60 section 8).
// If nil, nothing is.
type socks struct{ at netip.AddrPort }

// newSocks takes an IP address and a port; a name would ask a resolver. Nothing
// is nil.
func newSocks(s string) (*socks, error) {
	if s == "" {
		return nil, nil
	}
	at, err := netip.ParseAddrPort(s)
	ip := at.Addr().Unmap()
	if err != nil || at.Port() == 0 || ip.IsUnspecified() || ip.IsMulticast() {
		return nil, errBadProxy
	}
	return &socks{netip.AddrPortFrom(ip, at.Port())}, nil
}

// CheckProxy says whether Config.Proxy takes s.
func CheckProxy(s string) error {
	_, err := newSocks(s)
	return err
}

// OnionAddr says whether s is the address of an onion service, which is dialled
// through a proxy alone.
func OnionAddr(s string) bool {
	a, err := parseAddr(s)
	return err == nil && isOnion(a)
}

// carries says whether a can be dialled, before anything is.
func (p *socks) carries(a ma.Multiaddr) error {
	switch {
	case p == nil && isOnion(a):
		return ErrNeedsProxy
	case p != nil && isQUIC(a):
		return ErrNotByProxy
	}
	return nil
}

// hears says whether a can be listened on. Behind a proxy whoever comes from
// elsewhere would learn what the proxy hides.
func (p *socks) hears(a ma.Multiaddr) error {
	switch {
	case isOnion(a):
		return errNotDialable
	case p != nil && (isQUIC(a) || !manet.IsIPLoopback(a)):
		return errOnlyLocal
	}
	return nil
}

// rates lifts libp2p's limit on new connections per second of one address: it counts
// all onion names as one. Who comes in then comes from loopback, where it has none.
func (p *socks) rates() []rcmgr.Option {
	if p == nil {
		return nil
	}
	return []rcmgr.Option{rcmgr.WithConnRateLimiters(&rate.Limiter{})}
}

// byProxy is a TCP transport that listens as any other, and dials through a proxy,
// onion names too.
type byProxy struct {
	tpt.Transport // TCP
	proxy         *socks
	upgrader      tpt.Upgrader
	resources     network.ResourceManager
}

func (t *byProxy) CanDial(a ma.Multiaddr) bool { return isOnion(a) || t.Transport.CanDial(a) }

func (t *byProxy) Protocols() []int { return []int{ma.P_TCP, ma.P_ONION3} }

func (t *byProxy) Dial(ctx context.Context, a ma.Multiaddr, id peer.ID) (tpt.CapableConn, error) {
	scope, err := t.resources.OpenConnection(network.DirOutbound, true, a)
	if err != nil {
		return nil, err
	}
	if err := scope.SetPeer(id); err != nil {
		scope.Done()
		return nil, err
	}
	c, err := t.proxy.dial(ctx, a)
	if err != nil {
		scope.Done()
		return nil, err
	}
	return t.upgrader.Upgrade(ctx, t, c, network.DirOutbound, id, scope) // it ends both if it fails
}

func isOnion(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_ONION3)
	return err == nil
}
