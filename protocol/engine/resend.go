package engine

import (
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/protocol"
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
	e.unsentOf[envelope] = content
	e.put(tableUnsent, envelope[:], content[:], e.held.byID[envelope].shred)
}

func (e *Engine) loadUnsent(key, value []byte) error {
	if err := loadID(key, e.held.unsent); err != nil {
		return err
	}
	if len(value) == 32 {
		e.unsentOf[protocol.EnvelopeID(key)] = protocol.ContentID(value)
	}
	return nil
}

// dropUnsent ends that an own envelope is to be taken by somebody.
func (e *Engine) dropUnsent(id protocol.EnvelopeID) {
	delete(e.held.unsent, id)
	delete(e.unsentOf, id)
	e.erase(tableUnsent, id[:])
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

// resend seals what was left behind in the sending epoch. The signed content stays
// what it was, so whoever has it by another way has it once. What has expired is
// let go.
func (e *Engine) resend() (bool, error) {
	at := e.resendAt()
	if at == 0 || e.now < at || !e.log.Resolve().IsMember(e.self.memberID) {
		return false, nil
	}
	type left struct {
		envelope protocol.EnvelopeID
		content  protocol.Content
	}
	var again []left
	for _, id := range e.leftBehind() {
		content := e.unsentOf[id]
		b, err := e.row(tableItems, content[:])
		if err != nil {
			return false, err
		}
		o, c, err := protocol.ParseOriginal(b)
		if b == nil || err != nil || o.ID(e.id) != content || c.ExpiresAt <= e.now.Unix() && !isName(c.Type) {
			e.dropUnsent(id)
			continue
		}
		again = append(again, left{id, c})
	}
	slices.SortFunc(again, func(a, b left) int { return cmp.Compare(a.content.DevSeq, b.content.DevSeq) })
	if len(again) > 0 {
		if err := e.carryOps(e.sending); err != nil {
			return false, err
		}
	}
	for _, l := range again {
		err := e.sealContent(l.content)
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

// sealContent seals a content of this device, which is stored, in the sending epoch.
func (e *Engine) sealContent(c protocol.Content) error {
	s := e.epochs[e.sending]
	if e.written(e.sending)+protocol.BucketLarge > ownShare {
		return errShare
	}
	f, o, err := s.keys.Seal(e.id, e.self.device, c, e.cfg.Random)
	if err != nil {
		return err
	}
	e.dirty(e.sending, e.self.deviceID)
	shred := protocol.DayOf(c.CreatedAt+protocol.MaxNoticeSeconds) + 1
	if err := e.sealFrame(e.sending, mailboxDay(s, c.CreatedAt), f, shred); err != nil {
		return err
	}
	e.noteUnsent(e.sending, f.ID(e.id), o.ID(e.id))
	return nil
}

// mailboxDay is the day in whose mailbox a message of a date lies: its own, or the
// epoch's first where it was written before that.
func mailboxDay(s *epochState, created int64) protocol.Day {
	return max(protocol.DayOf(created), firstDay(s))
}
