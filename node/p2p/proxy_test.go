package p2p

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// by starts a host that dials through p and listens as an onion service would.
func by(t *testing.T, p *tor, k Keys, change ...func(*Config, *bounds, *node)) *node {
	t.Helper()
	return start(t, k, append([]func(*Config, *bounds, *node){func(c *Config, _ *bounds, _ *node) {
		c.Proxy, c.Listen = p.at(), []string{"/ip4/127.0.0.1/tcp/0"}
	}}, change...)...)
}

func tcpOnly(c *Config, _ *bounds, _ *node) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0"} }

// hostPort is a multiaddr of ip and tcp as net has it.
func hostPort(t *testing.T, addr string) string {
	t.Helper()
	_, at, err := manet.DialArgs(ma.StringCast(addr))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// udpSockets returns the inodes of this process's UDP sockets.
func udpSockets(t *testing.T) map[string]bool {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("sockets are counted on linux only")
	}
	udp := map[string]bool{}
	for _, f := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			if cols := strings.Fields(line); len(cols) > 9 {
				udp[cols[9]] = true
			}
		}
	}
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{}
	for _, f := range files {
		to, _ := os.Readlink(f) // it may be closed by now
		if inode := strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]"); udp[inode] {
			ours[inode] = true
		}
	}
	return ours
}

// moreUDP counts the UDP sockets that were opened since before.
func moreUDP(t *testing.T, before map[string]bool) (n int) {
	for inode := range udpSockets(t) {
		if !before[inode] {
			n++
		}
	}
	return n
}

// apart fails the test if two requests have a user name or a password in common.
func apart(t *testing.T, asked []request) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range asked {
		if len(r.user) < 16 || len(r.password) < 16 || seen[r.user] || seen[r.password] || r.user == r.password {
			t.Errorf("%d requests share credentials, or have weak ones", len(asked))
		}
		seen[r.user], seen[r.password] = true, true
	}
}

// TestProxy: two hosts prove and talk through a proxy, by address and by onion name,
// and nothing goes another way.
func TestProxy(t *testing.T) {
	for _, kind := range []string{"ip4", "onion3"} {
		t.Run(kind, func(t *testing.T) {
			noLeaks(t)
			k := keys(key("group", Member))
			b := start(t, k, tcpOnly)
			front := newPier(t, hostPort(t, b.addr("tcp")))
			tor := newTor(t)
			tor.onions[onion+".onion:4001"] = front.Addr().String()
			to, asks := "/onion3/"+onion+":4001", request{kind: 3, to: onion + ".onion:4001"}
			if kind == "ip4" {
				at := front.Addr().(*net.TCPAddr)
				to, asks = fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", at.Port), request{kind: 1, to: at.String()}
			}
			udp := udpSockets(t)
			a := by(t, tor, k)
			l := a.mustDial(to)
			up := find(a, func(e LinkUp) bool { return e.Link == l })
			if up.Class != Member || !up.Dialled || up.Addr != to {
				t.Errorf("came up as %+v", up)
			}
			theirs := find(b, anyUp)
			a.untilHints(b)
			b.untilHints(a)
			big := bytes.Repeat([]byte{7}, MaxMessage)
			for _, x := range []struct {
				from, to *node
				link     LinkID
			}{{a, b, l}, {b, a, theirs.Link}} {
				if err := x.from.Send(x.link, big); err != nil {
					t.Fatal(err)
				}
				find(x.to, func(m Message) bool { return bytes.Equal(m.Data, big) })
			}
			if again, err := a.dial(to); again != l || err != nil {
				t.Errorf("dialled again: link %d, %v", again, err)
			}

			asked := tor.requests()
			apart(t, asked)
			var from []string
			for _, r := range asked {
				if r.kind != asks.kind || r.to != asks.to {
					t.Errorf("asked for kind %d %s", r.kind, r.to)
				}
				from = append(from, r.from)
			}
			callers := front.callers()
			slices.Sort(from)
			slices.Sort(callers)
			// The one that stays; and who dials again asks who is there.
			if len(asked) != 2 || !slices.Equal(from, callers) {
				t.Errorf("%d requests; the proxy came from %v, callers from %v", len(asked), from, callers)
			}
			if n := moreUDP(t, udp); n != 0 || a.quic != nil {
				t.Errorf("%d udp sockets", n)
			}
			if len(a.Addrs()) != 0 || len(a.net.ListenAddresses()) != 1 {
				t.Errorf("tells %v", a.Addrs())
			}
		})
	}
}

// TestOneConnectionADial: who dials an address, not knowing who is there, makes one TCP
// connection, and a second one only for a second key.
func TestOneConnectionADial(t *testing.T) {
	noLeaks(t)
	v := start(t, keys(key("group", Member)), tcpOnly)
	front := newPier(t, hostPort(t, v.addr("tcp")))
	to := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", front.Addr().(*net.TCPAddr).Port)
	a := start(t, keys(key("group", Member)), tcpOnly)
	a.mustDial(to)
	if n := len(front.callers()); n != 1 {
		t.Errorf("%d connections for a dial", n)
	}
	b := start(t, keys(key("newer", Member), key("group", Member)), tcpOnly)
	b.mustDial(to)
	if n := len(front.callers()); n != 1+2 {
		t.Errorf("%d connections for a dial, and one with two keys", n)
	}
}

// TestSocketsAreCounted: the count that the other tests rely on sees a socket.
func TestSocketsAreCounted(t *testing.T) {
	udp := udpSockets(t)
	start(t, keys(key("group", Member)))
	if moreUDP(t, udp) == 0 {
		t.Error("a host that listens by quic has no udp socket")
	}
}

// TestOnionService: a host behind a proxy is dialled at its loopback address, where
// its onion service forwards.
func TestOnionService(t *testing.T) {
	k := keys(key("group", Member))
	tor := newTor(t)
	a, b := by(t, tor, k), by(t, tor, k)
	tor.onions[onion+".onion:4001"] = hostPort(t, b.net.ListenAddresses()[0].String())
	a.mustDial("/onion3/" + strings.ToUpper(onion) + ":4001")
	find(b, func(e LinkUp) bool { return !e.Dialled })
	// Its own name leads to itself.
	if _, err := b.dial("/onion3/" + onion + ":4001"); err != ErrSelf {
		t.Errorf("itself: %v", err)
	}
	apart(t, tor.requests())
}

// TestManyOnionDials: libp2p would count all onion names as one address and let 16
// connections pass.
func TestManyOnionDials(t *testing.T) {
	tor := newTor(t)
	b := start(t, keys(key("group", Member)), tcpOnly)
	tor.onions[onion+".onion:4001"] = hostPort(t, b.addr("tcp"))
	var wrong []Key
	for i := range MaxDial {
		wrong = append(wrong, key(fmt.Sprint("other", i), Member))
	}
	a := by(t, tor, Keys{Dial: wrong})
	for range 4 {
		if _, err := a.dial("/onion3/" + onion + ":4001"); err != ErrRefused {
			t.Fatalf("with wrong keys: %v", err)
		}
	}
	if err := a.SetKeys(keys(key("group", Member))); err != nil {
		t.Fatal(err)
	}
	a.mustDial("/onion3/" + onion + ":4001")
	if asked := tor.requests(); len(asked) != 4*MaxDial+1 {
		t.Errorf("%d requests", len(asked))
	}
	apart(t, tor.requests())
}

// TestProxyRefuses: what cannot go through the proxy is refused before anything is
// sent, and so is an onion name without one.
func TestProxyRefuses(t *testing.T) {
	k := keys(key("group", Member))
	tor := newTor(t)
	a, direct := by(t, tor, k), start(t, k)
	harbour := open(t)
	udp := udpSockets(t)
	quic, hidden := direct.addr("quic-v1"), "/onion3/"+onion+":4001"
	if _, err := a.dial(quic); err != ErrNotByProxy {
		t.Errorf("quic: %v", err)
	}
	if _, err := VisitFerry(soon(t), harbour.at("quic"), tor.at(), nil); err != ErrNotByProxy {
		t.Errorf("a visit by quic: %v", err)
	}
	if _, err := direct.dial(hidden); err != ErrNeedsProxy {
		t.Errorf("onion: %v", err)
	}
	if _, err := VisitFerry(soon(t), hidden+"/p2p/"+harbour.id, "", nil); err != ErrNeedsProxy {
		t.Errorf("a visit to an onion name: %v", err)
	}
	for _, bad := range []string{"/onion3/" + onion, hidden + "/tcp/1", "/ip4/127.0.0.1" + hidden, "/onion3/" + onion + ":0", "/onion3/" + onion + ":65536",
		"/onion3/" + onion[1:] + ":1", "/onion3/" + onion[1:] + "1:1", "/onion/aaimaq4ygg2iegci:80", "/dns4/" + onion + ".onion/tcp/1"} {
		if _, err := a.dial(bad); err != errNotDialable {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, s := range []string{"/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0", "/ip4/192.0.2.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", hidden} {
		if _, err := New(Config{Listen: []string{"/ip4/127.0.0.1/tcp/0", s}, Proxy: tor.at(), OnEvent: func(Event) {}}); err != errOnlyLocal && err != errNotDialable {
			t.Errorf("behind a proxy, on %s: %v", s, err)
		}
	}
	if _, err := New(Config{Listen: []string{hidden}, OnEvent: func(Event) {}}); err != errNotDialable {
		t.Errorf("listens on an onion name: %v", err)
	}
	for _, s := range []string{"localhost:9050", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", ":9050", "0.0.0.0:9050", "[::]:9050", "[::ffff:0.0.0.0]:9050", "224.0.0.1:9050",
		"socks5://127.0.0.1:9050", "127.0.0.1:9050 ", "127.1:9050"} {
		if _, err := New(Config{Proxy: s, OnEvent: func(Event) {}}); err != errBadProxy {
			t.Errorf("proxy %q: %v", s, err)
		}
		if _, err := VisitFerry(soon(t), harbour.at("tcp"), s, nil); err != errBadProxy {
			t.Errorf("a visit by proxy %q: %v", s, err)
		}
	}
	if len(tor.requests()) != 0 || len(tor.came) != 0 {
		t.Error("the proxy was asked")
	}
	if n := moreUDP(t, udp); n != 0 {
		t.Errorf("%d udp sockets", n)
	}
}

// TestVisitByProxy: a ferry is visited through a proxy, each time by credentials of
// its own.
func TestVisitByProxy(t *testing.T) {
	noLeaks(t)
	x, tor := open(t), newTor(t)
	at, _, err := FerryAddr(x.at("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	front := newPier(t, hostPort(t, at))
	tor.onions[onion+".onion:4001"] = front.Addr().String()
	hidden := "/onion3/" + onion + ":4001"
	if a, id, err := FerryAddr(hidden + "/p2p/" + x.id); a != hidden || !bytes.Equal(id, x.ID()) || err != nil {
		t.Errorf("%s %v", a, err)
	}
	udp := udpSockets(t)
	var clients []string
	for _, to := range []string{hidden, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", front.Addr().(*net.TCPAddr).Port), hidden} {
		v, err := VisitFerry(soon(t), to+"/p2p/"+x.id, tor.at(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, ended := make(chan []byte, 1), make(chan bool)
		v.Start(func(b []byte) { got <- b }, func() { close(ended) })
		for _, n := range []int{1, MaxMessage} {
			if err := v.Send(bytes.Repeat([]byte{9}, n)); err != nil {
				t.Fatal(err)
			}
			if b := within(t, got); len(b) != n {
				t.Errorf("%d bytes came back", len(b))
			}
		}
		clients = append(clients, string(v.Client()))
		v.Close()
		within(t, ended)
		within(t, x.over)
	}
	if clients[0] == clients[2] {
		t.Error("two visits by one peer id")
	}
	asked, callers := tor.requests(), front.callers()
	apart(t, asked)
	var from []string
	for _, r := range asked {
		from = append(from, r.from)
	}
	slices.Sort(from)
	slices.Sort(callers)
	if len(asked) != 3 || asked[0].to != onion+".onion:4001" || asked[0].kind != 3 || !slices.Equal(from, callers) {
		t.Errorf("asked %d times; from %v, callers %v", len(asked), from, callers)
	}
	if n := moreUDP(t, udp); n != 0 {
		t.Errorf("%d udp sockets", n)
	}
	// Whoever answers at an onion name must have the name of the ferry too.
	if _, err := VisitFerry(soon(t), hidden+"/p2p/"+start(t, Keys{}).self.String(), tor.at(), nil); err == nil {
		t.Error("somebody else was visited")
	}
}
