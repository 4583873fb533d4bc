package p2p

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/holepunch/pb"
	ma "github.com/multiformats/go-multiaddr"
)

func direct(up LinkUp) bool { return !up.Circuit }

// A link through a ferry becomes a direct one, which has passed the gate anew; hints run
// on it, and the one through the ferry ends.
func TestCircuitBecomesDirect(t *testing.T) {
	noLeaks(t)
	x := openPassage(t, nil)
	k := keys(key("k", Member))
	for range 5 {
		func() {
			a, b := start(t, k), start(t, k)
			defer a.Close()
			defer b.Close()
			a.knows(x, "quic")
			b.knows(x, "quic")
			r := a.mustReserve(x)
			l := b.mustDial(r.Addr)
			find(a, func(up LinkUp) bool { return up.Circuit }) // in whatever order links tell of themselves
			ua, ub := find(a, direct), find(b, direct)
			if ua.Class != Member || ub.Class != Member || ua.Tag != key("k", 0).Tag || ua.Dialled == ub.Dialled {
				t.Errorf("%+v, %+v", ua, ub)
			}
			find(b, func(d LinkDown) bool { return d.Link == l })
			find(a, func(d LinkDown) bool { return d.Link != ua.Link })
			if again := b.mustDial(r.Addr); again != ub.Link {
				t.Errorf("link %d, want %d", again, ub.Link)
			}
			if err := errors.Join(a.Send(ua.Link, []byte("a")), b.Send(ub.Link, []byte("b"))); err != nil {
				t.Fatal(err)
			}
			find(a, func(m Message) bool { return m.Link == ua.Link && string(m.Data) == "b" })
			find(b, func(m Message) bool { return m.Link == ub.Link && string(m.Data) == "a" })
			a.untilHints(b)
			b.untilHints(a)
		}()
	}
	for x.Circuits().Open > 0 {
		runtime.Gosched()
	}
}

// Only members make links direct: nobody else is told where this host comes from.
func TestOnlyMembersAreToldWhereToPunch(t *testing.T) {
	x := openPassage(t, nil)
	for _, c := range []Class{Invite, Member} {
		k := keys(key("k", c))
		a, b := start(t, k), start(t, k)
		a.knows(x, "quic")
		b.knows(x, "quic")
		r := a.mustReserve(x)
		b.mustDial(r.Addr)
		if len(a.circuits.observed()) != 1 || len(b.circuits.observed()) != 1 {
			t.Fatal("the ferry has not said where they come from")
		}
		if c == Member {
			find(a, direct)
			continue
		}
		up := find(a, anyUp)
		l := a.link(up.Link)
		if a.circuits.punch.try(l); up.Class != Invite {
			t.Errorf("%+v", up)
		}
		// Neither side answers a wish to punch, whichever way it comes.
		for _, n := range []*node{a, b} {
			for _, other := range n.net.Swarm.Conns() {
				if !isCircuit(other.RemoteMultiaddr()) {
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				if s, err := openStream(ctx, n.net.record(other), holepunch.Protocol); err == nil {
					t.Errorf("a wish was taken: %v", s.Conn().Stat().Direction)
				}
				cancel()
			}
			find(n, func(LinkDown) bool { return true })
			break
		}
	}
}

// A member tells addresses that nobody should send to: none is dialled, and the link
// through the ferry stays.
func TestPunchingGoesToNoOddAddress(t *testing.T) {
	x := openPassage(t, nil)
	k := key("k", Member)
	v := start(t, keys(k))
	v.knows(x, "quic")
	o := start(t, keys(k), func(c *Config, _ *bounds, _ *node) { c.Listen = listenAll()[1:] }) // it does not punch
	o.knows(x, "quic")
	r := o.mustReserve(x)
	v.mustDial(r.Addr)
	up := find(o, anyUp)
	l := o.link(up.Link)
	s, err := openStream(soon(t), l.conn, holepunch.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(patience))
	var told [][]byte
	for _, a := range []string{"/ip4/127.0.0.1/tcp/1", "/ip4/0.0.0.0/udp/1/quic-v1", "/ip4/224.0.0.1/udp/1/quic-v1", "/dns4/a.example/udp/1/quic-v1",
		"/ip6/fe80::1/udp/1/quic-v1", "/ip4/127.0.0.1/udp/1/quic-v1/p2p/" + o.self.String(), "/ip4/127.0.0.1/udp/1/quic-v1/webtransport"} {
		told = append(told, ma.StringCast(a).Bytes())
	}
	w, rd := util.NewDelimitedWriter(s), util.NewDelimitedReader(s, 4<<10)
	var m pb.HolePunch
	if err := w.WriteMsg(&pb.HolePunch{Type: pb.HolePunch_CONNECT.Enum(), ObsAddrs: told}); err != nil {
		t.Fatal(err)
	}
	if err := rd.ReadMsg(&m); err != nil || len(m.ObsAddrs) != 1 {
		t.Fatalf("%v, %v", m.ObsAddrs, err)
	}
	if err := w.WriteMsg(&pb.HolePunch{Type: pb.HolePunch_SYNC.Enum()}); err != nil {
		t.Fatal(err)
	}
	p := &puncher{v.circuits.above, v.circuits.punch}
	var addrs []ma.Multiaddr
	for _, b := range told {
		a, err := ma.NewMultiaddrBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, a)
	}
	ctx := network.WithSimultaneousConnect(soon(t), true, "test")
	if err := p.Connect(ctx, peer.AddrInfo{ID: o.self, Addrs: addrs}); !errors.Is(err, errNotDialable) {
		t.Errorf("%v", err)
	}
	if err := v.Send(find(v, anyUp).Link, []byte("x")); err != nil {
		t.Fatal(err)
	}
	find(o, func(Message) bool { return true })
}

// Whoever comes in where a member is expected passes the gate as anybody does.
func TestExpectedButStrange(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	s := newStranger(t, nil)
	if err := s.Listen(ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")); err != nil {
		t.Fatal(err)
	}
	defer v.net.expect(s.LocalPeer())()
	v.net.Peerstore().AddAddrs(s.LocalPeer(), s.ListenAddresses(), time.Hour)
	ctx := network.WithForceDirectDial(soon(t), "test")
	nc, err := v.net.Swarm.DialPeer(ctx, s.LocalPeer())
	if err != nil {
		t.Fatal(err)
	}
	if c := v.net.adopt(nc); c.dialled {
		t.Error("we are taken for the dialler")
	}
	var back network.Conn
	for back == nil {
		for _, c := range s.ConnsToPeer(v.self) {
			back = c
		}
	}
	st, err := back.NewStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st.SetDeadline(time.Now().Add(patience))
	g := gatekeeper{rw: st, ends: ends{from: s.LocalPeer(), to: v.self}}
	if _, err := g.dial(key("other", Member)); err == nil {
		t.Error("a stranger was let in")
	}
	v.silent()
}

func FuzzPunchable(f *testing.F) {
	for _, a := range []string{"/ip4/192.0.2.1/udp/1/quic-v1", "/ip4/224.0.0.1/udp/1/quic-v1", "/ip4/192.0.2.1/tcp/1"} {
		f.Add(ma.StringCast(a).Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := punchable(b); ok {
			if _, err := parseAddr(a.String()); err != nil || !isQUIC(a) || string(a.Bytes()) != string(b) {
				t.Errorf("%x is taken for %s", b, a)
			}
		}
	})
}
