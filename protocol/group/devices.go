package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
)

// This file is the highest stratum: what members do with their own devices
// (spec 40 section 6.6).

// takeClaims notes whose devices the AddDevices say they add. A claim against
// an AddMember or the Genesis is void, and so are two claims against each other.
func (r *resolver) takeClaims(list []int) {
	void := map[identity.DeviceID]bool{}
	claimed := map[identity.DeviceID]owner{}
	for _, i := range list {
		c := r.log.nodes[i].cert
		d := c.Device.ID()
		if k, ok := claimed[d]; ok && k != (owner{c.Device, c.Member}) {
			void[d] = true
		}
		claimed[d] = owner{c.Device, c.Member}
	}
	for _, i := range list {
		c := r.log.nodes[i].cert
		d := c.Device.ID()
		k, known := r.owner[d]
		if void[d] || known && k != (owner{c.Device, c.Member}) {
			continue
		}
		r.claims[d] = append(r.claims[d], i)
	}
	for d := range r.claims {
		r.owner[d] = claimed[d]
	}
}

// takeOwnDrops adds the RemoveDevices that members sign for devices of their
// own. One voids no other: two devices that remove each other are both out.
func (r *resolver) takeOwnDrops(own []int, claims map[identity.DeviceID][]int) {
	var valid []int
	for _, i := range own {
		n := &r.log.nodes[i]
		d := n.payload.(RemoveDevice).Device
		if r.isMember(n.op.Member) && r.owns(n.op.Member, d) && r.acts(i, claims[n.frame.Device]) {
			valid = append(valid, i)
		}
	}
	for _, i := range valid {
		d := r.log.nodes[i].payload.(RemoveDevice).Device
		r.drops[d] = append(r.drops[d], i)
	}
}

// takeAddDevices adds the devices that members add. They come in causal order,
// so that a device whose adding is void adds none.
func (r *resolver) takeAddDevices(list []int) {
	for _, i := range list {
		n := &r.log.nodes[i]
		d := n.cert.Device.ID()
		if slices.Contains(r.claims[d], i) && r.isMember(n.op.Member) && r.acts(i, r.addsOf[n.frame.Device]) {
			r.addsOf[d] = append(r.addsOf[d], i)
			r.ownAdds[n.op.Member] = append(r.ownAdds[n.op.Member], i)
		}
	}
}

func (r *resolver) owns(m identity.MemberID, d identity.DeviceID) bool {
	o, ok := r.owner[d]
	return ok && o.member.ID() == m
}

// standingClaims lists the AddDevices that act as far as organisers' removals go,
// by device, in causal order: the device of who was removed does not bring in
// another one by having seen the removal.
func (r *resolver) standingClaims(list []int) map[identity.DeviceID][]int {
	out := map[identity.DeviceID][]int{}
	for _, i := range list {
		n := &r.log.nodes[i]
		if d := n.cert.Device.ID(); slices.Contains(r.claims[d], i) && r.acts(i, out[n.frame.Device]) {
			out[d] = append(out[d], i)
		}
	}
	return out
}

// acts says whether an operation of a member for itself stands: its device is
// present, and no suspension stops it.
func (r *resolver) acts(i int, added []int) bool {
	return !r.auth.stopped(r.log.deed(i)) && r.present(i, added)
}

// present says whether the device that signed the operation was in: added in its
// past (by an AddMember, or by one of those given), and each removal of member or
// device either had seen the operation or was answered by an add that the operation
// had seen.
func (r *resolver) present(i int, added []int) bool {
	n := &r.log.nodes[i]
	m, d := n.op.Member, n.frame.Device
	if !r.owns(m, d) {
		return false
	}
	saw := n.past.has
	answers := slices.Concat(r.addsOf[d], added, r.listing(m, d))
	if !r.isFounders(m, d) && !slices.ContainsFunc(answers, saw) {
		return false
	}
	for _, list := range [][]int{r.removes[m], r.drops[d]} {
		for _, x := range list {
			if !r.log.nodes[x].past.has(i) && !r.answered(x, answers, saw) {
				return false
			}
		}
	}
	return true
}

func (r *resolver) isFounders(m identity.MemberID, d identity.DeviceID) bool {
	o, ok := r.log.first[m]
	return ok && o.device == d
}

// listing is the decisions that made the device an operating one of the member.
func (r *resolver) listing(m identity.MemberID, d identity.DeviceID) (out []int) {
	for _, c := range r.auth.chain {
		switch p := c.decision.(type) {
		case GrantOrganiser:
			if p.Target == m && slices.Contains(p.Devices, d) {
				out = append(out, c.at)
			}
		case SetDevices:
			if p.Target == m && slices.Contains(p.Devices, d) {
				out = append(out, c.at)
			}
		}
	}
	return out
}
