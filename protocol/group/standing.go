package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Majority returns how many organisers must agree on a decision, and how many
// there are.
func (r *Roster) Majority() (need, of int) {
	return r.resolver.auth.majority(), len(r.resolver.auth.organisers)
}

// Decided is an effective decision.
type Decided struct {
	ID       protocol.OpID
	Decision Decision
}

// Decisions returns the chain of effective decisions, oldest first.
func (r *Roster) Decisions() []Decided {
	var out []Decided
	for _, d := range r.resolver.auth.chain {
		out = append(out, Decided{ID: r.resolver.log.nodes[d.at].id, Decision: d.decision})
	}
	return out
}

// LastDecision is what a new Proposal follows: the newest effective decision, or
// the group id.
func (r *Roster) LastDecision() protocol.OpID { return r.resolver.auth.last }

// Recovery returns the key of the recovery paper in force; zero: none.
func (r *Roster) Recovery() RecoveryPublic { return r.resolver.auth.recovery }

// OpenProposal is a proposal that organisers can still vote on.
type OpenProposal struct {
	ID       protocol.OpID
	By       identity.MemberID
	Decision Decision
	Voters   []identity.MemberID // organisers whose votes count, sorted
	Paper    bool                // the recovery paper voted too
	Missing  int                 // voices that are still needed
	PaperMay bool                // the paper has a voice in it
}

// Open returns the open proposals, by the order in which they can have been made.
func (r *Roster) Open() []OpenProposal {
	a := r.resolver.auth
	var out []OpenProposal
	for _, p := range a.open {
		n := &a.log.nodes[p.at]
		d := n.payload.(Proposal).Decision
		o := OpenProposal{ID: n.id, By: n.op.Member, Decision: d, Voters: p.voters, Paper: p.paper, PaperMay: a.paperCounts(d)}
		o.Missing = a.majority() - len(p.voters)
		if p.paper {
			o.Missing--
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(x, y OpenProposal) int { return a.log.byPast(a.log.index[x.ID], a.log.index[y.ID]) })
	return out
}

// LatestVote is the proposal for which the organiser voted last with a device
// that votes now; false: none, or two for one vote number.
func (r *Roster) LatestVote(m identity.MemberID) (protocol.OpID, bool) {
	b := r.resolver.log.ballots(r.resolver.view)
	return b.latest(b.spoken(&r.resolver.auth.standing, m), nil)
}

// Suspension is a Suspend that counts.
type Suspension struct {
	ID         protocol.OpID
	By, Target identity.MemberID
	Lifted     bool // a quorum has lifted it since
}

// Suspensions returns those that count, by their ids.
func (r *Roster) Suspensions() []Suspension {
	a := r.resolver.auth
	var out []Suspension
	for target, list := range a.remaining {
		for _, s := range list {
			n := &a.log.nodes[s.at]
			out = append(out, Suspension{ID: n.id, By: n.op.Member, Target: target, Lifted: s.lifted})
		}
	}
	slices.SortFunc(out, func(x, y Suspension) int { return compareOps(x.ID, y.ID) })
	return out
}

// Returning lists, by the order of ByPast, what a suspended organiser signed alone
// that has no effect now and gets it if the Reinstate that is proposed is decided:
// what this one had seen, and what had seen it (spec 40 section 6.3). The zero id
// stands for one that is proposed now, and sees all. It is for whoever votes, and says
// what the suspensions that count now stop; a decision between may change it.
func (r *Roster) Returning(m identity.MemberID, proposal protocol.OpID) []protocol.OpID {
	a := r.resolver.auth
	saw, seen := func(int) bool { return true }, func(int) bool { return false }
	if q, ok := a.log.index[proposal]; ok {
		saw = a.log.nodes[q].past.has
		seen = func(i int) bool { return a.log.nodes[i].past.has(q) }
	}
	var list []int
	r.resolver.view.each(func(i int) {
		if a.log.nodes[i].op.Member == m && (saw(i) || seen(i)) && a.returns(i, saw) {
			list = append(list, i)
		}
	})
	slices.SortFunc(list, a.log.byPast)
	var out []protocol.OpID
	for _, i := range list {
		out = append(out, a.log.nodes[i].id)
	}
	return out
}

// returns says whether suspensions stop an operation of their target, and saw has
// all of them.
func (a *authority) returns(i int, saw func(int) bool) bool {
	o, stops := a.log.deed(i), func(s int) bool { return false }
	switch a.log.nodes[i].payload.(type) {
	case nil, Merge, Proposal, Vote, RecoveryVote:
		return false // suspended organisers vote
	case Suspend:
		stops = o.saw // what had not seen it counts anyway
	default:
		stops = func(s int) bool { return !o.seenBy(s) }
	}
	switch a.log.nodes[i].payload.(type) {
	case AddDevice, RemoveDevice, Leave: // of the own devices
	default:
		if !a.stands(o) {
			return false
		}
	}
	stopped := false
	for _, s := range a.remaining[o.member] {
		if !stops(s.at) || a.liftedFor(s.at, o) {
			continue
		}
		if !saw(s.at) {
			return false
		}
		stopped = true
	}
	return stopped
}

// Boxed returns the devices to which an epoch is boxed, sorted: the effective
// ones of members who are not suspended. The caller must not change the list.
func (r *Roster) Boxed() []identity.DeviceID { return r.boxed }

// Operators returns the operating devices of organisers who are not suspended,
// sorted. The caller must not change the list.
func (r *Roster) Operators() []identity.DeviceID { return r.operators }

func (r *Roster) devicesOf(want func(*Member, Device) bool) []identity.DeviceID {
	var out []identity.DeviceID
	for i := range r.list {
		for _, d := range r.list[i].Devices {
			if want(&r.list[i], d) {
				out = append(out, d.ID)
			}
		}
	}
	slices.SortFunc(out, compareDevices)
	return out
}

// Rejected says whether an organiser who is not suspended rejected the epoch.
func (r *Roster) Rejected(e protocol.EpochID) bool { return r.resolver.rejected[e] }

// MemberOfCert returns the member to whom the certificates give a device, in the
// group or not any more; false: to nobody, or to two.
func (r *Roster) MemberOfCert(d identity.DeviceID) (identity.MemberID, bool) {
	o, ok := r.resolver.owner[d]
	return o.member.ID(), ok
}
