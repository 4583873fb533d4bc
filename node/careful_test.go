package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol/engine"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// careful starts a profile with --careful.
func (w *world) careful(dir, name string) *phone {
	w.t.Helper()
	return w.startWith(Config{Dir: dir, Careful: true}, name, nil)
}

// listening counts this process's sockets that others can connect to by IP, or send to.
func listening(t *testing.T) (n int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("sockets are counted on linux only")
	}
	open := map[string]bool{}
	for f, state := range map[string]string{"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"} {
		b, err := os.ReadFile("/proc/self/net/" + f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			if cols := strings.Fields(line); len(cols) > 9 && cols[3] == state {
				open["socket:["+cols[9]+"]"] = true
			}
		}
	}
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, _ := os.Readlink(f); open[to] {
			n++
		}
	}
	return n
}

// trap is a port at which nobody is to call.
type trap struct {
	net.Listener
	calls atomic.Int64
}

func newTrap(t *testing.T, at string) *trap {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	x := &trap{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			x.calls.Add(1)
			c.Close()
		}
	}()
	return x
}

// carefulLines has a test for each line of README's table of --careful, by its first
// cell.
var carefulLines = map[string]func(*testing.T){
	"nobody can connect to this phone, and nobody is told where it is":                                                             carefulTellsNobody,
	"it connects to no other phone, whatever addresses it knows":                                                                   carefulDialsNobody,
	"`connect`, `--listen` and `--lan` are refused":                                                                                carefulRefuses,
	"invites and links need a letter carrier":                                                                                      carefulLinks,
	"nothing goes at the moment when it is written":                                                                                carefulKeepsItsTimes,
	"without `--proxy`, letter carriers that do not look like a page of the web are left out, where the group names one that does": carefulPrefersTheWeb,
}

// What README says of --careful is tested line by line.
func TestCarefulIsAsDocumented(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## Being careful\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("README does not tell of it")
	}
	said := map[string]bool{}
	for _, line := range strings.Split(section, "\n") {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| what") {
			continue
		}
		what := strings.TrimPrefix(cells[0], "| ")
		said[what] = true
		if len(cells) != 2 || len(cells[1]) < 10 {
			t.Errorf("%q costs nothing", what)
		}
		if carefulLines[what] == nil {
			t.Errorf("%q is said and not tested", what)
		}
	}
	for what, test := range carefulLines {
		if !said[what] {
			t.Errorf("%q is tested and not said", what)
		}
		t.Run(strings.ReplaceAll(what, " ", "_"), test)
	}
}

// pair is two phones of a group, and its letter carrier.
func pair(t *testing.T) (w *world, x *harbour, ana, ben *phone) {
	t.Helper()
	hurried(t)
	w = newWorld(t)
	x = w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana, ben = w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{x.addr}})
	w.until("both to have visited", func() bool { return ana.carrier().Answered != "" && ben.carrier().Answered != "" })
	return w, x, ana, ben
}

func carefulTellsNobody(t *testing.T) {
	w, _, ana, ben := pair(t)
	ana.stop()
	ben.stop()
	before := listening(t)
	ana = w.careful(ana.dir, "Ana")
	w.until("a visit", func() bool { return ana.carrier().Answered != "" })
	if more := listening(t) - before; more != 0 || len(ana.addrs) != 0 {
		t.Errorf("%d sockets more; it is at %q", more, ana.addrs)
	}
	ana.inside(func() {
		for _, g := range ana.groups {
			if g.host == nil || len(g.host.Addrs())+len(g.own)+len(ana.linkAddrs(g)) > 0 {
				t.Errorf("it is at %q", g.own)
			}
		}
	})
	ana.stop()
	ana = w.start(ana.dir, "Ana") // the count sees what it should
	if listening(t) == before {
		t.Error("a phone that is not careful has no sockets either")
	}
}

func carefulDialsNobody(t *testing.T) {
	w, x, ana, ben := pair(t)
	call[api.Done](t, ana, api.CommandConnect, api.ConnectArgs{Addr: "/ip4/127.0.0.1/tcp/1"})
	ana.stop()
	var traps []*trap
	at := ben.addrs
	ben.stop()
	for _, s := range at {
		if a, _ := parseAddress(s); !a.udp {
			traps = append(traps, newTrap(t, fmt.Sprintf("127.0.0.1:%d", a.port)))
		}
	}
	ana = w.careful(ana.dir, "Ana")
	post1(t, ana, "un")
	x.visited(3)
	ana.inside(func() {
		for _, g := range ana.groups {
			if len(g.book.places) == 0 || slices.ContainsFunc(g.book.places, func(p *place) bool { return p.tried != 0 || p.dialing }) {
				t.Errorf("of %d places one was dialled", len(g.book.places))
			}
		}
		if s := ana.sleep(); s <= minSleep {
			t.Errorf("it does not sleep for what it never does: %v", s)
		}
	})
	for _, x := range traps {
		if x.calls.Load() > 0 {
			t.Error("another phone was dialled")
		}
		x.Close()
	}
	if len(traps) == 0 {
		t.Error("there was nothing to dial")
	}
	w.shows([]string{"un"}, w.start(ben.dir, "Ben")) // by the letter carrier
}

func carefulRefuses(t *testing.T) {
	w := newWorld(t)
	ana := w.careful(w.profile("Ana"), "Ana")
	refused(t, ana, api.CodeCareful, api.CommandConnect, api.ConnectArgs{Addr: "/ip4/192.0.2.1/tcp/4001"})
	if _, err := Open(Config{Dir: t.TempDir(), Careful: true, Listen: loopback}); api.CodeOf(err) != api.CodeCarefulListens {
		t.Error(err)
	}
	if _, err := Open(Config{Dir: t.TempDir(), Careful: true, LAN: true}); api.CodeOf(err) != api.CodeLANWouldTell {
		t.Error(err)
	}
}

func carefulLinks(t *testing.T) {
	hurried(t)
	w := newWorld(t)
	x := w.harbour(filepath.Join(t.TempDir(), "carrier"), "/ip4/127.0.0.1/tcp/0", rules.DefaultLimits())
	ana, ben := w.careful(w.profile("Ana"), "Ana"), w.phone("Ben")
	first := ben.found(api.GroupCreateArgs{})
	bare := call[api.Invite](t, ben, api.CommandInvite, api.InviteArgs{Group: first, AutoApprove: true}).Link
	refused(t, ana, api.CodeCarefulLink, api.CommandJoin, api.JoinArgs{Link: bare})
	second := ana.found(api.GroupCreateArgs{})
	refused(t, ana, api.CodeNoAddress, api.CommandInvite, api.InviteArgs{Group: second})
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Group: second, Carriers: &[]string{x.addr}})
	link := call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{Group: second, AutoApprove: true}).Link
	if j := call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link, WaitSeconds: 60}); j.State != api.StateJoined {
		t.Errorf("%+v", j)
	}
}

func carefulKeepsItsTimes(t *testing.T) {
	w, _, ana, ben := pair(t)
	ana.stop()
	ben.stop()
	visitAlone = engine.Seconds(15 * 60)
	for _, c := range []struct {
		phone *phone
		soon  bool
	}{{w.start(ben.dir, "Ben"), true}, {w.careful(ana.dir, "Ana"), false}} {
		p := c.phone
		var before, after engine.Time
		w.until("the first visit to be over", func() (over bool) {
			p.inside(func() {
				for _, g := range p.groups {
					over = !g.carriers.busy && len(g.carriers.list) == 1 && g.carriers.list[0].visited != 0
				}
			})
			return over
		})
		look := func(at *engine.Time) func() {
			return func() {
				for _, g := range p.groups {
					*at = g.carriers.list[0].next
				}
			}
		}
		p.inside(look(&before))
		if left := before - p.now(); left < visitAlone*3/4 || left > visitAlone*5/4 {
			t.Errorf("%s: the next visit is in %d s", p.name, left/1000)
		}
		post1(t, p, "un")
		p.inside(look(&after))
		if (after != before) != c.soon {
			t.Errorf("%s: a visit was planned for %d, and after writing for %d", p.name, before, after)
		}
	}
}

func carefulPrefersTheWeb(t *testing.T) {
	w, x, ana, ben := pair(t)
	plain := newTrap(t, "127.0.0.1:0")
	at := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", plain.Addr().(*net.TCPAddr).Port, carrierID)
	x.stop()
	web := w.harbour(filepath.Join(t.TempDir(), "web"), "/ip4/127.0.0.1/tcp/0/tls/ws", rules.DefaultLimits())
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{at, web.addr}})
	w.until("both carriers to be visited by who is not careful", func() bool { return plain.calls.Load() > 0 && web.over.Load() > 0 })
	ana.stop()
	ben.stop()
	calls := plain.calls.Load()
	ana = w.careful(ana.dir, "Ana")
	web.visited(3)
	if ana.carrier().Address != web.addr { // of one alone
		t.Errorf("%+v", ana.status())
	}
	if plain.calls.Load() != calls {
		t.Error("the other one was visited too")
	}
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{at}})
	w.until("the other one to be visited where there is none on the web", func() bool { return plain.calls.Load() > calls })
	for _, proxy := range []string{"", "127.0.0.1:9050"} {
		n, want := &Node{cfg: Config{Careful: true, Proxy: proxy}}, []string{at, web.addr}
		if proxy == "" {
			want = want[1:]
		}
		if got := n.carefully([]string{at, web.addr}); !slices.Equal(got, want) {
			t.Errorf("with the proxy %q: %q", proxy, got)
		}
	}
}
