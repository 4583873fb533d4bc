package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

// groupFlag adds --group.
func (f *face) groupFlag(c *cobra.Command, group *string) *cobra.Command {
	c.Flags().StringVar(group, "group", "", f.flag("group"))
	return c
}

func (f *face) groupCommand() *cobra.Command {
	c := f.command("group", "help.group", nil, nil)
	var posting string
	create := f.command("create NAME", "help.group.create", cobra.ExactArgs(1), func(args []string) error {
		if err := oneOf("posting", posting, api.PostingOrganisers, api.PostingAuthors, api.PostingAll); err != nil {
			return err
		}
		return act(f, false, api.CommandGroupCreate, api.GroupCreateArgs{Name: args[0], Posting: posting},
			func(g api.GroupCreated) { f.tell("group.created", "id", g.Group) })
	})
	create.Flags().StringVar(&posting, "posting", api.PostingAll, f.flag("posting"))
	c.AddCommand(create)
	return c
}

// oneOf checks a word that a flag takes.
func oneOf(flag, word string, words ...string) error {
	for _, w := range words {
		if word == w {
			return nil
		}
	}
	return usage("--" + flag + " is one of " + strings.Join(words, ", "))
}

func (f *face) inviteCommand() *cobra.Command {
	var a api.InviteArgs
	var expires span
	var qr bool
	c := f.command("invite [--uses N] [--expires 72h] [--auto-approve]", "help.invite", nil, func([]string) error {
		if a.Uses < 1 {
			return usage("--uses is a number from 1")
		}
		if qr && f.json {
			return usage("--qr and --json exclude each other")
		}
		a.ExpiresSeconds = expires.seconds()
		return act(f, false, api.CommandInvite, a, func(i api.Invite) {
			fmt.Fprintln(f.out, line(i.Link))
			if qr {
				qrterminal.GenerateHalfBlock(i.Link, qrterminal.L, f.out)
			}
			// Beside the link, so that the output alone can be passed on.
			fmt.Fprintln(f.err, f.say("invite.keep"))
		})
	})
	c.Flags().IntVar(&a.Uses, "uses", 1, f.flag("uses"))
	_ = expires.Set("72h")
	c.Flags().Var(&expires, "expires", f.flag("invite.expires"))
	c.Flags().BoolVar(&a.AutoApprove, "auto-approve", false, f.flag("auto-approve"))
	c.Flags().BoolVar(&qr, "qr", false, f.flag("qr"))
	return f.groupFlag(c, &a.Group)
}

// joinWait is how long join waits, in seconds, before it says "waiting".
const joinWait = 60

func (f *face) joinCommand() *cobra.Command {
	var name string
	c := f.command("join LINK [--name NAME]", "help.join", cobra.ExactArgs(1), func(args []string) error {
		link := args[0]
		if link == "-" { // other users of a machine see command lines
			var err error
			if link, err = f.read("-"); err != nil {
				return err
			}
		}
		a := api.JoinArgs{Link: strings.TrimSpace(link), Name: name, WaitSeconds: joinWait}
		return act(f, true, api.CommandJoin, a, func(j api.Joined) {
			if j.State == api.StateJoined {
				f.tell("join.joined", "id", j.Group)
				return
			}
			f.tell("join.waiting")
		})
	})
	c.Flags().StringVar(&name, "name", "", f.flag("join.name"))
	return c
}

func (f *face) requestsCommand() *cobra.Command {
	var a api.GroupArgs
	c := f.command("requests", "help.requests", nil, func([]string) error {
		return act(f, false, api.CommandRequests, a, func(list []api.Request) {
			if len(list) == 0 {
				f.tell("requests.none")
				return
			}
			ids := make([]string, len(list))
			for i, r := range list {
				ids[i] = r.ID
			}
			var rows [][]string
			for i, id := range shorten(ids) {
				rows = append(rows, []string{id, line(list[i].Words), line(list[i].Name)})
			}
			f.table(rows)
			fmt.Fprintln(f.out)
			f.tell("requests.compare")
		})
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) approveCommand() *cobra.Command {
	var a api.ApproveArgs
	c := f.command("approve ID", "help.approve", cobra.ExactArgs(1), func(args []string) error {
		a.ID = args[0]
		return act(f, false, api.CommandApprove, a, f.done("approve.done"))
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) membersCommand() *cobra.Command {
	var a api.GroupArgs
	c := f.command("members", "help.members", nil, func([]string) error {
		return act(f, false, api.CommandMembers, a, func(list []api.Member) {
			ids := make([]string, len(list))
			for i, m := range list {
				ids[i] = m.ID
			}
			var rows [][]string
			for i, id := range shorten(ids) {
				m := list[i]
				role := f.word("role.", m.Role)
				if m.Suspended {
					role = f.say("role.suspended")
				}
				rows = append(rows, []string{id, role, line(m.Words), f.nameOf(m.Name)})
			}
			f.table(rows)
			for _, m := range list {
				if m.Twice {
					f.tell("member.twice", "who", f.nameOf(m.Name))
				}
			}
		})
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) removeCommand() *cobra.Command {
	var a api.RemoveArgs
	c := f.command("remove MEMBER", "help.remove", cobra.ExactArgs(1), func(args []string) error {
		a.Member = args[0]
		return act(f, false, api.CommandRemove, a, f.done("remove.done"))
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) grantCommand() *cobra.Command {
	var a api.GrantArgs
	c := f.command("grant MEMBER author|organiser", "help.grant", cobra.ExactArgs(2), func(args []string) error {
		a.Member, a.Role = args[0], args[1]
		switch a.Role {
		case api.RoleAuthor:
			return act(f, false, api.CommandGrant, a, f.done("grant.done"))
		case api.RoleOrganiser:
			return act(f, false, api.CommandGrant, a, f.proposed)
		}
		return usage("the roles that can be given are author and organiser")
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) leaveCommand() *cobra.Command {
	var a api.GroupArgs
	c := f.command("leave", "help.leave", nil, func([]string) error {
		return act(f, false, api.CommandLeave, a, func(l api.Left) {
			if l.Told {
				f.tell("leave.done")
				return
			}
			f.tell("leave.untold")
		})
	})
	return f.groupFlag(c, &a.Group)
}

// profileThere says whether there is a folder to look for a profile in.
func (f *face) profileThere(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return code(api.CodeProfileMissing)
	}
	return nil
}

// nameOf shows a name that others chose, or that it has not come yet.
func (f *face) nameOf(name string) string {
	if name == "" {
		return f.say("name.missing")
	}
	return line(name)
}

// word gives a fixed word of the protocol in the person's language; a word that
// is not known is shown as it came.
func (f *face) word(prefix, w string) string {
	if said := f.say(prefix + w); said != prefix+w {
		return said
	}
	return line(w)
}
