package engine

import (
	"errors"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// ErrRestored says that this device was put back to an earlier state: what it
// signed since is known to others, and its keys must not be used twice.
var ErrRestored = errors.New("this device was restored from an old copy and may not write any more")

// Restored says whether this device found that it was put back to an earlier
// state. It reads on, and signs and seals nothing for good: it is to be removed
// and added anew.
func (e *Engine) Restored() bool { return e.frozen }

// checkOwn looks at a frame that this device signed and that comes from outside.
// Everything is stored before it leaves, so one that is further than what is
// stored means that the storage is an old copy.
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

func (e *Engine) aheadOfStore(f protocol.Frame, n *entry) bool {
	switch f.Kind {
	case protocol.KindMessage:
		// All own messages are held as long as anybody carries them, and what is
		// held did not get here.
		return n.day+protocol.MaxNoticeSeconds/protocol.DaySeconds > e.now.Day()
	case protocol.KindOp:
		return !e.log.Has(protocol.OpID(f.ID(e.id)))
	case protocol.KindEpoch:
		h, err := epoch.ParseHeader(e.id, f)
		return err == nil && h.Core.Seq > e.self.state.EpochSeq
	case protocol.KindKeyUpdate:
		u, err := group.ParseKeyUpdate(f)
		return err == nil && u.Counter > e.private[len(e.private)-1].counter
	}
	return false
}
