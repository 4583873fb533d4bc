package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Effects returns the operations that make the group what it is: effective
// decisions, suspensions that count, and what added, removed, granted and
// revoked. An operation that is not among them has no effect, or does not
// concern who is in the group. The map is the caller's.
func (r *Roster) Effects() map[protocol.OpID]bool {
	x := r.resolver
	out := map[protocol.OpID]bool{}
	add := func(list []int) {
		for _, i := range list {
			out[x.log.nodes[i].id] = true
		}
	}
	for _, byMember := range []map[identity.MemberID][]int{x.adds, x.removes, x.grants, x.revokes, x.ownAdds} {
		for _, list := range byMember {
			add(list)
		}
	}
	for _, byDevice := range []map[identity.DeviceID][]int{x.addsOf, x.drops} {
		for _, list := range byDevice {
			add(list)
		}
	}
	for _, d := range x.auth.chain {
		add([]int{d.at})
	}
	for _, list := range x.auth.remaining {
		for _, s := range list {
			add([]int{s.at})
		}
	}
	return out
}

// Organised says whether the member organises, or did by the Genesis or an
// effective decision.
func (r *Roster) Organised(m identity.MemberID) bool {
	return r.resolver.auth.organised(m, func(int) bool { return true })
}

// Operates says whether the device is an operating device of the member, who
// organises: whether it votes. A suspended organiser's does.
func (r *Roster) Operates(m identity.MemberID, d identity.DeviceID) bool {
	return r.resolver.auth.operates(m, d)
}

// ByPast returns the ids of all operations by how much each had seen, then by
// id: one order on every device, in which each comes after what it builds on.
func (l *Log) ByPast() []protocol.OpID {
	order := make([]int, len(l.nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, l.byPast)
	out := make([]protocol.OpID, len(order))
	for k, i := range order {
		out[k] = l.nodes[i].id
	}
	return out
}
