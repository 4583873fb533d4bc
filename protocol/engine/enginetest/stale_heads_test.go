package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// Spec 46 section 9: while everybody waits for the epoch that covers a removal, a
// seized organiser's phone gives them some that do, on parents that nobody has and
// over operations from before somebody came in. Nobody goes over to one: there are
// more of them than anybody keeps, and each would choose another.
func TestStaleHeadsWhileAllWait(t *testing.T) {
	for name, many := range map[string]int{"once": 1, "many at once": 20} {
		t.Run(name, func(t *testing.T) {
			w, x, ben, cam, dia, eve := heldUp(t)
			for _, a := range []*Node{cam, eve} {
				for _, b := range []*Node{ben, dia} {
					w.Cut(a, b)
					w.Cut(b, a)
				}
			}
			fay := w.Add("Fay")
			for _, far := range []*Node{cam, eve} {
				w.Cut(fay, far)
				w.Cut(far, fay)
			}
			l, err := ben.Invite(engine.InviteParams{AutoApprove: true})
			must(t, err)
			must(t, fay.Join(l))
			must(t, w.Run(engine.Seconds(60)))
			x.give(x.last, []*Node{ben}, x.heal()) // the next epoch knows of Fay
			must(t, w.Run(engine.Seconds(90)))
			talk(t, w, "avant", ben, dia, fay)
			last := newestHeader(t, ben)
			// The removal of Eve, which does not know of Fay, and the phone's epochs over it.
			removal := x.op(group.RemoveMember{Target: eve.member})
			x.keys[last.ID()] = secrets(t, ben)
			eve.removed, eve.copied = w.Now, eve.Store.Clone()
			onNothing := func(gen int) (list []protocol.Frame) {
				for i := range many {
					d := x.draft()
					d.Parents = []epoch.Parent{{ID: protocol.EpochID{6, byte(i)}, Gen: uint32(gen + i)}}
					f, _ := x.issue(d)
					list = append(list, f)
				}
				return list
			}
			side := []*Node{ben, dia, fay}
			x.give(last, side, append([]protocol.Frame{removal}, onNothing(500)...)...)
			must(t, w.Run(engine.Seconds(70)))
			talk(t, w, "pendant", side...)
			x.give(last, side, onNothing(800)...) // nobody waits any more
			must(t, w.HealAll())
			must(t, w.Run(engine.Seconds(200)))
			rest := []*Node{ben, cam, dia, fay}
			talk(t, w, "ensemble", rest...)
			if g := ben.epoch(); g > last.Core.Gen+4 {
				t.Errorf("the group was moved from %d to %d", last.Core.Gen, g)
			}
			settledWithout(t, w, x, ben, cam, rest...)
			if heldBy(t, w, eve, eve.Store, "ensemble Ben") {
				t.Error("who was removed reads")
			}
			must(t, w.Check())
		})
	}
}
