package p2p

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
)

// What reads as a frame is written as the same bytes.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 7})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(Frame(make([]byte, MaxMessage)))
	f.Fuzz(func(t *testing.T, x []byte) {
		r := bytes.NewReader(x)
		data, err := ReadFrame(r)
		if err != nil {
			return
		}
		if used := x[:len(x)-r.Len()]; !bytes.Equal(Frame(data), used) {
			t.Fatalf("%x became %x", used, Frame(data))
		}
	})
}

// What decodes as a hint encodes to the same bytes.
func FuzzHint(f *testing.F) {
	f.Add(encodeHint(salt{1}, [][32]byte{{2}, {3}}))
	f.Add(encodeHint(salt{}, make([][32]byte, MaxHints)))
	f.Add(make([]byte, maxHint+hintSize))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, x []byte) {
		s, ids, err := decodeHint(x)
		if err != nil {
			return
		}
		if len(ids) < 1 || len(ids) > MaxHints || !bytes.Equal(encodeHint(s, ids), x) {
			t.Fatalf("%x did not come back", x)
		}
	})
}

// What is taken as an address is written as one that means the same, has one way to
// be dialled, and names nothing that a resolver would be asked for.
func FuzzAddr(f *testing.F) {
	id := "/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
	for _, s := range []string{"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/65535", "/ip4/192.0.2.1/udp/4001/quic-v1", "/onion3/" + onion + ":4001",
		"/onion3/" + strings.ToUpper(onion) + ":1", "/onion3/" + onion + ":0", "/onion3/" + onion + ":1/tcp/1", "/dns4/a.example/tcp/1",
		"/dns4/a.example/tcp/443/tls/ws", "/dns/a.example/tcp/1/tls/ws", "/ip6/::1/tcp/443/tls/ws", "/dns6/A.example/tcp/443/wss", ""} {
		f.Add(s)
		f.Add(s + id)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, p, err := parseFerryAddr(s); err == nil {
			if again, q, err := parseFerryAddr(a.String() + "/p2p/" + p.String()); err != nil || !again.Equal(a) || p != q {
				t.Fatalf("%q became %s", s, a)
			}
			if name, ok := nameOf(a); isWeb(a) && ok && (net.ParseIP(name) != nil || strings.ToLower(name) != name || !strings.Contains(name, ".")) {
				t.Fatalf("%q has the name %q", s, name)
			}
		}
		a, err := parseAddr(s)
		if err != nil {
			return
		}
		if again, err := parseAddr(a.String()); err != nil || !again.Equal(a) {
			t.Fatalf("%q became %s: %v", s, a, err)
		}
		direct, through := (*socks)(nil).carries(a), (&socks{}).carries(a)
		if (direct == ErrNeedsProxy) != isOnion(a) || (through == ErrNotByProxy) != isQUIC(a) || isOnion(a) && isQUIC(a) {
			t.Fatalf("%s: directly %v, through a proxy %v", a, direct, through)
		}
		if through != nil {
			return
		}
		to, err := socksName(a)
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		host, _, err := net.SplitHostPort(to)
		name, hidden := strings.CutSuffix(host, ".onion")
		if err != nil || hidden != isOnion(a) || hidden && len(name) != len(onion) || !hidden && net.ParseIP(host) == nil {
			t.Fatalf("%s is asked for as %s", a, to)
		}
	})
}

// What is taken as a proxy is an address that no resolver is asked for.
func FuzzProxyAddr(f *testing.F) {
	for _, s := range []string{"127.0.0.1:9050", "[::1]:9150", "[::ffff:127.0.0.1]:1", "localhost:1", "127.0.0.1:0", ":1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := newSocks(s)
		if err != nil || p == nil {
			return
		}
		if again, err := newSocks(p.at.String()); err != nil || *again != *p {
			t.Fatalf("%q became %s", s, p.at)
		}
		if host, _, err := net.SplitHostPort(p.at.String()); err != nil || p.at.Addr().Zone() == "" && net.ParseIP(host) == nil {
			t.Fatalf("%q is dialled as %s", s, p.at)
		}
	})
}

// Only one opening of a proxy is taken, and nothing of what comes after it is lost.
func FuzzProxySays(f *testing.F) {
	yes := []byte{5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	f.Add(append(yes, "more"...))
	f.Add(yes[:5])
	f.Add([]byte{5, 2, 1, 0, 5, 0, 0, 3, 255})
	f.Add([]byte{5, 2, 1, 0, 5, 0, 0, 3, 1, 'x', 0, 0, 'y'})
	f.Add([]byte{5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	p, err := newSocks(l.Addr().String())
	if err != nil {
		f.Fatal(err)
	}
	to := ma.StringCast("/onion3/" + onion + ":4001")
	f.Fuzz(func(t *testing.T, says []byte) {
		over := make(chan struct{})
		go func() {
			defer close(over)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Write(says)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, err := p.dial(ctx, to)
		head := []byte{5, 2, 1, 0, 5, 0, 0}
		if err == nil {
			if !bytes.HasPrefix(says, head) {
				t.Fatalf("%x was taken", says)
			}
			c.SetDeadline(time.Now().Add(patience))
			rest, err := io.ReadAll(c)
			if err != nil || !bytes.HasSuffix(says, rest) {
				t.Fatalf("after %x came %x: %v", says, rest, err)
			}
			if n, ok := answerLen(says); !ok || len(rest) != len(says)-n {
				t.Fatalf("%d bytes are left of %x", len(rest), says)
			}
			c.Close()
		} else if _, ok := answerLen(says); ok || ctx.Err() != nil {
			t.Fatalf("%x was not taken: %v", says, err)
		} else if want := bytes.HasPrefix(says, head[:4]); (err == errNoAnswer) != want || (err == ErrProxy) == want {
			t.Fatalf("%x: %v", says, err)
		}
		<-over
	})
}

// answerLen is how many bytes a proxy says before the way is open, if b opens it.
func answerLen(b []byte) (n int, ok bool) {
	if len(b) < 8 || !bytes.HasPrefix(b, []byte{5, 2, 1, 0, 5, 0, 0}) {
		return 0, false
	}
	switch b[7] {
	case 1:
		n = 8 + 4 + 2
	case 4:
		n = 8 + 16 + 2
	case 3:
		if len(b) < 9 {
			return 0, false
		}
		n = 9 + int(b[8]) + 2
	default:
		return 0, false
	}
	return n, len(b) >= n
}
