package engine

import (
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Messages between peers: a type byte, then the body (spec 65 section 2).
const (
	msgHave       = 1  // list of envelope ids that the sender holds
	msgWant       = 2  // list of envelope ids to be given
	msgGive       = 3  // one envelope
	msgLack       = 4  // list of wanted ids that are not held, or not for this link
	msgRecon      = 5  // [tag, opening 0/1, reconciliation message]
	msgNone       = 6  // tag of an epoch that is not known here
	msgFetch      = 7  // list of mailboxes to be given whole, now and when more comes
	msgEnd        = 8  // mailbox: all of it that is held was given
	msgClock      = 9  // unix seconds of the sender's clock
	msgNames      = 10 // members whose names the sender lacks
	msgName       = 11 // the original of a name
	msgUsed       = 12 // the invite that this link was proven under is used up
	msgHeads      = 13 // the operations that nothing of the sender's builds on: on a link of a rescue key
	msgPages      = 14 // [look further, addresses of page mailboxes]: pages to be given, now or when they come
	msgKeysWanted = 15 // item ids, by their first halves, of keys and inbox items to be given
	msgKeys       = 16 // frames of keys and inbox items, for organisers' devices
	msgCheck      = 17 // [tag, fingerprint] of epochs: does the other side hold the same?
	msgChecked    = 18 // one byte for each of them
)

// Bounds of a peer's messages and of what is kept for it.
const (
	maxIDs       = 1_024 // in one message
	maxMailboxes = 8     // asked for on one link
	maxQueued    = 65_536
)

// peer is one link.
type peer struct {
	id       Peer
	class    Class
	tag      [32]byte
	dialled  bool
	since    Time
	old      bool                         // proven under an epoch that is no longer the sending one
	until    Time                         // when it is closed; 0: it is not
	asked    map[protocol.EnvelopeID]bool // asked for and not yet given
	gave     Time                         // when it gave one last
	largest  int                          // bytes of the largest that it gave lately
	limited  bool                         // a carrier cuts it after so many bytes
	left     int                          // of a limited one: bytes of envelopes that it may still bring
	named    map[[16]byte]bool            // epochs of which it was told what matters most
	queue    []protocol.EnvelopeID
	watch    map[protocol.MailboxID]bool
	recon    map[[16]byte]*session
	checking []session // epochs of the open question whether the other side holds the same
	nextRec  Time
	namesAt  Time  // when it was last looked whether to ask for names
	names    int   // how many it was asked for and has not given
	told     bool  // it told its time
	clock    int64 // its clock less this one, in seconds
	toldAt   Time  // when it was told the time of this clock
	recEach  Time
	parted   Time                        // when the own departure was given on it; 0: it was not
	rescue   *rescueLink                 // of a link that was proven under a rescue key
	pages    map[protocol.MailboxID]bool // asked for by it and not held here
	// collects: it asked for keys on this link, as an organiser's device does
	collects           bool
	nextKeys, keysEach Time // when it is asked for keys again
}

func (e *Engine) peerUp(in PeerUp) {
	p := &peer{id: in.Peer, class: in.Class, tag: in.Tag, dialled: in.Dialled,
		limited: in.Limit > 0, left: in.Limit / 32 * 25, named: map[[16]byte]bool{}, since: e.now, asked: map[protocol.EnvelopeID]bool{},
		watch: map[protocol.MailboxID]bool{}, recon: map[[16]byte]*session{}, pages: map[protocol.MailboxID]bool{}}
	e.peers[in.Peer] = p
	switch {
	case e.join != nil:
		e.joinPeerUp(p)
	case in.Class == ClassMember:
		// While sending waits the last epoch is the best there is: whoever comes under
		// it must hear of what does not wait.
		now := e.sending
		if now == (protocol.EpochID{}) {
			now = e.lastOps
		}
		p.old = protocol.EpochID(in.Tag) != now && e.superseded(protocol.EpochID(in.Tag))
		if p.old {
			p.until = e.now + drainFor
			e.handOver(p)
			return
		}
		e.tellClock(p)
		e.askNames(p)
		e.tellHeaders(p)
		// Who visited a ferry and has something that nobody is known to hold asks as well: it
		// may be there.
		if p.dialled || len(e.carriers) > 0 && len(e.held.unsent) > 0 {
			e.reconcileAll(p)
		}
	case in.Class == ClassCatchUp:
		p.until = e.now + catchUpFor
		if !e.rescueUp(p) {
			e.handOver(p)
		}
	}
}

func (e *Engine) peerDown(id Peer) {
	p := e.peers[id]
	if p == nil {
		return
	}
	delete(e.peers, id)
	e.losePeer(id)
	for _, w := range e.wants {
		w.drop(id)
	}
	for _, envelope := range e.sortedWants(func(w *want) bool { return w.asked == id }) {
		w := e.wants[envelope]
		if e.askNext(envelope, w); w.asked == 0 && (p.old || p.class == ClassCatchUp) {
			// Who said so may have been shut out. If others have it, they say so too.
			delete(e.wants, envelope)
		}
	}
}

// receive takes one message of a link. A peer that does not keep to the
// protocol is closed; nothing it said counts.
func (e *Engine) receive(in Received) {
	if l := e.ferries[in.Peer]; l != nil {
		e.fromFerry(l, in.Data)
		return
	}
	p := e.peers[in.Peer]
	if p == nil || len(in.Data) == 0 {
		return
	}
	if t := in.Data[0]; p.class == ClassInvite && (t <= msgNone && t != msgGive || t == msgCheck || t == msgChecked) {
		return // strangers and members have nothing of this to say to each other
	}
	body := in.Data[1:]
	ok := true
	switch in.Data[0] {
	case msgHave:
		ok = e.onIDs(body, func(ids []protocol.EnvelopeID) { e.onHave(p, ids) })
	case msgWant:
		ok = e.onIDs(body, func(ids []protocol.EnvelopeID) { e.onWant(p, ids) })
	case msgLack:
		ok = e.onIDs(body, func(ids []protocol.EnvelopeID) { e.onLack(p, ids) })
	case msgGive:
		ok = e.onGive(p, body)
	case msgRecon:
		ok = e.onRecon(p, body)
	case msgNone:
		ok = e.onNone(p, body)
	case msgCheck:
		ok = e.onCheck(p, body)
	case msgChecked:
		ok = e.onChecked(p, body)
	case msgFetch:
		ok = e.onFetch(p, body)
	case msgEnd:
		ok = e.onEnd(p, body)
	case msgClock:
		ok = e.onClock(p, body)
	case msgUsed:
		e.onUsed(p)
	case msgHeads:
		ok = e.onHeads(p, body)
	case msgNames:
		ok = e.onNames(p, body)
	case msgName:
		ok = e.onName(p, body)
	case msgPages:
		ok = e.onPages(p, body)
	case msgKeysWanted:
		ok = e.onKeysWanted(p, body)
	case msgKeys:
		ok = e.onKeys(p, body)
	}
	if !ok {
		e.ready.Close = append(e.ready.Close, p.id)
	}
}

func (e *Engine) hinted(in Hinted) {
	if p := e.peers[in.Peer]; p != nil && p.class == ClassMember && e.join == nil {
		e.onHave(p, in.IDs)
	}
}

func (e *Engine) onIDs(body []byte, f func([]protocol.EnvelopeID)) bool {
	var ids []protocol.EnvelopeID
	if err := wire.Unmarshal(body, maxIDs*34+8, &ids); err != nil || len(ids) > maxIDs {
		return false
	}
	if e.join == nil {
		f(ids)
	}
	return true
}

func (e *Engine) send(p *peer, kind byte, body []byte) {
	data := append(make([]byte, 0, 1+len(body)), kind)
	e.ready.Send = append(e.ready.Send, Outgoing{Peer: p.id, Data: append(data, body...)})
}

func (e *Engine) sendIDs(p *peer, kind byte, ids []protocol.EnvelopeID) {
	for len(ids) > 0 {
		n := min(len(ids), maxIDs)
		e.send(p, kind, wire.Marshal(ids[:n]))
		ids = ids[n:]
	}
}
