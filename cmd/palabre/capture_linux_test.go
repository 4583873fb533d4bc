package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// maxCaptured bounds what is kept of the traffic, in bytes.
const maxCaptured = 512 << 20

// flow is one direction between two ports.
type flow struct {
	protocol string // "tcp" or "udp"
	from, to uint16
}

// capture is what crosses an interface, of all programs.
type capture struct {
	fd   int
	done chan struct{}
	mu   sync.Mutex
	all  map[flow][]byte // payloads, one after the other
	size int
	full bool
	end  bool
}

// listenIn captures the traffic on loopback from now on. It needs the right to
// open a raw socket: without it the test goes on without a capture and says so,
// but where CI is set that is a failure.
func listenIn(t *testing.T) *capture {
	t.Helper()
	c, err := openCapture("lo")
	if err != nil {
		if !errors.Is(err, unix.EPERM) || os.Getenv("CI") == "true" {
			t.Fatalf("capture loopback traffic: %v", err)
		}
		t.Logf("loopback traffic is not looked at: %v (run as root)", err)
		return nil
	}
	t.Cleanup(c.stop)
	return c
}

func openCapture(on string) (*capture, error) {
	at, err := net.InterfaceByName(on)
	if err != nil {
		return nil, err
	}
	everything := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(everything))
	if err != nil {
		return nil, err
	}
	// Without room packets are lost while the reader waits for a processor.
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 128<<20); err != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 128<<20)
	}
	err = errors.Join(err, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: at.Index}))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	c := &capture{fd: fd, done: make(chan struct{}), all: map[flow][]byte{}}
	go c.read()
	return c, nil
}

func (c *capture) read() {
	defer close(c.done)
	packet := make([]byte, 1<<17)
	for {
		n, from, err := unix.Recvfrom(c.fd, packet, 0)
		c.mu.Lock()
		end := c.end
		c.mu.Unlock()
		switch {
		case errors.Is(err, unix.EAGAIN) && end:
			return
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		}
		// Loopback shows each packet twice, as it leaves and as it comes.
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if f, payload, ok := parsePacket(packet[:n]); ok {
			c.keep(f, payload)
		}
	}
}

func (c *capture) keep(f flow, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size+len(payload) > maxCaptured {
		c.full = true
		return
	}
	c.size += len(payload)
	c.all[f] = append(c.all[f], payload...)
}

// parsePacket reads an Ethernet frame with IPv4 or IPv6 and TCP or UDP inside.
func parsePacket(b []byte) (f flow, payload []byte, ok bool) {
	if len(b) < 14+20 {
		return f, nil, false
	}
	var inner byte
	kind := binary.BigEndian.Uint16(b[12:])
	switch b = b[14:]; kind {
	case unix.ETH_P_IP:
		size, whole := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if whole == 0 { // left out where the network card would cut it up
			whole = len(b)
		}
		if size < 20 || whole < size || whole > len(b) {
			return f, nil, false
		}
		inner, b = b[9], b[size:whole]
	case unix.ETH_P_IPV6:
		if len(b) < 40 {
			return f, nil, false
		}
		inner, b = b[6], b[40:]
	default:
		return f, nil, false
	}
	header := 8
	switch {
	case inner == unix.IPPROTO_TCP && len(b) >= 20:
		f.protocol, header = "tcp", int(b[12]>>4)*4
	case inner == unix.IPPROTO_UDP && len(b) >= 8:
		f.protocol = "udp"
	default:
		return f, nil, false
	}
	if header > len(b) {
		return f, nil, false
	}
	f.from, f.to = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return f, b[header:], true
}

// stop ends the capture once everything that was sent before has been read.
func (c *capture) stop() {
	c.mu.Lock()
	again := c.end
	c.end = true
	c.mu.Unlock()
	<-c.done
	if !again {
		unix.Close(c.fd)
	}
}

// finish stops the capture and returns the traffic. It fails the test if any of
// it was missed.
func (c *capture) finish(t *testing.T) map[flow][]byte {
	t.Helper()
	c.mu.Lock()
	c.end = true
	c.mu.Unlock()
	<-c.done
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	must(t, err)
	unix.Close(c.fd)
	if stats.Drops > 0 || c.full {
		t.Errorf("%d of %d packets were missed, or more came than is kept (%t)", stats.Drops, stats.Packets, c.full)
	}
	return c.all
}

// plant sends a text over loopback.
func plant(t *testing.T, text []byte) {
	t.Helper()
	to, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer to.Close()
	from, err := net.Dial("udp", to.LocalAddr().String())
	must(t, err)
	defer from.Close()
	_, err = from.Write(text)
	must(t, err)
	must(t, to.SetReadDeadline(time.Now().Add(patience)))
	_, _, err = to.ReadFrom(make([]byte, len(text)))
	must(t, err)
}
