package engine

import (
	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// maxDialKeys is how many net keys a dialler tries: the newest three, one from the
// middle and the oldest. Who renewed keys more often than that since they last met
// has only old ones in common. After them it tries its newest rescue keys.
const (
	maxDialKeys   = 5
	maxDialRescue = 2
)

// maxGateKeys is how many keys the gate accepts.
const maxGateKeys = 64

// drainFor is how long links under a superseded epoch stay open, so that the
// new header and the operations before it reach the other side.
var drainFor = Seconds(3)

// catchUpFor is how long a catch-up link stays open if nothing comes of it: what
// arrives later is told on the next one.
var catchUpFor = Seconds(60)

// gate lists the keys under which connections are proven now.
func (e *Engine) gate() *Gate {
	g := &Gate{Device: e.self.device, Devices: map[identity.DeviceID]identity.DevicePublic{}}
	if e.join != nil {
		k := GateKey{Secret: e.join.root.Seed(), Class: ClassInvite, Tag: inviteTag(e.join.link.ID())}
		g.Dial = append(g.Dial, k)
		return g
	}
	roster := e.log.Resolve()
	if !roster.IsMember(e.self.memberID) && !e.leaving() {
		e.knockKeys(g)
		return g // shut out: there is nobody to talk to, most of the time
	}
	e.admitRoster(g)
	// The sending epoch first; while sending waits, the last one.
	first := e.epochs[e.sending]
	if first == nil {
		first = e.epochs[e.lastOps]
	}
	for _, s := range append([]*epochState{first}, e.keptByUse()...) {
		if s == nil || s.keys == nil || s == first && len(g.Accept) > 0 {
			continue
		}
		k := GateKey{Secret: s.keys.Net().Seed(), Class: ClassCatchUp, Tag: s.header.ID()}
		if s == first || e.counts(s) && !e.superseded(s.header.ID()) {
			k.Class = ClassMember
		}
		if len(g.Accept) < maxGateKeys/2 {
			g.Accept = append(g.Accept, k)
		}
	}
	for i, k := range g.Accept {
		if n := len(g.Accept); i < maxDialKeys-2 || i == (maxDialKeys-3+n)/2 || i == n-1 {
			g.Dial = append(g.Dial, k)
		}
	}
	g.Dial = append(g.Dial, e.ownRescueKeys()...)
	rescue := e.rescueKeys()
	ahead := min(len(rescue), maxGateKeys/4)
	g.Accept = append(g.Accept, rescue[:ahead]...)
	for _, id := range e.sortedInvites() {
		if len(g.Accept) == maxGateKeys {
			break
		}
		if l := e.invites[id].link(); l.Expires > e.now.Unix() || e.stillServes(id) {
			g.Accept = append(g.Accept, GateKey{Secret: epoch.RendezvousOf(l.Secret, id).Seed(), Class: ClassInvite, Tag: inviteTag(id)})
		}
	}
	for _, k := range rescue[ahead:] {
		if len(g.Accept) < maxGateKeys {
			g.Accept = append(g.Accept, k)
		}
	}
	return g
}

// admitRoster makes the devices of the group those whose signature is taken.
func (e *Engine) admitRoster(g *Gate) {
	for _, m := range e.log.Resolve().Members() {
		for _, d := range m.Devices {
			g.Devices[d.ID] = d.Public
		}
	}
}

// inviteTag is an invite id as the tag of a gate key.
func inviteTag(id protocol.InviteID) (tag [32]byte) {
	copy(tag[:], id[:])
	return tag
}

// moveLinks follows a change of the sending epoch: whoever is connected under
// an epoch that lacks a removal gets header and operations, then the link is
// closed and made again under the new key.
func (e *Engine) moveLinks() {
	for _, p := range e.sortedPeers() {
		switch {
		case p.rescue != nil && !p.rescue.done:
			// It ends when all was given, or with its own time.
		case p.class == ClassCatchUp:
			// This side caught up, and comes back as a member.
			p.until = min(p.until, e.now+drainFor)
		case p.class == ClassMember && !p.old && e.superseded(protocol.EpochID(p.tag)):
			p.old, p.until = true, e.now+drainFor
			p.recon = map[[16]byte]*session{}
			e.handOver(p)
		}
	}
}

// draining says whether links under a superseded epoch are still open.
func (e *Engine) draining() bool {
	for _, p := range e.peers {
		if p.class == ClassMember && p.old {
			return true
		}
	}
	return false
}

// handOver tells a link that is behind what it needs to catch up: headers,
// operations and keys of all kept epochs in order of generation, so that each
// header opens the mailboxes of what follows. Of those before the link's epoch
// only what led elsewhere is told: the other side has the rest. What lies under the
// link's epoch is not named again under others.
func (e *Engine) handOver(p *peer) {
	from := e.epochs[protocol.EpochID(p.tag)]
	if from == nil {
		return
	}
	elsewhere := map[protocol.EpochID]bool{}
	for id, s := range e.epochs {
		if !e.descends(from.header.ID(), id) {
			elsewhere[id] = true
			for _, parent := range s.header.Core.Parents {
				elsewhere[parent] = true
			}
		}
	}
	var ids []protocol.EnvelopeID
	for _, s := range e.byGen {
		wanted := entry.forCatchUp
		if s != from && !elsewhere[s.header.ID()] {
			// Each key builds on the one before, which may lie under an older epoch, and a
			// ReBox under the newest that its sealer knew the other side to have.
			wanted = func(n entry) bool { return n.isKey() || n.kind == protocol.KindReBox || n.kind == protocol.KindChunk }
		}
		for _, n := range e.held.ofEpoch(s.header.ID(), wanted) {
			if _, there := e.held.byItem[itemKey{from.header.ID(), n.item, false}]; !there || s == from {
				ids = append(ids, n.id)
			}
		}
	}
	e.sendIDs(p, msgHave, ids)
}
