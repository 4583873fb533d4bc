package engine

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/wire"
)

// place is where a mailbox belongs.
type place struct {
	epoch protocol.EpochID
	day   protocol.Day // 0: a lane
	inbox bool         // the organisers', of that day
	box   *epoch.Mailbox
}

// maxWaiting bounds what is held without being judged, in envelopes.
const maxWaiting = 8_192

// errUnjudged says that something is sound as far as it can be told, but that
// what it would be judged by is not held yet.
var errUnjudged = errors.New("cannot be judged yet")

// take is the relay check (spec 30 section 6) and what follows from it: an
// envelope that passes is stored, takes effect and is announced.
func (e *Engine) take(envelope []byte) protocol.Verdict {
	env, err := protocol.ParseEnvelope(envelope)
	if err != nil {
		return protocol.Reject
	}
	at, ok := e.mailboxes[env.Mailbox]
	if !ok {
		return protocol.Ignore
	}
	f, err := open(at.box, envelope)
	if err != nil {
		return protocol.Reject
	}
	item := f.ID(e.id)
	lane := at.day == 0
	if e.held.hasItem(at.epoch, item, lane) {
		return protocol.Ignore
	}
	if lane != (f.Kind == protocol.KindEpoch && lane) {
		return protocol.Reject // a lane holds headers and nothing else
	}
	if at.inbox != (f.Kind == protocol.KindInbox) {
		return protocol.Reject // what is for the organisers lies there and nowhere else
	}
	n := entry{epoch: at.epoch, day: at.day, id: protocol.IDOf(envelope), kind: f.Kind, item: [16]byte(item[:16])}
	_, known := e.devicePublic(f.Device)
	if !e.fits(at.epoch, f, len(envelope)) || !known && !e.hasRoom(len(envelope)) {
		return protocol.Ignore
	}
	v, err := e.apply(f, &n)
	switch {
	case errors.Is(err, errUnjudged):
		if !e.hold(n, len(envelope)) {
			return protocol.Ignore
		}
	case v != protocol.Accept:
		return v
	case n.shred != 0 && n.shred <= e.now.Day():
		return protocol.Ignore // it was shredded long ago, and somebody repeats it
	}
	if known {
		e.charge(at.epoch, f, len(envelope)) // also what is held: it is signed
	} else {
		e.strangers.taken += len(envelope)
		if errors.Is(err, errUnjudged) {
			e.noteStranger(n.id, len(envelope))
		}
	}
	e.keep(n, envelope)
	e.announce(n)
	return protocol.Accept
}

// open takes a frame out of an envelope of a mailbox.
func open(box *epoch.Mailbox, envelope []byte) (protocol.Frame, error) {
	plain, err := box.Open(envelope)
	if err != nil {
		return protocol.Frame{}, err
	}
	return protocol.ParseFrame(plain)
}

// frameOf opens a stored envelope.
func (e *Engine) frameOf(n entry) (protocol.Frame, []byte, error) {
	envelope, err := e.row(tableEnvelopes, n.key())
	if err != nil {
		return protocol.Frame{}, nil, err
	}
	env, err := protocol.ParseEnvelope(envelope)
	if err != nil {
		return protocol.Frame{}, nil, err
	}
	at, ok := e.mailboxes[env.Mailbox]
	if !ok {
		return protocol.Frame{}, nil, errUnjudged
	}
	f, err := open(at.box, envelope)
	return f, envelope, err
}

// apply gives a frame its effect. errUnjudged with Accept keeps it for later;
// any other verdict than Accept drops it. It sets the entry's shred day.
func (e *Engine) apply(f protocol.Frame, n *entry) (protocol.Verdict, error) {
	e.checkOwn(f, n)
	switch f.Kind {
	case protocol.KindOp:
		return e.applyOp(f)
	case protocol.KindEpoch:
		return e.applyHeader(f)
	case protocol.KindKeyPackage, protocol.KindKeyUpdate:
		return e.applyKeyFrame(f, e.epochs[n.epoch])
	case protocol.KindMessage:
		return e.applyMessage(f, n)
	case protocol.KindOriginal:
		return e.applyOriginal(f, n)
	case protocol.KindAck:
		n.shred = n.day + 30
		return e.applyAck(f, n)
	case protocol.KindPresence:
		n.shred = n.day + protocol.Day(e.byRisk(presenceDays, presenceDaysRisk))
		return e.applyPresence(f)
	case protocol.KindBatch:
		return e.applyBatch(f, n)
	case protocol.KindInbox:
		n.shred = n.day + inboxDays
		return e.applyInbox(f)
	case protocol.KindReBox, protocol.KindChunk:
		n.shred = n.day + reboxDays
		e.repair.look, e.repair.pass = true, true
	}
	// Kept and carried: a newer version knows what it is.
	if n.shred == 0 {
		n.shred = n.day + protocol.MaxNoticeSeconds/protocol.DaySeconds
	}
	return e.checkSigned(f)
}

// checkSigned is the signature check of a frame whose author must be known.
func (e *Engine) checkSigned(f protocol.Frame) (protocol.Verdict, error) {
	pub, ok := e.devicePublic(f.Device)
	if !ok {
		return protocol.Accept, errUnjudged
	}
	if !f.Verify(e.id, pub) {
		return protocol.Reject, nil
	}
	return protocol.Accept, nil
}

func (e *Engine) devicePublic(d identity.DeviceID) (identity.DevicePublic, bool) {
	return e.log.DeviceKey(d)
}

// applyBatch applies each whole frame inside; what cannot be judged yet comes
// again by other ways.
func (e *Engine) applyBatch(f protocol.Frame, n *entry) (protocol.Verdict, error) {
	if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
		return v, err
	}
	var frames [][]byte
	if err := wire.Unmarshal(f.Body, protocol.RoomLarge, &frames); err != nil {
		return protocol.Reject, nil
	}
	for _, b := range frames {
		inner, err := protocol.ParseFrame(b)
		if err != nil {
			return protocol.Reject, nil
		}
		switch inner.Kind {
		case protocol.KindOp:
			e.checkOwn(inner, n)
			e.applyOp(inner)
		case protocol.KindKeyPackage, protocol.KindKeyUpdate:
			e.checkOwn(inner, n)
			e.applyKeyFrame(inner, e.epochs[n.epoch])
		}
	}
	return protocol.Accept, nil
}

// retryWaiting judges again what was held back, once authority or keys changed.
func (e *Engine) retryWaiting() (bool, error) {
	if !e.retry || len(e.waiting) == 0 {
		e.retry = false
		return false, nil
	}
	e.retry = false
	did := false
	ids := make([]protocol.EnvelopeID, 0, len(e.waiting))
	for id := range e.waiting {
		ids = append(ids, id)
	}
	for _, id := range protocol.SortIDs(ids) {
		n, ok := e.held.get(id)
		if !ok {
			e.settleWaiting(id)
			continue
		}
		f, envelope, err := e.frameOf(n)
		if err != nil {
			continue
		}
		_, stranger := e.strangers.held[id]
		if stranger && !e.fits(n.epoch, f, len(envelope)) {
			e.settleWaiting(id)
			e.forget(n)
			continue
		}
		before := n
		v, err := e.apply(f, &n)
		if errors.Is(err, errUnjudged) {
			if _, known := e.devicePublic(f.Device); !known {
				e.noteStranger(id, len(envelope)) // it was held before the start
			}
			continue
		}
		did = true
		e.settleWaiting(id)
		if v != protocol.Accept {
			e.forget(before)
			continue
		}
		if stranger {
			e.charge(n.epoch, f, len(envelope))
		}
		if n.shred != before.shred {
			e.forget(before)
			e.keep(n, envelope)
		}
	}
	return did, nil
}

func (e *Engine) settleWaiting(id protocol.EnvelopeID) {
	e.unhold(id)
	e.erase(tableWaiting, id[:])
}

// forget drops a stored envelope.
func (e *Engine) forget(n entry) {
	if e.held.unsent[n.id] {
		e.erase(tableUnsent, n.id[:])
	}
	e.held.remove(n)
	e.erase(tableEnvelopes, n.key())
	if s := e.epochs[n.epoch]; s != nil && s.reconciled(n) {
		s.recon.Remove(reconItem(n))
	}
}
