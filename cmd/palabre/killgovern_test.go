package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// governKills is how often a process is killed:
//
//	go test ./cmd/palabre -run TestKilledWhileGoverning -governkills=100 -v
var governKills = flag.Int("governkills", 5, "cycles of killing a process that governs")

// killed gives a running process a command and kills it meanwhile. It says
// whether the command was acknowledged.
func killed[T any](t *testing.T, p *person, after time.Duration, command string, args any) (answer T, acked bool) {
	t.Helper()
	battery := p.running
	c, err := api.Dial(p.dir)
	must(t, err)
	time.AfterFunc(after, func() { battery.cmd.Process.Kill() })
	answer, err = api.Call[T](context.Background(), c, command, args)
	if code := api.CodeOf(err); err != nil && code != "" && code != api.CodeNotRunning {
		t.Fatalf("%s was refused: %v", command, err)
	}
	<-battery.ended
	p.kill()
	must(t, p.on(onTCP))
	return answer, err == nil
}

// Two people govern, and each in turn is killed while a command of theirs is
// carried out: a proposal is there with its vote, a vote with what it decides, a
// removal with the new keys, or nothing of it is there. What was acknowledged
// is, once.
func TestKilledWhileGoverning(t *testing.T) {
	t.Parallel()
	const seed = 59
	rng := rand.New(rand.NewPCG(seed, uint64(*governKills)))
	dir := place(t)
	awa, bilal := someone(t, dir, "Awa"), someone(t, dir, "Bilal")
	for _, p := range []*person{awa, bilal} {
		p.patience = 5 * time.Minute
		must(t, p.on(onTCP))
	}
	newGroup(t, api.PostingAll, awa, bilal)
	ids := memberIDs(t, awa, 2)
	must(t, awa.do(nil, "grant", ids["Bilal"], "organiser"))
	organisers := func(p *person, what string, fits func(api.Organisers) bool) {
		t.Helper()
		must(t, p.until(what, func() (bool, error) {
			var o api.Organisers
			err := p.do(&o, "organisers")
			return fits(o), err
		}))
	}
	organisers(bilal, "to organise", func(o api.Organisers) bool { return len(o.Organisers) == 2 })
	count := map[string]int{}
	early := 0 // kills in a row after which nothing was there
	note := func(acked, there bool, what string) bool {
		t.Helper()
		if acked && !there {
			t.Fatalf("a %s was acknowledged and is lost", what)
		}
		switch {
		case acked:
			count["acknowledged"]++
		case there:
			count["stored without an answer"]++
		default:
			count["lost without an answer"]++
			early++
		}
		if there {
			early = 0
		}
		return there
	}
	moment := func() time.Duration { // half of them before anything can be stored; later where a machine is slow
		return time.Duration(rng.IntN([]int{3_000, 40_000}[rng.IntN(2)])<<(early/8)) * time.Microsecond
	}
	open := func(p *person) []api.Proposal {
		t.Helper()
		var o api.Organisers
		must(t, p.do(&o, "organisers"))
		return o.Open
	}
	rules := 0
	for cycle := range *governKills {
		if cycle%5 == 4 { // somebody comes, and is put out
			var invite api.Invite
			must(t, awa.do(&invite, "invite", "--uses", "1", "--auto-approve"))
			name := fmt.Sprint("Chloe ", cycle)
			x := someone(t, dir, name)
			must(t, x.on(onTCP))
			joins(t, x, invite.Link)
			who := memberIDs(t, awa, 3)[name]
			for gone := false; !gone; {
				_, acked := killed[api.Done](t, awa, moment(), api.CommandRemove, api.MemberArgs{Member: who})
				var list []api.Member
				must(t, awa.do(&list, "members"))
				if gone = note(acked, len(list) == 2, "removal"); gone {
					says(t, awa, "Sans elle", "Corps.") // has an id at once: the keys came with the removal
				}
			}
			memberIDs(t, bilal, 2)
			must(t, x.off())
			continue
		}
		days := 1 + cycle%6
		args := api.PolicySetArgs{PeriodDays: &days}
		for there := false; !there; {
			acked := true
			if cycle%2 == 0 {
				_, acked = killed[api.Proposed](t, awa, moment(), api.CommandPolicySet, args)
			} else {
				_, err := api.Call[api.Proposed](context.Background(), dialled(t, awa), api.CommandPolicySet, args)
				must(t, err)
			}
			list := open(awa)
			if len(list) > 1 || len(list) == 1 && (!list[0].Voted || list[0].Have != 1) {
				t.Fatalf("half a proposal is there: %+v", list)
			}
			there = note(acked, len(list) == 1, "proposal")
		}
		id := open(awa)[0].ID
		organisers(bilal, "to be asked", func(o api.Organisers) bool { return len(o.Open) == 1 && o.Open[0].ID == id && o.Open[0].Have == 1 })
		for there := false; !there; {
			acked := true
			if cycle%2 == 1 {
				_, acked = killed[api.Proposed](t, bilal, moment(), api.CommandVote, api.VoteArgs{Proposal: id})
			} else {
				must(t, bilal.do(nil, "vote", id))
			}
			list := open(bilal)
			if len(list) > 1 || len(list) == 1 && list[0].Voted {
				t.Fatalf("half a decision is there: %+v", list)
			}
			there = note(acked, len(list) == 0, "vote")
		}
		rules++
		organisers(awa, "the decision", func(o api.Organisers) bool { return len(o.Open) == 0 })
		for _, p := range []*person{awa, bilal} {
			var now api.Policy
			if must(t, p.do(&now, "policy")); now.PeriodDays != days {
				t.Errorf("cycle %d: %s renews keys every %d days, decided were %d", cycle, p.name, now.PeriodDays, days)
			}
		}
	}
	for _, p := range []*person{awa, bilal} {
		var list []api.Change
		must(t, p.do(&list, "changes", "-n", "1000"))
		policies := 0
		for _, c := range list {
			if c.Decision == api.DecisionPolicy {
				if policies++; !c.Effective {
					t.Errorf("%s lists a proposal that nobody decided", p.name)
				}
			}
		}
		if policies != rules {
			t.Errorf("%s lists %d changes of the rules, %d were decided", p.name, policies, rules)
		}
		must(t, p.off())
	}
	t.Logf("%d cycles: %v", *governKills, count)
}

func dialled(t *testing.T, p *person) *api.Client {
	t.Helper()
	c, err := api.Dial(p.dir)
	must(t, err)
	return c
}
