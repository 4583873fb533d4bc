package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// This file is section 6.8 of spec 40 for the slow reference.

// mayHold lists the devices that may hold an epoch with these heads.
func (s *slow) mayHold(heads map[protocol.OpID]bool, devices []identity.DeviceID) []identity.DeviceID {
	now := s.roster()
	hold, then := s.restrict(heads).roster().boxed(devices)
	_, operators := now.boxed(devices)
	for id, o := range s.ops {
		if heads[id] {
			continue
		}
		switch o.what.(type) {
		case AddMember:
			if slices.Contains(now.adds, id) || slices.Contains(then, o.dev) || slices.Contains(operators, o.dev) {
				hold = append(hold, o.cert.Device.ID())
			}
		case AddDevice:
			if slices.Contains(now.added, id) {
				hold = append(hold, o.cert.Device.ID())
			}
		}
	}
	slices.SortFunc(hold, compareDevices)
	return slices.Compact(hold)
}

func (s *slow) uncovered(heads map[protocol.OpID]bool, devices []identity.DeviceID) (out []identity.DeviceID) {
	boxed, _ := s.roster().boxed(devices)
	for _, d := range s.mayHold(heads, devices) {
		if !slices.Contains(boxed, d) {
			out = append(out, d)
		}
	}
	return out
}

// answers is judged in the log that has the heads and their past alone.
func (s *slow) answers(heads, parent map[protocol.OpID]bool, devices []identity.DeviceID) bool {
	if s.leavesOut(heads, parent, devices) {
		return true
	}
	for id := range parent {
		if !heads[id] {
			return false
		}
	}
	_, then := s.restrict(heads).roster().boxed(devices)
	_, before := s.restrict(parent).roster().boxed(devices)
	return slices.ContainsFunc(then, func(d identity.DeviceID) bool { return !slices.Contains(before, d) })
}

func (s *slow) epochVoid(e IssuedEpoch, heads map[protocol.OpID]bool, devices []identity.DeviceID) bool {
	o := slowDeed{protocol.ItemID(e.ID), e.Issuer, e.Device, heads, func(x protocol.OpID) bool {
		return slices.ContainsFunc(s.ops[x].EpochHeads, e.In)
	}}
	if !e.ByAuthor {
		return !s.valid(o)
	}
	then := s.restrict(heads).roster()
	m, ok := then.owner(e.Device)
	may := ok && m == e.Issuer && then.member(m) && then.effective(m, e.Device) && then.mayPost(m)
	return s.repudiated(o.id) || s.stopped(o) || !may
}

func (r *slowRoster) mayPost(m identity.MemberID) bool {
	posting := r.now.policy.Posting
	return !r.suspended(m) && (r.organiser(m) || posting == PostAll || posting == PostAuthors && r.author(m))
}

// leavesOut is answers without the operating devices that come.
func (s *slow) leavesOut(heads, parent map[protocol.OpID]bool, devices []identity.DeviceID) bool {
	for id := range parent {
		if !heads[id] {
			return false
		}
	}
	then := s.restrict(heads)
	boxed, _ := then.roster().boxed(devices)
	return slices.ContainsFunc(then.mayHold(parent, devices), func(d identity.DeviceID) bool { return !slices.Contains(boxed, d) })
}

func (r *slowRoster) rejects(e protocol.EpochID) bool {
	return slices.ContainsFunc(of[RejectEpoch](r.slow), func(x protocol.OpID) bool {
		m := r.ops[x].Member
		return payload[RejectEpoch](r.slow, x).Epoch == e && r.organiser(m) && !r.suspended(m)
	})
}
