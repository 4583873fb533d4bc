package engine

import (
	"slices"

	"github.com/palabre-app/palabre/protocol"
)

// wantFor is how long a peer may give nothing of what it announced before another is
// asked, and wantMost how long it has more in all: a slow line gives one after the other.
var (
	wantFor  = Seconds(10)
	wantMost = Seconds(110)
)

// maxAhead is how many bytes are asked for on one link and not given yet. They take as
// much room at the holder, who hands them to the line at once: a link with more than
// 4 MiB waiting is closed there (spec 60 section 6).
const maxAhead = 7 << 19

// window is how many envelopes are asked for on a link and not given yet: as if all
// were as large as the largest that came on it lately, or as any is while none has come.
func (p *peer) window() int {
	if p.limited {
		size := max(p.largest, protocol.BucketSmall)
		return min((max(p.left, 0)+size-1)/size, maxAhead/size)
	}
	if p.largest == 0 {
		return maxAhead / protocol.BucketLarge
	}
	return maxAhead / p.largest
}

// maxSources is how many peers are remembered as holders of one envelope.
const maxSources = 6

// want is an envelope known to exist and not held.
type want struct {
	asked   Peer // 0: nobody is asked now
	until   Time
	sources []Peer // others that said they hold it
	idle    Time   // since when there is none; while somebody is asked it says nothing
}

func (w *want) drop(id Peer) {
	w.sources = slices.DeleteFunc(w.sources, func(p Peer) bool { return p == id })
}

// onHave learns that p holds envelopes: those that are lacking are asked for,
// own ones among them are no longer unsent.
func (e *Engine) onHave(p *peer, ids []protocol.EnvelopeID) {
	for _, id := range ids {
		if e.held.has(id) {
			e.taken(id)
			continue
		}
		if e.unwanted(id) {
			continue
		}
		if w := e.wants[id]; w != nil {
			if w.asked != p.id && len(w.sources) < maxSources && !slices.Contains(w.sources, p.id) {
				w.sources = append(w.sources, p.id)
			}
			if w.asked == 0 {
				e.askNext(id, w)
			}
			continue
		}
		if len(e.wants) >= maxQueued {
			e.dropIdleWants() // a peer that announces what it does not give bars nobody
		}
		if len(e.wants) >= maxQueued {
			break // reconciliation finds the rest later
		}
		w := &want{}
		e.wants[id] = w
		e.ask(id, w, p)
	}
	e.pump(p)
}

func (e *Engine) ask(id protocol.EnvelopeID, w *want, p *peer) {
	w.asked, w.until = p.id, 0 // the time runs from when it is sent
	p.queue = append(p.queue, id)
}

// askNext turns to another holder; with none left the want stays, so that the
// person is told that something is missing, until somebody has it.
func (e *Engine) askNext(id protocol.EnvelopeID, w *want) {
	w.asked, w.until, w.idle = 0, 0, e.now
	e.lookAtWants(e.now + idleFor)
	for len(w.sources) > 0 {
		p := e.peers[w.sources[0]]
		w.sources = w.sources[1:]
		if p != nil {
			e.ask(id, w, p)
			e.pump(p)
			return
		}
	}
}

// pump sends what is queued for a peer as far as its window allows. A link that a
// carrier cuts soon is closed once it can bring no more: a new one can.
func (e *Engine) pump(p *peer) {
	var ids []protocol.EnvelopeID
	for len(p.queue) > 0 && len(p.asked) < p.window() {
		id := p.queue[0]
		p.queue = p.queue[1:]
		w := e.wants[id]
		if w == nil || w.asked != p.id {
			continue
		}
		w.until = e.now + wantFor
		e.lookAtWants(w.until)
		ids = append(ids, id)
		p.asked[id] = true
	}
	e.sendIDs(p, msgWant, ids)
	if p.limited && p.left <= 0 && len(p.asked) == 0 && len(p.queue) > 0 {
		e.ready.Close = append(e.ready.Close, p.id)
	}
}

// answered takes note that p gave, or does not have, one envelope.
func (e *Engine) answered(p *peer, id protocol.EnvelopeID) {
	delete(p.asked, id)
	if len(p.asked) <= p.window()/2 {
		e.pump(p)
	}
}

func (e *Engine) onLack(p *peer, ids []protocol.EnvelopeID) {
	for _, id := range ids {
		if w := e.wants[id]; w != nil && w.asked == p.id {
			e.askNext(id, w)
			if w.asked == 0 {
				delete(e.wants, id) // the last that claimed to hold it does not
			}
		}
		e.answered(p, id)
	}
}

// onWant gives what a link of its class may have.
func (e *Engine) onWant(p *peer, ids []protocol.EnvelopeID) {
	var lacking []protocol.EnvelopeID
	ahead := 0
	for _, id := range ids {
		entry, ok := e.held.get(id)
		if !ok || !p.mayHave(entry) || ahead >= maxAhead { // reconciliation finds it again
			lacking = append(lacking, id)
			continue
		}
		envelope, err := e.cfg.Storage.Get(tableEnvelopes, entry.key())
		if err != nil || envelope == nil {
			lacking = append(lacking, id)
			continue
		}
		ahead += len(envelope)
		e.send(p, msgGive, envelope)
		if entry.kind == protocol.KindOp && e.held.unsent[id] {
			p.parted = e.now // only what is heard closes the gate: see parting
			continue
		}
		e.taken(id)
	}
	e.sendIDs(p, msgLack, lacking)
}

// mayHave says what a link's class opens: members everything, links under an
// older key only what catching up needs (spec 65 section 4).
func (p *peer) mayHave(entry entry) bool {
	switch p.class {
	case ClassMember:
		return !p.old || entry.forCatchUp()
	case ClassCatchUp:
		return entry.forCatchUp()
	}
	return false
}

// dueAt is when another holder is asked in the place of one that was, or it is forgotten;
// 0: neither.
func (e *Engine) dueAt(w *want) Time {
	if since := e.compares(); w.asked == 0 && since != 0 {
		return max(w.idle, since) + idleFor
	}
	if p := e.peers[w.asked]; p != nil && w.until != 0 {
		return max(w.until, min(p.gave+wantFor, w.until+wantMost))
	}
	return w.until
}

// lookAtWants has the wants looked at then, if not before.
func (e *Engine) lookAtWants(at Time) {
	if e.wantsDue == 0 || at < e.wantsDue {
		e.wantsDue = at
	}
}

// dueWants asks others for what was not given in time, and forgets what nobody gives.
func (e *Engine) dueWants() {
	if e.wantsDue == 0 || e.now < e.wantsDue {
		return // to look at each want after each input costs more than all else of it
	}
	e.wantsDue = 0
	e.dropOldWants()
	defer func() {
		for _, w := range e.wants {
			if at := e.dueAt(w); at != 0 {
				e.lookAtWants(at)
			}
		}
	}()
	for _, id := range e.sortedWants(func(w *want) bool { return w.asked != 0 && w.until != 0 && e.now >= e.dueAt(w) }) {
		w := e.wants[id]
		p := e.peers[w.asked]
		e.askNext(id, w)
		if p != nil {
			e.answered(p, id)
		}
	}
}

// idleFor is for how long what nobody gives counts as missing, while there is a
// member with whom epochs are compared: he would have it.
var idleFor = Seconds(600)

// dropOldWants forgets what was heard of once, and was not found on a link since: it
// may lie in an epoch that is not for this device.
func (e *Engine) dropOldWants() {
	since := e.compares()
	for id, w := range e.wants {
		if w.asked == 0 && since != 0 && max(w.idle, since)+idleFor <= e.now {
			delete(e.wants, id)
		}
	}
}

// compares is since when there is a member with whom this device compares epochs; 0:
// there is none.
func (e *Engine) compares() (since Time) {
	for _, p := range e.peers {
		if p.dialled && p.class == ClassMember && !p.old && (since == 0 || p.since < since) {
			since = p.since
		}
	}
	return since
}

// dropIdleWants forgets what nobody who is connected holds: it may be gone for
// good, and whoever comes with it says so again.
func (e *Engine) dropIdleWants() {
	for id, w := range e.wants {
		if w.asked == 0 {
			delete(e.wants, id)
		}
	}
}

// sortedWants lists the wants that pass the filter in a fixed order, so that a
// run replays.
func (e *Engine) sortedWants(keep func(*want) bool) []protocol.EnvelopeID {
	var ids []protocol.EnvelopeID
	for id, w := range e.wants {
		if keep(w) {
			ids = append(ids, id)
		}
	}
	return protocol.SortIDs(ids)
}
