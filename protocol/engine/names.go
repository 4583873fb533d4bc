package engine

import (
	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// A Welcome brings the names that the inviter's device held. One that was on its
// way then never opens for the newcomer: its key is not among those of the
// Welcome, or it is under an epoch that the newcomer never had. So members ask
// each other for the names that they lack, and get the signed originals.

// maxNames is how many names are asked for in one message.
const maxNames = 64

// askNames asks a member for the names that are lacking, once a minute at most.
func (e *Engine) askNames(p *peer) {
	if p.class != ClassMember || p.old || p.namesAt != 0 && e.now < p.namesAt+reconFirst {
		return
	}
	p.namesAt = e.now
	named := map[identity.MemberID]bool{e.self.memberID: true}
	for _, n := range e.feed.Names() {
		named[n.Member] = true
	}
	var ids []identity.MemberID
	for _, m := range e.log.Resolve().Members() {
		if !named[m.ID] && len(ids) < maxNames {
			ids = append(ids, m.ID)
		}
	}
	if p.names = len(ids); p.names > 0 {
		e.send(p, msgNames, wire.Marshal(ids))
	}
}

func parseNames(body []byte) ([]identity.MemberID, bool) {
	var ids []identity.MemberID
	err := wire.Unmarshal(body, maxNames*34+8, &ids)
	return ids, err == nil && len(ids) <= maxNames
}

// onNames gives the originals of names in force.
func (e *Engine) onNames(p *peer, body []byte) bool {
	ids, ok := parseNames(body)
	if !ok || e.join != nil || p.class != ClassMember {
		return false
	}
	asked := map[identity.MemberID]bool{}
	for _, id := range ids {
		asked[id] = !p.old
	}
	for _, id := range e.feed.Newest() {
		it := e.items[id]
		if it == nil || it.content.Type != protocol.TypeProfile || !asked[it.author] {
			continue
		}
		if b, err := e.row(tableItems, id[:]); err == nil && b != nil {
			e.send(p, msgName, b)
		}
	}
	return true
}

// onName takes a name that is lacking. Its signature and its author's right are
// checked as those of any content; what was not asked for is passed over.
func (e *Engine) onName(p *peer, body []byte) bool {
	if e.join != nil || p.class != ClassMember {
		return false
	}
	o, c, err := protocol.ParseOriginal(body)
	if err != nil {
		return false
	}
	m, ok := e.log.Resolve().MemberOfDevice(o.Device)
	if !ok || p.names == 0 || c.Type != protocol.TypeProfile {
		return true
	}
	p.names--
	if _, known := e.feed.Name(m.ID); !known {
		e.takeOriginal(body)
	}
	return true
}
