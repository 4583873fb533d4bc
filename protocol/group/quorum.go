package group

import (
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// quorum is the chain of decisions that majorities of organisers took, and what
// follows from it (spec 40 section 6.1). It is the lowest stratum: it asks for
// votes and their devices, never for the standing of any operation.
type quorum struct {
	chain []decided
	open  []pending // proposals that follow the last decision
	standing
}

// standing is who organises after some decisions.
type standing struct {
	last       protocol.OpID // the newest decision; the group id: none yet
	organisers map[identity.MemberID][]identity.DeviceID
	recovery   RecoveryPublic
	policy     Policy
}

// decided is an effective decision.
type decided struct {
	at       int
	decision Decision
	dropped  []identity.DeviceID // by SetDevices
}

// pending is a proposal that the organisers may still vote on.
type pending struct {
	at     int
	voters []identity.MemberID // sorted
	paper  bool
}

// ballots is all votes of a view, by proposal.
type ballots struct {
	log       *Log
	proposals map[protocol.OpID][]int // by the decision that they follow
	votes     map[protocol.OpID][]int
	papers    map[protocol.OpID][]int
	byMember  map[identity.MemberID][]int
}

func (l *Log) ballots(view set) *ballots {
	b := &ballots{
		log: l, proposals: map[protocol.OpID][]int{}, votes: map[protocol.OpID][]int{},
		papers: map[protocol.OpID][]int{}, byMember: map[identity.MemberID][]int{},
	}
	view.each(func(i int) {
		n := &l.nodes[i]
		switch p := n.payload.(type) {
		case Proposal:
			b.proposals[p.Prev] = append(b.proposals[p.Prev], i)
		case Vote:
			b.votes[p.Proposal] = append(b.votes[p.Proposal], i)
			b.byMember[n.op.Member] = append(b.byMember[n.op.Member], i)
		case RecoveryVote:
			b.papers[p.Proposal] = append(b.papers[p.Proposal], i)
		}
	})
	return b
}

func (l *Log) quorum(view set) quorum {
	q := quorum{standing: standing{
		last: protocol.OpID(l.id), organisers: map[identity.MemberID][]identity.DeviceID{},
		recovery: l.genesis.Recovery, policy: l.genesis.Policy,
	}}
	for _, o := range l.genesis.Organisers {
		q.organisers[o.Cert.Member.ID()] = o.Devices
	}
	b := l.ballots(view)
	for {
		best, ok := b.winner(&q.standing)
		if !ok {
			break
		}
		d := l.nodes[best].payload.(Proposal).Decision
		q.chain = append(q.chain, decided{at: best, decision: d, dropped: q.apply(l.nodes[best].id, d)})
	}
	for _, i := range b.proposals[q.last] {
		if q.possible(l.nodes[i].payload.(Proposal).Decision) {
			voters, paper := b.voters(&q.standing, i)
			q.open = append(q.open, pending{at: i, voters: voters, paper: paper})
		}
	}
	return q
}

// majority is how many votes a decision needs.
func (s *standing) majority() int { return len(s.organisers)/2 + 1 }

// paperCounts says whether the recovery paper has a voice in a decision: only
// where two organise, for Expel and Reinstate.
func (s *standing) paperCounts(d Decision) bool {
	return len(s.organisers) == 2 && s.recovery != RecoveryPublic{} &&
		(d.Decides() == DecideExpel || d.Decides() == DecideReinstate)
}

// possible says whether a decision can follow this standing.
func (s *standing) possible(d Decision) bool {
	switch d := d.(type) {
	case Expel:
		_, in := s.organisers[d.Target]
		return !in || len(s.organisers) > 1
	case GrantOrganiser:
		_, in := s.organisers[d.Target]
		return !in && len(s.organisers) < protocol.MaxOrganisers
	case SetDevices:
		_, in := s.organisers[d.Target]
		return in
	}
	return true
}

// apply changes the standing and returns the devices that SetDevices dropped.
func (s *standing) apply(id protocol.OpID, d Decision) (dropped []identity.DeviceID) {
	s.last = id
	switch d := d.(type) {
	case Expel:
		delete(s.organisers, d.Target)
	case GrantOrganiser:
		s.organisers[d.Target] = d.Devices
	case SetDevices:
		for _, old := range s.organisers[d.Target] {
			if !slices.Contains(d.Devices, old) {
				dropped = append(dropped, old)
			}
		}
		s.organisers[d.Target] = d.Devices
	case SetRecovery:
		s.recovery = RecoveryPublic{}
		copy(s.recovery[:], d.Key)
	case SetPolicy:
		s.policy = d.Policy
	}
	return dropped
}

func (s *standing) clone() *standing {
	c := *s
	c.organisers = make(map[identity.MemberID][]identity.DeviceID, len(s.organisers))
	for m, d := range s.organisers {
		c.organisers[m] = d
	}
	return &c
}

// voters lists the organisers whose voting devices voted for a proposal, and
// says whether the paper did.
func (b *ballots) voters(s *standing, proposal int) (list []identity.MemberID, paper bool) {
	id := b.log.nodes[proposal].id
	for _, v := range b.votes[id] {
		n := &b.log.nodes[v]
		if slices.Contains(s.organisers[n.op.Member], n.frame.Device) && !slices.Contains(list, n.op.Member) {
			list = append(list, n.op.Member)
		}
	}
	slices.SortFunc(list, compareMembers)
	if s.paperCounts(b.log.nodes[proposal].payload.(Proposal).Decision) {
		for _, v := range b.papers[id] {
			if s.recovery.Voted(id, b.log.nodes[v].payload.(RecoveryVote).Signature) {
				return list, true
			}
		}
	}
	return list, false
}

// count is the number of votes for a proposal, or false if it cannot be decided.
func (b *ballots) count(s *standing, proposal int) (int, bool) {
	if !s.possible(b.log.nodes[proposal].payload.(Proposal).Decision) {
		return 0, false
	}
	list, paper := b.voters(s, proposal)
	n := len(list)
	if paper {
		n++
	}
	return n, n >= s.majority()
}

// winner picks the decision that follows a standing: of those with a majority
// that on whose branch most organisers stand, then that with most votes, then
// the smallest id.
func (b *ballots) winner(s *standing) (int, bool) {
	type candidate struct{ at, votes, weight int }
	var list []candidate
	for _, i := range b.proposals[s.last] {
		if n, ok := b.count(s, i); ok {
			list = append(list, candidate{at: i, votes: n})
		}
	}
	if len(list) == 0 {
		return 0, false
	}
	if len(list) > 1 {
		for k := range list {
			list[k].weight = b.weight(s, list[k].at)
		}
	}
	return slices.MinFunc(list, func(x, y candidate) int {
		return cmp.Or(y.weight-x.weight, y.votes-x.votes, compareOps(b.log.nodes[x.at].id, b.log.nodes[y.at].id))
	}).at, true
}
