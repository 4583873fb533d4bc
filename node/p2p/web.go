package p2p

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	ma "github.com/multiformats/go-multiaddr"
	socket "golang.org/x/net/websocket"
)

// The web road to a ferry: WebSocket over TLS, as pages of the web use it (spec 63).
// Noise, the gate of the ferry's peer ID and all else is inside, as on TCP.

// Bounds of the web road.
const (
	maxHead    = 64 << 10         // bytes that a ferry may say before it is a WebSocket
	maxAskHead = 8 << 10          // bytes of the head of a request to a ferry
	webPause   = 10 * time.Second // for a request to a ferry to be whole
)

var (
	errNoCertificate = errors.New("p2p: an address with tls and ws needs a certificate")
	errHead          = errors.New("p2p: the answer is too long")
)

// webRoots are the authorities that vouch for names; nil: the system's. A test has its own.
var webRoots *x509.CertPool

func isWeb(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_WS)
	return err == nil
}

// nameOf is the name in an address, without which there is an IP address.
func nameOf(a ma.Multiaddr) (string, bool) {
	if p := a[0].Protocol().Code; p == ma.P_DNS || p == ma.P_DNS4 || p == ma.P_DNS6 {
		return a[0].Value(), true
	}
	return "", false
}

// parseWeb takes /ip4|ip6|dns|dns4|dns6/…/tcp/N/tls/ws and nothing else.
func parseWeb(s string) (ma.Multiaddr, error) {
	if len(s) > maxAddr {
		return nil, errNotDialable
	}
	a, err := ma.NewMultiaddr(s)
	if err != nil || len(a) != 4 || a.String() != s {
		return nil, errNotDialable
	}
	for i, code := range []int{ma.P_TCP, ma.P_TLS, ma.P_WS} {
		if a[i+1].Protocol().Code != code {
			return nil, errNotDialable
		}
	}
	switch code := a[0].Protocol().Code; code {
	case ma.P_IP4, ma.P_IP6:
		return a, nil
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		if isHostname(a[0].Value()) {
			return a, nil
		}
	}
	return nil, errNotDialable
}

// WebAddr says whether s is an address of the web road, as far as its form tells.
func WebAddr(s string) bool {
	_, err := parseWeb(s)
	return err == nil
}

// isHostname takes names of the web in small letters, with a dot, that are no IP address.
func isHostname(s string) bool {
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return len(labels) > 1 && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// byWeb is a transport that dials ferries by the web road, and does nothing else.
type byWeb struct {
	proxy     *socks // nil: none
	upgrader  tpt.Upgrader
	resources network.ResourceManager
	count     *tally
}

func (t *byWeb) CanDial(a ma.Multiaddr) bool               { return isWeb(a) }
func (t *byWeb) Protocols() []int                          { return []int{ma.P_WS} }
func (t *byWeb) Proxy() bool                               { return false }
func (t *byWeb) Listen(ma.Multiaddr) (tpt.Listener, error) { return nil, errNotDialable }

// SkipResolve keeps the swarm from asking for a name: the certificate is for it.
func (t *byWeb) SkipResolve(context.Context, ma.Multiaddr) bool { return true }

// Dial asks for a name at the proxy, or where there is none at the system's resolver.
func (t *byWeb) Dial(ctx context.Context, a ma.Multiaddr, id peer.ID) (tpt.CapableConn, error) {
	scope, err := t.resources.OpenConnection(network.DirOutbound, true, a)
	if err != nil {
		return nil, err
	}
	c, err := t.proxy.dial(ctx, a[:2])
	if err != nil {
		scope.Done()
		return nil, err
	}
	c = t.count.conn(c, false)
	defer context.AfterFunc(ctx, func() { c.Close() })()
	w, err := openWeb(ctx, c, a)
	if err != nil {
		c.Close()
		scope.Done()
		return nil, err
	}
	return t.upgrader.Upgrade(ctx, t, road{Conn: w, local: c.LocalMultiaddr(), to: a}, network.DirOutbound, id, scope)
}

// openWeb makes a WebSocket in TLS of a connection, as a page of the same name would.
// The certificate of a name must be one that the system trusts, or else whoever sits
// between could look inside and see that it is no page. That of an IP address is not
// looked at, since hardly anybody could get one; who the ferry is, Noise proves.
func openWeb(ctx context.Context, c net.Conn, a ma.Multiaddr) (net.Conn, error) {
	conf := &tls.Config{NextProtos: []string{"http/1.1"}, RootCAs: webRoots}
	host, named := nameOf(a)
	if named {
		conf.ServerName = host
	} else {
		conf.InsecureSkipVerify = true
		host = a[0].Value()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	}
	if port := a[1].Value(); port != "443" {
		host += ":" + port
	}
	sealed := tls.Client(c, conf)
	if err := sealed.HandshakeContext(ctx); err != nil {
		return nil, errNoAnswer
	}
	asked, err := socket.NewConfig("wss://"+host+"/", "https://"+host)
	if err != nil {
		return nil, errNoAnswer
	}
	short := &shortHead{Conn: sealed, left: maxHead}
	w, err := socket.NewClient(asked, short)
	if err != nil {
		return nil, errNoAnswer
	}
	short.open = true
	w.PayloadType = socket.BinaryFrame
	return webConn{w, c}, nil
}

// shortHead bounds what is read before it is open.
type shortHead struct {
	net.Conn
	left int
	open bool
}

func (s *shortHead) Read(b []byte) (int, error) {
	if s.open {
		return s.Conn.Read(b)
	}
	if s.left <= 0 {
		return 0, errHead
	}
	n, err := s.Conn.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

// webConn is a WebSocket that is closed at once: its own Close waits for a write that
// nobody may take.
type webConn struct {
	*socket.Conn
	below net.Conn
}

func (c webConn) Close() error { return c.below.Close() }

// addWeb lets a ferry listen on the web road, with its certificate. Other requests than
// for a WebSocket get "not found".
func addWeb(k *stack, sk crypto.PrivKey, d door, resources network.ResourceManager, cert *tls.Certificate) error {
	up, _, err := newUpgrader(sk, d, resources)
	if err != nil {
		return err
	}
	t, err := websocket.New(up, resources, nil,
		websocket.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}),
		websocket.WithHTTPHandler(http.NotFoundHandler()),
		websocket.WithHTTPServerConfig(func(s *http.Server) {
			s.MaxHeaderBytes, s.ReadTimeout, s.WriteTimeout = maxAskHead, webPause, webPause
			s.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // HTTP/1.1 alone
			s.SetKeepAlivesEnabled(false)
		}))
	if err != nil {
		return fmt.Errorf("p2p: prepare the web road: %w", err)
	}
	return k.swarm.AddTransport(t)
}

// webListen takes an address of the web road at which a ferry is to be known. Where it
// has a name the ferry listens on all interfaces: the name is for those who come.
func webListen(s string, cert *tls.Certificate) (listen, named ma.Multiaddr, err error) {
	a, err := parseWeb(s)
	if err != nil {
		return nil, nil, err
	}
	if cert == nil {
		return nil, nil, errNoCertificate
	}
	if _, ok := nameOf(a); !ok {
		return a, nil, nil
	}
	all := "/ip4/0.0.0.0"
	if a[0].Protocol().Code == ma.P_DNS6 {
		all = "/ip6/::"
	}
	listen, err = ma.NewMultiaddr(all + a[1:].String())
	return listen, a, err
}
