package feed

import (
	"bytes"
	"cmp"
	"log/slog"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Status is what a notice has come to.
type Status string

// Statuses. A cancelled notice with Conflicts was changed at the same time.
const (
	Active    Status = "active"
	Cancelled Status = "cancelled"
	Conflict  Status = "conflict"
	Expired   Status = "expired"
)

// Version is one version of a notice as a reader of some languages sees it.
type Version struct {
	ID      protocol.ContentID
	Number  uint64
	Editor  identity.MemberID
	Created int64 // unix seconds by the editor's clock
	Expires int64 // unix seconds
	Urgency Urgency
	Title   string
	Body    string
	Lang    string   // of Title and Body
	Langs   []string // all there are, the original first
	Meeting *Meeting // nil if it is none
}

// View is a notice as a person sees it. It shares no memory with the state.
// Kinds that are not announcement or meeting need a newer version: they have
// no title, text, language or urgency.
type View struct {
	Version // what is shown first; ID is that of the version
	Notice  protocol.ContentID
	Kind    protocol.ContentType
	Status  Status
	Author  identity.MemberID // of the notice
	Pinned  bool              // by an organiser
	Posted  int64             // unix seconds by the author's clock; never decides

	// Conflicts are the versions to show beside this one: the other sides of a
	// conflict, or for a cancelled notice all that the cancellation did not cover.
	Conflicts []Version
	// Missing says that a newer version is known of and has not arrived.
	Missing bool

	CancelledBy  identity.MemberID // zero if not cancelled
	CancelReason string
	CancelLang   string // of the reason; may be empty
}

// NeedsNewer says that only a newer version of the program can show the notice.
func (v View) NeedsNewer() bool { return !isNotice(v.Kind) }

// LogValue keeps texts and whole ids out of logs.
func (v View) LogValue() slog.Value { return slog.StringValue(v.Notice.String()[:8]) }

// LogValue keeps texts and whole ids out of logs.
func (v Version) LogValue() slog.Value { return slog.StringValue(v.ID.String()[:8]) }

func (s *State) view(t *thread, g graph, now int64, preferred []string) View {
	first := g.heads[0]
	v := View{
		Version: first.show(preferred), Notice: t.root.ID, Kind: t.root.notice.Type, Status: Active,
		Author: t.root.Author, Posted: t.root.Content.CreatedAt, Missing: g.missing, Pinned: s.pinned(t.root.ID),
	}
	// The whole notice goes when its last head goes.
	v.Expires = g.expires
	for _, h := range g.heads[1:] {
		v.Conflicts = append(v.Conflicts, h.show(preferred))
		v.Urgency = max(v.Urgency, h.notice.Urgency)
		v.Status = Conflict
	}
	if len(g.cancels) > 0 {
		c := g.cancels[0]
		v.Status = Cancelled
		v.CancelledBy, v.CancelReason, v.CancelLang = c.Author, c.cancel.Reason, c.cancel.Tag
		v.Conflicts = nil
		for _, h := range g.beside {
			v.Conflicts = append(v.Conflicts, h.show(preferred))
		}
	}
	if now >= g.expires {
		v.Status = Expired
	}
	return v
}

func (e *entry) show(preferred []string) Version {
	v := Version{ID: e.ID, Number: e.version(), Editor: e.Author, Created: e.Content.CreatedAt,
		Expires: e.expires(), Urgency: e.notice.Urgency}
	n := e.notice.clone()
	v.Meeting = n.Meeting
	if len(n.Texts) == 0 {
		return v
	}
	t := n.Texts[choose(n.Texts, preferred)]
	v.Title, v.Body, v.Lang = t.Title, t.Body, t.Tag
	for _, t := range n.Texts {
		v.Langs = append(v.Langs, t.Tag)
	}
	return v
}

// List returns the notices at now, in unix seconds, newest first by Posted,
// then by id. Each is in the first of the preferred languages, BCP 47 tags best
// first, in which it exists. With all, expired ones that Expire has not taken
// are listed too; cancelled ones always are.
func (s *State) List(now int64, preferred []string, all bool) []View {
	var out []View
	for _, t := range s.threads {
		if t.root == nil {
			continue
		}
		g := t.graph(s, now)
		if len(g.heads) == 0 || !all && now >= g.expires {
			continue
		}
		out = append(out, s.view(t, g, now, preferred))
	}
	slices.SortFunc(out, func(a, b View) int {
		return cmp.Or(-cmp.Compare(a.Posted, b.Posted), bytes.Compare(a.Notice[:], b.Notice[:]))
	})
	return out
}

// Get returns one notice by its id in hex or by a prefix of at least 6 digits
// that no other shown notice has. Expired ones are found until Expire takes
// them. The error is ErrPrefix, ErrNotFound or ErrAmbiguous.
func (s *State) Get(prefix string, now int64, preferred []string) (View, error) {
	if len(prefix) < 6 || len(prefix) > 64 || strings.Trim(prefix, "0123456789abcdefABCDEF") != "" {
		return View{}, ErrPrefix
	}
	prefix = strings.ToLower(prefix)
	var found *thread
	var at graph
	for id, t := range s.threads {
		if t.root == nil || !strings.HasPrefix(id.String(), prefix) {
			continue
		}
		g := t.graph(s, now)
		if len(g.heads) == 0 {
			continue
		}
		if found != nil {
			return View{}, ErrAmbiguous
		}
		found, at = t, g
	}
	if found == nil {
		return View{}, ErrNotFound
	}
	return s.view(found, at, now, preferred), nil
}
