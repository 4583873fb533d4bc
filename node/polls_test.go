package node

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol/engine"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// quick lets polls follow one another at once, for one test.
func quick(t *testing.T) {
	hurried(t)
	times := []*engine.Time{&pollEvery, &pollNight, &pollQuiet}
	for i, to := range []engine.Time{500, 500, 300} {
		before := *times[i]
		*times[i] = to
		t.Cleanup(func() { *times[i] = before })
	}
}

// saver starts a profile that saves data.
func (w *world) saver(dir, name string) *phone {
	w.t.Helper()
	return w.startWith(Config{Dir: dir, Listen: loopback, Saver: true}, name, nil)
}

// A phone that saves data looks for news by itself, brings its own, and is linked to
// nobody and reachable by nobody in between.
func TestSaverPolls(t *testing.T) {
	quick(t)
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	w.until("addresses", func() bool { return len(known(ana)) > 0 })
	ana.stop()
	post1(t, ben, "un")
	ana = w.saver(ana.dir, "Ana")
	if len(ana.addrs) > 0 || !ana.status().Saver || ben.status().Saver {
		t.Errorf("it listens at %v", ana.addrs)
	}
	w.shows([]string{"un"}, ana)
	for i, title := range []string{"deux", "trois"} {
		w.until("a pause between two visits", func() bool { return ana.quiet() && ana.status().Peers == 0 && ben.status().Peers == 0 })
		ana.inside(func() {
			for _, g := range ana.groups {
				if len(g.links) > 0 || len(g.own) > 0 || len(g.host.Addrs()) > 0 || g.poll.next == 0 {
					t.Errorf("between two visits: %d links, %v, next %d", len(g.links), g.host.Addrs(), g.poll.next)
				}
				if p := g.poll.place; p == nil || p.via == "" || costly(p.via) {
					t.Errorf("the last call was to %+v", p)
				}
			}
		})
		if i == 0 {
			post1(t, ana, title)
		} else {
			post1(t, ben, title)
		}
	}
	w.shows([]string{"un", "deux", "trois"}, ana, ben)
	w.until("Ana to know that hers came", func() bool { return ana.status().Groups[0].Unsent == 0 })
	// An invite would name no address where somebody answers.
	refused(t, ana, api.CodeNoAddress, api.CommandInvite, api.InviteArgs{})
	refused(t, w.offline(w.profile("Chi")), api.CodeNotRunning, api.CommandFetch, nil)
}

func known(p *phone) (list [][]string) {
	p.inside(func() {
		for _, g := range p.groups {
			list = g.engine.PeerAddresses()
		}
	})
	return list
}

// Two phones that save data, and are both on, have a letter carrier between them: they
// never meet.
func TestSaversByCarrier(t *testing.T) {
	quick(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	w.until("both to know of it", func() bool { return ana.carrier().Answered != "" && ben.carrier().Answered != "" })
	ana.stop()
	ben.stop()
	ana, ben = w.saver(ana.dir, "Ana"), w.saver(ben.dir, "Ben")
	a, b := ana.spent(), ben.spent()
	post1(t, ana, "un")
	w.shows([]string{"un"}, ben)
	post1(t, ben, "deux")
	w.shows([]string{"un", "deux"}, ana)
	for p, before := range map[*phone]api.Data{ana: a, ben: b} {
		now := p.spent()
		if now.Month.Letters != before.Month.Letters || now.Month.Comparing != before.Month.Comparing {
			t.Errorf("%s met somebody: %+v, before %+v", p.name, now.Month, before.Month)
		}
		if got := now.Month.Carriers.In - before.Month.Carriers.In; got < 2_048 {
			t.Errorf("%s had %d bytes of the letter carrier", p.name, got)
		}
	}
}

// A carrier that does not answer does not keep a phone from looking for members.
func TestSaverWithoutItsCarrier(t *testing.T) {
	quick(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	w.until("both to know of it", func() bool {
		return ana.carrier().Answered != "" && ben.carrier().Answered != "" && len(known(ana)) > 0
	})
	ana.stop()
	x.stop()
	ana = w.saver(ana.dir, "Ana")
	post1(t, ben, "un")
	w.shows([]string{"un"}, ana)
}

// Who is let in while data is to be saved keeps a link until then, and none after.
func TestSaverJoins(t *testing.T) {
	quick(t)
	w := newWorld(t)
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	ben := w.saver(w.profile("Ben"), "Ben")
	ana.admit("", ben)
	post1(t, ana, "bienvenue")
	w.shows([]string{"bienvenue"}, ben)
	w.until("no link", func() bool { return ben.quiet() && ben.status().Peers == 0 && ana.status().Peers == 0 })
	// He leaves, and somebody knows.
	if left := call[api.Left](t, ben, api.CommandLeave, nil); !left.Told {
		t.Errorf("%+v", left)
	}
}

// Who waits to be let in by a person does not wait for the next look.
func TestSaverWaitsToBeLetIn(t *testing.T) {
	quick(t)
	pollEvery, pollNight, visitFirst = engine.Seconds(24*3600), engine.Seconds(24*3600), 1
	w := newWorld(t)
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	ben := w.saver(w.profile("Ben"), "Ben")
	link := call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{}).Link
	call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link})
	var list []api.Request
	w.until("the request", func() bool {
		list = call[[]api.Request](t, ana, api.CommandRequests, nil)
		return len(list) > 0
	})
	w.until("a visit to be over, if it was one", ben.quiet)
	call[api.Done](t, ana, api.CommandApprove, api.ApproveArgs{ID: list[0].ID})
	w.until("Ben to be in", func() bool { return ben.status().Groups[0].Members == 2 })
}

// Who was away while keys were renewed has all of it after one look.
func TestSaverCatchesUpInOnePoll(t *testing.T) {
	quick(t)
	pollEvery, pollNight = engine.Seconds(24*3600), engine.Seconds(24*3600)
	w := newWorld(t)
	ana, ben, chi := w.phone("Ana"), w.phone("Ben"), w.phone("Chi")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben, chi)
	w.until("names and addresses", func() bool {
		return ana.memberOf("Chi") != "" && ben.memberOf("Ana") != "" && len(known(ben)) == 2
	})
	ben.stop()
	chi.stop()
	call[api.Done](t, ana, api.CommandRemove, api.RemoveArgs{Member: ana.memberOf("Chi")})
	w.until("new keys", func() bool { return !ana.status().Groups[0].Waiting })
	post1(t, ana, "entre nous")
	ben = w.saver(ben.dir, "Ben") // who looks once, at the start
	w.shows([]string{"entre nous"}, ben)
}

// Letter carriers do not carry all: a member is looked for as well, once a day.
func TestSaverLooksForAMember(t *testing.T) {
	quick(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	w.until("both to know of it", func() bool {
		return ana.carrier().Answered != "" && ben.carrier().Answered != "" && len(known(ana)) > 0
	})
	ana.stop()
	before := ben.spent()
	ana = w.saver(ana.dir, "Ana")
	at := func() (looked engine.Time) {
		ana.inside(func() {
			for _, g := range ana.groups {
				looked = g.poll.member
			}
		})
		return looked
	}
	w.until("Ana to call Ben", func() bool {
		return ben.spent().Month.Comparing.In > before.Month.Comparing.In && at() != 0 && ana.quiet() && ana.carrier().Answered != ""
	})
	first := at()
	for range 3 {
		ana.inside(func() {
			for _, g := range ana.groups {
				g.book.hurry(ana.now()) // nothing else keeps her from it
			}
		})
		x.visited(1)
	}
	w.until("the last one to end", ana.quiet)
	if at() != first {
		t.Error("twice in one day")
	}
}

// What a person does goes out although the cap is reached, and does not cost without
// bound.
func TestPollOverTheCapIsShort(t *testing.T) {
	quick(t)
	before := pollUse
	pollUse = 1
	t.Cleanup(func() { pollUse = before })
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	w.until("a link", func() bool { return ana.status().Peers == 1 && ben.status().Peers == 1 && len(known(ana)) > 0 })
	call[api.Data](t, ana, api.CommandDataSet, api.DataSetArgs{CapBytes: minCap})
	ana.spend(minCap)
	w.until("no link", func() bool { return ana.status().Peers == 0 && ben.status().Peers == 0 })
	post1(t, ben, "un")
	spent := total(ana.spent().Today)
	call[api.Done](t, ana, api.CommandFetch, nil)
	w.until("a visit that ends at once", func() bool { return total(ana.spent().Today) > spent && ana.quiet() && ana.status().Peers == 0 })
	if got := titles(t, ana); len(got) > 0 {
		t.Errorf("it went on until %q was there", got)
	}
}

func TestTimesOfPolls(t *testing.T) {
	w := newWorld(t)
	ana := w.phone("Ana")
	pause := func(hour int) (got engine.Time) {
		ana.inside(func() {
			ana.clock = func() time.Time { return time.Date(2026, 11, 30, hour, 30, 0, 0, time.Local) }
			got = ana.pollPause()
			ana.clock = time.Now
		})
		return got
	}
	for _, c := range []struct {
		groups      int
		day, night_ engine.Time
	}{{0, pollEvery, pollNight}, {1, pollEvery, pollNight}, {2, 2 * pollEvery, pollNight}, {5, 5 * pollEvery, 5 * pollEvery}} {
		for len(ana.status().Groups) < c.groups {
			ana.found(api.GroupCreateArgs{})
		}
		if pause(6) != c.day || pause(12) != c.day || pause(22) != c.day {
			t.Errorf("%d groups: %d by day", c.groups, pause(12))
		}
		if pause(23) != c.night_ || pause(0) != c.night_ || pause(5) != c.night_ {
			t.Errorf("%d groups: %d at night", c.groups, pause(0))
		}
	}
	var p poll
	p.soon(1_000, 500, false)
	if p.next <= 1_000 || p.next > 1_500 || p.asked {
		t.Errorf("%+v", p)
	}
	next := p.next
	if p.soon(1_000, 50_000_000, true); p.next > next || !p.asked {
		t.Errorf("%+v", p)
	}
	if p.soon(1_000, 1, false); p.next != 1_001 || !p.asked {
		t.Errorf("%+v", p)
	}
	if p.told(7); p.heard != 0 {
		t.Error("there is no link")
	}
}

// A poll calls by TCP alone, and those last that have not answered for long.
func TestWhomAPollCalls(t *testing.T) {
	var b book
	now := engine.Time(1_000_000)
	at := func(n, kind string) string {
		if kind == "quic" {
			return "/ip4/192.0.2." + n + "/udp/4001/quic-v1"
		}
		return "/ip4/192.0.2." + n + "/tcp/4001"
	}
	if b.pick(now) != nil {
		t.Error("there is nobody")
	}
	b.add(now, []string{at("1", "quic")}, true)
	if b.pick(now) != nil {
		t.Error("it answers by QUIC alone")
	}
	b.add(now, []string{at("2", "quic"), at("2", "tcp")}, false)
	b.add(now, []string{at("3", "tcp")}, false)
	var called []string
	for range 4 {
		p := b.pick(now)
		called = append(called, strings.Split(p.addrs[0], "/")[2])
		p.tried = now
		if p.addrs[0] == at("2", "quic") {
			b.failed(now, p, pauseLast)
			p.pause = pauseLast
			p.next = now
		}
		now += 1_000
	}
	if want := []string{"192.0.2.2", "192.0.2.3", "192.0.2.3", "192.0.2.3"}; !slices.Equal(called, want) {
		t.Errorf("%v", called)
	}
	if !costly(at("1", "quic")) || costly(at("1", "tcp")) {
		t.Error("QUIC is what costs")
	}
}
