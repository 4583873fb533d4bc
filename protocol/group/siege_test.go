package group

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// A siege is a search for attacks written from the text of spec 40 alone: small
// histories in which attackers use what honest people once signed. Operations
// enter the log without frames and signatures, which is what makes a million of
// them possible; one in 64 is played with both (see siege.signed).

// Everybody has three devices: the phone, a spare one that may replace it, and a
// tablet that never votes.
const (
	phone = iota
	spare
	tablet
	devicesEach
)

// Who is who: up to five organisers, then these.
const (
	friendOne = 5 + iota // honest readers
	friendTwo
	helperOne // colluding readers
	helperTwo
	stranger // whom the attackers want in
	souls
)

// troupe is what all sieges with as many organisers share: keys and certificates.
type troupe struct {
	g     Genesis
	names [souls]string
	ids   [souls]identity.MemberID
	dev   [souls][devicesEach]identity.DeviceID
	cert  [souls][devicesEach]identity.DeviceCert
	raw   [souls][devicesEach][]byte // cert, encoded
	key   [souls][devicesEach]actor
	certs map[string]identity.DeviceCert
	who   map[identity.DeviceID][2]int
}

var (
	troupes    = map[[2]int]*troupe{}
	siegePaper = identity.RecoveryKeyFromSeed(seed('r', 1))
)

func troupeOf(organisers, hostile int) *troupe {
	key := [2]int{organisers, hostile}
	if c, ok := troupes[key]; ok {
		return c
	}
	c := &troupe{who: map[identity.DeviceID][2]int{}, certs: map[string]identity.DeviceCert{}}
	var list []Founder
	for p := range souls {
		for d := range devicesEach {
			a := deviceOf(1+p, d)
			c.key[p][d], c.ids[p], c.dev[p][d] = a, a.id(), a.dev()
			c.who[a.dev()] = [2]int{p, d}
		}
		if p < organisers {
			a := c.key[p][phone]
			list = append(list, Founder{Member: a.member, Device: a.device, KEM: a.kem, Lane: a.lane})
			c.names[p] = string(rune('a' + p))
			if p >= organisers-hostile {
				c.names[p] = string(rune('x' + p - (organisers - hostile)))
			}
		}
	}
	c.names[friendOne], c.names[friendTwo], c.names[helperOne], c.names[helperTwo], c.names[stranger] = "friend", "other friend", "helper", "other helper", "stranger"
	var err error
	if c.g, err = NewGenesis(zeros{}, list, siegePaper.Public(), DefaultPolicy(10)); err != nil {
		panic(err)
	}
	for p := range souls {
		for d := range devicesEach {
			c.cert[p][d] = identity.Certify(c.g.ID(), c.key[p][d].member, c.key[p][d].device)
			c.raw[p][d] = c.cert[p][d].Marshal()
			c.certs[string(c.raw[p][d])] = c.cert[p][d]
		}
	}
	troupes[key] = c
	return c
}

type siege struct {
	*troupe
	rnd        *rand.Rand
	organisers int // 0 to organisers-1
	hostile    int // the last ones of them
	log        *Log
	signed     *world // set: operations are framed and signed
	seq        map[identity.DeviceID]uint64
	last       map[identity.DeviceID]protocol.OpID
	sees       [souls]set
	hot        map[identity.DeviceID]bool // honest people's devices in the attackers' hands
	tablets    bool                       // honest people's tablets are stolen
	papers     []protocol.OpID            // proposals that the paper signed
	withheld   []Payload                  // paper votes that their carrier keeps
	wanted     map[protocol.OpID]bool     // proposals with an honest vote
	packages   byte
}

func newSiege(s1, n uint64) *siege {
	rnd := rand.New(rand.NewPCG(s1, n))
	s := &siege{rnd: rnd, hot: map[identity.DeviceID]bool{}, wanted: map[protocol.OpID]bool{},
		seq: map[identity.DeviceID]uint64{}, last: map[identity.DeviceID]protocol.OpID{}}
	switch k := rnd.IntN(20); {
	case k < 2:
		s.organisers, s.hostile = 2, 1
	case k < 9:
		s.organisers, s.hostile = 3, 1
	case k < 13:
		s.organisers, s.hostile = 4, 1
	case k < 16:
		s.organisers, s.hostile = 5, 1
	default:
		s.organisers, s.hostile = 5, 2
	}
	s.tablets = rnd.IntN(3) == 0
	s.troupe = troupeOf(s.organisers, s.hostile)
	s.log = NewLog(s.g)
	if n%64 == 63 {
		s.signed = newWorld(s.g)
	}
	s.prologue()
	return s
}

func (s *siege) chance(n int) bool      { return s.rnd.IntN(n) == 0 }
func (s *siege) start() protocol.OpID   { return protocol.OpID(s.g.ID()) }
func (s *siege) lastNode() int          { return len(s.log.nodes) - 1 }
func (s *siege) isHostile(p int) bool   { return p >= s.honest() && p < s.organisers || p >= helperOne }
func (s *siege) honest() int            { return s.organisers - s.hostile }
func (s *siege) id(i int) protocol.OpID { return s.log.nodes[i].id }

// add is the payload that certifies a device. The key package says by whom it was
// named.
func (s *siege) add(p, d int, good bool) AddMember {
	pack := protocol.ItemID{0xee, s.packages}
	if good {
		pack = protocol.ItemID{1, byte(p), byte(d)}
	}
	s.packages++
	return AddMember{Cert: s.raw[p][d], KeyPackage: pack}
}

// sign lets a device sign anything with any parents; false: the log refuses it.
func (s *siege) sign(p, d int, what Payload, parents ...protocol.OpID) (protocol.OpID, bool) {
	dev := s.dev[p][d]
	parents = slices.Clone(parents)
	parents = protocol.SortIDs(parents)
	parents = slices.Compact(parents)
	parents = parents[:min(len(parents), protocol.MaxParents)]
	o := Op{Version: 1, Kind: what.Kind(), Member: s.ids[p], Seq: s.seq[dev] + 1, PrevOwn: s.last[dev], Parents: parents}
	var id protocol.OpID
	if s.signed != nil {
		o.Payload = what.marshal()
		id = s.signed.sign(s.key[p][d], o)
		r, err := s.log.Add(s.signed.frames[len(s.signed.frames)-1])
		if err != nil || r.Outcome != Added {
			return id, false
		}
	} else {
		for k := range 4 {
			binary.LittleEndian.PutUint64(id[8*k:], s.rnd.Uint64())
		}
		if s.isHostile(p) && s.chance(2) { // as many drafts as it takes
			id[0], id[1] = 0, 0
		}
		n := node{id: id, op: o, payload: what, frame: protocol.Frame{Kind: protocol.KindOp, Device: dev}}
		switch x := what.(type) {
		case AddMember:
			n.cert = s.certs[string(x.Cert)]
		case AddDevice:
			n.cert = s.certs[string(x.Cert)]
		}
		if !s.admit(&n) {
			return id, false
		}
	}
	s.seq[dev], s.last[dev] = o.Seq, id
	s.sees[p] = union(s.sees[p], s.log.nodes[s.lastNode()].past).with(s.lastNode())
	return id, true
}

// admit is spec 40 section 3, "Taking an operation in", but for the signature.
func (s *siege) admit(n *node) bool {
	n.past = s.log.closure(n.op.Parents)
	n.size = n.past.count()
	if !slices.ContainsFunc(s.log.certs[n.frame.Device], func(c certified) bool {
		return (c.at < 0 || n.past.has(c.at)) && c.member.ID() == n.op.Member
	}) {
		return false
	}
	if !s.log.fits(n) {
		n.payload = nil
	}
	s.log.insert(*n)
	return true
}

// heads of what a person saw.
func (s *siege) heads(p int) []protocol.OpID {
	var below set
	var out []protocol.OpID
	for i := s.lastNode(); i >= 0; i-- {
		if s.sees[p].has(i) {
			if !below.has(i) {
				out = append(out, s.id(i))
				below = union(below, s.log.nodes[i].past)
			}
		}
	}
	return out
}

func (s *siege) seeAll(p int) { s.sees[p] = s.log.closure(s.log.Heads()) }

func (s *siege) meet(p, q int) {
	both := union(s.sees[p], s.sees[q])
	s.sees[p], s.sees[q] = both, union(both, nil)
}

// vote signs the person's next vote as far as it saw its own.
func (s *siege) vote(p, d int, q protocol.OpID) bool {
	v := s.log.NextVote(s.ids[p], q)
	parents := []protocol.OpID{q}
	if v.Seq > 1 {
		parents = append(parents, v.Prev)
	}
	if _, mine := s.certifiedIn(p, d, parents); !mine {
		parents = append(parents, s.heads(p)...)
	}
	_, ok := s.sign(p, d, v, parents...)
	if ok && !s.isHostile(p) && !s.hot[s.dev[p][d]] {
		s.wanted[q] = true
	}
	return ok
}

func (s *siege) certifiedIn(p, d int, parents []protocol.OpID) (int, bool) {
	past := s.log.closure(parents)
	for _, c := range s.log.certs[s.dev[p][d]] {
		if c.at < 0 || past.has(c.at) {
			return c.at, true
		}
	}
	return 0, false
}

// tell writes the history down.
func (s *siege) tell() string {
	var b strings.Builder
	short := func(id protocol.OpID) string {
		if i, ok := s.log.index[id]; ok {
			return fmt.Sprint(i)
		}
		return "the Genesis"
	}
	name := func(m identity.MemberID) string {
		if i := slices.Index(s.ids[:], m); i >= 0 {
			return s.names[i]
		}
		return "nobody"
	}
	device := func(d identity.DeviceID) string {
		w, ok := s.who[d]
		if !ok {
			return "no device"
		}
		return s.names[w[0]] + "'s " + [...]string{"phone", "spare", "tablet"}[w[1]]
	}
	fmt.Fprintf(&b, "%d organisers, %d hostile; stolen:", s.organisers, s.hostile)
	for d := range s.hot {
		fmt.Fprintf(&b, " %s", device(d))
	}
	b.WriteString("\n")
	for i, n := range s.log.nodes {
		fmt.Fprintf(&b, "%3d %s (number %d) ", i, device(n.frame.Device), n.op.Seq)
		switch p := n.payload.(type) {
		case nil:
			b.WriteString("signs what has no effect")
		case Proposal:
			fmt.Fprintf(&b, "proposes after %s: %T", short(p.Prev), p.Decision)
			switch d := p.Decision.(type) {
			case Expel:
				fmt.Fprintf(&b, " %s", name(d.Target))
			case Reinstate:
				fmt.Fprintf(&b, " %s", name(d.Target))
			case GrantOrganiser:
				fmt.Fprintf(&b, " %s with %s", name(d.Target), device(d.Devices[0]))
			case SetDevices:
				fmt.Fprintf(&b, " %s to %s", name(d.Target), device(d.Devices[0]))
			}
		case Vote:
			fmt.Fprintf(&b, "votes for %s (vote %d)", short(p.Proposal), p.Seq)
		case RecoveryVote:
			fmt.Fprintf(&b, "carries the paper's vote for %s", short(p.Proposal))
		case Suspend:
			fmt.Fprintf(&b, "suspends %s", name(p.Target))
		case AddMember, AddDevice:
			fmt.Fprintf(&b, "%T %s", p, device(n.cert.Device.ID()))
		case RemoveMember:
			fmt.Fprintf(&b, "removes %s", name(p.Target))
		case RemoveDevice:
			fmt.Fprintf(&b, "removes %s", device(p.Device))
		default:
			fmt.Fprintf(&b, "%T", p)
		}
		b.WriteString(", having seen")
		for _, x := range n.op.Parents {
			fmt.Fprintf(&b, " %s", short(x))
		}
		b.WriteString("\n")
	}
	for _, d := range s.log.Resolve().Decisions() {
		fmt.Fprintf(&b, "decided: %s\n", short(d.ID))
	}
	return b.String()
}
