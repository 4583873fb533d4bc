package enginetest

import (
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// crowd makes a group of n nodes: the first founds it and lets the others in.
func crowd(t testing.TB, w *World, n int) []*Node {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	founder := w.Add("Ana")
	ok(founder.Found("Foule", group.DefaultPolicy(10)))
	nodes := []*Node{founder}
	grow(t, w, &nodes, n)
	return nodes
}

// grow lets newcomers in until the group has n nodes.
func grow(t testing.TB, w *World, nodes *[]*Node, n int) {
	t.Helper()
	for len(*nodes) < n {
		uses := min(n-len(*nodes), 20)
		link, err := (*nodes)[0].Invite(engine.InviteParams{Uses: uses, AutoApprove: true})
		if err != nil {
			t.Fatal(err)
		}
		for range uses {
			x := w.Add(fmt.Sprintf("M%d", len(w.nodes)))
			if err := x.Join(link); err != nil {
				t.Fatal(err)
			}
			*nodes = append(*nodes, x)
		}
		if err := w.Run(engine.Seconds(90)); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range *nodes {
		if !x.live() || x.joined == 0 {
			t.Fatalf("%s is not in", x.Name)
		}
	}
}

// A group of 60: its keys travel in pages, and a removal leaves one out.
func TestPagedGroup(t *testing.T) {
	w := NewWorld(601)
	nodes := crowd(t, w, 52)
	ana, bob, out := nodes[0], nodes[7], nodes[33]
	must(t, ana.Post("avant", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, w.Check())
	must(t, ana.Remove(out))
	must(t, w.Run(engine.Seconds(120)))
	must(t, ana.Post("sans lui", "Corps.", 0))
	must(t, bob.Post("moi aussi", "Corps.", 0))
	must(t, w.Run(engine.Seconds(120)))
	must(t, w.Check())
	if got := ana.epoch(); got != 1 {
		t.Errorf("the group is at epoch %d", got)
	}
}
