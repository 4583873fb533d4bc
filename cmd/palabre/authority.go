package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

func (f *face) organisersCommand() *cobra.Command {
	var a, confirm api.GroupArgs
	c := f.command("organisers", "help.organisers", nil, func([]string) error {
		return act(f, false, api.CommandOrganisers, a, f.organisers)
	})
	c.AddCommand(f.groupFlag(f.command("confirm", "help.organisers.confirm", nil, func([]string) error {
		return act(f, false, api.CommandConfirm, confirm, f.done("organisers.confirmed"))
	}), &confirm.Group))
	return f.groupFlag(c, &a.Group)
}

// organisers prints who organises, who is suspended, and what waits for votes.
func (f *face) organisers(o api.Organisers) {
	ids := make([]string, len(o.Organisers))
	for i, p := range o.Organisers {
		ids[i] = p.ID
	}
	var rows [][]string
	for i, id := range shorten(ids) {
		p := o.Organisers[i]
		mark, name := "role.organiser", f.nameOf(p.Name)
		if p.Self {
			name += " " + f.say("organisers.self")
		}
		if len(p.SuspendedBy) > 0 {
			mark = "role.suspended"
		}
		rows = append(rows, []string{id, f.say(mark), name})
		if len(p.SuspendedBy) > 0 {
			rows = append(rows, []string{"", "", f.say("organisers.suspended", "who", f.names(p.SuspendedBy), "id", id)})
		}
	}
	f.table(rows)
	fmt.Fprintln(f.out)
	for i := range o.Organisers {
		if p := &o.Organisers[i]; len(p.Returns) > 0 {
			fmt.Fprintln(f.out, f.decision(api.DecisionReinstate, &p.Person)+":")
			f.returns(&p.Person, p.Returns)
		}
	}
	f.tell("organisers.need", "need", strconv.Itoa(o.Need), "of", strconv.Itoa(o.Of))
	if o.Paper {
		f.tell("recovery.exists")
	}
	if o.Alarm {
		f.tell("organisers.alarm")
	}
	fmt.Fprintln(f.out)
	f.openProposals(o.Open)
}

// openProposals lists what waits for votes, each with what to type.
func (f *face) openProposals(list []api.Proposal) {
	if len(list) == 0 {
		f.tell("vote.none")
		return
	}
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	for i, id := range shorten(ids) {
		p := list[i]
		what := f.decision(p.Decision, p.Target)
		if p.Undo > 0 {
			what += " " + f.say("vote.undo", "n", strconv.Itoa(p.Undo))
		}
		fmt.Fprintf(f.out, "%s: %s\n", what, f.stands(api.Proposed{Have: p.Have, Need: p.Need, Of: p.Of}, p.Voters))
		if p.Policy != nil {
			f.policy(*p.Policy)
		}
		if p.Decision == api.DecisionReinstate {
			f.returns(p.Target, p.Returns)
		}
		fmt.Fprintln(f.out, "  "+f.say("vote.by", "who", f.who(&p.By)))
		if p.Voted {
			fmt.Fprintln(f.out, "  "+f.say("vote.voted"))
		} else {
			fmt.Fprintln(f.out, "  palabre vote "+id)
		}
		if p.PaperMay && !p.PaperVoted {
			fmt.Fprintln(f.out, "  palabre recovery use "+id)
		}
	}
}

// returns says what somebody did that counts again once reinstated.
func (f *face) returns(who *api.Person, list []api.Change) {
	if len(list) == 0 {
		fmt.Fprintln(f.out, "  "+f.say("vote.returns_nothing", "target", f.who(who)))
		return
	}
	fmt.Fprintln(f.out, "  "+f.say("vote.returns", "target", f.who(who)))
	for _, c := range list {
		fmt.Fprintln(f.out, "    "+f.change(c))
	}
}

func (f *face) suspendCommand() *cobra.Command {
	var a api.MemberArgs
	c := f.command("suspend MEMBER", "help.suspend", cobra.ExactArgs(1), func(args []string) error {
		a.Member = args[0]
		return act(f, false, api.CommandSuspend, a, func(api.Done) {
			f.tell("suspend.done", "id", a.Member)
		})
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) reinstateCommand() *cobra.Command {
	var a api.MemberArgs
	c := f.command("reinstate MEMBER", "help.reinstate", cobra.ExactArgs(1), func(args []string) error {
		a.Member = args[0]
		return act(f, false, api.CommandReinstate, a, f.proposed)
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) expelCommand() *cobra.Command {
	var a api.ExpelArgs
	c := f.command("expel MEMBER [--undo ID]...", "help.expel", cobra.ExactArgs(1), func(args []string) error {
		a.Member = args[0]
		return act(f, false, api.CommandExpel, a, f.proposed)
	})
	c.Flags().StringSliceVar(&a.Undo, "undo", nil, f.flag("undo"))
	return f.groupFlag(c, &a.Group)
}

func (f *face) voteCommand() *cobra.Command {
	var a api.VoteArgs
	c := f.command("vote [PROPOSAL]", "help.vote", cobra.MaximumNArgs(1), func(args []string) error {
		if len(args) == 0 {
			o, err := call[api.Organisers](f, false, api.CommandOrganisers, api.GroupArgs{Group: a.Group})
			if err != nil {
				return err
			}
			return f.print(o.Open, func() { f.openProposals(o.Open) })
		}
		a.Proposal = args[0]
		return act(f, false, api.CommandVote, a, f.proposed)
	})
	return f.groupFlag(c, &a.Group)
}

// proposed tells where a decision stands, and what the others type.
func (f *face) proposed(p api.Proposed) {
	if p.Effective {
		f.tell("proposed.decided")
		return
	}
	id := shorten([]string{p.ID})[0]
	fmt.Fprintln(f.out, f.say("proposed.saved")+" "+f.stands(p, nil)+".")
	f.tell("proposed.next", "id", id)
	if p.PaperMay {
		f.tell("proposed.paper", "id", id)
	}
}

// changesShown is how many changes are listed unless another number is asked for.
const changesShown = 20

func (f *face) changesCommand() *cobra.Command {
	var a api.ChangesArgs
	c := f.command("changes [-n N]", "help.changes", nil, func([]string) error {
		if a.Limit < 1 {
			return usage("-n is a number from 1")
		}
		return act(f, false, api.CommandChanges, a, func(list []api.Change) {
			if len(list) == 0 {
				f.tell("changes.none")
			}
			var rows [][]string
			for _, c := range list {
				rows = append(rows, []string{day(c.At), f.change(c)})
			}
			f.table(rows)
		})
	})
	c.Flags().IntVarP(&a.Limit, "number", "n", changesShown, f.flag("number"))
	return f.groupFlag(c, &a.Group)
}
