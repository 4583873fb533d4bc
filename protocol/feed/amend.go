package feed

import (
	"errors"
	"fmt"

	"github.com/palabre-app/palabre/protocol"
)

// Bounds of an amendment (spec 50 section 1.2).
const (
	MaxVersion     = 65_535
	MaxPrev        = 16
	MaxEditPayload = 62_000
	maxSmall       = 8_192 // bytes of a Cancel, GroupCard or Profile
)

// Amends says which notice an amendment is about and what it covers.
type Amends struct {
	Notice  protocol.ContentID
	Version uint64               // 2 to MaxVersion
	Prev    []protocol.ContentID // ascending, 1 to MaxPrev: versions that this one covers
}

// Edit replaces a notice as a whole (spec 50 section 1.2).
type Edit struct {
	Amends
	Next Notice // of an unknown type only Type is set, and the payload is kept

	opaque []byte
	extra  fields
}

// Cancel calls a notice off, for good.
type Cancel struct {
	Amends
	Reason string // at most MaxReasonChars characters; may be empty
	Tag    string // language of the reason; may be empty

	extra fields
}

func (a Amends) check() error {
	if a.Version < 2 || a.Version > MaxVersion {
		return problem(VersionBad)
	}
	if len(a.Prev) == 0 || len(a.Prev) > MaxPrev || !protocol.SortedIDs(a.Prev) {
		return tooMuch(PrevBad, MaxPrev)
	}
	return nil
}

func (a Amends) put(f fields) {
	f.put(1, a.Notice)
	f.put(2, a.Version)
	f.put(3, a.Prev)
}

func (a *Amends) take(f fields) error {
	if err := errors.Join(take(f, 1, true, &a.Notice), take(f, 2, true, &a.Version), take(f, 3, true, &a.Prev)); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return errors.Join(ErrPayload, err)
	}
	return nil
}

func isNotice(t protocol.ContentType) bool {
	return t == protocol.TypeAnnouncement || t == protocol.TypeMeeting
}

// amendable keeps amendments and names from being amended: the ids of those
// are not ids of notices.
func amendable(t protocol.ContentType) bool {
	switch t {
	case 0, protocol.TypeEdit, protocol.TypeCancel, protocol.TypePin, protocol.TypeGroupCard, protocol.TypeProfile:
		return false
	}
	return true
}

// Encode checks the edit and returns its payload. The error wraps a *Problem.
func (e Edit) Encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if !amendable(e.Next.Type) {
		return nil, problem(KindBad)
	}
	next := e.opaque
	if isNotice(e.Next.Type) {
		var err error
		if next, err = e.Next.Encode(); err != nil {
			return nil, err
		}
	}
	f := e.extra.with()
	e.put(f)
	f.put(4, e.Next.Type)
	f.put(5, next)
	return f.bytes(MaxEditPayload)
}

// DecodeEdit decodes and checks an edit with the payload inside. The error
// wraps ErrPayload.
func DecodeEdit(payload []byte) (Edit, error) {
	f, err := open(payload, MaxEditPayload)
	if err != nil {
		return Edit{}, err
	}
	var e Edit
	var t protocol.ContentType
	var next []byte
	if err := errors.Join(e.take(f), take(f, 4, true, &t), take(f, 5, true, &next)); err != nil {
		return Edit{}, err
	}
	if len(next) > MaxPayload || !amendable(t) {
		return Edit{}, fmt.Errorf("%w: an edit of this type or size is not possible", ErrPayload)
	}
	e.Next.Type = t
	if isNotice(t) {
		if e.Next, err = DecodeNotice(t, next); err != nil {
			return Edit{}, err
		}
	} else {
		e.opaque = next
	}
	if e.extra, err = f.rest(); err != nil {
		return Edit{}, err
	}
	return e, nil
}

// Check returns the first *Problem of the cancellation, or nil.
func (c Cancel) Check() error {
	if err := c.Amends.check(); err != nil {
		return err
	}
	if longer(c.Reason, MaxReasonChars) {
		return tooMuch(ReasonLong, MaxReasonChars)
	}
	if c.Tag != "" && (c.Reason == "" || !validTag(c.Tag)) {
		return problem(TagBad)
	}
	return checkText(c.Reason, true)
}

// Encode checks the cancellation and returns its payload. The error wraps a
// *Problem.
func (c Cancel) Encode() ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	f := c.extra.with()
	c.put(f)
	f.putSome(4, c.Reason)
	f.putSome(5, c.Tag)
	return f.bytes(maxSmall)
}

// DecodeCancel decodes and checks a cancellation. The error wraps ErrPayload.
func DecodeCancel(payload []byte) (Cancel, error) {
	f, err := open(payload, maxSmall)
	if err != nil {
		return Cancel{}, err
	}
	var c Cancel
	if err := errors.Join(c.take(f), some(f, 4, &c.Reason), some(f, 5, &c.Tag)); err != nil {
		return Cancel{}, err
	}
	if c.extra, err = f.rest(); err != nil {
		return Cancel{}, err
	}
	if err := c.Check(); err != nil {
		return Cancel{}, errors.Join(ErrPayload, err)
	}
	return c, nil
}
