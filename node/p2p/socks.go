package p2p

import (
	"context"
	"crypto/rand"
	"net"
	"strings"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/net/proxy"
)

// dial makes a TCP connection to a, which is ip or a name and tcp, or onion3: directly,
// or through the proxy, which gets a name as a name. Each connection has a
// random user name and password of its own, because Tor puts different ones on
// different circuits (IsolateSOCKSAuth): two groups, or two visits, that shared a
// circuit could be told to be of one device. It ends with ctx.
func (p *socks) dial(ctx context.Context, a ma.Multiaddr) (manet.Conn, error) {
	if p == nil {
		var d manet.Dialer
		c, err := d.DialContext(ctx, a)
		if err != nil {
			return nil, errNoAnswer
		}
		return c, nil
	}
	to, err := socksName(a)
	if err != nil {
		return nil, err
	}
	way := &toProxy{}
	d, err := proxy.SOCKS5("tcp", p.at.String(), &proxy.Auth{User: rand.Text(), Password: rand.Text()}, way)
	if err != nil {
		return nil, ErrProxy
	}
	c, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", to)
	if err != nil {
		if way.heard < len(greeting) {
			return nil, ErrProxy
		}
		return nil, errNoAnswer
	}
	local, err := manet.FromNetAddr(c.LocalAddr())
	if err != nil {
		c.Close()
		return nil, ErrProxy
	}
	return road{Conn: c, local: local, to: a}, nil
}

// socksName is a as SOCKS5 has it, host:port.
func socksName(a ma.Multiaddr) (string, error) {
	if name, err := a.ValueForProtocol(ma.P_ONION3); err == nil {
		host, port, _ := strings.Cut(name, ":")
		return host + ".onion:" + port, nil
	}
	if _, to, err := manet.DialArgs(a); err == nil {
		return to, nil
	}
	return "", errNotDialable
}

// greeting is what a proxy says first that takes our user name (RFC 1928 section
// 3, RFC 1929 section 2). The library would also go on with one that wants none,
// which puts everything on one circuit.
var greeting = [4]byte{5, 2, 1, 0}

// toProxy is the connection to a proxy, and how much of its greeting it has said.
type toProxy struct {
	net.Conn
	heard int
}

func (t *toProxy) Dial(network, at string) (net.Conn, error) {
	return t.DialContext(context.Background(), network, at)
}

func (t *toProxy) DialContext(ctx context.Context, network, at string) (_ net.Conn, err error) {
	var d net.Dialer
	t.Conn, err = d.DialContext(ctx, network, at)
	return t, err
}

func (t *toProxy) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	for _, x := range b[:n] {
		if t.heard == len(greeting) {
			break
		}
		if x != greeting[t.heard] {
			return 0, ErrProxy
		}
		t.heard++
	}
	return n, err
}

// road is a connection through a proxy, which says where it leads and not where
// the proxy is: the other end is told the address that we see it at.
type road struct {
	net.Conn
	local, to ma.Multiaddr
}

func (r road) LocalMultiaddr() ma.Multiaddr  { return r.local }
func (r road) RemoteMultiaddr() ma.Multiaddr { return r.to }
