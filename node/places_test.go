package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// only leaves of a link the addresses through carriers.
func only(t *testing.T, text string) string {
	t.Helper()
	l, err := protocol.ParseLink(text)
	if err != nil {
		t.Fatal(err)
	}
	l.Addresses = slices.DeleteFunc(l.Addresses, func(a string) bool { return !p2p.CircuitAddr(a) })
	if len(l.Addresses) != 1 || len(l.Ferries) != 1 {
		t.Fatalf("%d addresses through carriers, %d carriers", len(l.Addresses), len(l.Ferries))
	}
	return l.Text()
}

// placed waits until a phone can be reached through a carrier.
func (p *phone) placed() (addr string) {
	p.w.t.Helper()
	p.w.until(p.name+" to have a place", func() bool {
		p.inside(func() {
			for _, g := range p.groups {
				addr = g.reach.addr
			}
		})
		return addr != ""
	})
	return addr
}

// Ben finds Ana through a letter carrier that keeps no letters: he joins by a link that
// names no other address, and both tell each other of what they write. So it is when the
// carrier is closed and they have a ticket, and where there is no direct way for them.
func TestPhonesMeetThroughACarrier(t *testing.T) {
	for _, c := range []struct {
		name, listen string
		closed       bool
	}{
		{"open", "/ip4/127.0.0.1/udp/0/quic-v1", false},
		{"closed", "/ip4/127.0.0.1/udp/0/quic-v1", true},
		{"not direct", "/ip4/127.0.0.1/tcp/0", false},
		{"not direct, closed", "/ip4/127.0.0.1/tcp/0", true},
		{"by the web", "/ip4/127.0.0.1/tcp/0/tls/ws", false},
		{"by the web, closed", "/ip4/127.0.0.1/tcp/0/tls/ws", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			hurried(t)
			w := newWorld(t)
			limits := rules.DefaultLimits()
			limits.Closed, limits.Mailbox = c.closed, 1 // no letter is as small
			seed := [32]byte{3}
			x := w.harbour(filepath.Join(t.TempDir(), "carrier"), c.listen, limits, seed)
			named := x.addr
			if c.closed {
				named += "#AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			}
			ana, ben := w.phone("Ana"), w.phone("Ben")
			ana.found(api.GroupCreateArgs{})
			call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{named}})
			addr := ana.placed()
			link := only(t, call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{AutoApprove: true}).Link)
			if j := call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link, WaitSeconds: 60}); j.State != api.StateJoined {
				t.Fatalf("%+v", j)
			}
			if c := x.host.Circuits(); c.Begun == 0 || c.Bytes == 0 {
				t.Errorf("they met elsewhere: %+v", c)
			}
			var wrote []string
			for _, p := range []*phone{ana, ben, ana, ben} { // one after the other: as they come
				title := fmt.Sprint(len(wrote))
				post1(t, p, title)
				wrote = append(wrote, title)
				w.shows(wrote, ana, ben)
			}
			// Ben is told Ana's new place by Ana, and nobody is told it through letters.
			ben.placed()
			told := func(p *phone) (list [][]string) {
				p.inside(func() {
					for _, g := range p.groups {
						list = g.engine.PeerAddresses()
					}
				})
				return list
			}
			w.until("Ben to be told of Ana's place", func() bool {
				return slices.ContainsFunc(told(ben), func(l []string) bool { return slices.Contains(l, addr) })
			})
			// Nothing of it stays for the next start: it would be of no use.
			if err := ben.change(t.Context(), func() (*groupState, error) {
				for _, g := range ben.groups {
					ben.remember(g, addr)
					ben.remember(g, "/ip4/127.0.0.1/tcp/1")
				}
				return nil, nil
			}); err != nil {
				t.Fatal(err)
			}
			ben.stop()
			n := w.offline(ben.dir)
			for _, g := range n.groups {
				if slices.ContainsFunc(g.worked, p2p.CircuitAddr) {
					t.Errorf("kept: %v", g.worked)
				}
			}
		})
	}
}

// Where carriers could learn who calls whom, or where there is none, nobody asks for a
// place.
func TestNoPlaceIsAskedFor(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	ana.placed()
	yes := true
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{HighRisk: &yes})
	ana.inside(func() { ana.looked = time.Time{} }) // as after a minute
	w.until("the place to be given up", func() bool {
		x.visited(1)
		return x.host.Circuits().Reserved == 0
	})
	ana.stop()
	ana = w.start(ana.dir, "Ana")
	x.visited(3)
	ana.inside(func() {
		for _, g := range ana.groups {
			if !g.risky || g.reach.addr != "" || !g.reach.asked || g.told == nil {
				t.Errorf("%+v", g.reach)
			}
		}
	})
	if c := x.host.Circuits(); c.Reserved != 0 {
		t.Errorf("%+v", c)
	}
}

// A place that is lost is asked for again, at another carrier if need be.
func TestPlaceIsFoundAgain(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "carrier")
	x := w.harbour(dir, "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	first := ana.placed()
	at, _, _ := strings.Cut(x.addr, "/p2p/")
	x.stop()
	var lost bool
	w.until("the loss", func() bool {
		ana.inside(func() {
			for _, g := range ana.groups {
				lost = g.reach.lost == nil
			}
		})
		return lost
	})
	x = w.harbour(dir, at, rules.DefaultLimits())
	w.until("a place again", func() bool {
		ana.inside(func() {
			for _, g := range ana.groups {
				lost = g.reach.lost == nil
			}
		})
		return !lost && x.host.Circuits().Reserved == 1
	})
	if again := ana.placed(); again != first {
		t.Errorf("%s, then %s", first, again)
	}
}

// What a carrier says last arrives before the connection ends, by every road: without its
// last words a ticket counts as refused.
func TestLastWordsOfACarrier(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/tls/ws"} {
		t.Run(listen, func(t *testing.T) {
			w := newWorld(t)
			limits := rules.DefaultLimits()
			limits.Closed = true
			seed := [32]byte{3}
			x := w.harbour(filepath.Join(t.TempDir(), "carrier"), listen, limits, seed)
			for range 20 {
				v, err := p2p.VisitFerry(t.Context(), x.addr, "", nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := showTicket(t.Context(), v, seed); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A carrier that does not keep to the form of a session gets no ticket taken.
func TestTicketIsShownToNoOther(t *testing.T) {
	for name, says := range map[string][][]byte{
		"nothing":       {},
		"no hello":      {{rules.TypePad, 0}},
		"a short hello": {{rules.TypeHello, 1}},
		"other things":  {{rules.TypeHello, 0x83, 1, 0x58}, {rules.TypeKept}},
	} {
		t.Run(name, func(t *testing.T) {
			begun := make(chan bool)
			f, err := p2p.NewFerry(p2p.FerryConfig{Seed: [32]byte{4}, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
				OnSession: func(st p2p.Stream, _ []byte, _ netip.Addr) {
					<-begun
					for _, m := range says {
						st.Write(p2p.Frame(m))
					}
					st.Close()
				}})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			v, err := p2p.VisitFerry(ctx, f.Addrs()[0], "", nil)
			if err != nil {
				t.Fatal(err)
			}
			close(begun)
			if err := showTicket(ctx, v, [32]byte{3}); !errors.Is(err, errTicket) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Links through carriers are made again at once where the carrier's bound of bytes ended
// them, and later where its clock did; what is direct goes first.
func TestTimesOfCircuits(t *testing.T) {
	now := engine.Time(1_000_000)
	circuit := "/p2p/" + carrierID + "/p2p-circuit/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
	direct := "/ip4/192.0.2.1/tcp/1"
	var b book
	b.sync(now, [][]string{{direct, circuit}})
	p := b.next(now)[0]
	b.reached(now, p, 1, circuit)
	b.up(now, 1)
	if p.addrs[0] != direct {
		t.Error("the direct address has lost its turn")
	}
	b.down(now+engine.Seconds(20), 1)
	if !p.resume || p.next > now+engine.Seconds(21) {
		t.Errorf("%+v", p)
	}
	now = p.next
	if b.next(now)[0] != p {
		t.Fatal("not due")
	}
	b.reached(now, p, 2, circuit)
	b.up(now, 2)
	b.down(now+engine.Seconds(120), 2)
	if p.resume || p.next != now+engine.Seconds(120)+circuitEvery {
		t.Errorf("%+v", p)
	}
	// What a given place had through carriers goes with what is told anew.
	b = book{}
	b.add(now, []string{direct, circuit}, true)
	next := "/p2p/" + carrierID + "/p2p-circuit/p2p/12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QRMuD"
	b.sync(now, [][]string{{direct, next}})
	if !slices.Equal(b.places[0].addrs, []string{direct, next}) {
		t.Errorf("%v", b.places[0].addrs)
	}
}
