package node

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol"
)

// measureSpread makes the measurement of this file, which takes a while.
var measureSpread = flag.Bool("spread", false, "measure how notices spread among 20 phones, and what it costs")

// inNamespace says that the test runs where nothing else uses the network.
const inNamespace = "PALABRE_TEST_NAMESPACE"

// The measurement and its demands.
const (
	spreadNodes   = 20
	spreadLinks   = 4 // that each dials, of those before it
	spreadRuns    = 5
	spreadPaced   = 60
	spreadPace    = 300 * time.Millisecond
	spreadBurst   = 1000
	spreadSeed    = 34
	spreadIdle    = 20 * time.Second
	mostEnvelopes = 1.6
	mostHints     = 2.5 // times the p95 of the floor that commits the same
	mostTree      = 2.0
)

// ownNetwork runs the test again in a network of its own, so that what the system counts
// is of these hosts alone. It returns false where that was done.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	if !*measureSpread {
		t.Skip("a measurement: go test ./node -run '^TestSpread$' -spread -v -timeout 1h")
	}
	if os.Getenv(inNamespace) != "" {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		r, err := unix.NewIfreq("lo")
		must(t, err)
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		must(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r))
		return true
	}
	self, err := os.Executable()
	must(t, err)
	c := exec.Command(self, "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "0", "-spread")
	c.Env = append(os.Environ(), inNamespace+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	must(t, c.Run())
	return false
}

// onLoopback is how many bytes of IP packets loopback carried: each packet once, those of
// both directions, without the 14 bytes that the system counts before each.
func onLoopback(t *testing.T) (bytes, packets int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/dev")
	must(t, err)
	for l := range strings.Lines(string(text)) {
		if f := strings.Fields(l); len(f) > 10 && f[0] == "lo:" {
			_, err := fmt.Sscan(f[9]+" "+f[10], &bytes, &packets)
			must(t, err)
			return bytes - 14*packets, packets
		}
	}
	t.Fatal("no loopback")
	return 0, 0
}

// phones is the group as people have it.
type phones struct {
	t     *testing.T
	all   []*phone
	group protocol.GroupID
}

func newPhones(t *testing.T) *phones {
	w := newWorld(t)
	p := &phones{t: t}
	for i := range spreadNodes {
		dir := w.profile(fmt.Sprintf("phone%02d", i))
		p.all = append(p.all, w.startWith(Config{Dir: dir, Listen: loopback[:1]}, fmt.Sprintf("phone%02d", i), nil))
	}
	group := p.all[0].found(api.GroupCreateArgs{Posting: api.PostingAll})
	p.all[0].admit(group, p.all[1:]...)
	for _, x := range p.all {
		x.inside(func() {
			for id := range x.groups {
				p.group = id
			}
		})
	}
	return p
}

// of runs f where the engine of a phone may be read.
func (p *phones) of(i int, f func(n *Node, g *groupState)) {
	p.t.Helper()
	x := p.all[i]
	x.inside(func() { f(x.Node, x.groups[p.group]) })
}

// until waits, for as long as patience, until something holds of every phone.
func (p *phones) until(what string, holds func(g *groupState) bool) {
	p.t.Helper()
	for i, x := range p.all {
		x.w.until(fmt.Sprintf("%s: %s", x.name, what), func() (yes bool) {
			p.of(i, func(_ *Node, g *groupState) { yes = holds(g) })
			return yes
		})
	}
}

// graph is who has dialled whom.
func (p *phones) graph() (list []edge) {
	at := map[string]int{}
	for i := range p.all {
		p.of(i, func(_ *Node, g *groupState) {
			for _, a := range g.own {
				at[a] = i
			}
		})
	}
	seen := map[edge]bool{}
	for i := range p.all {
		p.of(i, func(_ *Node, g *groupState) {
			for _, place := range g.book.places {
				if place.link == 0 {
					continue
				}
				for _, a := range place.addrs {
					if j, ok := at[a]; ok && i != j && !seen[edge{i, j}] && !seen[edge{j, i}] {
						seen[edge{i, j}] = true
						list = append(list, edge{i, j})
					}
				}
			}
		})
	}
	return list
}

// pin ends all links, and makes those of a graph in their place: from then on no phone dials
// by itself.
func (p *phones) pin(graph []edge) {
	p.t.Helper()
	addrs := make([]string, len(p.all))
	for i, x := range p.all {
		p.of(i, func(_ *Node, g *groupState) { addrs[i] = g.own[0] })
		x.touch(func(n *Node) { n.cfg.Careful = true }) // what is left of that here is that it dials nobody
	}
	p.all[0].w.until("no links", func() bool {
		busy := 0
		for _, x := range p.all {
			x.touch(func(n *Node) {
				g := n.groups[p.group]
				for id := range g.links {
					g.host.CloseLink(id)
					busy++
				}
				for _, place := range g.book.places {
					if place.dialing {
						busy++
					}
				}
			})
		}
		return busy == 0
	})
	degree := make([]int, len(p.all))
	for _, e := range graph {
		degree[e.a]++
		degree[e.b]++
		var host *p2p.Host
		p.of(e.a, func(_ *Node, g *groupState) { host = g.host })
		ctx, cancel := context.WithTimeout(p.t.Context(), patience)
		_, err := host.Dial(ctx, addrs[e.b])
		cancel()
		if err != nil {
			p.t.Fatalf("%s dials %s: %v", p.all[e.a].name, p.all[e.b].name, err)
		}
	}
	for i, x := range p.all {
		x.w.until(fmt.Sprintf("%d links of %s", degree[i], x.name), func() (yes bool) {
			p.of(i, func(_ *Node, g *groupState) { yes = len(g.links) == degree[i] })
			return yes
		})
	}
}

// touch runs f where the engines may be touched.
func (p *phone) touch(f func(n *Node)) {
	p.w.t.Helper()
	must(p.w.t, p.change(p.w.t.Context(), func() (*groupState, error) { f(p.Node); return nil, nil }))
}

// spreader is the phones as one way for notices to spread.
func (p *phones) spreader(name string) *spreader {
	s := &spreader{name: name, tape: newTape(len(p.all))}
	for i, x := range p.all {
		go x.Watch(p.t.Context(), func(ev api.Event) error {
			if ev.Event == api.EventNotice {
				s.tape.note(i, ev.ID)
			}
			return nil
		})
	}
	count := 0
	s.post = func(from int) string {
		count++
		title := fmt.Sprintf("avis %04d", count)
		return call[api.Posted](p.t, p.all[from], api.CommandPost, api.PostArgs{Kind: api.KindAnnouncement,
			Texts: []api.Text{{Lang: "fr", Title: title, Body: strings.Repeat("b", 256-len(title))}}}).ID
	}
	return s
}

// outcome is what a run measured.
type outcome struct {
	envelopes float64 // on the wire for each receiver
	packets   float64
	p50, p95  time.Duration
	lacking   int
}

// idle is what a second costs in which nothing is said.
func idleRate(t *testing.T) float64 {
	from, _ := onLoopback(t)
	began := time.Now()
	<-time.After(spreadIdle)
	to, _ := onLoopback(t)
	return float64(to-from) / time.Since(began).Seconds()
}

// paced lets drawn nodes write, one after another, and measures.
func (s *spreader) paced(t *testing.T, r *rand.Rand, idle float64) (o outcome) {
	t.Helper()
	s.tape.clear()
	began := time.Now()
	from, packets := onLoopback(t)
	tick := time.NewTicker(spreadPace)
	defer tick.Stop()
	written := map[string]time.Time{}
	by := map[string]int{}
	for range spreadPaced {
		<-tick.C
		at, i := time.Now(), r.IntN(spreadNodes)
		id := s.post(i)
		written[id], by[id] = at, i
	}
	o.lacking = spreadPaced - s.tape.until(spreadPaced, patience)
	<-time.After(2 * time.Second) // what is told afterwards belongs to it
	to, morePackets := onLoopback(t)
	receivers := float64(spreadPaced * (spreadNodes - 1))
	o.envelopes = (float64(to-from) - idle*time.Since(began).Seconds()) / protocol.BucketSmall / receivers
	o.packets = float64(morePackets-packets) / receivers
	var took []time.Duration
	s.tape.mu.Lock()
	defer s.tape.mu.Unlock()
	for id, at := range written {
		for i, x := range s.tape.at[id] {
			if i != by[id] {
				took = append(took, x.Sub(at))
			}
		}
	}
	slices.Sort(took)
	if len(took) > 0 {
		o.p50, o.p95 = took[len(took)/2], took[len(took)*95/100]
	}
	return o
}

func (o outcome) String() string {
	return fmt.Sprintf("%.2f envelopes for each receiver in %.1f packets, p50 %v, p95 %v, %d notices incomplete",
		o.envelopes, o.packets, o.p50.Round(100*time.Microsecond), o.p95.Round(100*time.Microsecond), o.lacking)
}

func median[T cmp.Ordered](list []T) T {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// burst lets one node write as fast as it can, and says how many everybody has.
func (s *spreader) burst(t *testing.T) {
	t.Helper()
	s.tape.clear()
	began := time.Now()
	from, _ := onLoopback(t)
	for range spreadBurst {
		s.post(0)
	}
	wrote := time.Since(began)
	got := s.tape.until(spreadBurst, 5*time.Minute)
	to, _ := onLoopback(t)
	t.Logf("%s: of a burst of %d everybody has %d; written in %v, everywhere after %v, %.2f envelopes for each receiver", s.name, spreadBurst, got,
		wrote.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), float64(to-from)/protocol.BucketSmall/spreadBurst/(spreadNodes-1))
	if got != spreadBurst {
		t.Errorf("%s: a burst is not complete", s.name)
	}
}

func degrees(graph []edge) (least, most int) {
	d := make([]int, spreadNodes)
	for _, e := range graph {
		d[e.a]++
		d[e.b]++
	}
	return slices.Min(d), slices.Max(d)
}

// TestSpread compares hints with a tree and with a floor, decision 034.
func TestSpread(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	r := rand.New(rand.NewPCG(spreadSeed, 2))
	people := newPhones(t)
	people.until("all addresses", func(g *groupState) bool { return len(g.engine.PeerAddresses()) == spreadNodes-1 })
	people.until("its links", func(g *groupState) bool { return g.book.busy() >= maxLinks })
	hints := people.spreader("hints")
	graph := people.graph()
	least, most := degrees(graph)
	t.Logf("phones left to themselves: %d links, %d to %d of each", len(graph), least, most)
	_ = hints.paced(t, r, 0)
	idle := idleRate(t)
	var alone []outcome
	for run := range 3 {
		alone = append(alone, hints.paced(t, r, idle))
		t.Logf("run %d on these links, hints (idle %.0f B/s): %v", run, idle, alone[run])
	}
	judge(t, "hints, phones left to themselves", alone)

	graph = spreadGraph(spreadSeed, spreadNodes, spreadLinks)
	least, most = degrees(graph)
	people.pin(graph)
	t.Logf("the graph for all: %d links, %d to %d of each", len(graph), least, most)
	floors := []*spreader{newFloor(t, graph, spreadNodes, noCommits), newFloor(t, graph, spreadNodes, thenCounted), newFloor(t, graph, spreadNodes, thenPassed)}
	ways := append(slices.Clone(floors), hints, newTreeSpread(t, graph, spreadNodes))
	for _, s := range ways {
		_ = s.paced(t, r, 0) // the first time is for paths and branches to form
	}
	idle = idleRate(t)
	t.Logf("idle, all together: %.0f B/s", idle)
	outcomes := map[string][]outcome{}
	for run := range spreadRuns {
		for _, s := range ways {
			o := s.paced(t, r, idle)
			t.Logf("run %d, %s: %v", run, s.name, o)
			outcomes[s.name] = append(outcomes[s.name], o)
		}
	}
	p95 := map[string]time.Duration{}
	for _, s := range ways {
		p95[s.name] = judge(t, s.name, outcomes[s.name])
	}
	for name, most := range map[string]float64{"hints": mostHints, "tree": mostTree} {
		for _, f := range floors {
			ratio := float64(p95[name]) / float64(p95[f.name])
			t.Logf("p95 of %s is %.2f times that of: %s", name, ratio, f.name)
			if f == floors[thenPassed] && ratio > most {
				t.Errorf("%s: p95 is %.2f times the floor's, more than %.1f", name, ratio, most)
			}
		}
	}
	for _, s := range ways[thenPassed:] {
		s.burst(t)
	}
	lose(t)
	for _, s := range ways[thenPassed:] {
		o := s.paced(t, r, idle)
		t.Logf("a fifth of all packets lost, %s: %v", s.name, o)
		if o.lacking != 0 {
			t.Errorf("%s: with a fifth of all packets lost %d notices are incomplete", s.name, o.lacking)
		}
	}
}

// judge tells the medians of some runs of one way, and returns that of the p95.
func judge(t *testing.T, name string, runs []outcome) time.Duration {
	t.Helper()
	var e []float64
	var p50, p95 []time.Duration
	for _, o := range runs {
		e, p50, p95 = append(e, o.envelopes), append(p50, o.p50), append(p95, o.p95)
		if o.lacking > 0 {
			t.Errorf("%s: %d notices incomplete", name, o.lacking)
		}
	}
	t.Logf("median of %d, %s: %.2f envelopes, p50 %v, p95 %v", len(runs), name, median(e), median(p50).Round(100*time.Microsecond), median(p95).Round(100*time.Microsecond))
	if !strings.HasPrefix(name, "floor") && median(e) > mostEnvelopes {
		t.Errorf("%s: %.2f envelopes for each receiver, more than %.1f", name, median(e), mostEnvelopes)
	}
	return median(p95)
}

// lose drops a fifth of all packets from now on, drawn. The network ends with the test.
func lose(t *testing.T) {
	t.Helper()
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(`table ip loss {
		chain in { type filter hook input priority 0; meta l4proto udp numgen random mod 100 < 20 drop; }
	}`)
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s (install nftables, and run as root)", err, out)
	}
}
