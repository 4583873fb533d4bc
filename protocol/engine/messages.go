package engine

import (
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// item is a content that was taken in. The text is in the feed and on disk.
type item struct {
	author   identity.MemberID
	device   identity.DeviceID
	seq      uint64
	notice   protocol.ContentID // that it is or amends; zero for names
	shred    protocol.Day       // of its row; 0: kept
	standing feed.Standing
	full     bool             // the feed had no room for it
	content  protocol.Content // without its payload
}

// draft is a message that waits for an epoch to be sent in.
type draft struct {
	_       struct{} `cbor:",toarray"`
	Number  uint64
	Type    protocol.ContentType
	Created int64
	Expires int64
	Payload []byte
}

// applyMessage opens a message and takes its content in. Nothing changes, and
// no key is used up, before everything about it was checked.
func (e *Engine) applyMessage(f protocol.Frame, n *entry) (protocol.Verdict, error) {
	s := e.epochs[n.epoch]
	if _, known := e.devicePublic(f.Device); !known {
		return protocol.Accept, errUnjudged
	}
	if !s.accepted { // nothing is shown under keys that are pending
		if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
			return v, err
		}
		return protocol.Accept, errUnjudged
	}
	// Open looks at the signature before anything that an honest device may do.
	opened, err := s.keys.Open(e.id, f, e.devicePublic)
	switch {
	case errors.Is(err, epoch.ErrReplay):
		v := e.sealedTwice(f, n)
		if v == protocol.Ignore {
			e.noteClosed(n)
		}
		return v, nil
	case errors.Is(err, epoch.ErrSlot):
		return protocol.Ignore, nil
	case err != nil:
		return protocol.Reject, nil
	}
	c := opened.Content
	if mailboxDay(s, c.CreatedAt) != n.day || c.ExpiresAt > c.CreatedAt+protocol.MaxNoticeSeconds {
		return protocol.Reject, nil
	}
	// The envelope is carried as long as any edit may keep the notice alive.
	n.shred = protocol.DayOf(c.CreatedAt+protocol.MaxNoticeSeconds) + 1
	author, v, err := e.judge(f.Device, c)
	if v != protocol.Accept || err != nil {
		return v, err
	}
	if old, ok := e.chainOf(f.Device).links[c.DevSeq]; ok && old.id != opened.ContentID {
		return e.carryTwin(f.Device, n), nil // the first stands
	}
	if err := opened.Commit(); err != nil {
		return protocol.Ignore, nil
	}
	e.dirty(n.epoch, f.Device)
	e.takeContent(opened.Original, c, opened.ContentID, author, n.item)
	if n.shred <= e.now.Day() {
		return protocol.Ignore, nil
	}
	return protocol.Accept, nil
}

// judge says who wrote a content and whether they might, at the operations
// that they had seen.
func (e *Engine) judge(d identity.DeviceID, c protocol.Content) (group.Member, protocol.Verdict, error) {
	roster, ok := e.log.At(c.GovHeads)
	if !ok {
		return group.Member{}, protocol.Accept, errUnjudged
	}
	m, ok := roster.MemberOfDevice(d)
	if !ok {
		return group.Member{}, protocol.Ignore, nil
	}
	switch c.Type {
	case protocol.TypeAnnouncement, protocol.TypeMeeting:
		ok = roster.MayPost(m.ID)
	case protocol.TypeGroupCard, protocol.TypePin:
		ok = m.Role == group.Organiser
	}
	if !ok {
		return group.Member{}, protocol.Ignore, nil
	}
	return m, protocol.Accept, nil
}

// takeContent stores an opened content and shows it. Frame is the first half of the
// item id of the frame in which it came.
func (e *Engine) takeContent(o protocol.Original, c protocol.Content, id protocol.ContentID, author group.Member, frame [16]byte) {
	e.witness(o.Device, c.CreatedAt)
	e.link(o, c, id, frame)
	if it := e.items[id]; it == nil || it.full {
		e.storeOriginal(id, o.Marshal(), c, author) // else it came by a ReBox before
		e.lateUnder(o.Epoch)
	}
}

// knownBy says whether who had seen the heads knew that this device's member is
// in the group. A founder always was.
func (e *Engine) knownBy(heads []protocol.OpID) bool {
	roster, ok := e.log.At(heads)
	return ok && roster.IsMember(e.self.memberID)
}

// storeOriginal stores a content under the key of the day after it expires, and
// shows it. An edit that keeps a notice alive for longer stores what it builds
// on again, under a later day.
func (e *Engine) storeOriginal(id protocol.ContentID, original []byte, c protocol.Content, author group.Member) {
	o, _, err := protocol.ParseOriginal(original)
	if err != nil {
		panic("engine: a content that was checked does not parse")
	}
	if e.outlived(c) || e.storeLate(id, original, c) {
		return
	}
	notice := e.show(id, o.Device, c, author)
	it := e.items[id]
	it.shred = protocol.DayOf(c.ExpiresAt) + 1
	if isName(c.Type) {
		it.shred = 0 // names are kept until newer ones replace them
	} else if it.shred <= e.now.Day() {
		it.shred = e.now.Day() + 1
	}
	if e.policy().HighRisk && it.shred != 0 {
		it.shred = min(it.shred, max(protocol.DayOf(c.CreatedAt+e.textSeconds()), e.now.Day())+1)
	}
	e.put(tableItems, id[:], original, it.shred)
	if c.Type == protocol.TypeEdit && c.ExpiresAt > e.now.Unix() {
		e.showLate(notice)
	}
	if e.amended[notice] {
		e.prolong(notice)
	}
}

func isName(t protocol.ContentType) bool {
	return t == protocol.TypeGroupCard || t == protocol.TypeProfile
}

// show gives a content to the feed. It returns the notice whose view it belongs
// to, zero for names.
func (e *Engine) show(id protocol.ContentID, d identity.DeviceID, c protocol.Content, author group.Member) protocol.ContentID {
	it := &item{author: author.ID, device: d, seq: c.DevSeq, content: c}
	old := e.items[id]
	if old != nil {
		it.shred, it.notice = old.shred, old.notice
		if old.full {
			e.full--
		}
	}
	it.standing = e.standing(it, id)
	e.items[id] = it
	change, err := e.feed.Apply(feed.Item{ID: id, Author: author.ID, Device: d, Content: c, Standing: it.standing,
		Organiser: author.Role == group.Organiser})
	it.content.Payload = nil
	e.feedChanges(c.ExpiresAt)
	e.feedChanges(c.CreatedAt - protocol.MaxAheadSeconds)
	if err != nil {
		if errors.Is(err, feed.ErrFull) {
			it.full = true // offered again once notices that others wait for are here
			e.full++
		}
		return it.notice
	}
	it.notice = change.Notice
	switch {
	case change.Notice == protocol.ContentID{}:
	case change.Notice != id:
		e.amended[change.Notice] = true
	case e.full > 0:
		e.rejudge = true
	}
	if change.Effect != feed.Applied {
		return it.notice
	}
	switch {
	case change.Notice == protocol.ContentID{}:
		// A name can come twice, apart from the message and with it.
		if old == nil || old.full || old.standing != it.standing {
			e.deliver(Event{Kind: EventMembers, ID: author.ID.String()})
		}
	case change.Notice == id && (old == nil || old.full):
		e.deliver(Event{Kind: EventNotice, ID: id.String(), Own: d == e.self.deviceID})
	default:
		e.deliver(Event{Kind: EventChanged, ID: change.Notice.String(), Own: d == e.self.deviceID})
	}
	return it.notice
}

// standing says whether a cut-off in force leaves an item out.
func (e *Engine) standing(it *item, id protocol.ContentID) feed.Standing {
	cut, ok := e.log.Cutoff(it.device, it.content.GovHeads)
	c := e.chainOf(it.device)
	if !ok || c.before(it.seq, id, cut) {
		return feed.Normal
	}
	// A name that came with the Welcome is kept, so that whoever is stopped has one.
	if isName(it.content.Type) && c.startBefore(it.seq, cut) {
		return feed.Normal
	}
	return feed.Folded
}

// judgeItems judges the items of cut-off devices anew after authority or their
// chains changed, and offers what the feed had no room for once more.
func (e *Engine) judgeItems() error {
	if !e.rejudge {
		return nil
	}
	e.rejudge = false
	var ids []protocol.ContentID
	for id, it := range e.items {
		if it.full || e.standing(it, id) != it.standing {
			ids = append(ids, id)
		}
	}
	for _, id := range protocol.SortIDs(ids) {
		if err := e.showAgain(id); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) showAgain(id protocol.ContentID) error {
	b, err := e.row(tableItems, id[:])
	if err != nil || b == nil {
		return err
	}
	o, c, err := protocol.ParseOriginal(b)
	if err != nil {
		return err
	}
	roster, ok := e.log.At(c.GovHeads)
	if !ok {
		return nil
	}
	m, ok := roster.MemberOfDevice(o.Device)
	if !ok {
		return nil
	}
	e.show(id, o.Device, c, m)
	return nil
}

// row reads a row, also one that this Ready is about to store.
func (e *Engine) row(t Table, key []byte) ([]byte, error) {
	if r := e.ready.Persist.find(t, key); r != nil {
		return r.Value, nil
	}
	return e.cfg.Storage.Get(t, key)
}

// write seals a draft in the sending epoch and announces it, or keeps it until
// there is one. It returns the content id, or false if it waits.
func (e *Engine) write(d feed.Draft) (protocol.ContentID, bool, error) {
	if e.frozen {
		return protocol.ContentID{}, false, ErrCopied
	}
	if e.Waiting() || len(e.drafts) > 0 {
		e.putDraft(d)
		return protocol.ContentID{}, false, nil
	}
	id, err := e.seal(d)
	if waitsForEpoch(err) {
		e.putDraft(d)
		return protocol.ContentID{}, false, nil
	}
	return id, err == nil, err
}

func (e *Engine) putDraft(d feed.Draft) {
	number := uint64(1)
	if len(e.drafts) > 0 {
		number = e.drafts[len(e.drafts)-1].Number + 1
	}
	w := draft{Number: number, Type: d.Type, Created: d.CreatedAt, Expires: d.ExpiresAt, Payload: d.Payload}
	e.drafts = append(e.drafts, w)
	e.put(tableDrafts, numberKey(number), wire.Marshal(w), protocol.DayOf(d.ExpiresAt)+1)
}

// waitsForEpoch says whether a message that could not be sealed can be in the
// next epoch: this device has used all its keys of this one, or has none in it.
func waitsForEpoch(err error) bool {
	return errors.Is(err, epoch.ErrExhausted) || errors.Is(err, epoch.ErrSlot) || errors.Is(err, errShare)
}

// seal makes one message of a draft in the sending epoch.
func (e *Engine) seal(d feed.Draft) (protocol.ContentID, error) { return e.sealIn(e.sending, d) }

// sealIn makes one message of a draft in an epoch.
func (e *Engine) sealIn(in protocol.EpochID, d feed.Draft) (protocol.ContentID, error) {
	if e.frozen {
		return protocol.ContentID{}, ErrCopied
	}
	s := e.epochs[in]
	if e.written(in)+protocol.BucketLarge > ownShare {
		return protocol.ContentID{}, errShare
	}
	if err := e.carryOps(in); err != nil {
		return protocol.ContentID{}, err
	}
	d.CreatedAt = e.dated(in, d.CreatedAt)
	st := e.self.state
	c := protocol.Content{Type: d.Type, GovHeads: e.log.Heads(), DevSeq: st.Seq + 1, PrevMsg: st.Last,
		CreatedAt: d.CreatedAt, ExpiresAt: d.ExpiresAt, Payload: d.Payload}
	f, o, err := s.keys.Seal(e.id, e.self.device, c, e.cfg.Random)
	if err != nil {
		return protocol.ContentID{}, err
	}
	id := o.ID(e.id)
	author, v, err := e.judge(e.self.deviceID, c)
	if err != nil || v != protocol.Accept {
		return protocol.ContentID{}, ErrMayNotPost
	}
	day := protocol.DayOf(d.CreatedAt)
	if err := e.sealFrame(in, day, f, protocol.DayOf(d.CreatedAt+protocol.MaxNoticeSeconds)+1); err != nil {
		return protocol.ContentID{}, err
	}
	item := f.ID(e.id)
	e.noteUnsent(in, item, id)
	e.dirty(in, e.self.deviceID)
	e.self.state.Seq, e.self.state.Last = c.DevSeq, id
	e.putChainState()
	e.takeContent(o, c, id, author, [16]byte(item[:16]))
	return id, nil
}

// sealFrame puts a frame of this device, or one that it passes on, into an
// epoch's common mailbox of a day, unless it is there already.
func (e *Engine) sealFrame(id protocol.EpochID, day protocol.Day, f protocol.Frame, shred protocol.Day) error {
	n, put, err := e.putIn(id, day, f, shred)
	if err != nil || !put {
		return err
	}
	if f.Device == e.self.deviceID && (f.Kind == protocol.KindMessage || f.Kind == protocol.KindOriginal) {
		e.notTaken(n)
	}
	e.announce(n)
	return nil
}

// putIn is sealFrame, and tells nobody. Put: it was not there yet.
func (e *Engine) putIn(id protocol.EpochID, day protocol.Day, f protocol.Frame, shred protocol.Day) (n entry, put bool, err error) {
	item := f.ID(e.id)
	if e.held.hasItem(id, item, false) {
		return entry{}, false, nil
	}
	envelope, err := e.common(e.epochs[id], day).Seal(f.Marshal())
	if err != nil {
		return entry{}, false, err
	}
	n = entry{epoch: id, day: day, id: protocol.IDOf(envelope), kind: f.Kind, item: [16]byte(item[:16]), shred: shred}
	e.charge(id, f, len(envelope))
	e.keep(n, envelope)
	return n, true, nil
}

// dated is the time that a message gets in an epoch: its own, unless the epoch has
// no mailbox for that day. Nobody would look into it there.
func (e *Engine) dated(in protocol.EpochID, created int64) int64 {
	if protocol.DayOf(created) < firstDay(e.epochs[in]) {
		return e.now.Unix()
	}
	return created
}

// flushDrafts sends what waited, once there is an epoch to send it in. What
// expired meanwhile is dropped.
func (e *Engine) flushDrafts() (bool, error) {
	if e.Waiting() || len(e.drafts) == 0 || e.frozen {
		return false, nil
	}
	if !e.log.Resolve().IsMember(e.self.memberID) {
		return false, nil
	}
	waiting := slices.Clone(e.drafts)
	for i, d := range waiting {
		if d.Expires > e.now.Unix() {
			_, err := e.seal(feed.Draft{Type: d.Type, CreatedAt: d.Created, ExpiresAt: d.Expires, Payload: d.Payload})
			if waitsForEpoch(err) {
				return i > 0, nil
			}
			if err != nil && !errors.Is(err, ErrMayNotPost) {
				return i > 0, err
			}
		}
		e.drafts = e.drafts[1:]
		e.erase(tableDrafts, numberKey(d.Number))
	}
	return true, nil
}
