package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
)

// authority is what the strata below single-organiser operations decide: who
// organises, and whether an operation of an organiser stands. Decisions of a
// quorum and suspensions belong here; the resolver above asks only these two
// questions and does not change when they come. While neither is built the
// organisers are those of the Genesis.
type authority struct {
	organisers map[identity.MemberID]Founding
}

func (g Genesis) authority() authority {
	a := authority{organisers: map[identity.MemberID]Founding{}}
	for _, o := range g.Organisers {
		a.organisers[o.Cert.Member.ID()] = o
	}
	return a
}

// organises says whether the member is an organiser now.
func (a authority) organises(m identity.MemberID) bool {
	_, ok := a.organisers[m]
	return ok
}

// operates says whether the device acts for the member as an organiser.
func (a authority) operates(m identity.MemberID, d identity.DeviceID) bool {
	o, ok := a.organisers[m]
	return ok && slices.Contains(o.Devices, d)
}

// stands is the base test (spec 40 section 6): signed by an operating device of
// an organiser.
func (a authority) stands(n *node) bool { return a.operates(n.op.Member, n.frame.Device) }
