package engine

import (
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file carries ReBoxes to where their sealer cannot put them (spec 46 section 2,
// out of its reach): who organises may have been out when somebody was let in, and have
// no epoch in common with him. Others have both.

// maxPassedOn bounds the frames of ReBoxes that are put into one other epoch.
const maxPassedOn = 32

// passOn puts the ReBoxes that lie in the sending epoch where devices look that were
// not given it. All who can do so seal the same.
func (e *Engine) passOn() (bool, error) {
	if !e.repair.pass {
		return false, nil
	}
	e.repair.pass = false
	s := e.epochs[e.sending]
	if s == nil || s.keys == nil || e.frozen || !e.log.Resolve().IsMember(e.self.memberID) {
		return false, nil
	}
	there := e.held.ofEpoch(e.sending, func(n entry) bool { return n.kind == protocol.KindReBox || n.kind == protocol.KindChunk })
	slices.Reverse(there) // the newest first
	if len(there) == 0 {
		return false, nil
	}
	for _, d := range e.log.Resolve().Boxed() {
		old := e.newestHad(d, s)
		if d == e.self.deviceID || old == nil || e.given(s, d) || s.keys.HasChain(d) {
			continue
		}
		for _, n := range there[:min(len(there), maxPassedOn)] {
			if day := max(n.day, firstDay(old)); day <= old.openTo {
				f, _, err := e.frameOf(n)
				if err != nil || !e.log.Resolve().IsOrganiser(f.Device) {
					continue
				}
				if err := e.sealFrame(old.header.ID(), day, f, n.shred); err != nil {
					return false, err
				}
			}
		}
	}
	return false, nil
}

// knownTo are operations that a device knows at least: what those who let it in knew.
func knownTo(adds []group.Op) (heads []protocol.OpID) {
	for _, op := range adds {
		heads = append(heads, op.Parents...)
	}
	return heads
}
