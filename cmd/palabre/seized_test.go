package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// A phone of an organiser is seized, and its copy is used against the group: it
// stops another organiser and puts a member out. The others stop it at once,
// expel it, take back what it did, renew the keys and go on. Five processes.
func TestSeizedOrganiserIsOvercome(t *testing.T) {
	t.Parallel()
	dir := place(t)
	var all []*person
	for _, name := range []string{"Awa", "Bilal", "Clara", "Dawit", "Elena"} {
		p := someone(t, dir, name)
		p.patience = 5 * time.Minute // keys are renewed within a minute, and who was stopped asks once a minute
		must(t, p.on(onTCP))
		all = append(all, p)
	}
	awa, bilal, clara, elena := all[0], all[1], all[2], all[4]
	newGroup(t, api.PostingAll, awa, all[1:]...)
	ids := memberIDs(t, awa, len(all))
	for _, p := range all {
		memberIDs(t, p, len(all))
	}
	see := func(p *person, what string, fits func(api.Organisers) bool) {
		t.Helper()
		must(t, p.until(what, func() (bool, error) {
			var o api.Organisers
			err := p.do(&o, "organisers")
			return fits(o), err
		}))
	}
	free := func(names ...string) func(api.Organisers) bool {
		return func(o api.Organisers) bool {
			var got []string
			for _, x := range o.Organisers {
				if len(x.SuspendedBy) == 0 {
					got = append(got, x.ID)
				}
			}
			for _, n := range names {
				if !slices.Contains(got, ids[n]) {
					return false
				}
			}
			return len(got) == len(names)
		}
	}
	openOnes := func(n int) func(api.Organisers) bool {
		return func(o api.Organisers) bool { return len(o.Open) == n }
	}
	agree := func(voter *person) {
		t.Helper()
		see(voter, "to be asked", openOnes(1))
		var o api.Organisers
		must(t, voter.do(&o, "organisers"))
		must(t, voter.do(nil, "vote", o.Open[0].ID))
	}
	must(t, awa.do(nil, "grant", ids["Bilal"], "organiser"))
	see(bilal, "to organise", free("Awa", "Bilal"))
	must(t, awa.do(nil, "grant", ids["Clara"], "organiser"))
	agree(bilal)
	for _, p := range all {
		see(p, "three organisers", free("Awa", "Bilal", "Clara"))
	}
	before := says(t, awa, "Avant", "Corps.")
	for _, p := range all {
		_, err := p.reads(before, 1)
		must(t, err)
	}

	// The phone is seized: its profile is copied, and the copy runs in its place.
	must(t, clara.off())
	seized := filepath.Join(dir, "seized")
	must(t, os.CopyFS(seized, os.DirFS(clara.dir)))
	clara.dir = seized
	must(t, clara.on(onTCP))
	must(t, clara.do(nil, "suspend", ids["Awa"]))
	must(t, clara.do(nil, "remove", ids["Dawit"]))
	see(bilal, "Awa stopped", free("Bilal", "Clara"))
	must(t, bilal.until("Dawit out", func() (bool, error) {
		var list []api.Member
		err := bilal.do(&list, "members")
		return len(list) == 4, err
	}))

	// Bilal stops it at once, and proposes to expel it and to undo what it did.
	must(t, bilal.do(nil, "suspend", ids["Clara"]))
	var changes []api.Change
	must(t, bilal.do(&changes, "changes"))
	at := slices.IndexFunc(changes, func(c api.Change) bool {
		return c.What == api.ChangeRemoved && c.By.ID == ids["Clara"] && c.Target != nil && c.Target.ID == ids["Dawit"]
	})
	if at < 0 {
		t.Fatalf("the changes do not say that Clara removed Dawit: %+v", changes)
	}
	var p api.Proposed
	must(t, bilal.do(&p, "expel", ids["Clara"], "--undo", changes[at].ID))
	if p.Effective || p.Have != 1 || p.Need != 2 || p.Of != 3 {
		t.Errorf("one of three expels: %+v", p)
	}
	agree(awa) // who is stopped still votes
	for _, who := range []*person{bilal, elena} {
		must(t, who.until("Clara out and Dawit back", func() (bool, error) {
			var list []api.Member
			err := who.do(&list, "members")
			in := func(name string) bool {
				return slices.ContainsFunc(list, func(m api.Member) bool { return m.ID == ids[name] })
			}
			return !in("Clara") && in("Dawit"), err
		}))
	}
	// And gives Awa back what the seized phone took.
	must(t, bilal.do(nil, "reinstate", ids["Awa"]))
	agree(awa)
	see(elena, "Awa given back", free("Awa", "Bilal"))
	see(awa, "to be given back", free("Awa", "Bilal"))

	// The group goes on, and the seized phone is outside.
	after := says(t, bilal, "Après", "Corps.")
	for _, who := range []*person{awa, elena} { // Dawit's phone took him for removed: spec 46 section 4
		_, err := who.reads(after, 1)
		must(t, err)
	}
	clara.try(t, "suspend", ids["Bilal"])
	clara.try(t, "remove", ids["Elena"])
	var notices []api.Notice
	must(t, clara.do(&notices, "notices", "--all"))
	if slices.ContainsFunc(notices, func(n api.Notice) bool { return n.ID == after }) {
		t.Error("the seized phone reads what came after")
	}
	last := says(t, awa, "Encore", "Corps.")
	_, err := elena.reads(last, 1)
	must(t, err)
	see(elena, "nothing that the seized phone did counts", free("Awa", "Bilal"))
	var members []api.Member
	must(t, elena.do(&members, "members"))
	if len(members) != 4 {
		t.Errorf("%d members are left of four", len(members))
	}
}
