package p2p

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	msmux "github.com/multiformats/go-multistream"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Row 12 of spec 95: 500 connections send 0xff without end. Memory is bounded, and
// a member that dials again, as a device does, gets in and is heard. Addresses of
// this machine itself are not counted apart, so here there is no other way in than
// between them; TestOneAddressBarsNobody has the count.
func TestFloodOfRawSockets(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	grown := flood(t, v.addr("tcp"), plainJunk)
	for _, kind := range kinds {
		friend := start(t, keys(key("k", Member)))
		l := again(t, kind, func() (LinkID, error) { return friend.dial(v.addr(kind)) })
		hello := []byte("hello over " + kind)
		if err := friend.Send(l, hello); err != nil {
			t.Fatal(err)
		}
		find(v, func(m Message) bool { return bytes.Equal(m.Data, hello) })
	}
	grown()
}

// again dials as a device does, until it gets in between all others.
func again[T any](t *testing.T, what string, dial func() (T, error)) T {
	t.Helper()
	x, err := dial()
	for late := time.Now().Add(patience); err != nil; x, err = dial() {
		if time.Now().After(late) {
			t.Fatal(what, ": ", err)
		}
	}
	return x
}

func plainJunk(c net.Conn) net.Conn { return c }

// flood lets 500 connections send junk to a TCP address, each anew when it is closed,
// until the test ends; it returns when that is in full flow. The junk goes through wrap.
// The func that it returns fails the test if memory has grown beyond bounds.
func flood(t *testing.T, at string, wrap func(net.Conn) net.Conn) (grown func()) {
	t.Helper()
	_, addr, err := manet.DialArgs(ma.StringCast(at))
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	end := make(chan struct{})
	var sending sync.WaitGroup
	var mu sync.Mutex
	sent, connected := 0, 0
	junk := bytes.Repeat([]byte{0xff}, 64<<10)
	for range 500 {
		sending.Go(func() {
			for first := true; ; first = false {
				select {
				case <-end:
					return
				default:
				}
				c, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					return // the victim takes no more
				}
				mu.Lock()
				if first {
					connected++
				}
				mu.Unlock()
				c.SetDeadline(time.Now().Add(patience))
				over := wrap(c)
				for n, err := 1, error(nil); n > 0 && err == nil; {
					n, err = over.Write(junk)
					mu.Lock()
					sent += n
					mu.Unlock()
					select {
					case <-end:
						err = net.ErrClosed
					default:
					}
				}
				c.Close()
			}
		})
	}
	t.Cleanup(func() {
		close(end)
		sending.Wait()
		if connected < 400 || sent < 10<<20 {
			t.Errorf("%d connections sent %d bytes: this was no flood", connected, sent)
		}
	})
	late := time.Now().Add(patience)
	for { // until it is in full flow
		mu.Lock()
		on := sent > 10<<20
		mu.Unlock()
		if on {
			break
		}
		if time.Now().After(late) {
			t.Fatal("there is no flood")
		}
		runtime.Gosched()
	}
	return func() {
		runtime.GC()
		runtime.ReadMemStats(&during)
		// Both ends of the 500 connections are in this process; each attacker has a
		// stack and a socket.
		if n := int64(during.HeapInuse+during.StackInuse) - int64(before.HeapInuse+before.StackInuse); n > 64<<20 {
			t.Errorf("memory grew by %d bytes", n)
		}
	}
}

// Row 12: whoever opens connections from one address, or one IPv6 network, and
// proves nothing cannot take the places of all others.
func TestOneAddressBarsNobody(t *testing.T) {
	var r network.ResourceManager
	open := func(addr string) bool {
		_, err := r.OpenConnection(network.DirInbound, true, ma.StringCast(addr))
		return err == nil
	}
	for _, first := range []string{"/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8:0:1::1/tcp/1"} {
		var err error
		if r, err = newResources(phoneScale); err != nil {
			t.Fatal(err)
		}
		took := 0
		for range 500 {
			if open(first) {
				took++
			}
		}
		if took == 0 || took > 64 {
			t.Errorf("%s got %d of 500 places", first, took)
		}
		for _, other := range []string{"/ip4/198.51.100.1/tcp/1", "/ip6/2001:db8:1::1/tcp/1"} {
			if !open(other) {
				t.Errorf("after %s, %s is refused", first, other)
			}
		}
		r.Close()
	}
}

// member passes the gate and returns a stream of a protocol on the connection.
func (s *stranger) member(v *node, protocol string) network.Stream {
	s.t.Helper()
	st, err := s.knock(v, "quic", key("k", Member), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.stream(st.Conn(), protocol)
}

func (s *stranger) stream(c network.Conn, protocol string) network.Stream {
	s.t.Helper()
	x, err := c.NewStream(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	x.SetDeadline(time.Now().Add(patience))
	if err := msmux.SelectProtoOrFail(protocol, x); err != nil {
		s.t.Fatal(protocol, err)
	}
	return x
}

// Rows 51 and 52: even a member that asks by the library's own protocol is told
// no address, no key record and no name of the program; and the only protocols
// are those of gossip and of the library itself.
func TestIdentifyTellsNothing(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	s := newStranger(t, nil).member(v, identify.ID)
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(s); err != nil {
		t.Fatal(err)
	}
	var said pb.Identify
	for b := raw.Bytes(); len(b) > 0; {
		m, n := protowire.ConsumeBytes(b)
		if n < 0 {
			t.Fatal("identify cannot be read")
		}
		part := new(pb.Identify)
		if err := proto.Unmarshal(m, part); err != nil {
			t.Fatal(err)
		}
		proto.Merge(&said, part)
		b = b[n:]
	}
	if len(said.ListenAddrs) != 0 || len(said.SignedPeerRecord) != 0 {
		t.Errorf("%d addresses and %d bytes of a record are told", len(said.ListenAddrs), len(said.SignedPeerRecord))
	}
	if said.GetAgentVersion() != "go-libp2p" || said.GetProtocolVersion() != "" && !strings.HasPrefix(said.GetProtocolVersion(), "ipfs/") {
		t.Errorf("the agent is %q, the version %q", said.GetAgentVersion(), said.GetProtocolVersion())
	}
	slices.Sort(said.Protocols)
	for _, p := range said.Protocols {
		if !strings.HasPrefix(p, "/meshsub/") && p != "/floodsub/1.0.0" && p != identify.ID && p != identify.IDPush && p != "/ipfs/ping/1.0.0" {
			t.Errorf("the protocol %s is spoken", p)
		}
	}
	if len(said.Protocols) == 0 {
		t.Error("identify said nothing: this test sees nothing")
	}
}

// Row 14: a member that pushes thousands of addresses, again and again, does not
// fill the list of addresses.
func TestAddressFlood(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	s := newStranger(t, nil)
	st, err := s.knock(v, "quic", key("k", Member), nil)
	if err != nil {
		t.Fatal(err)
	}
	up := find(v, anyUp)
	pushed := 0
	for round := range 40 {
		m := &pb.Identify{AgentVersion: proto.String(strings.Repeat("x", 1_000))}
		for i := range 250 {
			m.ListenAddrs = append(m.ListenAddrs, ma.StringCast(fmt.Sprintf("/ip4/203.0.%d.%d/tcp/1", round, i)).Bytes())
			pushed++
		}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		x := s.stream(st.Conn(), identify.IDPush)
		x.Write(protowire.AppendBytes(nil, b))
		x.CloseWrite()
		ended(t, x) // it was taken in
	}
	known := v.net.Swarm.Peerstore().Addrs(st.Conn().LocalPeer())
	if pushed != 10_000 || len(known) > 500 {
		t.Errorf("of %d addresses %d are kept", pushed, len(known))
	}
	if up.Class != Member {
		t.Error("the attacker was no member")
	}
	start(t, keys(key("k", Member))).mustDial(v.addr("tcp"))
}
