package engine

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// What this device wrote under an epoch that nobody keeps any more reaches nobody:
// once it is back it seals the same signed content again, in the epoch in force.

// resendAfter is how long a member is connected before what he did not take under
// an older epoch is sealed again: by then both sides know what they share.
var resendAfter = Seconds(60)

// noteUnsent remembers which content an own envelope of an epoch carries, for as
// long as nobody else holds it.
func (e *Engine) noteUnsent(id protocol.EpochID, item protocol.ItemID, content protocol.ContentID) {
	envelope, ok := e.held.byItem[itemKey{id, [16]byte(item[:16]), false}]
	if !ok || !e.held.unsent[envelope] {
		return
	}
	e.putUnsent(envelope, untaken{content: content})
}

// untaken is the content of an own envelope that nobody took.
type untaken struct {
	content protocol.ContentID
	again   bool // it is to be sealed again, whoever holds it: see cover
}

func (e *Engine) putUnsent(envelope protocol.EnvelopeID, c untaken) {
	e.unsentOf[envelope] = c
	row := c.content[:]
	if c.again {
		row = append(bytes.Clone(row), 1)
	}
	e.put(tableUnsent, envelope[:], row, e.held.byID[envelope].shred)
}

func (e *Engine) loadUnsent(key, value []byte) error {
	if err := loadID(key, e.held.unsent); err != nil {
		return err
	}
	if len(value) == 32 || len(value) == 33 && value[32] == 1 {
		e.unsentOf[protocol.EnvelopeID(key)] = untaken{protocol.ContentID(value[:32]), len(value) == 33}
	}
	return nil
}

// dropUnsent ends that an own envelope is to be taken by somebody.
func (e *Engine) dropUnsent(id protocol.EnvelopeID) {
	delete(e.held.unsent, id)
	delete(e.unsentOf, id)
	e.erase(tableUnsent, id[:])
}

// cover notes that the group went on without an epoch. If it did so for as long as keys
// are kept, the others have erased this one: what this device wrote under it may be
// with those alone who are as late as it is, so it is sealed again.
func (e *Engine) cover(s *epochState) {
	s.covered = e.now
	e.putEpoch(s)
	own := e.chains[e.self.deviceID]
	if own == nil || !e.endedLongAgo(s) {
		return
	}
	for _, seq := range slices.Sorted(maps.Keys(own.links)) {
		l := own.links[seq]
		if id, ok := e.held.byItem[itemKey{s.header.ID(), l.frame, false}]; ok && l.at.epoch == slotOf(s.header.ID(), 0).epoch {
			e.held.unsent[id] = true
			e.putUnsent(id, untaken{l.id, true})
		}
	}
	for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool { return n.kind == protocol.KindOriginal }) {
		f, _, err := e.frameOf(n)
		if err != nil || f.Device != e.self.deviceID {
			continue
		}
		if o, _, err := protocol.ParseOriginal(f.Body); err == nil {
			e.held.unsent[n.id] = true
			e.putUnsent(n.id, untaken{o.ID(e.id), true})
		}
	}
}

// endedLongAgo says whether an epoch that was here for as long as keys are kept was
// succeeded as long ago, or what came between it and those in force is gone.
func (e *Engine) endedLongAgo(s *epochState) bool {
	if e.now < s.arrived+e.retention() {
		return false
	}
	return e.leftFarBehind(s, e.tips()) || slices.ContainsFunc(e.byGen, func(x *epochState) bool {
		return x.header.Core.Gen > s.header.Core.Gen && e.counts(x) && x.header.Core.CreatedAt <= (e.now-e.retention()).Unix()
	})
}

// leftBehind lists the own envelopes that nobody took and that are not of the
// sending epoch.
func (e *Engine) leftBehind() (list []protocol.EnvelopeID) {
	for id := range e.unsentOf {
		if n, ok := e.held.get(id); ok && e.held.unsent[id] && n.epoch != e.sending {
			list = append(list, id)
		}
	}
	return protocol.SortIDs(list)
}

// resendAt is when what was left behind is sealed again; 0: nothing is, or nobody is
// connected.
func (e *Engine) resendAt() (at Time) {
	if len(e.unsentOf) == 0 || e.frozen || e.Waiting() || len(e.leftBehind()) == 0 {
		return 0
	}
	for _, p := range e.peers {
		if p.class == ClassMember && !p.old && (at == 0 || p.since+resendAfter < at) {
			at = p.since + resendAfter
		}
	}
	return at
}

// resend seals what was left behind in the sending epoch, with the signature that it
// has: another one, for another epoch, would be a second message under its number to
// whoever holds the first. What has expired is let go.
func (e *Engine) resend() (bool, error) {
	at := e.resendAt()
	if at == 0 || e.now < at || !e.log.Resolve().IsMember(e.self.memberID) {
		return false, nil
	}
	type left struct {
		envelope protocol.EnvelopeID
		original []byte
		content  protocol.Content
	}
	var again []left
	for _, id := range e.leftBehind() {
		content := e.unsentOf[id].content
		b, err := e.row(tableItems, content[:])
		if err != nil {
			return false, err
		}
		o, c, err := protocol.ParseOriginal(b)
		if b == nil || err != nil || o.ID(e.id) != content || c.ExpiresAt <= e.now.Unix() && !isName(c.Type) {
			e.dropUnsent(id)
			continue
		}
		again = append(again, left{id, b, c})
	}
	slices.SortFunc(again, func(a, b left) int { return cmp.Compare(a.content.DevSeq, b.content.DevSeq) })
	if len(again) > 0 {
		if err := e.carryOps(e.sending); err != nil {
			return false, err
		}
	}
	for _, l := range again {
		err := e.sealOriginal(l.original, l.content)
		if waitsForEpoch(err) {
			return true, nil // the rest is for the next epoch
		}
		if err != nil {
			return false, err
		}
		e.dropUnsent(l.envelope)
	}
	return true, nil
}

// sealOriginal seals a message of this device, which is stored, in the sending epoch.
func (e *Engine) sealOriginal(b []byte, c protocol.Content) error {
	s := e.epochs[e.sending]
	if e.written(e.sending)+protocol.BucketLarge > ownShare {
		return errShare
	}
	o, _, err := protocol.ParseOriginal(b)
	if err != nil {
		return err
	}
	f := protocol.SignFrame(e.id, protocol.KindOriginal, e.self.device, b)
	if len(f.Marshal()) > f.Kind.Max() {
		return nil // as large as a message gets: it does not fit beside its own signature
	}
	shred := protocol.DayOf(c.CreatedAt+protocol.MaxNoticeSeconds) + 1
	if err := e.sealFrame(e.sending, mailboxDay(s, c.CreatedAt), f, shred); err != nil {
		return err
	}
	e.noteUnsent(e.sending, f.ID(e.id), o.ID(e.id))
	return nil
}

// applyOriginal takes in a message that its author sealed again. Who holds it already
// learns nothing; it is not for who came later.
func (e *Engine) applyOriginal(f protocol.Frame, n *entry) (protocol.Verdict, error) {
	if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
		return v, err
	}
	o, c, err := protocol.ParseOriginal(f.Body)
	pub, known := e.devicePublic(f.Device)
	if err != nil || !known || !o.Verify(e.id, pub) || c.ExpiresAt > c.CreatedAt+protocol.MaxNoticeSeconds ||
		mailboxDay(e.epochs[n.epoch], c.CreatedAt) != n.day {
		return protocol.Reject, nil
	}
	n.shred = protocol.DayOf(c.CreatedAt+protocol.MaxNoticeSeconds) + 1
	author, v, err := e.judge(f.Device, c)
	if v != protocol.Accept || err != nil {
		return v, err
	}
	id := o.ID(e.id)
	old, held := e.chainOf(f.Device).links[c.DevSeq]
	switch {
	case held && old.id != id:
		return e.carryTwin(f.Device, n), nil // the first stands
	case !held && e.forSelf(c):
		e.takeContent(o, c, id, author, [16]byte{})
	}
	if n.shred <= e.now.Day() {
		return protocol.Ignore, nil
	}
	return protocol.Accept, nil
}

// forSelf says whether a content is for this device: its author knew its member, or had
// not heard yet that he had been let in before.
func (e *Engine) forSelf(c protocol.Content) bool {
	return e.meantFor(c, e.self.deviceID) && (e.knownBy(c.GovHeads) ||
		slices.ContainsFunc(e.log.Adds(e.self.deviceID), func(op group.Op) bool { return c.CreatedAt >= op.CreatedAt }))
}

// mailboxDay is the day in whose mailbox a message of a date lies: its own, or the
// epoch's first where it was written before that.
func mailboxDay(s *epochState, created int64) protocol.Day {
	return max(protocol.DayOf(created), firstDay(s))
}
