package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// plans is what this device means to do and has not done yet.
type plans struct {
	issue Time // an epoch is due then; 0: none is
	now   bool // this device signed the removal: no waiting for others
	// over is the author's epoch over which this device, an organiser's, issued.
	over  protocol.EpochID
	past  protocol.EpochID // the epoch of others, without a box here, that it followed
	rekey bool             // the newest own KEM key was used
	heal  bool             // the next own KEM key asks for the next epoch
	// issued is how many operations were held when this device issued last; 0: it
	// has not since it was opened.
	issued int
	acks   Time // when keys that are newly held are acknowledged
	// stand is when the last decision is acknowledged, if it is to be.
	stand Time
	// suspend is when evidence against an organiser is answered; 0: there is none.
	suspend Time
	newly   []protocol.ItemID
}

// issueWait is the longest that an organiser's device waits for another one to
// issue an epoch that is due.
var issueWait = Seconds(60)

// issueIfDue issues an epoch when one is needed: a removal that no epoch
// covers, a heal, or the end of the period. Whoever signed the removal issues
// at once, the other organisers wait up to a minute, authors in a small group
// longer, and drop the plan if one comes.
func (e *Engine) issueIfDue() (bool, error) {
	need, err := e.needsEpoch()
	if err != nil {
		return false, err
	}
	if !need || e.waitsForKeys() {
		if !need {
			e.planned.issue, e.planned.now = 0, false
		}
		return false, nil
	}
	if e.planned.now {
		return e.issue()
	}
	if e.planned.issue == 0 {
		least, spread := Time(0), issueWait
		if !e.organises() {
			least, spread = authorWait, authorSpread
		}
		wait, err := e.randomBelow(int64(spread))
		if err != nil {
			return false, err
		}
		e.planned.issue = e.now + least + Time(wait)
	}
	if e.now < e.planned.issue {
		return false, nil
	}
	return e.issue()
}

func (e *Engine) needsEpoch() (bool, error) {
	if e.frozen {
		return false, nil
	}
	if !e.organises() {
		return e.authorNeedsEpoch(), nil
	}
	if e.sending == (protocol.EpochID{}) {
		// One that this device cannot send in by these operations is not followed by
		// another one like it.
		return e.planned.issued != e.log.Len() || e.now >= e.periodOver(), nil
	}
	if x := e.passedBy(); x != nil && e.planned.past != x.header.ID() {
		return true, nil
	}
	s := e.epochs[e.sending]
	if s.header.Core.ByAuthor() && e.planned.over != e.sending {
		return true, nil // no organiser has its secret yet
	}
	for _, h := range e.ring.Heals() {
		if e.healOpen(h) {
			if e.mayHeal(e.ancestors(s), e.now.Unix()) {
				return true, nil
			}
			break
		}
	}
	// An operating device came, or came back. Once is enough here, too.
	if e.log.Answers(e.log.Heads(), s.header.Core.GovHeads) && e.planned.issued != e.log.Len() {
		return true, nil
	}
	return e.now >= e.periodOver(), nil
}

// periodOver is when the period of the newest epochs is over: by the same rule
// by which others take the next one for justified, so that no epoch is issued
// that nobody would send in.
func (e *Engine) periodOver() Time { return Seconds(e.outlook().over) }

// period is after how many seconds keys are renewed without any other reason.
func (e *Engine) period() int64 {
	p := e.policy()
	if p.HighRisk {
		return protocol.DaySeconds
	}
	return int64(p.PeriodDays) * protocol.DaySeconds
}

// healCounts says whether a heal is of a device that is boxed by a roster: who was
// suspended or removed moves nobody.
func (e *Engine) healCounts(h protocol.ItemID, r *group.Roster) bool {
	d, ok := e.ring.HealBy(h)
	if !ok {
		d, ok = e.toldHeal(h)
	}
	if !ok {
		return false
	}
	_, boxed := slices.BinarySearchFunc(r.Boxed(), d, compareDevices)
	return boxed
}

// healOpen says whether a heal is asked for that no epoch that is kept and was
// made as it has to be has answered: else whoever issues could take heals out of
// the world by naming them.
func (e *Engine) healOpen(h protocol.ItemID) bool {
	if !e.healCounts(h, e.log.Resolve()) {
		return false
	}
	for _, k := range e.byGen {
		if slices.Contains(k.header.Core.Heals, h) && (k.erased || e.sound(k)) {
			return false
		}
	}
	return true
}

// issue makes, stores and announces an epoch over all that is known.
func (e *Engine) issue() (bool, error) {
	e.planned.issue, e.planned.now, e.planned.issued, e.planned.over = 0, false, e.log.Len(), e.sending
	if e.ownLane() == (protocol.LanePublic{}) {
		return false, nil
	}
	if x := e.passedBy(); x != nil {
		e.planned.past = x.header.ID()
	}
	d, parents, err := e.draftEpoch()
	if err != nil || len(parents) == 0 && len(e.epochs) > 0 {
		return false, err // with nothing to build on it would be a second beginning
	}
	made, err := epoch.IssueEpoch(d, e.cfg.Random)
	if err != nil {
		return false, fmt.Errorf("issuing an epoch: %w", err)
	}
	e.self.state.EpochSeq = d.Seq
	e.putChainState()
	h, err := epoch.ParseHeader(e.id, made.Header)
	if err != nil {
		panic("engine: an own header does not parse: " + err.Error())
	}
	s := &epochState{header: h, frame: made.Header.Marshal(), exact: true, arrived: e.now}
	e.keepEpoch(s)
	e.adopt(s, made.Keys)
	if err := e.storePages(s, made); err != nil {
		return false, err
	}
	e.usedKEM(len(e.private) - 1) // the header has a box for it, too
	open := slices.DeleteFunc(slices.Clone(parents), func(p *epochState) bool { return p.keys == nil })
	for _, p := range open {
		if err := e.depositHeader(p, s); err != nil {
			return false, err
		}
		if err := e.sealOps(p); err != nil { // some may have been told elsewhere
			return false, err
		}
	}
	if err := e.depositForReturning(s, d.Recipients, open); err != nil {
		return false, err
	}
	if err := e.depositForStarved(s, open); err != nil {
		return false, err
	}
	if _, err := e.acceptEpochs(); err != nil {
		return false, err
	}
	e.putEpoch(s)
	return true, e.sealAgain(s, d.Recipients, parents)
}

// parents lists what the next epoch follows, the highest generations. An epoch that
// was issued while this device was out cannot be opened, and what it follows counts;
// but one that the others send in must be followed.
func (e *Engine) parents() []*epochState {
	tips := e.tips()
	list := slices.DeleteFunc(e.tipsHeld(), func(s *epochState) bool { return e.leftFarBehind(s, tips) })
	if x := e.passedBy(); x != nil {
		list = append(list, x)
		slices.SortFunc(list, compareEpochs)
	}
	if x := e.beside(); x != nil && (e.now >= Seconds(e.dueOver(x)+e.period()) || e.log.Answers(e.log.Heads(), x.header.Core.GovHeads)) {
		list = append(list, x)
		slices.SortFunc(list, compareEpochs)
	}
	if e.organises() && e.now < e.periodOver() {
		list = e.addedTo(list)
	}
	return list[max(0, len(list)-protocol.MaxEpochParents):]
}

// addedTo drops of the parents of an epoch, sorted, those to which it would add
// nothing: it would not be justified (spec 46 section 9). All stay if the rest is of
// a lower generation: then what this device means to do is done.
func (e *Engine) addedTo(parents []*epochState) []*epochState {
	adds := func(p *epochState) bool {
		return p.header.Core.ByAuthor() || e.log.Answers(e.log.Heads(), p.header.Core.GovHeads) ||
			slices.ContainsFunc(e.ring.Heals(), func(h protocol.ItemID) bool {
				return e.healOpen(h) && !slices.ContainsFunc(e.ancestors(p), func(a *epochState) bool { return slices.Contains(a.header.Core.Heals, h) })
			})
	}
	list := slices.DeleteFunc(slices.Clone(parents), func(p *epochState) bool { return !adds(p) })
	if len(list) == 0 || list[len(list)-1].header.Core.Gen < parents[len(parents)-1].header.Core.Gen {
		return parents
	}
	return list
}

// passedBy is the epoch that the others send in although this organiser's device,
// which has a place in the group by now, was to have no box in it: whoever issued it
// did not know that yet. nil: none.
func (e *Engine) passedBy() *epochState {
	if !e.organises() {
		return nil
	}
	used := e.epochs[e.sending]
	for _, s := range slices.Backward(e.byGen) {
		switch {
		case used != nil && s.header.Core.Gen < used.header.Core.Gen:
			return nil
		case s.keys != nil || s.erased || !s.accepted || s.header.Core.ByAuthor():
		case used != nil && used.goesBefore(s):
		case !e.given(s, e.self.deviceID) && e.sound(s) && e.covers(s) && e.log.Answers(e.log.Heads(), s.header.Core.GovHeads):
			return s
		}
	}
	return nil
}

// beside is the epoch of another row that others prefer, while this organiser's device
// cannot tell whether it is made as it has to be: that row began before what is known
// of it here. nil: none. The next epoch follows it, too, or those in it would not
// move; its period is waited for, but for one more than the own at most.
func (e *Engine) beside() *epochState { return e.outlook().beside }

func (e *Engine) findBeside() (best *epochState) {
	used := e.epochs[e.sending]
	if used == nil || !e.organises() {
		return nil
	}
	for _, s := range e.byGen {
		if s != used && e.mayServe(s) && e.counts(s) && e.covers(s) && s.goesBefore(used) && !e.sound(s) && e.rootless(s) &&
			(best == nil || s.goesBefore(best)) {
			best = s
		}
	}
	return best
}

// draftEpoch lists what the next epoch says: every effective device with its
// newest key, over the epochs that nothing has succeeded yet.
func (e *Engine) draftEpoch() (epoch.Draft, []*epochState, error) {
	d := epoch.Draft{Group: e.id, Issuer: e.self.memberID, Device: e.self.device, Hedge: epoch.HedgeKeyOf(e.self.device),
		Seq: e.self.state.EpochSeq + 1, CreatedAt: e.now.Unix(), GovHeads: e.log.Heads()}
	parents := e.parents()
	for _, s := range parents {
		d.Parents = append(d.Parents, epoch.Parent{ID: s.header.ID(), Gen: s.header.Core.Gen})
	}
	var lanes, authors []protocol.LanePublic
	r := e.log.Resolve()
	for _, m := range r.Members() {
		if m.Suspended {
			continue
		}
		for _, dev := range m.Devices {
			k, ok := e.ring.Newest(dev.ID)
			if !ok || e.ring.Flagged(dev.ID) {
				continue
			}
			d.Recipients = append(d.Recipients, epoch.Recipient{Member: m.ID, Device: dev.ID, Key: &k.KEM,
				Operator: dev.Operating})
			switch {
			case m.Role == group.Organiser:
				lanes = append(lanes, k.Lane)
			case r.MayPost(m.ID) && len(r.Boxed()) <= protocol.SmallGroup:
				authors = append(authors, k.Lane)
			}
		}
	}
	lanes = append(lanes, authors...)
	d.Lanes = lanes[:min(len(lanes), protocol.MaxLanes)]
	if !e.organises() {
		d.Inbox, _ = e.inboxOver(parents)
		return d, parents, nil
	}
	for _, h := range e.ring.Heals() {
		if len(d.Heals) < protocol.MaxHeals && e.healOpen(h) {
			d.Heals = append(d.Heals, h)
		}
	}
	return d, parents, nil
}

// leftFarBehind says whether a tip is one only because the headers after it are
// gone: a newer one, not all of whose ancestors are held, had seen all that its
// issuer had. An epoch over both would say nothing that it did not say, and nobody
// would take it for justified.
func (e *Engine) leftFarBehind(s *epochState, tips []*epochState) bool {
	return slices.ContainsFunc(tips, func(t *epochState) bool {
		return t.header.Core.Gen > s.header.Core.Gen && e.rootless(t) &&
			!slices.ContainsFunc(s.header.Core.GovHeads, func(op protocol.OpID) bool { return !e.log.Covers(t.header.Core.GovHeads, op) })
	})
}

// rootless says whether an ancestor of an epoch is not held.
func (e *Engine) rootless(s *epochState) bool {
	seen := map[protocol.EpochID]bool{}
	for queue := slices.Clone(s.header.Core.Parents); len(queue) > 0; queue = queue[1:] {
		p := e.epochs[queue[0]]
		if p == nil {
			return true
		}
		if !seen[queue[0]] {
			seen[queue[0]] = true
			queue = append(queue, p.header.Core.Parents...)
		}
	}
	return false
}

// randomBelow draws a number from 0 to below n.
func (e *Engine) randomBelow(n int64) (int64, error) {
	var b [8]byte
	if _, err := io.ReadFull(e.cfg.Random, b[:]); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b[:]) % uint64(n)), nil
}
