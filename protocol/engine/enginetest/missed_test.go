package enginetest

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// returned is a group in which dia was away for longer than superseded epochs are kept,
// and comes back: ben said something on the first of these days, cam much since.
func returned(t *testing.T, after func(w *World, dia *Node, others ...*Node)) (w *World, ana, dia *Node) {
	t.Helper()
	w, ana, ben, cam := organised(t)
	ana.policy(t, func(p *group.Policy) { p.PeriodDays, p.RetentionDays = 1, 1 })
	must(t, w.Run(engine.Seconds(10)))
	_, err := ben.Vote(ben.Engine.Authority().Open[0].ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(90)))
	oneByOne(t, ana, "Dia")
	dia = w.nodes[3]
	must(t, ben.Post("bonjour", "Corps.", 0))
	must(t, w.Run(engine.Seconds(20)))
	dia.Stop()
	for i := range 12 {
		must(t, ben.Post(fmt.Sprint("tôt ", i), "Corps.", 0))
	}
	must(t, w.Run(engine.Seconds(20)))
	w.pass(t, 3, dia)
	for i := range 30 { // more than one ReBox holds
		must(t, cam.Post(fmt.Sprint("tard ", i), strings.Repeat("mot ", 1_000), 0))
	}
	must(t, ben.Post("encore", "Corps.", 0)) // by which she learns that something is missing
	w.pass(t, 1, dia)
	after(w, dia, ana, ben, cam)
	return w, ana, dia
}

// Her phone is brought back, and nobody holds the envelopes of what was said on the first
// day: what a ReBox had no room for is missing. The organisers hand it over, what she asks
// for before all else. She asks once.
func TestMissedWhileEpochsWereErased(t *testing.T) {
	w, _, dia := returned(t, func(w *World, dia *Node, _ ...*Node) { must(t, dia.Start()) })
	asked := 0
	w.committed = func(n *Node, b engine.Batch) {
		for _, r := range b.Puts {
			if n == dia && r.Table == tableOfMeta && string(r.Key) == "missed" {
				asked++
			}
		}
	}
	must(t, w.Run(engine.Seconds(120)))
	if dia.Engine.Status().Missing == 0 {
		t.Fatalf("a ReBox holds all: %v", dia.titles())
	}
	must(t, w.Run(engine.Seconds(1_200)))
	for i := range 12 {
		dia.sees(t, true, fmt.Sprint("tôt ", i))
	}
	if s := dia.Engine.Status(); s.Missing != 0 {
		t.Errorf("%d are missing", s.Missing)
	}
	w.pass(t, 3)
	if asked != 1 {
		t.Errorf("she asked %d times", asked)
	}
}

// A member gives his message the highest number there is: nobody's phone counts up to it,
// and what people are told is missing is bounded.
func TestFarNumberIsNoEndlessGap(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	must(t, ana.Post("dit", "Corps.", 0))
	must(t, w.Run(engine.Seconds(10)))
	k, d := secrets(t, ana), device(t, ana)
	for _, r := range ana.Store.rows[tableOfChains] {
		if err := k.AddChain(r.value); err != nil && err != epoch.ErrOtherEpoch {
			continue
		}
	}
	_, said, err := protocol.ParseOriginal(ana.Store.rows[tableOfItems][ana.Store.keys(tableOfItems)[0]].value)
	must(t, err)
	v, err := ben.See("dit")
	must(t, err)
	said.Type, said.DevSeq = protocol.TypePin, math.MaxUint64
	said.Payload, err = feed.Pin{Notice: v.Notice, Version: 1, Pinned: true}.Encode()
	must(t, err)
	f, _, err := k.Seal(ana.id, d, said, ana.random)
	must(t, err)
	e := sealed(t, k, ben, f)
	if asMember(t, ben).give(e); !ben.holds(protocol.IDOf(e)) {
		t.Fatal("the message is not taken")
	}
	if s := ben.Engine.Status(); s.Missing != 4_096 {
		t.Errorf("%d are missing", s.Missing)
	}
	must(t, w.Run(engine.Seconds(1_500)))
	if s := ben.Engine.Status(); s.Missing != 4_096 || s.Members != 3 {
		t.Errorf("later: %+v", s)
	}
}
