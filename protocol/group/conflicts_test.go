package group

import "testing"

// Histories of concurrent changes that other groups without a server had to
// decide (the strong-removal rules of p2panda-auth, the delegations of Keyhive),
// and what comes of them here.

func TestConflictTwoRemoveEachOther(t *testing.T) {
	// Elsewhere: both are out. Here one organiser cannot remove another; both are
	// held, for anybody to see, and the quorum decides. Nobody is out by accident.
	p := newPlot(t, "abc")
	p.op(p.who("a"), Suspend{Target: p.id("b")})
	p.op(p.who("b"), Suspend{Target: p.id("a")})
	p.want("free", p.free(), "c")
	p.want("organisers", p.organisers(), "abc")
}

func TestConflictThreeInACircle(t *testing.T) {
	p := newPlot(t, "abcd")
	p.op(p.who("a"), Suspend{Target: p.id("b")})
	p.op(p.who("b"), Suspend{Target: p.id("c")})
	p.op(p.who("c"), Suspend{Target: p.id("a")})
	p.want("free", p.free(), "d")
}

func TestConflictAddByWhoIsRemoved(t *testing.T) {
	// As elsewhere: an add that its remover had not seen is void, and so is what
	// the added one did.
	p := newPlot(t, "abx", "m", "n")
	add := p.op(p.who("x"), p.add(p.who("m")))
	p.op(p.who("m"), Leave{}, add)
	p.op(p.who("a"), Suspend{Target: p.id("x")})
	p.want("members", p.members(), "abx")
	// One that the suspension had seen stays: it was said before.
	p = newPlot(t, "abx", "m", "n")
	add = p.op(p.who("x"), p.add(p.who("m")))
	p.op(p.who("a"), Suspend{Target: p.id("x")}, add)
	p.want("members", p.members(), "abmx")
}

func TestConflictRemovedAndAddedAtOnce(t *testing.T) {
	// As elsewhere: removal wins over an add that has not seen it.
	p := newPlot(t, "ab", "m")
	in := p.op(p.who("a"), p.add(p.who("m")))
	out := p.op(p.who("a"), RemoveMember{Target: p.id("m")}, in)
	p.op(p.who("b"), p.add(p.who("m")), in)
	p.want("members", p.members(), "ab")
	p.op(p.who("b"), p.add(p.who("m")), out)
	p.want("members after an add that saw it", p.members(), "abm")
}

func TestConflictAddedTwice(t *testing.T) {
	p := newPlot(t, "ab", "m")
	p.op(p.who("a"), p.add(p.who("m")))
	p.op(p.who("b"), p.add(p.who("m")))
	p.want("members", p.members(), "abm")
}

func TestConflictGrantAndRevokeAtOnce(t *testing.T) {
	// As elsewhere: the lower role wins.
	p := newPlot(t, "ab", "m")
	in := p.op(p.who("a"), p.add(p.who("m")))
	grant := p.op(p.who("a"), GrantAuthor{Target: p.id("m")}, in)
	p.op(p.who("a"), RevokeAuthor{Target: p.id("m")}, grant)
	p.op(p.who("b"), GrantAuthor{Target: p.id("m")}, grant)
	if m, _ := p.log(t).Resolve().Member(p.id("m")); m.Role != Reader {
		t.Errorf("role %v", m.Role)
	}
}

func TestConflictPromotedWhileExpelled(t *testing.T) {
	// Elsewhere an admin's promotion and another's removal race by rules of order.
	// Here both follow the same decision, and the branch with more who stand wins.
	p := newPlot(t, "abc", "m")
	in := p.op(p.who("a"), p.add(p.who("m")))
	grant := p.propose("a", p.start(), GrantOrganiser{Target: p.id("m"), Devices: p.devicesOf("m")}, in)
	expel := p.propose("b", p.start(), Expel{Target: p.id("m")}, in)
	p.vote("a", grant)
	p.vote("c", grant)
	p.vote("b", expel)
	p.vote("c", expel)
	p.want("organisers", p.organisers(), "abc") // b and c stand on the expulsion
	p.want("members", p.members(), "abc")
}

func TestConflictMembersOfTheRemovedStay(t *testing.T) {
	// Unlike delegation trees, where whom a removed one brought falls with it:
	// whom the group knew before the expulsion stays, unless it is named. People
	// invited by a seized organiser are not punished for it.
	p := newPlot(t, "abx", "m", "n")
	m := p.op(p.who("x"), p.add(p.who("m")))
	n := p.op(p.who("x"), p.add(p.who("n")), m)
	p.decide("ab", p.start(), Expel{Target: p.id("x"), Repudiate: itemIDs(n)}, n)
	p.want("members", p.members(), "abm")
}

func TestConflictVotesAndSuspensionAtOnce(t *testing.T) {
	// A suspension takes no votes away: otherwise one could decide alone by
	// stopping the others first.
	p := newPlot(t, "abx")
	p.op(p.who("x"), Suspend{Target: p.id("a")})
	p.decide("ab", p.start(), Expel{Target: p.id("x")})
	p.want("organisers", p.organisers(), "ab")
}
