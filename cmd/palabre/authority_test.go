package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
)

var (
	awa    = api.Person{ID: strings.Repeat("a", 32), Name: "Awa"}
	bilal  = api.Person{ID: strings.Repeat("b", 32), Name: "Bilal"}
	dawit  = api.Person{ID: strings.Repeat("d", 32), Name: "Dawit"}
	double = api.Person{ID: strings.Repeat("e", 32), Name: "Awa", Alike: true}
	asks   = strings.Repeat("3f2a91", 10)
)

// prints runs a command and compares what people read.
func prints(t *testing.T, dir, want string, args ...string) {
	t.Helper()
	p := palabre(t, dir, args...)
	if code := p.exit(t); code != exitDone || p.out.String() != want || p.err.Len() > 0 {
		t.Errorf("palabre %s: exit %d, got\n%s%s, want\n%s", strings.Join(args, " "), code, p.out.String(), p.err.String(), want)
	}
}

func TestPeopleReadOrganisers(t *testing.T) {
	open := []api.Proposal{{ID: asks, Decision: api.DecisionExpel, By: awa, Target: &dawit, Undo: 2, Voters: []api.Person{awa}, Have: 1, Need: 2, Of: 3, PaperMay: true}}
	r, dir := record(t, map[string]any{
		api.CommandOrganisers: api.Organisers{Need: 2, Of: 3, Paper: true, Alarm: true, Open: open, Organisers: []api.Organiser{
			{Person: awa}, {Person: bilal, Self: true}, {Person: dawit, SuspendedBy: []api.Person{awa, double}}}},
		api.CommandSuspend: api.Done{Done: true},
		api.CommandExpel:   api.Proposed{ID: asks, Have: 1, Need: 2, Of: 3, PaperMay: true},
		api.CommandVote:    api.Proposed{ID: asks, Effective: true, Have: 2, Need: 2, Of: 3},
	})
	vote := "expel Dawit (and take back 2 of their acts): 2 of 3 organisers must agree: 1 has (Awa)\n" +
		"  proposed by Awa\n  palabre vote 3f2a913f\n  palabre recovery use 3f2a913f\n"
	prints(t, dir, ""+
		"aaaaaaaa  organiser  Awa\n"+
		"bbbbbbbb  organiser  Bilal (you)\n"+
		"dddddddd  SUSPENDED  Dawit\n"+
		"                     suspended by Awa, Awa eeeeeeee. Decide: palabre expel dddddddd or palabre reinstate dddddddd\n"+
		"\nFor a decision 2 of 3 organisers must agree.\nThere is a recovery paper.\n"+
		"A decision of the organisers that held for days does not hold any more, and what you write waits. "+
		"Talk to the others, and look at: palabre changes. Then type: palabre organisers confirm\n\n"+vote, "organisers")
	prints(t, dir, vote, "vote")
	prints(t, dir, "Suspended: from now on nothing that they do as an organiser counts, and the keys are renewed.\n"+
		"This is meant to be short. Talk to the other organisers, then propose one of these:\n"+
		"  palabre expel dddddd\n  palabre reinstate dddddd\n", "suspend", "dddddd")
	prints(t, dir, "Saved. 2 of 3 organisers must agree: 1 has.\nThe other organisers type: palabre vote 3f2a913f\n"+
		"The recovery paper can agree too: palabre recovery use 3f2a913f\n", "expel", "dddddd")
	prints(t, dir, "Decided: it is so now.\n", "vote", "3f2a91")
	for range 5 {
		<-r.asked
	}

	_, dir = record(t, map[string]any{api.CommandOrganisers: api.Organisers{}})
	prints(t, dir, "Nothing waits for a vote.\n", "vote")
}

// Who votes to give somebody back reads what counts again by it, and why somebody
// was suspended.
func TestPeopleReadWhatReturns(t *testing.T) {
	returns := []api.Change{{What: api.ChangeRemoved, By: dawit, Target: &bilal, Effective: true}}
	back := api.Proposal{ID: asks, Decision: api.DecisionReinstate, By: awa, Target: &dawit, Voters: []api.Person{awa}, Have: 1, Need: 2, Of: 3}
	full := back
	full.ID, full.Returns = strings.Repeat("7c1b22", 10), returns
	_, dir := record(t, map[string]any{
		api.CommandOrganisers: api.Organisers{Need: 2, Of: 3, Open: []api.Proposal{back, full}, Organisers: []api.Organiser{
			{Person: dawit, SuspendedBy: []api.Person{awa}, Returns: returns}}},
	})
	vote := func(what, id string) string {
		return "reinstate Dawit: 2 of 3 organisers must agree: 1 has (Awa)\n" + what + "  proposed by Awa\n  palabre vote " + id + "\n"
	}
	list := "  If this is decided, this counts again, which Dawit did before hearing of the suspension or in spite of it:\n    Dawit removed Bilal\n"
	open := vote("  Nothing that Dawit did meanwhile as an organiser counts again by it.\n", "3f2a913f") + vote(list, "7c1b227c")
	prints(t, dir, open, "vote")
	prints(t, dir, "dddddddd  SUSPENDED  Dawit\n                     suspended by Awa. Decide: palabre expel dddddddd or palabre reinstate dddddddd\n\n"+
		"reinstate Dawit:\n"+list+"For a decision 2 of 3 organisers must agree.\n\n"+open, "organisers")
	f := &face{language: "en"}
	if got := f.change(api.Change{What: api.ChangeSuspended, By: awa, Target: &dawit, Effective: true, Twice: true}); got !=
		"Awa suspended Dawit (one of their devices signed two different things under one number: it was copied, or is in two hands)" {
		t.Error(got)
	}
}

func TestPeopleReadWhoDidWhat(t *testing.T) {
	at := "2026-11-24T10:00:00Z"
	list := []api.Change{
		{What: api.ChangeSuspended, By: awa, Target: &dawit, At: at, Effective: true},
		{What: api.ChangeProposed, Decision: api.DecisionExpel, By: bilal, Target: &dawit, At: at, Open: true},
		{What: api.ChangeProposed, Decision: api.DecisionOrganiser, By: awa, Target: &bilal, At: at, Effective: true},
		{What: api.ChangeProposed, Decision: api.DecisionPolicy, By: awa, At: at},
		{What: api.ChangeDeviceRemoved, By: awa, Target: &double, Device: strings.Repeat("5", 32), At: at, Effective: true},
		{What: api.ChangeRemoved, By: dawit, Target: &api.Person{ID: strings.Repeat("7", 32)}, At: at},
		{What: api.ChangeLeft, By: awa, Target: &awa, At: at, Effective: true},
		{What: api.ChangeProposed, Decision: api.DecisionRecoveryEnd, By: awa, At: at, Effective: true},
		{What: "of a newer version", By: awa, At: at, Effective: true},
	}
	r, dir := record(t, map[string]any{
		api.CommandChanges: list,
		api.CommandStatus: api.Status{Running: true, Groups: []api.GroupStatus{{ID: strings.Repeat("9", 64), Name: "G", Members: 3,
			Waiting: true, Suspended: []api.Person{dawit}, Because: &api.Change{What: api.ChangeRemoved, By: awa, Target: &dawit, Effective: true},
			RenewedBy: []api.Person{awa, bilal}, OthersRenew: true, Held: 2}}},
	})
	want := []string{"Awa suspended Dawit", "Bilal proposes: expel Dawit", "the organisers decided: make Bilal an organiser (proposed by Awa)",
		"Awa proposes: change the rules of the group (it has no effect)", "Awa removed the device 55555555 of Awa eeeeeeee",
		"Dawit removed 77777777 (it has no effect)", "Awa left the group",
		"the organisers decided: let no recovery paper count any more (proposed by Awa)", "Awa did something that only a newer palabre knows"}
	prints(t, dir, "2026-11-24 10:00  "+strings.Join(want, "\n2026-11-24 10:00  ")+"\n", "changes")
	prints(t, dir, "Palabre is running. Phones connected: 0\n\n99999999  G\n  members: 3   not handed over yet: 0   known and missing: 0\n"+
		"  suspended organiser: Dawit. Look at: palabre organisers\n"+
		"  What you write waits: the keys are being renewed because Awa removed Dawit\n"+
		"  A phone of Awa, Bilal renews them; if none of these comes, phones of other members do after a few minutes.\n"+
		"  Waiting to go out: 2. Look at: palabre held\n", "status")

	var b strings.Builder
	f := &face{out: &b, language: "en"}
	for _, e := range []api.Event{
		{Event: api.EventMembers, ID: dawit.ID, Told: true}, // the next line says it
		{Event: api.EventAuthority, Change: &list[0]},
		{Event: api.EventMembers, ID: dawit.ID},
		{Event: api.EventAuthority, Change: &list[1], Stands: &api.Proposed{ID: asks, Have: 1, Need: 2, Of: 3}},
		{Event: api.EventAuthority, ID: asks},
		{Event: api.EventAlarm},
	} {
		if err := f.event(e); err != nil {
			t.Fatal(err)
		}
	}
	if b.String() != "Awa suspended Dawit\nthe members changed: palabre members\nBilal proposes: expel Dawit - 2 of 3 organisers must agree: 1 has: palabre vote 3f2a913f\n"+
		"something changed among the organisers: palabre organisers\n"+
		"A decision of the organisers that held for days does not hold any more: palabre organisers\n" {
		t.Errorf("watching says\n%s", b.String())
	}
	<-r.asked
	<-r.asked
}

// The key of a paper leaves no trace but the words that a person asked for.
func TestRecoveryWords(t *testing.T) {
	r, dir := record(t, map[string]any{
		api.CommandRecoverySet: api.Proposed{ID: asks, Effective: true}, api.CommandRecoveryUse: api.Proposed{ID: asks, Effective: true}})
	at := filepath.Join(t.TempDir(), "paper")
	p := palabre(t, dir, "recovery", "new", "--words-file", at, "--json")
	if code := p.exit(t); code != exitDone {
		t.Fatalf("exit %d, %s", code, p.err.String())
	}
	words, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(at)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the file: %v, %v", info.Mode(), err)
	}
	key, err := identity.ParsePaper(string(words))
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	if got := <-r.asked; got != (request{api.CommandRecoverySet, `{"key":"` + hex.EncodeToString(public[:]) + `"}`}) {
		t.Errorf("asked %+v", got)
	}
	if word := strings.Fields(string(words)); strings.Contains(p.out.String()+p.err.String(), word[0]+" "+word[1]) {
		t.Errorf("the words are printed: %q", p.out.String())
	}
	// A file that is there is not written over, and nothing is proposed.
	again := palabre(t, dir, "recovery", "new", "--words-file", at, "--json")
	if again.exit(t) != exitFailed || again.fault(t).Code != api.CodeRecoveryFile {
		t.Errorf("over a file: %s", again.err.String())
	}
	if kept, err := os.ReadFile(at); err != nil || string(kept) != string(words) {
		t.Errorf("the file was changed: %v", err)
	}
	for _, args := range [][]string{{"recovery", "new", "--json"}, {"recovery", "use", asks, "--json"}} {
		p := palabre(t, dir, args...)
		if p.exit(t) != exitFailed || p.fault(t).Code != api.CodeRecoveryWordsNeeded {
			t.Errorf("%v: %s", args, p.err.String())
		}
	}
	list := strings.Fields(string(words))
	list[20] = map[bool]string{true: "abacus", false: "abdomen"}[list[20] != "abacus"]
	for _, typed := range []string{"", strings.Join(list[:20], " "), strings.Repeat("x", 5_000), strings.Join(list[1:], " ") + " nosuchword"} {
		p := palabre(t, dir, "recovery", "use", asks, "--words-file", file(t, "words", typed), "--json")
		if p.exit(t) != exitFailed || p.fault(t).Code != api.CodeRecoveryWords || strings.Contains(p.err.String(), "nosuchword") {
			t.Errorf("%.40q: %s", typed, p.err.String())
		}
	}
	if len(r.asked) != 0 {
		t.Errorf("asked %+v", <-r.asked)
	}
}

// A refusal takes the file with words of no use away.
func TestRefusedPaperLeavesNoFile(t *testing.T) {
	_, dir := record(t, map[string]any{api.CommandRecoverySet: &api.Error{Code: api.CodeNotOrganiser, Text: "no"}})
	at := filepath.Join(t.TempDir(), "paper")
	p := palabre(t, dir, "recovery", "new", "--words-file", at, "--json")
	if p.exit(t) != exitFailed || p.fault(t).Code != api.CodeNotOrganiser {
		t.Errorf("%s", p.err.String())
	}
	if _, err := os.Stat(at); !os.IsNotExist(err) {
		t.Errorf("the words are still there: %v", err)
	}
}

var offeredPaper = regexp.MustCompile(`\n\n((?:    (?:[a-z-]+ ){6}[a-z-]+\n){3})\n`)

// Whoever draws a paper at a terminal sees the words once, and types the last.
func TestRecoveryNewShowsTheWords(t *testing.T) {
	for _, right := range []bool{true, false} {
		r, dir := record(t, map[string]any{api.CommandRecoverySet: api.Proposed{ID: asks, Have: 1, Need: 2, Of: 2}})
		var words string
		p := &typist{types: func(seen string) []byte {
			m := offeredPaper.FindStringSubmatch(seen)
			if m == nil {
				t.Fatalf("no words in %q", seen)
			}
			words = strings.Join(strings.Fields(m[1]), " ")
			if !right {
				return []byte("another")
			}
			return []byte(strings.ToUpper(words[strings.LastIndex(words, " "):]))
		}}
		var out strings.Builder
		f := asked(p)
		f.args, f.out, f.err, f.profile = []string{"recovery", "new", "--profile", dir}, &out, &out, dir
		code := f.run()
		key, err := identity.ParsePaper(words)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(p.String(), "somebody who does not organise") {
			t.Error("nobody was told who keeps the paper")
		}
		if strings.Contains(out.String(), words[:20]) {
			t.Errorf("the words are printed: %q", out.String())
		}
		if !right {
			if code != exitFailed || len(r.asked) != 0 {
				t.Errorf("a paper that nobody wrote down was proposed: exit %d, %q", code, out.String())
			}
			continue
		}
		public := key.Public()
		if got := <-r.asked; code != exitDone || got.args != `{"key":"`+hex.EncodeToString(public[:])+`"}` || !strings.Contains(out.String(), "palabre vote 3f2a913f") {
			t.Errorf("exit %d, asked %+v, %q", code, got, out.String())
		}
	}
}

// Everybody reads whose phone said two things in one place.
func TestPeopleReadWhoSaidTwoThings(t *testing.T) {
	_, dir := record(t, map[string]any{api.CommandMembers: []api.Member{
		{ID: awa.ID, Name: "Awa", Role: api.RoleOrganiser, Words: "a b c d e f"},
		{ID: dawit.ID, Name: "Dawit", Role: api.RoleReader, Words: "g h i j k l", Twice: true}}})
	prints(t, dir, ""+
		"aaaaaaaa  organiser  a b c d e f  Awa\n"+
		"dddddddd  reader     g h i j k l  Dawit\n"+
		"Dawit: one of their devices signed two different things in one place. It was copied, or it tells people different things: ask Dawit face to face.\n", "members")
}
