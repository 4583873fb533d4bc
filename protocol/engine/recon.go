package engine

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/recon"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Pauses between reconciliations of one link. The first is a short one: hints are lost
// that were given before gossip had begun on the link, and what was under way on one
// that it takes the place of. Then, when nothing is found, they back off.
var (
	reconAgain = Seconds(5)
	reconFirst = Seconds(60)
	reconLast  = Seconds(300)
)

// maxReconTags is how many epochs one link reconciles in one round: see keptByUse.
// In every round but the first all but reconAlways of them are drawn.
const (
	maxReconTags = 16
	reconAlways  = 2
)

// reconItem is an envelope in the set of its epoch: day and id.
func reconItem(n entry) recon.Item { return recon.Item{Time: uint64(n.day), ID: n.id} }

// session is one reconciliation that this side opened.
type session struct {
	run        *recon.Initiator
	set        recon.Set // as it was compared
	epoch      protocol.EpochID
	have, need [][32]byte // found so far, oldest first
	said       [2]int     // how many of them were dealt with before the end
}

// reconBody is the body of msgRecon.
type reconBody struct {
	_       struct{} `cbor:",toarray"`
	Tag     [16]byte
	Opening bool // from the side that opened the session
	Message []byte
}

// keptEpochs lists the epochs whose keys are held, newest first.
func (e *Engine) keptEpochs() []*epochState {
	var list []*epochState
	for _, s := range e.byGen {
		if s.keys != nil {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *epochState) int {
		return cmp.Or(cmp.Compare(b.header.Core.Gen, a.header.Core.Gen), bytes.Compare(a.id(), b.id()))
	})
	return list
}

// keptByUse lists the epochs whose keys are held in the order in which they matter:
// that in which the group sends, those that it can go on from, those that cannot be
// judged yet, and then what leads nowhere, of which whoever issues can make as much
// as he likes. Of each the newest first.
func (e *Engine) keptByUse() []*epochState {
	rank := map[*epochState]int{}
	list := e.keptEpochs()
	for _, s := range list {
		switch id := s.header.ID(); {
		case id == e.sending || id == e.lastOps:
			rank[s] = 0
		case e.sound(s):
			rank[s] = 1
		case !s.accepted:
			rank[s] = 2
		default:
			rank[s] = 3
		}
	}
	slices.SortStableFunc(list, func(a, b *epochState) int { return cmp.Compare(rank[a], rank[b]) })
	return list
}

// reconcileAll compares the kept epochs that matter most.
func (e *Engine) reconcileAll(p *peer) {
	p.recEach, p.nextRec = 0, e.now+reconAgain
	e.lookAtWants(e.now + idleFor)
	e.askNames(p)
	e.check(p, e.keptByUse())
}

// reconcileMore compares again. Where more epochs are kept than a round has
// room for it begins anywhere among them: somebody may hold a message of long ago
// that nobody else has.
func (e *Engine) reconcileMore(p *peer) error {
	list := e.keptByUse()
	if len(list) > maxReconTags {
		rest := list[reconAlways:]
		at, err := e.randomBelow(int64(len(rest)))
		if err != nil {
			return err
		}
		list = slices.Concat(list[:reconAlways], rest[at:], rest[:at])
	}
	e.askNames(p)
	e.check(p, list)
	if since := e.compares(); since != 0 && e.now >= since+idleFor {
		return e.askForMissed()
	}
	return nil
}

func (e *Engine) reconcile(p *peer, s *epochState) {
	// One session at a time for each epoch: an answer to an earlier one would be
	// taken for an answer to this one.
	if p.class != ClassMember || p.old || p.recon[s.tag] != nil {
		return
	}
	run, first, err := recon.NewInitiator(s.recon, p.frame())
	if err != nil {
		panic("engine: " + err.Error())
	}
	p.recon[s.tag] = &session{run: run, set: s.recon, epoch: s.header.ID()}
	e.sendRecon(p, s.tag, true, first)
}

func (e *Engine) sendRecon(p *peer, tag [16]byte, opening bool, message []byte) {
	e.send(p, msgRecon, wire.Marshal(reconBody{Tag: tag, Opening: opening, Message: message}))
}

// maxRecon is the largest body of msgRecon: a reconciliation message and its frame.
const maxRecon = recon.MaxMessage + 64

func parseRecon(body []byte) (reconBody, error) {
	var m reconBody
	err := wire.Unmarshal(body, maxRecon, &m)
	return m, err
}

func (e *Engine) onRecon(p *peer, body []byte) bool {
	m, err := parseRecon(body)
	if err != nil || e.join != nil {
		return false
	}
	if m.Tag == keysTag {
		return e.onKeysRecon(p, m)
	}
	if p.class != ClassMember || p.old {
		e.send(p, msgNone, wire.Marshal(m.Tag))
		return true
	}
	if !m.Opening {
		return e.onReconReply(p, m)
	}
	e.askNames(p)
	s := e.epochByTag(m.Tag)
	if s == nil {
		e.send(p, msgNone, wire.Marshal(m.Tag))
		return true
	}
	reply, err := recon.Respond(s.recon, p.frame(), m.Message)
	if err != nil {
		return false
	}
	if len(reply) > 1 { // something differs
		e.nameFirst(p, s)
	}
	e.sendRecon(p, m.Tag, false, reply)
	return true
}

func (e *Engine) onReconReply(p *peer, m reconBody) bool {
	ses := p.recon[m.Tag]
	if ses == nil {
		return true
	}
	next, have, need, done, err := ses.run.Step(m.Message)
	if err != nil && !errors.Is(err, recon.ErrSessionLimit) {
		delete(p.recon, m.Tag)
		return false
	}
	if p.recEach != 0 && slices.ContainsFunc(asEnvelopeIDs(need), e.lacks) {
		p.recEach = reconFirst
		p.nextRec = e.now + p.recEach
	}
	ses.have, ses.need = append(ses.have, have...), append(ses.need, need...)
	if p.limited {
		e.dealWith(p, ses) // it may be cut before the end
	}
	if !done && err == nil && !p.full() {
		e.sendRecon(p, m.Tag, true, next)
		return true
	}
	delete(p.recon, m.Tag)
	if done {
		e.foundThere(ses)
	}
	e.dealWith(p, ses)
	return true
}

// dealWith asks for what a session found to be lacking here and tells what is lacking
// there: the newest first, since what a person needs to know today is at the end of
// the days, and of what is told that first which matters most.
func (e *Engine) dealWith(p *peer, ses *session) {
	need, have := asEnvelopeIDs(ses.need[ses.said[0]:]), asEnvelopeIDs(ses.have[ses.said[1]:])
	ses.said = [2]int{len(ses.need), len(ses.have)}
	slices.Reverse(need)
	slices.Reverse(have)
	e.onHave(p, need)
	have = e.urgentFirst(e.epochs[ses.epoch], have)
	if p.limited {
		have = have[:min(len(have), max(p.left, 0)/protocol.BucketSmall+1)] // one more than it can bring: so that a new one follows
	}
	e.sendIDs(p, msgHave, have)
}

// foundThere notes which own envelopes the other side of a session holds: they came
// there by another way, through a ferry or in a file.
func (e *Engine) foundThere(ses *session) {
	if len(e.held.unsent) == 0 {
		return
	}
	lacks := map[[32]byte]bool{}
	for _, id := range ses.have {
		lacks[id] = true
	}
	for _, id := range protocol.SortIDs(slices.Collect(maps.Keys(e.held.unsent))) {
		if n, ok := e.held.get(id); ok && n.epoch == ses.epoch && !lacks[id] && ses.set.Has(reconItem(n)) {
			e.taken(id)
		}
	}
}

// tellHeaders tells a member that came under another epoch than the sending one
// of the headers that lead on: by the order of days they would come last.
func (e *Engine) tellHeaders(p *peer) {
	if protocol.EpochID(p.tag) == e.sending {
		return
	}
	var ids []protocol.EnvelopeID
	for _, s := range slices.Backward(e.keptEpochs()) {
		for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool { return n.kind == protocol.KindEpoch }) {
			ids = append(ids, n.id)
		}
	}
	e.sendIDs(p, msgHave, ids)
}

func asEnvelopeIDs(ids [][32]byte) []protocol.EnvelopeID {
	out := make([]protocol.EnvelopeID, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}

func (e *Engine) onNone(p *peer, body []byte) bool {
	var tag [16]byte
	if err := wire.Unmarshal(body, 17, &tag); err != nil {
		return false
	}
	delete(p.recon, tag)
	return true
}

func (e *Engine) epochByTag(tag [16]byte) *epochState {
	for _, s := range e.byGen {
		if s.keys != nil && s.tag == tag {
			return s
		}
	}
	return nil
}

// reconcileNew compares an epoch whose keys were just won, on every
// link: the other side may have opened it earlier, and then asked in vain.
func (e *Engine) reconcileNew(s *epochState) {
	for _, p := range e.sortedPeers() {
		e.reconcile(p, s)
	}
}

// tickPeers does what is due on the links, and closes those that have done
// their work under a superseded epoch.
func (e *Engine) tickPeers() error {
	if e.join != nil {
		e.joinTick()
		return nil
	}
	e.dueWants()
	e.parting()
	e.collectKeys()
	e.handOn()
	for _, p := range e.sortedPeers() {
		if p.dialled && p.class == ClassMember && !p.old && p.nextRec != 0 && e.now >= p.nextRec {
			if p.recEach == 0 && e.now < p.since+reconFirst && len(p.asked)+len(p.queue) > 0 {
				p.nextRec = e.now + reconAgain // there is much to bring first
				continue
			}
			p.recEach = min(max(p.recEach*2, reconFirst), reconLast)
			p.nextRec = e.now + p.recEach
			if err := e.reconcileMore(p); err != nil {
				return err
			}
		}
	}
	for _, p := range e.sortedPeers() {
		if p.until != 0 && e.now >= p.until {
			p.until = 0
			e.ready.Close = append(e.ready.Close, p.id)
		}
	}
	return nil
}
