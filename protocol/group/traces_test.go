package group

import (
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// plot is a world with what a history of decisions needs: every member's votes
// in a row, and names for people.
type plot struct {
	*world
	t     *testing.T
	names map[string]actor
	votes map[identity.MemberID][]protocol.OpID
	paper identity.RecoveryKey
}

// newPlot founds a group of the named people; others are known by name too.
func newPlot(t *testing.T, founders string, others ...string) *plot {
	t.Helper()
	p := &plot{t: t, names: map[string]actor{}, votes: map[identity.MemberID][]protocol.OpID{}, paper: identity.RecoveryKeyFromSeed(seed('r', 1))}
	var list []Founder
	for i, c := range founders {
		a := person(i + 1)
		p.names[string(c)] = a
		list = append(list, Founder{Member: a.member, Device: a.device, KEM: a.kem, Lane: a.lane})
	}
	for i, n := range others {
		p.names[n] = person(40 + i)
	}
	g, err := NewGenesis(zeros{}, list, p.paper.Public(), DefaultPolicy(10))
	if err != nil {
		t.Fatal(err)
	}
	p.world = newWorld(g)
	return p
}

func (p *plot) who(name string) actor {
	a, ok := p.names[name]
	if !ok {
		p.t.Fatalf("nobody is called %q", name)
	}
	return a
}

func (p *plot) id(name string) identity.MemberID { return p.who(name).id() }

func (p *plot) start() protocol.OpID { return protocol.OpID(p.g.ID()) }

// propose signs a proposal that saw its parents, and what it follows.
func (p *plot) propose(by string, prev protocol.OpID, d Decision, parents ...protocol.OpID) protocol.OpID {
	if prev != p.start() && !slices.Contains(parents, prev) {
		parents = append(parents, prev)
	}
	return p.op(p.who(by), Proposal{Prev: prev, Decision: d}, parents...)
}

// vote signs the member's next vote, by the named device of the name.
func (p *plot) vote(name string, q protocol.OpID) protocol.OpID {
	a := p.who(name)
	list := p.votes[a.id()]
	v := Vote{Proposal: q, Seq: uint64(len(list)) + 1}
	parents := []protocol.OpID{q}
	if len(list) > 0 {
		v.Prev = list[len(list)-1]
		parents = append(parents, v.Prev)
	}
	id := p.op(a, v, parents...)
	p.votes[a.id()] = append(list, id)
	return id
}

// decide proposes and lets the named vote.
func (p *plot) decide(voters string, prev protocol.OpID, d Decision, parents ...protocol.OpID) protocol.OpID {
	q := p.propose(voters[:1], prev, d, parents...)
	for _, v := range voters {
		p.vote(string(v), q)
	}
	return q
}

// second gives a person another device under a name of its own, added by the person.
func (p *plot) second(name, as string, parents ...protocol.OpID) protocol.OpID {
	first := p.who(name)
	n := slices.IndexFunc([]int{1, 2, 3, 4, 5, 6, 7}, func(i int) bool { return person(i).id() == first.id() }) + 1
	a := deviceOf(n, 1)
	p.names[as] = a
	return p.op(first, AddDevice(p.add(a)), parents...)
}

// organisers and the rest as sorted names.
func (p *plot) say(ids func(*Roster) []identity.MemberID) string {
	var out []string
	for _, id := range ids(p.log(p.t).Resolve()) {
		for n, a := range p.names {
			if a.id() == id && !strings.Contains(n, ".") {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

func membersBy(want func(Member) bool) func(*Roster) []identity.MemberID {
	return func(r *Roster) []identity.MemberID {
		var out []identity.MemberID
		for _, m := range r.Members() {
			if want(m) {
				out = append(out, m.ID)
			}
		}
		return out
	}
}

func (p *plot) organisers() string {
	return p.say(membersBy(func(m Member) bool { return m.Role == Organiser }))
}
func (p *plot) free() string {
	return p.say(membersBy(func(m Member) bool { return m.Role == Organiser && !m.Suspended }))
}
func (p *plot) members() string { return p.say(membersBy(func(Member) bool { return true })) }

func (p *plot) want(what, got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: %q, not %q", what, got, want)
	}
}

func (p *plot) devicesOf(name string) []identity.DeviceID {
	return []identity.DeviceID{p.who(name).dev()}
}

func policyOf(n uint8) SetPolicy { q := DefaultPolicy(10); q.RetentionDays = n; return SetPolicy{q} }

func TestTrace01LateVoteUndoesNoExpel(t *testing.T) {
	p := newPlot(t, "abx", "d")
	in := p.op(p.who("a"), p.add(p.who("d")))
	grant := p.decide("ab", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, in)
	p.decide("abd", grant, Expel{Target: p.id("x")})
	p.want("before", p.organisers(), "abd")
	p.vote("x", grant)
	p.want("after x votes late", p.organisers(), "abd")
}

func TestTrace01bVotesCannotBeGround(t *testing.T) {
	p := newPlot(t, "abx")
	first := p.decide("abx", p.start(), policyOf(9))
	p.decide("ab", first, Expel{Target: p.id("x")})
	for n := range uint8(8) {
		p.decide("x", p.start(), policyOf(10+n))
	}
	p.want("organisers", p.organisers(), "ab")
}

func TestTrace02OldVotesAreForNoNewProposal(t *testing.T) {
	p := newPlot(t, "abx", "evil")
	a0 := p.op(p.who("a"), GrantAuthor{Target: p.id("b")})
	p.decide("ab", p.start(), Expel{Target: p.id("x")}, a0)
	add := p.op(p.who("x"), p.add(p.who("evil")), a0)
	for range 8 {
		p.propose("x", p.start(), Expel{Target: p.id("x")}, a0, add)
	}
	p.want("members", p.members(), "ab")
}

func TestTrace03SplitVoteHeals(t *testing.T) {
	p := newPlot(t, "abx")
	one := p.propose("a", p.start(), Expel{Target: p.id("x"), Repudiate: []protocol.ItemID{{1}}})
	p.vote("a", one)
	two := p.propose("b", p.start(), Expel{Target: p.id("x"), Repudiate: []protocol.ItemID{{2}}})
	p.vote("b", two)
	p.want("while split", p.organisers(), "abx")
	p.vote("b", one)
	p.want("after b joins", p.organisers(), "ab")
}

func TestTrace04PaperCountsOnlyForTwo(t *testing.T) {
	p := newPlot(t, "abx")
	q := p.decide("x", p.start(), Expel{Target: p.id("a")})
	p.op(p.who("x"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
	q = p.decide("x", q, Expel{Target: p.id("b")})
	p.op(p.who("x"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
	p.want("organisers", p.organisers(), "abx")

	p = newPlot(t, "ax", "d")
	in := p.op(p.who("a"), p.add(p.who("d")))
	grant := p.decide("a", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, in)
	p.op(p.who("a"), RecoveryVote{Proposal: grant, Signature: p.paper.Vote(grant)}, grant)
	p.want("the paper grants nothing", p.organisers(), "ax")
	q = p.decide("a", p.start(), Expel{Target: p.id("x")})
	p.op(p.who("a"), RecoveryVote{Proposal: q, Signature: identity.RecoveryKeyFromSeed(seed('r', 2)).Vote(q)}, q)
	p.want("another paper is none", p.organisers(), "ax")
	p.op(p.who("d"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q, in)
	p.want("phone and paper", p.organisers(), "a")
}

func TestTrace05ReplacedPhonesDoNotVote(t *testing.T) {
	p := newPlot(t, "abc", "evil")
	a2, b2 := p.second("a", "a.2"), p.second("b", "b.2")
	in := p.op(p.who("c"), p.add(p.who("evil")))
	s1 := p.decide("bc", p.start(), SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.2")}, a2)
	s2 := p.propose("c", s1, SetDevices{Target: p.id("b"), Devices: p.devicesOf("b.2")}, b2)
	p.vote("c", s2)
	p.vote("a.2", s2)
	q := p.propose("a", s2, GrantOrganiser{Target: p.id("evil"), Devices: p.devicesOf("evil")}, in)
	p.vote("a", q)
	p.vote("b", q)
	p.want("organisers", p.organisers(), "abc")
}

func TestTrace06EquivocatorAndReader(t *testing.T) {
	p := newPlot(t, "abx", "r", "m1", "m2", "evil")
	in := p.op(p.who("a"), p.add(p.who("r")))
	x := p.who("x")
	o1 := p.op(x, p.add(p.who("m1")), in)
	p.seq[x.dev()], p.last[x.dev()] = 0, protocol.OpID{}
	o2 := p.op(x, p.add(p.who("m2")), in)
	bad := p.op(x, p.add(p.who("evil")), o1)
	p.op(p.who("r"), Merge{}, bad, o2)
	if n := len(p.log(t).Evidence()); n != 1 {
		t.Fatalf("%d pieces of evidence", n)
	}
	p.op(p.who("a"), Suspend{Target: x.id()}, o1, o2)
	p.want("members", p.members(), "abm1m2rx")
	p.want("free", p.free(), "ab")
}

func TestTrace07OnePhoneHoldsOneOther(t *testing.T) {
	p := newPlot(t, "abcdx")
	p.op(p.who("a"), Suspend{Target: p.id("x")})
	for _, v := range "abcd" {
		p.op(p.who("x"), Suspend{Target: p.id(string(v))})
	}
	p.want("free", p.free(), "bcd")
}

func TestTrace08GivenBackStaysGivenBack(t *testing.T) {
	p := newPlot(t, "abx")
	s := p.op(p.who("x"), Suspend{Target: p.id("a")})
	p.want("suspended", p.free(), "bx")
	p.decide("ab", p.start(), Reinstate{Target: p.id("a")}, s)
	p.want("reinstated", p.free(), "abx")
	x := p.who("x")
	p.op(x, Suspend{Target: p.id("a")})
	p.seq[x.dev()], p.last[x.dev()] = 0, protocol.OpID{}
	p.op(x, Suspend{Target: p.id("a")}, s) // backdated under a lower number
	p.want("suspended again", p.free(), "abx")
}

func TestTrace09SuspendedAddsNoDevice(t *testing.T) {
	p := newPlot(t, "abx")
	p.op(p.who("a"), Suspend{Target: p.id("x")})
	p.second("x", "x.9")
	r := p.log(t).Resolve()
	if _, ok := r.MemberOfDevice(p.who("x.9").dev()); ok {
		t.Error("the device counts")
	}
	p = newPlot(t, "abx") // and one that the suspension had seen stays
	add := p.second("x", "x.9")
	p.op(p.who("a"), Suspend{Target: p.id("x")}, add)
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("x.9").dev()); !ok {
		t.Error("the earlier device is gone")
	}
}

func TestTrace10WithheldDoubleVote(t *testing.T) {
	// Whatever the ids are: many drafts of the withheld decision.
	for n := range uint8(12) {
		p := newPlot(t, "abcdx")
		y := p.decide("cdx", p.start(), policyOf(9))
		p.decide("cabd", y, Expel{Target: p.id("x")})
		p.want("before", p.organisers(), "abcd")
		z := p.propose("x", p.start(), policyOf(10+n))
		for _, v := range "abx" { // votes that a and b gave first, released now
			a := p.who(string(v))
			p.op(a, Vote{Proposal: z, Seq: 1}, z)
		}
		p.want("after", p.organisers(), "abcd")
	}
}

func TestTrace11EquivocatingVotesDoNotWeigh(t *testing.T) {
	tried := 0
	for n := range uint8(6) {
		p := newPlot(t, "abcx")
		p1, p2 := p.propose("a", p.start(), policyOf(9+n)), p.propose("b", p.start(), policyOf(20))
		if compareOps(p1, p2) > 0 {
			continue
		}
		tried++
		p4 := p.propose("x", p.start(), policyOf(21))
		p.vote("a", p2)
		p.vote("a", p1)
		p.vote("b", p1)
		p.vote("b", p2)
		p.vote("c", p2)
		p.op(p.who("x"), Vote{Proposal: p1, Seq: 1}, p1)
		p.op(p.who("x"), Vote{Proposal: p4, Seq: 1}, p4)
		if got := p.log(t).Resolve().Decisions()[0].ID; got != p2 {
			t.Errorf("the decision on which two organisers stand did not win")
		}
	}
	if tried == 0 {
		t.Fatal("no draft had ids in this order")
	}
}

// replacedPhones is a history in which a's and b's phones were replaced by votes,
// and the two old ones grant evil from the Genesis with higher vote numbers.
func replacedPhones(t *testing.T, bStands bool, n int64) *plot {
	p := newPlot(t, "abc", "evil")
	a2, b2 := p.second("a", "a.2"), p.second("b", "b.2")
	in := p.op(p.who("c"), p.add(p.who("evil")))
	s1 := p.decide("bc", p.start(), SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.2")}, a2)
	s2 := p.propose("c", s1, SetDevices{Target: p.id("b"), Devices: p.devicesOf("b.2")}, b2)
	p.vote("c", s2)
	p.vote("a.2", s2)
	if bStands {
		p.vote("b.2", s2)
	}
	a := p.who("a")
	d := a.dev()
	q := p.sign(a, Op{Kind: KindProposal, Seq: p.seq[d] + 1, PrevOwn: p.last[d], Parents: []protocol.OpID{in}, CreatedAt: n,
		Payload: Proposal{Prev: p.start(), Decision: GrantOrganiser{Target: p.id("evil"), Devices: p.devicesOf("evil")}}.marshal()})
	p.seq[d]++
	p.last[d] = q
	p.vote("a", q)
	p.vote("b", q)
	return p
}

// TestTrace12 is closed by decision 011: the plan gives "evil organises" here.
func TestTrace12ReplacedPhonesCannotRewrite(t *testing.T) {
	for n := range int64(16) {
		p := replacedPhones(t, true, n)
		p.want("organisers", p.organisers(), "abc")
		if got := p.log(t).Resolve().Decisions(); len(got) != 2 {
			t.Errorf("%d decisions are left of two", len(got))
		}
	}
}

// TestTrace12b shows the limit that is left (spec 40 section 6.11): where b did
// not stand on the replacement, as many old keys as organisers who do, and the
// attacker may choose among ids.
func TestTrace12bOldKeysAgainstAsManyWhoStand(t *testing.T) {
	evil := 0
	for n := range int64(200) {
		p := replacedPhones(t, false, n)
		if strings.Contains(p.organisers(), "evil") {
			evil++
		}
	}
	if evil == 0 || evil == 200 {
		t.Errorf("evil organises in %d of 200: the limit is not where the spec says", evil)
	}
}
