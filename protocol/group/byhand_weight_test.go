package group

import (
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Attacks on who stands on which decision (spec 40 section 6.1, decision 014).
// Each is tried with many drafts, because the attacker may choose among ids.

// whoStands plays a history for many drafts and demands the same organisers.
func whoStands(t *testing.T, want string, play func(p *plot, draft SetPolicy) (attack func()), founders string) {
	t.Helper()
	for n := range uint8(20) {
		p := newPlot(t, founders)
		attack := play(p, policyOf(9+n))
		p.want("organisers before", p.organisers(), want)
		attack()
		p.want("organisers after", p.organisers(), want)
	}
}

// A tablet that reads for its owner and never voted, in the hands of one hostile
// organiser, speaks for its owner against the expulsion.
func TestByHand16TabletsStandOnNothing(t *testing.T) {
	whoStands(t, "ab", func(p *plot, draft SetPolicy) func() {
		tablet := p.second("a", "a.2")
		old := p.propose("b", p.start(), draft, tablet)
		p.vote("b", old) // an honest vote for what never was decided
		p.decide("ab", p.start(), Expel{Target: p.id("x")})
		return func() {
			p.vote("x", old)
			p.vote("a.2", old)
		}
	}, "abx")
}

// A phone that was replaced speaks for its owner in what was decided after it was.
func TestByHand17ReplacedPhonesStandOnNothingLater(t *testing.T) {
	whoStands(t, "abc", func(p *plot, draft SetPolicy) func() {
		second := p.second("a", "a.2")
		set := p.decide("bcx", p.start(), SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.2")}, second)
		p.vote("a.2", set)
		old := p.propose("b", set, draft)
		p.vote("b", old)
		p.vote("c", old)
		e := p.propose("b", set, Expel{Target: p.id("x")})
		for _, v := range []string{"b", "c", "a.2"} {
			p.vote(v, e)
		}
		return func() {
			p.vote("x", old)
			p.vote("a", old)
		}
	}, "abcx")
}

// Of two organisers one expels the other with the paper; the other votes for what
// the one once wanted, and so stands alone against one.
func TestByHand18ThePaperStandsToo(t *testing.T) {
	whoStands(t, "a", func(p *plot, draft SetPolicy) func() {
		old := p.decide("a", p.start(), draft)
		first := p.decide("ax", p.start(), policyOf(8)) // both wanted this one
		q := p.decide("a", first, Expel{Target: p.id("x")})
		p.op(p.who("a"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
		return func() { p.vote("x", old) }
	}, "ax")
}

// Who was expelled and granted again with another phone stands with that one.
func TestByHand19GrantedAgainStandsWithTheNewPhone(t *testing.T) {
	whoStands(t, "abc", func(p *plot, draft SetPolicy) func() {
		second := p.second("a", "a.2")
		old := p.propose("b", p.start(), draft, second)
		p.vote("b", old)
		p.vote("c", old)
		out := p.decide("bcx", p.start(), Expel{Target: p.id("a")}, second)
		again := p.op(p.who("b"), p.add(p.who("a.2")), out)
		back := p.decide("bc", out, GrantOrganiser{Target: p.id("a"), Devices: p.devicesOf("a.2")}, again)
		p.vote("a.2", back)
		e := p.propose("b", back, Expel{Target: p.id("x")})
		for _, v := range []string{"b", "c", "a.2"} {
			p.vote(v, e)
		}
		return func() {
			p.vote("x", old)
			p.vote("a", old)
		}
	}, "abcx")
}

// A spare that was a voting phone for a while, voted there and then took part in
// what was decided instead, stands where it voted last and nowhere else.
func TestByHand23DevicesTakeTheirVotesBack(t *testing.T) {
	for n := range uint8(20) {
		p := newPlot(t, "abcxy")
		spare := p.second("b", "b.2")
		set := p.decide("abcxy", p.start(), SetDevices{Target: p.id("b"), Devices: p.devicesOf("b.2")}, spare)
		next := p.propose("c", set, policyOf(9+n))
		for _, v := range []string{"c", "b.2", "x", "y"} {
			p.vote(v, next)
		}
		e := p.propose("a", p.start(), Expel{Target: p.id("x")}, spare)
		for _, v := range []string{"a", "b.2", "c", "x"} {
			p.vote(v, e)
		}
		f := p.propose("c", e, Expel{Target: p.id("y")})
		for _, v := range []string{"c", "a", "b"} {
			p.vote(v, f)
		}
		p.want("before", p.organisers(), "abc")
		late := p.propose("y", p.start(), policyOf(7))
		more := p.propose("x", set, policyOf(6))
		p.vote("x", late)
		p.vote("y", late)
		p.vote("x", more)
		p.vote("y", more)
		p.want("after", p.organisers(), "abc")
	}
}

// On a branch of their own attackers bring an accomplice in, are the majority
// there, and make the others' stolen tablets their voting devices.
func TestByHand25AccomplicesReplaceNoPhones(t *testing.T) {
	for n := range uint8(20) {
		p := newPlot(t, "abcx", "h")
		a2, b2 := p.second("a", "a.2"), p.second("b", "b.2")
		in := p.op(p.who("a"), p.add(p.who("h")), a2, b2)
		grant := p.propose("c", p.start(), GrantOrganiser{Target: p.id("h"), Devices: p.devicesOf("h")}, in)
		for _, v := range []string{"a", "c"} { // which did not come about
			p.vote(v, grant)
		}
		set := p.decide("bcx", p.start(), SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.2")}, in)
		e := p.propose("c", set, Expel{Target: p.id("x")})
		for _, v := range []string{"c", "a.2", "b"} {
			p.vote(v, e)
		}
		p.want("before", p.organisers(), "abc")
		p.vote("x", grant)
		evil := p.propose("x", grant, SetDevices{Target: p.id("b"), Devices: p.devicesOf("b.2")}, b2)
		for _, v := range []string{"a", "x", "h", "b.2"} {
			p.vote(v, evil)
		}
		p.propose("x", evil, policyOf(9+n))
		p.want("after", p.organisers(), "abc")
	}
}

// Of two, one has an accomplice granted on a branch, and there another paper.
func TestByHand26AccomplicesMakeNoPaper(t *testing.T) {
	for n := range uint8(20) {
		p := newPlot(t, "ax", "h")
		in := p.op(p.who("a"), p.add(p.who("h")))
		grant := p.propose("a", p.start(), GrantOrganiser{Target: p.id("h"), Devices: p.devicesOf("h")}, in)
		p.vote("a", grant)
		q := p.decide("a", p.start(), Expel{Target: p.id("x"), Repudiate: []protocol.ItemID{{byte(n)}}})
		p.op(p.who("a"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
		p.want("before", p.organisers(), "a")
		p.vote("x", grant)
		own := identity.RecoveryKeyFromSeed(seed('r', 100+int(n)))
		key := own.Public()
		set := p.decide("xh", grant, SetRecovery{Key: key[:]}, in)
		out := p.decide("xh", set, Expel{Target: p.id("a")}, in)
		last := p.decide("xh", out, Reinstate{Target: p.id("x")}, in)
		p.op(p.who("x"), RecoveryVote{Proposal: last, Signature: own.Vote(last)}, last)
		p.want("after", p.organisers(), "a")
	}
}

// A phone that two of three replaced, after they and x expelled x from four, is
// replaced as seen from the four too.
func TestByHand33ReplacedAfterAnExpulsion(t *testing.T) {
	whoStands(t, "abc", func(p *plot, draft SetPolicy) func() {
		second := p.second("b", "b.2")
		old := p.propose("a", p.start(), draft, second)
		p.vote("a", old)
		p.vote("c", old)
		e := p.decide("acx", p.start(), Expel{Target: p.id("x")}, second)
		set := p.decide("ac", e, SetDevices{Target: p.id("b"), Devices: p.devicesOf("b.2")}, second)
		p.vote("b.2", set)
		return func() {
			p.vote("b", old)
			p.vote("x", old)
		}
	}, "abcx")
}

// A change of phone that fell short of a majority gives the phone no voice, though
// it had one among those who organised before.
func TestByHand34ShortOfAMajority(t *testing.T) {
	whoStands(t, "abd", func(p *plot, draft SetPolicy) func() {
		p.names["d"] = person(40)
		second := p.second("a", "a.2")
		in := p.op(p.who("a"), p.add(p.who("d")), second)
		old := p.propose("b", p.start(), draft, in)
		p.vote("b", old)
		grant := p.decide("abx", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, in)
		set := p.propose("a", grant, SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.2")})
		p.vote("a", set)
		p.vote("b", set)
		p.decide("abd", grant, Expel{Target: p.id("x")})
		return func() {
			p.vote("x", old)
			p.vote("a.2", set)
			p.vote("a.2", old)
		}
	}, "abx")
}
