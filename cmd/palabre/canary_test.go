package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol"
)

// canary makes a text that nothing else holds: the start tells what it is, the
// rest is by seed. It is fit to be a name.
func canary(rng *rand.Rand, what string) string {
	b := []byte(what)
	for range 20 {
		b = append(b, "bcdfghjklmnpqrstvwxz"[rng.IntN(20)])
	}
	return string(b)
}

// Nothing of what people write, nor their names and secrets, stands in the
// clear in the folders of their profiles (while running, killed and closed),
// in what the processes print unasked, or in their traffic.
func TestNothingLeaksInTheClear(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(58, 69))
	secret := canaries{}
	named := func(what string) string {
		text := canary(rng, what)
		secret[what] = []byte(text)
		return text
	}
	dir, temp := place(t), place(t)
	awa, bilal := stranger(t, dir, named("awa"), "TMPDIR="+temp), stranger(t, dir, named("bilal"), "TMPDIR="+temp)
	people := []*person{awa, bilal}
	for i, p := range people {
		p.dir = filepath.Join(dir, fmt.Sprint("profile", i)) // a folder's name is not the person's
		must(t, os.WriteFile(p.pass, []byte(named(fmt.Sprint("passphrase", i))+"\n"), 0o600))
		must(t, p.begin())
	}
	profiles := func(when string) {
		t.Helper()
		for _, p := range people {
			secret.absentUnder(t, when, p.dir)
		}
		for path, b := range files(t, temp) {
			secret.absent(t, when+": "+path, b)
		}
	}
	wire := listenIn(t)
	ports := map[flow]bool{} // what listens, with from left out
	on := func(listen string) {
		t.Helper()
		for _, p := range people {
			must(t, p.on(listen))
		}
	}
	listening := func() {
		t.Helper()
		for _, p := range people {
			for _, a := range p.addrs {
				protocol, port := portOf(t, a)
				ports[flow{protocol, 0, port}] = true
			}
		}
	}
	on(onQUIC)
	must(t, awa.do(nil, "group", "create", named("group")))
	var invite api.Invite
	must(t, awa.do(&invite, "invite", "--auto-approve"))
	link, err := protocol.ParseLink(invite.Link)
	must(t, err)
	secret["invite"] = link.Secret[:]
	secret["link"] = []byte(invite.Link[len("palabre://join#") : len("palabre://join#")+60])
	var j api.Joined
	must(t, bilal.do(&j, "join", invite.Link, "--name", named("pseudonym")))
	if j.State != api.StateJoined {
		t.Fatalf("join said %q", j.State)
	}
	memberIDs(t, awa, 2)
	listening()

	other := filepath.Join(temp, "draft")
	must(t, os.WriteFile(other, []byte(named("title-in-arabic")+"\n"+named("body-in-arabic")), 0o600))
	var first, second api.Posted
	must(t, awa.do(&first, "post", "announcement", "--title", named("title"), "--body", named("body"), "--lang", "fr", "--text", "ar="+other))
	must(t, os.Remove(other))
	start := time.Now().UTC().Add(48 * time.Hour).Truncate(time.Minute)
	must(t, bilal.do(&second, "post", "meeting", "--title", named("meeting"), "--start", start.Format(time.RFC3339),
		"--end", start.Add(time.Hour).Format(time.RFC3339), "--tz", "Africa/Dakar", "--place", named("place"), "--link", "https://example.org/"+named("room")))
	for _, p := range people {
		for _, id := range []string{first.ID, second.ID} {
			_, err := p.reads(id, 1)
			must(t, err)
		}
	}
	must(t, awa.do(nil, "edit", first.ID, "--title", named("second-title")))
	must(t, bilal.do(nil, "cancel", second.ID, "--reason", named("reason")))
	_, err = bilal.reads(first.ID, 2)
	must(t, err)
	must(t, awa.until("the cancellation", func() (bool, error) {
		list, err := awa.notices(false)
		return len(list) == 1, err
	}))
	profiles("running")

	failInMany(t, awa, secret, invite.Link)

	bilal.kill()
	wrong := filepath.Join(dir, "wrong")
	must(t, os.WriteFile(wrong, []byte(string(secret["passphrase1"])+"x"), 0o600))
	a := bilal.try(t, "status", "--passphrase-file", wrong)
	if e := a.fault(t); e.Code != api.CodeWrongPassphrase {
		t.Errorf("a wrong passphrase: %+v", e)
	}
	secret.absent(t, "the error of a wrong passphrase", []byte(a.err))
	third := says(t, awa, named("title-while-away"), named("body-while-away"))
	profiles("one killed, one running")
	awa.kill()
	profiles("killed")
	on(onTCP)
	must(t, bilal.do(nil, "connect", awa.addrs[0]))
	listening()
	n, err := bilal.reads(third, 1)
	must(t, err)
	if n.Title != string(secret["title-while-away"]) {
		t.Error("another title came than was sent")
	}
	last := says(t, bilal, named("title-by-tcp"), named("body-by-tcp"))
	_, err = awa.reads(last, 1)
	must(t, err)
	for _, p := range people {
		must(t, p.off())
	}
	profiles("closed")
	for _, p := range people {
		if text := p.said.(*ledger).text(); !strings.Contains(text, `"event":"notice"`) {
			t.Errorf("the output that is looked at has no events: %q", text)
		}
		secret.absent(t, "what the processes of "+p.name[:3]+" printed", []byte(p.said.(*ledger).text()))
	}
	if len(secret) != 21 {
		t.Errorf("%d canaries were looked for", len(secret))
	}

	// The same scan finds what was planted, in each place.
	planted := canaries{"planted": []byte(canary(rng, "planted"))}
	hidden := forms(planted["planted"])
	must(t, os.WriteFile(filepath.Join(bilal.dir, "planted"), hidden[3], 0o600))
	found := 0
	for _, b := range files(t, bilal.dir) {
		found += len(planted.find(b))
	}
	if found != 1 {
		t.Error("the scan of folders does not find what was planted there")
	}
	fmt.Fprintf(bilal.said, "planted: %s\n", hidden[1])
	if len(planted.find([]byte(bilal.said.(*ledger).text()))) != 1 {
		t.Error("the scan of output does not find what was planted there")
	}
	if wire == nil {
		return
	}
	plant(t, hidden[6])
	found = 0
	reached := map[flow]int{}
	for f, payload := range wire.finish(t) {
		found += len(planted.find(payload))
		secret.absent(t, fmt.Sprintf("traffic %v", f), payload)
		reached[flow{f.protocol, 0, f.to}] += len(payload)
		reached[flow{f.protocol, 0, f.from}] += len(payload)
	}
	if found != 1 {
		t.Error("the scan of traffic does not find what was planted there")
	}
	bytes := map[string]int{}
	for port := range ports {
		bytes[port.protocol] += reached[port]
	}
	// A join, and a notice that is caught up on, weigh more than this.
	if bytes["udp"] < 20_000 || bytes["tcp"] < 5_000 {
		t.Errorf("the traffic that was looked at is %v bytes", bytes)
	}
	t.Logf("looked for %d canaries in %v bytes of the nodes' traffic", len(secret), bytes)
}

// failInMany runs commands that fail over a secret, as JSON and for people: none
// repeats it.
func failInMany(t *testing.T, p *person, secret canaries, link string) {
	t.Helper()
	at := len(link) - 20
	altered := link[:at] + string(rune('A'+(link[at]-'A'+1)%26)) + link[at+1:]
	title, body := string(secret["title"]), string(secret["body"])
	start := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	for _, args := range [][]string{
		{"join", altered},
		{"join", link},
		{"post", "announcement", "--title", strings.Repeat(title, 20), "--body", body},
		{"post", "announcement", "--title", title, "--body", strings.Repeat(body, 1000)},
		{"post", "announcement", "--title", title, "--body", body + "\u202e"},
		{"post", "announcement", "--title", title, "--body", body, "--lang", "??"},
		{"post", "meeting", "--title", title, "--start", start, "--end", start, "--tz", "No/Where", "--place", string(secret["place"])},
		{"group", "create", string(secret["group"]) + "\u200b"},
		{"cancel", "ffffffffffff", "--reason", string(secret["reason"])},
		{"show", hex.EncodeToString([]byte("nothing here"))},
		{"run", "--listen", "/ip4/127.0.0.1/tcp/0/" + string(secret["place"])},
	} {
		for _, form := range []string{"--json=true", "--json=false"} {
			a := p.try(t, append(append([]string{}, args...), form)...)
			if a.exit == exitDone || a.err == "" {
				t.Errorf("%s succeeds: exit %d, %q", args[0], a.exit, a.err)
			}
			secret.absent(t, "the error of "+args[0], []byte(a.err+a.out))
			if form == "--json=true" && !json.Valid([]byte(a.err)) {
				t.Errorf("%s: standard error is no JSON", args[0])
			}
		}
	}
}
