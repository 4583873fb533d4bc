package engine

import (
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// onFetch gives the whole of the mailboxes asked for, and goes on giving what
// comes into them while the link lasts. Knowing the address of a card or rescue
// mailbox is the right to read it: the address comes from a secret.
func (e *Engine) onFetch(p *peer, body []byte) bool {
	var ids []protocol.MailboxID
	if err := wire.Unmarshal(body, maxMailboxes*34+8, &ids); err != nil || len(ids) > maxMailboxes ||
		len(p.watch)+len(ids) > maxMailboxes || e.join != nil || p.class != ClassInvite {
		return false
	}
	for _, id := range ids {
		p.watch[id] = true
		if card := e.cardEnvelope(id); card != nil {
			e.send(p, msgGive, card)
		}
		for _, envelope := range e.rescue[id] {
			e.send(p, msgGive, envelope)
		}
		e.send(p, msgEnd, wire.Marshal(id))
	}
	return true
}

// deposit puts envelopes for a joiner into its rescue mailbox.
func (e *Engine) deposit(id protocol.MailboxID, envelopes [][]byte, until protocol.Day) {
	for i, envelope := range envelopes {
		e.put(tableRescue, mailboxKey(id, uint32(i)), envelope, until)
	}
	e.rescue[id] = envelopes
	for _, p := range e.sortedPeers() {
		if !p.watch[id] {
			continue
		}
		for _, envelope := range envelopes {
			e.send(p, msgGive, envelope)
		}
		e.send(p, msgEnd, wire.Marshal(id))
	}
}

func (e *Engine) onEnd(p *peer, body []byte) bool {
	var id protocol.MailboxID
	if err := wire.Unmarshal(body, 34, &id); err != nil {
		return false
	}
	if e.join != nil {
		e.joinMailboxEnd(p, id)
	} else if p.rescue != nil {
		return e.onRescueEnd(p, id)
	} else {
		e.lacksPage(p, id)
	}
	return true
}

// onGive takes an envelope: from members what was asked for, on an invite's
// connection a join request, as a joiner the card and the Welcome.
func (e *Engine) onGive(p *peer, envelope []byte) bool {
	if protocol.Check(envelope) != protocol.Accept {
		return false
	}
	if e.join != nil {
		e.joinEnvelope(p, envelope)
		return true
	}
	if p.class == ClassInvite {
		return e.onRequestEnvelope(p, envelope)
	}
	if p.rescue != nil {
		return e.onRescued(p, envelope)
	}
	if env, err := protocol.ParseEnvelope(envelope); err == nil {
		if k, ok := e.pages.known[env.Mailbox]; ok {
			return e.givenPage(p, k, envelope)
		}
	}
	id := protocol.IDOf(envelope)
	p.left -= len(envelope)
	p.gave, p.largest = e.now, max(p.largest-p.largest/16, len(envelope))
	e.answered(p, id)
	if e.wants[id] == nil {
		return true // came by another way, or never asked for: nothing unasked is taken
	}
	delete(e.wants, id)
	switch e.take(envelope) {
	case protocol.Reject:
		return false
	case protocol.Ignore:
		e.refuse(id)
	}
	return true
}

// maxRefused bounds the memory of what need not be asked for again.
const maxRefused = 8_192

func (e *Engine) refuse(id protocol.EnvelopeID) {
	if len(e.refused) >= maxRefused {
		clear(e.refused)
	}
	e.refused[id] = true
}

// sortedPeers lists the links in a fixed order, so that a run replays.
func (e *Engine) sortedPeers() []*peer {
	list := make([]*peer, 0, len(e.peers))
	for _, p := range e.peers {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *peer) int { return int(int64(a.id) - int64(b.id)) })
	return list
}
