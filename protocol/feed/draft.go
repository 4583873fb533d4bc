package feed

import (
	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Draft is a checked payload with its times, for the layer above to put into a
// content, sign and seal.
type Draft struct {
	Type      protocol.ContentType
	CreatedAt int64 // unix seconds
	ExpiresAt int64 // unix seconds
	Payload   []byte
}

// NewNotice checks a notice and makes its draft. Expires 0 is the furthest,
// protocol.MaxNoticeSeconds after now. KnowsZone says whether an IANA zone
// exists: the table of zones is the caller's. The error wraps a *Problem.
func NewNotice(n Notice, now, expires int64, knowsZone func(string) bool) (Draft, error) {
	payload, err := n.Encode()
	if err != nil {
		return Draft{}, err
	}
	if expires, err = checkTimes(n, now, expires, knowsZone); err != nil {
		return Draft{}, err
	}
	return Draft{Type: n.Type, CreatedAt: now, ExpiresAt: expires, Payload: payload}, nil
}

func checkTimes(n Notice, now, expires int64, knowsZone func(string) bool) (int64, error) {
	far := add(now, protocol.MaxNoticeSeconds)
	if expires == 0 {
		expires = far
	}
	switch {
	case expires <= now:
		return 0, problem(ExpiryPast)
	case expires > far:
		return 0, tooMuch(ExpiryFar, protocol.MaxNoticeSeconds)
	case n.Meeting == nil:
		return expires, nil
	case !knowsZone(n.Meeting.Zone):
		return 0, problem(ZoneUnknown)
	case expires < max(n.Meeting.Start, n.Meeting.End) && n.Meeting.Start > now:
		// A notice that goes before its meeting does would strand people.
		return 0, problem(ExpiryMeeting)
	}
	return expires, nil
}

// NewEdit makes the edit of a notice that covers all its heads at now. Change
// gets the version that is shown first, with all its languages, and returns the
// notice as it shall be. Expires 0 keeps the expiry that it has; the furthest is
// protocol.MaxNoticeSeconds after the first version. Whether the
// editor may edit is for the layer above. The error wraps a *Problem, or is
// ErrNotFound.
func (s *State) NewEdit(id protocol.ContentID, now, expires int64, change func(Notice) Notice, knowsZone func(string) bool) (Draft, error) {
	t, g, err := s.current(id, now)
	if err != nil {
		return Draft{}, err
	}
	if len(g.cancels) > 0 {
		return Draft{}, problem(NoticeCancelled)
	}
	first := g.heads[0]
	if !isNotice(first.notice.Type) {
		return Draft{}, problem(NoticeUnknown)
	}
	next := change(first.notice.clone())
	if next.Type != t.root.notice.Type {
		return Draft{}, problem(KindBad)
	}
	next.extra = first.notice.extra
	payload, err := Edit{Amends: amend(id, g), Next: next}.Encode()
	if err != nil {
		return Draft{}, err
	}
	if expires == 0 {
		expires = g.expires
	}
	if expires > t.limit() {
		return Draft{}, tooMuch(ExpiryFar, protocol.MaxNoticeSeconds)
	}
	expires = min(expires, add(now, protocol.MaxNoticeSeconds)) // if now is before the notice
	if expires, err = checkTimes(next, now, expires, knowsZone); err != nil {
		return Draft{}, err
	}
	return Draft{Type: protocol.TypeEdit, CreatedAt: now, ExpiresAt: expires, Payload: payload}, nil
}

// NewCancel makes the cancellation of a notice that covers all its heads, and
// earlier cancellations, at now. The tag is the language of the reason; both
// may be empty. The error wraps a *Problem, or is ErrNotFound.
func (s *State) NewCancel(id protocol.ContentID, now int64, reason, tag string) (Draft, error) {
	_, g, err := s.current(id, now)
	if err != nil {
		return Draft{}, err
	}
	payload, err := Cancel{Amends: amend(id, g), Reason: reason, Tag: tag}.Encode()
	if err != nil {
		return Draft{}, err
	}
	return Draft{Type: protocol.TypeCancel, CreatedAt: now, ExpiresAt: add(now, protocol.MaxNoticeSeconds), Payload: payload}, nil
}

func (s *State) current(id protocol.ContentID, now int64) (*thread, graph, error) {
	t := s.threads[id]
	if t == nil || t.root == nil {
		return nil, graph{}, ErrNotFound
	}
	g := t.graph(s, now)
	if len(g.heads) == 0 || now >= g.expires {
		return nil, graph{}, ErrNotFound
	}
	return t, g, nil
}

// amend covers the heads and the cancels in effect, the first MaxPrev of them.
func amend(id protocol.ContentID, g graph) Amends {
	a := Amends{Notice: id, Version: 2}
	for _, e := range append(append([]*entry(nil), g.heads...), g.cancels...) {
		if len(a.Prev) < MaxPrev {
			a.Prev = append(a.Prev, e.ID)
			a.Version = min(max(a.Version, e.version()+1), MaxVersion)
		}
	}
	protocol.SortIDs(a.Prev)
	return a
}

// NewProfile makes the draft of a member's name, one version above the last.
// It holds past its expiry, until it is replaced: storage must keep what Newest
// names. The name is cleaned first. The error wraps a *Problem.
func (s *State) NewProfile(me identity.MemberID, name string, now int64) (Draft, error) {
	p := Profile{Name: CleanName(name), Version: nextVersion(s.profiles()[me])}
	payload, err := p.Encode()
	if err != nil {
		return Draft{}, err
	}
	return Draft{Type: protocol.TypeProfile, CreatedAt: now, ExpiresAt: add(now, protocol.MaxNoticeSeconds), Payload: payload}, nil
}

// NewGroupCard makes the draft of the group's name, one version above the last.
// Only an organiser's counts. The name is cleaned first. The error wraps a
// *Problem.
func (s *State) NewGroupCard(name string, now int64) (Draft, error) {
	c := GroupCard{Name: CleanName(name), Version: nextVersion(s.card())}
	payload, err := c.Encode()
	if err != nil {
		return Draft{}, err
	}
	return Draft{Type: protocol.TypeGroupCard, CreatedAt: now, ExpiresAt: add(now, protocol.MaxNoticeSeconds), Payload: payload}, nil
}

func nextVersion(e *entry) uint64 {
	if e == nil {
		return 1
	}
	return min(e.ver+1, MaxVersion)
}
