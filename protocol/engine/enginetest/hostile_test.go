package enginetest

import (
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// Spec 95 row 71: a seized organiser's phone renews the keys and leaves somebody out, or
// lets somebody in, or keeps the organisers' secret for itself. Nobody sends in
// such an epoch for long, one organiser's device rejects it, everybody goes on.
func TestBadEpochIsRejected(t *testing.T) {
	ghost, err := epoch.NewKEMPrivate(NewWorld(1).Add("ghost").random)
	must(t, err)
	ghostKey := ghost.Public()
	var ghosts [49]protocol.KEMPublic
	for i := range ghosts {
		k, err := epoch.NewKEMPrivate(NewWorld(1).Add(fmt.Sprint("ghost ", i)).random)
		must(t, err)
		ghosts[i] = k.Public()
	}
	for _, c := range []struct {
		name   string
		reason group.Rejection
		remove bool // with a removal, so that nobody can send before the keys are renewed
		change func(x *seized, d epoch.Draft, dia, cam *Node) epoch.Draft
	}{
		{"leaves a reader out", group.RejectMissing, false, func(x *seized, d epoch.Draft, dia, _ *Node) epoch.Draft { return x.without(d, dia) }},
		{"leaves a reader out, with a removal", group.RejectMissing, true, func(x *seized, d epoch.Draft, dia, _ *Node) epoch.Draft { return x.without(d, dia) }},
		{"leaves an organiser out, with a removal", group.RejectMissing, true, func(x *seized, d epoch.Draft, _, cam *Node) epoch.Draft { return x.without(d, cam) }},
		{"a box for nobody", group.RejectStranger, true, func(_ *seized, d epoch.Draft, _, _ *Node) epoch.Draft {
			d.Recipients = append(d.Recipients, epoch.Recipient{Member: [16]byte{7}, Device: [16]byte{9}, Key: &ghostKey})
			return d
		}},
		{"boxes apart from the header, for many who are nobody", group.RejectStranger, true, func(_ *seized, d epoch.Draft, _, _ *Node) epoch.Draft {
			for i := range byte(49) {
				d.Recipients = append(d.Recipients, epoch.Recipient{Member: [16]byte{7}, Device: [16]byte{9, i}, Key: &ghosts[i]})
			}
			return d
		}},
		{"another secret for the organisers", group.RejectSecret, true, func(x *seized, d epoch.Draft, _, _ *Node) epoch.Draft {
			for i := range d.Recipients {
				d.Recipients[i].Operator = d.Recipients[i].Member == x.n.member
			}
			return d
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, x, ben, cam, dia, eve := heldUp(t)
			all, in := []*Node{ben, cam, dia, eve}, []*Node{ben, cam, dia, eve}
			heal := x.heal()
			frames := []protocol.Frame{heal}
			if c.remove {
				in = in[:3]
				frames = append(frames, x.op(group.RemoveMember{Target: eve.member}))
			}
			d := x.draft(x.last)
			d.Heals = []protocol.ItemID{heal.ID(x.n.id)}
			f, h := x.issue(c.change(x, d, dia, cam))
			x.give(x.last, all, append(frames, f)...)
			if c.remove {
				eve.gone()
			}
			must(t, w.Run(engine.Seconds(125)))
			talk(t, w, "pendant", in...)
			for _, n := range in {
				list := rejections(t, n)
				if len(list) != 1 || list[0].Epoch != h.ID() || list[0].Reason != c.reason {
					t.Errorf("%s holds the rejections %v", n.Name, list)
				}
				if n.epoch() != ben.epoch() || n.epoch() <= x.last.Core.Gen {
					t.Errorf("%s at epoch %d, ben at %d, before it was %d", n.Name, n.epoch(), ben.epoch(), x.last.Core.Gen)
				}
			}
			ops := ben.opCount()
			for _, n := range []*Node{ben, cam} {
				n.Stop()
				must(t, n.Start())
			}
			must(t, w.Run(engine.Seconds(700)))
			if ben.opCount() != ops {
				t.Errorf("a start brought %d operations more", ben.opCount()-ops)
			}
			settledWithout(t, w, x, ben, cam, in...)
		})
	}
}
