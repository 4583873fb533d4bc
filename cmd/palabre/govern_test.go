package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// Two people govern their group by the commands that people type: they share it,
// settle its rules, keep a paper, and the paper helps when one of them is lost;
// a member who leaves is gone for the others.
func TestTwoPeopleGovern(t *testing.T) {
	t.Parallel()
	dir := place(t)
	awa, bilal, clara := someone(t, dir, "Awa"), someone(t, dir, "Bilal"), someone(t, dir, "Clara")
	for _, p := range []*person{awa, bilal, clara} {
		must(t, p.on(onTCP))
	}
	newGroup(t, api.PostingAll, awa, bilal, clara)
	ids := memberIDs(t, awa, 3)
	memberIDs(t, bilal, 3)

	var p api.Proposed
	must(t, awa.do(&p, "grant", ids["Bilal"][:6], "organiser"))
	if !p.Effective || p.Of != 1 {
		t.Fatalf("one alone decides: %+v", p)
	}
	organisers := func(who *person, what string, fits func(api.Organisers) bool) {
		t.Helper()
		must(t, who.until(what, func() (bool, error) {
			var o api.Organisers
			err := who.do(&o, "organisers")
			return fits(o), err
		}))
	}
	organisers(bilal, "to organise", func(o api.Organisers) bool { return len(o.Organisers) == 2 && o.Need == 2 })

	// decide makes a proposal that Bilal agrees to.
	decide := func(args ...string) {
		t.Helper()
		must(t, awa.do(&p, args...))
		if p.Effective || p.Have != 1 || p.Need != 2 || p.Of != 2 {
			t.Fatalf("%v by one of two: %+v", args, p)
		}
		organisers(bilal, "to be asked", func(o api.Organisers) bool { return len(o.Open) == 1 && o.Open[0].ID == p.ID })
		var open []api.Proposal
		must(t, bilal.do(&open, "vote"))
		if len(open) != 1 || open[0].By.ID != ids["Awa"] || open[0].Voted {
			t.Fatalf("Bilal is asked %+v", open)
		}
		must(t, bilal.do(&p, "vote", open[0].ID[:8]))
		if !p.Effective {
			t.Fatalf("%v by both: %+v", args, p)
		}
		organisers(awa, "the decision", func(o api.Organisers) bool { return len(o.Open) == 0 })
	}
	decide("policy", "--posting", "organisers", "--period", "3")
	var rules api.Policy
	must(t, awa.do(&rules, "policy"))
	if !reflect.DeepEqual(rules, api.Policy{Posting: api.PostingOrganisers, PeriodDays: 3, KeepDays: 30, History: api.HistoryNone, Carriers: []string{}}) {
		t.Errorf("the rules are %+v", rules)
	}
	if e := clara.try(t, "post", "announcement", "--title", "T", "--body", "b").fault(t); e.Code != api.CodeMayNotPost {
		t.Errorf("Clara posts: %+v", e)
	}
	paper := filepath.Join(dir, "paper")
	decide("recovery", "new", "--words-file", paper)
	words, err := os.ReadFile(paper)
	must(t, err)

	var left api.Left
	must(t, clara.do(&left, "leave"))
	if !left.Told {
		t.Errorf("Clara left: %+v", left)
	}
	memberIDs(t, awa, 2)
	memberIDs(t, bilal, 2)

	// Bilal's phone is lost: he is stopped at once, and the paper decides.
	must(t, bilal.off())
	must(t, awa.do(nil, "suspend", ids["Bilal"]))
	must(t, awa.do(&p, "expel", ids["Bilal"]))
	if p.Effective || !p.PaperMay {
		t.Fatalf("one of two expels: %+v", p)
	}
	use := awa.command("recovery", "use", p.ID[:6], "--words-file", paper)
	if out, err := use.Output(); err != nil || len(out) == 0 {
		t.Fatalf("the paper: %s, %v", out, err)
	}
	memberIDs(t, awa, 1)
	var list []api.Change
	must(t, awa.do(&list, "changes", "-n", "3"))
	if len(list) != 3 || list[0].Decision != api.DecisionExpel || !list[0].Effective || list[1].What != api.ChangeSuspended || list[2].What != api.ChangeLeft {
		t.Errorf("the changes are %+v", list)
	}
	if _, err := os.Stat(paper); err != nil || len(words) == 0 {
		t.Errorf("the paper is gone: %v", err)
	}
}
