package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/protocol"
)

// entry is what memory holds of a stored envelope. All of it is in the row's
// key, so that opening a group reads no envelope.
type entry struct {
	epoch protocol.EpochID
	day   protocol.Day // of its mailbox; 0: a lane
	id    protocol.EnvelopeID
	kind  protocol.FrameKind
	item  [16]byte // first half of the item id
	shred protocol.Day
}

const entryKeySize = 32 + 4 + 32 + 1 + 16 + 4

func (n entry) key() []byte {
	k := make([]byte, 0, entryKeySize)
	k = append(k, n.epoch[:]...)
	k = binary.BigEndian.AppendUint32(k, n.day)
	k = append(k, n.id[:]...)
	k = append(k, byte(n.kind))
	k = append(k, n.item[:]...)
	return binary.BigEndian.AppendUint32(k, n.shred)
}

func parseEntry(k []byte) (entry, error) {
	if len(k) != entryKeySize {
		return entry{}, errors.New("malformed row of an envelope")
	}
	n := entry{epoch: protocol.EpochID(k[:32]), day: binary.BigEndian.Uint32(k[32:]), id: protocol.EnvelopeID(k[36:68]),
		kind: protocol.FrameKind(k[68]), item: [16]byte(k[69:85]), shred: binary.BigEndian.Uint32(k[85:])}
	return n, nil
}

// forCatchUp says whether the envelope is part of what an older key buys:
// operations, headers, the keys that boxes are sealed to, and what is asked of the
// organisers.
func (n entry) forCatchUp() bool {
	switch n.kind {
	case protocol.KindOp, protocol.KindEpoch, protocol.KindPage, protocol.KindKeyPackage,
		protocol.KindKeyUpdate, protocol.KindBatch, protocol.KindReBox, protocol.KindChunk, protocol.KindInbox:
		return true
	}
	return false
}

// itemKey names one item in one epoch: a second envelope of it is dropped.
type itemKey struct {
	epoch protocol.EpochID
	item  [16]byte
	lane  bool
}

// envelopes is the index of what is stored.
type envelopes struct {
	byID   map[protocol.EnvelopeID]entry
	byItem map[itemKey]protocol.EnvelopeID
	unsent map[protocol.EnvelopeID]bool
}

func newEnvelopes() envelopes {
	return envelopes{byID: map[protocol.EnvelopeID]entry{}, byItem: map[itemKey]protocol.EnvelopeID{},
		unsent: map[protocol.EnvelopeID]bool{}}
}

func (h *envelopes) has(id protocol.EnvelopeID) bool { _, ok := h.byID[id]; return ok }

func (h *envelopes) get(id protocol.EnvelopeID) (entry, bool) { n, ok := h.byID[id]; return n, ok }

func (h *envelopes) hasItem(epoch protocol.EpochID, item protocol.ItemID, lane bool) bool {
	_, ok := h.byItem[itemKey{epoch, [16]byte(item[:16]), lane}]
	return ok
}

// ofItem returns the envelope of an item in a dated mailbox of an epoch.
func (h *envelopes) ofItem(epoch protocol.EpochID, item protocol.ItemID) (entry, bool) {
	id, ok := h.byItem[itemKey{epoch, [16]byte(item[:16]), false}]
	return h.byID[id], ok
}

func (h *envelopes) add(n entry) {
	h.byID[n.id] = n
	h.byItem[itemKey{n.epoch, n.item, n.day == 0}] = n.id
}

func (h *envelopes) remove(n entry) {
	delete(h.byID, n.id)
	delete(h.byItem, itemKey{n.epoch, n.item, n.day == 0})
	delete(h.unsent, n.id)
}

// ofEpoch lists the entries of an epoch that pass the filter, oldest mailbox
// first, in a fixed order.
func (h *envelopes) ofEpoch(epoch protocol.EpochID, keep func(entry) bool) []entry {
	var list []entry
	for _, n := range h.byID {
		if n.epoch == epoch && keep(n) {
			list = append(list, n)
		}
	}
	sortEntries(list)
	return list
}

func sortEntries(list []entry) {
	slices.SortFunc(list, func(a, b entry) int { return bytes.Compare(a.key(), b.key()) })
}

// keep stores an envelope and makes it part of reconciliation.
func (e *Engine) keep(n entry, envelope []byte) {
	e.held.add(n)
	e.put(tableEnvelopes, n.key(), envelope, n.shred)
	if s := e.epochs[n.epoch]; s != nil && s.reconciled(n) {
		s.recon.Add(reconItem(n))
	}
	delete(e.wants, n.id)
	e.dropClosed(n.id)
}

// unsentIn says whether nobody else is known to hold some own envelope of an epoch.
func (e *Engine) unsentIn(epoch protocol.EpochID) bool {
	for id := range e.held.unsent {
		if n, ok := e.held.get(id); ok && n.epoch == epoch {
			return true
		}
	}
	return false
}

// notTaken notes that nobody else holds an own envelope yet.
func (e *Engine) notTaken(n entry) {
	e.held.unsent[n.id] = true
	e.put(tableUnsent, n.id[:], []byte{1}, n.shred)
}

// taken notes, for good, that somebody else holds an own envelope.
func (e *Engine) taken(id protocol.EnvelopeID) {
	if !e.held.unsent[id] || e.unsentOf[id].again {
		return
	}
	if n, ok := e.held.get(id); ok && n.kind == protocol.KindOp && !e.log.Resolve().IsMember(e.self.memberID) {
		e.gateStale = true // who has left may be told of by now
	}
	e.dropUnsent(id)
	if len(e.held.unsent) == 0 {
		e.gateStale = true // who has left can go now
		e.deliver(Event{Kind: EventTaken, Own: true})
	}
}

// announce hints an envelope to the members that are connected. While links
// under a superseded epoch are still open, only what those may have is hinted.
func (e *Engine) announce(n entry) {
	if !n.forCatchUp() && e.draining() {
		for _, p := range e.sortedPeers() {
			if p.class == ClassMember && !p.old {
				e.sendIDs(p, msgHave, []protocol.EnvelopeID{n.id})
			}
		}
		return
	}
	e.ready.Announce = append(e.ready.Announce, n.id)
	for _, p := range e.sortedPeers() { // hints do not go through a carrier's circuit
		if p.limited && p.class == ClassMember && !p.old {
			e.sendIDs(p, msgHave, []protocol.EnvelopeID{n.id})
		}
	}
}
