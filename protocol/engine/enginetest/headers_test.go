package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/group"
)

// Spec 35: headers of epochs whose keys are erased stay for 90 days, 30 at high risk,
// at organisers and readers: by them somebody who comes from one part of the group
// into the other can judge the epochs that lead on from the first one's.
func TestHeadersOutliveKeys(t *testing.T) {
	for name, c := range map[string]struct {
		high bool
		days int64
	}{"standard": {false, 90}, "high risk": {true, 30}} {
		t.Run(name, func(t *testing.T) {
			p := group.DefaultPolicy(10)
			p.HighRisk = c.high
			w, ana, others := circle(t, p, "ben")
			ben := others[0]
			first := newestHeader(t, ana).ID()
			has := func(n *Node) bool {
				for _, h := range headers(t, n) {
					if h.ID() == first {
						return true
					}
				}
				return false
			}
			for newestHeader(t, ana).ID() == first {
				must(t, w.Run(daysOf(1)))
			}
			must(t, w.Run(daysOf(c.days-1)))
			for _, n := range []*Node{ana, ben} {
				if n.Store.rows[tableOfSecrets][string(first[:])].value != nil {
					t.Errorf("%s has the keys", n.Name)
				}
				if !has(n) {
					t.Errorf("%s forgot the header before its time", n.Name)
				}
			}
			must(t, w.Run(2*daysOf(1)))
			for _, n := range []*Node{ana, ben} {
				if has(n) {
					t.Errorf("%s still has the header, %d days after it was succeeded", n.Name, c.days)
				}
			}
		})
	}
}
