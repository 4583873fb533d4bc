package node

import (
	"slices"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
)

func post(n *Node, a api.PostArgs) (*groupState, any, error) {
	g, err := n.group(a.Group)
	if err != nil {
		return nil, nil, err
	}
	notice, err := noticeOf(a)
	if err != nil {
		return nil, nil, err
	}
	expires, err := int64(0), error(nil)
	if a.ExpiresSeconds != 0 {
		if expires, err = n.expiry(a.ExpiresSeconds); err != nil {
			return nil, nil, err
		}
	}
	if a.SendNow != nil {
		p, err := g.engine.PostNow(n.now(), notice, expires, *a.SendNow)
		return g, g.posted(p), g.readersSaid(err)
	}
	p, err := g.engine.Post(n.now(), notice, expires)
	return g, g.posted(p), err
}

// expiry makes a moment of a span from now on.
func (n *Node) expiry(seconds int64) (int64, error) {
	switch {
	case seconds <= 0:
		return 0, code(api.CodeExpiryPast)
	case seconds > protocol.MaxNoticeSeconds:
		return 0, code(api.CodeExpiryTooFar)
	}
	return n.now().Unix() + seconds, nil
}

func noticeOf(a api.PostArgs) (feed.Notice, error) {
	out := feed.Notice{Urgency: feed.Info}
	switch a.Kind {
	case api.KindAnnouncement:
		out.Type = protocol.TypeAnnouncement
	case api.KindMeeting:
		out.Type = protocol.TypeMeeting
		if a.Meeting == nil {
			return out, code(api.CodeBadTime)
		}
		out.Meeting = &feed.Meeting{}
		if err := applyMeeting(out.Meeting, api.MeetingEdit{Start: &a.Meeting.Start, End: &a.Meeting.End, TZ: &a.Meeting.TZ,
			Place: &a.Meeting.Place, Link: &a.Meeting.Link}); err != nil {
			return out, err
		}
	default:
		return out, code(api.CodeBadRequest)
	}
	if a.Kind != api.KindMeeting && a.Meeting != nil {
		return out, code(api.CodeNotAMeeting)
	}
	if a.Urgency != "" {
		var err error
		if out.Urgency, err = urgencyOf(a.Urgency); err != nil {
			return out, err
		}
	}
	var err error
	out.Texts, err = mergeTexts(nil, a.Texts)
	return out, err
}

func urgencyOf(word string) (feed.Urgency, error) {
	for _, u := range []feed.Urgency{feed.Info, feed.Important, feed.Alert} {
		if u.String() == word {
			return u, nil
		}
	}
	return 0, code(api.CodeUnknownUrgency)
}

// mergeTexts replaces the texts of languages that are there and adds the others.
func mergeTexts(have []feed.Text, with []api.Text) ([]feed.Text, error) {
	out := slices.Clone(have)
	seen := map[string]bool{}
	for _, t := range with {
		tag, err := feed.Tag(t.Lang)
		if err != nil {
			return nil, err
		}
		if seen[tag] {
			return nil, code(api.CodeLanguageRepeated)
		}
		seen[tag] = true
		text := feed.Text{Tag: tag, Title: t.Title, Body: t.Body}
		if i := slices.IndexFunc(out, func(t feed.Text) bool { return t.Tag == tag }); i >= 0 {
			out[i] = text
		} else {
			out = append(out, text)
		}
	}
	return out, nil
}

func applyMeeting(m *feed.Meeting, e api.MeetingEdit) error {
	for _, t := range []struct {
		from *string
		to   *int64
		none bool // empty takes it away
	}{{e.Start, &m.Start, false}, {e.End, &m.End, true}} {
		if t.from == nil {
			continue
		}
		if *t.from == "" && t.none {
			*t.to = 0
			continue
		}
		at, err := time.Parse(time.RFC3339, *t.from)
		if err != nil {
			return code(api.CodeBadTime)
		}
		*t.to = at.Unix()
	}
	for _, s := range []struct{ from, to *string }{{e.TZ, &m.Zone}, {e.Place, &m.Place}, {e.Link, &m.Link}} {
		if s.from != nil {
			*s.to = *s.from
		}
	}
	return nil
}

func edit(n *Node, a api.EditArgs) (*groupState, any, error) {
	g, err := n.group(a.Group)
	if err != nil {
		return nil, nil, err
	}
	expires := int64(0)
	if a.ExpiresSeconds != nil {
		if expires, err = n.expiry(*a.ExpiresSeconds); err != nil {
			return nil, nil, err
		}
	}
	if a.Title == nil && a.Body == nil && len(a.Texts) == 0 && a.Urgency == nil && a.Meeting == nil && expires == 0 {
		return nil, nil, code(api.CodeNothingChanged)
	}
	var bad error
	p, err := g.engine.Edit(n.now(), a.ID, expires, func(have feed.Notice) feed.Notice {
		var next feed.Notice
		next, bad = changed(have, a)
		return next
	})
	if bad != nil {
		return g, nil, bad
	}
	return g, g.posted(p), err
}

// changed applies an edit. On error it returns a notice that no draft accepts.
func changed(have feed.Notice, a api.EditArgs) (feed.Notice, error) {
	next, none := have, feed.Notice{}
	if len(next.Texts) == 0 {
		return none, code(api.CodeNeedsNewer)
	}
	if a.Title != nil || a.Body != nil {
		t := feed.Text{Tag: next.Texts[0].Tag}
		if a.Lang != "" {
			tag, err := feed.Tag(a.Lang)
			if err != nil {
				return none, err
			}
			t.Tag = tag
		}
		i := slices.IndexFunc(next.Texts, func(x feed.Text) bool { return x.Tag == t.Tag })
		if i >= 0 {
			t = next.Texts[i]
		}
		if a.Title != nil {
			t.Title = *a.Title
		}
		if a.Body != nil {
			t.Body = *a.Body
		}
		if i >= 0 {
			next.Texts[i] = t
		} else {
			next.Texts = append(next.Texts, t)
		}
	}
	var err error
	if next.Texts, err = mergeTexts(next.Texts, a.Texts); err != nil {
		return none, err
	}
	if a.Urgency != nil {
		if next.Urgency, err = urgencyOf(*a.Urgency); err != nil {
			return none, err
		}
	}
	if a.Meeting != nil {
		if next.Meeting == nil {
			return none, code(api.CodeNotAMeeting)
		}
		if err := applyMeeting(next.Meeting, *a.Meeting); err != nil {
			return none, err
		}
	}
	return next, nil
}

func cancel(n *Node, a api.CancelArgs) (*groupState, any, error) {
	g, err := n.group(a.Group)
	if err != nil {
		return nil, nil, err
	}
	p, err := g.engine.Cancel(n.now(), a.ID, a.Reason, "")
	return g, g.posted(p), err
}

func notices(n *Node, a api.NoticesArgs) (any, error) {
	g, err := n.group(a.Group)
	if err != nil {
		return nil, err
	}
	if !g.engine.Joined() {
		return nil, engine.ErrNotJoined
	}
	list := []api.Notice{}
	for _, v := range g.engine.Notices(n.now(), a.Langs, a.All) {
		// What is in conflict comes with all, as what is cancelled does: a program
		// that asks for the plain list may act on what it holds.
		if a.All || v.Status == feed.Active {
			list = append(list, g.notice(v))
		}
	}
	return list, nil
}

func show(n *Node, a api.ShowArgs) (any, error) {
	g, err := n.group(a.Group)
	if err != nil {
		return nil, err
	}
	var preferred []string
	if a.Lang != "" {
		preferred = []string{a.Lang}
	}
	v, err := g.engine.Notice(n.now(), a.ID, preferred)
	if err != nil {
		return nil, err
	}
	s := api.Shown{Notice: g.notice(v), Texts: g.texts(n, v.Version, v.Notice), Incomplete: v.Missing, Reason: v.CancelReason}
	if v.Status == feed.Cancelled {
		s.CancelledBy, s.CancelledByName = v.CancelledBy.String(), g.engine.MemberName(v.CancelledBy)
	}
	for _, c := range v.Conflicts {
		s.Versions = append(s.Versions, api.Version{Version: c.Number, Editor: c.Editor.String(), EditorName: g.engine.MemberName(c.Editor),
			Created: stamp(c.Created), Expires: stamp(c.Expires), Urgency: c.Urgency.String(), Texts: []api.Text{{Lang: c.Lang, Title: c.Title, Body: c.Body}},
			Meeting: meetingOf(c.Meeting)})
	}
	return s, nil
}

// texts reads a version in each of its languages.
func (g *groupState) texts(n *Node, v feed.Version, notice protocol.ContentID) []api.Text {
	list := []api.Text{}
	for _, lang := range v.Langs {
		if in, err := g.engine.Notice(n.now(), notice.String(), []string{lang}); err == nil {
			list = append(list, api.Text{Lang: in.Lang, Title: in.Title, Body: in.Body})
		}
	}
	return list
}

func (g *groupState) notice(v feed.View) api.Notice {
	out := api.Notice{ID: v.Notice.String(), Kind: api.KindAnnouncement, Title: v.Title, Body: v.Body, Lang: v.Lang,
		Langs: append([]string{}, v.Langs...), Author: v.Author.String(), AuthorName: g.engine.MemberName(v.Author),
		Urgency: v.Urgency.String(), Status: string(v.Status), Pinned: v.Pinned, Version: v.Number, Created: stamp(v.Posted),
		Expires: stamp(v.Expires), Meeting: meetingOf(v.Meeting)}
	switch {
	case v.Kind == protocol.TypeMeeting:
		out.Kind = api.KindMeeting
	case v.NeedsNewer():
		out.Kind = "unknown"
	}
	return out
}

func meetingOf(m *feed.Meeting) *api.Meeting {
	if m == nil {
		return nil
	}
	out := &api.Meeting{Start: stamp(m.Start), TZ: m.Zone, Place: m.Place, Link: m.Link}
	if m.End != 0 {
		out.End = stamp(m.End)
	}
	return out
}
