package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// authority is what this device remembers of how the group is governed beside
// the operations. Rosters are those for which something was last looked at.
type authority struct {
	decided map[protocol.OpID]Time // effective decisions, and since when they were seen so
	alarm   bool                   // sending waits for ConfirmAuthority
	ledger  map[protocol.OpID]effect
	carried carried
	stand   protocol.OpID // to be voted for at planned.stand; zero: nothing is

	watched, acked, told, judged *group.Roster
	evidence                     *answer // that is due
}

// settled is for how long a decision must have been effective here for its loss
// to be an alarm: by then those who use the group rely on it.
var settled = Seconds(7 * protocol.DaySeconds)

// watchDecisions notes since when decisions are effective. One that was for
// long and is not any more means that somebody with a majority of old keys
// rewrote what the organisers decided: then nothing is sent before a person has
// looked.
func (e *Engine) watchDecisions() (bool, error) {
	r, a := e.log.Resolve(), &e.authority
	if a.watched == r {
		return false, nil
	}
	a.watched = r
	effective := map[protocol.OpID]bool{}
	for _, d := range r.Decisions() {
		effective[d.ID] = true
		if _, known := a.decided[d.ID]; !known {
			a.decided[d.ID] = e.now
			e.put(tableDecided, d.ID[:], binary.BigEndian.AppendUint64(nil, uint64(e.now)), 0)
		}
	}
	for _, id := range protocol.SortIDs(slices.Collect(maps.Keys(a.decided))) {
		if effective[id] {
			continue
		}
		if e.now >= a.decided[id]+settled {
			a.alarm = true
			e.put(tableMeta, keyAlarm, []byte{1}, 0)
			e.deliver(Event{Kind: EventAlarm, ID: id.String()})
		}
		delete(a.decided, id)
		e.erase(tableDecided, id[:])
	}
	return false, nil
}

func (e *Engine) loadDecided(key, value []byte) error {
	if len(key) != 32 || len(value) != 8 {
		return errors.New("malformed row of a decision")
	}
	e.authority.decided[protocol.OpID(key)] = Time(binary.BigEndian.Uint64(value))
	return nil
}

// ConfirmAuthority says that a person looked at who governs the group, and ends
// the alarm: what was written meanwhile is sent.
func (e *Engine) ConfirmAuthority(now Time) error {
	e.now = now
	if e.join != nil {
		return ErrNotJoined
	}
	if !e.authority.alarm {
		return ErrAlready
	}
	e.authority.alarm = false
	e.erase(tableMeta, keyAlarm)
	return e.settle()
}

// A decision is acknowledged so long after it was first seen to be the last one
// (and up to as long again, by chance): by then a device that was off has the
// rest as well, and does not stand for a moment on what lost meanwhile.
var standWait = Seconds(30)

// acknowledge makes an organiser's member stand on the newest decision by voting
// for it, once, where its last vote is for something else: the more stand on a
// branch, the less can rewrite it (spec 40 section 6.1).
func (e *Engine) acknowledge() (bool, error) {
	r, a := e.log.Resolve(), &e.authority
	if a.acked != r {
		a.acked = r
		last := e.unacknowledged()
		if last != a.stand {
			wait, err := e.randomBelow(int64(standWait))
			if err != nil {
				return false, err
			}
			a.stand, e.planned.stand = last, e.now+standWait+Time(wait)
		}
	}
	if a.stand == (protocol.OpID{}) || a.alarm || e.frozen || !e.canSign() {
		return false, nil
	}
	if e.now < e.planned.stand {
		return false, nil
	}
	_, err := e.sign(e.log.NextVote(e.self.memberID, a.stand))
	a.stand = protocol.OpID{}
	return err == nil, err
}

// unacknowledged is the last decision if this device is to vote for it; zero: it
// is not.
func (e *Engine) unacknowledged() protocol.OpID {
	r := e.log.Resolve()
	last := r.LastDecision()
	if last == protocol.OpID(e.id) || !e.operates() {
		return protocol.OpID{}
	}
	latest, ok := r.LatestVote(e.self.memberID)
	if ok && (latest == last || slices.ContainsFunc(r.Open(), func(o group.OpenProposal) bool { return o.ID == latest })) {
		return protocol.OpID{}
	}
	return last
}

// canSign says whether there is an epoch to seal an operation in.
func (e *Engine) canSign() bool {
	s := e.epochs[e.lastOps]
	return s != nil && s.keys != nil
}

// answer is a Suspend that this device means to sign by itself.
type answer struct {
	target identity.MemberID
	frames [][]byte
}

// answerEvidence suspends an organiser of whom one operating device signed two
// operations or two epochs under one number, or two messages in one place: that device is in two hands, or was
// restored from a copy. Organisers wait up to a minute each, so that one of them
// does it.
func (e *Engine) answerEvidence() (bool, error) {
	r, a := e.log.Resolve(), &e.authority
	if a.judged != r {
		a.judged, a.evidence = r, e.openEvidence()
	}
	if a.evidence == nil {
		e.planned.suspend = 0
		return false, nil
	}
	if e.planned.suspend == 0 {
		wait, err := e.randomBelow(int64(issueWait))
		if err != nil {
			return false, err
		}
		e.planned.suspend = e.now + Time(wait)
	}
	if e.now < e.planned.suspend {
		return false, nil
	}
	x := *a.evidence
	e.planned.suspend, a.evidence = 0, nil
	m, _ := r.Member(x.target)
	op := group.Suspend{Target: m.ID, Cutoffs: e.cutoffs(m), Evidence: x.frames}
	if _, err := e.sign(op); err != nil {
		op.Evidence = nil // the two do not fit into one operation
		if _, err := e.sign(op); err != nil {
			return false, nil // this one was given back, or there is no room
		}
	}
	e.planned.now = true
	return true, nil
}

// openEvidence finds what this device is to answer: nothing while its one
// suspension is in use, and nothing that was answered or judged before.
func (e *Engine) openEvidence() *answer {
	r := e.log.Resolve()
	if !e.organises() || e.frozen || !e.canSign() {
		return nil
	}
	for _, s := range r.Suspensions() {
		if s.By == e.self.memberID && !s.Lifted {
			return nil
		}
	}
	for _, ev := range e.log.Evidence() {
		m, ok := r.MemberOfDevice(ev.Device)
		if !ok || m.ID == e.self.memberID || m.Suspended || !r.Operates(m.ID, ev.Device) || e.judgedBefore(m.ID, ev) {
			continue
		}
		x := &answer{target: m.ID}
		for _, f := range ev.Frames {
			x.frames = append(x.frames, f.Marshal())
		}
		slices.SortFunc(x.frames, bytes.Compare)
		return x
	}
	for _, t := range e.twins() {
		m, ok := r.MemberOfDevice(t[0].header.Device)
		if ok && m.ID != e.self.memberID && !m.Suspended && r.Operates(m.ID, t[0].header.Device) && !e.givenBackSince(m.ID, madeBy(t)) {
			return &answer{target: m.ID} // two headers do not fit into one operation
		}
	}
	if m, ok := e.saidTwice(); ok {
		return &answer{target: m}
	}
	return nil
}

// twins finds the epochs of which one device issued two under one number, the
// first two of each number.
func (e *Engine) twins() (list [][2]*epochState) {
	type place struct {
		device identity.DeviceID
		seq    uint64
	}
	first := map[place]*epochState{}
	twice := map[place]bool{}
	for _, s := range e.byGen {
		at := place{s.header.Device, s.header.Core.Seq}
		switch {
		case first[at] == nil:
			first[at] = s
		case !twice[at]:
			twice[at] = true
			list = append(list, [2]*epochState{first[at], s})
		}
	}
	return list
}

// madeBy is by when two epochs were made, in unix seconds, as far as dates tell:
// headers have no place in what an operation had seen. A wrong date makes one
// suspension more, or one less.
func madeBy(t [2]*epochState) (at int64) {
	for _, s := range t {
		at = max(at, min(s.header.Core.CreatedAt, s.arrived.Unix()))
	}
	return at
}

// inTwoHands lists the members of whom a device is known to have signed two things
// under one number, or in one place of its chain of messages.
func (e *Engine) inTwoHands() map[identity.MemberID]bool {
	out := map[identity.MemberID]bool{}
	note := func(d identity.DeviceID) {
		if m, ok := e.log.Resolve().MemberOfCert(d); ok {
			out[m] = true
		}
	}
	for _, ev := range e.log.Evidence() {
		note(ev.Device)
	}
	for _, t := range e.twins() {
		note(t[0].header.Device)
	}
	for d := range e.twice {
		note(d)
	}
	return out
}

// judgedBefore says whether a suspension for this evidence counted before, or
// the organisers gave the member back after they had seen it.
func (e *Engine) judgedBefore(m identity.MemberID, ev group.Equivocation) bool {
	saw := func(op protocol.OpID) bool {
		return e.log.Covers([]protocol.OpID{op}, protocol.OpID(ev.Frames[0].ID(e.id))) &&
			e.log.Covers([]protocol.OpID{op}, protocol.OpID(ev.Frames[1].ID(e.id)))
	}
	for _, s := range e.log.Resolve().Suspensions() {
		if s.Target == m && saw(s.ID) {
			return true
		}
	}
	for _, d := range e.log.Resolve().Decisions() {
		if x, ok := d.Decision.(group.Reinstate); ok && x.Target == m && saw(d.ID) {
			return true
		}
	}
	return false
}
