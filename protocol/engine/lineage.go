package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// This file judges whether an epoch may move the group on from those before it
// (spec 46 section 9). It steers the choice of the sending epoch and never what
// can be read.

// maxHealsPerDay is how many epochs of one line may have nothing but a heal as
// their reason in a day: each costs every member an exchange of keys.
const maxHealsPerDay = 8

// maxGenAhead is how far the generation of an epoch whose parents are not all
// known here may lie beyond those that are: more epochs than the longest absence
// brings. Generations are numbers of 32 bits, and must not be used up.
const maxGenAhead = 1_024

// lineage remembers, as of version, what was found about epochs.
type lineage struct {
	version   uint64
	justified map[protocol.EpochID]bool
	dates     map[protocol.EpochID]int64
	next      *outlook
	out       map[*epochState][]identity.DeviceID
}

// outOf lists, by epoch, the devices that were to be boxed in it and are out by now,
// where there are any.
func (l *lineage) outOf(e *Engine) map[*epochState][]identity.DeviceID {
	if l.out == nil {
		l.out = map[*epochState][]identity.DeviceID{}
		now := e.log.Resolve().Boxed()
		for _, s := range e.byGen {
			r, ok := e.log.At(s.header.Core.GovHeads)
			if !ok {
				continue
			}
			for _, d := range r.Boxed() {
				if _, in := slices.BinarySearchFunc(now, d, compareDevices); !in {
					l.out[s] = append(l.out[s], d)
				}
			}
		}
	}
	return l.out
}

// outlook is what follows from the epochs for the next one, in a sending epoch.
type outlook struct {
	sending protocol.EpochID
	beside  *epochState
	over    int64
}

// outlook finds when the period of the newest epochs is over, in unix seconds, and the
// epoch of another row that the next one follows, too. It is found once for each
// version: it is asked for at every step.
func (e *Engine) outlook() outlook {
	if n := e.lines().next; n != nil && n.sending == e.sending {
		return *n
	}
	found := outlook{sending: e.sending, beside: e.findBeside()}
	for _, s := range e.tipsHeld() {
		found.over = max(found.over, e.dueOver(s))
	}
	found.over += e.period()
	if x := found.beside; x != nil {
		found.over = max(found.over, min(e.dueOver(x)+e.period(), found.over+e.period()))
	}
	e.lines().next = &found
	return found
}

func (e *Engine) lines() *lineage {
	l := &e.lineage
	if l.justified == nil || l.version != e.version {
		*l = lineage{version: e.version, justified: map[protocol.EpochID]bool{}, dates: map[protocol.EpochID]int64{}}
	}
	return l
}

// justified is the rule that keeps one issuer from moving everybody at will:
// for each epoch that it builds on the epoch leaves somebody out, also one who was back since, takes an operating
// device in, answers a heal, or is an organiser's after an author's, where that one
// does not; or the period is over. What is said later takes no reason away. The epoch that was chosen last stays justified.
func (e *Engine) justified(s *epochState) bool {
	id := s.header.ID()
	if s.header.Core.Gen == 0 || id == e.lastOps {
		return true
	}
	l := e.lines()
	if ok, known := l.justified[id]; known {
		return ok
	}
	l.justified[id] = false // its own ancestor, as far as a forger of ids can get
	ok := e.hasReason(s)
	e.lines().justified[id] = ok
	return ok
}

func (e *Engine) hasReason(s *epochState) bool {
	bases, all := e.bases(s, map[protocol.EpochID]bool{})
	if !all && !e.onSound(s) {
		if b := e.insteadOfUnknown(s); b != nil {
			bases = append(bases, b)
		}
	}
	newest, perBase := int64(-1), true
	for _, p := range bases {
		newest = max(newest, e.dateOf(p))
		perBase = perBase && e.addsTo(s, p)
	}
	if perBase {
		return true
	}
	for _, id := range s.header.Core.Parents {
		if p := e.epochs[id]; p != nil {
			newest = max(newest, e.dateOf(p))
		}
	}
	created := s.header.Core.CreatedAt
	return created >= newest+e.period() && created <= e.now.Unix()+protocol.DaySeconds
}

// bases lists the epochs that one builds on: its parents, and in place of a
// parent in which nobody had a reason to send those before it. Else a forger would
// make the ground for his next epoch himself. All says that every parent on the
// way is known here.
func (e *Engine) bases(s *epochState, seen map[protocol.EpochID]bool) (list []*epochState, all bool) {
	all = true
	for _, id := range s.header.Core.Parents {
		p := e.epochs[id]
		switch {
		case p == nil:
			all = false
		case seen[id]:
		case e.sound(p):
			seen[id] = true
			list = append(list, p)
		default:
			seen[id] = true
			more, known := e.bases(p, seen)
			list, all = append(list, more...), all && known
		}
	}
	return list, all
}

// sound says whether an epoch was made as it has to be, as far as can be told.
func (e *Engine) sound(s *epochState) bool {
	return e.counts(s) && !e.log.Resolve().Rejected(s.header.ID()) && (s.keys == nil || e.isExact(s)) && e.justified(s)
}

// onSound says whether an epoch has its generation from a parent that was made as it
// has to be: then what is not known of the others gives it nothing.
func (e *Engine) onSound(s *epochState) bool {
	return slices.ContainsFunc(s.header.Core.Parents, func(id protocol.EpochID) bool {
		p := e.epochs[id]
		return p != nil && p.header.Core.Gen+1 == s.header.Core.Gen && e.sound(p)
	})
}

// insteadOfUnknown is what an epoch is compared with whose parents are not all
// known here: the epoch that was chosen last. Parents can be invented. Whoever was
// handed the epoch by an organiser, because he was to have no box in it, takes it
// as it is; so does who has no other.
func (e *Engine) insteadOfUnknown(s *epochState) *epochState {
	last := e.epochs[e.lastOps]
	if last == nil || last == s || !last.accepted || !e.standsNow(last) || e.descends(e.lastOps, s.header.ID()) {
		return nil
	}
	then, ok := e.log.At(s.header.Core.GovHeads)
	if !ok {
		return last
	}
	if _, boxed := slices.BinarySearchFunc(then.Boxed(), e.self.deviceID, compareDevices); !boxed && s.keys != nil {
		return nil
	}
	return last
}

// dateOf is when an epoch counts as made, in unix seconds: not before any that it
// builds on, and when it came, if it says that it is made more than a day later.
// What issuers write there may be long ago, or in a hundred years.
func (e *Engine) dateOf(s *epochState) int64 {
	l := e.lines()
	id := s.header.ID()
	if at, known := l.dates[id]; known {
		return at
	}
	at := s.header.Core.CreatedAt
	if s.aheadOfTime() {
		at = s.arrived.Unix()
	}
	l.dates[id] = at
	for _, p := range s.header.Core.Parents {
		if x := e.epochs[p]; x != nil {
			at = max(at, e.dateOf(x))
		}
	}
	l.dates[id] = at
	return at
}

// aheadOfTime says whether an epoch is dated more than a day after it came.
func (s *epochState) aheadOfTime() bool {
	return s.header.Core.CreatedAt > s.arrived.Unix()+protocol.DaySeconds
}

// dueOver is the date from which the period after an epoch runs for who would
// issue the next one. What is dated ahead did not come to all at one time: a day
// more, so that the next one is justified for whoever had it within that day.
func (e *Engine) dueOver(s *epochState) int64 {
	at := e.dateOf(s)
	for _, a := range e.ancestors(s) {
		if a.aheadOfTime() && a.arrived.Unix() == at {
			return at + protocol.DaySeconds
		}
	}
	return at
}

// addsTo says whether an epoch does what one that it builds on does not.
func (e *Engine) addsTo(s, base *epochState) bool {
	if e.log.Answers(s.header.Core.GovHeads, base.header.Core.GovHeads) {
		return true
	}
	if base.header.Core.ByAuthor() && !s.header.Core.ByAuthor() {
		return true
	}
	then, ok := e.log.At(s.header.Core.GovHeads)
	if !ok {
		return false
	}
	if before, ok := e.log.At(base.header.Core.GovHeads); ok && len(outAgain(before, then)) > 0 {
		return true
	}
	line := e.ancestors(base)
	for _, h := range s.header.Core.Heals {
		if e.healCounts(h, then) && !slices.ContainsFunc(line, func(a *epochState) bool { return slices.Contains(a.header.Core.Heals, h) }) {
			return e.mayHeal(line, e.dateOf(s))
		}
	}
	return false
}

// mayHeal says whether one more epoch may have a heal as its reason after those
// of a line.
func (e *Engine) mayHeal(line []*epochState, at int64) bool {
	n := 0
	for _, a := range line {
		if len(a.header.Core.Heals) > 0 && e.dateOf(a) > at-protocol.DaySeconds {
			n++
		}
	}
	return n < maxHealsPerDay
}

// ancestors lists an epoch and those before it that are known here.
func (e *Engine) ancestors(s *epochState) []*epochState {
	list := []*epochState{s}
	seen := map[*epochState]bool{s: true}
	for i := 0; i < len(list); i++ {
		for _, id := range list[i].header.Core.Parents {
			if p := e.epochs[id]; p != nil && !seen[p] {
				seen[p] = true
				list = append(list, p)
			}
		}
	}
	return list
}
