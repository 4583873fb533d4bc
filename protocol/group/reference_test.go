package group

import (
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// slow is the text of spec 40 section 6 said once more with plain maps: no
// index, no cache, no bitset, nothing shared with the resolver but the structs
// of the payloads and their decoder. Limits are left out.
type slow struct {
	g    Genesis
	ops  map[protocol.OpID]slowOp
	past map[protocol.OpID]map[protocol.OpID]bool

	// Stratum Q.
	chain  []protocol.OpID // effective decisions
	drops  map[protocol.OpID][]identity.DeviceID
	now    slowState
	remain []protocol.OpID // suspensions, 6.3
}

type slowOp struct {
	Op
	dev  identity.DeviceID
	what Payload // nil: no effect
	cert identity.DeviceCert
}

type slowState struct {
	cur      protocol.OpID
	org      map[identity.MemberID][]identity.DeviceID
	recovery RecoveryPublic
	policy   Policy
}

func newSlow(g Genesis, frames []protocol.Frame) *slow {
	s := &slow{g: g, ops: map[protocol.OpID]slowOp{}, past: map[protocol.OpID]map[protocol.OpID]bool{}}
	// Insert whatever can be, until nothing more can be.
	for again := true; again; {
		again = false
		for _, f := range frames {
			id := protocol.OpID(f.ID(g.ID()))
			if s.has(id) {
				continue
			}
			o, what, err := ParseOp(f, g.ID())
			if err != nil {
				continue
			}
			past := map[protocol.OpID]bool{}
			ready := o.Seq == 1 || s.has(o.PrevOwn) && s.ops[o.PrevOwn].dev == f.Device && s.ops[o.PrevOwn].Seq+1 == o.Seq
			for _, p := range o.Parents {
				ready = ready && s.has(p)
				past[p] = true
				maps.Copy(past, s.past[p])
			}
			if !ready || !s.certified(past, o.Member, f.Device) {
				continue
			}
			n := slowOp{Op: o, dev: f.Device, what: what}
			switch p := what.(type) {
			case AddMember:
				n.cert = slowCert(p.Cert)
			case AddDevice:
				n.cert = slowCert(p.Cert)
			}
			if !s.agrees(n, past) {
				n.what = nil
			}
			s.ops[id], s.past[id] = n, past
			again = true
		}
	}
	s.judge()
	return s
}

// judge works out strata Q and S.
func (s *slow) judge() {
	s.chain, s.remain, s.drops = nil, nil, map[protocol.OpID][]identity.DeviceID{}
	s.decide()
	s.suspend()
}

// restrict keeps only the given operations.
func (s *slow) restrict(keep map[protocol.OpID]bool) *slow {
	c := &slow{g: s.g, ops: map[protocol.OpID]slowOp{}, past: s.past}
	for id, o := range s.ops {
		if keep[id] {
			c.ops[id] = o
		}
	}
	c.judge()
	return c
}

func (s *slow) has(id protocol.OpID) bool { _, ok := s.ops[id]; return ok }

func slowCert(b []byte) (c identity.DeviceCert) {
	if err := wire.Unmarshal(b, identity.CertSize, &c); err != nil {
		panic(err)
	}
	return c
}

// certs lists the certificates of a device in a past, the Genesis included.
func (s *slow) certs(past map[protocol.OpID]bool, d identity.DeviceID) (out []identity.DeviceCert) {
	for _, o := range s.g.Organisers {
		if o.Cert.Device.ID() == d {
			out = append(out, o.Cert)
		}
	}
	for p := range past {
		switch s.ops[p].what.(type) {
		case AddMember, AddDevice:
			if s.ops[p].cert.Device.ID() == d {
				out = append(out, s.ops[p].cert)
			}
		}
	}
	return out
}

func (s *slow) certified(past map[protocol.OpID]bool, m identity.MemberID, d identity.DeviceID) bool {
	return slices.ContainsFunc(s.certs(past, d), func(c identity.DeviceCert) bool { return c.Member.ID() == m })
}

// agrees is spec 40 section 4, "What must agree with P(x)".
func (s *slow) agrees(n slowOp, past map[protocol.OpID]bool) bool {
	proposal := func(id protocol.OpID) bool { _, ok := s.ops[id].what.(Proposal); return ok && past[id] }
	listed := func(m identity.MemberID, list []identity.DeviceID) bool {
		for _, d := range list {
			certs := s.certs(past, d)
			if len(certs) == 0 {
				return false
			}
			for _, c := range certs {
				if c.Member.ID() != m || c.Device != certs[0].Device || c.Member != certs[0].Member {
					return false
				}
			}
		}
		return true
	}
	switch p := n.what.(type) {
	case Proposal:
		if p.Prev != protocol.OpID(s.g.ID()) && !proposal(p.Prev) {
			return false
		}
		switch d := p.Decision.(type) {
		case GrantOrganiser:
			return listed(d.Target, d.Devices)
		case SetDevices:
			return listed(d.Target, d.Devices)
		}
	case Vote:
		if !proposal(p.Proposal) {
			return false
		}
		prev, ok := s.ops[p.Prev].what.(Vote)
		return p.Seq == 1 || ok && past[p.Prev] && s.ops[p.Prev].Member == n.Member && prev.Seq == p.Seq-1
	case RecoveryVote:
		return proposal(p.Proposal)
	}
	return true
}

func (s *slow) genesisState() slowState {
	st := slowState{cur: protocol.OpID(s.g.ID()), org: map[identity.MemberID][]identity.DeviceID{}, recovery: s.g.Recovery, policy: s.g.Policy}
	for _, o := range s.g.Organisers {
		st.org[o.Cert.Member.ID()] = o.Devices
	}
	return st
}

func (s *slow) decision(id protocol.OpID) Decision { return s.ops[id].what.(Proposal).Decision }

// decide is section 6.1.
func (s *slow) decide() {
	st := s.genesisState()
	for {
		var best protocol.OpID
		bestWeight, bestVoices, found := 0, 0, false
		for id, o := range s.ops {
			p, ok := o.what.(Proposal)
			if !ok || p.Prev != st.cur {
				continue
			}
			v, ok := s.voices(st, id)
			if !ok {
				continue
			}
			w := s.weigh(st, id)
			if !found || w > bestWeight || w == bestWeight && (v > bestVoices || v == bestVoices && slices.Compare(id[:], best[:]) < 0) {
				best, bestWeight, bestVoices, found = id, w, v, true
			}
		}
		if !found {
			break
		}
		var gone []identity.DeviceID
		st, gone = s.apply(st, best)
		s.drops[best] = gone
		s.chain = append(s.chain, best)
	}
	s.now = st
}

func (s *slow) voices(st slowState, q protocol.OpID) (int, bool) {
	d := s.decision(q)
	switch x := d.(type) {
	case Expel:
		if _, in := st.org[x.Target]; in && len(st.org) == 1 {
			return 0, false
		}
	case GrantOrganiser:
		if _, in := st.org[x.Target]; in || len(st.org) >= protocol.MaxOrganisers {
			return 0, false
		}
	case SetDevices:
		if _, in := st.org[x.Target]; !in {
			return 0, false
		}
	}
	n := 0
	for m, devices := range st.org {
		for _, o := range s.ops {
			if v, ok := o.what.(Vote); ok && v.Proposal == q && o.Member == m && slices.Contains(devices, o.dev) {
				n++
				break
			}
		}
	}
	k := d.Decides()
	if len(st.org) == 2 && (k == DecideExpel || k == DecideReinstate) {
		for _, o := range s.ops {
			if v, ok := o.what.(RecoveryVote); ok && v.Proposal == q && st.recovery.Voted(q, v.Signature) {
				n++
				break
			}
		}
	}
	return n, n >= len(st.org)/2+1
}

func (s *slow) apply(st slowState, q protocol.OpID) (slowState, []identity.DeviceID) {
	next := slowState{cur: q, org: maps.Clone(st.org), recovery: st.recovery, policy: st.policy}
	var gone []identity.DeviceID
	switch d := s.decision(q).(type) {
	case Expel:
		delete(next.org, d.Target)
	case GrantOrganiser:
		next.org[d.Target] = d.Devices
	case SetDevices:
		for _, x := range st.org[d.Target] {
			if !slices.Contains(d.Devices, x) {
				gone = append(gone, x)
			}
		}
		next.org[d.Target] = d.Devices
	case SetRecovery:
		next.recovery = RecoveryPublic{}
		copy(next.recovery[:], d.Key)
	case SetPolicy:
		next.policy = d.Policy
	}
	return next, gone
}

// weigh counts the organisers, and the paper, who stand on a candidate.
func (s *slow) weigh(st slowState, c protocol.OpID) int {
	n := 0
	for m := range st.org {
		for q, o := range s.ops {
			if _, ok := o.what.(Proposal); ok && s.hangs(st.cur, c, q) && s.last(st, m, s.taken(st, m, c, q)) == q {
				n++
				break
			}
		}
	}
	if len(st.org) == 2 {
		for q, o := range s.ops {
			if _, ok := o.what.(Proposal); ok && s.hangs(st.cur, c, q) && s.papered(st, q) {
				return n + 1
			}
		}
	}
	return n
}

// before lists what leads from cur to q, q included; false: q does not hang on cur.
func (s *slow) before(cur, q protocol.OpID) ([]protocol.OpID, bool) {
	var path []protocol.OpID
	for q != cur {
		p, ok := s.ops[q].what.(Proposal)
		if !ok {
			return nil, false
		}
		path = append([]protocol.OpID{q}, path...)
		q = p.Prev
	}
	return path, true
}

// way is what a path of decisions from a standing does, as far as they have their
// majorities: the places before each, and who speaks there for the organisers of
// its start who are left, which only decisions change that more than half of these
// back.
func (s *slow) way(st slowState, path []protocol.OpID, each func(q protocol.OpID, place, speak slowState, backed bool)) {
	speak := slowState{cur: st.cur, org: maps.Clone(st.org), recovery: st.recovery, policy: st.policy}
	place := st
	for _, q := range path {
		if _, ok := s.voices(place, q); !ok {
			return
		}
		n := 0
		for m, devices := range speak.org {
			for _, o := range s.ops {
				if v, ok := o.what.(Vote); ok && v.Proposal == q && o.Member == m && slices.Contains(devices, o.dev) {
					n++
					break
				}
			}
		}
		backed := 2*n > len(speak.org)
		each(q, place, speak, backed)
		if backed {
			for m := range st.org {
				_, left := speak.org[m]
				_, grant := s.decision(q).(GrantOrganiser)
				if list := s.lists(q, m); list != nil && (left || grant) {
					speak.org[m] = list
				}
			}
			if d, ok := s.decision(q).(Expel); ok {
				delete(speak.org, d.Target)
			}
			if d, ok := s.decision(q).(SetRecovery); ok {
				speak.recovery = RecoveryPublic{}
				copy(speak.recovery[:], d.Key)
			}
		}
		place, _ = s.apply(place, q)
	}
}

// papered says whether the paper has a voice in q as of the decisions before it.
func (s *slow) papered(st slowState, q protocol.OpID) bool {
	path, _ := s.before(st.cur, q)
	found := false
	s.way(st, path, func(x protocol.OpID, place, speak slowState, _ bool) {
		k := s.decision(x).Decides()
		if x != q || len(place.org) != 2 || place.recovery == (RecoveryPublic{}) || place.recovery != speak.recovery ||
			k != DecideExpel && k != DecideReinstate {
			return
		}
		for _, o := range s.ops {
			if v, ok := o.what.(RecoveryVote); ok && v.Proposal == q && place.recovery.Voted(q, v.Signature) {
				found = true
			}
		}
	})
	return found
}

// hasVoice says whether a device is a voting one as of st, or by what leads to
// something that it voted for.
func (s *slow) hasVoice(st slowState, m identity.MemberID, d identity.DeviceID) bool {
	if slices.Contains(st.org[m], d) {
		return true
	}
	for _, o := range s.ops {
		if v, ok := o.what.(Vote); ok && o.Member == m && o.dev == d && s.speaks(st, m, d, v.Proposal) {
			return true
		}
	}
	return false
}

// speaks says whether a vote for q by d has a voice for m: d is a voting device as
// of st, or by a decision on the way to q.
func (s *slow) speaks(st slowState, m identity.MemberID, d identity.DeviceID, q protocol.OpID) bool {
	if slices.Contains(st.org[m], d) {
		return true
	}
	path, _ := s.before(st.cur, q)
	found := false
	s.way(st, path, func(x protocol.OpID, _, _ slowState, backed bool) {
		found = found || backed && slices.Contains(s.lists(x, m), d)
	})
	return found
}

// hangs says whether q is c or comes after it.
func (s *slow) hangs(cur, c, q protocol.OpID) bool {
	for s.has(q) && q != cur {
		if q == c {
			return true
		}
		q = s.ops[q].what.(Proposal).Prev
	}
	return false
}

// taken is which devices the path from c to q drops from m.
func (s *slow) taken(st slowState, m identity.MemberID, c, q protocol.OpID) map[identity.DeviceID]bool {
	path := []protocol.OpID{q}
	for q != c {
		q = s.ops[q].what.(Proposal).Prev
		path = append(path, q)
	}
	slices.Reverse(path)
	out, now := map[identity.DeviceID]bool{}, st.org[m]
	s.way(st, path, func(q protocol.OpID, _, _ slowState, backed bool) {
		if list := s.lists(q, m); list != nil && backed {
			for _, x := range now {
				out[x] = true
			}
			for _, x := range list {
				delete(out, x)
			}
			now = list
		}
	})
	return out
}

func (s *slow) last(st slowState, m identity.MemberID, without map[identity.DeviceID]bool) protocol.OpID {
	var top uint64
	found := map[protocol.OpID]bool{}
	for _, o := range s.ops {
		v, ok := o.what.(Vote)
		if !ok || o.Member != m || without[o.dev] || v.Seq < top || !s.hasVoice(st, m, o.dev) {
			continue
		}
		if v.Seq > top {
			clear(found)
		}
		top = v.Seq
		found[v.Proposal] = true
	}
	if len(found) != 1 {
		return protocol.OpID{}
	}
	for q := range found {
		return q
	}
	return protocol.OpID{}
}
