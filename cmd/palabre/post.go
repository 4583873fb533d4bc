package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/text"
)

// draft is what the flags of post and edit say of a notice.
type draft struct {
	group, title, body, lang  string
	texts                     []string // LANG=FILE
	urgency                   string
	expires                   span
	readers                   int // of an alert that does not wait
	start, end, tz, place, at string

	given *pflag.FlagSet // to tell what was typed from what was left out
}

// has says whether a flag was typed.
func (d *draft) has(flag string) bool { return d.given.Changed(flag) }

// textFlags adds the flags of every notice, and meetingFlags those of a meeting.
func (f *face) textFlags(c *cobra.Command, d *draft) {
	d.given = c.Flags()
	f.groupFlag(c, &d.group)
	d.given.StringVar(&d.title, "title", "", f.flag("title"))
	d.given.StringVar(&d.body, "body", "", f.flag("body"))
	d.given.StringVar(&d.lang, "lang", "", f.flag("lang"))
	d.given.StringArrayVar(&d.texts, "text", nil, f.flag("text"))
	d.given.StringVar(&d.urgency, "urgency", "", f.flag("urgency"))
	d.given.Var(&d.expires, "expires", f.flag("expires"))
}

func (f *face) meetingFlags(d *draft) {
	d.given.StringVar(&d.start, "start", "", f.flag("start"))
	d.given.StringVar(&d.end, "end", "", f.flag("end"))
	d.given.StringVar(&d.tz, "tz", "", f.flag("tz"))
	d.given.StringVar(&d.place, "place", "", f.flag("place"))
	d.given.StringVar(&d.at, "link", "", f.flag("link"))
}

func (f *face) postCommand() *cobra.Command {
	c := f.command("post", "help.post", nil, nil)
	announcement, meeting := new(draft), new(draft)
	a := f.command("announcement --title T --body B [--lang fr] [--text en=FILE]...", "help.post.announcement", nil,
		func([]string) error { return f.post(api.KindAnnouncement, announcement) })
	f.textFlags(a, announcement)
	f.sendNowFlag(announcement)
	m := f.command("meeting --title T --start RFC3339 --end RFC3339 --tz ZONE --place P [--body B]", "help.post.meeting", nil,
		func([]string) error { return f.post(api.KindMeeting, meeting) })
	f.textFlags(m, meeting)
	f.sendNowFlag(meeting)
	f.meetingFlags(meeting)
	c.AddCommand(a, required(m, "start", "end", "tz"))
	return c
}

func (f *face) post(kind string, d *draft) error {
	a := api.PostArgs{Group: d.group, Kind: kind, Urgency: d.urgency, ExpiresSeconds: d.expires.seconds()}
	if err := d.checkUrgency(); err != nil {
		return err
	}
	if d.has("send-now") {
		if d.readers < 0 {
			return usage("--send-now is how many removed people may read it")
		}
		a.SendNow = &d.readers
	}
	if !d.has("title") && len(d.texts) == 0 {
		return usage("--title is missing")
	}
	if !d.has("title") && (d.has("body") || d.has("lang")) {
		return usage("--body and --lang belong to --title")
	}
	if kind == api.KindMeeting {
		start, err := instant("start", d.start)
		if err != nil {
			return err
		}
		end, err := instant("end", d.end)
		if err != nil {
			return err
		}
		a.Meeting = &api.Meeting{Start: start, End: end, TZ: d.tz, Place: d.place, Link: d.at}
	}
	if d.has("title") {
		body, err := f.bodyOf(d)
		if err != nil {
			return err
		}
		a.Texts = append(a.Texts, api.Text{Lang: f.langOf(d), Title: d.title, Body: body})
	}
	more, err := f.textsOf(d)
	if err != nil {
		return err
	}
	a.Texts = append(a.Texts, more...)
	return act(f, false, api.CommandPost, a, f.posted)
}

func (d *draft) checkUrgency() error {
	if !d.has("urgency") {
		return nil
	}
	return oneOf("urgency", d.urgency, api.UrgencyInfo, api.UrgencyImportant, api.UrgencyAlert)
}

// bodyOf returns --body, or the input for "-".
func (f *face) bodyOf(d *draft) (string, error) {
	if d.body != "-" {
		return d.body, nil
	}
	body, err := f.read("-")
	return strings.TrimRight(body, "\n"), err
}

// langOf returns --lang, or the language that the person uses this device in. It
// is English where the device does not say.
func (f *face) langOf(d *draft) string {
	if d.lang != "" {
		return d.lang
	}
	for _, l := range text.Preferred(f.env) {
		// People write Wolof, not the Wolof of a country; Chinese is two scripts.
		if base, _, _ := strings.Cut(l, "-"); base != "zh" {
			return base
		}
		return l
	}
	return string(text.English)
}

// textsOf reads the files of --text: the first line is the title, what follows
// it is the body.
func (f *face) textsOf(d *draft) ([]api.Text, error) {
	var list []api.Text
	for _, typed := range d.texts {
		lang, name, ok := strings.Cut(typed, "=")
		if !ok || lang == "" || name == "" {
			return nil, usage("--text is LANGUAGE=FILE, as en=notice.txt")
		}
		all, err := f.read(name)
		if err != nil {
			return nil, err
		}
		title, body, _ := strings.Cut(strings.Trim(strings.TrimPrefix(all, "\ufeff"), "\n"), "\n")
		list = append(list, api.Text{Lang: lang, Title: strings.TrimSpace(title), Body: strings.Trim(body, "\n")})
	}
	return list, nil
}
