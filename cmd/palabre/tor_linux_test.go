package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

var byTor = flag.Bool("tor", false, "run the test that makes a Tor network of its own, by the tor that is installed")

// torNet is a Tor network on loopback: three authorities and three other relays, all of
// which let traffic out, and who uses it.
type torNet struct {
	t           *testing.T
	dir         string
	authorities string // as each torrc names them
}

// torUser is one Tor as a person installs it.
type torUser struct {
	socks string // where it takes SOCKS5
	onion string // name of its onion service, without .onion

	sync.Mutex
	streams map[string]string // circuit of each stream that came about, by the stream's number
	targets map[string]bool   // what they led to
}

// start runs a Tor with its data under dir and ends it with the test.
func (n *torNet) start(dir, conf string) {
	n.t.Helper()
	must(n.t, os.MkdirAll(dir, 0o700))
	rc := filepath.Join(dir, "torrc")
	must(n.t, os.WriteFile(rc, []byte("TestingTorNetwork 1\nDataDirectory "+dir+"\nShutdownWaitLength 0\nPathsNeededToBuildCircuits 0.67\nAssumeReachable 1\n"+n.authorities+conf), 0o600))
	c := exec.Command("tor", "--quiet", "-f", rc)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(n.t, c.Start())
	n.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
}

// newTorNet starts the relays. Ports can be fixed: the test has a network of its own.
func newTorNet(t *testing.T, dir string) *torNet {
	t.Helper()
	n := &torNet{t: t, dir: dir}
	for i := range 3 {
		at := filepath.Join(dir, fmt.Sprint("authority", i))
		keys := filepath.Join(at, "keys")
		must(t, os.MkdirAll(keys, 0o700))
		c := exec.Command("tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12", "-a", fmt.Sprint("127.0.0.1:", 7000+i),
			"-i", filepath.Join(keys, "authority_identity_key"), "-s", filepath.Join(keys, "authority_signing_key"), "-c", filepath.Join(keys, "authority_certificate"))
		c.Stdin = strings.NewReader("\n")
		must(t, c.Run())
		cert, err := os.ReadFile(filepath.Join(keys, "authority_certificate"))
		must(t, err)
		_, v3, _ := strings.Cut(string(cert), "\nfingerprint ")
		v3, _, _ = strings.Cut(v3, "\n")
		out, err := exec.Command("tor", "--quiet", "--list-fingerprint", "--ignore-missing-torrc", "-f", "/dev/null", "--DataDirectory", at, "--Nickname", fmt.Sprint("authority", i),
			"--ORPort", fmt.Sprint(5000+i), "--Address", "127.0.0.1", "--DirAuthority", "x orport=1 127.0.0.1:1 "+strings.Repeat("f", 40)).Output()
		must(t, err)
		_, mark, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		n.authorities += fmt.Sprintf("DirAuthority authority%d orport=%d no-v2 v3ident=%s 127.0.0.1:%d %s\n", i, 5000+i, v3, 7000+i, strings.ReplaceAll(mark, " ", ""))
	}
	for i := range 6 {
		conf := fmt.Sprintf("Address 127.0.0.1\nSocksPort 0\nORPort %d\nExitRelay 1\nExitPolicyRejectPrivate 0\nExitPolicy accept *:*\n", 5000+i)
		at := fmt.Sprint("relay", i)
		if i < 3 {
			at = fmt.Sprint("authority", i)
			conf += fmt.Sprintf("DirPort %d\nAuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\nContactInfo x@example.org\nAuthDirMaxServersPerAddr 0\n"+
				"TestingDirAuthVoteExit *\nTestingDirAuthVoteHSDir *\nTestingDirAuthVoteGuard *\n"+
				"V3AuthVotingInterval 20\nV3AuthVoteDelay 4\nV3AuthDistDelay 4\nTestingV3AuthInitialVotingInterval 20\nTestingV3AuthInitialVoteDelay 4\nTestingV3AuthInitialDistDelay 4\n", 7000+i)
		}
		n.start(filepath.Join(dir, at), "Nickname "+at+"\n"+conf)
	}
	return n
}

// user starts a Tor with an onion service that leads to a port of loopback, and notes
// what it does. The i-th has ports of its own.
func (n *torNet) user(i, port int) *torUser {
	n.t.Helper()
	u := &torUser{socks: fmt.Sprint("127.0.0.1:", 9050+i), streams: map[string]string{}, targets: map[string]bool{}}
	dir, control := filepath.Join(n.dir, fmt.Sprint("user", i)), fmt.Sprint("127.0.0.1:", 9150+i)
	n.start(dir, fmt.Sprintf("SocksPort %s\nControlPort %s\nClientRejectInternalAddresses 0\nHiddenServiceDir %s\nHiddenServicePort 4001 127.0.0.1:%d\n", u.socks, control, filepath.Join(dir, "hs"), port))
	c, lines := n.ask(control)
	for {
		fmt.Fprint(c, "GETINFO status/bootstrap-phase\r\n")
		done := false
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "250 ") {
			done = done || strings.Contains(lines.Text(), "PROGRESS=100")
		}
		must(n.t, lines.Err())
		if done {
			break
		}
		pause := time.NewTimer(time.Second)
		<-pause.C
	}
	name, err := os.ReadFile(filepath.Join(dir, "hs", "hostname"))
	must(n.t, err)
	u.onion = strings.TrimSuffix(strings.TrimSpace(string(name)), ".onion")
	fmt.Fprint(c, "SETEVENTS STREAM\r\n")
	must(n.t, c.SetDeadline(time.Time{}))
	go func() {
		for lines.Scan() { // 650 STREAM <number> SUCCEEDED <circuit> <target> …
			if f := strings.Fields(lines.Text()); len(f) > 5 && f[1] == "STREAM" && f[3] == "SUCCEEDED" && !strings.Contains(f[5], ".exit:") { // those are Tor's own, to its directories
				u.Lock()
				u.streams[f[2]], u.targets[f[5]] = f[4], true
				u.Unlock()
			}
		}
	}()
	return u
}

// ask opens the control port of a Tor that is starting.
func (n *torNet) ask(control string) (net.Conn, *bufio.Scanner) {
	n.t.Helper()
	for late := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", control)
		if err == nil {
			n.t.Cleanup(func() { c.Close() })
			must(n.t, c.SetDeadline(time.Now().Add(2*time.Minute)))
			lines := bufio.NewScanner(c)
			fmt.Fprint(c, "AUTHENTICATE\r\n")
			if !lines.Scan() || lines.Text() != "250 OK" {
				n.t.Fatalf("Tor says %q, %v", lines.Text(), lines.Err())
			}
			return c, lines
		}
		if time.Now().After(late) {
			n.t.Fatal(err)
		}
		pause := time.NewTimer(100 * time.Millisecond)
		<-pause.C
	}
}

// apart checks that no two of its streams had one circuit, and returns what they led to.
func (u *torUser) apart(t *testing.T) (targets []string) {
	t.Helper()
	u.Lock()
	defer u.Unlock()
	circuits := map[string]bool{}
	for _, c := range u.streams {
		circuits[c] = true
	}
	if len(circuits) != len(u.streams) || len(circuits) == 0 {
		t.Error("connections share circuits, or there were none")
	}
	for to := range u.targets {
		targets = append(targets, to)
	}
	t.Logf("%d connections by %d circuits, to %q", len(u.streams), len(circuits), targets)
	return targets
}

// Two phones behind Tor and a letter carrier that is an onion service, in a Tor network
// of this test's own: somebody is let in by letters, what is said later comes by them too
// and, when the letter carrier has stopped, by a connection to the other phone's onion
// service. A letter carrier at an ordinary address is reached as well. Spec 60 section 8.
func TestThroughTor(t *testing.T) {
	if !*byTor {
		t.Skip("takes minutes, and needs tor: go test ./cmd/palabre -run ThroughTor -tor -v")
	}
	if _, err := exec.LookPath("tor-gencert"); err != nil {
		t.Fatal("tor is not installed: apt-get install tor") // the test was asked for
	}
	if !alone(t, "-tor") {
		return
	}
	dir := place(t)
	tor := newTorNet(t, filepath.Join(dir, "tor"))
	letters, open := stranger(t, dir, "letters"), stranger(t, dir, "open")
	hidden := letters.ferries(t, "--dir", filepath.Join(dir, "hidden"), "--listen", "/ip4/127.0.0.1/tcp/4101").Addrs[0]
	plain := open.ferries(t, "--dir", filepath.Join(dir, "plain"), "--listen", "/ip4/127.0.0.1/tcp/4102").Addrs[0]
	service, awas, binetas := tor.user(0, 4101), tor.user(1, 4103), tor.user(2, 4104)
	hidden = strings.Replace(hidden, "/ip4/127.0.0.1/tcp/4101", "/onion3/"+service.onion+":4001", 1)

	awa, bineta := someone(t, dir, "Awa"), someone(t, dir, "Bineta")
	awa.patience, bineta.patience = 5*time.Minute, 5*time.Minute // each looks for letters every 2 minutes at most
	must(t, awa.onWith("--proxy", awas.socks, "--listen", "/ip4/127.0.0.1/tcp/4103"))
	must(t, bineta.onWith("--proxy", binetas.socks))
	if len(awa.addrs)+len(bineta.addrs) != 0 {
		t.Errorf("they are at %q, %q", awa.addrs, bineta.addrs)
	}
	must(t, awa.do(nil, "group", "create", "Les voisins"))
	must(t, awa.do(nil, "policy", "--carrier", hidden, "--carrier", plain))
	var invite api.Invite
	must(t, awa.do(&invite, "invite", "--uses", "1", "--auto-approve"))
	must(t, bineta.do(nil, "join", invite.Link))
	letIn := func(p *person) (bool, error) {
		must(t, awa.do(nil, "fetch"))
		var s api.Status
		err := p.do(&s, "status")
		return err == nil && len(s.Groups) == 1 && s.Groups[0].Members == 2, err
	}
	must(t, looks(awa, "who was let in", letIn))
	must(t, looks(bineta, "to be let in", letIn))
	reads := func(p *person, id string) {
		t.Helper()
		must(t, looks(p, "a notice", func(p *person) (bool, error) {
			must(t, p.do(nil, "fetch"))
			list, err := p.notices(true)
			return slices.ContainsFunc(list, func(n api.Notice) bool { return n.ID == id }), err
		}))
	}
	reads(bineta, says(t, awa, "Distribution de repas", "Demain à 18 h."))

	letters.kill()
	open.kill()
	must(t, bineta.do(nil, "connect", "/onion3/"+awas.onion+":4001"))
	must(t, looks(bineta, "a link", func(p *person) (bool, error) {
		var s api.Status
		err := p.do(&s, "status")
		return err == nil && s.Peers == 1, err
	}))
	live := says(t, bineta, "Réunion", "Samedi, 15 h.")
	if _, err := awa.reads(live, 1); err != nil {
		t.Error(err)
	}
	for _, u := range []*torUser{awas, binetas} {
		to := u.apart(t)
		for _, want := range []string{service.onion + ".onion:4001", "127.0.0.1:4102"} {
			if !slices.Contains(to, want) {
				t.Errorf("no connection to %s", want)
			}
		}
	}
}

// looks waits until something holds, by looking every few seconds.
func looks(p *person, what string, holds func(p *person) (bool, error)) error {
	for late := time.Now().Add(p.patience); ; {
		ok, err := holds(p)
		if ok || err != nil {
			return err
		}
		if time.Now().After(late) {
			return fmt.Errorf("%s: waited in vain for %s", p.name, what)
		}
		pause := time.NewTimer(3 * time.Second)
		<-pause.C
	}
}
