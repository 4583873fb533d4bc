package engine

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of the epochs of one member that are kept: those that cannot be judged
// yet (group keys section 4.2), and those that were judged and lead nowhere. They
// are bounds of one member each, so that nobody takes the places of others.
const (
	maxPending = 16
	maxAside   = 16
	partedDays = 60
)

// asidePlaces is how many epochs of one member are kept that lead nowhere. A part of
// the group that the others do not reach for weeks goes on renewing its keys, and what
// it is in then is among them: there is a place for each period of 60 days more.
func (e *Engine) asidePlaces() int {
	return maxAside + int(partedDays*protocol.DaySeconds/e.period())
}

// epochRecord is what the disk holds of an epoch beside its secrets.
type epochRecord struct {
	_        struct{} `cbor:",toarray"`
	Frame    []byte
	Accepted bool
	Exact    bool
	Covered  int64 // Time
	Arrived  int64
	Erased   bool   // the secrets were erased, and are not to be won again
	Asked    uint32 // see epochState
}

// applyHeader takes an epoch header in. It is opened at once where a box of it
// is for this device, and counts once it is accepted.
func (e *Engine) applyHeader(f protocol.Frame) (protocol.Verdict, error) {
	if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
		return v, err
	}
	h, err := epoch.ParseHeader(e.id, f)
	if err != nil {
		return protocol.Reject, nil
	}
	if s := e.epochs[h.ID()]; s != nil {
		if s.keys == nil || e.hasGap(s) {
			e.version++ // it can be asked for where this lies: see lost
		}
		return protocol.Accept, nil
	}
	if h.Core.Gen == 0 {
		return protocol.Ignore, nil // the first epoch comes with the Welcome only
	}
	// Whoever may not issue must not take a place among those that wait.
	roster, ok := e.log.At(h.Core.GovHeads)
	pending, aside := e.issuedBy(h.Core.Issuer)
	switch {
	case ok && !mayIssue(roster, h), h.Core.ByAuthor() && !e.authoredRoom(h):
		return protocol.Ignore, nil
	case !ok && !mayIssue(e.log.Resolve(), h), pending >= maxPending && !e.dropOldest(h), aside >= e.asidePlaces():
		// Who comes back lacks the keys by which he would see that those that came
		// first lead on.
		return protocol.Accept, errUnjudged
	}
	if _, err := h.CheckGen(e.genOf); err != nil {
		return protocol.Ignore, nil
	}
	s := &epochState{header: h, frame: f.Marshal(), arrived: e.now}
	e.keepEpoch(s)
	e.putEpoch(s)
	e.version++
	e.authority.judged = nil // it may be the second under its number
	return protocol.Accept, nil
}

// dropOldest makes room among those that cannot be judged yet for a newer one of the
// same issuer: who was apart for weeks is given many headers that he can neither open
// nor follow, and what is sent in now is the newest. False: there is no older one.
func (e *Engine) dropOldest(h *epoch.Header) bool {
	for _, s := range e.byGen {
		if s.header.Core.Gen >= h.Core.Gen {
			return false
		}
		if s.header.Core.Issuer == h.Core.Issuer && !s.accepted && !s.erased && s.keys == nil {
			e.dropPages(s, true)
			e.dropEpoch(s)
			e.erase(tableEpochs, s.id())
			e.version++
			return true
		}
	}
	return false
}

// issuedBy counts a member's epochs that cannot be judged yet, and those from
// which nothing follows: nobody sent in them, and the group does not build on them.
func (e *Engine) issuedBy(m identity.MemberID) (pending, aside int) {
	var used map[*epochState]bool
	for _, s := range e.byGen {
		switch {
		case s.header.Core.Issuer != m || s.erased:
		case !s.accepted:
			pending++
		case !e.sound(s):
			if used == nil {
				used = map[*epochState]bool{}
				for _, id := range []protocol.EpochID{e.sending, e.lastOps} {
					if x := e.epochs[id]; x != nil {
						for _, a := range e.ancestors(x) {
							used[a] = true
						}
					}
				}
			}
			if !used[s] {
				aside++
			}
		}
	}
	return pending, aside
}

// genOf is the generation of an epoch that was accepted: what any other one writes
// there was not checked.
func (e *Engine) genOf(id protocol.EpochID) (uint32, bool) {
	if p := e.epochs[id]; p != nil && p.accepted {
		return p.header.Core.Gen, true
	}
	return 0, false
}

// openPending tries own KEM keys on headers that are not opened.
func (e *Engine) openPending() (bool, error) {
	did := false
	for _, s := range e.byGen {
		newest := e.private[len(e.private)-1].counter + 1
		if s.keys != nil || s.tried == newest || s.erased {
			continue
		}
		s.tried = newest
		for i := range slices.Backward(e.private) { // the newest is the likeliest
			if e.private[i].gone {
				continue
			}
			keys, err := e.openBox(s, &e.private[i])
			if errors.Is(err, epoch.ErrPageMissing) {
				break // once it is here, the next key is tried
			}
			if err != nil {
				continue
			}
			if !e.organises() {
				e.forgetWants(s.header.ID())
			}
			e.adopt(s, keys)
			e.usedKEM(i)
			did = true
			break
		}
	}
	return did, nil
}

// adopt puts the secrets of an epoch into use: for fetching what it holds, and
// for reading. Nothing is sent under them before the epoch is chosen.
func (e *Engine) adopt(s *epochState, keys *epoch.Keys) {
	s.keys = keys
	e.version++
	s.tag = keys.Net().Recon()
	e.put(tableSecrets, s.id(), keys.MarshalBase(), 0)
	e.openMailboxes(s)
	clear(e.refused) // what was for a mailbox that was not known is for this one
	e.gateStale, e.retry = true, true
	e.reconcileNew(s)
}

// acceptEpochs accepts headers whose operations and parents are held and whose
// issuer had the right.
func (e *Engine) acceptEpochs() (bool, error) {
	did := false
	for _, s := range e.byGen {
		if s.accepted || !e.acceptable(s) {
			continue
		}
		s.accepted, did = true, true
		e.version++
		e.putEpoch(s)
		e.retry = true
	}
	if did {
		e.noteCovered()
	}
	return did, nil
}

// noteCovered starts the time after which the secrets of an epoch that an
// accepted one succeeded are erased, whichever of the two came first.
func (e *Engine) noteCovered() {
	succeeded := e.succeeded()
	for _, s := range e.byGen {
		if s.covered == 0 && succeeded[s.header.ID()] {
			e.cover(s)
		}
	}
}

// succeeded is the set of epochs that an accepted one that counts names as its
// parent.
func (e *Engine) succeeded() map[protocol.EpochID]bool {
	set := map[protocol.EpochID]bool{}
	for _, s := range e.byGen {
		if !e.counts(s) {
			continue
		}
		for _, p := range s.header.Core.Parents {
			set[p] = true
		}
	}
	return set
}

// tips lists the accepted epochs that nothing has succeeded yet, in order of
// generation, then id. What is not made as it has to be neither counts nor
// succeeds: whoever it leaves out would not find what builds on it.
func (e *Engine) tips() []*epochState { return e.tipsOf(e.sound) }

// tipsHeld are those on which this device can build: it holds their keys. If
// there is nothing sound left, they are those that nobody rejected.
func (e *Engine) tipsHeld() []*epochState {
	list := e.tipsOf(func(s *epochState) bool { return s.keys != nil && e.sound(s) })
	if len(list) > 0 {
		return list
	}
	roster := e.log.Resolve()
	return e.tipsOf(func(s *epochState) bool { return e.counts(s) && s.keys != nil && !roster.Rejected(s.header.ID()) })
}

func (e *Engine) tipsOf(counts func(*epochState) bool) []*epochState {
	var list []*epochState
	succeeded := map[protocol.EpochID]bool{}
	for _, s := range e.byGen {
		if counts(s) {
			list = append(list, s)
			for _, p := range s.header.Core.Parents {
				succeeded[p] = true
			}
		}
	}
	return slices.DeleteFunc(list, func(s *epochState) bool { return succeeded[s.header.ID()] })
}

// mayIssue says whether the roster lets the header's device issue epochs: an
// organiser's operating device, or in a small group one of who may post.
func mayIssue(r *group.Roster, h *epoch.Header) bool {
	m, ok := r.MemberOfDevice(h.Device)
	if !ok || m.ID != h.Core.Issuer || m.Suspended {
		return false
	}
	if h.Core.ByAuthor() {
		return r.MayPost(m.ID) && len(r.Boxed()) <= protocol.SmallGroup
	}
	return r.IsOrganiser(h.Device)
}

func (e *Engine) acceptable(s *epochState) bool {
	c := &s.header.Core
	roster, ok := e.log.At(c.GovHeads)
	if !ok {
		return false
	}
	if !mayIssue(roster, s.header) {
		return false
	}
	held, err := s.header.CheckGen(e.genOf)
	// Parents that were erased, or that came before this device, are not
	// waited for: the box and the operations say enough.
	return err == nil && (held || s.keys != nil && c.Gen <= e.highestGen()+maxGenAhead)
}

// highestGen is the highest generation among the accepted epochs.
func (e *Engine) highestGen() (gen uint32) {
	for _, s := range e.byGen {
		if s.accepted {
			gen = max(gen, s.header.Core.Gen)
		}
	}
	return gen
}

func (s *epochState) id() []byte {
	id := s.header.ID()
	return id[:]
}

func (e *Engine) putEpoch(s *epochState) {
	e.put(tableEpochs, s.id(), wire.Marshal(epochRecord{Frame: s.frame, Accepted: s.accepted, Exact: s.exact,
		Covered: int64(s.covered), Arrived: int64(s.arrived), Erased: s.erased, Asked: s.asked}), 0)
}

// keepEpoch takes an epoch in that is not here yet. It may be called while the
// list of epochs is gone through, as dropEpoch may.
func (e *Engine) keepEpoch(s *epochState) {
	at, _ := slices.BinarySearchFunc(e.byGen, s, compareEpochs)
	e.byGen = slices.Insert(slices.Clone(e.byGen), at, s)
	e.epochs[s.header.ID()] = s
}

func (e *Engine) dropEpoch(s *epochState) {
	if at, ok := slices.BinarySearchFunc(e.byGen, s, compareEpochs); ok {
		e.byGen = slices.Delete(slices.Clone(e.byGen), at, at+1)
	}
	delete(e.epochs, s.header.ID())
}

func compareEpochs(a, b *epochState) int {
	return cmp.Or(cmp.Compare(a.header.Core.Gen, b.header.Core.Gen), bytes.Compare(a.id(), b.id()))
}

// firstDay is the first day for which an epoch has a common mailbox: clocks
// differ by up to two days. What its issuer writes of its time does not put it off.
func firstDay(s *epochState) protocol.Day {
	day := min(protocol.DayOf(s.header.Core.CreatedAt), s.arrived.Day())
	return day - min(day, 2)
}

// openMailboxes makes the addresses of an epoch's mailboxes known, for all the
// days that it can have been in use.
func (e *Engine) openMailboxes(s *epochState) {
	id, net := s.header.ID(), s.keys.Net()
	first := firstDay(s)
	last := e.now.Day() + 2
	if last > first+maxEpochDays {
		first = last - maxEpochDays
	}
	for day := max(first, s.openTo+1); day <= last; day++ {
		box := epoch.CommonMailbox(net, day)
		e.mailboxes[box.Address()] = place{epoch: id, day: day, box: box}
		inbox := e.inbox(s, day)
		e.mailboxes[inbox.Address()] = place{epoch: id, day: day, inbox: true, box: inbox}
	}
	if s.openTo == 0 {
		for _, lane := range s.header.Core.Lanes {
			box := epoch.LaneMailbox(net, lane)
			e.mailboxes[box.Address()] = place{epoch: id, box: box}
		}
	}
	s.openTo = last
}

// common returns an epoch's common mailbox of a day.
func (e *Engine) common(s *epochState, day protocol.Day) *epoch.Mailbox {
	return epoch.CommonMailbox(s.keys.Net(), day)
}

// maxEpochDays bounds the days whose mailboxes are open in one epoch.
const maxEpochDays = 96

// loadEpoch reads one epoch's record.
func (e *Engine) loadEpoch(value []byte) error {
	var r epochRecord
	if err := wire.Unmarshal(value, MaxValueSize, &r); err != nil {
		return err
	}
	f, err := protocol.ParseFrame(r.Frame)
	if err != nil {
		return err
	}
	h, err := epoch.ParseHeader(e.id, f)
	if err != nil {
		return err
	}
	if e.epochs[h.ID()] != nil {
		return errors.New("an epoch is stored twice")
	}
	e.keepEpoch(&epochState{header: h, frame: r.Frame, accepted: r.Accepted, exact: r.Exact,
		covered: Time(r.Covered), arrived: Time(r.Arrived), erased: r.Erased, asked: r.Asked})
	return nil
}
