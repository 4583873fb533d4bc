package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

// sendNowFlag is for alerts that do not wait for the keys to be renewed. The number
// is typed, so that nobody agrees to more readers than they were told of.
func (f *face) sendNowFlag(d *draft) { d.given.IntVar(&d.readers, "send-now", 0, f.flag("send-now")) }

// posted tells what became of a notice, and of an alert that waits what can be done.
func (f *face) posted(p api.Posted) {
	if !p.Waiting {
		f.tell("post.done", "id", p.ID)
		if p.Expires != "" {
			f.tell("post.until", "day", day(p.Expires))
		}
		return
	}
	f.tell("post.waiting")
	if p.MaySendNow {
		f.offer(shorten([]string{p.Held})[0], p.Readers)
	}
}

// offer says what to type to send an alert now, and who can read it then.
func (f *face) offer(id string, readers []api.Person) {
	names := "-"
	if len(readers) > 0 {
		names = f.names(readers)
	}
	f.tell("held.now", "n", strconv.Itoa(len(readers)), "names", names, "id", id)
}

func (f *face) heldCommand() *cobra.Command {
	var a api.GroupArgs
	c := f.command("held", "help.held", nil, func([]string) error { return act(f, false, api.CommandHeld, a, f.held) })
	return f.groupFlag(c, &a.Group)
}

func (f *face) held(h api.Held) {
	if len(h.Held) == 0 {
		f.tell("held.none")
		return
	}
	ids := make([]string, len(h.Held))
	for i, x := range h.Held {
		ids[i] = x.ID
	}
	var rows [][]string
	alert := ""
	for i, id := range shorten(ids) {
		x := h.Held[i]
		mark := f.word("kind.", x.Kind)
		if x.Alert {
			mark, alert = f.word("urgency.", api.UrgencyAlert), id
		}
		rows = append(rows, []string{id, day(x.Created), mark, line(x.Title)})
	}
	f.table(rows)
	if alert == "" {
		return
	}
	fmt.Fprintln(f.out)
	if h.MaySendNow {
		f.offer(alert, h.Readers)
		return
	}
	f.tell("held.alerts_wait")
}

// sendNowCommand sends an alert that waits.
func (f *face) sendNowCommand() *cobra.Command {
	var a api.SendNowArgs
	c := f.command("send-now ID --readers N", "help.send-now", cobra.ExactArgs(1), func(args []string) error {
		a.ID = args[0]
		if a.Readers < 0 {
			return usage("--readers is how many removed people may read it")
		}
		return act(f, false, api.CommandSendNow, a, f.posted)
	})
	c.Flags().IntVar(&a.Readers, "readers", 0, f.flag("readers"))
	return f.groupFlag(required(c, "readers"), &a.Group)
}

func (f *face) pinCommand() *cobra.Command {
	var a api.PinArgs
	c := f.command("pin ID [--off]", "help.pin", cobra.ExactArgs(1), func(args []string) error {
		a.ID = args[0]
		return act(f, false, api.CommandPin, a, func(p api.Posted) {
			switch {
			case p.Waiting:
				f.tell("post.waiting")
			case a.Off:
				f.tell("pin.off", "id", args[0])
			default:
				f.tell("pin.on", "id", args[0])
			}
		})
	})
	c.Flags().BoolVar(&a.Off, "off", false, f.flag("off"))
	return f.groupFlag(c, &a.Group)
}
