package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

func toldOf(n *Node, kind engine.EventKind) (ids []string) {
	for _, ev := range n.Events {
		if ev.Kind == kind {
			ids = append(ids, ev.ID)
		}
	}
	return ids
}

// TestChangesAreToldOnce wants one event at every member for each step of a
// decision, and the list of changes to say who did what to whom.
func TestChangesAreToldOnce(t *testing.T) {
	w, ana, ben, cam := organised(t)
	for _, n := range w.nodes {
		n.Events = nil
	}
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(70)))
	p, err := ben.Expel(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	_, err = ana.Vote(p.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(200)))
	must(t, ben.Start()) // a restart tells nothing again
	for _, n := range []*Node{ana, ben} {
		list := n.Engine.Changes(2)
		if len(list) != 2 || list[0].ID != p.ID || list[0].Decision != group.DecideExpel || list[0].Target != cam.member ||
			list[0].By != ben.member || !list[0].Effective || list[0].At == 0 {
			t.Fatalf("%s lists %+v", n.Name, list)
		}
		s := list[1]
		if s.Kind != group.KindSuspend || s.By != ana.member || s.Target != cam.member || !s.Effective || s.Decision != 0 {
			t.Errorf("%s lists %+v", n.Name, s)
		}
		// The suspension; the proposal with one voice, then decided.
		if got, want := toldOf(n, engine.EventAuthority), []string{s.ID.String(), p.ID.String(), p.ID.String()}; !slices.Equal(got, want) {
			t.Errorf("%s is told %v, want %v", n.Name, got, want)
		}
		// Suspended; gone. Nothing about anybody else.
		if got := toldOf(n, engine.EventMembers); !slices.Equal(got, []string{cam.member.String(), cam.member.String()}) {
			t.Errorf("%s is told of members %v", n.Name, got)
		}
	}
	if n := len(ana.Engine.Changes(0)); n != 6 { // two added, two granted, one suspended, one expelled
		t.Errorf("%d changes", n)
	}
}

// What happens to the group is told to every member, once for every state of it,
// and not again after a start.
func TestEveryChangeIsToldToAll(t *testing.T) {
	w, ana, ben, cam := organised(t)
	all := []*Node{ana, ben, cam}
	forget := func() {
		for _, n := range all {
			n.Events = nil
		}
	}
	check := func(what string, want int) {
		t.Helper()
		must(t, w.Run(engine.Seconds(120)))
		for _, n := range all {
			if got := toldOf(n, engine.EventAuthority); len(got) != want {
				t.Errorf("%s: %s is told of %v", what, n.Name, got)
			}
		}
		forget()
	}
	forget()
	days := uint8(3)
	set := func(n *Node) engine.Proposed {
		return n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays = days; return p })
		})
	}
	set(ana)
	check("a proposal", 1)
	if p := set(ben); !p.Effective {
		t.Fatal(p)
	}
	check("its decision", 1)
	for _, n := range all {
		n.Stop()
		must(t, n.Start())
	}
	check("a start", 0)
	must(t, ana.Suspend(cam))
	all = []*Node{ana, ben} // cam has it under no key, but knows of it from the old one
	check("a suspension", 1)
}
