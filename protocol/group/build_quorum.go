package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

func (l *Log) allowedAddDevice(r *Roster, m identity.MemberID, p AddDevice) error {
	cert, err := identity.ParseCert(p.Cert, l.id)
	if err != nil {
		return err
	}
	if cert.Member.ID() != m {
		return ErrNotAllowed
	}
	if _, known := l.certs[cert.Device.ID()]; known {
		return ErrKnownDevice
	}
	own, _ := r.Member(m)
	if len(own.Devices) >= protocol.MaxDevicesPerMember || r.DeviceCount() >= protocol.MaxDevices {
		return ErrGroupFull
	}
	return nil
}

func (l *Log) allowedProposal(r *Roster, d identity.DeviceID, m identity.MemberID, p Proposal) error {
	a := r.resolver.auth
	if !a.operates(m, d) {
		return ErrNotAllowed
	}
	if p.Prev != a.last {
		return ErrDecided
	}
	trial := node{payload: p}
	for _, h := range l.Heads() {
		trial.past = union(trial.past, l.nodes[l.index[h]].past).with(l.index[h])
	}
	if !a.possible(p.Decision) || !l.decides(&trial, p.Decision) {
		return ErrImpossible
	}
	return nil
}

func (l *Log) allowedVote(r *Roster, d identity.DeviceID, m identity.MemberID, p Vote) error {
	a := r.resolver.auth
	if !a.operates(m, d) {
		return ErrNotAllowed
	}
	if p.Proposal == a.last { // a vote for what is decided strengthens it
		return nil
	}
	if !slices.ContainsFunc(a.open, func(o pending) bool { return l.nodes[o.at].id == p.Proposal }) {
		return ErrDecided
	}
	return nil
}

func (l *Log) allowedSuspend(r *Roster, d identity.DeviceID, m identity.MemberID, p Suspend) error {
	a := r.resolver.auth
	switch {
	case !r.IsOrganiser(d):
		return ErrNotAllowed
	case !a.organises(p.Target):
		return ErrNotMember
	case a.suspended(p.Target):
		return ErrSuspended
	case a.burnt(r.resolver.view)[pair{m, p.Target}]:
		return ErrGivenBack
	}
	for _, s := range r.Suspensions() {
		if s.By == m && !s.Lifted {
			return ErrOneSuspend
		}
	}
	return nil
}

// NextVote is the member's next vote, for a proposal.
func (l *Log) NextVote(m identity.MemberID, proposal protocol.OpID) Vote {
	v := Vote{Proposal: proposal, Seq: 1}
	for i := range l.nodes {
		n := &l.nodes[i]
		if p, ok := n.payload.(Vote); ok && n.op.Member == m && p.Seq >= v.Seq {
			v.Seq, v.Prev = p.Seq+1, n.id
		}
	}
	return v
}
