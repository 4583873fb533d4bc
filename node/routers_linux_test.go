package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
)

// Two phones in two homes, each behind a router of its own, and a letter carrier in a
// network that both routers reach. Everything is in network namespaces of the kernel that
// the test makes and that lead nowhere else; each part is a process of its own.

// street is the network between the homes. Its addresses are public ones of the real
// world, which is not connected.
type street struct {
	t    *testing.T
	name string // of its namespaces, followed by what they are
}

func (s street) run(name string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// ip runs the lines of a script, each the arguments of ip; @ stands for the names.
func (s street) ip(script string) {
	s.t.Helper()
	for line := range strings.Lines(script) {
		if args := strings.Fields(strings.ReplaceAll(line, "@", s.name)); len(args) > 0 {
			s.run("ip", args...)
		}
	}
}

// build makes it. Masquerade is how the routers give out ports: "" keeps them where it
// can, so that a hole can be punched; "random" gives each connection another one.
func (s street) build(masquerade string) {
	s.t.Helper()
	for _, n := range []string{"pub", "natA", "natB", "lanA", "lanB"} {
		s.ip("netns add @" + n)
		s.t.Cleanup(func() { exec.Command("ip", "netns", "del", s.name+n).Run() })
		s.ip("-n @" + n + " link set lo up")
	}
	s.ip(`-n @pub link add br0 type bridge
		-n @pub link set br0 up
		-n @pub addr add 1.0.0.1/24 dev br0`)
	for i, home := range []string{"A", "B"} {
		lan := "192.168." + strconv.Itoa(i+1)
		s.ip(`link add wan netns @nat` + home + ` type veth peer name to` + home + ` netns @pub
			-n @pub link set to` + home + ` master br0 up
			-n @nat` + home + ` addr add 1.0.0.1` + strconv.Itoa(i+1) + `/24 dev wan
			-n @nat` + home + ` link set wan up
			link add eth netns @lan` + home + ` type veth peer name home netns @nat` + home + `
			-n @nat` + home + ` addr add ` + lan + `.1/24 dev home
			-n @nat` + home + ` link set home up
			-n @lan` + home + ` addr add ` + lan + `.2/24 dev eth
			-n @lan` + home + ` link set eth up
			-n @lan` + home + ` route add default via ` + lan + `.1`)
		nat := s.name + "nat" + home
		s.run("ip", "netns", "exec", nat, "sysctl", "-qw", "net.ipv4.ip_forward=1")
		nft := exec.Command("ip", "netns", "exec", nat, "nft", "-f", "-")
		nft.Stdin = strings.NewReader(`table ip nat {
			chain post { type nat hook postrouting priority 100; oifname "wan" masquerade ` + masquerade + `; }
		}
		table ip filter {
			chain passing { type filter hook forward priority 0; policy drop;
				ct state established,related accept
				iifname "home" accept
			}
			chain incoming { type filter hook input priority 0; policy accept; iifname "wan" ct state new drop; }
		}`)
		if out, err := nft.CombinedOutput(); err != nil {
			s.t.Fatalf("nft: %v: %s", err, out)
		}
	}
}

// process is this test's program in a namespace, in one of the roles below.
type process struct {
	t    *testing.T
	stop func()

	mu      sync.Mutex
	lines   []string // said and not looked at yet
	over    bool
	changed chan struct{}
}

// role is where a process finds what it is, and the folder of its profile.
const role = "PALABRE_TEST_ROLE"

func (s street) start(where, what, dir string) *process {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	c := exec.Command("ip", "netns", "exec", s.name+where, exe, "-test.run=^TestBehindTwoRouters$", "-test.timeout=5m")
	c.Env = append(os.Environ(), role+"="+what+":"+dir)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	p := &process{t: s.t, changed: make(chan struct{}, 1)}
	heard := make(chan struct{})
	note := func(line string, over bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !over {
			p.lines = append(p.lines, line)
		}
		p.over = over
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(heard)
		for r := bufio.NewScanner(out); r.Scan(); {
			note(r.Text(), false)
		}
		note("", true)
	}()
	p.stop = sync.OnceFunc(func() {
		in.Close() // which every role takes for the end
		<-heard
		c.Wait()
	})
	s.t.Cleanup(p.stop)
	return p
}

// until waits until ok holds, which is asked whenever the process has said something.
func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	late := time.After(patience)
	for !ok() {
		p.mu.Lock()
		over := p.over
		p.mu.Unlock()
		if over {
			p.t.Fatalf("the process has ended; waited for %s", what)
		}
		select {
		case <-p.changed:
		case <-late:
			p.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// says waits for a line that begins with some word, and returns the rest of it.
func (p *process) says(word string, ok func(rest string) bool) string {
	p.t.Helper()
	var found string
	p.until(word, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for len(p.lines) > 0 {
			first, rest, _ := strings.Cut(p.lines[0], " ")
			p.lines = p.lines[1:]
			if first == word && ok(rest) {
				found = rest
				return true
			}
		}
		return false
	})
	return found
}

// last returns the rest of the last line that begins with some word.
func (p *process) last(word string) (rest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if first, r, _ := strings.Cut(l, " "); first == word {
			rest = r
		}
	}
	return rest
}

func anything(string) bool { return true }

// ended closes what it returns when the process is to end.
func ended() <-chan struct{} {
	c := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(c)
	}()
	return c
}

// carryOver is the role of the letter carrier, which takes no letters here, so that
// everything goes from phone to phone.
func carryOver(t *testing.T) {
	f, err := p2p.NewFerry(p2p.FerryConfig{Seed: [32]byte{1}, Listen: []string{"/ip4/1.0.0.1/udp/4001/quic-v1"},
		OnSession: func(st p2p.Stream, _ []byte, _ netip.Addr) { st.Close() }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Println("at", f.Addrs()[0])
	end, every := ended(), time.NewTicker(20*time.Millisecond)
	defer every.Stop()
	var before p2p.Circuits
	for {
		select {
		case <-end:
			return
		case <-every.C:
			if c := f.Circuits(); c != before {
				fmt.Println("circuits", c.Open, c.Begun, c.Bytes)
				before = c
			}
		}
	}
}

// carryPhone is the role of a phone. It is told what to do by its control socket.
func carryPhone(t *testing.T, dir string) {
	visitFirst = 50 // otherwise it is as for people
	n, err := Open(Config{Dir: dir, Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	n.settled = func() {
		for _, g := range n.groups {
			fmt.Println("place", g.reach.addr)
			fmt.Println("links", len(g.links)-len(g.through), len(g.through))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := ended()
	go func() { <-end; cancel() }()
	if err := n.Run(ctx, func([]string) { fmt.Println("ready") }); err != nil {
		t.Fatal(err)
	}
	n.Close()
}

func able(t *testing.T) {
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, tool := range []string{"ip", "nft", "sysctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = tool
		}
	}
	if missing == "" {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("this needs %s", missing)
	}
	t.Skipf("this needs %s", missing)
}

// Spec 60 sections 9 and 10: two phones behind two routers meet through a letter carrier
// that takes no letters. Where the routers keep ports, they go on directly, and the
// carrier can go away; where each connection gets a port of its own, they stay with it.
func TestBehindTwoRouters(t *testing.T) {
	if what, dir, ok := strings.Cut(os.Getenv(role), ":"); ok {
		if what == "carrier" {
			carryOver(t)
		} else {
			carryPhone(t, dir)
		}
		return
	}
	able(t)
	for name, masquerade := range map[string]string{"direct": "", "relayed": "fully-random"} {
		t.Run(name, func(t *testing.T) {
			s := street{t, "palabre" + strconv.Itoa(os.Getpid()) + name[:1]}
			s.build(masquerade)
			w := newWorld(t)
			carrier := s.start("pub", "carrier", "")
			at := carrier.says("at", anything)
			dirA, dirB := w.profile("Ana"), w.profile("Ben")
			a, b := s.start("lanA", "phone", dirA), s.start("lanB", "phone", dirB)
			a.says("ready", anything)
			b.says("ready", anything)
			ana, err := api.Dial(dirA)
			if err != nil {
				t.Fatal(err)
			}
			ben, err := api.Dial(dirB)
			if err != nil {
				t.Fatal(err)
			}
			call[api.GroupCreated](t, ana, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Rue"})
			call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Carriers: &[]string{at}})
			a.says("place", func(addr string) bool { return addr != "" })
			link := call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{AutoApprove: true}).Link
			if j := call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link, WaitSeconds: 60}); j.State != api.StateJoined {
				t.Fatalf("%+v", j)
			}
			carrier.says("circuits", func(c string) bool { return begun(t, c) > 0 })
			if name == "direct" {
				// Both have the direct link, and the one through the carrier is gone.
				for _, p := range []*process{a, b} {
					p.says("links", func(l string) bool { return l == "1 0" })
				}
				carrier.stop()
			}
			post1(t, ana, "un")
			post1(t, ben, "deux")
			a.shows(ana, "deux", "un")
			b.shows(ben, "deux", "un")
			if name == "relayed" {
				a.says("links", func(l string) bool {
					if !strings.HasPrefix(l, "0 ") {
						t.Fatalf("a direct link between routers that do not allow one: %s", l)
					}
					return strings.HasSuffix(l, " 1")
				})
				if c := strings.Fields(carrier.last("circuits")); len(c) != 3 || c[0] != "1" {
					t.Errorf("the carrier says %v", c)
				}
			}
		})
	}
}

func begun(t *testing.T, c string) int {
	n, err := strconv.Atoi(strings.Fields(c)[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shows waits until a phone shows notices.
func (p *process) shows(b api.Backend, want ...string) {
	p.t.Helper()
	p.until("notices", func() bool { return slices.Equal(titles(p.t, b), want) })
}
