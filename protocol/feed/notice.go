package feed

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/palabre-app/palabre/protocol"
)

// Bounds of a notice (spec 50 section 1). Titles and bodies: package protocol.
const (
	MaxTexts       = 8
	MaxZone        = 64  // bytes
	MaxPlaceChars  = 200 // characters
	MaxOnlineLink  = 512 // bytes
	MaxReasonChars = 500 // characters of a cancellation's reason
	MaxPayload     = 60_000
	MaxUnknownKeys = 16
	MaxInstant     = 253_402_300_799 // unix seconds, the end of the year 9999
)

// Urgency says how loudly a notice asks for attention.
type Urgency uint8

// Urgencies, lowest first. Numbers are part of the wire format.
const (
	Info      Urgency = 1
	Important Urgency = 2
	Alert     Urgency = 3
)

// String returns info, important or alert.
func (u Urgency) String() string {
	switch u {
	case Info:
		return "info"
	case Important:
		return "important"
	case Alert:
		return "alert"
	}
	return "unknown"
}

// Text is a notice in one language.
type Text struct {
	Tag   string // language, as Tag returns it
	Title string // one line, 1 to protocol.MaxTitleChars characters
	Body  string // at most protocol.MaxBody bytes
}

// Meeting is when and where. Times are unix seconds; the zone is for showing.
type Meeting struct {
	Start int64
	End   int64  // 0 if open
	Zone  string // IANA name, such as Europe/Paris
	Place string // empty if not given
	Link  string // empty if not given; https, or http to an onion host
}

// Notice is the payload of an Announcement or a Meeting (spec 50 section 1.1).
// It keeps what a newer version wrote in fields that this one does not know.
type Notice struct {
	Type    protocol.ContentType
	Urgency Urgency
	Texts   []Text   // 1 to MaxTexts, one per language; the first is the original
	Meeting *Meeting // for a Meeting only

	extra fields
}

// Check returns the first *Problem of the notice, or nil. It does not ask
// whether the zone exists, because that needs a table; NewNotice does.
func (n Notice) Check() error {
	if n.Type != protocol.TypeAnnouncement && n.Type != protocol.TypeMeeting ||
		(n.Type == protocol.TypeMeeting) != (n.Meeting != nil) {
		return problem(KindBad)
	}
	if n.Urgency < Info || n.Urgency > Alert {
		return problem(UrgencyBad)
	}
	if len(n.Texts) == 0 {
		return problem(TextsMissing)
	}
	if len(n.Texts) > MaxTexts {
		return tooMuch(TextsTooMany, MaxTexts)
	}
	for i, t := range n.Texts {
		if err := t.check(); err != nil {
			return inText(i, err)
		}
		for _, before := range n.Texts[:i] {
			if before.Tag == t.Tag {
				return inText(i, problem(TagRepeated))
			}
		}
	}
	if n.Meeting != nil {
		return n.Meeting.check()
	}
	return nil
}

func (t Text) check() error {
	switch {
	case !validTag(t.Tag):
		return problem(TagBad)
	case strings.TrimSpace(t.Title) == "":
		return problem(TitleEmpty)
	case longer(t.Title, protocol.MaxTitleChars):
		return tooMuch(TitleLong, protocol.MaxTitleChars)
	case len(t.Body) > protocol.MaxBody:
		return tooMuch(BodyLong, protocol.MaxBody)
	}
	if err := checkText(t.Title, false); err != nil {
		return err
	}
	return checkText(t.Body, true)
}

func (m Meeting) check() error {
	switch {
	case m.Start <= 0 || m.Start > MaxInstant:
		return problem(StartBad)
	case m.End != 0 && m.End <= m.Start:
		return problem(EndBeforeStart)
	case m.End > MaxInstant:
		return problem(EndBad)
	case !validZone(m.Zone):
		return problem(ZoneBad)
	case longer(m.Place, MaxPlaceChars):
		return tooMuch(PlaceLong, MaxPlaceChars)
	case m.Link != "" && !validLink(m.Link):
		return tooMuch(LinkBad, MaxOnlineLink)
	}
	return checkText(m.Place, false)
}

// longer counts characters only after a bound on bytes, so that a huge string
// costs nothing.
func longer(s string, chars int) bool {
	return len(s) > chars*utf8.UTFMax || utf8.RuneCountInString(s) > chars
}

func validZone(z string) bool {
	for _, c := range []byte(z) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("_+-/", rune(c)) {
			return false
		}
	}
	return z != "" && len(z) <= MaxZone
}

// validLink keeps out schemes that run something and hosts in look-alike
// letters: ASCII only, so an international name shows as xn--.
func validLink(s string) bool {
	if len(s) > MaxOnlineLink {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Hostname() == "" {
		return false
	}
	return strings.HasPrefix(s, "https://") ||
		strings.HasPrefix(s, "http://") && strings.HasSuffix(u.Hostname(), ".onion")
}

// clone returns a notice that shares no memory with n.
func (n Notice) clone() Notice {
	n.Texts = append([]Text(nil), n.Texts...)
	if n.Meeting != nil {
		m := *n.Meeting
		n.Meeting = &m
	}
	return n
}
