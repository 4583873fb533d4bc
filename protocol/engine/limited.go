package engine

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/recon"
)

// This file says in which order a link brings what is lacking, and how a link is used
// that a carrier cuts after so many bytes (spec 65 section 11).

// Bounds of what a holder names before it is asked, and of messages on a link that has a
// limit. Of that, 25 parts of 32 are for envelopes, the rest for comparing.
const (
	maxNamedOps    = 16
	maxNamedUrgent = 16
	maxNamedNewest = 50
	limitedFrame   = recon.MinFrame
)

// frame is the size of a message of a reconciliation on a link.
func (p *peer) frame() int {
	if p.limited {
		return limitedFrame
	}
	return recon.DefaultFrame
}

// full says whether as much is asked for on a link with a limit as it can bring.
func (p *peer) full() bool {
	return p.limited && len(p.asked)+len(p.queue) >= p.left/max(p.largest, protocol.BucketSmall)
}

// nameFirst tells who compares an epoch and holds something else what matters most
// there: by the order of days, in which differences are found, it comes anywhere.
func (e *Engine) nameFirst(p *peer, s *epochState) {
	if !p.named[s.tag] {
		p.named[s.tag] = true
		e.sendIDs(p, msgHave, e.first(s, p.limited))
	}
}

// first lists envelopes of an epoch: operations, messages of alerts and of meetings that
// begin soon, and if all is asked for others; of each the newest first.
func (e *Engine) first(s *epochState, all bool) []protocol.EnvelopeID {
	urgent := e.urgentFrames()
	class := func(n entry) int {
		switch {
		case n.kind == protocol.KindOp:
			return 0
		case n.kind == protocol.KindMessage && urgent[n.item]:
			return 1
		}
		return 2
	}
	list := e.held.ofEpoch(s.header.ID(), func(n entry) bool { return s.reconciled(n) && (all || class(n) < 2) })
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(b.day, a.day), bytes.Compare(a.id[:], b.id[:]))
	})
	room := [3]int{maxNamedOps, maxNamedUrgent, maxNamedNewest}
	var ids []protocol.EnvelopeID
	for _, n := range list {
		if c := class(n); room[c] > 0 {
			room[c]--
			ids = append(ids, n.id)
		}
	}
	return ids
}

// urgentFirst puts what of a list matters most before the rest of it.
func (e *Engine) urgentFirst(s *epochState, ids []protocol.EnvelopeID) []protocol.EnvelopeID {
	if s == nil || len(ids) < 2 {
		return ids
	}
	place := map[protocol.EnvelopeID]int{}
	for i, id := range e.first(s, false) {
		place[id] = i - maxNamedOps - maxNamedUrgent // before those that have none
	}
	slices.SortStableFunc(ids, func(a, b protocol.EnvelopeID) int { return cmp.Compare(place[a], place[b]) })
	return ids
}
