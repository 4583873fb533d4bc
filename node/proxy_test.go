package node

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// proxy is a SOCKS5 proxy (RFC 1928, RFC 1929) for IPv4 addresses.
type proxy struct {
	l     net.Listener
	work  sync.WaitGroup
	calls atomic.Int64
	mu    sync.Mutex
	users map[string]bool
	to    map[string]bool
	conns []net.Conn
}

func startProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, users: map[string]bool{}, to: map[string]bool{}}
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) stop() {
	p.l.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	to, err := p.asked(c)
	if err != nil {
		return
	}
	p.calls.Add(1)
	there, err := net.Dial("tcp", to.String())
	if err != nil {
		c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	defer there.Close()
	p.mu.Lock()
	p.conns = append(p.conns, c, there)
	p.mu.Unlock()
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return
	}
	p.work.Go(func() { io.Copy(there, c); there.Close() })
	io.Copy(c, there)
}

// asked reads a greeting, a user name with its password, and a request to connect.
func (p *proxy) asked(c net.Conn) (to netip.AddrPort, err error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(c, b)
		}
		return b
	}
	say := func(b ...byte) {
		if err == nil {
			_, err = c.Write(b)
		}
	}
	read(int(read(2)[1]))
	say(5, 2)
	user := string(read(int(read(2)[1])))
	read(int(read(1)[0]))
	say(1, 0)
	if head := read(4); err == nil && (head[1] != 1 || head[3] != 1) {
		return to, errors.New("another request")
	}
	ip, port := read(4), read(2)
	if err != nil {
		return to, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip)), binary.BigEndian.Uint16(port))
	p.users[user], p.to[to.String()] = true, true
	return to, nil
}

// Ana goes through a proxy. She names no address to anybody, meets Ben at a letter
// carrier, and where the proxy is gone goes nowhere.
func TestBehindAProxy(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	p := startProxy(t)
	ana := w.startWith(Config{Dir: w.profile("Ana"), Proxy: p.l.Addr().String(), Listen: []string{"/ip4/127.0.0.1/tcp/0"}}, "Ana", nil)
	ben := w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	refused(t, ana, api.CodeNoAddress, api.CommandInvite, api.InviteArgs{})
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	link := call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{AutoApprove: true}).Link
	call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link})
	w.until("Ben to be in", func() bool { return ben.status().Groups[0].Members == 2 })
	post1(t, ben, "un")
	post1(t, ana, "deux")
	w.shows([]string{"deux", "un"}, ana, ben)
	p.mu.Lock()
	if calls := p.calls.Load(); calls < 3 || len(p.users) < int(calls) {
		t.Errorf("%d calls, by %d users", calls, len(p.users))
	}
	p.mu.Unlock()
	if l, err := protocol.ParseLink(link); err != nil || len(ana.addrs)+len(l.Addresses) != 0 {
		t.Errorf("Ana names %q and %q: %v", ana.addrs, l.Addresses, err)
	}
	ana.inside(func() {
		for _, g := range ana.groups {
			if len(g.own)+len(ana.linkAddrs(g)) > 0 {
				t.Errorf("Ana is at %q", g.own)
			}
		}
	})
	for _, s := range ben.addrs {
		a, _ := parseAddress(s)
		if call[api.Done](t, ana, api.CommandConnect, api.ConnectArgs{Addr: s}); !a.udp {
			at := netip.AddrPortFrom(a.ip, a.port).String()
			w.until("Ana to dial Ben by the proxy", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.to[at] })
		}
	}
	p.stop()
	w.until("Ana to reach nobody", func() bool { return ana.carrier().Unreached })
}

func TestBadProxies(t *testing.T) {
	for _, bad := range []string{"localhost:9050", "127.0.0.1", "127.0.0.1:0", ":9050", "0.0.0.0:9050", "socks5://127.0.0.1:9050"} {
		if _, err := Open(Config{Dir: t.TempDir(), Proxy: bad}); api.CodeOf(err) != api.CodeInvalidProxy {
			t.Errorf("%q: %v", bad, err)
		}
	}
	onion := "/onion3/" + strings.Repeat("a", 56) + ":80"
	if got, ok := dialable(onion + "/p2p/" + carrierID); !ok || got != onion {
		t.Errorf("%q, %t", got, ok)
	}
	if c, ok := parseCarrier(onion + "/p2p/" + carrierID); !ok || c.addr != onion+"/p2p/"+carrierID {
		t.Errorf("%+v, %t", c, ok)
	}
	if _, ok := dialable("/onion3/" + strings.Repeat("a", 55) + ":80"); ok {
		t.Error("a name that is too short")
	}
}
