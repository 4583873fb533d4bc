package node

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/ferry"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol/engine"
	rules "github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/group"
)

// carrierID is some peer ID of an Ed25519 key.
const carrierID = "12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE"

// hurried lets visits follow one another at once, for one test.
func hurried(t *testing.T) {
	times := []*engine.Time{&visitFirst, &visitSoon, &visitJoining, &visitAlone, &visitLinked, &failedFirst}
	for i, to := range []engine.Time{50, 50, 200, 200, 200, 100} {
		before := *times[i]
		*times[i] = to
		t.Cleanup(func() { *times[i] = before })
	}
}

// harbour is a running letter carrier with its store on the disk.
type harbour struct {
	w      *world
	host   *p2p.FerryHost
	db     *store.DB
	server *ferry.Server
	addr   string
	over   atomic.Int64 // sessions that were brought to their end
	ended  atomic.Int64 // all
}

// visited waits for so many sessions more.
func (x *harbour) visited(more int64) {
	x.w.t.Helper()
	end := x.over.Load() + more
	x.w.until("visits to the letter carrier", func() bool { return x.over.Load() >= end })
}

func (w *world) harbour(dir string, listen string, limits rules.Limits, tickets ...[32]byte) *harbour {
	w.t.Helper()
	x := &harbour{w: w}
	var err error
	if x.db, err = store.Open(dir, [32]byte{1}); err != nil {
		w.t.Fatal(err)
	}
	kept, err := ferry.OpenStore(x.db)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, seed := range tickets {
		if err := kept.GiveTicket(rules.TicketOf(seed)); err != nil {
			w.t.Fatal(err)
		}
	}
	// The server needs the peer ID, which the host has: sessions wait for it.
	there := make(chan bool)
	var cert *tls.Certificate
	if p2p.WebAddr(listen) {
		page := httptest.NewTLSServer(nil)
		cert = &page.TLS.Certificates[0]
		page.Close()
	}
	cfg := p2p.FerryConfig{Seed: [32]byte{2}, Listen: []string{listen}, Certificate: cert, OnSession: func(st p2p.Stream, client []byte, from netip.Addr) {
		<-there
		if x.server.Serve(st, client, from) == nil {
			x.over.Add(1)
		}
		x.ended.Add(1)
		w.wake()
	}}
	if limits.Closed {
		cfg.Holder = func(p []byte) bool { return x.server.Holder(p) }
	}
	if x.host, err = p2p.NewFerry(cfg); err != nil {
		w.t.Fatal(err)
	}
	if x.server, err = ferry.NewServer(x.host.ID(), kept, limits, time.Now); err != nil {
		w.t.Fatal(err)
	}
	close(there)
	x.addr = x.host.Addrs()[0]
	w.t.Cleanup(x.stop)
	return x
}

func (x *harbour) stop() {
	if x.host == nil {
		return
	}
	x.host.Close()
	x.host = nil
	if err := x.db.Close(); err != nil {
		x.w.t.Error(err)
	}
}

// carrier is what a phone says of the one carrier.
func (p *phone) carrier() api.CarrierStatus {
	for _, g := range p.status().Groups {
		if len(g.Carriers) == 1 {
			return g.Carriers[0]
		}
	}
	return api.CarrierStatus{}
}

// Two phones that are never on at the same time have a letter carrier between them.
// It is away for a while, comes back, and they go on by themselves.
func TestCarrierBringsWhatWasMissed(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	limits := rules.DefaultLimits()
	limits.Closed = true
	seed := [32]byte{3}
	dir := filepath.Join(t.TempDir(), "carrier")
	x := w.harbour(dir, "/ip4/127.0.0.1/tcp/0", limits, seed)
	addr := x.addr
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	named := addr + "#" + strings.TrimSuffix("AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "=")
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{named}})
	w.until("both to have visited", func() bool { return ana.carrier().Answered != "" && ben.carrier().Answered != "" })
	if c := ana.carrier(); c.Address != addr || c.Faults != 0 || c.Unreached {
		t.Errorf("%+v", c)
	}
	if p := call[api.Policy](t, ben, api.CommandPolicy, nil); !slices.Equal(p.Carriers, []string{addr}) {
		t.Errorf("the rules are %+v", p)
	}
	ben.stop()
	post1(t, ana, "un")
	x.visited(2) // the second one began after that
	ana.stop()
	ben = w.start(ben.dir, "Ben")
	w.shows([]string{"un"}, ben)

	// Now the carrier is away, and what is written meanwhile comes when it is back.
	x.stop()
	post1(t, ben, "deux")
	w.until("Ben to notice", func() bool { return ben.carrier().Unreached })
	at, _, _ := strings.Cut(addr, "/p2p/")
	x = w.harbour(dir, at, limits)
	w.until("Ben to be there again", func() bool { return !ben.carrier().Unreached })
	x.visited(2)
	ben.stop()
	ana = w.start(ana.dir, "Ana")
	w.shows([]string{"deux", "un"}, ana)
}

// Ben joins although he and Ana are never on at the same time.
func TestJoinByCarrier(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	link := call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{AutoApprove: true}).Link
	x.visited(2)
	ana.stop()
	if j := call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link}); j.State != api.StateWaiting {
		t.Fatalf("%+v", j)
	}
	x.visited(2)
	ben.stop()
	ana = w.start(ana.dir, "Ana")
	w.until("Ana to let him in", func() bool { return ana.status().Groups[0].Members == 2 })
	x.visited(2)
	post1(t, ana, "bienvenue")
	x.visited(2)
	ana.stop()
	ben = w.start(ben.dir, "Ben")
	w.until("Ben to be in", func() bool { return ben.status().Groups[0].Members == 2 })
	w.shows([]string{"bienvenue"}, ben)
	post1(t, ben, "merci")
	x.visited(2)
	ben.stop()
	ana = w.start(ana.dir, "Ana")
	w.shows([]string{"bienvenue", "merci"}, ana)
}

// A closed carrier for which the group has no ticket is left at once, and takes nobody's
// turn.
func TestCarrierThatIsClosed(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	limits := rules.DefaultLimits()
	limits.Closed = true
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", limits)
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	w.until("three visits", func() bool { return x.ended.Load() >= 3 })
	if c := ana.carrier(); x.over.Load() != 0 || c.Faults != 0 {
		t.Errorf("%d sessions came to their end, %+v", x.over.Load(), c)
	}
}

// When carriers are visited: soon after the start and after somebody did something,
// one at a time, and less often while that comes to nothing.
func TestTimesOfVisits(t *testing.T) {
	at := func(n string) string { return "/ip4/192.0.2." + n + "/tcp/4001/p2p/" + carrierID }
	var c carriers
	now := engine.Time(1_000_000)
	if c.due() != 0 {
		t.Error("there is nobody to visit")
	}
	c.sync(now, []string{at("1"), "of a newer version", at("2") + "#" + strings.Repeat("A", 43)})
	if len(c.list) != 2 || c.list[0].ticket != nil || c.list[1].ticket == nil || c.list[0].addr != at("1") {
		t.Fatalf("%+v", c.list)
	}
	for _, x := range c.list {
		if x.next <= now || x.next > now+visitFirst {
			t.Errorf("first at %d", x.next-now)
		}
	}
	if first := c.first(); c.due() != first.next || c.list[0].next < first.next || c.list[1].next < first.next {
		t.Error("it is not the earliest")
	}
	old := c.list[1]
	c.sync(now, []string{c.list[1].named})
	if len(c.list) != 1 || c.list[0] != old {
		t.Error("what was known of a carrier is lost")
	}
	for i := range 12 {
		old.failed(now)
		want := min(failedFirst<<i, visitLinked)
		if d := old.next - now; d < want*4/5 || d > want*6/5+1 {
			t.Errorf("after %d failures it waits %d, want about %d", i+1, d, want)
		}
	}
	c.soon(now, visitSoon)
	if d := old.next - now; d <= 0 || d > visitSoon {
		t.Errorf("somebody wrote something: visited after %d", d)
	}
	next := old.next
	if c.soon(now, visitLinked); old.next > next {
		t.Error("put off")
	}
	if c.busy = true; c.due() != 0 {
		t.Error("two at a time")
	}
}

// With another phone connected a carrier is visited every hour. Once that one is gone
// its letters come as soon as if nobody had been there.
func TestVisitsOnceAlone(t *testing.T) {
	hurried(t)
	visitLinked = engine.Seconds(3_600)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	plan := func() (next, visited engine.Time) {
		ana.inside(func() {
			for _, g := range ana.groups {
				if len(g.carriers.list) == 1 && len(g.links) > 0 && !g.carriers.busy {
					next, visited = g.carriers.list[0].next-ana.now(), g.carriers.list[0].visited
				}
			}
		})
		return next, visited
	}
	var before engine.Time
	w.until("the next visit to be far off", func() bool {
		var next engine.Time
		next, before = plan()
		return next > visitLinked/2
	})
	ben.stop()
	w.until("a visit", func() (done bool) {
		ana.inside(func() {
			for _, g := range ana.groups {
				done = g.carriers.list[0].visited > before
			}
		})
		return done
	})
}

// Two phones that are never on at the same time meet at a carrier on the web road.
func TestCarrierOnTheWeb(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0/tls/ws", rules.DefaultLimits())
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	w.until("both to have visited", func() bool { return ana.carrier().Answered != "" && ben.carrier().Answered != "" })
	if c := ben.carrier(); c.Address != x.addr || c.Unreached {
		t.Errorf("%+v", c)
	}
	ben.stop()
	post1(t, ana, "un")
	x.visited(2) // the second one began after that
	ana.stop()
	w.shows([]string{"un"}, w.start(ben.dir, "Ben"))
}

func TestCarrierAddresses(t *testing.T) {
	good := "/ip4/192.0.2.7/tcp/4001/p2p/" + carrierID
	web := "/dns4/letters.example.org/tcp/443/tls/ws/p2p/" + carrierID
	ticket := "#" + strings.Repeat("A", 43)
	for s, want := range map[string]string{
		good: good, " " + good + "\n": good, good + ticket: good + ticket, "/ip6/2001:DB8::1/udp/1/quic-v1/p2p/" + carrierID: "/ip6/2001:db8::1/udp/1/quic-v1/p2p/" + carrierID,
		"": "", "/ip4/192.0.2.7/tcp/4001": "", "/ip4/0.0.0.0/tcp/4001/p2p/" + carrierID: "", good + "#": "", good + "#AA": "", good + "#" + strings.Repeat("A", 42) + "=": "",
		good + "#" + strings.Repeat("A", 42) + "B": "", good + "/p2p/" + carrierID: "", "/dns4/a.example/tcp/1/p2p/" + carrierID: "", good[:len(good)-1]: "", good + ticket + "#": "",
		web: web, web + ticket: web + ticket, "/ip4/192.0.2.7/tcp/443/tls/ws/p2p/" + carrierID: "/ip4/192.0.2.7/tcp/443/tls/ws/p2p/" + carrierID,
		"/ip4/0.0.0.0/tcp/443/tls/ws/p2p/" + carrierID: "", "/dns4/letters.example.org/tcp/0/tls/ws/p2p/" + carrierID: "",
		"/dns4/letters.example.org/tcp/443/tls/ws": "", "/dns4/Letters.example.org/tcp/443/tls/ws/p2p/" + carrierID: "",
		"/dns4/" + strings.Repeat("a.", 44) + "org/tcp/443/tls/ws/p2p/" + carrierID + ticket: "", // 202 bytes
	} {
		c, ok := parseCarrier(s)
		if ok != (want != "") || ok && (c.named != want || withoutTicket(c.named) != c.addr || len(c.named) > group.MaxFerry) {
			t.Errorf("%q is read as %q, %t", s, c.named, ok)
		}
	}
	// Who names one again without its ticket keeps the ticket.
	var p group.Policy
	with, _ := parseCarrier(good + ticket)
	without, _ := parseCarrier(good)
	if p = nameCarriers(p, []carrier{with}); p.FerryList()[0] != good+ticket {
		t.Errorf("%q", p.FerryList())
	}
	if p = nameCarriers(p, []carrier{without}); p.FerryList()[0] != good+ticket {
		t.Errorf("%q", p.FerryList())
	}
	if p = nameCarriers(p, nil); len(p.FerryList()) != 0 {
		t.Errorf("%q", p.FerryList())
	}
}

func FuzzCarrier(f *testing.F) {
	f.Add("/ip4/192.0.2.7/tcp/4001/p2p/" + carrierID + "#" + strings.Repeat("A", 43))
	f.Add("/dns4/letters.example.org/tcp/443/tls/ws/p2p/" + carrierID)
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := parseCarrier(s); ok {
			if len(c.named) > group.MaxFerry {
				t.Errorf("%q is too long", c.named)
			}
			if d, ok := parseCarrier(c.named); !ok || d.named != c.named {
				t.Errorf("%q is read as %q, and that as %q", s, c.named, d.named)
			}
		}
	})
}
