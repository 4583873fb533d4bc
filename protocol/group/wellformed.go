package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// fits says whether the payload of n agrees with what its past says (spec 40
// section 4). The past is fixed by the parents, so the answer is the same for
// ever and everywhere; an operation that does not fit has no effect.
func (l *Log) fits(n *node) bool {
	switch p := n.payload.(type) {
	case Proposal:
		return l.followsDecision(n, p.Prev) && l.decides(n, p.Decision)
	case Vote:
		return l.proposalIn(n, p.Proposal) && l.followsVote(n, p)
	case RecoveryVote:
		return l.proposalIn(n, p.Proposal)
	}
	return true
}

func (l *Log) followsDecision(n *node, prev protocol.OpID) bool {
	return prev == protocol.OpID(l.id) || l.proposalIn(n, prev)
}

func (l *Log) proposalIn(n *node, id protocol.OpID) bool {
	i, ok := l.index[id]
	if !ok || !n.past.has(i) {
		return false
	}
	_, ok = l.nodes[i].payload.(Proposal)
	return ok
}

// followsVote demands the member's vote before it, so that no device can put its
// vote ahead of those that come.
func (l *Log) followsVote(n *node, v Vote) bool {
	if v.Seq == 1 {
		return true
	}
	i, ok := l.index[v.Prev]
	if !ok || !n.past.has(i) || l.nodes[i].op.Member != n.op.Member {
		return false
	}
	prev, ok := l.nodes[i].payload.(Vote)
	return ok && prev.Seq+1 == v.Seq
}

func (l *Log) decides(n *node, d Decision) bool {
	switch d := d.(type) {
	case GrantOrganiser:
		return l.certifiedAll(n, d.Target, d.Devices)
	case SetDevices:
		return l.certifiedAll(n, d.Target, d.Devices)
	}
	return true
}

// certifiedAll says whether the Genesis or the past certifies each device for
// this member, each with one key and for nobody else.
func (l *Log) certifiedAll(n *node, m identity.MemberID, devices []identity.DeviceID) bool {
	for _, d := range devices {
		var key *identity.DevicePublic
		var member *identity.MemberPublic
		for _, c := range l.certs[d] {
			if c.at >= 0 && !n.past.has(c.at) {
				continue
			}
			if c.member.ID() != m || key != nil && *key != c.key || member != nil && *member != c.member {
				return false
			}
			key, member = &c.key, &c.member
		}
		if key == nil {
			return false
		}
	}
	return !slices.Contains(devices, identity.DeviceID{})
}
