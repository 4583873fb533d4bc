package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"golang.org/x/sys/unix"
)

// rules puts these in the place of those before, for all that goes from one phone to
// another one. A phone is known by its name, not by its addresses.
func (w *wifi) rules(list string) {
	w.t.Helper()
	c := exec.Command("ip", "netns", "exec", w.hub, "nft", "-f", "-")
	c.Stdin = strings.NewReader("flush ruleset\ntable bridge air {\nchain passing {\ntype filter hook forward priority 0\n" + list + "\n}\n}\n")
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("nft: %v: %s", err, out)
	}
}

// counted returns how many packets each rule with a counter met.
func (w *wifi) counted() (list []int) {
	w.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", w.hub, "nft", "list", "ruleset").Output()
	must(w.t, err)
	for _, m := range regexp.MustCompile(`counter packets (\d+)`).FindAllSubmatch(out, -1) {
		n, err := strconv.Atoi(string(m[1]))
		must(w.t, err)
		list = append(list, n)
	}
	return list
}

// figure asks a letter carrier for one of its figures, which it shows to its own machine
// alone.
func (w *wifi) figure(p *person, at, name string) int {
	w.t.Helper()
	var page []byte
	asked := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, as in hear
		asked <- func() error {
			space, err := unix.Open("/run/netns/"+w.hub+p.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(space)
			if err := unix.Setns(space, unix.CLONE_NEWNET); err != nil {
				return err
			}
			c, err := net.DialTimeout("tcp", at, patience)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(c, "GET /metrics HTTP/1.0\r\nHost: %s\r\n\r\n", at); err != nil {
				return err
			}
			page, err = io.ReadAll(c)
			return err
		}()
	}()
	must(w.t, <-asked)
	m := regexp.MustCompile(`(?m)^palabre_ferry_` + name + ` (\d+)$`).FindSubmatch(page)
	if m == nil {
		w.t.Fatalf("no figure %s in %q", name, page)
	}
	n, err := strconv.Atoi(string(m[1]))
	must(w.t, err)
	return n
}

// until waits for what no event tells.
func (w *wifi) until(what string, holds func() bool) {
	w.t.Helper()
	late, every := time.After(patience), time.NewTicker(100*time.Millisecond)
	defer every.Stop()
	for !holds() {
		select {
		case <-every.C:
		case <-late:
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Two phones lose nothing on a network that drops every fifth packet. When they cannot
// reach one another any more a letter carrier brings what is written: it connects them
// while both are on, and keeps letters until the other one is. A file brings it when
// that is gone, too.
func TestRoadsThatFail(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil && os.Getenv("CI") == "" {
		t.Skip("networks cannot be made to fail: install nftables")
	}
	t.Parallel() // no other test with a network of its own is
	w := newWifi(t)
	dir := place(t)
	awa, ben, carrier := w.phone(dir, "Awa"), w.phone(dir, "Ben"), w.phone(dir, "Carrier")
	w.moves(awa, "10.77.0.1/24")
	w.moves(ben, "10.77.0.2/24")
	w.moves(carrier, "10.77.0.3/24")
	for _, p := range []*person{awa, ben} {
		p.patience = 4 * time.Minute // a cut shows when a link was silent for a minute
		must(t, p.begin())
		must(t, p.on())
	}
	newGroup(t, api.PostingAll, awa, ben)

	// Every fifth packet is lost, each way. There is no letter carrier yet.
	w.rules("counter\nnumgen random mod 100 < 20 counter drop")
	const count = 30
	want := map[string]bool{}
	for i := range count {
		want[says(t, awa, fmt.Sprintf("Distribution n° %d", i), "Demain à 18 h.")] = true
	}
	var got int
	err := ben.until("all notices", func() (bool, error) {
		list, err := ben.notices(false)
		got = 0
		for _, n := range list {
			if want[n.ID] {
				got++
			}
		}
		return got == count, err
	})
	if err != nil {
		t.Fatalf("%v: has %d of %d", err, got, count)
	}
	lost := w.counted()
	if len(lost) != 2 || lost[1]*10 < lost[0] || lost[1]*10 > lost[0]*3 {
		t.Errorf("of %d packets %d were lost", lost[0], lost[1])
	}
	t.Logf("of %d packets %d were lost", lost[0], lost[1])

	// The group names a letter carrier, and both phones have a place there.
	w.rules("")
	on := carrier.ferries(t, "--dir", filepath.Join(dir, "letters"), "--listen", "/ip4/10.77.0.3/tcp/4001", "--figures", "127.0.0.1:0")
	must(t, awa.do(nil, "policy", "--carrier", on.Addrs[0]))
	w.until("places", func() bool { return w.figure(carrier, on.Figures, "places_open") == 2 })
	w.until("Ben's visit, after which the next one is far", func() bool {
		c := sees(t, ben).Groups[0].Carriers
		return len(c) == 1 && c[0].Answered != ""
	})
	_, err = ben.reads(says(t, awa, "Avant", "Il y a deux chemins."), 1)
	must(t, err)

	// The road from phone to phone is cut, also for those who know one another already.
	w.rules(`iifname "Awa" oifname "Ben" counter drop
		iifname "Ben" oifname "Awa" counter drop`)
	cut := time.Now()
	_, err = ben.reads(says(t, awa, "Coupé", "Par un autre chemin."), 1)
	must(t, err)
	t.Logf("it came after %v", time.Since(cut).Round(time.Second))
	if w.figure(carrier, on.Figures, "circuits_begun_total") == 0 {
		t.Error("the letter carrier connected nobody")
	}
	if lost := w.counted(); len(lost) != 2 || lost[0]+lost[1] == 0 {
		t.Errorf("nothing was dropped where the road is cut: %v", lost)
	}

	// One is off while the other is on: the letter carrier keeps it meanwhile.
	must(t, ben.off())
	kept := w.figure(carrier, on.Figures, "envelopes_kept_total")
	letter := says(t, awa, "Une lettre", "Pour quand tu seras là.")
	w.until("the letter", func() bool { return w.figure(carrier, on.Figures, "envelopes_kept_total") > kept })
	must(t, awa.off())
	must(t, ben.on())
	_, err = ben.reads(letter, 1)
	must(t, err)

	// The letter carrier stops. What is left is a file.
	must(t, carrier.off())
	must(t, awa.on())
	last, stick := says(t, awa, "À la main", "Sur une clé."), filepath.Join(dir, "stick")
	must(t, awa.do(nil, "bundle", "export", stick))
	read, err := ben.notices(false)
	must(t, err)
	if len(read) != count+3 {
		t.Errorf("Ben has %d notices before the file", len(read))
	}
	var brought api.BundleImported
	must(t, ben.do(&brought, "bundle", "import", stick))
	if brought.New == 0 || brought.Broken != "" {
		t.Errorf("the file brought %+v", brought)
	}
	_, err = ben.reads(last, 1)
	must(t, err)
	wrote, err := awa.notices(false)
	must(t, err)
	read, err = ben.notices(false)
	must(t, err)
	if len(wrote) != count+4 {
		t.Errorf("Awa has %d notices", len(wrote))
	}
	same(t, "the list of Ben against that of Awa", wrote, read)
}
