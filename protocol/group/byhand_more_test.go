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
