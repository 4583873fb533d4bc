package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// written is the envelope of the newest message that a copy of a phone seals with
// deed, which nobody is given.
func written(t *testing.T, x *Node, deed func() error) (envelope []byte) {
	t.Helper()
	own := func(f protocol.Frame) bool { return f.Kind == protocol.KindMessage && f.Device == deviceOf(x) }
	had := map[string]bool{}
	_, list := x.stored(t, own)
	for _, b := range list {
		had[string(b)] = true
	}
	must(t, deed())
	_, list = x.stored(t, own)
	for _, b := range list {
		if !had[string(b)] {
			return b
		}
	}
	t.Fatal("nothing was sealed")
	return nil
}

// Spec 95 row 36: whoever has a phone tells one half of the group one thing, and the
// other half another, in the same place of the phone's messages. Each half reads what
// came first. Once the halves meet all of them hold both, and are told; of an
// organiser another one's phone takes the right to act, once, and not again for the
// same after the organisers gave it back.
func TestTwoMessagesInOnePlace(t *testing.T) {
	for _, c := range []struct {
		name   string
		reader bool // whose phone it is
		// other makes what the second half is given on a copy of the phone.
		other func(t *testing.T, w *World, of, x *Node) []byte
		reads string
	}{
		{"one key", false, sameKey, "lieu B"},
		{"one key, a reader's phone", true, sameKey, "lieu B"},
		{"one number, another key", false, otherKey, "lieu B"},
		{"after another one", false, func(t *testing.T, w *World, of, x *Node) []byte {
			must(t, x.Post("lieu B", "Corps.", 0))
			return written(t, x, func() error { return x.Post("puis C", "Corps.", 0) })
		}, "puis C"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, ana, ben, cam := organised(t)
			dia, eve := w.Add("Dia"), w.Add("Eve")
			link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
			must(t, err)
			must(t, dia.Join(link))
			must(t, eve.Join(link))
			must(t, w.Run(engine.Seconds(120)))
			x, in := ben, []*Node{ana, cam, dia, eve}
			if c.reader {
				x, in = dia, []*Node{ana, cam, ben, eve}
			}
			must(t, x.Post("avant", "Corps.", 0))
			must(t, w.Run(engine.Seconds(20)))
			x.Stop()
			var copies [2]*Node
			for i, name := range []string{"Copy1", "Copy2"} {
				copies[i], err = w.Copy(x, name)
				must(t, err)
				for _, n := range w.nodes {
					w.Cut(copies[i], n)
					w.Cut(n, copies[i])
				}
			}
			for _, a := range in[:2] {
				for _, b := range in[2:] {
					w.Cut(a, b)
					w.Cut(b, a)
				}
			}
			one := written(t, copies[0], func() error { return copies[0].Post("lieu A", "Corps.", 0) })
			other := c.other(t, w, copies[0], copies[1])
			carry(t, in[0], [][]byte{one})
			carry(t, in[2], [][]byte{other})
			must(t, w.Run(engine.Seconds(20)))
			for i, n := range in {
				n.sees(t, i < 2, "lieu A")
				n.sees(t, i >= 2, c.reads)
				if twice(n, x) {
					t.Fatalf("%s is told before the halves meet", n.Name)
				}
			}
			if one := protocol.IDOf(one); in[3].holds(one) {
				t.Fatal("both halves hold the first")
			}
			for _, a := range in[:2] {
				for _, b := range in[2:] {
					w.Heal(a, b)
				}
			}
			must(t, w.Run(engine.Seconds(240)))
			check := func(when string, suspended bool) {
				t.Helper()
				for _, n := range in {
					if !twice(n, x) {
						t.Errorf("%s: %s is not told", when, n.Name)
					}
					if !n.holds(protocol.IDOf(one)) || !n.holds(protocol.IDOf(other)) {
						t.Errorf("%s: %s does not hold both", when, n.Name)
					}
					told, list := n.twice(x)
					if want := !c.reader; told != want || (list == 1) != want || n.epoch() != ana.epoch() {
						t.Errorf("%s, %s: told of it %t, %d suspensions, epoch %d", when, n.Name, told, list, n.epoch())
					}
					for _, o := range n.Engine.Authority().Organisers {
						if o.ID == x.member && (len(o.SuspendedBy) > 0) != suspended {
							t.Errorf("%s, %s: suspended by %d", when, n.Name, len(o.SuspendedBy))
						}
					}
				}
			}
			check("the halves met", !c.reader)
			talk(t, w, "ensemble", in...)
			for _, n := range in {
				n.Stop()
				must(t, n.Start())
			}
			must(t, w.Run(engine.Seconds(200)))
			check("after a start", !c.reader)
			if c.reader {
				return
			}
			giveBack(t, w, x, ana, cam)
			talk(t, w, "décidé", in...)
			check("given back", false)
		})
	}
}

// twice says whether a node lists somebody as one whose phone said two things.
func twice(n, of *Node) bool {
	for _, m := range n.Engine.Members() {
		if m.ID == of.member {
			return m.Twice
		}
	}
	return false
}

func sameKey(t *testing.T, _ *World, _, x *Node) []byte {
	return written(t, x, func() error { return x.Post("lieu B", "Corps.", 0) })
}

// otherKey seals what x writes under the key after the one that it uses: of has used
// that one.
func otherKey(t *testing.T, _ *World, of, x *Node) []byte {
	sameKey(t, nil, of, x)
	k := secrets(t, of)
	for id, r := range of.Store.rows[tableOfChains] {
		if protocol.EpochID([]byte(id[:32])) == k.Epoch() {
			must(t, k.AddChain(r.value))
		}
	}
	for _, r := range x.Store.rows[tableOfItems] {
		if _, c, err := protocol.ParseOriginal(r.value); err == nil && noticeTitle(c) == "lieu B" {
			f, _, err := k.Seal(x.id, device(t, x), c, x.random)
			must(t, err)
			return sealed(t, k, x, f)
		}
	}
	t.Fatal("the message is not stored")
	return nil
}

// Dia, whom ana let in apart, reads one of gil's two messages. The other one lay in an
// epoch that she is handed, when it was read already: she is told all the same.
func TestTheOtherMessageIsHandedOver(t *testing.T) {
	w, ana, ben, cam := organised(t)
	fay, gil := w.Add("Fay"), w.Add("Gil")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, fay.Join(link))
	must(t, gil.Join(link))
	must(t, w.Run(engine.Seconds(90)))
	must(t, gil.Post("avant", "Corps.", 0))
	must(t, w.Run(engine.Seconds(20)))
	dia := w.Add("Dia")
	w.part([]*Node{ana, dia}, []*Node{ben, cam, fay, gil})
	link, err = ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, w.Run(engine.Seconds(60)))
	other, err := w.Copy(gil, "Copy")
	must(t, err)
	for _, n := range w.nodes {
		w.Cut(other, n)
		w.Cut(n, other)
	}
	one := written(t, other, func() error { return other.Post("lieu A", "Corps.", 0) })
	carry(t, dia, [][]byte{one})
	must(t, ben.Remove(fay))
	must(t, w.Run(engine.Seconds(60)))
	must(t, gil.Post("lieu B", "Corps.", 0))
	must(t, w.Run(engine.Seconds(20)))
	gil.Stop()
	dia.sees(t, true, "lieu A")
	if twice(dia, gil) || ana.epoch() == ben.epoch() {
		t.Fatal("dia is told before the other one comes")
	}
	for _, n := range []*Node{ben, cam} {
		n.sees(t, true, "lieu B")
		for _, x := range []*Node{ana, dia} {
			w.Heal(n, x)
		}
	}
	must(t, w.Run(engine.Seconds(300)))
	if ben.reboxes()+cam.reboxes() == 0 || dia.epoch() != ben.epoch() {
		t.Fatal("dia is not handed the epoch")
	}
	dia.sees(t, false, "lieu B")
	for _, n := range []*Node{ana, ben, cam, dia} {
		if !twice(n, gil) {
			t.Errorf("%s is not told", n.Name)
		}
	}
}
