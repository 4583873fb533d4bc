package p2p

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
)

type openedAt struct {
	network.Conn
	at time.Time
}

func (c openedAt) Stat() network.ConnStats {
	return network.ConnStats{Stats: network.Stats{Opened: c.at}}
}

// Spec 60 section 4: of two connections both sides keep the same one, in
// whichever order each of them learns of the two.
func TestBothSidesKeepTheSame(t *testing.T) {
	now := time.Now()
	at := func(self, other peer.ID, dialler peer.ID, c Class) *link {
		return &link{peer: other, since: now, proven: proven{class: c},
			conn: &conn{Conn: openedAt{at: now}, dialled: dialler == self}}
	}
	for _, classes := range [][2]Class{{Member, Member}, {Member, CatchUp}, {CatchUp, Member}, {CatchUp, Invite}} {
		kept := map[int]bool{}
		for _, side := range [][2]peer.ID{{"a", "b"}, {"b", "a"}} {
			h := &Host{self: side[0], bounds: defaultBounds()}
			links := [2]*link{at(side[0], side[1], "a", classes[0]), at(side[0], side[1], "b", classes[1])}
			for newer := range links {
				if h.better(links[newer], links[1-newer]) {
					kept[newer] = true
				} else {
					kept[1-newer] = true
				}
			}
		}
		if len(kept) != 1 || kept[0] != (classes[0] <= classes[1]) {
			t.Errorf("classes %v: kept %v", classes, kept)
		}
	}
}

// A direct connection is kept before one through a ferry, whoever dialled it and whichever
// came first; a wider class before both.
func TestTheDirectOneIsKept(t *testing.T) {
	now := time.Now()
	for _, self := range []peer.ID{"a", "c"} {
		h := &Host{self: self, bounds: defaultBounds()}
		for _, dialled := range [][2]bool{{true, true}, {true, false}, {false, true}, {false, false}} {
			at := func(c Class, dialled, circuit bool) *link {
				return &link{peer: "b", since: now, proven: proven{class: c}, conn: &conn{Conn: openedAt{at: now.Add(time.Hour)}, dialled: dialled, circuit: circuit}}
			}
			direct, circuit := at(Member, dialled[0], false), at(Member, dialled[1], true)
			if !h.better(direct, circuit) || h.better(circuit, direct) {
				t.Errorf("%s, dialled %v: the one through the ferry is kept", self, dialled)
			}
			if direct = at(CatchUp, dialled[0], false); h.better(direct, circuit) {
				t.Errorf("%s, dialled %v: the narrower class is kept", self, dialled)
			}
		}
	}
}

// While the side with the smaller ID proves its own connection, it does not
// answer the other's proof; the side with the larger ID does.
func TestTheSmallerIDTakesTurns(t *testing.T) {
	small, large := twoKeys(t)
	k := key("k", Member)
	for _, waits := range []bool{true, false} {
		mine, theirs := small, large
		if !waits {
			mine, theirs = large, small
		}
		v := start(t, keys(k), func(_ *Config, b *bounds, _ *node) { b.peerKey, b.proof = mine, 300*time.Millisecond })
		s := newStranger(t, theirs)
		unlock, err := v.lockPeer(nil, s.LocalPeer())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.knock(v, "quic", k, nil); (err != nil) != waits {
			t.Fatalf("waits %v: %v", waits, err)
		}
		unlock()
		if waits {
			v.silent()
			if _, err := newStranger(t, theirs).knock(v, "quic", k, nil); err != nil {
				t.Fatal("the turn never came: ", err)
			}
		}
	}
}

// watched is a transport that tells when a connection dialled by it is closed.
type watched struct {
	tpt.Transport
	closed chan<- struct{}
}

type watchedConn struct {
	tpt.CapableConn
	closed chan<- struct{}
}

func (w watched) Dial(ctx context.Context, a ma.Multiaddr, p peer.ID) (tpt.CapableConn, error) {
	c, err := w.Transport.Dial(ctx, a, p)
	if err != nil {
		return nil, err
	}
	return watchedConn{c, w.closed}, nil
}

func (c watchedConn) Close() error {
	c.closed <- struct{}{}
	return c.CapableConn.Close()
}

// A dialler that finds a connection which the other side made gives up the one it
// has reached out with, since the other side may be waiting for just that one,
// and dials again when theirs came to nothing.
func TestIdleConnectionsAreGivenUp(t *testing.T) {
	v := start(t, keys(key("k", Member)), quick(patience))
	s := newStranger(t, nil)
	if err := s.Listen(ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{}, 8)
	v.quic.first = firstQUIC(watched{v.quic.Transport, gone})
	idle, err := s.connect(v, "quic")
	if err != nil {
		t.Fatal(err)
	}
	for len(v.net.Swarm.ConnsToPeer(s.LocalPeer())) == 0 { // it is on its way
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan struct{})
	go func() { v.Dial(ctx, s.ListenAddresses()[0].String()); close(done) }()
	select {
	case <-gone:
	case <-ctx.Done():
		t.Fatal("the connection was kept")
	}
	idle.Close()
	select {
	case <-s.opened: // the proof, on a new connection
	case <-ctx.Done():
		t.Fatal("no new connection")
	}
	cancel()
	<-done
}
