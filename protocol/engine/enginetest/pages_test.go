package enginetest

import (
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
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

// spoilPages stands where somebody asks for a page, as six phones under the key of
// before, each with a bad answer of its own: the page of another place, one that it
// signed itself, noise, that it holds none, all of these by turns, or nothing.
func spoilPages(t *testing.T, w *World, j *jammer, at, issuer *Node, h *epoch.Header, seconds int) {
	t.Helper()
	var good [][]byte
	for _, k := range issuer.Store.keys(tableOfPages) {
		if id := h.ID(); k[:32] == string(id[:]) {
			good = append(good, issuer.Store.rows[tableOfPages][k].value)
		}
	}
	if len(good) < 2 {
		t.Fatal("the epoch has no pages")
	}
	answers := make([][3][]byte, len(good))
	for i := range good {
		next := (i + 1) % len(good)
		b, err := epoch.PageMailbox(h, uint16(next)).Open(good[next])
		must(t, err)
		f, err := protocol.ParseFrame(b)
		must(t, err)
		for k, f := range []protocol.Frame{f, protocol.SignFrame(at.id, protocol.KindPage, j.x.device, f.Body),
			protocol.SignFrame(at.id, protocol.KindPage, j.x.device, j.junk(14_000))} {
			answers[i][k], err = epoch.PageMailbox(h, uint16(i)).Seal(f.Marshal())
			must(t, err)
		}
	}
	var phones []*attacker
	for range 6 {
		phones = append(phones, asMember(t, at))
	}
	for second := range seconds {
		for i, a := range phones {
			for index := range good {
				switch {
				case i < 3:
					a.say(messageGive, answers[index][i])
				case i == 3:
					address := epoch.PageMailbox(h, uint16(index)).Address()
					a.say(8, wire.Marshal(address))
				case i == 4:
					a.say(messageGive, answers[index][second%3])
				}
			}
		}
		must(t, w.Run(engine.Seconds(1)))
	}
}

// A group of 50: its keys travel in pages, and a removal leaves one out. Who is out
// answers for the pages, with another's help, to a reader who was away (spec 95 row
// 72): nothing of it is kept, and the reader gets the page once somebody honest is there.
func TestPagedGroup(t *testing.T) {
	w := NewWorld(601)
	nodes := crowd(t, w, 50)
	ana, bob, out, far := nodes[0], nodes[7], nodes[33], nodes[20]
	must(t, ana.Post("avant", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range nodes {
		w.Cut(n, far)
		w.Cut(far, n)
	}
	robbed := &jammer{x: seize(t, w, out)}
	must(t, ana.Remove(out))
	must(t, w.Run(engine.Seconds(120)))
	must(t, ana.Post("sans lui", "Corps.", 0))
	must(t, bob.Post("moi aussi", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))

	var next *epoch.Header
	for _, h := range headers(t, ana) {
		if h.Core.Gen == 1 {
			next = h
		}
	}
	var frames []protocol.Frame
	for _, table := range []engine.Table{tableOfOps, tableOfEpochs} {
		for _, k := range ana.Store.keys(table) {
			b := ana.Store.rows[table][k].value
			if table == tableOfEpochs {
				var r struct {
					_        struct{} `cbor:",toarray"`
					Frame    []byte
					Accepted bool
					Exact    bool
					Covered  int64
					Arrived  int64
					Erased   bool
					Asked    uint32
				}
				must(t, wire.Unmarshal(b, engine.MaxValueSize, &r))
				b = r.Frame
			}
			f, err := protocol.ParseFrame(b)
			must(t, err)
			frames = append(frames, f)
		}
	}
	robbed.x.give(robbed.x.last, []*Node{far}, frames...) // he has them from the mailboxes of before
	before := far.Store.size()
	spoilPages(t, w, robbed, far, ana, next, 15)
	if n := len(far.Store.rows[tableOfPages]); n > 0 || far.epoch() != 0 {
		t.Fatalf("%d pages are kept, epoch %d", n, far.epoch())
	}
	if grown := far.Store.size() - before; grown > 64<<10 {
		t.Errorf("%d bytes more are stored", grown)
	}
	w.Heal(bob, far) // who has none but his own
	must(t, w.Run(engine.Seconds(90)))
	far.sees(t, true, "sans lui", "moi aussi")
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(60)))
	must(t, w.Check())
	if got := ana.epoch(); got != 1 {
		t.Errorf("the group is at epoch %d", got)
	}
}
