package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// removedBy is a group of three organisers of whom ben alone removed dia.
func removedBy(t *testing.T, high bool) (w *World, ana, ben, cam, dia *Node) {
	t.Helper()
	w, ana, ben, cam = organised(t)
	if high {
		for _, n := range []*Node{ana, ben} {
			n.policy(t, func(p *group.Policy) { p.HighRisk = true })
			must(t, w.Run(engine.Seconds(60)))
		}
	}
	link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	dia = w.Add("Dia")
	must(t, dia.Join(link))
	must(t, w.Run(engine.Seconds(600)))
	_, err = ben.do(func(e *engine.Engine, now engine.Time) error { return e.Remove(now, dia.member.String()) })
	must(t, err)
	must(t, w.Run(engine.Seconds(60)))
	if !dia.Engine.Status().Removed || len(dia.gate.Dial) != 0 {
		t.Fatal("dia was not removed, or goes on as if not")
	}
	return w, ana, ben, cam, dia
}

// undo lets two of three expel ben and take back that he removed dia.
func undo(t *testing.T, w *World, ana, ben, cam, dia *Node) {
	t.Helper()
	var op string
	for _, c := range ana.Engine.Changes(0) {
		if c.Kind == group.KindRemoveMember && c.Target == dia.member {
			op = c.ID.String()
		}
	}
	p, err := ana.Expel(ben, op)
	must(t, err)
	must(t, w.Run(engine.Seconds(60)))
	if p = cam.vote(t, p); !p.Effective {
		t.Fatalf("%+v", p)
	}
	must(t, w.Run(engine.Seconds(120)))
}

// hasBox says whether a header has a box for a key that a node holds.
func hasBox(t *testing.T, h *epoch.Header, n *Node) bool {
	t.Helper()
	for _, r := range n.Store.rows[tableOfKEM] {
		var k kemRow
		must(t, wire.Unmarshal(r.value, 256, &k))
		pub := epoch.KEMPrivateFromSeed(k.KEM).Public()
		if h.Boxes(pub.Ref()) {
			return true
		}
	}
	return false
}

// A device whose removal is undone comes back by itself: soon, while others keep
// the last epoch that it has, and later, by its rescue seed.
func TestUndoneRemovalComesBack(t *testing.T) {
	for _, v := range []struct {
		name        string
		high        bool
		days, after int
	}{{"soon", false, 3, 1}, {"late", true, 4, 8}} {
		t.Run(v.name, func(t *testing.T) {
			w, ana, ben, cam, dia := removedBy(t, v.high)
			must(t, ana.Post("pendant", "Corps.", 0))
			w.pass(t, v.days)
			if !dia.Engine.Status().Removed {
				t.Fatal("dia came back, though nobody wants it")
			}
			dia.Stop() // she is not there when it is undone
			undo(t, w, ana, ben, cam, dia)
			if !hasBox(t, newestHeader(t, ana), dia) {
				t.Error("the keys that were kept of dia are not used again")
			}
			w.pass(t, v.after, dia)
			must(t, dia.Start())
			w.pass(t, 3)
			if dia.Engine.Status().Removed || dia.epoch() != ana.epoch() {
				t.Fatalf("dia is removed %t, epoch %d of %d", dia.Engine.Status().Removed, dia.epoch(), ana.epoch())
			}
			must(t, dia.Post("merci", "Corps.", 0))
			must(t, ana.Post("te revoilà", "Corps.", 0))
			must(t, w.Run(engine.Seconds(900)))
			ana.sees(t, true, "merci")
			dia.sees(t, true, "te revoilà")
			dia.sees(t, false, "pendant")
		})
	}
}

// Who is out knocks ever so often for a month, and hears nothing: no connection
// comes about, under no key that it has.
func TestKnockingIsMetWithSilence(t *testing.T) {
	w, ana, _, _, dia := removedBy(t, true)
	knocks, open := 0, false
	for range 25 * 6 {
		must(t, w.Run(engine.Seconds(600)))
		if now := len(dia.gate.Dial) > 0; now != open {
			if open = now; now {
				knocks++
			}
		}
		if len(dia.links) > 0 {
			t.Fatal("somebody answers")
		}
		if len(dia.gate.Accept) > 0 {
			t.Fatal("it lets somebody in")
		}
	}
	if knocks < 4 || knocks > 7 {
		t.Errorf("it knocked %d times in a day", knocks)
	}
	for _, k := range ana.gate.Accept {
		if k.Device == deviceOf(dia) {
			t.Error("the rescue key of who was removed is accepted")
		}
	}
	// With all that it has, dialled as a member, before the grace is over.
	for _, d := range dia.gate.Devices {
		if d == dia.gate.Device.Public() {
			t.Error("it takes itself for one of the group")
		}
	}
	refused := w.Counts["refused"]
	w.pass(t, 31)
	dia.Stop()
	w.Now += engine.Seconds(daySeconds)
	must(t, dia.Start())
	must(t, w.Run(engine.Seconds(60)))
	if len(dia.gate.Dial) > 0 || dia.epoch() >= ana.epoch() {
		t.Error("it does not give up")
	}
	if w.Counts["refused"] == refused && refused == 0 {
		t.Error("it was never heard at a door")
	}
}
