package engine

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// tickExpiry shreds what expired, unless the clock cannot be trusted with it.
// Rows under a day's key go with that key; what memory knows of them goes with it.
func (e *Engine) tickExpiry() error {
	today := e.now.Day()
	if today != e.day {
		e.newDay(today)
	}
	e.doubtClock()
	if !e.mayShred() {
		return nil
	}
	e.trustClock()
	if now := e.now.Unix(); e.feedDue != 0 && now >= e.feedDue || today != e.shredded {
		for _, id := range e.feed.Expire(now) {
			delete(e.items, id)
			e.erase(tableItems, id[:])
			e.deliver(Event{Kind: EventExpired, ID: id.String()})
		}
		e.feedDue, _ = e.feed.NextChange(now)
	}
	if today > e.shredded {
		e.ready.Persist.ShredBefore = today
		e.dropShredded(today)
		if err := e.dropRescue(); err != nil {
			return err
		}
		if err := e.pruneKeyFrames(); err != nil {
			return err
		}
	}
	at := e.nextErase()
	due := today > e.shredded || at != 0 && e.now >= at || e.policy().HighRisk != e.risk
	e.shredded = today
	if due {
		e.eraseDue()
	}
	return nil
}

// newDay makes the mailboxes of the day known.
func (e *Engine) newDay(today protocol.Day) {
	e.day = today
	e.version++
	clear(e.refused)
	e.dropIdleWants()
	e.gateStale = true
	for _, s := range e.byGen {
		if s.keys != nil {
			e.openMailboxes(s)
		}
	}
}

// dropShredded forgets what was shredded on disk.
func (e *Engine) dropShredded(today protocol.Day) {
	for id, n := range e.held.byID {
		if n.shred == 0 || n.shred > today {
			continue
		}
		e.held.remove(n)
		e.unhold(id)
		if s := e.epochs[n.epoch]; s != nil {
			s.recon.Remove(reconItem(n))
		}
	}
	for id, c := range e.closed {
		if c.shred <= today {
			e.dropClosed(id)
		}
	}
	for id, it := range e.items {
		if it.shred != 0 && it.shred <= today {
			delete(e.items, id)
		}
	}
	for id, l := range e.late {
		if l.shred <= today {
			delete(e.late, id)
		}
	}
	e.drafts = slices.DeleteFunc(e.drafts, func(d draft) bool { return protocol.DayOf(d.Expires)+1 <= today })
	e.dropOldNames()
	e.dropExpiredRequests()
	e.dropExpiredInvites()
}

// dropOldNames forgets names that newer ones replaced.
func (e *Engine) dropOldNames() {
	newest := e.feed.Newest()
	var ids []protocol.ContentID
	for id, it := range e.items {
		if isName(it.content.Type) && !slices.Contains(newest, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range protocol.SortIDs(ids) {
		delete(e.items, id)
		e.erase(tableItems, bytes.Clone(id[:]))
	}
}

// dropRescue forgets mailboxes for joiners whose rows are gone.
func (e *Engine) dropRescue() error {
	stored := map[protocol.MailboxID]bool{}
	err := e.cfg.Storage.Keys(tableRescue, nil, func(key []byte) error {
		if len(key) == 36 {
			stored[protocol.MailboxID(key[:32])] = true
		}
		return nil
	})
	for id := range e.rescue {
		if err == nil && !stored[id] && e.ready.Persist.find(tableRescue, mailboxKey(id, 0)) == nil {
			delete(e.rescue, id)
		}
	}
	return err
}

// pruneKeyFrames deletes the stored key updates that newer ones of their device
// replaced: what the ring keeps stays, and so does what waits for something that
// is missing.
func (e *Engine) pruneKeyFrames() error {
	type keptKeys struct {
		oldest uint64
		kept   map[protocol.ItemID]bool
	}
	devices := map[identity.DeviceID]*keptKeys{}
	kept := func(d identity.DeviceID) *keptKeys {
		if r := devices[d]; r != nil {
			return r
		}
		r := &keptKeys{oldest: e.ring.OldestKept(d), kept: map[protocol.ItemID]bool{}}
		for _, f := range e.ring.Frames(d) {
			r.kept[f.ID(e.id)] = true
		}
		devices[d] = r
		return r
	}
	return e.scan(tableKeyFrames, func(key, value []byte) error {
		f, err := protocol.ParseFrame(value)
		if err != nil || f.Kind != protocol.KindKeyUpdate {
			return err
		}
		u, err := group.ParseKeyUpdate(f)
		if err != nil {
			return err
		}
		if r := kept(f.Device); u.Counter < r.oldest && !r.kept[f.ID(e.id)] {
			e.erase(tableKeyFrames, bytes.Clone(key))
		}
		return nil
	})
}

// wake returns when Step(Tick) is due.
func (e *Engine) wake() Time {
	var next Time
	earlier := func(t Time) {
		if t > 0 && (next == 0 || t < next) {
			next = max(t, e.now+1)
		}
	}
	if e.join != nil {
		return 0
	}
	earlier(e.wantsDue)
	for _, l := range e.ferries {
		earlier(l.heard + ferryPatience)
	}
	collects := e.collects()
	for _, p := range e.peers {
		if p.dialled && p.class == ClassMember && !p.old {
			earlier(p.nextRec)
		}
		if collects && p.keyLink() {
			earlier(p.nextKeys)
		}
		earlier(p.until)
		if p.parted != 0 {
			earlier(p.parted + partFor)
		}
	}
	earlier(e.planned.issue)
	earlier(e.resendAt())
	earlier(e.nextPage())
	earlier(e.nextHand())
	if e.keyset.lackingSince != 0 {
		earlier(e.keyset.lackingSince + keyWaitFor)
	}
	earlier(e.nextKnock())
	if !e.frozen {
		earlier(e.planned.acks)
		earlier(e.repair.due)
		earlier(e.repair.again)
		earlier(e.carrying.due)
		earlier(e.rejects.next())
		earlier(e.starvedDue())
		earlier(e.lostDue())
		earlier(e.heldDue())
		earlier(e.planned.suspend)
		if a := &e.authority; a.stand != (protocol.OpID{}) && !a.alarm && e.canSign() {
			earlier(e.planned.stand)
		}
	}
	if e.mayShred() {
		earlier(Seconds(e.feedDue))
		earlier(e.nextErase())
		earlier(e.nextKEM())
	}
	earlier(Seconds(int64(e.now.Day()+1) * protocol.DaySeconds))
	if e.sending != (protocol.EpochID{}) && e.organises() {
		if at := e.periodOver(); at > e.now {
			earlier(at) // from then on planned.issue says when
		}
	}
	return next
}

// feedChanges notes a time, in unix seconds, at which a content starts to be
// shown or expires. Asking the feed anew after every message would cost a look at
// every notice.
func (e *Engine) feedChanges(at int64) {
	if at > e.now.Unix() && (e.feedDue == 0 || at < e.feedDue) {
		e.feedDue = at
	}
}
