package group

import (
	"bytes"

	"github.com/palabre-app/palabre/identity"
)

// cutoff is the lowest cut-off of the removals of device d in force: those not
// answered by an add (for RevokeAuthor: a grant) that counts as seen.
func (r *resolver) cutoff(d identity.DeviceID, seen func(int) bool) (Cutoff, bool) {
	owner, ok := r.ownerOf(d)
	if !ok {
		return Cutoff{}, false
	}
	var best Cutoff
	found := false
	take := func(c Cutoff) {
		if !found || c.Seq < best.Seq || c.Seq == best.Seq && bytes.Compare(c.Content[:], best.Content[:]) < 0 {
			best, found = c, true
		}
	}
	for _, x := range r.removes[owner] {
		if !r.answered(x, r.addsOf[d], seen) {
			take(cutoffOf(r.log.nodes[x].payload.(RemoveMember).Cutoffs, d))
		}
	}
	for _, x := range r.drops[d] {
		if !r.answered(x, r.addsOf[d], seen) {
			take(Cutoff(r.log.nodes[x].payload.(RemoveDevice)))
		}
	}
	if r.log.genesis.Policy.Posting == PostAuthors && !r.auth.organises(owner) {
		for _, x := range r.revokes[owner] {
			if !r.answered(x, r.grants[owner], seen) {
				take(cutoffOf(r.log.nodes[x].payload.(RevokeAuthor).Cutoffs, d))
			}
		}
	}
	return best, found
}

func (r *resolver) ownerOf(d identity.DeviceID) (identity.MemberID, bool) {
	for _, o := range r.log.genesis.Organisers {
		if o.Cert.Device.ID() == d {
			return o.Cert.Member.ID(), true
		}
	}
	if list := r.addsOf[d]; len(list) > 0 {
		return r.log.nodes[list[0]].cert.Member.ID(), true
	}
	return identity.MemberID{}, false
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
