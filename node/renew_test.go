package node

import (
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// A host gets another peer ID about once a day, each group's at a moment of its own,
// and its links are made again.
func TestPeerIDsAreRenewed(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	id := ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	w.until("a link", func() bool { return ana.status().Peers == 1 && ben.status().Peers == 1 })
	var before int
	find := func() (g *groupState) {
		for _, x := range ana.groups {
			if x.id.String() == id {
				g = x
			}
		}
		return g
	}
	ana.inside(func() {
		g := find()
		if left := g.renewAt - ana.now(); left < renewEvery*3/4 || left > renewEvery*5/4 {
			t.Errorf("the host is renewed after %d h", left/3600_000)
		}
		before = g.hostGeneration
		at := ana.clock
		ana.clock = func() time.Time { return at().Add(30 * time.Hour) }
	})
	renewed := func() (yes bool) {
		ana.inside(func() { yes = find().hostGeneration > before && find().host != nil })
		return yes
	}
	w.until("another host", renewed)
	w.until("a link again", func() bool { return ana.status().Peers == 1 && ben.status().Peers == 1 })
	ana.inside(func() {
		if g := find(); g.hostGeneration > before+3 {
			t.Errorf("%d hosts in a moment", g.hostGeneration-before)
		}
	})
}
