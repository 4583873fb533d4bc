package p2p

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// passage is a real ferry that connects phones.
type passage struct {
	*FerryHost
	t *testing.T
}

// openPassage starts one; holder is as in FerryConfig.
func openPassage(t *testing.T, holder func([]byte) bool, change ...func(*relay.Resources)) *passage {
	t.Helper()
	bounds := relayBounds(holder != nil)
	for _, f := range change {
		f(&bounds)
	}
	cert := (&authority{t: t}).sign(&x509.Certificate{NotAfter: time.Now().Add(time.Hour)})
	f, err := newFerry(FerryConfig{Seed: [32]byte{7}, Listen: append(listenAll(), "/ip4/127.0.0.1/tcp/0/tls/ws"), Certificate: &cert, Holder: holder,
		OnSession: func(st Stream, _ []byte, _ netip.Addr) { io.Copy(io.Discard, st); st.Close() }}, bounds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return &passage{f, t}
}

func (x *passage) at(kind string) string {
	x.t.Helper()
	for _, a := range x.Addrs() {
		at, _, err := parseFerryAddr(a)
		if err == nil && (isQUIC(at) && kind == "quic" || isWeb(at) && kind == "web" || !isQUIC(at) && !isWeb(at) && kind == "tcp") {
			return a
		}
	}
	x.t.Fatal("no address for " + kind)
	return ""
}

// knows tells a host of the ferry.
func (n *node) knows(x *passage, kind string) {
	n.t.Helper()
	if err := n.SetFerries([]Ferry{{Addr: x.at(kind)}}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) reserve(x *passage) (Reservation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return n.Reserve(ctx, x.ID())
}

func (n *node) mustReserve(x *passage) Reservation {
	n.t.Helper()
	r, err := n.reserve(x)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// throughFerry fails the test if the link is a direct one.
func throughFerry(t *testing.T, up LinkUp) {
	t.Helper()
	if !strings.HasSuffix(up.Addr, "/p2p-circuit") || !up.Circuit {
		t.Fatalf("a direct link: %+v", up)
	}
}

// Two phones that cannot reach one another have a link through a ferry, with the same
// proof inside.
func TestCircuit(t *testing.T) {
	noLeaks(t)
	for _, kind := range append([]string{"web"}, kinds...) {
		t.Run(kind, func(t *testing.T) {
			x := openPassage(t, nil)
			k := keys(key("k", Member))
			a, b := start(t, k), start(t, k, func(c *Config, _ *bounds, _ *node) { c.Listen = nil })
			a.knows(x, kind)
			b.knows(x, kind)
			r := a.mustReserve(x)
			if left := time.Until(r.Until); left < reservedFor-time.Minute || left > reservedFor {
				t.Errorf("the place is for %s", left)
			}
			l := b.mustDial(r.Addr)
			up := find(a, anyUp)
			throughFerry(t, up)
			throughFerry(t, find(b, anyUp))
			if up.Class != Member || up.Dialled {
				t.Errorf("%+v", up)
			}
			for _, size := range []int{1, MaxMessage} {
				if err := errors.Join(b.Send(l, make([]byte, size)), a.Send(up.Link, make([]byte, size))); err != nil {
					t.Fatal(err)
				}
				for _, n := range []*node{a, b} {
					find(n, func(m Message) bool { return len(m.Data) == size })
				}
			}
			// Once more is the same link, and nothing is asked of the ferry.
			if again := b.mustDial(r.Addr); again != l {
				t.Errorf("link %d, then %d", l, again)
			}
			if c := x.Circuits(); c.Reserved != 1 || c.Open != 1 || c.Begun != 1 || c.Bytes < 2*MaxMessage {
				t.Errorf("%+v", c)
			}
			b.circuits.mu.Lock()
			ferryGone := b.circuits.ferries[peer.ID(x.ID())].conn.ended
			b.circuits.mu.Unlock()
			b.CloseLink(l)
			find(a, func(LinkDown) bool { return true })
			find(b, func(LinkDown) bool { return true })
			// The caller goes from the ferry too, the other one keeps its place.
			within(t, ferryGone)
			b.mustDial(r.Addr)
			select {
			case <-r.Lost:
				t.Error("the place was lost")
			default:
			}
		})
	}
}

// Of a ferry with several addresses each is tried, that by QUIC first, until one leads
// there, which is the first one from then on.
func TestFerryWithSeveralAddresses(t *testing.T) {
	noLeaks(t)
	x := openPassage(t, nil)
	deaf, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	_, id, _ := strings.Cut(x.at("web"), "/p2p/")
	silent := fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", deaf.LocalAddr().(*net.UDPAddr).Port)
	a := start(t, keys(key("k", Member)), func(_ *Config, b *bounds, _ *node) { b.road = 300 * time.Millisecond })
	if err := a.SetFerries([]Ferry{{Addr: x.at("web")}, {Addr: silent + "/p2p/" + id}, {Addr: x.at("tcp")}}); err != nil {
		t.Fatal(err)
	}
	order := func() (list []string) {
		a.circuits.mu.Lock()
		defer a.circuits.mu.Unlock()
		for _, at := range a.circuits.ferries[peer.ID(x.ID())].at {
			list = append(list, at.String())
		}
		return list
	}
	if at := order(); len(at) != 3 || at[0] != silent {
		t.Errorf("they are tried as %q", at)
	}
	r := a.mustReserve(x)
	if n, _, err := deaf.ReadFrom(make([]byte, 2048)); n == 0 || err != nil {
		t.Errorf("nothing came by QUIC: %v", err)
	}
	if at := order(); len(at) != 3 || at[0]+"/p2p/"+id != x.at("web") || at[1] != silent {
		t.Errorf("then as %q", at)
	}
	b := start(t, keys(key("k", Member)))
	b.knows(x, "tcp")
	b.mustDial(r.Addr)
	throughFerry(t, find(a, anyUp))
}

// callers are hosts without a gate that use libp2p's own client: whoever learnt where a
// phone is to be found.
func caller4(t *testing.T, x *passage, phone Reservation) (network.Conn, *stranger, error) {
	s := newStranger(t, nil)
	h := start(t, keys(key("other", Member)))
	h.knows(x, "quic")
	_, id, err := parseCircuit(phone.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	f := h.circuits.ferry(peer.ID(x.ID()))
	to, done, err := h.circuits.use(ctx, f)
	if err != nil {
		return nil, s, err
	}
	t.Cleanup(done)
	c, err := h.connect(ctx, id, f.road(to))
	if err != nil {
		return nil, s, err
	}
	return c, s, nil
}

// A stranger who comes through a ferry gets what any stranger gets.
func TestStrangerThroughAFerry(t *testing.T) {
	x := openPassage(t, nil)
	v := start(t, keys(key("k", Member)))
	v.knows(x, "quic")
	r := v.mustReserve(x)
	_, before := v.Counters()
	// Wrong keys, each on a connection of its own.
	o := start(t, keys(key("other", Member)))
	o.knows(x, "quic")
	if _, err := o.dial(r.Addr); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	// A call that says nothing, and one that asks for protocols by name.
	for _, name := range []string{"/ipfs/id/1.0.0", "/meshsub/1.2.0", "/libp2p/dcutr", "/ferry/1"} {
		c, _, err := caller4(t, x, r)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.NewStream(network.WithAllowLimitedConn(t.Context(), "probe"))
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		s.Write(append([]byte("\x13/multistream/1.0.0\n"), append([]byte{byte(len(name) + 1)}, name+"\n"+strings.Repeat(" ", gateSize)...)...))
		if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: %d bytes came, %v", name, n, err)
		}
		c.Close()
	}
	v.silent()
	// What left the phone were answers to the ferry that it lets the caller in.
	if _, after := v.Counters(); after-before > 5*1024 {
		t.Errorf("the phone sent %d bytes", after-before)
	}
	if c := x.Circuits(); c.Begun < 5 {
		t.Errorf("nobody called: %+v", c)
	}
}

// When a circuit has carried what a ferry allows it ends, and the next one goes on.
func TestCircuitEndsAndGoesOn(t *testing.T) {
	for name, change := range map[string]func(*relay.Resources){
		"bytes": func(r *relay.Resources) {},
		"time":  func(r *relay.Resources) { r.Limit = &relay.RelayLimit{Duration: time.Second, Data: 1 << 30} },
	} {
		t.Run(name, func(t *testing.T) {
			x := openPassage(t, nil, change)
			k := keys(key("k", Member))
			a, b := start(t, k), start(t, k)
			a.knows(x, "tcp") // which sees nobody's QUIC, so the link stays as it is
			b.knows(x, "tcp")
			r := a.mustReserve(x)
			const envelope = 2 << 10
			var sent int
			for circuit := 1; circuit <= 3; circuit++ {
				l := b.mustDial(r.Addr)
				var got int
				for open := true; open; {
					for range 8 { // far less than the limit
						if b.Send(l, make([]byte, envelope)) != nil {
							open = false
							break
						}
						sent++
					}
					if !open {
						break
					}
					want := sent
					a.until("what was sent, or the end", func(events []Event) bool {
						got = 0
						downs := 0
						for _, e := range events {
							switch e.(type) {
							case Message:
								got++
							case LinkDown:
								downs++
							}
						}
						open = downs < circuit
						return got >= want || !open
					})
				}
				find(b, func(d LinkDown) bool { return d.Link == l })
				if name == "bytes" && (got < circuit*48 || got > circuit*64) {
					t.Errorf("%d circuits brought %d envelopes", circuit, got)
				}
				sent = got
			}
		})
	}
}

// Of a closed ferry only who has shown a ticket has a place, and only such can call.
func TestClosedFerryGivesPlacesToHolders(t *testing.T) {
	var mu sync.Mutex
	known := map[string]bool{}
	var sessions []string
	x := openPassage(t, func(p []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		return known[string(p)]
	})
	if b := relayBounds(true); b.MaxCircuits != 4 || b.Limit.Data != 32<<20 || b.Limit.Duration != 10*time.Minute {
		t.Errorf("%+v", b)
	}
	k := keys(key("k", Member))
	a, b := start(t, k), start(t, k)
	a.knows(x, "quic")
	b.knows(x, "quic")
	if _, err := a.reserve(x); !errors.Is(err, ErrNoPlace) {
		t.Fatal(err)
	}
	show := func(_ context.Context, v *Visit) error {
		mu.Lock()
		defer mu.Unlock()
		known[string(v.Client())] = true
		sessions = append(sessions, string(v.Client()))
		v.stop()
		return nil
	}
	named := []Ferry{{Addr: x.at("quic"), Show: show}}
	if err := a.SetFerries(named); err != nil {
		t.Fatal(err)
	}
	r := a.mustReserve(x)
	if _, err := b.dial(r.Addr); err == nil {
		t.Fatal("somebody without a ticket has called")
	}
	a.silent()
	if err := b.SetFerries(named); err != nil {
		t.Fatal(err)
	}
	b.mustDial(r.Addr)
	throughFerry(t, find(a, anyUp))
	a.mustReserve(x)
	mu.Lock()
	defer mu.Unlock()
	if len(sessions) != 2 || sessions[0] != string(a.self) || sessions[1] != string(b.self) {
		t.Errorf("%d sessions", len(sessions))
	}
	if err := a.SetFerries([]Ferry{{Addr: x.at("quic"), Show: func(context.Context, *Visit) error { return errGate }}}); err != nil {
		t.Fatal(err)
	}
}

// A ferry gives no more places and circuits than its bounds.
func TestPlacesAreBounded(t *testing.T) {
	x := openPassage(t, nil, func(r *relay.Resources) {
		r.MaxReservationsPerIP, r.MaxCircuits = 2, 1
	})
	if b := relayBounds(false); b.MaxReservationsPerIP != 64 || b.MaxReservations != 128 || b.Limit.Data != 128<<10 || b.Limit.Duration != 2*time.Minute {
		t.Errorf("%+v", b)
	}
	k := keys(key("k", Member))
	var all []*node
	for range 4 {
		n := start(t, k)
		n.knows(x, "tcp") // by QUIC they would go on directly, and leave the circuit
		all = append(all, n)
	}
	r := all[0].mustReserve(x)
	all[1].mustReserve(x)
	all[0].mustReserve(x) // the same place for longer
	if _, err := all[2].reserve(x); !errors.Is(err, ErrNoPlace) {
		t.Fatal(err)
	}
	all[2].mustDial(r.Addr)
	if _, err := all[3].dial(r.Addr); err == nil {
		t.Error("a second circuit to one phone")
	}
	all[1].Close()
	for x.Circuits().Reserved > 1 { // it is on its way
		runtime.Gosched()
	}
	all[3].mustReserve(x)
	if c := x.Circuits(); c.Refused < 2 || c.Reserved != 2 {
		t.Errorf("%+v", c)
	}
}

// The end of a ferry is told, and of one that is not named any more nothing is kept.
func TestFerryGoes(t *testing.T) {
	x := openPassage(t, nil)
	k := keys(key("k", Member))
	a, b := start(t, k), start(t, k)
	a.knows(x, "tcp")
	b.knows(x, "tcp")
	r := a.mustReserve(x)
	b.mustDial(r.Addr)
	if err := a.SetFerries(nil); err != nil {
		t.Fatal(err)
	}
	within(t, r.Lost)
	find(a, func(LinkDown) bool { return true })
	find(b, func(LinkDown) bool { return true })
	if _, err := a.reserve(x); !errors.Is(err, ErrNoPlace) {
		t.Fatal(err)
	}
	if _, err := b.dial(r.Addr); err == nil {
		t.Error("a place that was given up")
	}
	a.knows(x, "tcp")
	r = a.mustReserve(x)
	x.FerryHost.Close()
	within(t, r.Lost)
	if _, err := a.reserve(x); !errors.Is(err, ErrNoPlace) {
		t.Fatal(err)
	}
}

// A ferry asks a phone for anything, and gets no answer but to a call.
func TestFerryThatAsks(t *testing.T) {
	x := openPassage(t, nil)
	v := start(t, keys(key("k", Member)))
	v.knows(x, "quic")
	v.mustReserve(x)
	var to network.Conn
	for _, c := range x.stack.swarm.ConnsToPeer(v.self) {
		to = c
	}
	known, _ := x.stack.swarm.Peerstore().GetProtocols(v.self)
	if len(known) > 0 {
		t.Errorf("the ferry knows %v of a phone", known)
	}
	for range 40 { // more than may wait for a verdict
		s, err := to.NewStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		s.Write([]byte("\x13/multistream/1.0.0\n\x0f/ipfs/id/1.0.0\n"))
		answer := make([]byte, 64)
		var got []byte
		for err == nil {
			var n int
			if n, err = s.Read(answer); n > 0 {
				got = append(got, answer[:n]...)
			}
			if strings.HasSuffix(string(got), "na\n") {
				break
			}
		}
		if !strings.HasSuffix(string(got), "\x03na\n") {
			t.Fatalf("%q, %v", got, err)
		}
		s.Reset()
	}
	if to.IsClosed() {
		t.Error("the phone left")
	}
	v.silent()
}

// Somebody in the group names a ferry's own address as theirs: that costs nobody the
// place at the ferry.
func TestFerryIsNoMember(t *testing.T) {
	x := openPassage(t, nil)
	v := start(t, keys(key("k", Member)))
	v.knows(x, "quic")
	r := v.mustReserve(x)
	for _, kind := range kinds {
		at, _, _ := strings.Cut(x.at(kind), "/p2p/")
		if _, err := v.dial(at); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	select {
	case <-r.Lost:
		t.Error("the place is lost")
	default:
	}
}

func TestCircuitAddresses(t *testing.T) {
	id := func() string {
		sk, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		p, err := peer.IDFromPrivateKey(sk)
		if err != nil {
			t.Fatal(err)
		}
		return p.String()
	}
	x, y := id(), id()
	good := "/p2p/" + x + circuitMiddle + y
	if !CircuitAddr(good) || len(good) > maxAddr {
		t.Errorf("%q, %d characters", good, len(good))
	}
	if _, err := ma.NewMultiaddr(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "/p2p/", "/p2p/" + x, "/p2p/" + x + "/p2p-circuit", "/p2p/" + x + circuitMiddle, "/p2p/" + x + circuitMiddle + x,
		good + "/", "/ip4/127.0.0.1/tcp/1" + good, good + "/p2p-circuit", "/p2p/" + x + circuitMiddle + "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} {
		if CircuitAddr(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzCircuitAddr: what is taken is written in one way.
func FuzzCircuitAddr(f *testing.F) {
	f.Add("/p2p/12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE/p2p-circuit/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")
	f.Fuzz(func(t *testing.T, s string) {
		x, y, err := parseCircuit(s)
		if err == nil && (s != "/p2p/"+x.String()+circuitMiddle+y.String() || x == y) {
			t.Errorf("%q", s)
		}
	})
}
