package group

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// candidate is a member with the add that decides its place where limits bind.
type candidate struct {
	Member
	add     int // earliest add that no removal beats, -1 for an organiser
	devices []claim
}

// claim is a device of a member with its earliest effective add.
type claim struct {
	Device
	add int // or one of the two below
}

const (
	byDecision = -1 // the Genesis or a quorum made it an operating device
	noEffect   = -2 // no add of it has effect
)

func (r *resolver) roster() *Roster {
	out := &Roster{
		resolver: r, policy: r.auth.policy,
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
			if x := min(a.add, 0) - min(b.add, 0); x != 0 {
				return x
			}
			return compareMembers(a.ID, b.ID)
		}
		return r.log.byPast(a.add, b.add)
	})
	list = list[:min(len(list), protocol.MaxMembers)]
	total := 0
	for _, c := range list {
		for _, d := range c.devices {
			if d.add != noEffect && len(c.Devices) < protocol.MaxDevicesPerMember && total < protocol.MaxDevices {
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
	out.boxed = out.devicesOf(func(m *Member, _ Device) bool { return !m.Suspended })
	out.operators = out.devicesOf(func(m *Member, d Device) bool { return !m.Suspended && d.Operating })
	return out
}

// candidate lists a member's devices, in the order in which limits let them in.
func (r *resolver) candidate(m identity.MemberID) candidate {
	c := candidate{Member: Member{ID: m, Role: Reader}, add: -1}
	byDevice := map[identity.DeviceID]claim{}
	organises := r.auth.organises(m)
	if organises {
		c.Role, c.Suspended = Organiser, r.auth.suspended(m)
		r.founding(m, &c, byDevice)
		for _, d := range r.auth.organisers[m] {
			if o, ok := r.owner[d]; ok && o.member.ID() == m {
				c.Public = o.member
				byDevice[d] = claim{Device{ID: d, Public: o.device, Operating: true, KeyPackage: r.packageOf(m, d)}, byDecision}
			}
		}
	} else if r.isAuthor(m) {
		c.Role = Author
	}
	adds := slices.Concat(r.adds[m], r.ownAdds[m])
	slices.SortFunc(adds, r.log.byPast)
	for _, a := range adds {
		n := &r.log.nodes[a]
		d := n.cert.Device.ID()
		c.Public = n.cert.Member
		current := r.after(a, r.removes[m])
		if _, ok := n.payload.(AddMember); ok && current && c.add < 0 && !organises {
			c.add = a
		}
		have, ok := byDevice[d]
		if ok && have.add == byDecision {
			continue
		}
		effective := current && r.after(a, r.drops[d])
		now := claim{Device{ID: d, Public: n.cert.Device, KeyPackage: keyPackageOf(n)}, noEffect}
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
		return r.log.byPast(a.add, b.add)
	})
	return c
}

// founding puts in what the Genesis says of an organiser: a device that is no
// operating one any more is a former one.
func (r *resolver) founding(m identity.MemberID, c *candidate, byDevice map[identity.DeviceID]claim) {
	o, ok := r.log.first[m]
	if !ok {
		return
	}
	c.Public = o.Cert.Member
	d := o.device
	byDevice[d] = claim{Device{ID: d, Public: o.Cert.Device}, noEffect}
}

// rank puts an operating device first and one without effect last.
func rank(add int) int {
	switch add {
	case byDecision:
		return 0
	case noEffect:
		return 2
	}
	return 1
}

func keyPackageOf(n *node) protocol.ItemID {
	switch p := n.payload.(type) {
	case AddMember:
		return p.KeyPackage
	case AddDevice:
		return p.KeyPackage
	}
	return protocol.ItemID{}
}

// packageOf is the key package of an operating device: of the operations that
// certified it one with effect, else one that the newest decision which lists the
// device had seen, and of these that with the largest past. So who has no voice
// chooses no keys for an organiser. Zero for a device of the Genesis.
func (r *resolver) packageOf(m identity.MemberID, d identity.DeviceID) protocol.ItemID {
	if r.isFounders(m, d) {
		return protocol.ItemID{}
	}
	listed := r.listing(m, d)
	rank := func(i int) int {
		switch {
		case slices.Contains(r.addsOf[d], i):
			return 2
		case len(listed) > 0 && r.log.nodes[listed[len(listed)-1]].past.has(i):
			return 1
		}
		return 0
	}
	best := -1
	for _, x := range r.log.certs[d] {
		if x.at < 0 || !r.view.has(x.at) || x.member.ID() != m {
			continue
		}
		if best < 0 || cmp.Or(rank(best)-rank(x.at), r.log.byPast(best, x.at)) < 0 {
			best = x.at
		}
	}
	if best < 0 {
		return protocol.ItemID{}
	}
	return keyPackageOf(&r.log.nodes[best])
}

// removals lists the operations that took somebody or a device out, sorted.
func (r *resolver) removals() []protocol.OpID {
	var out []protocol.OpID
	add := func(i int) { out = append(out, r.log.nodes[i].id) }
	for _, list := range r.removes {
		for _, i := range list {
			add(i)
		}
	}
	for _, list := range r.drops {
		for _, i := range list {
			add(i)
		}
	}
	for m := range r.auth.organisers {
		for _, s := range r.auth.remaining[m] {
			if !s.lifted {
				add(s.at)
			}
		}
	}
	return protocol.SortIDs(out)
}
