package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// resolver works out the roster of one causally closed set of operations
// (spec 40 section 6). Operations are named by their index in the log.
type resolver struct {
	log  *Log
	view set
	auth *authority

	adds     map[identity.MemberID][]int // valid AddMembers, with a certificate that is not void
	removes  map[identity.MemberID][]int // valid; of an organiser only expulsions
	grants   map[identity.MemberID][]int // valid
	revokes  map[identity.MemberID][]int // valid
	addsOf   map[identity.DeviceID][]int // valid AddMembers and AddDevices
	drops    map[identity.DeviceID][]int // valid, also by the owner and by SetDevices
	ownAdds  map[identity.MemberID][]int // valid AddDevices
	claims   map[identity.DeviceID][]int // AddDevices whether valid or not, certificate not void
	owner    map[identity.DeviceID]owner // by certificates that are not void
	rejected map[protocol.EpochID]bool
}

// owner is who has a device, by the certificates.
type owner struct {
	device identity.DevicePublic
	member identity.MemberPublic
}

// sorted operations of a view by what they do.
type sorting struct {
	adds, addDevices, own, leaves []int
}

func (l *Log) resolve(view set) *Roster {
	r := &resolver{
		log: l, view: view, auth: l.authority(view),
		adds: map[identity.MemberID][]int{}, addsOf: map[identity.DeviceID][]int{},
		removes: map[identity.MemberID][]int{}, drops: map[identity.DeviceID][]int{},
		grants: map[identity.MemberID][]int{}, revokes: map[identity.MemberID][]int{},
		ownAdds: map[identity.MemberID][]int{}, claims: map[identity.DeviceID][]int{}, owner: map[identity.DeviceID]owner{},
		rejected: map[protocol.EpochID]bool{},
	}
	s := r.sort(view)
	r.takeDecisions()
	r.takeAdds(s.adds)
	r.takeClaims(s.addDevices)
	r.takeLeaves(s.leaves, r.standingClaims(s.addDevices))
	r.takeOwnDrops(s.own, r.standingClaims(s.addDevices))
	r.takeAddDevices(s.addDevices)
	return r.roster()
}

// sort files operations that one organiser may sign, and lays the others aside.
func (r *resolver) sort(view set) (s sorting) {
	view.each(func(i int) {
		n := &r.log.nodes[i]
		switch p := n.payload.(type) {
		case AddMember:
			if r.valid(i) {
				s.adds = append(s.adds, i)
			}
		case RemoveMember:
			if !r.auth.organises(p.Target) && r.valid(i) {
				r.removes[p.Target] = append(r.removes[p.Target], i)
			}
		case GrantAuthor:
			if r.valid(i) {
				r.grants[p.Target] = append(r.grants[p.Target], i)
			}
		case RevokeAuthor:
			if r.valid(i) {
				r.revokes[p.Target] = append(r.revokes[p.Target], i)
			}
		case RemoveDevice:
			switch {
			case r.isOperating(p.Device): // takes a quorum
			case r.valid(i):
				r.drops[p.Device] = append(r.drops[p.Device], i)
			default:
				s.own = append(s.own, i)
			}
		case RejectEpoch:
			if r.auth.organises(n.op.Member) && !r.auth.suspended(n.op.Member) && r.valid(i) {
				r.rejected[p.Epoch] = true
			}
		case Leave:
			s.leaves = append(s.leaves, i)
		case AddDevice:
			s.addDevices = append(s.addDevices, i)
		}
	})
	return s
}

func (r *resolver) valid(i int) bool { return r.auth.valid(r.log.deed(i)) }

func (r *resolver) isOperating(d identity.DeviceID) bool {
	for m := range r.auth.organisers {
		if r.auth.operates(m, d) {
			return true
		}
	}
	return false
}

// takeDecisions adds what quorums removed: members, and devices that are no
// operating ones any more.
func (r *resolver) takeDecisions() {
	for m, list := range r.auth.expels {
		r.removes[m] = append(r.removes[m], list...)
	}
	for _, d := range r.auth.chain {
		for _, device := range d.dropped {
			if !r.isOperating(device) {
				r.drops[device] = append(r.drops[device], d.at)
			}
		}
	}
}

// takeAdds keeps the valid AddMembers but those whose certificate is void: two
// keys under one id, or one device under two members. What the Genesis or a
// quorum's decision certifies is never void, so that nobody undoes an organiser
// by a second claim.
func (r *resolver) takeAdds(adds []int) {
	members := map[identity.MemberID]identity.MemberPublic{}
	fixedMember, fixedDevice := map[identity.MemberID]bool{}, map[identity.DeviceID]bool{}
	for d, o := range r.certified() {
		r.owner[d], members[o.member.ID()] = o, o.member
		fixedDevice[d], fixedMember[o.member.ID()] = true, true
	}
	voidMember, voidDevice := map[identity.MemberID]bool{}, map[identity.DeviceID]bool{}
	for _, i := range adds {
		c := r.log.nodes[i].cert
		m, d := c.Member.ID(), c.Device.ID()
		if k, ok := members[m]; !ok {
			members[m] = c.Member
		} else if k != c.Member && !fixedMember[m] {
			voidMember[m] = true
		}
		if k, ok := r.owner[d]; !ok {
			r.owner[d] = owner{c.Device, c.Member}
		} else if k != (owner{c.Device, c.Member}) && !fixedDevice[d] {
			voidDevice[d] = true
		}
	}
	for _, i := range adds {
		c := r.log.nodes[i].cert
		m, d := c.Member.ID(), c.Device.ID()
		if voidMember[m] || voidDevice[d] || members[m] != c.Member || r.owner[d] != (owner{c.Device, c.Member}) {
			continue
		}
		r.adds[m] = append(r.adds[m], i)
		r.addsOf[d] = append(r.addsOf[d], i)
	}
	for d := range voidDevice {
		delete(r.owner, d)
	}
}

// certified is whose the devices are that the Genesis certifies and those that
// effective decisions list, by the certificates that the decisions had seen.
func (r *resolver) certified() map[identity.DeviceID]owner {
	out := map[identity.DeviceID]owner{}
	for _, c := range r.auth.chain {
		var listed []identity.DeviceID
		switch p := c.decision.(type) {
		case GrantOrganiser:
			listed = p.Devices
		case SetDevices:
			listed = p.Devices
		}
		for _, d := range listed {
			for _, x := range r.log.certs[d] {
				if x.at < 0 || r.log.nodes[c.at].past.has(x.at) {
					out[d] = owner{x.key, x.member}
					break
				}
			}
		}
	}
	for _, o := range r.log.genesis.Organisers {
		out[o.Cert.Device.ID()] = owner{o.Cert.Device, o.Cert.Member}
	}
	return out
}

// takeLeaves adds the departures of who does not organise. The device must be in
// as far as organisers decide: one that they removed, with its owner or alone, says
// no goodbye for an owner who came back with another. No departure bears on another.
func (r *resolver) takeLeaves(leaves []int, claims map[identity.DeviceID][]int) {
	var valid []int
	for _, i := range leaves {
		n := &r.log.nodes[i]
		if !r.auth.organises(n.op.Member) && !r.auth.repudiated[protocol.ItemID(n.id)] && r.present(i, claims[n.frame.Device]) {
			valid = append(valid, i)
		}
	}
	for _, i := range valid {
		m := r.log.nodes[i].op.Member
		r.removes[m] = append(r.removes[m], i)
	}
}

// answered says whether one of the adds (or grants) that counts as seen has
// removal x in its past.
func (r *resolver) answered(x int, adds []int, seen func(int) bool) bool {
	return slices.ContainsFunc(adds, func(a int) bool { return seen(a) && r.log.nodes[a].past.has(x) })
}

// after says whether op i has every removal of the list in its past.
func (r *resolver) after(i int, removals []int) bool {
	for _, x := range removals {
		if !r.log.nodes[i].past.has(x) {
			return false
		}
	}
	return true
}

// isMember is "the target of a valid add that has every valid removal of the
// target in its past": a removal beats an add that has not seen it.
func (r *resolver) isMember(m identity.MemberID) bool {
	return r.auth.organises(m) ||
		slices.ContainsFunc(r.adds[m], func(a int) bool { return r.after(a, r.removes[m]) })
}

func (r *resolver) isAuthor(m identity.MemberID) bool {
	return slices.ContainsFunc(r.grants[m], func(g int) bool { return r.after(g, r.revokes[m]) })
}
