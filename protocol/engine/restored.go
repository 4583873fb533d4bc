package engine

import (
	"errors"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// ErrCopied says that this device's keys are in use elsewhere, or were: it is a
// copy, has one, or was put back to an earlier state.
var ErrCopied = errors.New("this device is a copy or an old backup, or was copied: it signs and seals nothing any more")

// Frozen says whether this device found that something was signed with its keys
// that it does not have (spec 35 section 6). It reads on, and signs and seals
// nothing for good, also after a restart: two rows under one key are what a thief
// would make, and one key must not seal twice. It is to be removed and added anew.
func (e *Engine) Frozen() bool { return e.frozen }

// checkOwn looks at a frame that comes from outside. Everything is stored before
// it leaves, so one of this device's that is not among what is stored means that
// the storage is an old copy, or that a copy is in use.
func (e *Engine) checkOwn(f protocol.Frame, n *entry) {
	if e.frozen || f.Device != e.self.deviceID || !e.aheadOfStore(f, n) {
		return
	}
	if pub := e.self.device.Public(); !f.Verify(e.id, pub) {
		return
	}
	e.frozen = true
	e.put(tableMeta, keyFrozen, []byte{1}, 0)
	e.planned = plans{}
	e.version++
}

// aheadOfStore says whether a frame, if this device signed it, was signed behind
// this storage's back. Any member can put a frame that this device did send into
// another mailbox: that must not count.
func (e *Engine) aheadOfStore(f protocol.Frame, n *entry) bool {
	switch f.Kind {
	case protocol.KindMessage:
		return e.unsentHere(f, n)
	case protocol.KindOp:
		return !e.log.Has(protocol.OpID(f.ID(e.id)))
	case protocol.KindEpoch:
		h, err := epoch.ParseHeader(e.id, f)
		return err == nil && (h.Core.Seq > e.self.state.EpochSeq || e.hasTwin(h))
	case protocol.KindKeyUpdate:
		u, err := group.ParseKeyUpdate(f)
		return err == nil && u.Counter > e.private[len(e.private)-1].counter
	}
	return false
}

// hasTwin says whether another epoch of a header's device and number is held.
func (e *Engine) hasTwin(h *epoch.Header) bool {
	for id, s := range e.epochs {
		if id != h.ID() && s.header.Device == h.Device && s.header.Core.Seq == h.Core.Seq {
			return true
		}
	}
	return false
}

// unsentHere says whether a message of this device's was not sent by it. Those
// of the epoch that it sent are held while the epoch is, for 90 days at least, and
// what is held did not get here; beyond that the generation alone can tell.
func (e *Engine) unsentHere(f protocol.Frame, n *entry) bool {
	s := e.epochs[n.epoch]
	if s == nil || s.keys == nil {
		return false
	}
	generation, err := s.keys.Generation(e.id, f)
	if err != nil {
		return false // of another epoch, or damaged
	}
	return generation >= s.keys.Sent(e.self.deviceID) ||
		firstDay(s)+protocol.MaxNoticeSeconds/protocol.DaySeconds > e.now.Day()
}
