package feed

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// post applies a draft as a content of the author.
func post(t *testing.T, s *State, name string, author identity.MemberID, d Draft) {
	t.Helper()
	c, err := s.Apply(Item{ID: idOf(name), Author: author, Organiser: author == bashir, Standing: Normal,
		Content: protocol.Content{Type: d.Type, DevSeq: 1, CreatedAt: d.CreatedAt, ExpiresAt: d.ExpiresAt, Payload: d.Payload}})
	if err != nil || c.Effect != Applied {
		t.Fatal(name, c, err)
	}
}

func TestProblemsOfDrafts(t *testing.T) {
	long := strings.Repeat("é", 201)
	for code, spoil := range map[Code]func(*Notice){
		KindBad:        func(n *Notice) { n.Meeting = nil },
		UrgencyBad:     func(n *Notice) { n.Urgency = 0 },
		TextsMissing:   func(n *Notice) { n.Texts = nil },
		TextsTooMany:   func(n *Notice) { n.Texts = make([]Text, 9) },
		TagBad:         func(n *Notice) { n.Texts[0].Tag = "français" },
		TagRepeated:    func(n *Notice) { n.Texts = append(n.Texts, n.Texts[0]) },
		TitleEmpty:     func(n *Notice) { n.Texts[0].Title = "" },
		TitleLong:      func(n *Notice) { n.Texts[0].Title = long },
		BodyLong:       func(n *Notice) { n.Texts[0].Body = strings.Repeat("x", protocol.MaxBody+1) },
		TextControl:    func(n *Notice) { n.Texts[0].Body = "a\x1b[0m" },
		TextBidi:       func(n *Notice) { n.Texts[0].Body = "\u2066a\nb\u2069" },
		TextEncoding:   func(n *Notice) { n.Texts[0].Body = "\xff" },
		StartBad:       func(n *Notice) { n.Meeting.Start = -1 },
		EndBeforeStart: func(n *Notice) { n.Meeting.End = n.Meeting.Start - 1 },
		EndBad:         func(n *Notice) { n.Meeting.End = MaxInstant + 1 },
		ZoneBad:        func(n *Notice) { n.Meeting.Zone = "Paris, France" },
		ZoneUnknown:    func(n *Notice) { n.Meeting.Zone = "Europe/Nowhere" },
		PlaceLong:      func(n *Notice) { n.Meeting.Place = long },
		LinkBad:        func(n *Notice) { n.Meeting.Link = "meet.example.org" },
		ExpiryMeeting:  func(n *Notice) { n.Meeting.Start += 90 * day; n.Meeting.End = 0 },
	} {
		n := meetingAt("Salle A")
		spoil(&n)
		_, err := NewNotice(n, t0, 0, func(z string) bool { return z == "Europe/Paris" })
		if CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	for expires, code := range map[int64]Code{t0: ExpiryPast, -1: ExpiryPast, t0 + 90*day + 1: ExpiryFar, t0 + 90*day: "", t0 + day: ExpiryMeeting} {
		if _, err := NewNotice(meetingAt("A"), t0, expires, anyZone); CodeOf(err) != code || (code == "") != (err == nil) {
			t.Errorf("expiry %d: %v", expires-t0, err)
		}
	}
	// Which text it is about is told; what it says is not.
	n := announcement("x")
	n.Texts = append(n.Texts, Text{Tag: "ar", Title: "سر\x00"})
	_, err := n.Encode()
	var p *Problem
	if !errors.As(err, &p) || p.Text != 1 || strings.Contains(err.Error(), "سر") {
		t.Error(err)
	}
}

// Drafts name what they cover by themselves, both sides of a conflict included.
func TestEditsAndCancelsCoverTheHeads(t *testing.T) {
	s := New()
	d, err := NewNotice(meetingAt("A"), t0, 0, anyZone)
	if err != nil {
		t.Fatal(err)
	}
	post(t, s, "n", amina, d)
	place := func(p string) func(Notice) Notice {
		return func(n Notice) Notice { n.Meeting.Place = p; return n }
	}
	one, err1 := s.NewEdit(idOf("n"), t0+1, 0, place("B"), anyZone)
	two, err2 := s.NewEdit(idOf("n"), t0+1, 0, place("C"), anyZone)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	post(t, s, "e1", amina, one)
	post(t, s, "e2", bashir, two)
	if v := only(t, s); v.Status != Conflict || v.Number != 2 {
		t.Fatalf("%+v", v)
	}
	both, err := s.NewEdit(idOf("n"), t0+2, t0+20*day, place("D"), anyZone)
	if err != nil {
		t.Fatal(err)
	}
	post(t, s, "e3", amina, both)
	if v := only(t, s); v.Status != Active || v.Number != 3 || v.Meeting.Place != "D" || v.Expires != t0+20*day {
		t.Fatalf("%+v", v)
	}
	c, err := s.NewCancel(idOf("n"), t0+3, "pluie", "fr")
	if err != nil {
		t.Fatal(err)
	}
	post(t, s, "c", bashir, c)
	if v := only(t, s); v.Status != Cancelled || len(v.Conflicts) != 0 || v.CancelLang != "fr" {
		t.Fatalf("%+v", v)
	}
	for name, err := range map[string]error{"unknown": second(s.NewCancel(idOf("z"), t0, "", "")), "expired": second(s.NewCancel(idOf("n"), t0+30*day, "", ""))} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.NewCancel(idOf("n"), t0, strings.Repeat("x", 501), ""); CodeOf(err) != ReasonLong {
		t.Error(err)
	}
}

func second[A any](_ A, err error) error { return err }

// What is handed out shares no memory with the state.
func TestViewsAndDraftsAreCopies(t *testing.T) {
	s := holding(t, created(t, "n", amina, meetingAt("A")))
	v := only(t, s)
	v.Meeting.Place, v.Langs[0] = "X", "xx"
	_, err := s.NewEdit(idOf("n"), t0, 0, func(n Notice) Notice { n.Meeting.Place = "Y"; n.Texts[0].Title = "Y"; return n }, anyZone)
	if v := only(t, s); err != nil || v.Meeting.Place != "A" || v.Langs[0] != "fr" || v.Title != "Réunion" {
		t.Fatalf("%+v %v", v, err)
	}
}

// Whichever side of a conflict comes first, the louder urgency and the later
// expiry are the notice's.
func TestConflictTakesTheSaferOfBoth(t *testing.T) {
	for _, loudest := range []string{"e1", "e2"} {
		items := []Item{created(t, "n", amina, announcement("x"))}
		for _, name := range []string{"e1", "e2"} {
			n := announcement(name)
			if name == loudest {
				n.Urgency = Alert
			}
			it := edited(t, name, amina, amends(2, "n", "n"), n)
			if name == loudest {
				it.Content.ExpiresAt += day
			}
			items = append(items, it)
		}
		if v := only(t, holding(t, items...)); v.Urgency != Alert || v.Status != Conflict || v.Expires != t0+31*day {
			t.Fatalf("%s: %+v", loudest, v)
		}
	}
}

// An edit keeps what a newer version wrote, even if the change starts afresh.
func TestEditKeepsUnknownKeys(t *testing.T) {
	it := created(t, "n", amina, announcement("x"))
	var m wire.Map
	if err := wire.Unmarshal(it.Content.Payload, MaxPayload, &m); err != nil {
		t.Fatal(err)
	}
	m[42] = wire.Marshal("later")
	it.Content.Payload = wire.Marshal(m)
	d, err := holding(t, it).NewEdit(idOf("n"), t0, 0, func(Notice) Notice { return announcement("y") }, anyZone)
	if err != nil {
		t.Fatal(err)
	}
	e, err := DecodeEdit(d.Payload)
	if err != nil || e.Next.Texts[0].Title != "y" || string(e.Next.extra[42]) != string(m[42]) {
		t.Fatalf("%+v %v", e, err)
	}
}

func TestLanguages(t *testing.T) {
	n := announcement("x")
	n.Texts = append(fourLanguages(), Text{Tag: "am", Title: "ስብሰባ"}, Text{Tag: "zh-Hant", Title: "會議"}, Text{Tag: "pt-BR", Title: "Reunião"})
	s := holding(t, created(t, "n", amina, n))
	for _, c := range []struct{ preferred, lang string }{
		{"", "fr"}, {"ar", "ar"}, {"ti", "ti"}, {"es", "es"}, {"es-MX", "es"}, {"ar-MA", "ar"}, {"ti-ER", "ti"}, {"de", "fr"}, {"de es", "es"},
		{"pt", "pt-BR"}, {"pt-PT ar", "pt-BR"}, {"zh-TW", "zh-Hant"}, {"nonsense!! ti", "ti"}, {"om am", "am"},
	} {
		v := s.List(t0, strings.Fields(c.preferred), false)[0]
		if v.Lang != c.lang || fmt.Sprint(v.Langs) != "[fr ar ti es am zh-Hant pt-BR]" {
			t.Errorf("%q: %s of %v", c.preferred, v.Lang, v.Langs)
		}
	}
	if got := choose([]Text{{Tag: "en"}, {Tag: "am"}, {Tag: "fr"}}, []string{"ti", "fr"}); got != 2 {
		t.Error("Tigrinya is answered with text", got)
	}
	for in, want := range map[string]string{"fr": "fr", "FR-be": "fr-BE", "zh_hant_TW": "zh-Hant-TW", "es-419": "es-419", "ti-ER": "ti-ER", "und": "", "français": "", "": "", "x-secret": "", strings.Repeat("a-", 99): ""} {
		if got, err := Tag(in); got != want || (err == nil) != (want != "") {
			t.Errorf("Tag(%q) = %q, %v", in, got, err)
		}
	}
}
