package p2p

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// onion is a name as Tor gives it to a service.
const onion = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx"

// tor is a SOCKS5 proxy on loopback (RFC 1928, RFC 1929) that knows onion names.
type tor struct {
	net.Listener
	t      *testing.T
	onions map[string]string // name:port to the loopback address behind it
	// say, if not nil, answers in place of the proxy, step by step: each is sent after
	// something came. Then the connection is closed, or held open if hold is set.
	say  [][]byte
	hold bool
	// refuses, if not nil, says which requests fail, from 1.
	refuses func(n int) bool

	came  chan struct{} // one for each connection that came; with hold, when all is said
	conns sockets
	work  sync.WaitGroup

	mu    sync.Mutex
	asked []request
}

// sockets are closed at the end.
type sockets struct {
	mu  sync.Mutex
	all []net.Conn
}

func (s *sockets) keep(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, c)
}

func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		c.Close()
	}
}

// request is what one connection asked for.
type request struct {
	user, password string
	kind           byte // 1 IPv4, 3 name, 4 IPv6
	to             string
	from           string // the proxy's own end of the connection that it made
}

func newTor(t *testing.T, change ...func(*tor)) *tor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tor{Listener: l, t: t, onions: map[string]string{}, came: make(chan struct{}, 256)}
	for _, f := range change {
		f(p)
	}
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.keep(c)
			if !p.hold {
				p.came <- struct{}{}
			}
			p.work.Go(func() {
				if p.say != nil {
					p.act(c)
				} else {
					p.serve(c)
				}
			})
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *tor) at() string { return p.Addr().String() }

// stop ends it and everything that goes through it.
func (p *tor) stop() {
	p.Close()
	p.conns.close()
	p.work.Wait()
}

func (p *tor) requests() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]request(nil), p.asked...)
}

func (p *tor) act(c net.Conn) {
	for _, b := range p.say {
		if _, err := c.Read(make([]byte, 1024)); err != nil {
			break
		}
		c.Write(b)
	}
	if p.hold {
		if len(p.say) == 0 {
			c.Read(make([]byte, 1)) // the greeting has come
		}
		p.came <- struct{}{}
		io.Copy(io.Discard, c)
	}
	c.Close()
}

func (p *tor) serve(c net.Conn) {
	defer c.Close()
	r, ok := hear(c)
	if !ok {
		return
	}
	to := r.to
	if r.kind == 3 {
		to = p.onions[r.to]
	}
	out, err := net.Dial("tcp", to)
	if err == nil {
		r.from = out.LocalAddr().String()
		p.conns.keep(out)
	}
	p.mu.Lock()
	p.asked = append(p.asked, r)
	n := len(p.asked)
	p.mu.Unlock()
	if err != nil || p.refuses != nil && p.refuses(n) {
		c.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}) // host unreachable
		return
	}
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	splice(c, out)
}

// splice carries bytes both ways until one side ends.
func splice(a, b net.Conn) {
	var both sync.WaitGroup
	for _, x := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			io.Copy(x[0], x[1])
			a.Close()
			b.Close()
		})
	}
	both.Wait()
}

// hear reads greeting, user name and request. It wants user names.
func hear(c net.Conn) (r request, ok bool) {
	methods := part(c, 2, 1)
	if methods == nil || !bytes.Contains(methods, []byte{2}) {
		c.Write([]byte{5, 255})
		return r, false
	}
	c.Write([]byte{5, 2})
	r.user, r.password = string(part(c, 2, 1)), string(part(c, 1, 0))
	c.Write([]byte{1, 0})
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil || head[0] != 5 || head[1] != 1 {
		return r, false
	}
	var host string
	switch r.kind = head[3]; r.kind {
	case 3:
		host = string(part(c, 1, 0))
	default:
		ip := make(net.IP, map[byte]int{1: 4, 4: 16}[r.kind])
		io.ReadFull(c, ip)
		host = ip.String()
	}
	port := make([]byte, 2)
	_, err := io.ReadFull(c, port)
	r.to = net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port))))
	return r, err == nil
}

// part reads a head of n bytes, of which that at has the length of what follows.
func part(c net.Conn, n, at int) []byte {
	head := make([]byte, n)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil
	}
	b := make([]byte, head[at])
	if _, err := io.ReadFull(c, b); err != nil {
		return nil
	}
	return b
}

// pier is a listener in front of a host, which sees from where each connection
// comes.
type pier struct {
	net.Listener
	conns sockets

	mu   sync.Mutex
	from []string
}

func newPier(t *testing.T, to string) *pier {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pier{Listener: l}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.keep(c)
			p.mu.Lock()
			p.from = append(p.from, c.RemoteAddr().String())
			p.mu.Unlock()
			work.Go(func() {
				out, err := net.Dial("tcp", to)
				if err != nil {
					c.Close()
					return
				}
				p.conns.keep(out)
				splice(c, out)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.conns.close()
		work.Wait()
	})
	return p
}

func (p *pier) callers() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.from...)
}
