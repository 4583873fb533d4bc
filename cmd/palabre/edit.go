package main

import (
	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

func (f *face) editCommand() *cobra.Command {
	d := new(draft)
	c := f.command("edit ID [--title T] [--body B] [--lang fr] [--text en=FILE]...", "help.edit", cobra.ExactArgs(1),
		func(args []string) error {
			a, err := f.edit(args[0], d)
			if err != nil {
				return err
			}
			return act(f, false, api.CommandEdit, a, func(api.Posted) { f.tell("edit.done", "id", args[0]) })
		})
	f.textFlags(c, d)
	f.meetingFlags(d)
	return c
}

// edit returns what the flags change. A flag that was not typed changes nothing;
// one that was typed empty takes its part away.
func (f *face) edit(id string, d *draft) (api.EditArgs, error) {
	a := api.EditArgs{Group: d.group, ID: id, Lang: d.lang}
	changed := false
	set := func(flag string, to **string, value string) {
		if d.has(flag) {
			*to, changed = &value, true
		}
	}
	if err := d.checkUrgency(); err != nil {
		return a, err
	}
	set("title", &a.Title, d.title)
	set("urgency", &a.Urgency, d.urgency)
	if d.has("expires") {
		seconds := d.expires.seconds()
		a.ExpiresSeconds, changed = &seconds, true
	}
	var m api.MeetingEdit
	before := changed
	changed = false
	for _, t := range []struct {
		flag  string
		typed string
		to    **string
	}{{"start", d.start, &m.Start}, {"end", d.end, &m.End}} {
		value := t.typed
		if d.has(t.flag) && (value != "" || t.flag == "start") {
			var err error
			if value, err = instant(t.flag, value); err != nil {
				return a, err
			}
		}
		set(t.flag, t.to, value)
	}
	set("tz", &m.TZ, d.tz)
	set("place", &m.Place, d.place)
	set("link", &m.Link, d.at)
	if changed {
		a.Meeting = &m
	}
	changed = changed || before
	if d.has("lang") && !d.has("title") && !d.has("body") {
		return a, usage("--lang says which --title or --body changes")
	}
	if !changed && !d.has("body") && len(d.texts) == 0 {
		return a, usage("nothing to change was given")
	}
	// The input is read last, when all else is right.
	if d.has("body") {
		body, err := f.bodyOf(d)
		if err != nil {
			return a, err
		}
		a.Body = &body
	}
	var err error
	a.Texts, err = f.textsOf(d)
	return a, err
}

func (f *face) cancelCommand() *cobra.Command {
	var a api.CancelArgs
	c := f.command("cancel ID --reason R", "help.cancel", cobra.ExactArgs(1), func(args []string) error {
		a.ID = args[0]
		return act(f, false, api.CommandCancel, a, func(api.Posted) { f.tell("cancel.done", "id", args[0]) })
	})
	c.Flags().StringVar(&a.Reason, "reason", "", f.flag("reason"))
	return f.groupFlag(required(c, "reason"), &a.Group)
}
