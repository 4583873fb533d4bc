package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// TestErasureFollowsThePolicy: when the group decides that it is at high risk, what
// its table gives no time any more goes with the next step, also where only texts
// are too old.
func TestErasureFollowsThePolicy(t *testing.T) {
	for _, met := range []bool{true, false} {
		w := NewWorld(39)
		x := &theft{World: w, t: t, spy: w.spied(), witness: w.witnessed()}
		ana, ben := w.Add("Ana"), w.Add("Ben")
		must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
		link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, ben.Join(link))
		must(t, w.Run(engine.Seconds(30)))
		must(t, ana.Post("vieux", "Corps.", 0))
		must(t, w.Run(hour))
		before, after := []uint32{0, 1, 2, 3, 4}, []uint32{3, 4}
		if !met {
			x.apart(ana, ben)
			before, after = []uint32{0}, []uint32{0}
		}
		must(t, w.Run(daysOf(30)-3*hour))
		if met {
			must(t, ana.Post("neuf", "Corps.", 0))
			ana.step(engine.Addresses{List: []string{address(ana)}})
			must(t, w.Run(hour))
			x.apart(ana, ben)
		}
		must(t, w.Run(26*hour))
		x.spy.know(ana, ben)
		l := x.seize("standard", ben, x.names()...)
		x.epochs("standard", l, before...)
		x.presence("standard", l, ana, met, met)
		decideHighRisk(t, ana, ben)
		l = x.seize("high risk", ben, x.names()[1:]...)
		x.epochs("high risk", l, after...)
		x.presence("high risk", l, ana, false, met)
	}
}

// decideHighRisk brings to a member what makes the group one at high risk, signed
// with the founder's key.
func decideHighRisk(t *testing.T, founder, to *Node) {
	t.Helper()
	genesis, err := group.ParseGenesis(founder.Store.rows[tableOfMeta]["genesis"].value)
	must(t, err)
	log := group.NewLog(genesis)
	for range 2 {
		for _, k := range founder.Store.keys(tableOfOps) {
			f, err := protocol.ParseFrame(founder.Store.rows[tableOfOps][k].value)
			must(t, err)
			_, err = log.Add(f)
			must(t, err)
		}
	}
	policy := log.Resolve().Policy()
	policy.HighRisk = true
	a := asMember(t, to)
	var decided protocol.OpID
	for _, p := range []func() group.Payload{
		func() group.Payload {
			return group.Proposal{Prev: protocol.OpID(founder.id), Decision: group.SetPolicy{Policy: policy}}
		},
		func() group.Payload { return group.Vote{Proposal: decided, Seq: 1} },
	} {
		f, err := log.NewOp(device(t, founder), founder.member, p(), nil, to.Now().Unix())
		must(t, err)
		_, err = log.Add(f)
		must(t, err)
		if decided == (protocol.OpID{}) {
			decided = protocol.OpID(f.ID(founder.id))
		}
		a.give(sealed(t, secrets(t, to), to, f))
	}
	if !log.Resolve().Policy().HighRisk {
		t.Fatal("the decision has no effect")
	}
}
