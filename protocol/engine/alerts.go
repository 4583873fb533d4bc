package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/wire"
)

// This file sends an alert while everything else waits for the keys to be renewed,
// where the group's policy lets its author choose so, knowing how many people who
// are out can read it (group keys section 4.5).

// Errors of sending an alert now. Nothing changes with them.
var (
	ErrNoOverride = errors.New("the group's policy lets nothing go out before the keys are renewed")
	ErrNotAlert   = errors.New("only an alert can go out before the keys are renewed")
	ErrReaders    = errors.New("more removed people can read it than was said")
	ErrNoKeys     = errors.New("there are no keys under which it could go out now")
	ErrAlarmed    = errors.New("what is written waits until somebody has confirmed who organises the group")
)

// Held is something that this person wrote and that waits to be sent.
type Held struct {
	ID      string // 16 hex digits; only as long as it waits
	Type    protocol.ContentType
	Title   string // of a notice, in its first language
	Alert   bool   // a notice of that urgency: see SendNow
	Created int64  // unix seconds
	Expires int64  // unix seconds
}

// Held lists what waits to be sent, oldest first.
func (e *Engine) Held() []Held {
	var list []Held
	for _, d := range e.drafts {
		h := Held{ID: d.id(), Type: d.Type, Created: d.Created, Expires: d.Expires}
		if n, ok := d.notice(); ok {
			h.Title, h.Alert = n.Texts[0].Title, n.Urgency == feed.Alert
		}
		list = append(list, h)
	}
	return list
}

// Readers is who could read an alert that is sent now.
type Readers struct {
	Allowed bool // the policy lets an alert be sent now
	Able    bool // there are keys to send it under
	// Removed lists the people, sorted, who are out, or whose removed device could
	// read it.
	Removed []identity.MemberID
}

// Readers says who is out of the group and could read an alert that is sent
// before the keys are renewed. False: sending does not wait for that.
func (e *Engine) Readers() (Readers, bool) {
	if e.join != nil || e.sending != (protocol.EpochID{}) || e.authority.alarm {
		return Readers{}, false
	}
	s, out := e.override()
	return Readers{Allowed: e.policy().AlertOverride, Able: s != nil, Removed: out}, true
}

// override is the epoch for an alert that does not wait, and who is out and can
// read it: fewest people, then the highest generation, then the smallest id. An
// epoch whose boxes are not known to be for members alone is none.
func (e *Engine) override() (best *epochState, out []identity.MemberID) {
	for _, s := range e.byGen {
		if !e.mayServe(s) || !e.counts(s) || !e.isExact(s) {
			continue
		}
		people, ok := e.outside(s)
		if !ok {
			continue
		}
		if best == nil || len(people) < len(out) || len(people) == len(out) && s.goesBefore(best) {
			best, out = s, people
		}
	}
	return best, out
}

// outside lists the owners of the devices that may hold an epoch and are out, and who
// was back since and is out again.
func (e *Engine) outside(s *epochState) ([]identity.MemberID, bool) {
	devices, ok := e.log.Uncovered(s.header.Core.GovHeads)
	if !ok {
		return nil, false
	}
	people := e.wasBack(s)
	for _, d := range devices {
		people = append(people, e.ownerOf(d))
	}
	return sortPeople(people), true
}

// PostNow is Post for an alert that does not wait for the keys to be renewed: it is
// sent although up to so many removed people can read it. Where nothing is held
// back it is Post. Errors: ErrNoOverride, ErrNotAlert, ErrReaders, ErrNoKeys,
// ErrAlarmed, and those of Post.
func (e *Engine) PostNow(now Time, n feed.Notice, expires int64, readers int) (Posted, error) {
	if _, held := e.Readers(); !held && !e.Waiting() {
		return e.Post(now, n, expires)
	}
	e.now = now
	if err := e.asPoster(); err != nil {
		return Posted{}, err
	}
	d, err := e.newNotice(n, expires)
	if err != nil {
		return Posted{}, err
	}
	return e.sendNow(d, n, readers)
}

// SendNow sends an alert that waits, named by the ID of Held or a prefix of at
// least 6 digits, although up to so many removed people can read it. Errors:
// ErrUnknown where nothing of that id waits, those of PostNow.
func (e *Engine) SendNow(now Time, id string, readers int) (Posted, error) {
	e.now = now
	if err := e.asPoster(); err != nil {
		return Posted{}, err
	}
	w, err := e.heldBy(id)
	if err != nil {
		return Posted{}, err
	}
	n, _ := w.notice()
	p, err := e.sendNow(feed.Draft{Type: w.Type, CreatedAt: w.Created, ExpiresAt: w.Expires, Payload: w.Payload}, n, readers)
	if err != nil {
		return Posted{}, err
	}
	e.drafts = slices.DeleteFunc(e.drafts, func(d draft) bool { return d.Number == w.Number })
	e.erase(tableDrafts, numberKey(w.Number))
	return p, nil
}

func (e *Engine) heldBy(prefix string) (draft, error) {
	if len(prefix) < minPrefix {
		return draft{}, ErrPrefix
	}
	var found []draft
	for _, d := range e.drafts {
		if h, err := hex.DecodeString(d.id()); err == nil && startsWith(h, prefix) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return draft{}, ErrUnknown
	case 1:
		return found[0], nil
	}
	return draft{}, ErrAmbiguous
}

// sendNow seals an alert in the epoch of override, and settles.
func (e *Engine) sendNow(d feed.Draft, n feed.Notice, readers int) (Posted, error) {
	s, out := e.override()
	switch {
	case e.authority.alarm:
		return Posted{}, ErrAlarmed
	case n.Urgency != feed.Alert:
		return Posted{}, ErrNotAlert
	case !e.policy().AlertOverride:
		return Posted{}, ErrNoOverride
	case s == nil || e.now.Unix() >= d.ExpiresAt:
		return Posted{}, ErrNoKeys
	case len(out) > readers:
		return Posted{}, ErrReaders
	}
	id, err := e.sealIn(s.header.ID(), d)
	if waitsForEpoch(err) {
		return Posted{}, ErrNoKeys
	}
	if err != nil {
		return Posted{}, err
	}
	return Posted{ID: id, Expires: d.ExpiresAt}, e.settle()
}

// id names a draft while it waits.
func (d draft) id() string {
	sum := sha256.Sum256(wire.Marshal(d))
	return hex.EncodeToString(sum[:8])
}

// notice is the notice that the draft posts, if it posts one.
func (d draft) notice() (feed.Notice, bool) {
	if d.Type != protocol.TypeAnnouncement && d.Type != protocol.TypeMeeting {
		return feed.Notice{}, false
	}
	n, err := feed.DecodeNotice(d.Type, d.Payload)
	return n, err == nil && len(n.Texts) > 0
}
