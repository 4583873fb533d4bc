package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

type ids = map[protocol.OpID]bool

// deedOf names an operation, or an epoch, for the base test.
type slowDeed struct {
	id     protocol.ItemID
	member identity.MemberID
	dev    identity.DeviceID
	past   ids
	seenBy func(protocol.OpID) bool
}

func (s *slow) deedOf(id protocol.OpID) slowDeed {
	o := s.ops[id]
	return slowDeed{protocol.ItemID(id), o.Member, o.dev, s.past[id], func(x protocol.OpID) bool { return s.past[x][id] }}
}

func (s *slow) founder(m identity.MemberID) (Founding, bool) {
	for _, o := range s.g.Organisers {
		if o.Cert.Member.ID() == m {
			return o, true
		}
	}
	return Founding{}, false
}

// decisions of the chain about m, of one kind, in its order.
func about[T Decision](s *slow, pick func(T) identity.MemberID, m identity.MemberID) (out []protocol.OpID) {
	for _, q := range s.chain {
		if d, ok := s.decision(q).(T); ok && pick(d) == m {
			out = append(out, q)
		}
	}
	return out
}

func (s *slow) grantsOf(m identity.MemberID) []protocol.OpID {
	return about(s, func(d GrantOrganiser) identity.MemberID { return d.Target }, m)
}
func (s *slow) expelsOf(m identity.MemberID) []protocol.OpID {
	return about(s, func(d Expel) identity.MemberID { return d.Target }, m)
}
func (s *slow) reinstatesOf(m identity.MemberID) []protocol.OpID {
	return about(s, func(d Reinstate) identity.MemberID { return d.Target }, m)
}

// lists returns the devices that a decision makes operating ones of m.
func (s *slow) lists(q protocol.OpID, m identity.MemberID) []identity.DeviceID {
	switch d := s.decision(q).(type) {
	case GrantOrganiser:
		if d.Target == m {
			return d.Devices
		}
	case SetDevices:
		if d.Target == m {
			return d.Devices
		}
	}
	return nil
}

func (s *slow) repudiated(id protocol.ItemID) bool {
	return slices.ContainsFunc(s.chain, func(q protocol.OpID) bool {
		d, ok := s.decision(q).(Expel)
		return ok && slices.Contains(d.Repudiate, id)
	})
}

// wasOrganiser: of the Genesis, or granted in the past.
func (s *slow) wasOrganiser(m identity.MemberID, past ids) bool {
	_, founder := s.founder(m)
	return founder || slices.ContainsFunc(s.grantsOf(m), func(g protocol.OpID) bool { return past[g] })
}

// stands is section 6.2.
func (s *slow) stands(o slowDeed) bool {
	if s.repudiated(o.id) || !s.wasOrganiser(o.member, o.past) {
		return false
	}
	for _, e := range s.expelsOf(o.member) {
		again := slices.ContainsFunc(s.grantsOf(o.member), func(g protocol.OpID) bool { return s.past[g][e] && o.past[g] })
		if !o.seenBy(e) && !again {
			return false
		}
	}
	var devices []identity.DeviceID
	if f, ok := s.founder(o.member); ok {
		devices = f.Devices
	}
	for _, q := range s.chain {
		if l := s.lists(q, o.member); l != nil && o.past[q] {
			devices = l
		}
	}
	if !slices.Contains(devices, o.dev) {
		return false
	}
	for i, q := range s.chain {
		d, ok := s.decision(q).(SetDevices)
		if !ok || d.Target != o.member || !slices.Contains(s.drops[q], o.dev) || o.seenBy(q) {
			continue
		}
		if !o.past[q] && !slices.ContainsFunc(s.chain[i+1:], func(x protocol.OpID) bool {
			return o.past[x] && slices.Contains(s.lists(x, o.member), o.dev)
		}) {
			return false
		}
	}
	return true
}

func (s *slow) target(x protocol.OpID) identity.MemberID { return s.ops[x].what.(Suspend).Target }

func (s *slow) lifted(x protocol.OpID, o slowDeed) bool {
	return slices.ContainsFunc(s.reinstatesOf(s.target(x)), func(r protocol.OpID) bool {
		return s.past[r][x] && (o.seenBy(r) || o.past[r])
	})
}

func (s *slow) everLifted(x protocol.OpID) bool {
	return slices.ContainsFunc(s.reinstatesOf(s.target(x)), func(r protocol.OpID) bool { return s.past[r][x] })
}

// suspend is section 6.3.
func (s *slow) suspend() {
	var all, list []protocol.OpID
	for id, o := range s.ops {
		if p, ok := o.what.(Suspend); ok {
			all = append(all, id)
			if s.stands(s.deedOf(id)) && s.wasOrganiser(p.Target, s.past[id]) {
				list = append(list, id)
			}
		}
	}
	slices.SortFunc(list, func(a, b protocol.OpID) int {
		if x := len(s.past[a]) - len(s.past[b]); x != 0 {
			return x
		}
		return slices.Compare(a[:], b[:])
	})
	var valid []protocol.OpID
	for _, x := range list {
		author := s.ops[x].Member
		stopped := slices.ContainsFunc(valid, func(t protocol.OpID) bool {
			return s.target(t) == author && s.past[x][t] && !s.lifted(t, s.deedOf(x))
		})
		burnt := slices.ContainsFunc(all, func(t protocol.OpID) bool {
			return s.ops[t].Member == author && s.target(t) == s.target(x) && s.everLifted(t)
		})
		if !stopped && (!burnt || s.everLifted(x)) {
			valid = append(valid, x)
		}
	}
	for _, x := range valid {
		lower := slices.ContainsFunc(valid, func(y protocol.OpID) bool {
			return s.ops[y].Member == s.ops[x].Member && !s.everLifted(y) &&
				(s.ops[y].Seq < s.ops[x].Seq || s.ops[y].Seq == s.ops[x].Seq && slices.Compare(y[:], x[:]) < 0)
		})
		if s.everLifted(x) || !lower {
			s.remain = append(s.remain, x)
		}
	}
}

func (s *slow) organiser(m identity.MemberID) bool { _, ok := s.now.org[m]; return ok }

func (s *slow) suspended(m identity.MemberID) bool {
	return s.organiser(m) && slices.ContainsFunc(s.remain, func(x protocol.OpID) bool { return s.target(x) == m && !s.everLifted(x) })
}

func (s *slow) stopped(o slowDeed) bool {
	return slices.ContainsFunc(s.remain, func(x protocol.OpID) bool {
		return s.target(x) == o.member && !o.seenBy(x) && !s.lifted(x, o)
	})
}

func (s *slow) valid(o slowDeed) bool { return s.stands(o) && !s.stopped(o) }

// of lists valid operations with this payload.
func of[T Payload](s *slow) (out []protocol.OpID) {
	for id, o := range s.ops {
		if _, ok := o.what.(T); ok && s.valid(s.deedOf(id)) {
			out = append(out, id)
		}
	}
	return out
}

func payload[T Payload](s *slow, id protocol.OpID) T { return s.ops[id].what.(T) }
