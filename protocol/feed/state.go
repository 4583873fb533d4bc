package feed

import (
	"fmt"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Bounds of what a State holds (spec 50 section 2 rule 7).
const (
	MaxEdits      = 64      // per editor and notice
	MaxCancels    = 8       // the same; apart, so that edits never bar a cancel
	MaxWaiting    = 64      // per editor, of notices that are not here
	MaxWaitingAll = 1_024   // the same over all editors who are not organisers
	MaxItems      = 131_072 // of all kinds
)

// Standing says whether a cut-off leaves an item out.
type Standing uint8

// Standings. The zero value is none, so that forgetting it is an error.
const (
	Normal Standing = iota + 1
	Folded          // kept, never shown, supersedes nothing
)

// Item is a content whose signature holds, with what the layer above judged.
type Item struct {
	ID        protocol.ContentID
	Author    identity.MemberID
	Device    identity.DeviceID
	Content   protocol.Content // not kept; the text of what counts is copied
	Standing  Standing
	Organiser bool // Author was an organiser at Content.GovHeads
}

// Effect says what became of an item.
type Effect uint8

// Effects.
const (
	Applied  Effect = iota + 1 // it counts
	Waiting                    // its notice, or a version that it covers, is not here
	NoEffect                   // folded, not allowed, or not fitting its notice
	Unknown                    // its type is not known; it is listed as such
)

// Change is the result of Apply.
type Change struct {
	Effect Effect
	Notice protocol.ContentID // whose view may have changed; zero for names
}

// entry is what is kept of an item.
type entry struct {
	Item
	amends *Amends // for edits and cancels
	cancel *Cancel // for cancels
	pin    *Pin    // for pins
	notice Notice  // of notices and edits; Texts are dropped if it cannot be shown
	name   string
	ver    uint64 // of names and pins
}

// thread is a notice with its amendments. Without a root they wait.
type thread struct {
	root   *entry
	amends map[protocol.ContentID]*entry
}

// State is all that was applied. It is not safe for concurrent use.
type State struct {
	items      map[protocol.ContentID]*entry
	threads    map[protocol.ContentID]*thread
	pins       map[protocol.ContentID]map[protocol.ContentID]*entry // by notice
	waiting    map[identity.MemberID]int
	waitingAll int // of editors who are not organisers
}

// New returns an empty state.
func New() *State {
	return &State{
		items:   map[protocol.ContentID]*entry{},
		threads: map[protocol.ContentID]*thread{},
		pins:    map[protocol.ContentID]map[protocol.ContentID]*entry{},
		waiting: map[identity.MemberID]int{},
	}
}

// Apply takes an item in. An item that was applied before is judged anew with
// the standing and the role that it now has; the same judgement changes nothing.
// Errors wrap ErrItem, ErrPayload or ErrFull; the state is then unchanged.
func (s *State) Apply(it Item) (Change, error) {
	e, err := read(it)
	if err != nil {
		return Change{}, err
	}
	old := s.items[it.ID]
	if old != nil && (old.Author != it.Author || old.Content.Type != it.Content.Type) {
		return Change{}, fmt.Errorf("%w: another author or type than before", ErrItem)
	}
	// A new judgement is never refused for lack of room: it may take a right away.
	if old != nil {
		s.remove(old)
	} else if err := s.room(e); err != nil {
		return Change{}, err
	}
	s.insert(e)
	return Change{Effect: s.effect(e), Notice: e.about()}, nil
}

// read decodes what an item says.
func read(it Item) (*entry, error) {
	if it.ID == (protocol.ContentID{}) || it.Author == (identity.MemberID{}) ||
		it.Standing != Normal && it.Standing != Folded || it.Content.Type == 0 {
		return nil, ErrItem
	}
	payload := it.Content.Payload
	it.Content.Payload, it.Content.GovHeads = nil, nil
	e := &entry{Item: it}
	var err error
	switch it.Content.Type {
	case protocol.TypeAnnouncement, protocol.TypeMeeting:
		e.notice, err = DecodeNotice(it.Content.Type, payload)
	case protocol.TypeEdit:
		var ed Edit
		ed, err = DecodeEdit(payload)
		e.amends, e.notice = &ed.Amends, ed.Next
	case protocol.TypeCancel:
		var c Cancel
		c, err = DecodeCancel(payload)
		e.amends, e.cancel = &c.Amends, &c
	case protocol.TypePin:
		var p Pin
		p, err = DecodePin(payload)
		e.pin, e.ver = &p, p.Version
	case protocol.TypeGroupCard:
		var c GroupCard
		c, err = DecodeGroupCard(payload)
		e.name, e.ver = c.Name, c.Version
	case protocol.TypeProfile:
		var p Profile
		p, err = DecodeProfile(payload)
		e.name, e.ver = p.Name, p.Version
	default:
		e.notice.Type = it.Content.Type
	}
	if err != nil {
		return nil, err
	}
	if it.Standing == Folded {
		e.dropText()
	}
	return e, nil
}

// dropText forgets what is never shown. The place among the versions stays.
func (e *entry) dropText() {
	e.notice = Notice{Type: e.notice.Type}
	if e.cancel != nil {
		e.cancel = &Cancel{Amends: *e.amends}
	}
	e.name = ""
}

// about is the notice that an entry belongs to, or zero for a name.
func (e *entry) about() protocol.ContentID {
	switch {
	case e.amends != nil:
		return e.amends.Notice
	case e.pin != nil:
		return e.pin.Notice
	case e.isName():
		return protocol.ContentID{}
	}
	return e.ID
}

func (e *entry) isName() bool {
	return e.Content.Type == protocol.TypeGroupCard || e.Content.Type == protocol.TypeProfile
}

// may says whether the editor may amend the notice.
func (e *entry) may(root *entry) bool { return e.Organiser || e.Author == root.Author }

// room checks the bounds before e is inserted.
func (s *State) room(e *entry) error {
	if len(s.items) >= MaxItems {
		return ErrFull
	}
	if e.pin != nil {
		return s.pinRoom(e)
	}
	if e.amends == nil {
		return nil
	}
	t := s.threads[e.amends.Notice]
	n, most := 0, MaxEdits
	if e.cancel != nil {
		most = MaxCancels
	}
	if t != nil {
		for _, o := range t.amends {
			if o.Author == e.Author && (o.cancel != nil) == (e.cancel != nil) {
				n++
			}
		}
	}
	if n >= most {
		return ErrFull
	}
	if t == nil || t.root == nil {
		if s.waiting[e.Author] >= MaxWaiting || !e.Organiser && s.waitingAll >= MaxWaitingAll {
			return ErrFull
		}
	}
	return nil
}

func (s *State) insert(e *entry) {
	s.items[e.ID] = e
	if e.isName() {
		return
	}
	if e.pin != nil {
		s.insertPin(e)
		return
	}
	id := e.about()
	t := s.threads[id]
	if t == nil {
		t = &thread{amends: map[protocol.ContentID]*entry{}}
		s.threads[id] = t
	}
	if e.amends == nil {
		t.root = e
		for _, a := range t.amends {
			s.countWaiting(a, -1)
			if !a.may(e) {
				a.dropText()
			}
		}
		return
	}
	t.amends[e.ID] = e
	if t.root == nil {
		s.countWaiting(e, 1)
	} else if !e.may(t.root) {
		e.dropText()
	}
}

func (s *State) remove(e *entry) {
	delete(s.items, e.ID)
	if e.isName() {
		return
	}
	if e.pin != nil {
		s.removePin(e)
		return
	}
	id := e.about()
	t := s.threads[id]
	if e.amends == nil {
		t.root = nil
		for _, a := range t.amends {
			s.countWaiting(a, 1)
		}
	} else {
		delete(t.amends, e.ID)
		if t.root == nil {
			s.countWaiting(e, -1)
		}
	}
	if t.root == nil && len(t.amends) == 0 {
		delete(s.threads, id)
	}
}

func (s *State) countWaiting(e *entry, n int) {
	if s.waiting[e.Author] += n; s.waiting[e.Author] == 0 {
		delete(s.waiting, e.Author)
	}
	if !e.Organiser {
		s.waitingAll += n
	}
}

// effect says what became of an entry that was inserted.
func (s *State) effect(e *entry) Effect {
	switch {
	case e.Standing == Folded, (e.pin != nil || e.Content.Type == protocol.TypeGroupCard) && !e.Organiser:
		return NoEffect
	case e.pin != nil && !s.here(e.pin.Notice):
		return Waiting
	case e.isName(), e.pin != nil:
		return Applied
	case e.amends == nil:
		if isNotice(e.Content.Type) {
			return Applied
		}
		return Unknown
	}
	t := s.threads[e.amends.Notice]
	switch {
	case t.root == nil:
		return Waiting
	case !e.may(t.root):
		return NoEffect
	case e.cancel != nil:
		return Applied
	}
	g := t.graph(s, MaxInstant)
	switch {
	case g.valid[e.ID]:
		return Applied
	case g.pending[e.ID]:
		return Waiting
	}
	return NoEffect
}
