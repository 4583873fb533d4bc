package ferry

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// page asks for the figures and returns them by name, and the page.
func (x *ship) page() (map[string]int, string) {
	x.t.Helper()
	r, err := http.Get("http://" + x.f.Figures() + "/metrics")
	must(x.t, err)
	b, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		x.t.Fatalf("%s, %v: %v", r.Status, r.Header, err)
	}
	all := map[string]int{}
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(l), " ")
		n, err := strconv.ParseFloat(value, 64)
		must(x.t, err)
		all[strings.TrimPrefix(name, "palabre_ferry_")] = int(n)
	}
	return all, string(b)
}

// figures are right, there are no others, and they name nobody.
func TestFigures(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Figures = "127.0.0.1:0"
	f, err := Open(cfg, true)
	must(t, err)
	seed, err := f.NewTicket()
	must(t, err)
	must(t, f.Close())
	const one = protocol.BucketSmall
	x := sail(t, cfg, func(f *Ferry) {
		f.limits = ferry.Limits{Mailbox: 3 * one, Network: 4 * one, Ticket: 9 * one, Total: 5 * one}
	})
	want := map[string]int{"sessions_open": 0, "sessions_begun_total": 0, "sessions_refused_total": 0, "envelopes_kept_total": 0,
		`envelopes_refused_total{reason="mailbox_full"}`: 0, `envelopes_refused_total{reason="share_used_up"}`: 0,
		`envelopes_refused_total{reason="carrier_full"}`: 0, `envelopes_refused_total{reason="no_ticket"}`: 0,
		"envelopes_given_total": 0, "held_bytes": 0, "store_failures_total": 0,
		"places_open": 0, "circuits_open": 0, "circuits_begun_total": 0, "circuits_refused_total": 0, "circuits_bytes_total": 0}
	check := func(what string) (page string) {
		t.Helper()
		var got map[string]int
		// The last sessions may not have been left yet.
		for late := time.Now().Add(deadline); ; {
			if got, page = x.page(); got["sessions_open"] == want["sessions_open"] || time.Now().After(late) {
				break
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v\nwant %v", what, got, want)
		}
		return page
	}
	check("at the start")
	c, v := x.visit("tcp")
	put := func(mailbox byte, n int, outcome ferry.Outcome) {
		t.Helper()
		if got := c.put(deposit(t, box(mailbox), n)); got != outcome {
			t.Errorf("outcome %d, want %d", got, outcome)
		}
	}
	for i := range 3 {
		put(1, i, ferry.Kept)
	}
	put(1, 0, ferry.Kept) // it was held
	put(1, 3, ferry.MailboxFull)
	put(2, 0, ferry.Kept)
	put(2, 1, ferry.ShareUsedUp)
	put(2, 2, ferry.ShareUsedUp)
	c.say(ferry.SignTicket(seed, c.nonce, v.Ferry(), v.Client()))
	put(2, 1, ferry.Kept)
	put(2, 2, ferry.FerryFull)
	if n := len(c.fetch(box(1))); n != 3 {
		t.Errorf("%d are given", n)
	}
	want["sessions_open"], want["sessions_begun_total"], want["envelopes_kept_total"] = 1, 1, 5
	want[`envelopes_refused_total{reason="mailbox_full"}`], want[`envelopes_refused_total{reason="share_used_up"}`], want[`envelopes_refused_total{reason="carrier_full"}`] = 1, 2, 1
	want["envelopes_given_total"], want["held_bytes"] = 3, 5*one
	page := check("with a session")
	for _, tell := range []string{"127.0.0.1", "::1", base58(v.Client()), base58(v.Ferry()), "go_", "process_", "promhttp"} {
		if strings.Contains(page, tell) {
			t.Errorf("the page has %q:\n%s", tell, page)
		}
	}
	c.end()
	want["sessions_open"] = 0
	check("after it")

	var list []*client
	for range maxNetwork {
		c, _ := x.visit("tcp")
		list = append(list, c)
	}
	// The connection is closed before or after the client knows of it.
	if c, _, err := x.dial("tcp"); err == nil && c.nonce != ([32]byte{}) {
		t.Error("one more found a place")
	}
	want["sessions_open"], want["sessions_refused_total"] = maxNetwork, 1
	want["sessions_begun_total"] += maxNetwork
	check("with a crowd")
	for _, c := range list {
		c.end()
	}
	x.anchor()

	cfg.Closed = true
	x = sail(t, cfg, nil)
	for name := range want {
		if want[name] = 0; name == "held_bytes" {
			want[name] = 5 * one
		}
	}
	c, _ = x.visit("udp")
	put(3, 0, ferry.NoTicket)
	c.end()
	want["sessions_begun_total"], want[`envelopes_refused_total{reason="no_ticket"}`] = 1, 1
	check("of a closed one")
	at := x.f.Figures()
	x.anchor()
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("figures are shown after the end")
	}
}

// A failure of the disk is counted.
func TestFiguresOfAFailure(t *testing.T) {
	db := &failing{Memory: store.OpenMemory()}
	x := open(t, db, ferry.DefaultLimits())
	db.fails = true
	if err := x.s.Tick(); !errors.Is(err, errDisk) || x.s.Counts() != (Counts{Failures: 1}) {
		t.Errorf("%v, %+v", err, x.s.Counts())
	}
}

// The page answers one question, of this machine.
func TestFiguresAnswerNothingElse(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Figures = "[::1]:0"
	if l, err := net.Listen("tcp", cfg.Figures); err != nil {
		cfg.Figures = "127.0.0.1:0"
	} else {
		l.Close()
	}
	x := sail(t, cfg, nil)
	defer x.anchor()
	for _, c := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/metrics", "", http.StatusOK},
		{"GET", "/metrics", "localhost:9464", http.StatusOK},
		{"GET", "/metrics", "127.0.0.1", http.StatusOK},
		{"GET", "/metrics", "ferry.example:9464", http.StatusForbidden},
		{"GET", "/metrics", "192.0.2.1", http.StatusForbidden},
		{"GET", "/", "", http.StatusNotFound},
		{"GET", "/metrics/", "", http.StatusNotFound},
		{"GET", "/debug/pprof/", "", http.StatusNotFound},
		{"POST", "/metrics", "", http.StatusMethodNotAllowed},
		{"HEAD", "/metrics", "", http.StatusMethodNotAllowed},
		{"DELETE", "/metrics", "", http.StatusMethodNotAllowed},
	} {
		r, err := http.NewRequest(c.method, "http://"+x.f.Figures()+c.path, nil)
		must(t, err)
		r.Host = c.host
		got, err := http.DefaultClient.Do(r)
		must(t, err)
		b, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil || got.StatusCode != c.want || c.want != http.StatusOK && strings.Contains(string(b), "palabre_ferry") {
			t.Errorf("%+v: %s, %v", c, got.Status, err)
		}
	}
	for _, bad := range []string{"0.0.0.0:9464", "[::]:9464", ":9464", "192.0.2.1:9464", "[2001:db8::1]:9464", "ferry.example:9464", "127.0.0.1", "127.0.0.1:99999", "9464", "127.0.0.1:"} {
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := Open(Config{Dir: dir, Figures: bad}, true); !errors.Is(err, ErrFigures) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%q: the folder was made", bad)
		}
	}
}
