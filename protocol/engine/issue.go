package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// plans is what this device means to do and has not done yet.
type plans struct {
	issue Time // an epoch is due then; 0: none is
	now   bool // this device signed the removal: no waiting for others
	rekey bool // the newest own KEM key was used
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
// at once, the others wait up to a minute and drop the plan if one comes.
func (e *Engine) issueIfDue() (bool, error) {
	need, err := e.needsEpoch()
	if err != nil {
		return false, err
	}
	if !need {
		e.planned.issue, e.planned.now = 0, false
		return false, nil
	}
	if e.planned.now {
		return e.issue()
	}
	if e.planned.issue == 0 {
		wait, err := e.randomBelow(int64(issueWait))
		if err != nil {
			return false, err
		}
		e.planned.issue = e.now + Time(wait)
	}
	if e.now < e.planned.issue {
		return false, nil
	}
	return e.issue()
}

func (e *Engine) needsEpoch() (bool, error) {
	if !e.organises() || e.frozen {
		return false, nil
	}
	if e.sending == (protocol.EpochID{}) {
		// One that this device cannot send in by these operations is not followed by
		// another one like it.
		return e.planned.issued != e.log.Len() || e.now >= e.periodOver(), nil
	}
	s := e.epochs[e.sending]
	for _, h := range e.ring.Heals() {
		if e.healOpen(s, h) {
			return true, nil
		}
	}
	if e.log.Answers(e.log.Heads(), s.header.Core.GovHeads) && e.planned.issued != e.log.Len() {
		return true, nil // an operating device came, or came back
	}
	return e.now >= e.periodOver(), nil
}

// periodOver is when the period of the newest epochs is over: by the same rule
// by which others take the next one for justified, so that no epoch is issued
// that nobody would send in.
func (e *Engine) periodOver() Time {
	var newest int64
	for _, s := range e.tips() {
		newest = max(newest, s.header.Core.CreatedAt)
	}
	return Seconds(newest + e.period())
}

// period is after how many seconds keys are renewed without any other reason.
func (e *Engine) period() int64 {
	p := e.policy()
	if p.HighRisk {
		return protocol.DaySeconds
	}
	return int64(p.PeriodDays) * protocol.DaySeconds
}

// healOpen says whether a heal is asked for that the sending epoch, or one of
// its ancestors that is kept, has not answered.
func (e *Engine) healOpen(s *epochState, h protocol.ItemID) bool {
	for _, k := range e.epochs {
		for _, done := range k.header.Core.Heals {
			if done == h {
				return false
			}
		}
	}
	return true
}

// issue makes, stores and announces an epoch over all that is known.
func (e *Engine) issue() (bool, error) {
	e.planned.issue, e.planned.now, e.planned.issued = 0, false, e.log.Len()
	if e.ownLane() == (protocol.LanePublic{}) {
		return false, nil
	}
	d, parents, err := e.draftEpoch()
	if err != nil {
		return false, err
	}
	f, keys, err := epoch.Issue(d, e.cfg.Random)
	if err != nil {
		return false, fmt.Errorf("issuing an epoch: %w", err)
	}
	e.self.state.EpochSeq = d.Seq
	e.putChainState()
	h, err := epoch.ParseHeader(e.id, f)
	if err != nil {
		panic("engine: an own header does not parse: " + err.Error())
	}
	s := &epochState{header: h, frame: f.Marshal(), exact: true, arrived: e.now}
	e.epochs[h.ID()] = s
	e.adopt(s, keys)
	e.usedKEM(len(e.private) - 1) // the header has a box for it, too
	for _, p := range parents {
		if err := e.depositHeader(p, s); err != nil {
			return false, err
		}
	}
	if err := e.depositForReturning(s, d.Recipients, parents); err != nil {
		return false, err
	}
	if _, err := e.acceptEpochs(); err != nil {
		return false, err
	}
	e.putEpoch(s)
	return true, e.sealAgain(s, parents)
}

// sealKeys seals the newest keys of all devices into an epoch, for who was not in
// the epochs in which they were told.
func (e *Engine) sealKeys(s *epochState) error {
	for _, d := range e.log.Resolve().Boxed() {
		for _, f := range e.ring.Frames(d) {
			if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// draftEpoch lists what the next epoch says: every effective device with its
// newest key, over the epochs that nothing has succeeded yet.
func (e *Engine) draftEpoch() (epoch.Draft, []*epochState, error) {
	d := epoch.Draft{Group: e.id, Issuer: e.self.memberID, Device: e.self.device, Hedge: epoch.HedgeKeyOf(e.self.device),
		Seq: e.self.state.EpochSeq + 1, CreatedAt: e.now.Unix(), GovHeads: e.log.Heads()}
	var parents []*epochState
	tips := e.tips()
	for _, s := range tips {
		if s.keys != nil && !e.leftFarBehind(s, tips) && s.header.Core.CreatedAt <= e.now.Unix()+protocol.DaySeconds {
			parents = append(parents, s)
		}
	}
	if n := len(parents); n > protocol.MaxEpochParents {
		parents = parents[n-protocol.MaxEpochParents:]
	}
	for _, s := range parents {
		d.Parents = append(d.Parents, epoch.Parent{ID: s.header.ID(), Gen: s.header.Core.Gen})
	}
	var lanes, authors []protocol.LanePublic
	for _, m := range e.log.Resolve().Members() {
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
			switch m.Role {
			case group.Organiser:
				lanes = append(lanes, k.Lane)
			case group.Author:
				authors = append(authors, k.Lane)
			}
		}
	}
	lanes = append(lanes, authors...)
	d.Lanes = lanes[:min(len(lanes), protocol.MaxLanes)]
	for _, h := range e.ring.Heals() {
		if len(d.Heals) < protocol.MaxHeals && e.healOpen(nil, h) {
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

// depositHeader puts a header into this device's lane under a parent, or into
// the common mailbox where the parent has no lane for it.
func (e *Engine) depositHeader(parent, s *epochState) error {
	box, day := e.laneUnder(parent), protocol.Day(0)
	if box == nil {
		day = e.now.Day()
		box = e.common(parent, day)
	}
	envelope, err := box.Seal(s.frame)
	if err != nil {
		return err
	}
	item := s.header.ID()
	n := entry{epoch: parent.header.ID(), day: day, id: protocol.IDOf(envelope), kind: protocol.KindEpoch, item: [16]byte(item[:16])}
	e.keep(n, envelope)
	e.announce(n)
	return nil
}

// depositForReturning puts the header where devices find it that hold none of
// the parents, such as those of an organiser who was suspended: under the newest
// epoch that each may hold, with the operations since, and with the newest keys in
// the new one, which they missed as well.
func (e *Engine) depositForReturning(s *epochState, recipients []epoch.Recipient, parents []*epochState) error {
	hold := map[identity.DeviceID]bool{}
	for _, p := range parents {
		list, _ := e.log.Holders(p.header.Core.GovHeads)
		for _, d := range list {
			hold[d] = true
		}
	}
	for _, r := range recipients {
		if hold[r.Device] {
			continue
		}
		old := e.newestHeldBy(r.Device)
		if old == nil || old == s {
			continue
		}
		if err := e.depositHeader(old, s); err != nil {
			return err
		}
		if err := e.sealOps(old); err != nil {
			return err
		}
		if err := e.sealKeys(s); err != nil {
			return err
		}
		list, _ := e.log.Holders(old.header.Core.GovHeads)
		for _, d := range list {
			hold[d] = true
		}
	}
	return nil
}

// newestHeldBy is the newest epoch here that a device may hold, by the
// operations that its issuer had seen; nil: none.
func (e *Engine) newestHeldBy(d identity.DeviceID) *epochState {
	kept := e.sortedEpochs()
	slices.Reverse(kept)
	for _, s := range kept {
		list, ok := e.log.Holders(s.header.Core.GovHeads)
		if ok && s.keys != nil && s.accepted && slices.Contains(list, d) {
			return s
		}
	}
	return nil
}

// laneUnder finds the lane of this device that a parent lists.
func (e *Engine) laneUnder(parent *epochState) *epoch.Mailbox {
	for _, lane := range parent.header.Core.Lanes {
		for i := range e.private {
			if e.private[i].lane.Public() == lane {
				return epoch.LaneMailbox(parent.keys.Net(), lane)
			}
		}
	}
	return nil
}

// sealAgain seals under a new epoch what its parents' mailboxes hold of
// operations and keys that the parents' own heads do not cover, so that nobody
// is blocked by something sealed under an epoch that he never had.
func (e *Engine) sealAgain(s *epochState, parents []*epochState) error {
	var heads []protocol.OpID
	for _, p := range parents {
		heads = append(heads, p.header.Core.GovHeads...)
	}
	ops, err := e.log.Between(heads, s.header.Core.GovHeads)
	if err != nil {
		return err
	}
	for _, f := range ops {
		if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
			return err
		}
	}
	for _, p := range parents {
		for _, n := range e.held.ofEpoch(p.header.ID(), entry.isKey) {
			f, _, err := e.frameOf(n)
			if err != nil {
				return err
			}
			if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n entry) isKey() bool {
	return n.kind == protocol.KindKeyPackage || n.kind == protocol.KindKeyUpdate
}

// randomBelow draws a number from 0 to below n.
func (e *Engine) randomBelow(n int64) (int64, error) {
	var b [8]byte
	if _, err := io.ReadFull(e.cfg.Random, b[:]); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b[:]) % uint64(n)), nil
}
