package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
)

// answers of the right kind for every command, empty where they may be.
func answers() map[string]any {
	return map[string]any{
		api.CommandStatus:      api.Status{Groups: []api.GroupStatus{}},
		api.CommandConnect:     api.Done{Done: true},
		api.CommandData:        api.Data{Until: "2026-12-01T00:00:00Z"},
		api.CommandDataSet:     api.Data{CapBytes: 20_000_000, Until: "2026-12-01T00:00:00Z"},
		api.CommandFetch:       api.Done{Done: true},
		api.CommandGroupCreate: api.GroupCreated{Group: "aabbcc"},
		api.CommandInvite:      api.Invite{Link: "palabre://join#abc"},
		api.CommandJoin:        api.Joined{Group: "aabbcc", State: api.StateWaiting},
		api.CommandRequests:    []api.Request{},
		api.CommandApprove:     api.Done{Done: true},
		api.CommandMembers:     []api.Member{},
		api.CommandRemove:      api.Done{Done: true},
		api.CommandGrant:       api.Done{Done: true},
		api.CommandLeave:       api.Left{Done: true, Told: true},
		api.CommandPost:        api.Posted{ID: "ddeeff"},
		api.CommandEdit:        api.Posted{ID: "ddeeff"},
		api.CommandCancel:      api.Posted{ID: "ddeeff"},
		api.CommandPin:         api.Posted{ID: "ddeeff"},
		api.CommandHeld:        api.Held{Held: []api.HeldNotice{}, Readers: []api.Person{}},
		api.CommandSendNow:     api.Posted{ID: "ddeeff"},
		api.CommandNotices:     []api.Notice{},
		api.CommandShow:        api.Shown{},

		api.CommandOrganisers:    api.Organisers{Organisers: []api.Organiser{}, Open: []api.Proposal{}, Need: 2, Of: 3},
		api.CommandConfirm:       api.Done{Done: true},
		api.CommandSuspend:       api.Done{Done: true},
		api.CommandReinstate:     stands,
		api.CommandExpel:         stands,
		api.CommandVote:          stands,
		api.CommandDevices:       []api.Device{},
		api.CommandDevicesRemove: api.Done{Done: true},
		api.CommandDevicesSet:    stands,
		api.CommandPolicy:        api.Policy{Posting: api.PostingAll, PeriodDays: 7, KeepDays: 30, History: api.HistoryNone, Carriers: []string{}},
		api.CommandPolicySet:     stands,
		api.CommandRecovery:      api.Recovery{},
		api.CommandRecoverySet:   stands,
		api.CommandRecoveryUse:   stands,
		api.CommandChanges:       []api.Change{},
	}
}

var stands = api.Proposed{ID: "3f2a91445566", Have: 1, Need: 2, Of: 3}

// standing is stands as a document.
const standing = `{"id":"3f2a91445566","effective":false,"have":1,"need":2,"of":3}`

// paperWords is the paper of the key whose bytes are all zero.
var paperWords = identity.RecoveryKeyFromSeed([identity.SeedSize]byte{}).Paper()

func TestFlagsBecomeArguments(t *testing.T) {
	r, dir := record(t, answers())
	english := file(t, "en", "\ufeffCome all\r\n\r\nAt the tree.\nBring water.\n\n")
	bare := file(t, "ti", "ርእሲ")
	for _, c := range []struct {
		line, env, in string
		command       string
		args, out     string
	}{
		{line: "status", command: "status", args: `{}`, out: `{"running":false,"peers":0,"groups":[]}`},
		{line: "connect /ip4/192.0.2.1/tcp/1", command: "connect", args: `{"addr":"/ip4/192.0.2.1/tcp/1"}`, out: `{"done":true}`},
		{line: "data", command: "data", args: `{}`},
		{line: "data --cap 20MB", command: "data.set", args: `{"cap_bytes":20000000}`},
		{line: "data --cap none", command: "data.set", args: `{"cap_bytes":0}`},
		{line: "fetch", command: "fetch", args: `{}`, out: `{"done":true}`},
		{line: "group create Le~comité", command: "group.create", args: `{"name":"Le comité","posting":"all"}`, out: `{"group":"aabbcc"}`},
		{line: "group create A --posting authors", command: "group.create", args: `{"name":"A","posting":"authors"}`, out: `{"group":"aabbcc"}`},
		{line: "invite", command: "invite", args: `{"uses":1,"expires_seconds":259200}`, out: `{"link":"palabre://join#abc"}`},
		{line: "invite --group aabbcc --uses 5 --expires 1d12h --auto-approve", command: "invite",
			args: `{"group":"aabbcc","uses":5,"expires_seconds":129600,"auto_approve":true}`, out: `{"link":"palabre://join#abc"}`},
		{line: "join palabre://join#abc --name Ana", command: "join",
			args: `{"link":"palabre://join#abc","name":"Ana","wait_seconds":60}`, out: `{"group":"aabbcc","state":"waiting"}`},
		{line: "join -", in: "palabre://join#xyz\n", command: "join",
			args: `{"link":"palabre://join#xyz","wait_seconds":60}`, out: `{"group":"aabbcc","state":"waiting"}`},
		{line: "requests --group aabbcc", command: "requests", args: `{"group":"aabbcc"}`, out: `[]`},
		{line: "approve 112233", command: "approve", args: `{"id":"112233"}`, out: `{"done":true}`},
		{line: "members", command: "members", args: `{}`, out: `[]`},
		{line: "remove 112233 --group aabbcc", command: "remove", args: `{"group":"aabbcc","member":"112233"}`, out: `{"done":true}`},
		{line: "grant 112233 author", command: "grant", args: `{"member":"112233","role":"author"}`, out: `{"done":true}`},
		{line: "leave", command: "leave", args: `{}`, out: `{"done":true,"told":true}`},
		{line: "organisers --group aabbcc", command: "organisers", args: `{"group":"aabbcc"}`, out: `{"organisers":[],"open":[],"need":2,"of":3,"paper":false}`},
		{line: "organisers confirm", command: "organisers.confirm", args: `{}`, out: `{"done":true}`},
		{line: "suspend 112233", command: "suspend", args: `{"member":"112233"}`, out: `{"done":true}`},
		{line: "reinstate 112233", command: "reinstate", args: `{"member":"112233"}`, out: standing},
		{line: "expel 112233 --group aabbcc", command: "expel", args: `{"group":"aabbcc","member":"112233"}`, out: standing},
		{line: "expel 112233 --undo aabbcc --undo ddeeff,001122", command: "expel", args: `{"member":"112233","undo":["aabbcc","ddeeff","001122"]}`, out: standing},
		{line: "vote", command: "organisers", args: `{}`, out: `[]`},
		{line: "vote 3f2a91", command: "vote", args: `{"proposal":"3f2a91"}`, out: standing},
		{line: "devices", command: "devices", args: `{}`, out: `[]`},
		{line: "devices 112233", command: "devices", args: `{"member":"112233"}`, out: `[]`},
		{line: "devices remove ddeeff --group aabbcc", command: "devices.remove", args: `{"group":"aabbcc","device":"ddeeff"}`, out: `{"done":true}`},
		{line: "devices set 112233 ddeeff 445566", command: "devices.set", args: `{"member":"112233","devices":["ddeeff","445566"]}`, out: standing},
		{line: "policy", command: "policy", args: `{}`, out: `{"posting":"all","period_days":7,"keep_days":30,"history":"none","high_risk":false,"alerts_while_renewing":false,"carriers":[]}`},
		{line: "policy --carrier /a --carrier /b", command: "policy.set", args: `{"carriers":["/a","/b"]}`, out: standing},
		{line: "policy --carrier none", command: "policy.set", args: `{"carriers":[]}`, out: standing},
		{line: "policy --high-risk off --period 3", command: "policy.set", args: `{"period_days":3,"high_risk":false}`, out: standing},
		{line: "policy --posting authors --keep 9 --history pinned --high-risk on --alerts-while-renewing on", command: "policy.set",
			args: `{"posting":"authors","keep_days":9,"history":"pinned","high_risk":true,"alerts_while_renewing":true}`, out: standing},
		{line: "recovery", command: "recovery", args: `{}`, out: `{"exists":false}`},
		{line: "recovery end", command: "recovery.set", args: `{}`, out: standing},
		{line: "recovery use 3f2a91 --words-file -", in: strings.ToUpper(paperWords) + "\n", command: "recovery.use",
			args: `{"proposal":"3f2a91","words":"` + paperWords + `"}`, out: standing},
		{line: "recovery use 3f2a91 --words-file " + file(t, "words", paperWords), command: "recovery.use",
			args: `{"proposal":"3f2a91","words":"` + paperWords + `"}`, out: standing},
		{line: "changes", command: "changes", args: `{"limit":20}`, out: `[]`},
		{line: "changes -n 3", command: "changes", args: `{"limit":3}`, out: `[]`},
		{line: "grant 112233 organiser", command: "grant", args: `{"member":"112233","role":"organiser"}`},
		{line: "post announcement --title T --body B", command: "post",
			args: `{"kind":"announcement","texts":[{"lang":"en","title":"T","body":"B"}]}`, out: `{"id":"ddeeff"}`},
		{line: "post announcement --title T --body - --urgency alert --expires 7d", env: "LANG=fr_SN.UTF-8", in: "un\r\ndeux <&>\n", command: "post",
			args: `{"kind":"announcement","texts":[{"lang":"fr","title":"T","body":"un\ndeux <&>"}],"urgency":"alert","expires_seconds":604800}`, out: `{"id":"ddeeff"}`},
		{line: "post announcement --title T --lang ar --text en=" + english + " --text ti=" + bare, env: "LC_ALL=zh_TW", command: "post",
			args: `{"kind":"announcement","texts":[{"lang":"ar","title":"T","body":""},{"lang":"en","title":"Come all","body":"At the tree.\nBring water."},{"lang":"ti","title":"ርእሲ","body":""}]}`, out: `{"id":"ddeeff"}`},
		{line: "post announcement --text en=-", in: "T\nB", command: "post",
			args: `{"kind":"announcement","texts":[{"lang":"en","title":"T","body":"B"}]}`, out: `{"id":"ddeeff"}`},
		{line: "post announcement --title T", env: "LC_ALL=zh_TW.UTF-8", command: "post",
			args: `{"kind":"announcement","texts":[{"lang":"zh-TW","title":"T","body":""}]}`, out: `{"id":"ddeeff"}`},
		{line: "post meeting --title T --start 2026-12-05T18:30:00+01:00 --end 2026-12-05T19:30:00Z --tz Europe/Paris --place Salle~3 --link https://example.org", command: "post",
			args: `{"kind":"meeting","texts":[{"lang":"en","title":"T","body":""}],"meeting":{"start":"2026-12-05T17:30:00Z","end":"2026-12-05T19:30:00Z","tz":"Europe/Paris","place":"Salle 3","link":"https://example.org"}}`, out: `{"id":"ddeeff"}`},
		{line: "edit 112233 --title= --lang fr", command: "edit", args: `{"id":"112233","lang":"fr","title":""}`, out: `{"id":"ddeeff"}`},
		{line: "edit 112233 --body - --urgency info --expires 1h", in: "B\n", command: "edit",
			args: `{"id":"112233","body":"B","urgency":"info","expires_seconds":3600}`, out: `{"id":"ddeeff"}`},
		{line: "edit 112233 --end= --place= --start 2026-12-05T18:30:00+01:00", command: "edit",
			args: `{"id":"112233","meeting":{"start":"2026-12-05T17:30:00Z","end":"","place":""}}`, out: `{"id":"ddeeff"}`},
		{line: "edit 112233 --text ti=" + bare, command: "edit", args: `{"id":"112233","texts":[{"lang":"ti","title":"ርእሲ","body":""}]}`, out: `{"id":"ddeeff"}`},
		{line: "cancel 112233 --reason Rain", command: "cancel", args: `{"id":"112233","reason":"Rain"}`, out: `{"id":"ddeeff"}`},
		{line: "post announcement --title T --urgency alert --send-now 0", command: "post",
			args: `{"kind":"announcement","texts":[{"lang":"en","title":"T","body":""}],"urgency":"alert","send_now":0}`, out: `{"id":"ddeeff"}`},
		{line: "held", command: "held", args: `{}`, out: `{"held":[],"may_send_now":false,"readers":[]}`},
		{line: "send-now aabbcc --readers 2", command: "send-now", args: `{"id":"aabbcc","readers":2}`, out: `{"id":"ddeeff"}`},
		{line: "pin 112233", command: "pin", args: `{"id":"112233"}`, out: `{"id":"ddeeff"}`},
		{line: "pin 112233 --off --group aabbcc", command: "pin", args: `{"group":"aabbcc","id":"112233","off":true}`, out: `{"id":"ddeeff"}`},
		{line: "notices --all", env: "LANG=ti_ER", command: "notices", args: `{"all":true,"langs":["ti-ER"]}`, out: `[]`},
		{line: "notices", command: "notices", args: `{}`, out: `[]`},
		{line: "show 112233 --lang ar", command: "show", args: `{"id":"112233","lang":"ar"}`},
	} {
		p := palabre(t, dir, append(words(c.line), "--json")...).with(c.env)
		p.Stdin = strings.NewReader(c.in)
		if code := p.exit(t); code != exitDone || p.err.Len() > 0 {
			t.Errorf("%s: exit %d, %s", c.line, code, p.err.String())
			continue
		}
		if got := <-r.asked; got != (request{c.command, c.args}) {
			t.Errorf("%s asked\n%s %s, not\n%s %s", c.line, got.command, got.args, c.command, c.args)
		}
		if c.out != "" && p.out.String() != c.out+"\n" {
			t.Errorf("%s printed %q", c.line, p.out.String())
		}
	}
}

// The profile of --profile wins over the environment.
func TestProfileFlag(t *testing.T) {
	r, dir := record(t, answers())
	p := palabre(t, "/nonexistent", "members", "--json", "--profile", dir)
	if p.exit(t) != exitDone || (<-r.asked).command != api.CommandMembers {
		t.Error(p.err.String())
	}
}

// What others wrote is shown, and cannot move the cursor, clear the screen, turn
// the reading order or speak to the terminal.
func TestHostileTextIsHarmless(t *testing.T) {
	const bad = "\x1b]0;owned\x07\x1b[2J\r\b\x00\x9b31m\u202e\u2066\u200f\u200b\u061c\ufeff\U000e0041\ue000 شكرا\nline"
	meeting := &api.Meeting{Start: bad, End: bad, TZ: bad, Place: bad, Link: bad}
	text := []api.Text{{Lang: bad, Title: bad, Body: bad}}
	n := api.Notice{ID: bad, Kind: bad, Title: bad, Body: bad, Lang: "fr", Langs: []string{bad}, Author: bad, AuthorName: bad,
		Urgency: bad, Status: bad, Created: bad, Expires: bad, Meeting: meeting}
	who := api.Person{ID: bad, Name: bad, Alike: true}
	r, dir := record(t, map[string]any{
		api.CommandData: api.Data{Until: bad + "شكرا", Low: true, CapBytes: 1},
		api.CommandStatus: api.Status{Groups: []api.GroupStatus{{ID: bad, Name: bad, Suspended: []api.Person{who}, Waiting: true,
			Because: &api.Change{What: api.ChangeRemoved, By: who, Target: &who}}}},
		api.CommandGroupCreate: api.GroupCreated{Group: bad},
		api.CommandInvite:      api.Invite{Link: bad},
		api.CommandJoin:        api.Joined{Group: bad, State: api.StateJoined},
		api.CommandRequests:    []api.Request{{ID: bad, Group: bad, Name: bad, Words: bad, Created: bad}},
		api.CommandMembers:     []api.Member{{ID: bad, Name: bad, Role: bad, Words: bad}},
		api.CommandPost:        api.Posted{ID: bad},
		api.CommandNotices:     []api.Notice{n, n},
		api.CommandShow: api.Shown{Notice: n, Texts: text, CancelledBy: bad, CancelledByName: bad, Reason: bad, Incomplete: true,
			Versions: []api.Version{{Editor: bad, EditorName: bad, Created: bad, Texts: text, Meeting: meeting}}},
		api.CommandCancel: &api.Error{Code: bad, Text: bad, Hint: bad},
		api.CommandOrganisers: api.Organisers{Organisers: []api.Organiser{{Person: who, SuspendedBy: []api.Person{who}, Devices: []string{bad}}},
			Open: []api.Proposal{{ID: bad, Decision: bad, By: who, Target: &who, Voters: []api.Person{who}, Policy: &api.Policy{Posting: bad, History: bad}, Created: bad, PaperMay: true}}},
		api.CommandDevices: []api.Device{{ID: bad, Member: bad, Added: bad}},
		api.CommandPolicy:  api.Policy{Posting: bad, History: bad},
		api.CommandChanges: []api.Change{{ID: bad, What: bad, Decision: bad, By: who, Target: &who, Device: bad, At: bad}},
		api.CommandVote:    api.Proposed{ID: bad, PaperMay: true},
	})
	for _, line := range []string{"status", "group create A", "invite", "join x", "requests", "members", "post announcement --title T",
		"notices", "show 112233", "organisers", "vote", "devices", "policy", "changes", "data", "vote 112233", "cancel 112233 --reason R"} {
		for _, more := range [][]string{{}, {"--json"}} {
			p := palabre(t, dir, append(words(line), more...)...)
			p.exit(t)
			<-r.asked
			all := p.out.String() + p.err.String()
			if !strings.Contains(all, "شكرا") && line != "cancel 112233 --reason R" && line != "vote 112233" {
				t.Errorf("%s %v lost the letters: %q", line, more, all)
			}
			for _, c := range all {
				if c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || unicode.Is(unicode.Co, c)) {
					t.Errorf("%s %v printed %U: %q", line, more, c, all)
					break
				}
			}
		}
	}
}

func TestPeopleReadNotices(t *testing.T) {
	a := api.Notice{ID: strings.Repeat("a", 64), Kind: api.KindAnnouncement, Title: "Come", Lang: "en", Langs: []string{"en", "ar"},
		AuthorName: "Ana", Author: strings.Repeat("b", 64), Urgency: api.UrgencyAlert, Status: api.StatusActive, Version: 1,
		Created: "2026-11-24T10:00:00Z", Expires: "2026-11-27T10:00:00Z"}
	m := a
	m.ID, m.Kind, m.Title, m.Urgency = "aaaaaaaab"+strings.Repeat("c", 55), api.KindMeeting, "Circle", api.UrgencyInfo
	m.Meeting = &api.Meeting{Start: "2026-12-05T17:30:00Z", End: "2026-12-05T19:00:00Z", TZ: "Europe/Paris", Place: "The tree"}
	_, dir := record(t, map[string]any{
		api.CommandNotices: []api.Notice{a, m},
		api.CommandShow:    api.Shown{Notice: m, Texts: []api.Text{{Lang: "en", Title: "Circle"}}, Incomplete: true},
	})
	p := palabre(t, dir, "notices")
	want := "" +
		"aaaaaaaaa  2026-11-24 10:00  ALERT    Come\n" +
		"aaaaaaaab  2026-11-24 10:00  meeting  Circle\n" +
		"                                      2026-12-05 18:30 - 20:00 Europe/Paris  The tree\n"
	if p.exit(t) != exitDone || p.out.String() != want {
		t.Errorf("got\n%s%s", p.out.String(), p.err.String())
	}
	p = palabre(t, dir, "show", "aaaaaaaab")
	want = "meeting: Circle\n\n" +
		"starts   2026-12-05 18:30 - 20:00 Europe/Paris\n" +
		"place    The tree\n" +
		"from     bbbbbbbb  Ana\n" +
		"written  2026-11-24 10:00\n" +
		"until    2026-11-27 10:00\n" +
		"also in  ar\n" +
		"id       " + m.ID + "\n\n" +
		"A newer version of this notice exists and has not arrived yet.\n"
	if p.exit(t) != exitDone || p.out.String() != want {
		t.Errorf("got\n%s%s", p.out.String(), p.err.String())
	}
}

func TestPeopleReadMembers(t *testing.T) {
	_, dir := record(t, map[string]any{api.CommandMembers: []api.Member{
		{ID: strings.Repeat("a", 32), Name: "عائشة", Role: api.RoleOrganiser, Words: "six words"},
		{ID: strings.Repeat("b", 32), Role: "of a newer version", Words: "six other words"},
	}})
	p := palabre(t, dir, "members")
	want := "aaaaaaaa  organiser           six words        عائشة\n" +
		"bbbbbbbb  of a newer version  six other words  (the name has not come yet)\n"
	if p.exit(t) != exitDone || p.out.String() != want {
		t.Errorf("got\n%s%s", p.out.String(), p.err.String())
	}
}

func TestInviteLinkStandsAlone(t *testing.T) {
	_, dir := record(t, answers())
	p := palabre(t, dir, "invite")
	if p.exit(t) != exitDone || p.out.String() != "palabre://join#abc\n" || p.err.Len() == 0 {
		t.Errorf("%q, %q", p.out.String(), p.err.String())
	}
	p = palabre(t, dir, "invite", "--qr")
	if p.exit(t) != exitDone || strings.Count(p.out.String(), "\n") < 10 || !strings.ContainsAny(p.out.String(), "▀▄█") {
		t.Errorf("no code: %q", p.out.String())
	}
}

func TestWatchPrintsALineAnEvent(t *testing.T) {
	r, dir := record(t, nil)
	for _, c := range []struct {
		args  []string
		wants []string
	}{
		{[]string{"watch", "--json"}, []string{`{"event":"watching"}`, `{"event":"notice","group":"aa","id":"bbccddeeff"}`}},
		{[]string{"watch"}, []string{"Watching. To end: Ctrl-C", "new notice: palabre show bbccddee"}},
	} {
		p := palabre(t, dir, c.args...)
		p.Stdout = nil
		out, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for i, e := range []api.Event{{Event: api.EventWatching}, {Event: api.EventNotice, Group: "aa", ID: "bbccddeeff"}} {
			r.events <- e
			if got, err := lines.ReadString('\n'); err != nil || got != c.wants[i]+"\n" {
				t.Errorf("%v: %q, %v", c.args, got, err)
			}
		}
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(lines)
		if err := p.Wait(); err != nil || len(rest) > 0 {
			t.Errorf("%v ended with %v, %q, %q", c.args, err, rest, p.err.String())
		}
	}
}

func TestARealProfile(t *testing.T) {
	dir, err := os.MkdirTemp("", "pal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	profile := dir + "/p"
	pass := file(t, "pass", "correct horse battery\n")
	p := palabre(t, profile, "init", "--name", "Ana", "--json", "--passphrase-file", pass)
	if code := p.exit(t); code != exitDone || p.out.String() != fmt.Sprintf("{\"profile\":%q}\n", profile) {
		t.Fatalf("exit %d, %s %s", code, p.out.String(), p.err.String())
	}
	p = palabre(t, profile, "init", "--name", "Eva", "--json").with("PALABRE_PASSPHRASE_FILE=" + pass)
	if p.exit(t) != exitFailed || p.fault(t).Code != api.CodeProfileExists {
		t.Errorf("again: %s", p.err.String())
	}
	// One newline is not part of the passphrase; a second one is.
	for content, want := range map[string]string{
		"correct horse battery": "", "correct horse battery\r\n": "",
		"correct horse battery\n\n": api.CodeWrongPassphrase, "correct horse": api.CodeWrongPassphrase, "\n": api.CodePassphraseUnusable,
	} {
		p := palabre(t, profile, "status", "--json", "--passphrase-file", file(t, "pass", content))
		switch code := p.exit(t); {
		case want == "" && (code != exitDone || !strings.HasPrefix(p.out.String(), `{"running":false,"peers":0,"groups":[],"data":{`)):
			t.Errorf("%q: exit %d, %s %s", content, code, p.out.String(), p.err.String())
		case want != "" && (code != exitFailed || p.fault(t).Code != want):
			t.Errorf("%q: exit %d, %s", content, code, p.err.String())
		}
	}
	run := palabre(t, profile, "run", "--json", "--passphrase-file", pass, "--listen", "/ip4/127.0.0.1/tcp/0")
	run.Stdout = nil
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if got, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(got, `{"event":"ready","addrs":[`) {
		t.Errorf("ready: %q, %v", got, err)
	}
	// No passphrase is asked of those who talk to the running node.
	p = palabre(t, profile, "status", "--json")
	if p.exit(t) != exitDone || !strings.HasPrefix(p.out.String(), `{"running":true,`) {
		t.Errorf("beside it: %s %s", p.out.String(), p.err.String())
	}
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(lines)
	if err := run.Wait(); err != nil || len(rest) > 0 || run.err.Len() > 0 {
		t.Errorf("run ended with %v, %q, %q", err, rest, run.err.String())
	}
}
