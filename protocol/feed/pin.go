package feed

import (
	"bytes"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/protocol"
)

// MaxPins is how many times one organiser can pin and unpin one notice.
const MaxPins = 16

// Pin puts a notice on top, or takes it down again (spec 50 section 5). Only an
// organiser's counts.
type Pin struct {
	Notice  protocol.ContentID
	Version uint64 // 1 to MaxVersion; the highest holds
	Pinned  bool

	extra fields
}

// Encode checks the pin and returns its payload. The error wraps a *Problem.
func (p Pin) Encode() ([]byte, error) {
	if p.Version == 0 || p.Version > MaxVersion {
		return nil, problem(VersionBad)
	}
	f := p.extra.with()
	f.put(1, p.Notice)
	f.put(2, p.Version)
	pinned := uint64(0)
	if p.Pinned {
		pinned = 1
	}
	f.put(3, pinned)
	return f.bytes(maxSmall)
}

// DecodePin decodes and checks a pin. The error wraps ErrPayload.
func DecodePin(payload []byte) (Pin, error) {
	f, err := open(payload, maxSmall)
	if err != nil {
		return Pin{}, err
	}
	var p Pin
	var pinned uint64
	if err := errors.Join(take(f, 1, true, &p.Notice), take(f, 2, true, &p.Version), take(f, 3, true, &pinned)); err != nil {
		return Pin{}, err
	}
	if p.Version == 0 || p.Version > MaxVersion {
		return Pin{}, errors.Join(ErrPayload, problem(VersionBad))
	}
	if pinned > 1 {
		return Pin{}, ErrPayload
	}
	p.Pinned = pinned == 1
	if p.extra, err = f.rest(); err != nil {
		return Pin{}, err
	}
	return p, nil
}

// NewPin makes the draft that pins a notice or takes it down, one version above
// the last. It holds as long as the notice. The error is ErrNotFound for what is
// not shown.
func (s *State) NewPin(id protocol.ContentID, pinned bool, now int64) (Draft, error) {
	t, _, err := s.current(id, now)
	if err != nil {
		return Draft{}, err
	}
	payload, err := Pin{Notice: id, Version: nextVersion(s.pinOf(id)), Pinned: pinned}.Encode()
	if err != nil {
		return Draft{}, err
	}
	expires := min(t.limit(), add(now, protocol.MaxNoticeSeconds))
	return Draft{Type: protocol.TypePin, CreatedAt: now, ExpiresAt: expires, Payload: payload}, nil
}

// pinOf returns the pin that holds for a notice, nil if there is none.
func (s *State) pinOf(notice protocol.ContentID) *entry {
	var best *entry
	for _, e := range s.pins[notice] {
		if e.Standing == Normal && e.Organiser && e.better(best) {
			best = e
		}
	}
	return best
}

func (s *State) pinned(notice protocol.ContentID) bool {
	e := s.pinOf(notice)
	return e != nil && e.pin.Pinned
}

// Pinned lists, for each pinned notice that is shown at now and not cancelled, the
// contents that show it: its first version, all that amends it, and the pin. The
// newest notices come first; contents are in ascending order.
func (s *State) Pinned(now int64) [][]protocol.ContentID {
	var list [][]protocol.ContentID
	for _, v := range s.List(now, nil, false) {
		if !v.Pinned || v.Status == Cancelled {
			continue
		}
		ids := []protocol.ContentID{v.Notice, s.pinOf(v.Notice).ID}
		for id, e := range s.threads[v.Notice].amends {
			if e.Standing == Normal {
				ids = append(ids, id)
			}
		}
		list = append(list, protocol.SortIDs(ids))
	}
	return list
}

// pinRoom bounds the pins of one organiser; those of others have no effect, and
// only one of each is kept.
func (s *State) pinRoom(e *entry) error {
	n, most := 0, MaxPins
	if !e.Organiser {
		most = 1
	}
	for _, o := range s.pins[e.pin.Notice] {
		if o.Author == e.Author {
			n++
		}
	}
	if n >= most {
		return ErrFull
	}
	return nil
}

func (s *State) insertPin(e *entry) {
	m := s.pins[e.pin.Notice]
	if m == nil {
		m = map[protocol.ContentID]*entry{}
		s.pins[e.pin.Notice] = m
	}
	m[e.ID] = e
}

func (s *State) removePin(e *entry) {
	delete(s.pins[e.pin.Notice], e.ID)
	if len(s.pins[e.pin.Notice]) == 0 {
		delete(s.pins, e.pin.Notice)
	}
}

// withPins adds the pins of notices that go, and those of notices that are not
// here for which gone holds.
func (s *State) withPins(ids []protocol.ContentID, gone func(*entry) bool) []protocol.ContentID {
	slices.SortFunc(ids, func(a, b protocol.ContentID) int { return bytes.Compare(a[:], b[:]) })
	roots := ids[:len(ids):len(ids)]
	for notice, pins := range s.pins {
		_, goes := slices.BinarySearchFunc(roots, notice, func(a, b protocol.ContentID) int { return bytes.Compare(a[:], b[:]) })
		for id, e := range pins {
			if goes || !s.here(notice) && gone(e) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func (s *State) here(notice protocol.ContentID) bool {
	t := s.threads[notice]
	return t != nil && t.root != nil
}
