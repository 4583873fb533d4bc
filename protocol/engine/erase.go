package engine

import (
	"bytes"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// What is erased, and when, is the table of spec 35. Days are those of the
// policy in force: a change of policy holds from the next step on.

// Bounds of the table that the policy does not set itself; the second of each
// pair is for groups at high risk.
const (
	riskRetentionDays = 7
	riskTextDays      = 30
	headerDays        = 90
	headerDaysRisk    = 30
	presenceDays      = 2
	presenceDaysRisk  = 1
	activeDays        = 14
	activeDaysRisk    = 3
)

func days(n int64) Time { return Seconds(n * protocol.DaySeconds) }

// byRisk picks the bound that the policy in force asks for.
func (e *Engine) byRisk(standard, risk int64) int64 {
	if e.policy().HighRisk {
		return risk
	}
	return standard
}

// retention is how long the secrets of a superseded epoch are kept.
func (e *Engine) retention() Time {
	keep := int64(e.policy().RetentionDays)
	return days(min(keep, e.byRisk(keep, riskRetentionDays)))
}

// textSeconds is the longest that a text is readable after it was written.
func (e *Engine) textSeconds() int64 {
	return e.byRisk(protocol.MaxNoticeSeconds, riskTextDays*protocol.DaySeconds)
}

// outlived says whether a content is older than texts may get. Names hold until
// they are replaced.
func (e *Engine) outlived(c protocol.Content) bool {
	return !isName(c.Type) && e.now.Unix() >= c.CreatedAt+e.textSeconds()
}

// eraseDue erases what the table says is due beside what goes with its day.
func (e *Engine) eraseDue() {
	e.eraseOldTexts()
	e.eraseOldPresence()
	e.noteAbandoned()
	e.eraseOldEpochs()
	e.eraseOldHeaders()
	e.eraseOldSeeds()
	e.eraseOldPages()
	e.risk = e.policy().HighRisk
}

// nextErase is when the next secrets of an epoch are due. A text's 30 days at
// high risk end within a day that is looked at when it begins and when it ends;
// the feed tells of all others.
func (e *Engine) nextErase() (next Time) {
	for _, s := range e.byGen {
		if s.keys != nil && s.covered != 0 && !e.inUse(s) {
			if at := s.covered + e.retention(); next == 0 || at < next {
				next = at
			}
		}
	}
	if at := e.nextSeed(); at != 0 && (next == 0 || at < next) {
		next = at
	}
	return next
}

// inUse says whether an epoch's secrets are needed whatever its age.
func (e *Engine) inUse(s *epochState) bool {
	id := s.header.ID()
	return id == e.sending || id == e.lastOps
}

// eraseOldTexts forgets contents that are older than texts may get in a group at
// high risk, whatever their authors wished.
func (e *Engine) eraseOldTexts() {
	if !e.policy().HighRisk {
		return
	}
	for _, id := range e.feed.ExpireOlder(e.now.Unix() - e.textSeconds()) {
		delete(e.items, id)
		e.erase(tableItems, id[:])
		e.deliver(Event{Kind: EventExpired, ID: id.String()})
	}
	for id, l := range e.late {
		if l.created+e.textSeconds() <= e.now.Unix() {
			delete(e.late, id)
			e.erase(tableItems, bytes.Clone(id[:]))
		}
	}
}

// eraseOldPresence forgets addresses that were kept for a longer time than the
// policy now allows.
func (e *Engine) eraseOldPresence() {
	limit := protocol.Day(e.byRisk(presenceDays, presenceDaysRisk))
	today := e.now.Day()
	var old []entry
	for _, n := range e.held.byID {
		if n.kind == protocol.KindPresence && n.day+limit <= today {
			old = append(old, n)
		}
	}
	sortEntries(old)
	for _, n := range old {
		e.forget(n)
	}
	for d, p := range e.addresses.others {
		if e.presenceOver(p) {
			delete(e.addresses.others, d)
		}
	}
}

// noteAbandoned starts the time of epochs that nothing will ever name as a
// parent, while the group went on without them: those that were opened and not
// accepted, or are not made as they have to be, or lost their standing; and the last
// one of before this device was away, when all between is gone.
func (e *Engine) noteAbandoned() {
	used := e.epochs[e.lastOps]
	if used == nil || e.sending != e.lastOps {
		return
	}
	for _, s := range e.byGen {
		if s.keys == nil || s.covered != 0 || e.inUse(s) || s.header.Core.Gen >= used.header.Core.Gen {
			continue
		}
		if !e.counts(s) || !e.standsNow(s) || !e.sound(s) || e.leftFarBehind(s, e.tips()) {
			e.cover(s)
		}
	}
}

// eraseOldEpochs erases the secrets of epochs that were superseded for as long as
// the policy keeps them, and what was held under them.
func (e *Engine) eraseOldEpochs() {
	keep := e.retention()
	for _, s := range e.byGen {
		if s.keys == nil || s.covered == 0 || e.now < s.covered+keep || e.inUse(s) {
			continue
		}
		id := s.header.ID()
		for _, d := range s.keys.Senders() {
			e.erase(tableChains, chainKey(id, d))
			delete(e.senders, senderKey{id, d})
		}
		e.erase(tableSecrets, s.id())
		e.dropShares(id)
		e.dropServed(id)
		for _, n := range e.held.ofEpoch(id, func(entry) bool { return true }) {
			e.forget(n)
			if _, waits := e.waiting[n.id]; waits {
				e.settleWaiting(n.id)
			}
		}
		for _, c := range e.closed {
			if c.epoch == id {
				e.dropClosed(c.id)
			}
		}
		for box, at := range e.mailboxes {
			if at.epoch == id {
				delete(e.mailboxes, box)
			}
		}
		s.keys, s.erased = nil, true
		e.version++
		e.putEpoch(s)
		e.gateStale = true
		e.cutLog()
	}
}

// eraseOldHeaders forgets the headers of epochs whose secrets are erased, some weeks
// after they were succeeded. Whoever comes from one part of the group into another one
// judges by them what leads on from there. Oldest first, and never one whose parent's
// mailboxes are open: it could come again.
func (e *Engine) eraseOldHeaders() {
	keep := days(e.byRisk(headerDays, headerDaysRisk))
	for _, s := range e.byGen {
		if s.keys != nil || s.covered == 0 || e.now < s.covered+keep || e.inUse(s) || e.hasParent(s) || e.answersOpenHeal(s) {
			continue
		}
		e.dropPages(s, true)
		e.dropShares(s.header.ID()) // of what came by rescue mailboxes since
		e.dropEpoch(s)
		e.erase(tableEpochs, s.id())
		e.version++
	}
}

func (e *Engine) hasParent(s *epochState) bool {
	for _, p := range s.header.Core.Parents {
		if e.epochs[p] != nil {
			return true
		}
	}
	return false
}

// answersOpenHeal says whether forgetting the header would make a heal that was
// answered look as if it was not.
func (e *Engine) answersOpenHeal(s *epochState) bool {
	for _, h := range s.header.Core.Heals {
		if e.ring.IsHeal(h) {
			return true
		}
	}
	return false
}

// cutLog makes the store wipe its log with this batch (spec 80 section 7): what
// was erased lies in it until then. Nothing is shredded that was not already.
func (e *Engine) cutLog() {
	if e.shredded == 0 {
		return // the first step after opening shreds anyway
	}
	p := &e.ready.Persist
	p.ShredBefore = max(p.ShredBefore, e.shredded)
	e.put(tableMeta, keyCut, []byte{1}, p.ShredBefore)
}

// signed takes note that a device signed something that bears no date, at a time
// of this clock.
func (e *Engine) signed(d identity.DeviceID, at Time) {
	if e.active.seen == nil {
		e.active.seen = map[identity.DeviceID]int64{}
	}
	e.active.seen[d] = max(e.active.seen[d], at.Unix())
}

// activity is when devices last signed something, in unix seconds.
type activity struct {
	seen    map[identity.DeviceID]int64 // acknowledgements and keys
	dated   map[identity.DeviceID]int64 // operations and headers, as of version
	version uint64
}

// isActive says whether a device signed something in the last 14 days (3 at high
// risk). Epochs are not waited for from one that did not. Who was away has heard
// of nobody, and takes everybody for active until members are connected.
func (e *Engine) isActive(d identity.DeviceID) bool {
	if late := e.lateFrom(); late == 0 || e.now < late || !e.mayShred() {
		return true
	}
	a := &e.active
	if a.dated == nil || a.version != e.version {
		a.dated, a.version = map[identity.DeviceID]int64{}, e.version
		for _, f := range e.log.Frames() {
			if op, _, ok := e.log.Op(protocol.OpID(f.ID(e.id))); ok {
				a.dated[f.Device] = max(a.dated[f.Device], op.CreatedAt)
			}
		}
		for _, s := range e.byGen {
			a.dated[s.header.Device] = max(a.dated[s.header.Device], s.header.Core.CreatedAt)
		}
	}
	last := max(a.seen[d], a.dated[d], e.clock.dates[d])
	return last >= e.now.Unix()-e.byRisk(activeDays, activeDaysRisk)*protocol.DaySeconds
}

// loadActivity reads the acknowledgements that are held again, and of the last two
// days what devices asked of the organisers: nothing else is stored of what they say.
func (e *Engine) loadActivity() {
	for _, s := range e.keptEpochs() {
		for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool {
			return n.kind == protocol.KindAck || n.isKey() || n.kind == protocol.KindInbox && n.day+2 > e.now.Day()
		}) {
			f, _, err := e.frameOf(n)
			if err != nil {
				continue
			}
			switch f.Kind {
			case protocol.KindAck:
				e.noteAck(f)
			case protocol.KindInbox:
				if _, err := e.applyInbox(f); err != nil {
					continue
				}
			}
			e.signed(f.Device, days(int64(n.day)))
		}
	}
	for _, it := range e.items {
		if it.device != e.self.deviceID {
			e.signed(it.device, Seconds(it.content.CreatedAt))
		}
	}
}
