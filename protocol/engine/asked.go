package engine

import (
	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// This file has both sides of a request: what a device was given and cannot open it
// asks the organisers for (spec 46 section 10), who hand it over as to any device
// that was passed over.

// request asks the organisers for what was sealed to this device and does not open,
// and for what was said in it: the next epoch, for which the heal asks, brings
// neither (spec 46 section 10).
func (e *Engine) request() error {
	if !e.canSign() || !e.log.Resolve().IsMember(e.self.memberID) {
		return nil
	}
	last := e.private[len(e.private)-1]
	item := epoch.RequestItem{Newest: e.lastOps}
	if last.counter > 0 {
		item.KeyUpdate = last.frame
	}
	return e.tellOrganisers(item)
}

// asking is what a device said that it cannot open.
type asking struct {
	newest protocol.EpochID // the newest that it can
	lacks  map[protocol.EpochID]bool
}

// noteRequest takes note of a device that asks for what it cannot open: epochs that
// it was given, that do not lead to the newest that it can open, and in which it
// has not sent.
func (e *Engine) noteRequest(d identity.DeviceID, newest protocol.EpochID) {
	if _, in := e.log.Resolve().MemberOfDevice(d); !in {
		return
	}
	x := asking{newest, map[protocol.EpochID]bool{}}
	for _, s := range e.keptEpochs() {
		if id := s.header.ID(); s.accepted && e.given(s, d) && !e.descends(newest, id) && !s.keys.HasChain(d) {
			x.lacks[id] = true
		}
	}
	if e.repair.asked == nil {
		e.repair.asked = map[identity.DeviceID]asking{}
	}
	e.repair.asked[d] = x
	e.version++
}
