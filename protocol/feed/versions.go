package feed

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/palabre-app/palabre/protocol"
)

// graph is what the versions of one notice come to at one time (spec 50
// section 2). It is a function of the set of entries and of now.
type graph struct {
	valid   map[protocol.ContentID]bool
	pending map[protocol.ContentID]bool // would count, but a version below is not here
	heads   []*entry                    // shown, highest version first, then smallest hash
	cancels []*entry                    // in effect, same order
	beside  []*entry                    // heads that no cancel covers, if there is a cancel
	missing bool                        // something that counts names a hash that is not here
	expires int64                       // of what is shown, unix seconds
	shred   int64                       // when nothing that counts needs the texts
}

func (e *entry) version() uint64 {
	if e.amends == nil {
		return 1
	}
	return e.amends.Version
}

func (e *entry) prev() []protocol.ContentID {
	if e.amends == nil {
		return nil
	}
	return e.amends.Prev
}

// held says that an entry is dated too far ahead to be shown yet.
func (e *entry) held(now int64) bool { return e.Content.CreatedAt > add(now, protocol.MaxAheadSeconds) }

// expires is when a version expires by itself.
func (e *entry) expires() int64 {
	return min(e.Content.ExpiresAt, add(e.Content.CreatedAt, protocol.MaxNoticeSeconds))
}

// limit is the last moment of a notice, however often it is prolonged. It
// depends on the first version alone, so that storage can be planned by it.
func (t *thread) limit() int64 { return add(t.root.Content.CreatedAt, protocol.MaxNoticeSeconds) }

// alone is when an entry is shredded that no thread decides about.
func (e *entry) alone() int64 {
	if e.cancel != nil {
		// Its notice may still come, and must come cancelled.
		return add(e.Content.CreatedAt, protocol.MaxNoticeSeconds)
	}
	return e.expires()
}

// add saturates: times come from the network.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func byVersion(a, b *entry) int {
	return cmp.Or(-cmp.Compare(a.version(), b.version()), bytes.Compare(a.ID[:], b.ID[:]))
}

// graph evaluates a thread that has its root.
func (t *thread) graph(s *State, now int64) graph {
	g := graph{valid: map[protocol.ContentID]bool{t.root.ID: true}, pending: map[protocol.ContentID]bool{}}
	nodes := []*entry{t.root}
	number := map[protocol.ContentID]uint64{t.root.ID: 1}
	for _, e := range t.editsUpward() {
		if !e.may(t.root) || e.notice.Type != t.root.notice.Type {
			continue
		}
		switch known, next := below(s, &g, number, e); {
		case !known:
			g.pending[e.ID] = true
		case next == e.version():
			g.valid[e.ID] = true
			number[e.ID] = next
			nodes = append(nodes, e)
		}
	}
	slices.SortFunc(nodes, byVersion)
	shown := func(e *entry) bool { return e.Standing == Normal && !e.held(now) }
	covered := cover(nodes, nil, shown)
	for _, e := range nodes {
		if shown(e) && !covered[e.ID] {
			g.heads = append(g.heads, e)
			g.expires = max(g.expires, e.expires())
		}
	}
	g.expires = min(g.expires, t.limit())
	g.cancelled(s, t, nodes)
	g.shred = g.expires
	if len(g.heads) == 0 {
		g.shred = t.root.expires()
	}
	for id := range g.pending {
		if e := t.amends[id]; e.Standing == Normal && !e.held(now) {
			g.missing = true
			g.shred = min(max(g.shred, e.expires()), t.limit())
		}
	}
	return g
}

// editsUpward are the edits in ascending order of version: what an edit covers
// has a lower number, so that one pass settles all.
func (t *thread) editsUpward() []*entry {
	var edits []*entry
	for _, e := range t.amends {
		if e.cancel == nil {
			edits = append(edits, e)
		}
	}
	slices.SortFunc(edits, func(a, b *entry) int { return -byVersion(a, b) })
	return edits
}

// below says whether all versions that e covers are settled, and the number
// that e must then have; 0 if one of them is not valid.
func below(s *State, g *graph, number map[protocol.ContentID]uint64, e *entry) (known bool, next uint64) {
	bad, missing := false, false
	for _, p := range e.prev() {
		switch {
		case g.valid[p]:
			next = max(next, number[p]+1)
		case g.pending[p] || s.items[p] == nil:
			missing = true
		default:
			bad = true
		}
	}
	if bad {
		return true, 0
	}
	return !missing, next
}

// cover marks the ancestors of the seeds and of all entries for which from
// holds. Nodes are in descending order of version.
func cover(nodes []*entry, seeds []protocol.ContentID, from func(*entry) bool) map[protocol.ContentID]bool {
	covered := map[protocol.ContentID]bool{}
	for _, p := range seeds {
		covered[p] = true
	}
	for _, e := range nodes {
		if covered[e.ID] || from(e) {
			for _, p := range e.prev() {
				covered[p] = true
			}
		}
	}
	return covered
}

// cancelled finds the cancels in effect and what was changed beside them.
func (g *graph) cancelled(s *State, t *thread, nodes []*entry) {
	var seeds []protocol.ContentID
	for _, e := range t.amends {
		if e.cancel != nil && e.Standing == Normal && e.may(t.root) {
			g.cancels = append(g.cancels, e)
			seeds = append(seeds, e.prev()...)
			for _, p := range e.prev() {
				g.missing = g.missing || s.items[p] == nil
			}
		}
	}
	if len(g.cancels) == 0 {
		return
	}
	slices.SortFunc(g.cancels, byVersion)
	// A cancel may name another cancel: what that one covers counts as well,
	// and is among the seeds already.
	covered := cover(nodes, seeds, func(*entry) bool { return false })
	for _, h := range g.heads {
		if !covered[h.ID] {
			g.beside = append(g.beside, h)
		}
	}
}
