package group

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// resolver works out the roster of one causally closed set of operations
// (spec 40 section 6). Operations are named by their index in the log.
type resolver struct {
	log  *Log
	auth authority

	adds    map[identity.MemberID][]int // valid, with a certificate that is not void
	addsOf  map[identity.DeviceID][]int // the same, by device
	removes map[identity.MemberID][]int // valid; never of an organiser
	grants  map[identity.MemberID][]int // valid
	revokes map[identity.MemberID][]int // valid
	drops   map[identity.DeviceID][]int // valid RemoveDevice, also by the owner
}

func (l *Log) resolve(view set) *Roster {
	r := &resolver{
		log: l, auth: l.genesis.authority(),
		adds: map[identity.MemberID][]int{}, addsOf: map[identity.DeviceID][]int{},
		removes: map[identity.MemberID][]int{}, drops: map[identity.DeviceID][]int{},
		grants: map[identity.MemberID][]int{}, revokes: map[identity.MemberID][]int{},
	}
	var adds, own []int
	view.each(func(i int) {
		n := &l.nodes[i]
		stands := r.auth.stands(n)
		switch p := n.payload.(type) {
		case AddMember:
			if stands {
				adds = append(adds, i)
			}
		case RemoveMember:
			if stands && !r.auth.organises(p.Target) {
				r.removes[p.Target] = append(r.removes[p.Target], i)
			}
		case GrantAuthor:
			if stands {
				r.grants[p.Target] = append(r.grants[p.Target], i)
			}
		case RevokeAuthor:
			if stands {
				r.revokes[p.Target] = append(r.revokes[p.Target], i)
			}
		case RemoveDevice:
			switch {
			case r.isOperating(p.Device): // takes a quorum
			case stands:
				r.drops[p.Device] = append(r.drops[p.Device], i)
			default:
				own = append(own, i)
			}
		}
	})
	r.takeAdds(adds)
	r.takeOwnDrops(own)
	return r.roster()
}

func (r *resolver) isOperating(d identity.DeviceID) bool {
	for m := range r.auth.organisers {
		if r.auth.operates(m, d) {
			return true
		}
	}
	return false
}

// takeAdds keeps the valid AddMembers but those whose certificate is void: two
// keys under one id, or one device under two members. What the Genesis
// certifies is never void, so that nobody undoes a founder by a second claim.
func (r *resolver) takeAdds(adds []int) {
	type owner struct {
		device identity.DevicePublic
		member identity.MemberPublic
	}
	members := map[identity.MemberID]identity.MemberPublic{}
	devices := map[identity.DeviceID]owner{}
	voidMember, voidDevice := map[identity.MemberID]bool{}, map[identity.DeviceID]bool{}
	for _, o := range r.log.genesis.Organisers {
		members[o.Cert.Member.ID()] = o.Cert.Member
		devices[o.Cert.Device.ID()] = owner{o.Cert.Device, o.Cert.Member}
	}
	founderMember := func(m identity.MemberID) bool { _, ok := r.log.genesis.organiser(m); return ok }
	founderDevice := func(d identity.DeviceID) bool {
		return slices.ContainsFunc(r.log.genesis.Organisers, func(o Founding) bool { return o.Cert.Device.ID() == d })
	}
	for _, i := range adds {
		c := r.log.nodes[i].cert
		m, d := c.Member.ID(), c.Device.ID()
		if k, ok := members[m]; !ok {
			members[m] = c.Member
		} else if k != c.Member && !founderMember(m) {
			voidMember[m] = true
		}
		if k, ok := devices[d]; !ok {
			devices[d] = owner{c.Device, c.Member}
		} else if k != (owner{c.Device, c.Member}) && !founderDevice(d) {
			voidDevice[d] = true
		}
	}
	for _, i := range adds {
		c := r.log.nodes[i].cert
		m, d := c.Member.ID(), c.Device.ID()
		if voidMember[m] || voidDevice[d] || members[m] != c.Member || devices[d] != (owner{c.Device, c.Member}) {
			continue
		}
		r.adds[m] = append(r.adds[m], i)
		r.addsOf[d] = append(r.addsOf[d], i)
	}
}

// takeOwnDrops adds the RemoveDevices that members sign for devices of their
// own. One voids no other: two devices that remove each other are both out.
func (r *resolver) takeOwnDrops(own []int) {
	var valid []int
	for _, i := range own {
		n := &r.log.nodes[i]
		p := n.payload.(RemoveDevice)
		if r.isMember(n.op.Member) && r.owns(n.op.Member, p.Device) && r.acts(n) {
			valid = append(valid, i)
		}
	}
	for _, i := range valid {
		d := r.log.nodes[i].payload.(RemoveDevice).Device
		r.drops[d] = append(r.drops[d], i)
	}
}

func (r *resolver) owns(m identity.MemberID, d identity.DeviceID) bool {
	return slices.ContainsFunc(r.addsOf[d], func(a int) bool { return r.log.nodes[a].cert.Member.ID() == m })
}

// acts says whether a member's operation stands: its device was added in its
// past, and each removal of member or device either had seen the operation or
// was answered by an add that the operation had seen.
func (r *resolver) acts(n *node) bool {
	m, d := n.op.Member, n.frame.Device
	seen := func(a int) bool { return n.past.has(a) }
	if !r.isFounders(m, d) && !(r.owns(m, d) && slices.ContainsFunc(r.addsOf[d], seen)) {
		return false
	}
	at := r.log.index[n.id]
	for _, list := range [][]int{r.removes[m], r.drops[d]} {
		for _, x := range list {
			if !r.log.nodes[x].past.has(at) && !r.answered(x, r.addsOf[d], seen) {
				return false
			}
		}
	}
	return true
}

func (r *resolver) isFounders(m identity.MemberID, d identity.DeviceID) bool {
	o, ok := r.log.genesis.organiser(m)
	return ok && o.Cert.Device.ID() == d
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

// compare orders operations by what they had seen, then by id.
func (r *resolver) compare(a, b int) int {
	x, y := &r.log.nodes[a], &r.log.nodes[b]
	if x.size != y.size {
		return x.size - y.size
	}
	return compareOps(x.id, y.id)
}

// candidate is a member with the add that decides its place where limits bind.
type candidate struct {
	Member
	add     int // earliest add that no removal beats, -1 for an organiser
	devices []claim
}

// claim is a device of a member with its earliest effective add; -1: the
// Genesis, -2: none is effective.
type claim struct {
	Device
	add int
}

func (r *resolver) roster() *Roster {
	out := &Roster{
		resolver: r, policy: r.log.genesis.Policy,
		members: map[identity.MemberID]int{}, devices: map[identity.DeviceID]int{},
	}
	var list []candidate
	for m := range r.auth.organisers {
		list = append(list, r.candidate(m))
	}
	for m := range r.adds {
		if !r.auth.organises(m) && r.isMember(m) {
			list = append(list, r.candidate(m))
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		if a.add < 0 || b.add < 0 {
			return min(a.add, 0) - min(b.add, 0)
		}
		return r.compare(a.add, b.add)
	})
	list = list[:min(len(list), protocol.MaxMembers)]
	total := 0
	for _, c := range list {
		for _, d := range c.devices {
			if d.add != -2 && len(c.Devices) < protocol.MaxDevicesPerMember && total < protocol.MaxDevices {
				d.Effective = true
				c.Devices = append(c.Devices, d.Device)
				total++
			} else {
				c.Former = append(c.Former, d.Device)
			}
		}
		slices.SortFunc(c.Devices, func(a, b Device) int { return compareDevices(a.ID, b.ID) })
		slices.SortFunc(c.Former, func(a, b Device) int { return compareDevices(a.ID, b.ID) })
		out.list = append(out.list, c.Member)
	}
	slices.SortFunc(out.list, func(a, b Member) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for i, m := range out.list {
		out.members[m.ID] = i
		for _, d := range m.Devices {
			out.devices[d.ID] = i
		}
	}
	out.removals = r.removals()
	return out
}

// candidate lists a member's devices, in the order in which limits let them in.
func (r *resolver) candidate(m identity.MemberID) candidate {
	c := candidate{Member: Member{ID: m, Role: Reader}, add: -1}
	byDevice := map[identity.DeviceID]claim{}
	if o, ok := r.auth.organisers[m]; ok {
		d := o.Cert.Device.ID()
		c.Public, c.Role = o.Cert.Member, Organiser
		byDevice[d] = claim{Device{ID: d, Public: o.Cert.Device, Operating: true}, -1}
	} else if r.isAuthor(m) {
		c.Role = Author
	}
	adds := slices.Clone(r.adds[m])
	slices.SortFunc(adds, r.compare)
	for _, a := range adds {
		n := &r.log.nodes[a]
		d := n.cert.Device.ID()
		c.Public = n.cert.Member
		current := r.after(a, r.removes[m])
		effective := current && r.after(a, r.drops[d])
		if current && c.add < 0 && c.Role != Organiser {
			c.add = a
		}
		have, ok := byDevice[d]
		if ok && have.add == -1 {
			continue
		}
		now := claim{Device{ID: d, Public: n.cert.Device, Operating: r.auth.operates(m, d), KeyPackage: n.payload.(AddMember).KeyPackage}, -2}
		// The latest effective add names the key package, the earliest the place.
		switch {
		case ok && have.add >= 0 && effective:
			now.add = have.add
		case ok && have.add >= 0:
			continue
		case effective:
			now.add = a
		}
		byDevice[d] = now
	}
	for _, d := range byDevice {
		c.devices = append(c.devices, d)
	}
	slices.SortFunc(c.devices, func(a, b claim) int {
		if a.add < 0 || b.add < 0 {
			if x := rank(a.add) - rank(b.add); x != 0 {
				return x
			}
			return compareDevices(a.ID, b.ID)
		}
		return r.compare(a.add, b.add)
	})
	return c
}

// rank puts a device of the Genesis first and one without effect last.
func rank(add int) int {
	switch add {
	case -1:
		return 0
	case -2:
		return 2
	}
	return 1
}

// removals lists what an epoch must cover, sorted.
func (r *resolver) removals() []protocol.OpID {
	var out []protocol.OpID
	for _, list := range r.removes {
		for _, i := range list {
			out = append(out, r.log.nodes[i].id)
		}
	}
	for _, list := range r.drops {
		for _, i := range list {
			out = append(out, r.log.nodes[i].id)
		}
	}
	return protocol.SortIDs(out)
}
