package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/text"
)

func (f *face) noticesCommand() *cobra.Command {
	var a api.NoticesArgs
	c := f.command("notices [--all]", "help.notices", nil, func([]string) error {
		a.Langs = text.Preferred(f.env)
		return act(f, false, api.CommandNotices, a, f.list)
	})
	c.Flags().BoolVar(&a.All, "all", false, f.flag("all"))
	return f.groupFlag(c, &a.Group)
}

// list prints a line for each notice, and one more for a meeting.
func (f *face) list(list []api.Notice) {
	if len(list) == 0 {
		f.tell("notices.none")
		return
	}
	// What organisers put on top comes first.
	slices.SortStableFunc(list, func(a, b api.Notice) int { return below(a) - below(b) })
	ids := make([]string, len(list))
	for i, n := range list {
		ids[i] = n.ID
	}
	var rows [][]string
	for i, id := range shorten(ids) {
		n := list[i]
		rows = append(rows, []string{id, day(n.Created), f.mark(n), f.titleOf(n)})
		if n.Meeting != nil {
			rows = append(rows, []string{"", "", "", when(n.Meeting) + "  " + line(n.Meeting.Place)})
		}
	}
	f.table(rows)
}

func below(n api.Notice) int {
	if n.Pinned {
		return 0
	}
	return 1
}

// mark is the one word that matters most about a notice.
func (f *face) mark(n api.Notice) string {
	switch {
	case n.Status != api.StatusActive:
		return f.word("status.", n.Status)
	case n.Urgency == api.UrgencyAlert || n.Urgency == api.UrgencyImportant:
		return f.word("urgency.", n.Urgency)
	case n.Pinned:
		return f.say("notice.pinned")
	}
	return f.word("kind.", n.Kind)
}

func (f *face) titleOf(n api.Notice) string {
	if n.Title == "" {
		return f.say("notice.unknown")
	}
	return line(n.Title)
}

// day shows a time of the protocol as the person's own day and hour.
func day(stamp string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return line(stamp)
	}
	return t.Local().Format("2006-01-02 15:04")
}

// when shows a meeting's times in its own zone, with the zone's name.
func when(m *api.Meeting) string {
	start := inZone(m.Start, m.TZ)
	if m.End == "" {
		return start + " " + line(m.TZ)
	}
	end := inZone(m.End, m.TZ)
	if date, hour, ok := strings.Cut(end, " "); ok && strings.HasPrefix(start, date+" ") {
		end = hour
	}
	return start + " - " + end + " " + line(m.TZ)
}

// inZone falls back on UTC, said as such, where the zone is not known here.
func inZone(stamp, zone string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return line(stamp)
	}
	z, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return t.UTC().Format("2006-01-02 15:04 UTC")
	}
	return t.In(z).Format("2006-01-02 15:04")
}

func (f *face) showCommand() *cobra.Command {
	var a api.ShowArgs
	c := f.command("show ID [--lang L]", "help.show", cobra.ExactArgs(1), func(args []string) error {
		a.ID = args[0]
		// Without --lang the language is that of the list.
		if a.Lang == "" && !f.json {
			if all := text.Preferred(f.env); len(all) > 0 {
				a.Lang = all[0]
			}
		}
		return act(f, false, api.CommandShow, a, f.show)
	})
	c.Flags().StringVar(&a.Lang, "lang", "", f.flag("show.lang"))
	return f.groupFlag(c, &a.Group)
}

// show prints one notice whole.
func (f *face) show(n api.Shown) {
	mark := f.mark(n.Notice)
	fmt.Fprintf(f.out, "%s: %s\n", mark, f.titleOf(n.Notice))
	if n.Body != "" {
		fmt.Fprintf(f.out, "\n%s\n", paragraph(n.Body))
	}
	fmt.Fprintln(f.out)
	rows := f.meetingRows(n.Meeting)
	rows = append(rows, f.row("show.author", f.person(n.AuthorName, n.Author)), f.row("show.created", day(n.Created)),
		f.row("show.expires", day(n.Expires)))
	others := slices.DeleteFunc(slices.Clone(n.Langs), func(l string) bool { return l == n.Lang })
	if len(others) > 0 {
		rows = append(rows, f.row("show.langs", line(strings.Join(others, " "))))
	}
	if n.CancelledBy != "" {
		rows = append(rows, f.row("show.cancelled", f.person(n.CancelledByName, n.CancelledBy)), f.row("show.reason", line(n.Reason)))
	}
	f.table(append(rows, f.row("show.id", line(n.ID))))
	if n.Incomplete {
		fmt.Fprintln(f.out)
		f.tell("show.incomplete")
	}
	if len(n.Versions) > 0 {
		fmt.Fprintln(f.out)
		f.tell("show.conflict")
	}
	for _, v := range n.Versions {
		fmt.Fprintln(f.out)
		for _, t := range v.Texts {
			fmt.Fprintf(f.out, "[%s] %s\n", line(t.Lang), line(t.Title))
			if t.Body != "" {
				fmt.Fprintln(f.out, paragraph(t.Body))
			}
		}
		f.table(append(f.meetingRows(v.Meeting), f.row("show.author", f.person(v.EditorName, v.Editor)), f.row("show.created", day(v.Created))))
	}
}

func (f *face) meetingRows(m *api.Meeting) [][]string {
	if m == nil {
		return nil
	}
	rows := [][]string{f.row("show.start", when(m))}
	if m.Place != "" {
		rows = append(rows, f.row("show.place", line(m.Place)))
	}
	if m.Link != "" {
		rows = append(rows, f.row("show.link", line(m.Link)))
	}
	return rows
}

func (f *face) row(key, value string) []string { return []string{f.say(key), value} }

// person shows a name with the start of its id: anybody can call themselves by
// any name, and nobody can choose an id.
func (f *face) person(name, id string) string {
	return shorten([]string{id})[0] + "  " + f.nameOf(name)
}
