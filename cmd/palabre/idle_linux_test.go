package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"golang.org/x/sys/unix"
)

// idle makes the two measurements of this file, which take as long in real time.
var idle = flag.Duration("idle", 0, "measure for so long what an idle phone costs, and one that saves data")

// inNamespace says that the test runs where nothing else uses the network.
const inNamespace = "PALABRE_TEST_NAMESPACE"

// measures runs the measurement alone, so that what the system counts is of these phones.
// It returns false where that was done, or where none was asked for.
func measures(t *testing.T) bool {
	t.Helper()
	if *idle == 0 {
		t.Skip("a measurement: go test ./cmd/palabre -run Idle -idle 30m -timeout 3h -v")
	}
	return alone(t, "-idle", idle.String())
}

// alone runs the test again with these flags, in a network of its own that has nothing
// but loopback. It returns false where that was done.
func alone(t *testing.T, flags ...string) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		must(t, loopbackUp())
		return true
	}
	self, err := os.Executable()
	must(t, err)
	c := exec.Command(self, append([]string{"-test.run", "^" + t.Name() + "$", "-test.v", "-test.timeout", "0"}, flags...)...)
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

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// carried is what the system counts on loopback, without the 14 bytes that go before
// each packet: what all sent, which is what all received.
func carried(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/net/dev")
	must(t, err)
	for l := range strings.Lines(string(text)) {
		f := strings.Fields(l)
		var bytes, packets int64
		if len(f) > 10 && f[0] == "lo:" {
			_, err := fmt.Sscan(f[9]+" "+f[10], &bytes, &packets)
			must(t, err)
			return bytes - 14*packets
		}
	}
	t.Fatal("no loopback")
	return 0
}

func (p *person) spent(t *testing.T) api.Data {
	t.Helper()
	var s api.Status
	must(t, p.do(&s, "status"))
	if s.Data == nil {
		t.Fatal("the status has no data")
	}
	return *s.Data
}

// since takes one use from another. Both are of the month: days end meanwhile.
func since(a, b api.DataUse) api.DataUse {
	less := func(x, y api.DataVolume) api.DataVolume { return api.DataVolume{In: x.In - y.In, Out: x.Out - y.Out} }
	return api.DataUse{Letters: less(b.Letters, a.Letters), Comparing: less(b.Comparing, a.Comparing),
		Carriers: less(b.Carriers, a.Carriers), Connections: less(b.Connections, a.Connections)}
}

func useOf(u api.DataUse) int64 {
	return volume(u.Letters) + volume(u.Comparing) + volume(u.Carriers) + volume(u.Connections)
}

func parts(u api.DataUse) string {
	return fmt.Sprintf("notices %d, comparing %d, letter carriers %d, connections %d", volume(u.Letters), volume(u.Comparing), volume(u.Carriers), volume(u.Connections))
}

// What it costs to be linked to 4 members and have nothing to say.
func TestIdleLinked(t *testing.T) {
	if !measures(t) {
		return
	}
	dir := place(t)
	var all []*person
	for _, name := range []string{"Awa", "Bilal", "Chi", "Dia", "Eli"} {
		p := someone(t, dir, name)
		must(t, p.on(onQUIC, onTCP))
		all = append(all, p)
	}
	newGroup(t, "all", all[0], all[1:]...)
	for _, p := range all {
		must(t, p.until("all others", func() (bool, error) {
			var s api.Status
			err := p.do(&s, "status")
			return s.Peers == 4, err
		}))
	}
	says(t, all[1], "Distribution de repas", "Demain à 18 h.")
	settle := time.NewTimer(2 * time.Minute) // what joining set off is over
	<-settle.C
	var before []api.Data
	for _, p := range all {
		before = append(before, p.spent(t))
	}
	wire, began := carried(t), time.Now()
	<-time.After(*idle)
	passed := time.Since(began)
	wire = carried(t) - wire
	sum := int64(0)
	for i, p := range all {
		u := since(before[i].Month, p.spent(t).Month)
		sum += useOf(u)
		t.Logf("%s: %d bytes in %v, %.2f MB a day: %s", p.name, useOf(u), passed.Round(time.Second), perDay(useOf(u), passed), parts(u))
	}
	t.Logf("counted by all %d, carried (each sent and received) %d: %.3f", sum, 2*wire, float64(sum)/float64(2*wire))
	if got := perDay(sum/int64(len(all)), passed); got > 3 {
		t.Errorf("%.2f MB a day", got)
	}
}

func perDay(n int64, passed time.Duration) float64 {
	return float64(n) / 1e6 * float64(24*time.Hour) / float64(passed)
}

// What it costs to save data, in two groups, with a letter carrier and without one.
func TestIdleSaver(t *testing.T) {
	if !measures(t) {
		return
	}
	dir := place(t)
	at := filepath.Join(dir, "carrier")
	helper := stranger(t, dir, "carrier")
	said := make(chan string, 8)
	run, err := helper.launch(func(line string) { said <- line }, "ferry", "--dir", at, "--listen", onTCP)
	must(t, err)
	t.Cleanup(func() { _ = run.end(os.Kill, patience) })
	var carrier string
	for carrier == "" {
		line := <-said
		if i := strings.Index(line, "/ip4/"); i >= 0 {
			carrier, _, _ = strings.Cut(line[i:], `"`)
		}
	}
	visitor, caller := someone(t, dir, "Visitor"), someone(t, dir, "Caller")
	for _, p := range []*person{visitor, caller} {
		must(t, p.on(onTCP))
		for _, name := range []string{"One", "Two"} {
			other := someone(t, dir, p.name+name)
			must(t, other.on(onQUIC, onTCP))
			newGroup(t, "all", other, p)
			if p == visitor {
				must(t, other.do(nil, "policy", "--carrier", carrier))
			}
			says(t, other, "Distribution de repas", "Demain à 18 h.")
			var s api.Status
			must(t, other.do(&s, "status"))
			must(t, p.until("the notice", func() (bool, error) {
				var list []api.Notice
				err := p.do(&list, "notices", "--group", s.Groups[0].ID)
				return len(list) == 1, err
			}))
		}
	}
	settle := time.NewTimer(2 * time.Minute)
	<-settle.C
	for _, p := range []*person{visitor, caller} {
		must(t, p.off())
		must(t, p.onWith("--saver"))
	}
	<-time.After(time.Minute) // the first ones, after the start
	both := []*person{visitor, caller}
	began, before, last, polls := time.Now(), [2]api.DataUse{}, [2]int64{}, [2]int{}
	for i, p := range both {
		before[i] = p.spent(t).Month
		last[i] = useOf(before[i])
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	busy := [2]bool{}
	for time.Since(began) < *idle {
		<-tick.C
		for i, p := range both {
			now := useOf(p.spent(t).Month)
			if now != last[i] && !busy[i] {
				polls[i]++
				t.Logf("%s: a poll after %v", p.name, time.Since(began).Round(time.Second))
			}
			busy[i], last[i] = now != last[i], now
		}
	}
	passed := time.Since(began)
	for i, p := range both {
		u := since(before[i], p.spent(t).Month)
		t.Logf("%s: %d polls in %v, %d bytes, %.2f MB a day: %s", p.name, polls[i], passed.Round(time.Second), useOf(u), perDay(useOf(u), passed), parts(u))
		if polls[i] > 0 {
			each := useOf(u) / int64(polls[i])
			t.Logf("%s: %d bytes a poll; 96 a day, for two groups, are %.2f MB", p.name, each, float64(96*each)/1e6)
		}
		if got := perDay(useOf(u), passed); got > 1 {
			t.Errorf("%s: %.2f MB a day", p.name, got)
		}
	}
	// The moments are drawn, so a window has few of them: what one costs is seen by asking.
	for _, p := range both {
		const rounds = 10 // of both groups
		start, wire := p.spent(t).Month, carried(t)
		for range rounds {
			now := useOf(p.spent(t).Month)
			must(t, p.do(nil, "fetch"))
			for last, still := int64(0), 0; still < 4; {
				<-tick.C
				if next := useOf(p.spent(t).Month); next != last || next == now {
					last, still = next, 0
				} else {
					still++
				}
			}
		}
		u := since(start, p.spent(t).Month)
		each := useOf(u) / (2 * rounds)
		t.Logf("%s: %d polls by asking, %d bytes each (carried %d): 96 a day are %.2f MB: %s", p.name, 2*rounds, each, (carried(t)-wire)/(2*rounds), float64(96*each)/1e6, parts(u))
		if 96*each > 1_000_000 {
			t.Errorf("%s: %d bytes a poll", p.name, each)
		}
	}
}
