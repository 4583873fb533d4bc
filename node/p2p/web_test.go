package p2p

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	socket "golang.org/x/net/websocket"
)

const letters = "letters.palabre.example" // a name that only tests know

// authority vouches for names, and is trusted for one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	one := a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)})
	a.key = one.PrivateKey.(*ecdsa.PrivateKey)
	a.cert, _ = x509.ParseCertificate(one.Certificate[0])
	webRoots = x509.NewCertPool()
	webRoots.AddCert(a.cert)
	t.Cleanup(func() { webRoots = nil })
	return a
}

func (a *authority) sign(c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	by, with := c, key
	if a.cert != nil {
		by, with = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), with)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) name(name string, until time.Time) tls.Certificate {
	return a.sign(&x509.Certificate{DNSNames: []string{name}, NotAfter: until})
}

// openWebFerry is a ferry with the web road alone.
func openWebFerry(t *testing.T, listen string, cert tls.Certificate) *harbour {
	t.Helper()
	return open(t, func(c *FerryConfig) { c.Listen, c.Certificate = []string{listen}, &cert })
}

func (x *harbour) port() int {
	a, _, err := parseFerryAddr(x.Addrs()[0])
	if err != nil {
		x.t.Fatal(err)
	}
	var port int
	fmt.Sscan(a[1].Value(), &port)
	return port
}

// visit goes there and back with messages of all sizes.
func visit(t *testing.T, x *harbour, addr, proxy string) error {
	t.Helper()
	var traffic Traffic
	v, err := VisitFerry(soon(t), addr, proxy, &traffic)
	if err != nil {
		return err
	}
	got, ended := make(chan []byte, 16), make(chan bool)
	v.Start(func(b []byte) { got <- b }, func() { close(ended) })
	for n := 1; n <= MaxMessage; n = n*9 + 1 {
		if err := v.Send(bytes.Repeat([]byte{byte(n)}, n)); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= MaxMessage; n = n*9 + 1 {
		if b := within(t, got); len(b) != n || b[0] != byte(n) {
			t.Errorf("%d bytes came back, want %d", len(b), n)
		}
	}
	v.Close()
	within(t, ended)
	within(t, x.over)
	if c := traffic.Totals()[Carriers]; c.In < MaxMessage/2 || c.Out < MaxMessage/2 {
		t.Errorf("the visit counts as %+v", c)
	}
	return nil
}

// eavesdropper sits before a ferry and keeps what goes through.
type eavesdropper struct {
	mu   sync.Mutex
	said []byte
}

func (e *eavesdropper) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, b...)
	return len(b), nil
}

func (e *eavesdropper) before(t *testing.T, to int) (port int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() { l.Close(); work.Wait() })
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", to))
			if err != nil {
				c.Close()
				return
			}
			work.Go(func() { io.Copy(io.MultiWriter(out, e), c); out.Close() })
			work.Go(func() { io.Copy(io.MultiWriter(c, e), out); c.Close() })
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// A visit by IP address, to a certificate that nobody vouches for. On the way it is TLS,
// in which nothing says what is inside.
func TestVisitByWeb(t *testing.T) {
	noLeaks(t)
	cert := (&authority{t: t}).name("whatever", time.Now().Add(time.Hour))
	x := openWebFerry(t, "/ip4/127.0.0.1/tcp/0/tls/ws", cert)
	e := &eavesdropper{}
	at := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/tls/ws/p2p/%s", e.before(t, x.port()), x.id)
	if err := visit(t, x, at, ""); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.said) < MaxMessage || !bytes.HasPrefix(e.said, []byte{22, 3, 1}) || !bytes.Contains(e.said, []byte("http/1.1")) {
		t.Errorf("%d bytes that begin with %x", len(e.said), e.said[:min(8, len(e.said))])
	}
	for _, telling := range []string{"multistream", "noise", "libp2p", "yamux", "ferry", "palabre", "12D3", x.id, string(x.self)} {
		if bytes.Contains(e.said, []byte(telling)) {
			t.Errorf("%q is said in the clear", telling)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.came) != 1 || x.came[0].from.String() != "127.0.0.1" {
		t.Errorf("%v came", x.came)
	}
	if err := visit(t, x, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/tls/ws/p2p/%s", x.port(), start(t, Keys{}).self), ""); err == nil {
		t.Error("another ferry was taken for the one that was named")
	}
}

// A ferry that has a name is dialled by it. The certificate must be one that is trusted,
// for this name, and not over; nothing is said inside before that. The resolver is asked
// for the name and for nothing else.
func TestVisitByName(t *testing.T) {
	ca, dns := newAuthority(t), newNames(t)
	stranger := &authority{t: t}
	soonOver := time.Now().Add(time.Hour)
	for what, c := range map[string]struct {
		cert tls.Certificate
		good bool
	}{
		"trusted":      {ca.name(letters, soonOver), true},
		"another name": {ca.name("other.palabre.example", soonOver), false},
		"over":         {ca.name(letters, time.Now().Add(-time.Hour)), false},
		"self-signed":  {stranger.name(letters, soonOver), false},
	} {
		t.Run(what, func(t *testing.T) {
			x := openWebFerry(t, "/ip4/127.0.0.1/tcp/0/tls/ws", c.cert)
			at := fmt.Sprintf("/dns4/%s/tcp/%d/tls/ws/p2p/%s", letters, x.port(), x.id)
			if err := visit(t, x, at, ""); (err == nil) != c.good {
				t.Errorf("visited: %v", err)
			}
			if asked := dns.take(); !slices.Equal(asked, []string{letters + ". TypeA"}) {
				t.Errorf("the resolver was asked for %q", asked)
			}
		})
	}
}

// Through a proxy the proxy is asked for the name, and no resolver is.
func TestVisitByNameThroughAProxy(t *testing.T) {
	noLeaks(t)
	ca, dns, tor := newAuthority(t), newNames(t), newTor(t)
	x := openWebFerry(t, "/ip4/127.0.0.1/tcp/0/tls/ws", ca.name(letters, time.Now().Add(time.Hour)))
	tor.onions[letters+":443"] = fmt.Sprintf("127.0.0.1:%d", x.port())
	udp := udpSockets(t)
	for range 2 {
		if err := visit(t, x, "/dns4/"+letters+"/tcp/443/tls/ws/p2p/"+x.id, tor.at()); err != nil {
			t.Fatal(err)
		}
	}
	asked := tor.requests()
	apart(t, asked)
	if len(asked) != 2 || asked[0].kind != 3 || asked[0].to != letters+":443" {
		t.Errorf("the proxy was asked for %+v", asked)
	}
	if asked := dns.take(); len(asked) > 0 || moreUDP(t, udp) > 0 {
		t.Errorf("the resolver was asked for %q", asked)
	}
	tor.stop()
	if _, err := VisitFerry(soon(t), "/dns4/"+letters+"/tcp/443/tls/ws/p2p/"+x.id, tor.at(), nil); err != ErrProxy {
		t.Errorf("without the proxy: %v", err)
	}
	if asked := dns.take(); len(asked) > 0 {
		t.Errorf("without the proxy the resolver was asked for %q", asked)
	}
}

// What goes is marked as bytes: as text, somebody in between may refuse it.
func TestWebFramesAreBinary(t *testing.T) {
	kind := make(chan byte, 1)
	page := httptest.NewTLSServer(socket.Handler(func(c *socket.Conn) {
		if f, err := c.NewFrameReader(); err == nil {
			kind <- f.PayloadType()
		}
	}))
	defer page.Close()
	c, err := net.Dial("tcp", page.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w, err := openWeb(soon(t), c, ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/tls/ws", c.RemoteAddr().(*net.TCPAddr).Port)))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Write([]byte{0xff})
	if k := within(t, kind); k != socket.BinaryFrame {
		t.Errorf("frames of kind %d", k)
	}
}

// Whoever answers cannot make a phone read without end before the road is open.
func TestEndlessHead(t *testing.T) {
	cert := (&authority{t: t}).name("whatever", time.Now().Add(time.Hour))
	for what, head := range map[string]string{"a line": "HTTP/1.1 101 " + strings.Repeat("x", 1<<10), "many lines": "HTTP/1.1 101 Switching\r\n"} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		said := make(chan int, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				said <- 0
				return
			}
			defer c.Close()
			n, _ := io.WriteString(c, head)
			for err == nil {
				var k int
				k, err = io.WriteString(c, "X-Header: and so on, and so on\r\n")
				n += k
			}
			said <- n
		}()
		at := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/tls/ws/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp", l.Addr().(*net.TCPAddr).Port)
		if _, err := VisitFerry(soon(t), at, "", nil); err == nil || t.Context().Err() != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := within(t, said); n > 16<<20 {
			t.Errorf("%s: %d bytes were taken", what, n)
		}
		l.Close()
	}
	s := &shortHead{Conn: endless{}, left: maxHead}
	if n, err := io.Copy(io.Discard, s); n != maxHead || err != errHead {
		t.Errorf("%d bytes are read, then %v", n, err)
	}
}

type endless struct{ net.Conn }

func (endless) Read(b []byte) (int, error) { return min(len(b), 1000), nil }

// Who asks for anything else at the web road finds nothing, and no compression is
// agreed on.
func TestWebRoadServesNothingElse(t *testing.T) {
	cert := (&authority{t: t}).name("whatever", time.Now().Add(time.Hour))
	x := openWebFerry(t, "/ip4/127.0.0.1/tcp/0/tls/ws", cert)
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	for what, c := range map[string]struct{ head, begins, lacks string }{
		"a page":         {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 ", "libp2p"},
		"another method": {"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 ", "libp2p"},
		"a long head":    {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 ", "libp2p"},
		"compression": {"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" + upgrade + "\r\n",
			"HTTP/1.1 101 ", "deflate"},
	} {
		c2, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", x.port()), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		if p := c2.ConnectionState().NegotiatedProtocol; p == "h2" {
			t.Errorf("%s: %s is spoken", what, p)
		}
		c2.SetDeadline(time.Now().Add(patience))
		go io.WriteString(c2, c.head)
		got := make([]byte, 0, 4096)
		for !bytes.Contains(got, []byte("\r\n\r\n")) {
			b := make([]byte, 1024)
			n, err := c2.Read(b)
			if got = append(got, b[:n]...); err != nil {
				break
			}
		}
		if !strings.HasPrefix(string(got), c.begins) || strings.Contains(string(got), c.lacks) {
			t.Errorf("%s: %q", what, got)
		}
		if c.begins != "HTTP/1.1 101 " {
			if _, err := io.Copy(io.Discard, c2); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s: the connection stays", what)
			}
		}
		c2.Close()
	}
}

func TestWebAddresses(t *testing.T) {
	cert := (&authority{t: t}).name(letters, time.Now().Add(time.Hour))
	for _, good := range []string{"/ip4/192.0.2.1/tcp/443/tls/ws", "/ip6/2001:db8::1/tcp/443/tls/ws", "/dns4/a.example/tcp/443/tls/ws",
		"/dns6/xn--a-b.example/tcp/1/tls/ws", "/dns/a-1.b.example/tcp/443/tls/ws"} {
		if a, id, err := FerryAddr(good + "/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"); err != nil || a != good || len(id) == 0 || CheckListen(good) != nil {
			t.Errorf("%s: %v", good, err)
		}
		if _, err := New(Config{Listen: []string{good}, OnEvent: func(Event) {}}); err == nil {
			t.Errorf("a phone listens at %s", good)
		}
	}
	a := start(t, keys(key("k", Member)))
	for _, bad := range []string{"/dns4/a.example/tcp/443", "/dns4/a.example/tcp/443/ws", "/dns4/a.example/tcp/443/wss", "/dns4/localhost/tcp/443/tls/ws",
		"/dns4/A.example/tcp/443/tls/ws", "/dns4/127.0.0.1/tcp/443/tls/ws", "/dns4/a..example/tcp/443/tls/ws", "/dns4/-a.example/tcp/443/tls/ws",
		"/dns4/a.0x7f/tcp/443/tls/ws", "/dns4/a_b.example/tcp/443/tls/ws", "/dns4/a.example/udp/443/tls/ws", "/dnsaddr/a.example/tcp/443/tls/ws",
		"/dns4/a.example/tcp/443/tls/sni/b.example/ws", "/ip4/192.0.2.1/tcp/443/tls/ws/p2p-circuit", "/onion3/" + onion + ":443/tls/ws",
		"/dns4/" + strings.Repeat("a.", 60) + "example/tcp/443/tls/ws", "/dns4/a.example/tcp/0443/tls/ws"} {
		if WebAddr(bad) || CheckListen(bad) == nil {
			t.Errorf("%s is taken", bad)
		}
		if _, err := a.dial(bad); err != errNotDialable {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := a.dial("/dns4/a.example/tcp/443/tls/ws"); err != errNotDialable {
		t.Errorf("a phone is dialled by name: %v", err)
	}
	if _, err := NewFerry(FerryConfig{Listen: []string{"/ip4/127.0.0.1/tcp/0/tls/ws"}, OnSession: (&harbour{}).serve}); err != errNoCertificate {
		t.Errorf("without a certificate: %v", err)
	}
	listen, named, err := webListen("/dns4/"+letters+"/tcp/443/tls/ws", &cert)
	if err != nil || !listen.Equal(ma.StringCast("/ip4/0.0.0.0/tcp/443/tls/ws")) || named.String() != "/dns4/"+letters+"/tcp/443/tls/ws" {
		t.Errorf("it listens at %v as %v: %v", listen, named, err)
	}
	// A name is what is told, in place of the machine's addresses.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("/dns4/%s/tcp/%d/tls/ws", letters, free.Addr().(*net.TCPAddr).Port)
	free.Close()
	x := openWebFerry(t, at, cert)
	if got := x.Addrs(); !slices.Equal(got, []string{at + "/p2p/" + x.id}) {
		t.Errorf("it is at %q", got)
	}
}
