package engine

import (
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/feed"
)

// lateDays is how long a content that came after its own expiry is kept: an edit
// that keeps its notice alive may be on its way, by another road.
const lateDays = 2

// lateItem is a content that came too late to be shown by itself.
type lateItem struct {
	notice  protocol.ContentID
	shred   protocol.Day
	created int64
}

// storeLate keeps a content that has expired by itself out of sight, unless an
// edit that prolongs its notice is here. It does not outlive a restart.
func (e *Engine) storeLate(id protocol.ContentID, original []byte, c protocol.Content) bool {
	if c.ExpiresAt > e.now.Unix() {
		return false
	}
	notice := id
	switch c.Type {
	case protocol.TypeAnnouncement, protocol.TypeMeeting:
	case protocol.TypeEdit:
		ed, err := feed.DecodeEdit(c.Payload)
		if err != nil {
			return false
		}
		notice = ed.Notice
	default:
		return false
	}
	for _, it := range e.items {
		if it.notice == notice && it.content.Type == protocol.TypeEdit && it.content.ExpiresAt > e.now.Unix() {
			return false
		}
	}
	l := lateItem{notice: notice, shred: e.now.Day() + lateDays, created: c.CreatedAt}
	e.late[id] = l
	e.put(tableItems, id[:], original, l.shred)
	return true
}

// showLate shows what came late of a notice that an edit now prolongs.
func (e *Engine) showLate(notice protocol.ContentID) {
	var ids []protocol.ContentID
	for id, l := range e.late {
		if l.notice == notice {
			ids = append(ids, id)
		}
	}
	for _, id := range protocol.SortIDs(ids) {
		shred := e.late[id].shred
		delete(e.late, id)
		if e.showAgain(id) == nil && e.items[id] != nil {
			e.items[id].shred = shred
		}
	}
}

// prolong stores the contents of a notice under the day on which the whole
// notice expires, where that is later than they were stored for.
func (e *Engine) prolong(notice protocol.ContentID) {
	shred, ids := e.prolonged(notice)
	for _, id := range ids {
		if b, err := e.row(tableItems, id[:]); err == nil && b != nil {
			e.items[id].shred = shred
			e.put(tableItems, id[:], b, shred)
		}
	}
}

// prolonged returns the day on which the contents of a notice are to be
// unreadable, and those that are stored for an earlier one.
func (e *Engine) prolonged(notice protocol.ContentID) (protocol.Day, []protocol.ContentID) {
	v, err := e.feed.Get(notice.String(), e.now.Unix(), nil)
	root := e.items[notice]
	if err != nil || root == nil {
		return 0, nil
	}
	expires := v.Expires
	var ids []protocol.ContentID
	for id, it := range e.items {
		if it.notice != notice {
			continue
		}
		ids = append(ids, id)
		if v.Missing && it.content.Type == protocol.TypeEdit {
			// A version between is missing. When it comes, this one may count.
			expires = max(expires, min(it.content.ExpiresAt, root.content.CreatedAt+protocol.MaxNoticeSeconds))
		}
	}
	shred := protocol.DayOf(expires) + 1
	earlier := ids[:0]
	for _, id := range protocol.SortIDs(ids) {
		if it := e.items[id]; it.shred != 0 && it.shred < shred {
			earlier = append(earlier, id)
		}
	}
	return shred, earlier
}
