package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// hello is what a TCP listener may say first: that it chooses protocols (spec 60
// section 7). Each message has its length in front.
var hello = offer("/multistream/1.0.0")

// offer is one message of that choice.
func offer(protocol string) []byte { return append([]byte{byte(len(protocol) + 1)}, protocol+"\n"...) }

// tells are words that would tell an outsider what runs here.
var tells = canaries{}

func init() {
	for _, w := range []string{"meshsub", "floodsub", "identify", "ipfs", "palabre", "Palabre", "libp2p", "yamux", "mplex", "relay", "kad", "ping", "go-libp2p", "PRIVATE", "Awa", "voisins"} {
		tells[w] = []byte(w)
	}
}

// An outsider that dials a running node learns that a handshake is spoken there
// and nothing else: no name of a protocol, no agent, no group. The handshakes'
// inside is looked at in package p2p.
func TestOutsiderLearnsNothing(t *testing.T) {
	t.Parallel()
	awa := someone(t, place(t), "Awa")
	must(t, awa.on(onTCP, onQUIC))
	newGroup(t, "all", awa)
	must(t, awa.off())
	must(t, awa.on(onTCP, onQUIC))
	at := map[string]string{}
	for _, a := range awa.addrs {
		protocol, port := portOf(t, a)
		at[protocol] = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	}
	if at["tcp"] == "" || at["udp"] == "" {
		t.Fatalf("the node listens on %v", awa.addrs)
	}
	noise, na := offer("/noise"), offer("na")
	greeting := append([]byte{0, 32}, bytes.Repeat([]byte("J"), 32)...) // a first message of the handshake: length, a point
	cases := []struct {
		name string
		send [][]byte
		may  [][]byte // all that may come back, in this order; any of it may be missing at the end
		got  []byte
		err  error
	}{
		{name: "silence", may: [][]byte{hello}},
		{name: "a web browser", send: [][]byte{[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")}, may: [][]byte{hello}},
		{name: "a list of protocols", send: [][]byte{hello, offer("ls")}, may: [][]byte{hello, na}},
		{name: "names of protocols", send: [][]byte{hello, offer("/meshsub/1.3.0"), offer("/ipfs/id/1.0.0"), offer("/yamux/1.0.0"),
			offer("/plaintext/2.0.0"), offer("/tls/1.0.0")}, may: [][]byte{hello, na, na, na, na, na}},
		{name: "a short handshake", send: [][]byte{hello, noise, {0, 5}, []byte("short")}, may: [][]byte{hello, noise}},
		{name: "a handshake of zeros", send: [][]byte{hello, noise, make([]byte, 4096)}, may: [][]byte{hello, noise}},
		{name: "a huge name", send: [][]byte{hello, {0xff, 0xff, 0xff, 0xff, 0x0f}, make([]byte, 70_000)}, may: [][]byte{hello}},
		{name: "half a handshake", send: [][]byte{hello, noise, greeting}, may: [][]byte{hello, noise}},
	}
	var all sync.WaitGroup
	for i := range cases {
		c := &cases[i]
		all.Go(func() { c.got, c.err = knock(at["tcp"], c.send) })
	}
	all.Wait()
	for _, c := range cases {
		if c.err != nil {
			t.Errorf("TCP, %s: %v", c.name, c.err)
		}
		tells.absent(t, "TCP, "+c.name, c.got)
		may := bytes.Join(c.may, nil)
		if c.name == "half a handshake" {
			// One message of the handshake comes, sealed: the one that bears the peer ID.
			rest, ok := bytes.CutPrefix(c.got, may)
			if !ok || len(rest) < 2 || len(rest) > 400 || int(binary.BigEndian.Uint16(rest)) != len(rest)-2 {
				t.Errorf("TCP, %s: the node sent %q", c.name, c.got)
			}
			continue
		}
		if !bytes.HasPrefix(may, c.got) {
			t.Errorf("TCP, %s: the node sent %q", c.name, c.got)
		}
	}

	udp, err := net.Dial("udp", at["udp"])
	must(t, err)
	defer udp.Close()
	version := []byte{0x1a, 0x2a, 0x3a, 0x4a} // reserved, to make a peer say which it speaks (RFC 9000 section 15)
	long := append(append([]byte{0xc0}, version...), 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1)
	long = append(long, make([]byte, 1200-len(long))...)
	for _, d := range [][]byte{[]byte("hello"), bytes.Repeat([]byte{0xff}, 1200), long[:100]} {
		_, err := udp.Write(d)
		must(t, err)
	}
	_, err = udp.Write(long)
	must(t, err)
	// One answer comes, to the last; what came to the others would come before.
	answer := make([]byte, 2048)
	must(t, udp.SetReadDeadline(time.Now().Add(patience)))
	n, err := udp.Read(answer)
	must(t, err)
	answer = answer[:n]
	tells.absent(t, "QUIC", answer)
	// Version negotiation (RFC 9000 section 17.2.1): version 0, both ids, versions.
	if n < 23 || answer[0]&0x80 == 0 || !bytes.Equal(answer[1:5], make([]byte, 4)) || (n-23)%4 != 0 {
		t.Fatalf("the answer is no list of versions: %x", answer)
	}
	for v := answer[23:]; len(v) > 0; v = v[4:] {
		switch x := binary.BigEndian.Uint32(v); {
		case x == 1, x == 0x6b3343cf: // QUIC 1 and 2
		case x&0x0f0f0f0f == 0x0a0a0a0a: // reserved: means nothing
		default:
			t.Errorf("QUIC version %x is spoken", x)
		}
	}
}

// knock sends something to a TCP port and returns what comes until the other
// side closes, which it must in time.
func knock(addr string, send [][]byte) ([]byte, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	for _, b := range send {
		if _, err := c.Write(b); err != nil {
			break // closed already
		}
	}
	got, err := io.ReadAll(io.LimitReader(c, 1<<20))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return got, fmt.Errorf("the node keeps a stranger's connection open for %v", patience)
	}
	return got, nil // closed or reset: as good
}
