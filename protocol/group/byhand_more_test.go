package group

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
)

// Whose adding was undone, but whom a quorum made an organiser, keeps the keys
// that the quorum saw: a reader who signs an add of the device without effect does
// not choose others.
func TestByHand20ReadersChooseNoKeysOfOrganisers(t *testing.T) {
	p := newPlot(t, "abx", "d", "r")
	in := p.op(p.who("x"), p.add(p.who("d")))
	r := p.op(p.who("a"), p.add(p.who("r")), in)
	grant := p.decide("ab", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}, r)
	out := p.decide("abd", grant, Expel{Target: p.id("x"), Repudiate: itemIDs(in)}, in)
	keys := func() protocol.ItemID {
		m, ok := p.log(t).Resolve().Member(p.id("d"))
		if !ok || len(m.Devices) != 1 {
			t.Fatal("d is not in with one device")
		}
		return m.Devices[0].KeyPackage
	}
	before := keys()
	add := p.add(p.who("d"))
	add.KeyPackage = protocol.ItemID{0xbb}
	p.op(p.who("r"), add, out)
	p.op(p.who("x"), add, out)
	if keys() != before {
		t.Error("somebody without a voice chose the keys of an organiser's device")
	}
}

// A phone whose owner was removed, and came back with another one, says no goodbye
// for the owner.
func TestByHand21RemovedPhonesDoNotLeaveForTheirOwner(t *testing.T) {
	p := newPlot(t, "ab", "r")
	p.names["r.2"], p.names["r.3"] = deviceOf(40, 1), deviceOf(40, 2)
	in := p.op(p.who("a"), p.add(p.who("r")))
	out := p.op(p.who("a"), RemoveMember{Target: p.id("r")}, in)
	back := p.op(p.who("b"), p.add(p.who("r.2")), out)
	p.op(p.who("r"), Leave{}, in)   // backdated
	p.op(p.who("r"), Leave{}, back) // and not
	p.want("members", p.members(), "abr")
	third := p.op(p.who("r"), AddDevice(p.add(p.who("r.3"))), back) // by a device of its own
	p.op(p.who("r.3"), Leave{}, third)
	p.want("members", p.members(), "abr")
	// The phone that is in does.
	p.op(p.who("r.2"), Leave{}, back)
	p.want("members", p.members(), "ab")
}

// Nor does a device that it added since take the new one out.
func TestByHand22DevicesOfRemovedPhonesTakeNothingOut(t *testing.T) {
	p := newPlot(t, "ab", "r")
	p.names["r.2"], p.names["r.3"] = deviceOf(40, 1), deviceOf(40, 2)
	in := p.op(p.who("a"), p.add(p.who("r")))
	out := p.op(p.who("a"), RemoveMember{Target: p.id("r")}, in)
	back := p.op(p.who("b"), p.add(p.who("r.2")), out)
	third := p.op(p.who("r"), AddDevice(p.add(p.who("r.3"))), back)
	p.op(p.who("r.3"), RemoveDevice{Device: p.who("r.2").dev()}, third)
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("r.2").dev()); !ok {
		t.Error("the phone that is in was taken out")
	}
}

// A stolen tablet that removed itself is out by its owner's word only: it goes on
// removing the owner's devices until an organiser removes it, who may.
func TestByHand24WhoRemovedItselfIsStillStopped(t *testing.T) {
	p := newPlot(t, "ab", "r")
	p.names["r.2"] = deviceOf(40, 1)
	in := p.op(p.who("a"), p.add(p.who("r")))
	second := p.op(p.who("r"), AddDevice(p.add(p.who("r.2"))), in)
	self := p.op(p.who("r.2"), RemoveDevice{Device: p.who("r.2").dev()}, second)
	drop := RemoveDevice{Device: p.who("r.2").dev()}
	if err := p.log(t).Allows(p.who("r").dev(), p.id("r"), drop); err != ErrNotAllowed {
		t.Errorf("a reader may: %v", err)
	}
	if err := p.log(t).Allows(p.who("a").dev(), p.id("a"), drop); err != nil {
		t.Fatalf("an organiser may not: %v", err)
	}
	p.op(p.who("a"), drop, self)
	p.again("r.2")
	p.op(p.who("r.2"), RemoveDevice{Device: p.who("r").dev()}, second)
	if _, ok := p.log(t).Resolve().MemberOfDevice(p.who("r").dev()); !ok {
		t.Error("the tablet took the phone out")
	}
	if err := p.log(t).Allows(p.who("a").dev(), p.id("a"), drop); err != ErrNotMember {
		t.Errorf("and once more: %v", err)
	}
}
