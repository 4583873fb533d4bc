package enginetest

import (
	"maps"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// Row 55 of spec 95: whatever a small group does, an envelope on a link has one of three
// sizes, and what people do every day has the smallest, of whatever kind it is.
func TestEnvelopesHaveThreeSizes(t *testing.T) {
	w, ana, ben, cam := organised(t)
	sizes := map[int]int{}
	w.tap = func(_, _ *Node, m []byte) bool {
		if m[0] == 3 {
			sizes[len(m)-1]++
		}
		return true
	}
	everyday := func(what string, do func()) {
		t.Helper()
		before := maps.Clone(sizes)
		do()
		must(t, w.Run(engine.Seconds(60)))
		for n, count := range sizes {
			if n != protocol.BucketSmall && count != before[n] {
				t.Errorf("%s: %d envelopes of %d bytes", what, count-before[n], n)
			}
		}
		if sizes[protocol.BucketSmall] == before[protocol.BucketSmall] {
			t.Errorf("%s: nothing was sent", what)
		}
	}
	everyday("a short notice", func() { must(t, ana.Post("court", "Oui.", 0)) })
	everyday("a longer one", func() { must(t, ben.Post("long", string(slices.Repeat([]byte("mot "), 250)), 0)) })
	everyday("an edit", func() { must(t, ana.Edit("court", "Non.", 0)) })
	everyday("a cancellation", func() { must(t, ana.Cancel("court", "Pluie.")) })
	everyday("addresses", func() { cam.step(engine.Addresses{List: []string{address(cam)}}) })
	everyday("a proposal and a vote", func() {
		p, err := ana.SetPolicy(group.PostOrganisers)
		must(t, err)
		must(t, w.Run(engine.Seconds(20)))
		_, err = ben.Vote(p.ID.String())
		must(t, err)
	})
	must(t, ana.Post("grand", string(slices.Repeat([]byte("mot "), 2_000)), 0))
	must(t, w.Run(engine.Seconds(7*daySeconds+3_600))) // new keys, too
	for n := range sizes {
		if n != protocol.BucketSmall && n != protocol.BucketMedium && n != protocol.BucketLarge {
			t.Errorf("%d envelopes of %d bytes", sizes[n], n)
		}
	}
	if sizes[protocol.BucketMedium] == 0 {
		t.Errorf("%v", sizes)
	}
}
