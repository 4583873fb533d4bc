package group

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/identity"
)

// cutoff is the lowest cut-off of the removals of device d in force: those not
// answered by an add (for RevokeAuthor: a grant) that counts as seen, and
// suspensions that no quorum lifted.
func (r *resolver) cutoff(d identity.DeviceID, seen func(int) bool) (Cutoff, bool) {
	o, ok := r.owner[d]
	if !ok {
		return Cutoff{}, false
	}
	m := o.member.ID()
	var best Cutoff
	found := false
	take := func(i int) {
		c := cutoffOf(r.cutoffs(i), d)
		if !found || c.Seq < best.Seq || c.Seq == best.Seq && bytes.Compare(c.Content[:], best.Content[:]) < 0 {
			best, found = c, true
		}
	}
	answers := slices.Concat(r.addsOf[d], r.listing(m, d))
	for _, list := range [][]int{r.removes[m], r.drops[d]} {
		for _, x := range list {
			if !r.answered(x, answers, seen) {
				take(x)
			}
		}
	}
	if r.auth.organises(m) {
		for _, s := range r.auth.remaining[m] {
			if !s.lifted {
				take(s.at)
			}
		}
	} else if r.auth.policy.Posting == PostAuthors {
		for _, x := range r.revokes[m] {
			if !r.answered(x, r.grants[m], seen) {
				take(x)
			}
		}
	}
	return best, found
}

// cutoffs lists what a removal says of messages.
func (r *resolver) cutoffs(i int) []Cutoff {
	switch p := r.log.nodes[i].payload.(type) {
	case RemoveMember:
		return p.Cutoffs
	case RevokeAuthor:
		return p.Cutoffs
	case Leave:
		return p.Cutoffs
	case Suspend:
		return p.Cutoffs
	case RemoveDevice:
		return []Cutoff{Cutoff(p)}
	case Proposal:
		switch d := p.Decision.(type) {
		case Expel:
			return d.Cutoffs
		case SetDevices:
			return d.Cutoffs
		}
	}
	return nil
}

// cutoffOf returns the entry for d: one that names no message if it is absent.
func cutoffOf(list []Cutoff, d identity.DeviceID) Cutoff {
	for _, c := range list {
		if c.Device == d {
			return c
		}
	}
	return Cutoff{Device: d}
}
