package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// This file says who stands on which of several decisions that have a majority
// and follow the same one (spec 40 section 6.1).

// weight is how many organisers stand on the branch of a proposal, and the
// recovery paper where it has a voice.
func (b *ballots) weight(s *standing, proposal int) int {
	n := 0
	for m := range s.organisers {
		if b.standsOn(s, m, proposal) {
			n++
		}
	}
	if b.paperStandsOn(s, proposal) {
		n++
	}
	return n
}

// standsOn says whether the member's latest vote is for the proposal or for what
// hangs on it. Votes of devices that the branch itself took from the member do
// not count there, so that a phone which was replaced cannot speak for its owner
// against the replacement.
func (b *ballots) standsOn(s *standing, m identity.MemberID, proposal int) bool {
	spoken := b.spoken(s, m)
	tried := map[protocol.OpID]bool{}
	for _, v := range spoken {
		id := b.log.nodes[v].payload.(Vote).Proposal
		if tried[id] {
			continue
		}
		tried[id] = true
		path := b.path(s.last, proposal, id)
		if path == nil {
			continue
		}
		if latest, ok := b.latest(spoken, b.along(s, m, path).dropped); ok && latest == id {
			return true
		}
	}
	return false
}

// spoken lists the member's votes by devices that have a voice: voting devices as
// of the standing, and those that a branch on which they voted made voting ones.
// So neither a phone that never voted nor one that was replaced before speaks for
// its owner. All votes of such a device count: it takes its own back.
func (b *ballots) spoken(s *standing, m identity.MemberID) (out []int) {
	voices := slices.Clone(s.organisers[m])
	tried := map[protocol.OpID][]identity.DeviceID{}
	for _, v := range b.byMember[m] {
		n := &b.log.nodes[v]
		id := n.payload.(Vote).Proposal
		list, ok := tried[id]
		if !ok {
			list = b.along(s, m, b.path(s.last, -1, id)).listed
			tried[id] = list
		}
		if slices.Contains(list, n.frame.Device) {
			voices = append(voices, n.frame.Device)
		}
	}
	for _, v := range b.byMember[m] {
		if slices.Contains(voices, b.log.nodes[v].frame.Device) {
			out = append(out, v)
		}
	}
	return out
}

// path lists the proposals from one that follows last (-1: any) to one that hangs
// on it, both included; nil if it does not.
func (b *ballots) path(last protocol.OpID, from int, to protocol.OpID) []int {
	var path []int
	for to != last {
		i, ok := b.log.index[to]
		if !ok {
			return nil
		}
		path = append(path, i)
		to = b.log.nodes[i].payload.(Proposal).Prev
		if i == from || from < 0 && to == last {
			slices.Reverse(path)
			return path
		}
	}
	return nil
}

// voice is which devices speak for a member on a path of decisions.
type voice struct {
	listed  []identity.DeviceID // voting devices at its start, or anywhere on it
	dropped []identity.DeviceID // those of them that it replaced
}

// along follows a path from a standing.
func (b *ballots) along(s *standing, m identity.MemberID, path []int) voice {
	now := s.organisers[m]
	v := voice{listed: slices.Clone(now)}
	b.follow(s, path, func(_, _ *standing, i int, backed bool) {
		next, ok := devicesOf(b.log.nodes[i].payload.(Proposal).Decision, m)
		if !ok || !backed {
			return
		}
		v.dropped = slices.Concat(v.dropped, now)
		v.dropped = slices.DeleteFunc(v.dropped, func(d identity.DeviceID) bool { return slices.Contains(next, d) })
		v.listed = append(v.listed, next...)
		now = next
	})
	return v
}

// devicesOf returns the voting devices that a decision gives the member.
func devicesOf(d Decision, m identity.MemberID) ([]identity.DeviceID, bool) {
	switch d := d.(type) {
	case GrantOrganiser:
		return d.Devices, d.Target == m
	case SetDevices:
		return d.Devices, d.Target == m
	}
	return nil, false
}

// follow calls f with each decision of a path that has its majority, and stops at
// the first that has none. With it come the standing that it follows; which of the
// organisers of the start are left, with the devices that speak for them; and
// whether more than half of these back it. Only what they back changes who speaks:
// whoever brings accomplices in on a branch of theirs must not replace with their
// votes the phones of the others.
func (b *ballots) follow(s *standing, path []int, f func(place, speak *standing, at int, backed bool)) {
	place, speak := s.clone(), s.clone()
	for _, i := range path {
		if _, ok := b.count(place, i); !ok {
			return
		}
		d := b.log.nodes[i].payload.(Proposal).Decision
		voters, _ := b.voters(speak, i)
		backed := len(voters) >= speak.majority()
		f(place, speak, i, backed)
		place.apply(b.log.nodes[i].id, d)
		if !backed {
			continue
		}
		switch d := d.(type) {
		case Expel, SetRecovery:
			speak.apply(b.log.nodes[i].id, d)
		case GrantOrganiser:
			if _, ok := s.organisers[d.Target]; ok {
				speak.organisers[d.Target] = d.Devices
			}
		case SetDevices:
			if _, ok := speak.organisers[d.Target]; ok {
				speak.organisers[d.Target] = d.Devices
			}
		}
	}
}

// paperStandsOn says whether the paper has a voice in the proposal or in what
// hangs on it. Without it one of two organisers could rewrite what the other
// decided with the paper: each would stand for one.
func (b *ballots) paperStandsOn(s *standing, proposal int) bool {
	if len(s.organisers) != 2 || s.recovery == (RecoveryPublic{}) {
		return false
	}
	for id := range b.papers {
		path, voted := b.path(s.last, proposal, id), false
		b.follow(s, path, func(place, speak *standing, i int, _ bool) {
			if b.log.nodes[i].id == id && place.recovery == speak.recovery {
				_, voted = b.voters(place, i)
			}
		})
		if voted {
			return true
		}
	}
	return false
}

// latest is what was voted for last of the given votes of one member, by vote
// number, those of the dropped devices left out: two of one number for different
// proposals are none.
func (b *ballots) latest(votes []int, dropped []identity.DeviceID) (id protocol.OpID, ok bool) {
	var seq uint64
	for _, v := range votes {
		n := &b.log.nodes[v]
		p := n.payload.(Vote)
		switch {
		case slices.Contains(dropped, n.frame.Device) || p.Seq < seq:
		case p.Seq > seq:
			seq, id, ok = p.Seq, p.Proposal, true
		case p.Proposal != id:
			ok = false
		}
	}
	return id, ok
}
