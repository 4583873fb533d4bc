package p2p

import (
	"context"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/net/ipv4"
)

// What people pay for is packets, so the headers count. For UDP they are known. For
// TCP the system makes the packets, and they are reckoned: each write, and each read
// that is not of a few bytes, is a packet for every segment, and a packet back that
// says it came; opening and closing is a packet each way twice. That is rather more
// than less (spec 60 section 9).
const (
	udpHeader = 20 + 8  // IPv4; IPv6 has 20 more
	udpLength = 1_280   // of a datagram, as QUIC fills one here: there are no path MTU probes
	tcpHeader = 20 + 32 // with time stamps
	segment   = 1_400
	few       = 64 // bytes that a reader asks for while it reads a length
	ipv6More  = 20
)

func packets(n, each int) int { return (n + each - 1) / each }

// udp is a UDP socket that counts. It has all that quic-go looks for in a socket; the
// embedded one carries it out.
type udp struct {
	*net.UDPConn
	batch *ipv4.PacketConn
	count *tally
}

// countUDP makes QUIC count at its sockets.
func countUDP(count *tally) quicreuse.Option {
	return quicreuse.OverrideListenUDP(func(network string, at *net.UDPAddr) (net.PacketConn, error) {
		c, err := net.ListenUDP(network, at)
		if err != nil || count == nil {
			return c, err
		}
		return &udp{UDPConn: c, batch: ipv4.NewPacketConn(c), count: count}, nil
	})
}

// datagrams is what some of them cost with n bytes in all.
func datagrams(some, n int, at net.Addr) int {
	header := udpHeader
	if a, ok := at.(*net.UDPAddr); ok && a.IP.To4() == nil {
		header += ipv6More
	}
	return n + some*header
}

func (c *udp) ReadBatch(list []ipv4.Message, flags int) (int, error) {
	n, err := c.batch.ReadBatch(list, flags)
	for _, m := range list[:max(n, 0)] {
		c.count.add(datagrams(1, m.N, m.Addr), 0)
	}
	return n, err
}

func (c *udp) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.UDPConn.ReadFrom(b)
	if err == nil {
		c.count.add(datagrams(1, n, from), 0)
	}
	return n, from, err
}

func (c *udp) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, from *net.UDPAddr, err error) {
	if n, oobn, flags, from, err = c.UDPConn.ReadMsgUDP(b, oob); err == nil {
		c.count.add(datagrams(1, n, from), 0)
	}
	return n, oobn, flags, from, err
}

func (c *udp) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.UDPConn.WriteTo(b, to)
	if err == nil {
		c.count.add(0, datagrams(packets(n, udpLength), n, to))
	}
	return n, err
}

func (c *udp) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if n, oobn, err = c.UDPConn.WriteMsgUDP(b, oob, to); err == nil {
		c.count.add(0, datagrams(packets(n, udpLength), n, to))
	}
	return n, oobn, err
}

// counting is an upgrader whose connections count.
type counting struct {
	tpt.Upgrader
	count *tally
}

func countTCP(up tpt.Upgrader, count *tally) tpt.Upgrader {
	if count == nil {
		return up
	}
	return counting{up, count}
}

func (u counting) Upgrade(ctx context.Context, t tpt.Transport, c manet.Conn, dir network.Direction, p peer.ID, scope network.ConnManagementScope) (tpt.CapableConn, error) {
	return u.Upgrader.Upgrade(ctx, t, u.count.conn(c, false), dir, p, scope)
}

func (u counting) GateMaListener(l manet.Listener) tpt.GatedMaListener {
	return u.Upgrader.GateMaListener(countedListener{l, u.count})
}

type countedListener struct {
	manet.Listener
	count *tally
}

func (l countedListener) Accept() (manet.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.count.conn(c, true), nil
}

// stream is a TCP connection that counts.
type stream struct {
	manet.Conn
	count  *tally
	header int
}

// conn makes c count. What goes through a relay is counted on the way to the relay.
func (t *tally) conn(c manet.Conn, accepted bool) manet.Conn {
	if _, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT); t == nil || err == nil {
		return c
	}
	// yamux says that it lives, twice a minute. That the system does so too would
	// cost as much again, unseen.
	if k, ok := c.(interface{ SetKeepAlive(bool) error }); ok {
		_ = k.SetKeepAlive(false)
	}
	s := &stream{Conn: c, count: t, header: tcpHeader}
	if _, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_IP6); err == nil {
		s.header += ipv6More
	}
	in, out := 2*s.header, 2*s.header
	if !accepted {
		out += s.header
	} else {
		in += s.header
	}
	t.add(in, out)
	return s
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.count.add(n, 0)
		if len(b) > few {
			s.count.add(packets(n, segment)*s.header, s.header)
		}
	}
	return n, err
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if n > 0 {
		s.count.add(s.header, n+packets(n, segment)*s.header)
	}
	return n, err
}

// SetLinger is what libp2p looks for in a TCP connection, and embedding hides.
func (s *stream) SetLinger(seconds int) error {
	if l, ok := s.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(seconds)
	}
	return nil
}

// SetKeepAlive and SetKeepAlivePeriod leave the system's keep-alives off.
func (s *stream) SetKeepAlive(bool) error { return nil }

// SetKeepAlivePeriod is said at SetKeepAlive.
func (s *stream) SetKeepAlivePeriod(time.Duration) error { return nil }
