package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gathered is a group of three that has come to rest.
func gathered(t *testing.T) (w *World, ana, ben, cam *Node) {
	t.Helper()
	w = NewWorld(95)
	ana, ben, cam = w.Add("Ana"), w.Add("Ben"), w.Add("Cam")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	l, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, ben.Join(l))
	must(t, cam.Join(l))
	must(t, w.Run(engine.Seconds(30)))
	if s := ana.Engine.Status(); s.Members != 3 || s.Unsent != 0 {
		t.Fatalf("no group of three came about: %+v", s)
	}
	return w, ana, ben, cam
}

// organised is a group of three who all organise.
func organised(t *testing.T) (w *World, ana, ben, cam *Node) {
	t.Helper()
	w, ana, ben, cam = gathered(t)
	if p := ana.promote(t, ben); p.Have != 1 || p.Need != 1 || p.Of != 1 || !p.Effective {
		t.Fatalf("the voice of the only organiser gives %+v", p)
	}
	must(t, w.Run(engine.Seconds(20)))
	p := ana.promote(t, cam)
	if p.Have != 1 || p.Need != 2 || p.Of != 2 || p.Effective || p.PaperMay {
		t.Fatalf("a first voice of two gives %+v", p)
	}
	must(t, w.Run(engine.Seconds(20)))
	p, err := ben.Vote(p.ID.String()[:6])
	must(t, err)
	if p.Have != 2 || p.Need != 2 || p.Of != 2 || !p.Effective {
		t.Fatalf("a second voice of two gives %+v", p)
	}
	must(t, w.Run(engine.Seconds(90)))
	for _, n := range []*Node{ana, ben, cam} {
		if a := n.Engine.Authority(); a.Of != 3 || a.Need != 2 || len(a.Open) != 0 {
			t.Fatalf("%s has %+v", n.Name, a)
		}
	}
	must(t, w.Check())
	return w, ana, ben, cam
}

// ask gives a node one governing command.
func (n *Node) ask(t *testing.T, f func(e *engine.Engine, now engine.Time) (engine.Proposed, error)) engine.Proposed {
	t.Helper()
	p, err := n.Govern(f)
	must(t, err)
	return p
}

func (n *Node) promote(t *testing.T, x *Node) engine.Proposed {
	t.Helper()
	p, err := n.Organise(x)
	must(t, err)
	return p
}

func (n *Node) expel(t *testing.T, x *Node) engine.Proposed {
	t.Helper()
	p, err := n.Expel(x)
	must(t, err)
	return p
}

// Vote votes for the proposal with an id that starts so.
func (n *Node) Vote(id string) (engine.Proposed, error) {
	return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, id) })
}

// SetPolicy proposes who may post.
func (n *Node) SetPolicy(posting group.Posting) (engine.Proposed, error) {
	return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.SetPolicy(now, func(p group.Policy) group.Policy { p.Posting = posting; return p })
	})
}
