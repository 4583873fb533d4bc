package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// loopback sees the packets on loopback.
type loopback struct {
	fd   int
	port uint16 // of the side whose traffic is wanted
	done chan struct{}

	mu   sync.Mutex
	seen Volume
	mark chan struct{} // closed when the packet that marks the end came
	end  uint16        // its port
}

// watchLoopback counts what goes to and from a port, as IP packets. It needs the right
// to open a raw socket, which CI has.
func watchLoopback(t *testing.T, port uint16) *loopback {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("loopback traffic cannot be looked at: %v (run as root)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: lo.Index}); err != nil {
		t.Fatal(err)
	}
	w := &loopback{fd: fd, port: port, done: make(chan struct{}), mark: make(chan struct{})}
	go w.read()
	return w
}

func (w *loopback) read() {
	defer close(w.done)
	b := make([]byte, 1<<17)
	for {
		n, from, err := unix.Recvfrom(w.fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		// Loopback shows each packet twice.
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING || n < 14+28 || b[14]>>4 != 4 {
			continue
		}
		ip := b[14:n]
		inner := ip[int(ip[0]&15)*4:]
		src, dst := binary.BigEndian.Uint16(inner), binary.BigEndian.Uint16(inner[2:])
		w.mu.Lock()
		switch w.port {
		case src:
			w.seen.Out += int64(len(ip))
		case dst:
			w.seen.In += int64(len(ip))
		}
		end := w.end != 0 && dst == w.end
		w.mu.Unlock()
		if end {
			close(w.mark)
			return
		}
	}
}

// stop returns what was seen, once a packet that is sent now was.
func (w *loopback) stop(t *testing.T) Volume {
	t.Helper()
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	w.mu.Lock()
	w.end = uint16(to.LocalAddr().(*net.UDPAddr).Port)
	w.mu.Unlock()
	if _, err := to.WriteTo([]byte("end"), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	<-w.mark
	<-w.done
	unix.Close(w.fd)
	return w.seen
}

// What is counted is what the network carries: exactly with QUIC; with TCP, whose
// packets the system makes, at most a little less and at most a third more.
func TestTrafficIsWhatTheNetworkCarries(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			var ta, tb Traffic
			a, b := start(t, keys(key("k", Member)), counted(&ta)), start(t, keys(key("k", Member)), counted(&tb))
			var port uint16
			if _, err := fmt.Sscanf(a.addr(kind), map[string]string{"quic": "/ip4/127.0.0.1/udp/%d/quic-v1", "tcp": "/ip4/127.0.0.1/tcp/%d"}[kind], &port); err != nil {
				t.Fatal(err)
			}
			w := watchLoopback(t, port)
			lb := b.mustDial(a.addr(kind))
			la := find(a, anyUp).Link
			a.untilHints(b)
			b.untilHints(a)
			for i := range 20 {
				ask, answer := fmt.Appendf(nil, "comparing %d", i), fmt.Appendf(nil, "letter %01000d", i)
				if err := b.Send(lb, ask); err != nil {
					t.Fatal(err)
				}
				a.said(ask)
				if err := a.Send(la, answer); err != nil {
					t.Fatal(err)
				}
				b.said(answer)
			}
			b.CloseLink(lb)
			find(a, func(LinkDown) bool { return true })
			find(b, func(LinkDown) bool { return true })
			a.Close()
			b.Close()
			seen := w.stop(t)
			sum := func(x Totals) (v Volume) {
				for _, p := range x {
					v.In += p.In
					v.Out += p.Out
				}
				return v
			}
			one, other := sum(ta.Totals()), sum(tb.Totals())
			t.Logf("seen %+v; counted where it was called %+v, where it called %+v", seen, one, other)
			near := func(got, want int64) bool {
				if kind == "quic" {
					return got == want
				}
				return got >= want*19/20 && got <= want*4/3
			}
			if !near(one.In, seen.In) || !near(one.Out, seen.Out) || !near(other.In, seen.Out) || !near(other.Out, seen.In) {
				t.Errorf("%s: the network carried %+v; counted were %+v and %+v", kind, seen, one, other)
			}
		})
	}
}
