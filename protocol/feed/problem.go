package feed

import (
	"errors"
	"fmt"
)

// Code is the stable name of what is wrong with a draft; a face words it.
type Code string

// Codes of problems. They never change their meaning. Names: spec 50 section 4.
const (
	TextsMissing    Code = "texts_missing"
	TextsTooMany    Code = "texts_too_many"
	TagBad          Code = "language_bad"
	TagRepeated     Code = "language_repeated"
	TitleEmpty      Code = "title_empty"
	TitleLong       Code = "title_long"
	BodyLong        Code = "body_long"
	TextControl     Code = "text_control"
	TextBidi        Code = "text_bidi"
	TextEncoding    Code = "text_encoding"
	UrgencyBad      Code = "urgency_bad"
	StartBad        Code = "start_bad"
	EndBeforeStart  Code = "end_before_start"
	EndBad          Code = "end_bad"
	ZoneBad         Code = "zone_bad"
	ZoneUnknown     Code = "zone_unknown"
	PlaceLong       Code = "place_long"
	LinkBad         Code = "link_bad"
	ReasonLong      Code = "reason_long"
	PayloadLong     Code = "payload_long"
	ExpiryPast      Code = "expiry_past"
	ExpiryFar       Code = "expiry_far"
	ExpiryMeeting   Code = "expiry_before_meeting"
	KindBad         Code = "kind_bad"
	VersionBad      Code = "version_bad"
	PrevBad         Code = "prev_bad"
	NoticeCancelled Code = "notice_cancelled"
	NoticeUnknown   Code = "notice_unknown_kind"
	NameEmpty       Code = "name_empty"
	NameLong        Code = "name_long"
	NameEncoding    Code = "name_encoding"
	NameSpaces      Code = "name_spaces"
	NameHidden      Code = "name_hidden"
	NameCharacter   Code = "name_character"
	NameMarks       Code = "name_marks"
	NameDigits      Code = "name_digits"
	NameLetters     Code = "name_letters"
	NameScripts     Code = "name_scripts"
)

// Problem is what is wrong with a draft or a payload. It holds no text of the
// draft, so that it may be logged.
type Problem struct {
	Code Code
	Text int // index of the language version that it is about, or -1
	Max  int // the bound that was passed, in the unit of the field, or 0
}

// Error words the problem for developers; people get words by the code.
func (p *Problem) Error() string {
	s := "bad notice: " + string(p.Code)
	if p.Text >= 0 {
		s += fmt.Sprintf(" in text %d", p.Text)
	}
	if p.Max > 0 {
		s += fmt.Sprintf(" (at most %d)", p.Max)
	}
	return s
}

// CodeOf returns the code of the problem in err, or "" if there is none.
func CodeOf(err error) Code {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func problem(c Code) error          { return &Problem{Code: c, Text: -1} }
func tooMuch(c Code, max int) error { return &Problem{Code: c, Text: -1, Max: max} }
func inText(i int, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		q := *p
		q.Text = i
		return &q
	}
	return err
}

// Errors on which a caller branches.
var (
	// ErrPayload says that a payload is not the canonical encoding of its type.
	ErrPayload = errors.New("malformed payload")
	// ErrFull says that a bound on what waits or is held was reached; the state
	// is unchanged, and the item can be applied again later.
	ErrFull = errors.New("too many items held")
	// ErrItem says that an item lacks its id, its author or its standing.
	ErrItem = errors.New("incomplete item")
	// ErrNotFound says that no shown notice has that id.
	ErrNotFound = errors.New("no such notice")
	// ErrAmbiguous says that several shown notices begin with that prefix.
	ErrAmbiguous = errors.New("several notices begin like this")
	// ErrPrefix says that an id prefix is no hex or has not 6 to 64 digits.
	ErrPrefix = errors.New("a notice id is 6 to 64 hex digits")
)
