package group

import (
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// This file tries to break the rules of spec 40 section 6 by hand (spec 47).

func (p *plot) uncovered(heads ...protocol.OpID) int {
	out, ok := p.log(p.t).Uncovered(protocol.SortIDs(heads))
	if !ok {
		p.t.Fatal("heads are not held")
	}
	return len(out)
}

// again lets the device sign from an earlier number: it equivocates.
func (p *plot) again(name string) {
	d := p.who(name).dev()
	p.seq[d], p.last[d] = 0, protocol.OpID{}
}

func TestByHand01LeavingAgainAndAgainForcesNoKeys(t *testing.T) {
	p := newPlot(t, "ab", "r")
	in := p.op(p.who("a"), p.add(p.who("r")))
	out := p.op(p.who("a"), RemoveMember{Target: p.id("r")}, in)
	heads := []protocol.OpID{out}
	if p.uncovered(in) == 0 || p.uncovered(heads...) != 0 {
		t.Fatal("the removal is not covered as it ought to be")
	}
	p.again("r")
	for range 5 {
		p.op(p.who("r"), Leave{}, in)
		p.op(p.who("r"), RemoveDevice{Device: p.who("r").dev()}, in)
	}
	if n := p.uncovered(heads...); n != 0 {
		t.Errorf("%d devices uncover an epoch that left them out", n)
	}
}

func TestByHand02AddingDevicesAfterRemovalForcesNoKeys(t *testing.T) {
	p := newPlot(t, "ab", "r")
	p.names["r.2"] = deviceOf(40, 1)
	in := p.op(p.who("a"), p.add(p.who("r")))
	out := p.op(p.who("a"), RemoveMember{Target: p.id("r")}, in)
	late := p.op(p.who("r"), AddDevice(p.add(p.who("r.2"))), in)
	p.op(p.who("r.2"), Leave{}, late)
	if p.uncovered(out) != 0 {
		t.Error("a device added by who is out uncovers an epoch")
	}
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("r.2").dev()); ok {
		t.Error("the device is in")
	}
}

func TestByHand03ExpelledForksTheChainAlone(t *testing.T) {
	p := newPlot(t, "abx")
	x2 := p.second("x", "x.2")
	p.decide("ab", p.start(), Expel{Target: p.id("x")}, x2)
	q := p.propose("x", p.start(), SetDevices{Target: p.id("x"), Devices: p.devicesOf("x.2")}, x2)
	for range 4 {
		p.vote("x", q)
	}
	p.vote("x.2", q)
	p.want("organisers", p.organisers(), "ab")
	p.want("members", p.members(), "ab")
}

func TestByHand04LowNumbersMoveButDoNotMultiplySuspensions(t *testing.T) {
	p := newPlot(t, "abcx")
	x := p.who("x")
	first := p.op(x, Merge{})
	p.op(x, Suspend{Target: p.id("a")}, first)
	p.want("one", p.free(), "bcx")
	for _, n := range []string{"b", "c"} {
		p.again("x")
		p.op(x, Suspend{Target: p.id(n)})
	}
	if free := len(p.free()); free != 3 {
		t.Errorf("%d are free", free)
	}
}

func TestByHand05GrantedAgainDoesNotReviveOldDevices(t *testing.T) {
	p := newPlot(t, "abx")
	x2 := p.second("x", "x.2")
	e := p.decide("ab", p.start(), Expel{Target: p.id("x")}, x2)
	again := p.op(p.who("a"), AddMember(p.add(p.who("x"))), e)
	p.decide("ab", e, GrantOrganiser{Target: p.id("x"), Devices: p.devicesOf("x")}, again)
	p.want("organisers", p.organisers(), "abx")
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("x.2").dev()); ok {
		t.Error("the second device of before is in")
	}
	// What x did between is void, what it does now holds.
	p.names["evil"] = person(50)
	p.op(p.who("x"), p.add(p.who("evil")), x2)
	p.want("members", p.members(), "abx")
}

func TestByHand06NobodyEmptiesTheOrganisers(t *testing.T) {
	p := newPlot(t, "a")
	p.decide("a", p.start(), Expel{Target: p.id("a")})
	p.want("organisers", p.organisers(), "a")
}

func TestByHand07PaperVotesOfTwoDoNotCountForThree(t *testing.T) {
	p := newPlot(t, "ax", "d")
	in := p.op(p.who("a"), p.add(p.who("d")))
	// x holds the paper and prepares while two organise, for when three do.
	grant := p.decide("ax", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, in)
	q := p.decide("x", grant, Expel{Target: p.id("a")})
	p.op(p.who("x"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
	p.want("organisers", p.organisers(), "adx")
}

func TestByHand08RejectionsEndWithTheirAuthor(t *testing.T) {
	p := newPlot(t, "abx")
	good := protocol.EpochID{7}
	p.op(p.who("x"), RejectEpoch{Epoch: good, Reason: RejectPerson})
	if !p.log(t).Resolve().Rejected(good) {
		t.Fatal("an organiser's rejection does not count")
	}
	p.op(p.who("a"), Suspend{Target: p.id("x")})
	if p.log(t).Resolve().Rejected(good) {
		t.Error("it counts while its author is suspended")
	}
}

func TestByHand09NobodyIsSuspendedBeforeOrganising(t *testing.T) {
	p := newPlot(t, "abx", "d")
	in := p.op(p.who("a"), p.add(p.who("d")))
	p.op(p.who("x"), Suspend{Target: p.id("d")}, in)
	held := p.op(p.who("x"), Suspend{Target: p.id("a")}, in)
	p.decide("ab", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, held)
	p.want("free", p.free(), "bdx")
}

func TestByHand10StolenPhoneAgainstItsOwner(t *testing.T) {
	p := newPlot(t, "ab", "r")
	in := p.op(p.who("a"), p.add(p.who("r")))
	p.names["r.2"], p.names["r.3"] = deviceOf(40, 1), deviceOf(40, 2)
	second := p.op(p.who("r"), AddDevice(p.add(p.who("r.2"))), in)
	// The owner removes the stolen first phone; it adds one of its own meanwhile.
	p.op(p.who("r.2"), RemoveDevice{Device: p.who("r").dev()}, second)
	evil := p.op(p.who("r"), AddDevice(p.add(p.who("r.3"))), second)
	r := p.log(t).Resolve()
	if _, ok := r.MemberOfDevice(p.who("r.3").dev()); ok {
		t.Error("the thief's device is in")
	}
	if _, ok := r.MemberOfDevice(p.who("r.2").dev()); !ok {
		t.Error("the owner's second phone is out")
	}
	p.names["r.4"] = deviceOf(40, 3)
	p.op(p.who("r.3"), AddDevice(p.add(p.who("r.4"))), evil)
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("r.4").dev()); ok {
		t.Error("a device that never was in added another")
	}
	// It can still take the owner's phone out with it: an organiser puts that right.
	p.op(p.who("r.3"), RemoveDevice{Device: p.who("r.2").dev()}, evil)
	if m, ok := p.log(t).Resolve().Member(p.id("r")); !ok || len(m.Devices) != 0 {
		t.Error("two devices that remove each other are not both out")
	}
}

func TestByHand11VoteNumbersCannotJump(t *testing.T) {
	p := newPlot(t, "abx")
	one := p.decide("ab", p.start(), policyOf(9))
	other := p.decide("x", p.start(), policyOf(10))
	p.op(p.who("a"), Vote{Proposal: other, Seq: 1 << 40, Prev: one}, other, one)
	p.op(p.who("a"), Vote{Proposal: other, Seq: 9, Prev: p.votes[p.id("a")][0]}, other, p.votes[p.id("a")][0])
	if got := p.log(t).Resolve().LastDecision(); got != one {
		t.Error("a vote that follows nothing counts")
	}
	if q, ok := p.log(t).Resolve().LatestVote(p.id("a")); !ok || q != one {
		t.Error("it is taken for the latest")
	}
}

func TestByHand12CertificateAgainstAnOrganiser(t *testing.T) {
	p := newPlot(t, "abx", "d")
	in := p.op(p.who("a"), p.add(p.who("d")))
	grant := p.decide("ab", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, in)
	// x certifies d's device for a second member of x's making: of no effect, and
	// it does not void what the decision lists. (It needs d's device to sign.)
	thief := actor{member: person(50).member, device: p.who("d").device}
	p.op(p.who("x"), AddMember{Cert: identity.Certify(p.g.ID(), thief.member, thief.device).Marshal()}, grant)
	p.want("organisers", p.organisers(), "abdx")
	p.want("members", p.members(), "abdx")
	if m, ok := p.log(t).Resolve().MemberOfDevice(p.who("d").dev()); !ok || m.ID != p.id("d") {
		t.Error("the device changed hands")
	}
}

func TestByHand13UnseenVotesAndProposals(t *testing.T) {
	p := newPlot(t, "abx")
	one := p.propose("a", p.start(), policyOf(9))
	two := p.propose("a", p.start(), policyOf(10))
	first := p.vote("b", one)
	p.op(p.who("b"), Vote{Proposal: two, Seq: 2, Prev: first}, two) // has not seen its first
	if q, ok := p.log(t).Resolve().LatestVote(p.id("b")); !ok || q != one {
		t.Error("a vote that did not see the one before it counts")
	}
	p.op(p.who("a"), Vote{Proposal: two, Seq: 1})
	p.op(p.who("x"), Vote{Proposal: two, Seq: 1})
	if n := len(p.log(t).Resolve().Decisions()); n != 0 {
		t.Error("votes for what they had not seen decide")
	}
	p.propose("a", p.start(), policyOf(11))
	q := p.op(p.who("a"), Proposal{Prev: two, Decision: policyOf(12)}) // has not seen what it follows
	for _, o := range p.log(t).Resolve().Open() {
		if o.ID == q {
			t.Error("it is open")
		}
	}
}

func TestByHand14WhoWasRemovedTakesNoNewDeviceOut(t *testing.T) {
	p := newPlot(t, "ab", "r")
	p.names["r.2"] = deviceOf(40, 1)
	in := p.op(p.who("a"), p.add(p.who("r")))
	out := p.op(p.who("a"), RemoveMember{Target: p.id("r")}, in)
	back := p.op(p.who("b"), p.add(p.who("r.2")), out)
	p.op(p.who("r"), RemoveDevice{Device: p.who("r.2").dev()}, back)
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("r.2").dev()); !ok {
		t.Error("the phone of before took the new one out")
	}
}

// TestByHand15 lets an attacker hang a SetDevices without a majority under its
// branch, so that the owner's phone would not speak there and a lost one would.
func TestByHand15DropsWithoutAMajority(t *testing.T) {
	for n := range uint8(8) {
		p := newPlot(t, "abx")
		a2 := p.second("a", "a.2")
		good, evil := p.propose("a", p.start(), policyOf(9)), p.propose("x", p.start(), policyOf(10+n), a2)
		fake := p.propose("x", evil, SetDevices{Target: p.id("a"), Devices: p.devicesOf("a.2")})
		p.vote("x", evil)
		p.vote("b", evil)
		p.vote("b", good)
		p.vote("a.2", fake)
		p.vote("a", good)
		if got := p.log(t).Resolve().Decisions(); len(got) == 0 || got[0].ID != good {
			t.Errorf("the branch on which two stand lost")
		}
	}
}

func itemIDs(list ...protocol.OpID) (out []protocol.ItemID) {
	for _, id := range list {
		out = append(out, protocol.ItemID(id))
	}
	return protocol.SortIDs(out)
}
