package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node"
	"github.com/palabre-app/palabre/node/api"
)

// unsafeNames are names that could lie about themselves, by what is wrong.
var unsafeNames = map[string]string{
	"control":    "Awa\u0007",
	"newline":    "Awa\nBilal",
	"escape":     "Awa\x1b[2J",
	"bidi":       "Awa\u202efdp",
	"isolate":    "\u2066Awa",
	"zero-width": "A\u200bwa",
	"joiner":     "Aw\u2060a",
	"homoglyph":  "Аwa", // the first letter is Cyrillic
	"spaces":     "   ",
	"empty":      "",
	"long":       strings.Repeat("a", 33),
}

// Bad input at the command line: each gives one plain error, and what everybody
// sees stays as it was.
func TestBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	dir := place(t)
	awa, bilal, clara := someone(t, dir, "Awa"), someone(t, dir, "Bilal"), someone(t, dir, "Clara")
	for _, p := range []*person{awa, bilal, clara} {
		must(t, p.on(onTCP))
	}
	link := newGroup(t, api.PostingAll, awa, bilal)
	ids := memberIDs(t, awa, 2)
	memberIDs(t, bilal, 2)
	notice := says(t, awa, "Avis", strings.Repeat("x", 12_000)) // as long as a body may be
	_, err := bilal.reads(notice, 1)
	must(t, err)
	var once, brief api.Invite
	must(t, awa.do(&brief, "invite", "--expires", "1s", "--auto-approve"))
	made := time.Now()
	must(t, awa.do(&once, "invite"))
	must(t, awa.until("nothing unsent", func() (bool, error) {
		s := sees(t, awa)
		return s.Groups[0].Unsent == 0, nil
	}))
	before := []state{sees(t, awa), sees(t, bilal), sees(t, clara)}
	unchanged := func(what string) {
		t.Helper()
		for i, p := range []*person{awa, bilal, clara} {
			same(t, "after "+what+", what "+p.name+" sees", before[i], sees(t, p))
		}
	}
	refused := func(p *person, want string, args ...string) {
		t.Helper()
		what := strings.Join(args, " ")
		what = what[:min(len(what), 120)]
		if e := p.try(t, args...).fault(t); e.Code != want {
			t.Errorf("palabre %s: %+v, not %s", what, e, want)
		}
		unchanged("palabre " + what)
	}

	// Links.
	for _, at := range []int{0, 9, 15, 16, 40, 100, len(link) / 2, len(link) - 2, len(link) - 1} {
		other := byte('A')
		if link[at] == other {
			other = 'B'
		}
		refused(clara, api.CodeLinkAltered, "join", link[:at]+string(other)+link[at+1:])
	}
	for _, typed := range []string{"", "https://example.org", link[:len(link)-1], link + "A", strings.Repeat(link, 9)} {
		refused(clara, api.CodeLinkAltered, "join", typed)
	}
	refused(bilal, api.CodeAlreadyInGroup, "join", link)
	refused(awa, api.CodeAlreadyInGroup, "join", once.Link)
	for what, name := range unsafeNames {
		want := api.CodeNameUnsafe
		switch what {
		case "empty":
			want = api.CodeNameEmpty
		case "long":
			want = api.CodeNameTooLong
		}
		if what != "empty" { // the profile's own name is taken then
			refused(clara, want, "join", once.Link, "--name", name)
		}
		refused(awa, want, "group", "create", name)
		fresh := stranger(t, dir, "nobody")
		fresh.pass = awa.pass
		if e := fresh.try(t, "init", "--name", name).fault(t); e.Code != want {
			t.Errorf("init with a name with %s: %+v, not %s", what, e, want)
		}
		if _, err := os.Stat(fresh.dir); !os.IsNotExist(err) {
			t.Errorf("init with a name with %s left a folder: %v", what, err)
		}
	}
	// The link has been good for two seconds less by now than it could be.
	<-time.After(time.Until(made.Add(2 * time.Second)))
	refused(clara, api.CodeLinkExpired, "join", brief.Link)

	// Notices.
	post := func(flags ...string) []string {
		return append([]string{"post", "announcement", "--title", "T", "--lang", "fr"}, flags...)
	}
	refused(awa, api.CodeTextTooLong, post("--body", strings.Repeat("x", 12_001))...)
	refused(awa, api.CodeTextUnsafe, post("--body", "b\u202eb")...)
	refused(awa, api.CodeTextUnsafe, post("--body", "b\x1b[2Jb")...)
	refused(awa, api.CodeTitleTooLong, post("--body", "b", "--title", strings.Repeat("é", 201))...)
	refused(awa, api.CodeTitleMissing, post("--body", "b", "--title", "")...)
	refused(awa, api.CodeBadLanguage, post("--body", "b", "--lang", "français")...)
	refused(awa, api.CodeFileUnreadable, post("--text", "en="+filepath.Join(dir, "nothing"))...)
	refused(awa, api.CodeExpiryTooFar, post("--body", "b", "--expires", "91d")...)
	meet := func(start, end, zone string, more ...string) []string {
		return append([]string{"post", "meeting", "--title", "T", "--lang", "fr", "--start", start, "--end", end, "--tz", zone, "--place", "P"}, more...)
	}
	at := func(h int) string { return time.Now().UTC().Add(time.Duration(h) * time.Hour).Format(time.RFC3339) }
	refused(awa, api.CodeMeetingEndsBeforeStart, meet(at(5), at(4), "Europe/Paris")...)
	refused(awa, api.CodeUnknownZone, meet(at(4), at(5), "Europe/Atlantis")...)
	refused(awa, api.CodeUnknownZone, meet(at(4), at(5), "Local")...)
	refused(awa, api.CodeUnknownZone, meet(at(4), at(5), "../../etc/passwd")...)
	refused(awa, api.CodeBadOnlineLink, meet(at(4), at(5), "Europe/Paris", "--link", "javascript:alert(1)")...)
	refused(awa, api.CodePlaceTooLong, meet(at(4), at(5), "Europe/Paris", "--place", strings.Repeat("p", 201))...)

	// Ids.
	for _, c := range [][]string{{"show"}, {"edit", "--title", "U"}, {"cancel", "--reason", "r"}, {"remove"}, {"approve"}} {
		refused(awa, api.CodeUnknownID, append([]string{c[0], strings.Repeat("0123456789abcdef", 4)}, c[1:]...)...)
	}
	for _, typed := range []string{"", notice[:5], "zzzzzzzz", notice + "0"} {
		a := awa.try(t, "show", typed)
		if e := a.fault(t); e.Code != api.CodeBadID && e.Code != api.CodeUnknownID {
			t.Errorf("show %q: %+v", typed, e)
		}
	}
	refused(awa, api.CodeUnknownGroup, "notices", "--group", "ffffffffffff")
	refused(awa, api.CodeInvalidAddress, "connect", "/ip4/127.0.0.1/tcp/99999")
	refused(awa, api.CodeInvalidAddress, "connect", "/dns4/example.org/tcp/4001")

	// Authority.
	refused(bilal, api.CodeNotOrganiser, "invite")
	refused(bilal, api.CodeNotOrganiser, "remove", ids["Awa"])
	refused(awa, api.CodeCannotRemoveOrganiser, "remove", ids["Awa"])
	for _, c := range []struct {
		who  *person
		code string
		args []string
	}{
		{bilal, api.CodeNotOrganiser, []string{"suspend", ids["Awa"]}},
		{bilal, api.CodeNotOrganiser, []string{"expel", ids["Awa"]}},
		{bilal, api.CodeNotOrganiser, []string{"vote", "abcdef"}},
		{bilal, api.CodeNotOrganiser, []string{"grant", ids["Bilal"], "organiser"}},
		{bilal, api.CodeNotOrganiser, []string{"policy", "--posting", "organisers"}},
		{bilal, api.CodeNotOrganiser, []string{"recovery", "new", "--words-file", filepath.Join(dir, "paper")}},
		{awa, api.CodeNotYourself, []string{"suspend", ids["Awa"]}},
		{awa, api.CodeNotAnOrganiser, []string{"suspend", ids["Bilal"]}},
		{awa, api.CodeUnknownID, []string{"suspend", "Bilal, by name"}},
		{awa, api.CodeNotAnOrganiser, []string{"reinstate", ids["Bilal"]}},
		{awa, api.CodeUnknownID, []string{"expel", ids["Bilal"], "--undo", "abcdef"}},
		{awa, api.CodeUnknownID, []string{"vote", "abcdef"}},
		{awa, api.CodeBadID, []string{"vote", "abc"}},
		{awa, api.CodeNoAlarm, []string{"organisers", "confirm"}},
		{awa, api.CodeUnknownID, []string{"devices", "000000"}},
		{awa, api.CodeUnknownID, []string{"devices", "remove", "000000"}},
		{awa, api.CodeUnknownID, []string{"devices", "set", ids["Awa"], "000000"}},
		{awa, api.CodePolicyBounds, []string{"policy", "--period", "8"}},
		{awa, api.CodeAlreadySo, []string{"policy", "--keep", "30"}},
		{awa, api.CodeNoRecovery, []string{"recovery", "end"}},
		{awa, api.CodeRecoveryFile, []string{"recovery", "new", "--words-file", dir}},
		{awa, api.CodeRecoveryWords, []string{"recovery", "use", "abcdef", "--words-file", awa.pass}},
		{awa, api.CodeLastOrganiser, []string{"leave"}},
	} {
		refused(c.who, c.code, c.args...)
	}
	refused(bilal, api.CodeMayNotPost, "cancel", notice, "--reason", "r")
	refused(clara, api.CodeNoGroup, "post", "announcement", "--title", "T", "--body", "b")

	// A second node on the profile.
	refused(awa, api.CodeAlreadyRunning, "run", "--listen", onTCP)
	refused(awa, api.CodeProfileExists, "init", "--name", "Autre")

	for _, args := range [][]string{
		{"sing"}, {"post"}, {"post", "announcement", "--body", "b"}, {"post", "announcement", "--nothing"},
		{"show"}, {"show", "a", "b"}, {"invite", "--uses", "0"}, {"invite", "--expires", "-1h"}, {"invite", "--expires", "soon"},
		{"grant", ids["Bilal"], "king"}, meet("tomorrow", at(4), "Europe/Paris"), {"group"},
	} {
		refused(awa, api.CodeUsage, args...)
	}
	if a := awa.try(t, "show", notice[:6]); a.exit != exitDone { // what is right still works
		t.Errorf("show by a prefix: %+v", a)
	}
}

// A link that was used as often as it may be lets nobody in: whoever comes later
// is told so, and everything stays as it was on both phones.
func TestUsedLinkLetsNobodyIn(t *testing.T) {
	t.Parallel()
	dir := place(t)
	awa, bilal, clara := someone(t, dir, "Awa"), someone(t, dir, "Bilal"), someone(t, dir, "Clara")
	for _, p := range []*person{awa, bilal, clara} {
		must(t, p.on(onTCP))
	}
	must(t, awa.do(nil, "group", "create", "Les voisins"))
	var invite api.Invite
	must(t, awa.do(&invite, "invite", "--uses", "1", "--auto-approve"))
	joins(t, bilal, invite.Link)
	memberIDs(t, bilal, 2)
	memberIDs(t, awa, 2)
	must(t, awa.until("everything is there", func() (bool, error) {
		var st api.Status
		err := awa.do(&st, "status")
		return len(st.Groups) == 1 && st.Groups[0].Missing == 0, err
	}))
	before := sees(t, awa)

	for range 2 { // and again, as often as she likes
		if e := clara.try(t, "join", invite.Link).fault(t); e.Code != api.CodeLinkUsedUp {
			t.Errorf("a used link: %+v", e)
		}
	}
	if e := clara.try(t, "notices").fault(t); e.Code != api.CodeNoGroup {
		t.Errorf("notices after a used link: %+v", e)
	}
	after := sees(t, awa)
	same(t, "the members", before.Members, after.Members)
	same(t, "the group", before.Groups, after.Groups)
	same(t, "the requests", before.Requests, after.Requests)
}

// Without a running node the commands work on the profile, one at a time; those
// that need the network say what to type.
func TestCommandsWithoutANode(t *testing.T) {
	t.Parallel()
	dir := place(t)
	awa, bilal := someone(t, dir, "Awa"), someone(t, dir, "Bilal")
	must(t, awa.on(onTCP))
	must(t, bilal.on(onTCP))
	link := newGroup(t, api.PostingAll, awa, bilal)
	id := says(t, awa, "Avis", "Un")
	_, err := bilal.reads(id, 1)
	must(t, err)
	must(t, bilal.off())
	before, err := bilal.notices(true)
	must(t, err)
	if len(before) != 1 {
		t.Fatalf("Bilal has %d notices", len(before))
	}

	for _, args := range [][]string{{"join", link}, {"connect", "/ip4/127.0.0.1/tcp/4001"}, {"watch"}} {
		if e := bilal.try(t, args...).fault(t); e.Code != api.CodeNotRunning || !strings.Contains(e.Hint, "palabre run") {
			t.Errorf("%s without a node: %+v", args[0], e)
		}
	}
	wrong := *bilal
	wrong.pass = awa.pass
	for _, args := range [][]string{{"notices"}, {"run", "--listen", onTCP}, {"post", "announcement", "--title", "T", "--body", "b"}} {
		if e := wrong.try(t, args...).fault(t); e.Code != api.CodeWrongPassphrase {
			t.Errorf("%s with a wrong passphrase: %+v", args[0], e)
		}
	}
	nobody := stranger(t, dir, "nobody")
	for _, args := range [][]string{{"notices"}, {"run"}, {"watch"}, {"join", link}} {
		if e := nobody.try(t, args...).fault(t); e.Code != api.CodeProfileMissing {
			t.Errorf("%s without a profile: %+v", args[0], e)
		}
	}
	if _, err := os.Stat(nobody.dir); !os.IsNotExist(err) {
		t.Errorf("a profile that is not there was made: %v", err)
	}

	// Whoever holds the profile is alone with it.
	pass, err := os.ReadFile(bilal.pass)
	must(t, err)
	n, err := node.Open(node.Config{Dir: bilal.dir, Passphrase: pass[:len(pass)-1], Offline: true})
	must(t, err)
	for _, args := range [][]string{{"notices"}, {"post", "announcement", "--title", "T", "--body", "b"}, {"run", "--listen", onTCP}} {
		if e := bilal.try(t, args...).fault(t); e.Code != api.CodeProfileInUse {
			t.Errorf("%s on a profile in use: %+v", args[0], e)
		}
	}
	must(t, n.Close())

	if e := bilal.try(t, "cancel", id, "--reason", "r").fault(t); e.Code != api.CodeMayNotPost {
		t.Errorf("cancelling another's notice: %+v", e)
	}
	list, err := bilal.notices(true)
	must(t, err)
	same(t, "what Bilal has", before, list)

	// What is posted without a node goes out when one runs.
	own := says(t, bilal, "Écrit dans le métro", "Sans réseau.")
	var s api.Status
	must(t, bilal.do(&s, "status"))
	if s.Running || len(s.Groups) != 1 || s.Groups[0].Unsent == 0 {
		t.Errorf("after a post without a node: %+v", s)
	}
	if seen := sees(t, awa).Notices; len(seen) != 1 {
		t.Errorf("Awa has %d notices before Bilal's node runs", len(seen))
	}
	must(t, bilal.on(onTCP))
	got, err := awa.reads(own, 1)
	must(t, err)
	if got.Body != "Sans réseau." || got.AuthorName != "Bilal" {
		t.Errorf("Awa reads %+v", got)
	}
}
