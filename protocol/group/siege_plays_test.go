package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// This file is what people do in a siege: honest ones, and attackers.

// prologue is what came before: spares, tablets and some people.
func (s *siege) prologue() {
	for p := range s.organisers {
		for _, d := range []int{spare, tablet} {
			if s.chance(3) {
				continue
			}
			s.sign(p, phone, AddDevice(s.add(p, d, true)), s.heads(p)...)
			if d == tablet && s.tablets && !s.isHostile(p) {
				s.hot[s.dev[p][d]] = true
			}
		}
	}
	for _, p := range []int{friendOne, helperOne} {
		if s.chance(2) {
			s.sign(0, phone, s.add(p, phone, true), s.heads(0)...)
		}
	}
	if s.chance(3) { // whose phone was stolen, and who came back with another
		for _, what := range []Payload{s.add(friendTwo, phone, true), RemoveMember{Target: s.ids[friendTwo]}, s.add(friendTwo, spare, true)} {
			s.sign(0, phone, what, s.heads(0)...)
		}
		s.hot[s.dev[friendTwo][phone]] = true
	}
	for p := 1; p < s.organisers; p++ {
		s.meet(0, p)
	}
	for p := range s.organisers {
		s.meet(0, p)
	}
}

// voting is the device with which an honest organiser acts by a roster.
func (s *siege) voting(r *Roster, p int) (int, bool) {
	for d := range devicesEach {
		if r.resolver.auth.operates(s.ids[p], s.dev[p][d]) && !s.hot[s.dev[p][d]] {
			return d, true
		}
	}
	return 0, false
}

// honestOrganisers lists who organises by a roster, readers who were granted too.
func (s *siege) honestOrganisers(r *Roster) (out []int) {
	for p := range souls {
		if !s.isHostile(p) && r.resolver.auth.organises(s.ids[p]) {
			out = append(out, p)
		}
	}
	return out
}

func (s *siege) hostileOrganisers(r *Roster) (out []int) {
	for p := range souls {
		if s.isHostile(p) && r.resolver.auth.organises(s.ids[p]) {
			out = append(out, p)
		}
	}
	return out
}

// view is what the person knows of decisions and suspensions; members are not in it.
func (s *siege) view(p int) *Roster {
	return &Roster{resolver: &resolver{log: s.log, view: s.sees[p], auth: s.log.authority(s.sees[p])}}
}

// honestPlay lets an honest organiser do what people do.
func (s *siege) honestPlay() {
	p := s.rnd.IntN(s.honest())
	if s.chance(3) {
		s.meet(p, s.rnd.IntN(s.organisers))
	}
	r := s.view(p)
	d, ok := s.voting(r, p)
	if !ok {
		return
	}
	switch s.rnd.IntN(9) {
	case 0, 1, 2, 3:
		s.honestProposal(r, p, d)
	case 4, 5:
		for _, o := range r.Open() {
			if s.agrees(o.Decision) && s.chance(2) {
				s.vote(p, d, o.ID)
				break
			}
		}
	case 6:
		if t := s.honest() + s.rnd.IntN(s.hostile); s.chance(2) {
			s.sign(p, d, Suspend{Target: s.ids[t]}, s.heads(p)...)
		} else if t := s.rnd.IntN(s.organisers); t != p && s.chance(4) {
			s.sign(p, d, Suspend{Target: s.ids[t]}, s.heads(p)...)
		}
	case 7:
		t := friendOne + s.rnd.IntN(4)
		switch s.rnd.IntN(4) {
		case 0:
			s.sign(p, d, RemoveMember{Target: s.ids[t]}, s.heads(p)...)
		case 1:
			s.sign(p, d, GrantAuthor{Target: s.ids[t]}, s.heads(p)...)
		default:
			s.sign(p, d, s.add(t, phone, true), s.heads(p)...)
		}
	case 8:
		s.sign(p, d, Merge{}, s.heads(p)...)
	}
}

// agrees says whether honest people vote for that, whoever proposes it.
func (s *siege) agrees(d Decision) bool {
	switch d := d.(type) {
	case SetPolicy, Reinstate:
		return true
	case Expel: // with nothing taken back that somebody else did
		return s.isHostile(s.person(d.Target)) && !slices.ContainsFunc(d.Repudiate, func(x protocol.ItemID) bool {
			o, _, ok := s.log.Op(protocol.OpID(x))
			return !ok || o.Member != d.Target
		})
	case SetDevices:
		return s.who[d.Devices[0]][1] == spare
	case GrantOrganiser:
		w := s.who[d.Devices[0]]
		return w[0] < stranger && w[1] == phone && !s.hot[d.Devices[0]]
	}
	return false
}

func (s *siege) person(m identity.MemberID) int { return slices.Index(s.ids[:], m) }

func (s *siege) policy() SetPolicy {
	p := DefaultPolicy(10)
	p.RetentionDays = 1 + uint8(s.rnd.IntN(29))
	p.Posting = []Posting{PostOrganisers, PostAuthors, PostAll}[s.rnd.IntN(3)]
	return SetPolicy{p}
}

// honestProposal asks for something, and some agree at once. Those whom the
// attackers want to agree may be among them.
func (s *siege) honestProposal(r *Roster, p, d int) {
	var dec Decision
	switch s.rnd.IntN(9) {
	case 0, 1, 2:
		dec = s.policy()
	case 3, 4:
		t := s.rnd.IntN(s.honest())
		dec = SetDevices{Target: s.ids[t], Devices: []identity.DeviceID{s.dev[t][spare]}}
	case 5:
		t := []int{friendOne, helperOne}[s.rnd.IntN(2)]
		dec = GrantOrganiser{Target: s.ids[t], Devices: []identity.DeviceID{s.dev[t][phone]}}
	case 6:
		dec = Reinstate{Target: s.ids[s.rnd.IntN(s.organisers)]}
	default:
		dec = Expel{Target: s.ids[s.honest()+s.rnd.IntN(s.hostile)]}
	}
	q, ok := s.sign(p, d, Proposal{Prev: r.LastDecision(), Decision: dec}, s.heads(p)...)
	if !ok || s.chance(6) {
		return
	}
	s.vote(p, d, q)
	for o := range s.organisers {
		if o == p || s.chance(2) {
			continue
		}
		s.meet(o, p)
		if s.isHostile(o) {
			s.vote(o, phone, q)
		} else if x, ok := s.voting(s.view(o), o); ok {
			s.vote(o, x, q)
		}
	}
	if s.organisers == 2 && s.chance(2) {
		s.paper(p, d, q)
	}
}

// paper lets the paper sign for a proposal, by whoever carries it.
func (s *siege) paper(p, d int, q protocol.OpID) {
	s.papers = append(s.papers, q)
	v := RecoveryVote{Proposal: q, Signature: siegePaper.Vote(q)}
	if s.chance(6) {
		s.withheld = append(s.withheld, v)
		return
	}
	s.sign(p, d, v, q)
}

// arms lists what the attackers sign with: person and device.
func (s *siege) arms() (out [][2]int) {
	for p := range souls {
		for d := range devicesEach {
			if (s.isHostile(p) || s.hot[s.dev[p][d]]) && len(s.log.certs[s.dev[p][d]]) > 0 {
				out = append(out, [2]int{p, d})
			}
		}
	}
	return out
}

// any draws the past that an attacker pretends to have.
func (s *siege) any(with ...protocol.OpID) []protocol.OpID {
	if len(s.log.nodes) == 0 {
		return with
	}
	switch s.rnd.IntN(4) {
	case 0:
	case 1:
		with = append(with, s.log.Heads()...)
	default:
		for range 1 + s.rnd.IntN(3) {
			with = append(with, s.id(s.rnd.IntN(len(s.log.nodes))))
		}
	}
	return with
}

// proposals lists all that ever were made.
func (s *siege) proposals() (out []protocol.OpID) {
	for i := range s.log.nodes {
		if _, ok := s.log.nodes[i].payload.(Proposal); ok {
			out = append(out, s.id(i))
		}
	}
	return out
}

// arm draws one device of the attackers, the certificate of which the parents hold.
func (s *siege) arm(parents []protocol.OpID) (p, d int, _ []protocol.OpID) {
	a := pick(s.rnd, s.arms())
	if _, ok := s.certifiedIn(a[0], a[1], parents); !ok {
		if c := s.log.certs[s.dev[a[0]][a[1]]]; c[0].at >= 0 {
			parents = append(parents, s.id(c[0].at))
		}
	}
	return a[0], a[1], parents
}

// backdate makes a device sign from an earlier number again.
func (s *siege) backdate(p, d int) {
	dev := s.dev[p][d]
	s.seq[dev], s.last[dev] = 0, protocol.OpID{}
}

// hostilePlay is one attack of one to several operations.
func (s *siege) hostilePlay() {
	switch s.rnd.IntN(10) {
	case 0, 1, 2: // complete what others once wanted, or anything
		if list := s.proposals(); len(list) > 0 {
			s.rally(pick(s.rnd, list))
		}
	case 3, 4:
		s.graft()
	case 5:
		s.suspendAll()
	case 6:
		s.doubleVote()
	case 7:
		if len(s.withheld) > 0 {
			v := s.withheld[0].(RecoveryVote)
			p, d, parents := s.arm([]protocol.OpID{v.Proposal})
			s.sign(p, d, v, parents...)
		}
		s.ownDevices()
	default:
		s.deed()
	}
}

// rally lets the attackers' devices vote for a proposal.
func (s *siege) rally(q protocol.OpID) {
	for _, a := range s.arms() {
		if a[0] < s.organisers || s.chance(3) {
			for range 1 + s.rnd.IntN(2) {
				s.voteFrom(a, q)
			}
		}
	}
}

func (s *siege) voteFrom(a [2]int, q protocol.OpID) {
	v := s.log.NextVote(s.ids[a[0]], q)
	parents := []protocol.OpID{q}
	if v.Seq > 1 {
		parents = append(parents, v.Prev)
	}
	if c := s.log.certs[s.dev[a[0]][a[1]]]; c[0].at >= 0 {
		parents = append(parents, s.id(c[0].at))
	}
	s.sign(a[0], a[1], v, parents...)
}

// graft hangs decisions of the attackers on any proposal and votes for them.
func (s *siege) graft() {
	prev := s.start()
	if list := s.proposals(); len(list) > 0 && s.rnd.IntN(4) > 0 {
		prev = pick(s.rnd, list)
	}
	for range 1 + s.rnd.IntN(2) {
		parents := s.any()
		if prev != s.start() {
			parents = append([]protocol.OpID{prev}, parents...)
		}
		p, d, parents := s.arm(parents)
		q, ok := s.sign(p, d, Proposal{Prev: prev, Decision: s.evilDecision()}, parents...)
		if !ok {
			return
		}
		s.rally(q)
		prev = q
	}
}

func (s *siege) evilDecision() Decision {
	t := s.rnd.IntN(s.organisers)
	switch s.rnd.IntN(6) {
	case 0:
		return Expel{Target: s.ids[t], Repudiate: s.someItems()}
	case 1:
		return Reinstate{Target: s.ids[t]}
	case 2:
		w := pick(s.rnd, s.arms())
		return GrantOrganiser{Target: s.ids[w[0]], Devices: []identity.DeviceID{s.dev[w[0]][w[1]]}}
	case 3:
		w := pick(s.rnd, s.arms())
		return SetDevices{Target: s.ids[w[0]], Devices: []identity.DeviceID{s.dev[w[0]][w[1]]}}
	case 4:
		return SetDevices{Target: s.ids[t], Devices: []identity.DeviceID{s.dev[t][s.rnd.IntN(devicesEach)]}}
	}
	return s.policy()
}

func (s *siege) someItems() (out []protocol.ItemID) {
	for range s.rnd.IntN(3) {
		if n := len(s.log.nodes); n > 0 {
			out = append(out, protocol.ItemID(s.id(s.rnd.IntN(n))))
		}
	}
	return slices.Compact(protocol.SortIDs(out))
}

// suspendAll lets one device suspend everybody, from a low number at times.
func (s *siege) suspendAll() {
	p, d, parents := s.arm(s.any())
	if s.chance(2) {
		s.backdate(p, d)
	}
	for t := range s.organisers {
		if s.rnd.IntN(3) > 0 {
			s.sign(p, d, Suspend{Target: s.ids[t]}, parents...)
		}
	}
}

// doubleVote spends one vote number twice.
func (s *siege) doubleVote() {
	list := s.proposals()
	if len(list) < 2 {
		return
	}
	one, two := pick(s.rnd, list), pick(s.rnd, list)
	p, d, parents := s.arm([]protocol.OpID{one, two})
	v := s.log.NextVote(s.ids[p], one)
	if s.chance(2) {
		v.Seq, v.Prev = 1, protocol.OpID{}
	}
	if v.Seq > 1 {
		parents = append(parents, v.Prev)
	}
	s.sign(p, d, v, parents...)
	v.Proposal = two
	s.sign(p, d, v, parents...)
}

// ownDevices lets whoever can bring in devices of their own, or take them out.
func (s *siege) ownDevices() {
	p, d, parents := s.arm(s.any())
	for x := range devicesEach {
		if s.chance(2) {
			s.sign(p, d, AddDevice(s.add(p, x, false)), parents...)
		} else if s.chance(2) {
			s.sign(p, d, RemoveDevice{Device: s.dev[p][x]}, parents...)
		}
	}
}

// deed is anything that one organiser signs, by anybody, seen from anywhere.
func (s *siege) deed() {
	p, d, parents := s.arm(s.any())
	if s.chance(3) {
		s.backdate(p, d)
	}
	t, x := s.rnd.IntN(souls), s.rnd.IntN(devicesEach)
	switch s.rnd.IntN(8) {
	case 0, 1, 2:
		s.sign(p, d, s.add(t, x, false), parents...)
	case 3:
		s.sign(p, d, RemoveMember{Target: s.ids[t]}, parents...)
	case 4:
		s.sign(p, d, RemoveDevice{Device: s.dev[t][x]}, parents...)
	case 5:
		s.sign(p, d, GrantAuthor{Target: s.ids[t]}, parents...)
	case 6:
		s.sign(p, d, RevokeAuthor{Target: s.ids[t]}, parents...)
	case 7:
		s.sign(p, d, Leave{}, parents...)
	}
}
