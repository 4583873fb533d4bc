package enginetest

import (
	"math"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// Spec 95 row 71: a seized organiser's phone issues epochs without end and without a
// reason, or with one that it invented. The group is not moved by it, phones do
// not fill up, and it can remove and be rid of whom it wants.
func TestRacingEpochs(t *testing.T) {
	const many = 200
	day := int64(protocol.DaySeconds)
	for _, c := range []struct {
		name  string
		moves uint32 // by how many generations the group may be moved
		race  func(x *seized, all []*Node)
	}{
		{"one after another without a reason", 0, func(x *seized, all []*Node) {
			under := x.last
			for range many {
				f, h := x.issue(x.draft(under))
				x.give(under, all, f)
				under = h
			}
		}},
		{"beside one another without a reason", 0, func(x *seized, all []*Node) {
			for range many {
				f, _ := x.issue(x.draft(x.last))
				x.give(x.last, all, f)
			}
		}},
		{"two under one number", 2, func(x *seized, all []*Node) {
			h := x.heal() // answered once, and the phone is suspended for it: two epochs
			for range 2 {
				d := x.draft(x.last)
				d.Seq, d.Heals = 7, []protocol.ItemID{h.ID(x.n.id)}
				f, _ := x.issue(d)
				x.give(x.last, all, h, f)
			}
		}},
		{"each with a heal of its own", 9, func(x *seized, all []*Node) {
			under := x.last
			for range 40 {
				u := x.heal()
				d := x.draft(under)
				d.Heals = []protocol.ItemID{u.ID(x.n.id)}
				f, h := x.issue(d)
				x.give(under, all, u, f)
				under = h
			}
		}},
		{"two heals by turns", 2, func(x *seized, all []*Node) {
			u := []protocol.Frame{x.heal(), x.heal()}
			x.give(x.last, all, u...)
			under := x.last
			for i := range 40 {
				d := x.draft(under)
				d.Heals = []protocol.ItemID{u[i%2].ID(x.n.id)}
				f, h := x.issue(d)
				x.give(under, all, f)
				under = h
			}
		}},
		{"long ago, so that a period is over", 0, func(x *seized, all []*Node) {
			under := x.last
			for i := range 40 {
				d := x.draft(under)
				if i%2 == 0 {
					d.CreatedAt = day
				}
				f, h := x.issue(d)
				x.give(under, all, f)
				under = h
			}
		}},
		{"in a hundred years", 1, func(x *seized, all []*Node) {
			u := x.heal()
			d := x.draft(x.last)
			d.Heals, d.CreatedAt = []protocol.ItemID{u.ID(x.n.id)}, x.w.Now.Unix()+100*365*day
			f, _ := x.issue(d)
			x.give(x.last, all, u, f)
		}},
		{"on parents that nobody has, for nobody else", 0, func(x *seized, all []*Node) {
			for i := range 60 {
				d := x.draft(x.last)
				d.Parents = []epoch.Parent{{ID: protocol.EpochID{1, byte(i)}, Gen: x.last.Core.Gen}}
				d.Recipients = only(d.Recipients, x.n)
				f, _ := x.issue(d)
				x.give(x.last, all, f)
			}
		}},
		{"on operations that nobody has", 0, func(x *seized, all []*Node) {
			for i := range 200 {
				d := x.draft(x.last)
				d.GovHeads = []protocol.OpID{{1, byte(i)}}
				f, _ := x.issue(d)
				x.give(x.last, all, f)
			}
		}},
		{"on a parent that nobody has", 0, func(x *seized, all []*Node) {
			for i := range 40 {
				d := x.draft(x.last)
				d.Parents = []epoch.Parent{{ID: protocol.EpochID{2, byte(i)}, Gen: x.last.Core.Gen + uint32(i)}}
				f, _ := x.issue(d)
				x.give(x.last, all, f)
			}
		}},
		{"on the last generation that there is", 1, func(x *seized, all []*Node) {
			u := x.heal()
			d := x.draft(x.last)
			d.Heals = []protocol.ItemID{u.ID(x.n.id)}
			for i := range protocol.MaxEpochParents - 1 {
				d.Parents = append(d.Parents, epoch.Parent{ID: protocol.EpochID{3, byte(i)}, Gen: math.MaxUint32 - 1})
			}
			f, _ := x.issue(d)
			x.give(x.last, all, u, f)
		}},
		{"on one whose generation nobody accepts", 1, func(x *seized, all []*Node) {
			d := x.draft(x.last)
			d.Parents = []epoch.Parent{{ID: protocol.EpochID{4}, Gen: math.MaxUint32 - 3}}
			x.healOn(d, all)
		}},
		{"on one of operations that nobody has", 2, func(x *seized, all []*Node) {
			d := x.draft(x.last)
			d.GovHeads = []protocol.OpID{{5}}
			x.healOn(d, all)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, x, ben, cam, dia, eve := heldUp(t)
			all := []*Node{ben, cam, dia, eve}
			gen, before := ben.epoch(), dia.Store.size()
			c.race(x, all)
			must(t, w.Run(engine.Seconds(60)))
			talk(t, w, "pendant", all...)
			for _, n := range all {
				if n.epoch() != ben.epoch() || n.epoch() > gen+c.moves {
					t.Errorf("%s is at epoch %d, ben at %d; it was %d", n.Name, n.epoch(), ben.epoch(), gen)
				}
			}
			// The most is for ReBoxes, by each other organiser who asks for such an epoch himself.
			if grown := dia.Store.size() - before; grown > 7<<19 {
				t.Errorf("a reader stores %d bytes more", grown)
			} else {
				t.Logf("%d bytes more, %d epochs, generation %d, was %d", grown, len(dia.Store.rows[tableOfEpochs]), dia.epoch(), gen)
			}
			// Somebody comes in, and is where the others are.
			fay := w.Add("Fay")
			l, err := ben.Invite(engine.InviteParams{AutoApprove: true})
			must(t, err)
			must(t, fay.Join(l))
			must(t, w.Run(engine.Seconds(90)))
			if fay.epoch() != ben.epoch() {
				t.Errorf("fay came in at epoch %d, ben is at %d", fay.epoch(), ben.epoch())
			}
			talk(t, w, "avec fay", append(all, fay)...)
			// What no hint tells of is found by asking, among all these epochs, too.
			w.Faults.HintLoss = 1
			must(t, ben.Post("sans bruit", "Corps.", 0))
			must(t, w.Run(engine.Seconds(400)))
			for _, n := range append(all, fay) {
				if _, err := n.See("sans bruit"); err != nil {
					t.Errorf("%s, asking for what is new: %v", n.Name, err)
				}
			}
			must(t, ben.Remove(eve))
			must(t, w.Run(engine.Seconds(400)))
			w.Faults.HintLoss = 0
			rest := []*Node{ben, cam, dia, fay}
			talk(t, w, "sans eve", rest...)
			settledWithout(t, w, x, ben, cam, rest...)
			// The next period comes as ever.
			gen = ben.epoch()
			alone(t, w, engine.Seconds(8*day))
			must(t, w.Run(engine.Seconds(400)))
			for _, n := range rest {
				if n.epoch() <= gen || n.epoch() > gen+2 {
					t.Errorf("%s is at epoch %d after a period, ben at %d, it was %d", n.Name, n.epoch(), ben.epoch(), gen)
				}
			}
			must(t, w.Check())
		})
	}
}

// only keeps one person's devices.
func only(list []epoch.Recipient, n *Node) (out []epoch.Recipient) {
	for _, r := range list {
		if r.Member == n.member {
			out = append(out, r)
		}
	}
	return out
}

// alone lets time pass without links, and without the work of them.
func alone(t *testing.T, w *World, d engine.Time) {
	t.Helper()
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			w.Cut(a, b)
		}
	}
	must(t, w.Run(d))
	clear(w.cuts)
}

// healOn issues an epoch, and one with a reason that names it and the last one.
func (x *seized) healOn(d epoch.Draft, all []*Node) {
	u := x.heal()
	f, h := x.issue(d)
	x.give(x.last, all, f)
	d = x.draft(x.last, h)
	d.Heals = []protocol.ItemID{u.ID(x.n.id)}
	f, _ = x.issue(d)
	x.give(x.last, all, u, f)
}
