package group

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Attacks that failed (spec 47 section 2).

// Two changes of one phone race; whoever lost is completed later by x.
func TestByHand27PhonesThatRace(t *testing.T) {
	for n := range 12 {
		p := newPlot(t, "abcx")
		a2 := p.second("a", "a.2")
		p.names["a.3"] = deviceOf(1, 2+n)
		a3 := p.op(p.who("a"), AddDevice(p.add(p.who("a.3"))), a2)
		lost := p.propose("a", p.start(), SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.3")}, a3)
		p.vote("a", lost)
		p.vote("b", lost)
		won := p.propose("b", p.start(), SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.2")}, a3)
		for _, v := range []string{"b", "c", "a"} {
			p.vote(v, won)
		}
		p.vote("a.2", won)
		e := p.propose("b", won, Expel{Target: p.id("x")})
		for _, v := range []string{"b", "c", "a.2"} {
			p.vote(v, e)
		}
		p.vote("x", lost)
		p.want("organisers", p.organisers(), "abc")
		if !p.log(t).Resolve().Operates(p.id("a"), p.who("a.2").dev()) {
			t.Error("another phone votes for a")
		}
	}
}

// The paper against who suspends the only other one again and again.
func TestByHand28PaperAgainstSuspensions(t *testing.T) {
	p := newPlot(t, "ax")
	s := p.op(p.who("x"), Suspend{Target: p.id("a")})
	back := p.decide("a", p.start(), Reinstate{Target: p.id("a")}, s)
	p.op(p.who("a"), RecoveryVote{Proposal: back, Signature: p.paper.Vote(back)}, back)
	p.want("given back", p.free(), "ax")
	p.op(p.who("x"), Suspend{Target: p.id("a")}, back)
	p.again("x")
	p.op(p.who("x"), Suspend{Target: p.id("a")}, s)
	p.want("again", p.free(), "ax")
	out := p.decide("a", back, Expel{Target: p.id("x")})
	p.op(p.who("a"), RecoveryVote{Proposal: out, Signature: p.paper.Vote(out)}, out)
	p.op(p.who("x"), Suspend{Target: p.id("a")}, out)
	p.want("organisers", p.free(), "a")
}

// A vote for a grant is kept back until its sender is out.
func TestByHand29GrantReleasedAfterTheExpulsion(t *testing.T) {
	for n := range uint8(12) {
		p := newPlot(t, "abcx", "h")
		in := p.op(p.who("a"), p.add(p.who("h")))
		grant := p.propose("x", p.start(), GrantOrganiser{Target: p.id("h"), Devices: p.devicesOf("h")}, in)
		p.vote("a", grant)
		p.vote("b", grant)
		e := p.decide("abc", p.start(), Expel{Target: p.id("x")}, in)
		p.decide("abc", e, policyOf(9+n))
		p.vote("x", grant)
		more := p.propose("x", grant, Reinstate{Target: p.id("x")})
		p.vote("x", more)
		p.vote("h", more)
		p.want("organisers", p.organisers(), "abc")
	}
}

// Giving back twice, with a suspension between, frees once and for all.
func TestByHand30GivenBackTwice(t *testing.T) {
	p := newPlot(t, "abx")
	s := p.op(p.who("x"), Suspend{Target: p.id("a")})
	one := p.decide("ab", p.start(), Reinstate{Target: p.id("a")}, s)
	again := p.op(p.who("x"), Suspend{Target: p.id("a")}, one)
	two := p.decide("ab", one, Reinstate{Target: p.id("a")}, again)
	p.op(p.who("x"), Suspend{Target: p.id("b")}, two)
	p.want("free", p.free(), "ax")
	p.decide("ab", two, Reinstate{Target: p.id("b")}, p.ids[len(p.ids)-1])
	p.again("x")
	for _, n := range []string{"a", "b"} {
		p.op(p.who("x"), Suspend{Target: p.id(n)}, two)
	}
	p.want("free at last", p.free(), "abx")
}

// One device is added for two helpers in two branches: both are out by it, and
// nobody else.
func TestByHand31OneDeviceInTwoBranches(t *testing.T) {
	p := newPlot(t, "abx", "r", "h")
	in := p.op(p.who("a"), p.add(p.who("r")))
	p.op(p.who("b"), p.add(p.who("h")), in)
	thief := actor{member: person(50).member, device: p.who("h").device}
	p.op(p.who("x"), AddMember{Cert: identity.Certify(p.g.ID(), thief.member, thief.device).Marshal()}, in)
	p.want("members", p.members(), "abrx")
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("r").dev()); !ok {
		t.Error("r's device is out")
	}
	p.decide("ab", p.start(), Expel{Target: p.id("x"), Repudiate: itemIDs(p.ids[len(p.ids)-1])}, p.ids[len(p.ids)-1])
	p.want("members without x", p.members(), "abhr")
}

// What a hostile organiser did to an author sleeps until the policy asks for
// authors; the expulsion that takes it back wakes nothing.
func TestByHand32SleepingRevocation(t *testing.T) {
	p := newPlot(t, "abx", "m")
	in := p.op(p.who("a"), p.add(p.who("m")))
	grant := p.op(p.who("a"), GrantAuthor{Target: p.id("m")}, in)
	revoke := p.op(p.who("x"), RevokeAuthor{Target: p.id("m")}, grant)
	e := p.decide("ab", p.start(), Expel{Target: p.id("x"), Repudiate: itemIDs(revoke)}, revoke)
	policy := DefaultPolicy(10)
	policy.Posting = PostAuthors
	p.decide("ab", e, SetPolicy{policy})
	p.op(p.who("x"), RevokeAuthor{Target: p.id("m")}, grant)
	r := p.log(t).Resolve()
	if _, cut := r.Cutoff(p.who("m").dev()); cut || !r.MayPost(p.id("m")) {
		t.Error("m may not post, or is cut off")
	}
	if _, cut := p.log(t).Cutoff(p.who("m").dev(), []protocol.OpID{grant}); cut {
		t.Error("an older message is cut off")
	}
}

// A grant that came before the expulsion revives nothing.
func TestByHand35TheFirstGrantRevivesNothing(t *testing.T) {
	p := newPlot(t, "abc", "d", "evil")
	in := p.op(p.who("a"), p.add(p.who("d")))
	grant := p.decide("abc", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, in)
	out := p.decide("abc", grant, Expel{Target: p.id("d")})
	p.op(p.who("d"), p.add(p.who("evil")), grant)
	p.op(p.who("d"), Suspend{Target: p.id("a")}, grant, out)
	p.want("members", p.members(), "abc")
	p.want("free", p.free(), "abc")
}

// A device is not claimed away from whom an organiser added it for.
func TestByHand36ClaimAgainstAnAdd(t *testing.T) {
	p := newPlot(t, "ab", "h", "r")
	h := p.op(p.who("a"), p.add(p.who("h")))
	in := p.op(p.who("a"), p.add(p.who("r")), h)
	both := actor{member: p.who("r").member, device: p.who("h").device}
	p.op(p.who("r"), AddDevice{Cert: identity.Certify(p.g.ID(), both.member, both.device).Marshal()}, in)
	r := p.log(t).Resolve()
	if m, ok := r.MemberOfCert(p.who("h").dev()); !ok || m != p.id("h") {
		t.Error("the device changed hands")
	}
	if m, ok := r.MemberOfDevice(p.who("h").dev()); !ok || m.ID != p.id("h") {
		t.Error("the device is out")
	}
}

// A grant of who organises would give phones without taking the old ones.
func TestByHand37GrantOfWhoOrganises(t *testing.T) {
	p := newPlot(t, "ab")
	second := p.second("a", "a.2")
	p.decide("ab", p.start(), GrantOrganiser{Target: p.id("a"), Devices: p.devicesOf("a.2")}, second)
	undecided(t, p)
}

// Who was expelled and is granted again may speak again, with the devices listed.
func TestByHand38GrantEndsTheCutOff(t *testing.T) {
	p := newPlot(t, "abx")
	out := p.decide("ab", p.start(), Expel{Target: p.id("x")})
	back := p.decide("ab", out, GrantOrganiser{Target: p.id("x"), Devices: p.devicesOf("x")}, out)
	l := p.log(t)
	if _, cut := l.Cutoff(p.who("x").dev(), []protocol.OpID{back}); cut {
		t.Error("what was said after the grant is cut off")
	}
	if _, cut := l.Cutoff(p.who("x").dev(), []protocol.OpID{out}); !cut {
		t.Error("what was said before it is not")
	}
}

// Decision 017: a Suspend that is dated back stops all that its target ever did. The
// Reinstate gives it back, because it has seen it; who votes is told so before. And
// a suspension that another one of its author's holds back lets its target go on in
// good faith: that work comes back too, once the second counts and is lifted.
func TestByHand39ReinstateGivesBackWhatItSaw(t *testing.T) {
	p := newPlot(t, "abx", "r", "s")
	let := p.op(p.who("a"), p.add(p.who("r")))
	x := p.op(p.who("x"), Suspend{Target: p.id("a")}) // it has seen nothing
	p.want("out with the founder's adds", p.members(), "abx")
	late := p.op(p.who("a"), p.add(p.who("s")), let) // not heard
	blind := p.propose("b", p.start(), Reinstate{Target: p.id("a")}, let)
	q := p.propose("b", p.start(), Reinstate{Target: p.id("a")}, x, let)
	returning := func(id protocol.OpID) []protocol.OpID { return p.log(t).Resolve().Returning(p.id("a"), id) }
	if got := returning(blind); len(got) != 0 {
		t.Errorf("%d return by one that has not seen the suspension", len(got))
	}
	if got := returning(q); !slices.Equal(got, []protocol.OpID{let}) {
		t.Errorf("by the proposal %d return", len(got))
	}
	if got := returning(protocol.OpID{}); !slices.Equal(got, []protocol.OpID{let, late}) {
		t.Errorf("by a new one %d return", len(got))
	}
	if got := p.log(t).Resolve().Returning(p.id("b"), protocol.OpID{}); len(got) != 0 {
		t.Errorf("%d of somebody's return who is not suspended", len(got))
	}
	p.vote("b", q)
	p.vote("a", q)
	p.want("back", p.members(), "abrx")
	if got := returning(protocol.OpID{}); !slices.Equal(got, []protocol.OpID{late}) {
		t.Errorf("%d return by another one", len(got)) // what this one had not seen
	}
}

func TestByHand40WorkDoneInGoodFaithComesBack(t *testing.T) {
	p := newPlot(t, "abcdx", "r")
	one := p.op(p.who("x"), Suspend{Target: p.id("a")})
	two := p.op(p.who("x"), Suspend{Target: p.id("b")}, one) // held back: one at a time
	let := p.op(p.who("b"), p.add(p.who("r")), two)          // with full right, having seen it
	p.want("at work", p.members(), "abcdrx")
	back := p.decide("bcd", p.start(), Reinstate{Target: p.id("a")}, one)
	p.want("the second counts", p.free(), "acdx")
	p.want("and stops what was done", p.members(), "abcdx")
	if got := p.log(t).Resolve().Returning(p.id("b"), protocol.OpID{}); !slices.Equal(got, []protocol.OpID{let}) {
		t.Errorf("%d return", len(got))
	}
	p.decide("acd", back, Reinstate{Target: p.id("b")}, two, let)
	p.want("given back", p.members(), "abcdrx")
}
