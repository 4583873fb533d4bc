package enginetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// A phone that starts tells its addresses, and a moment later those through a letter
// carrier: what was told last counts, in whatever order it comes, also within a second and
// after a clock was set back.
func TestLastToldAddressesCount(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	w.Cut(ana, ben)
	w.Cut(ana, cam)
	want := []string{"/ip4/192.0.2.1/tcp/3"}
	var items [][]byte
	tell := func(addr string) {
		before := envelopesOf(ana)
		ana.step(engine.Addresses{List: []string{addr}})
		for row, r := range ana.Store.rows[tableOfEnvelopes] {
			if row[68] == byte(protocol.KindPresence) && before[protocol.IDOf(r.value)] == nil {
				items = append(items, bytes.Clone(r.value))
			}
		}
	}
	tell("/ip4/192.0.2.1/tcp/1")
	tell("/ip4/192.0.2.1/tcp/2")
	ana.Skew -= engine.Seconds(5)
	ana.Stop()
	must(t, ana.Start())
	tell(want[0])
	if len(items) != 3 {
		t.Fatalf("%d items with addresses", len(items))
	}
	a, b := asMember(t, ben), asMember(t, cam)
	for i := range items {
		a.give(items[i])
		b.give(items[len(items)-1-i])
	}
	for _, n := range []*Node{ben, cam} {
		if got := n.Engine.PeerAddresses(); !slices.ContainsFunc(got, func(l []string) bool { return slices.Equal(l, want) }) {
			t.Errorf("%s was told %v", n.Name, got)
		}
		n.Stop()
		must(t, n.Start())
		if got := n.Engine.PeerAddresses(); !slices.ContainsFunc(got, func(l []string) bool { return slices.Equal(l, want) }) {
			t.Errorf("%s, started again, was told %v", n.Name, got)
		}
	}
}
