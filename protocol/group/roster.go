package group

import (
	"fmt"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Role is what a member may do.
type Role uint8

// Roles, rising.
const (
	Reader    Role = iota + 1
	Author         // may post where the policy asks for authors
	Organiser      // may post, invite, remove, grant and issue epochs
)

// String returns reader, author or organiser.
func (r Role) String() string {
	switch r {
	case Reader:
		return "reader"
	case Author:
		return "author"
	case Organiser:
		return "organiser"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Device is one device of a member.
type Device struct {
	ID     identity.DeviceID
	Public identity.DevicePublic
	// KeyPackage is the item id of the package that the AddMember names: of the
	// add that had seen most, if there are several. Zero for a founder's device,
	// whose first keys are in the Genesis.
	KeyPackage protocol.ItemID
	Operating  bool // acts for an organiser
	Effective  bool // boxed in new epochs, posts and acts; false in Former only
}

// Member is one person in the group.
type Member struct {
	ID     identity.MemberID
	Public identity.MemberPublic
	Role   Role
	// Suspended: an organiser whom another one stopped, until a quorum decides.
	// Its devices are not boxed and its operations have no effect; it still votes.
	Suspended bool
	Devices   []Device // effective, sorted by id, at most MaxDevicesPerMember
	Former    []Device // certified but removed or over the limit, sorted by id
}

// Roster is who is in the group by one causally closed set of operations. It
// does not change; its slices are shared and must not be written to.
type Roster struct {
	resolver *resolver
	policy   Policy
	list     []Member
	members  map[identity.MemberID]int
	devices  map[identity.DeviceID]int
	removals []protocol.OpID

	boxed, operators []identity.DeviceID
}

// rosterCache keeps what was resolved. A roster depends on its heads alone, so
// it never goes stale; only that of all operations does.
type rosterCache struct {
	now *Roster
	at  map[string]*Roster
}

// maxCachedRosters bounds the cache; it is emptied when full.
const maxCachedRosters = 32

// Resolve returns the roster by all operations of the log. The same pointer
// comes back until an operation is added.
func (l *Log) Resolve() *Roster {
	if l.rosters.now == nil {
		var all set
		for i := range l.heads {
			all = union(all, l.nodes[i].past).with(i)
		}
		l.rosters.now = l.resolve(all)
	}
	return l.rosters.now
}

// At returns the roster by heads and their past: what a message or an epoch
// that names these heads is judged by. False: the log lacks one of them.
func (l *Log) At(heads []protocol.OpID) (*Roster, bool) {
	if !l.hasAll(heads) {
		return nil, false
	}
	if l.areHeads(heads) {
		return l.Resolve(), true
	}
	var key strings.Builder
	for _, h := range heads {
		key.Write(h[:])
	}
	if r := l.rosters.at[key.String()]; r != nil {
		return r, true
	}
	r := l.resolve(l.closure(heads))
	if l.rosters.at == nil || len(l.rosters.at) >= maxCachedRosters {
		l.rosters.at = map[string]*Roster{}
	}
	l.rosters.at[key.String()] = r
	return r, true
}

// areHeads says whether the ids, without repeats, are all heads of the log.
func (l *Log) areHeads(ids []protocol.OpID) bool {
	if len(ids) != len(l.heads) || !protocol.SortedIDs(ids) {
		return false
	}
	for _, id := range ids {
		if !l.heads[l.index[id]] {
			return false
		}
	}
	return true
}

// Policy returns the policy in force.
func (r *Roster) Policy() Policy { return r.policy }

// Members returns all members, sorted by id.
func (r *Roster) Members() []Member { return r.list }

// Member returns the member with the id.
func (r *Roster) Member(id identity.MemberID) (Member, bool) {
	i, ok := r.members[id]
	if !ok {
		return Member{}, false
	}
	return r.list[i], true
}

// IsMember says whether the person is in the group.
func (r *Roster) IsMember(id identity.MemberID) bool { _, ok := r.members[id]; return ok }

// MemberOfDevice returns the member whose effective device it is.
func (r *Roster) MemberOfDevice(d identity.DeviceID) (Member, bool) {
	i, ok := r.devices[d]
	if !ok {
		return Member{}, false
	}
	return r.list[i], true
}

// DeviceCount returns the number of effective devices.
func (r *Roster) DeviceCount() int { return len(r.devices) }

// IsOrganiser says whether the device acts for an organiser who is not
// suspended: whether its single-signature operations and its epochs have
// authority.
func (r *Roster) IsOrganiser(d identity.DeviceID) bool {
	m, ok := r.MemberOfDevice(d)
	return ok && !m.Suspended && r.resolver.auth.operates(m.ID, d)
}

// MayPost says whether the policy lets the member post. The device that posts
// must also be an effective one of that member (MemberOfDevice).
func (r *Roster) MayPost(id identity.MemberID) bool {
	m, ok := r.Member(id)
	if !ok || m.Suspended {
		return false
	}
	switch r.policy.Posting {
	case PostAll:
		return true
	case PostAuthors:
		return m.Role >= Author
	}
	return m.Role == Organiser
}

// Removals returns the operations that took a member or a device out, sorted,
// suspensions in force among them. Whether an epoch is clear of those whom they
// took out is told by Log.Uncovered.
func (r *Roster) Removals() []protocol.OpID { return r.removals }

// Cutoff returns the cut-off in force for a device: messages count as said
// before the removal only up to it, along the device's chain. Seq 0 lets none
// count. False: there is none. The lowest wins.
func (r *Roster) Cutoff(d identity.DeviceID) (Cutoff, bool) {
	return r.resolver.cutoff(d, func(int) bool { return true })
}

// Cutoff returns the cut-off in force, by all operations, for a message of the
// device that names heads. A removal answered by an add that the message had
// seen does not cut it. If the log lacks a head, nothing counts as seen.
func (l *Log) Cutoff(d identity.DeviceID, heads []protocol.OpID) (Cutoff, bool) {
	var seen set
	if l.hasAll(heads) {
		seen = l.closure(heads)
	}
	return l.Resolve().resolver.cutoff(d, seen.has)
}
