package p2p

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	identifypb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
)

// Row 12 of spec 95 at the port for neighbours: the flood of TestFloodOfRawSockets.
func TestFloodOfTheNearPort(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	near := v.near()
	grown := flood(t, near, plainJunk)
	friend := start(t, keys(key("k", Member)))
	l := again(t, "near", func() (LinkID, error) { return friend.DialNear(soon(t), near) })
	if err := friend.Send(l, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	find(v, func(m Message) bool { return string(m.Data) == "hello" })
	grown()
}

// Row 12 at a ferry, on TCP and on the web road: there the junk comes before TLS, or
// inside it, where a request is waited for. A phone that comes again is served.
func TestFloodOfAFerry(t *testing.T) {
	inTLS := func(c net.Conn) net.Conn {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	cert := (&authority{t: t}).name("whatever", time.Now().Add(time.Hour))
	for what, wrap := range map[string]func(net.Conn) net.Conn{"tcp": plainJunk, "web": plainJunk, "web, in TLS": inTLS} {
		t.Run(what, func(t *testing.T) {
			x := open(t)
			at := x.at("tcp")
			if what != "tcp" {
				x = openWebFerry(t, "/ip4/127.0.0.1/tcp/0/tls/ws", cert)
				at = x.Addrs()[0]
			}
			port, _, _ := strings.Cut(at, "/p2p/")
			grown := flood(t, strings.TrimSuffix(port, "/tls/ws"), wrap)
			again(t, what, func() (bool, error) { return true, visit(t, x, at, "") })
			grown()
		})
	}
}

// stranger at a ferry: a connection without a proof, since a ferry asks for none.
func (s *stranger) board(at string) network.Conn {
	s.t.Helper()
	a, id, err := FerryAddr(at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Peerstore().AddAddr(peer.ID(id), ma.StringCast(a), peerstore.TempAddrTTL)
	c, err := s.DialPeer(soon(s.t), peer.ID(id))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// Row 15 at a ferry, which lets everybody in: of one client few streams are taken at a
// time, and while another one opens thousands, a phone is served.
func TestStreamFloodOfAFerry(t *testing.T) {
	x := open(t)
	c := newStranger(t, nil).board(x.at("quic"))
	var held []network.Stream
	for range 64 { // they stay open, as far as they may
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		s, err := c.NewStream(ctx)
		cancel()
		if err != nil {
			break
		}
		s.Write([]byte("\x13/multistream/1.0.0\n"))
		held = append(held, s)
	}
	answered := 0
	for _, s := range held { // the ferry greets on those that it took
		s.SetReadDeadline(time.Now().Add(patience))
		if n, _ := io.ReadFull(s, make([]byte, 20)); n == 20 {
			answered++
		}
	}
	if len(held) < 32 || answered == 0 || answered > 16 {
		t.Errorf("of %d streams %d were taken at a time", len(held), answered)
	}
	c = newStranger(t, nil).board(x.at("quic"))
	opened := 0
	for range 10_000 {
		s, err := c.NewStream(t.Context())
		if err != nil {
			break
		}
		s.Write([]byte{1})
		s.Reset()
		opened++
	}
	if opened < 1_000 {
		t.Errorf("%d streams: this was no flood", opened)
	}
	for _, kind := range kinds {
		again(t, kind, func() (bool, error) { return true, visit(t, x, x.at(kind), "") })
	}
}

// Row 51 at a ferry: it tells whoever asks no address, no record and no name of the
// program, and of protocols the library's own, its session and the two of circuits.
func TestIdentifyOfAFerry(t *testing.T) {
	x := open(t)
	s := newStranger(t, nil)
	raw, err := io.ReadAll(s.stream(s.board(x.at("tcp")), identify.ID))
	if err != nil {
		t.Fatal(err)
	}
	var said identifypb.Identify
	for len(raw) > 0 {
		m, n := protowire.ConsumeBytes(raw)
		if n < 0 {
			t.Fatal("identify cannot be read")
		}
		part := new(identifypb.Identify)
		if err := protobuf.Unmarshal(m, part); err != nil {
			t.Fatal(err)
		}
		protobuf.Merge(&said, part)
		raw = raw[n:]
	}
	if len(said.ListenAddrs) != 0 || len(said.SignedPeerRecord) != 0 || said.GetAgentVersion() != "go-libp2p" {
		t.Errorf("%d addresses, %d bytes of a record, the agent %q", len(said.ListenAddrs), len(said.SignedPeerRecord), said.GetAgentVersion())
	}
	slices.Sort(said.Protocols)
	want := []string{string(ferryProtocol), identify.ID, identify.IDPush, proto.ProtoIDv2Hop}
	slices.Sort(want)
	if !slices.Equal(said.Protocols, want) {
		t.Errorf("the protocols are %q, not %q", said.Protocols, want)
	}
}

// Row 54: what a ferry that keeps a log of all connections has of two phones, one of
// which has a place and is called by the other. After a new start no peer ID comes
// again, and visits have others than places.
func TestFerryKnowsNobodyAgain(t *testing.T) {
	x := openPassage(t, nil)
	came := make(chan peer.ID, 64)
	x.stack.swarm.Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) { came <- c.RemotePeer() }})
	log := map[peer.ID]int{}
	k := keys(key("k", Member))
	for round := range 3 {
		a, b := start(t, k), start(t, k)
		a.knows(x, "quic")
		b.knows(x, "tcp")
		r := a.mustReserve(x)
		b.mustDial(r.Addr)
		throughFerry(t, find(a, anyUp))
		v, err := VisitFerry(soon(t), x.at("quic"), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
		here := map[peer.ID]bool{}
		for len(here) < 3 {
			here[within(t, came)] = true
		}
		for id := range here {
			if log[id]++; log[id] > 1 {
				t.Errorf("round %d: %s came before", round, id.ShortString())
			}
		}
		if !here[a.self] || !here[b.self] || !here[peer.ID(v.Client())] {
			t.Error("the log has others than those who came")
		}
		a.Close()
		b.Close()
	}
	if len(log) != 9 {
		t.Errorf("%d peer IDs", len(log))
	}
}

// Row 12 for circuits: who comes through a ferry and proves nothing counts against the
// network of that ferry, and takes the place of nobody who comes by another road.
func TestCallersCountAgainstTheirFerry(t *testing.T) {
	x := openPassage(t, nil)
	v := start(t, keys(key("k", Member)))
	v.knows(x, "quic")
	r := v.mustReserve(x)
	called := make(chan ma.Multiaddr, 4)
	v.net.Swarm.Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) { called <- c.RemoteMultiaddr() }})
	c, _, err := caller4(t, x, r)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := within(t, called)
	if !strings.HasSuffix(at.String(), "/p2p-circuit") {
		t.Fatalf("somebody came from %s", at)
	}
	if p, _ := networkOf(at); p != netip.MustParsePrefix("127.0.0.0/24") {
		t.Errorf("a caller counts against %s", p)
	}
	// The same caller, of a ferry that is not on this machine.
	w := newWaiting(defaultBounds())
	elsewhere := func(ip string) bool {
		return w.enter(ma.StringCast(strings.Replace(at.String(), "/127.0.0.1/", "/"+ip+"/", 1))) != nil
	}
	for n := range 4 {
		if got := elsewhere(fmt.Sprint("192.0.2.", n+1)); got != (n < 2) {
			t.Errorf("caller %d gets a place: %t", n+1, got)
		}
	}
	if !elsewhere("198.51.100.1") || w.enter(ma.StringCast("/ip4/203.0.113.1/tcp/1")) == nil {
		t.Error("callers through one ferry bar others")
	}
}
