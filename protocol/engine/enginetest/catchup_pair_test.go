package enginetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// couple is two nodes with a connection that no world runs. What arrives together is taken
// in together, as the program does (spec 90 section 2), and nothing is looked at after
// each input: sets of tens of thousands come about in a minute.
type couple struct {
	w     *World
	nodes [2]*Node
	in    [2][]engine.Input
	posts int
}

// coupleLink is its connection: no link of a world has this number.
const coupleLink = engine.Peer(1) << 40

// atOnce is how many messages the program takes into one commit.
const atOnce = 128

// join connects two nodes that the world does not connect.
func join(t testing.TB, a, b *Node) *couple {
	t.Helper()
	p := &couple{w: a.w, nodes: [2]*Node{a, b}}
	for _, ka := range a.gate.Dial {
		for _, kb := range b.gate.Accept {
			if ka.Secret == kb.Secret && ka.Class == engine.ClassMember && kb.Class == engine.ClassMember {
				p.in[0] = append(p.in[0], engine.PeerUp{Peer: coupleLink, Class: ka.Class, Tag: ka.Tag, Dialled: true})
				p.in[1] = append(p.in[1], engine.PeerUp{Peer: coupleLink, Class: kb.Class, Tag: kb.Tag})
				p.settle(t)
				return p
			}
		}
	}
	t.Fatal("they have no key in common")
	return nil
}

// settle lets both take what arrives until nothing is under way.
func (p *couple) settle(t testing.TB) {
	t.Helper()
	for len(p.in[0])+len(p.in[1]) > 0 {
		for i, n := range p.nodes {
			at := min(len(p.in[i]), atOnce)
			for _, in := range p.in[i][:at] {
				must(t, n.Engine.Step(n.Now(), in))
			}
			p.in[i] = p.in[i][at:]
			p.flush(t, i)
		}
	}
}

// flush carries out what one of them asks for.
func (p *couple) flush(t testing.TB, i int) {
	t.Helper()
	n, other := p.nodes[i], &p.in[1-i]
	for {
		r := n.Engine.Ready()
		if r.Empty() {
			return
		}
		n.Store.Commit(r.Persist)
		if r.Gate != nil {
			n.gate = r.Gate
		}
		for _, m := range r.Send {
			if m.Peer == coupleLink {
				*other = append(*other, engine.Received{Peer: coupleLink, Data: slices.Clone(m.Data)})
			}
		}
		if len(r.Announce) > 0 {
			*other = append(*other, engine.Hinted{Peer: coupleLink, IDs: slices.Clone(r.Announce)})
		}
		if slices.Contains(r.Close, coupleLink) {
			t.Fatal("the connection of the two is closed")
		}
		n.Engine.Advance()
	}
}

// post has one of them write notices with bodies of 256 bytes; the other takes them.
func (p *couple) post(t testing.TB, by, count int) {
	t.Helper()
	n := p.nodes[by]
	body := strings.Repeat("avis ", 51) + "!"
	for i := range count {
		p.posts++
		_, err := n.Engine.Post(n.Now(), announcement(fmt.Sprintf("avis %d", p.posts), body), 0)
		must(t, err)
		p.flush(t, by)
		if i%atOnce == 0 {
			p.settle(t)
		}
	}
	p.settle(t)
}

// pass lets a day pass: ten minutes minute by minute, then the rest at once.
func (p *couple) pass(t testing.TB) {
	t.Helper()
	p.w.events = nil
	const minutes = 10
	for i := range minutes + 1 {
		p.w.Now += engine.Seconds(60)
		if i == minutes {
			p.w.Now += engine.Seconds(daySeconds - 60*(minutes+1))
		}
		for i, n := range p.nodes {
			n.wake = 0
			p.in[i] = append(p.in[i], engine.Tick{})
		}
		p.settle(t)
	}
}

// part ends the connection.
func (p *couple) part(t testing.TB) {
	t.Helper()
	for i := range p.nodes {
		p.in[i] = append(p.in[i], engine.PeerDown{Peer: coupleLink})
	}
	p.settle(t)
}

// same is what it costs two members to find that they hold the same.
type same struct {
	envelopes, mailboxes, epochs int
	bytes, recon, rounds         int
	kinds                        map[string]int
}

func (s same) String() string {
	return fmt.Sprintf("%d envelopes in %d mailboxes of %d epochs: %d bytes, %d of them to compare, %d rounds; bytes: %v",
		s.envelopes, s.mailboxes, s.epochs, s.bytes, s.recon, s.rounds, s.kinds)
}

// equals lets two members write half of a set each, and compare it on a new connection.
func equals(t testing.TB, days, perDay int) same {
	t.Helper()
	w := NewWorld(uint64(70_700 + perDay))
	nodes := crowd(t, w, 2)
	must(t, w.Run(engine.Seconds(120)))
	w.isolate()
	must(t, w.Run(engine.Seconds(60)))
	p := join(t, nodes[0], nodes[1])
	for range 2 * group.MaxRetentionDays {
		p.pass(t) // until the first epoch is erased: of it a newcomer is not given everything
	}
	for range days {
		p.post(t, 0, perDay/2)
		p.post(t, 1, perDay-perDay/2)
		p.pass(t)
	}
	p.part(t)
	held := func(n *Node) []string { return n.Store.keys(tableOfEnvelopes) }
	if a, b := held(nodes[0]), held(nodes[1]); !slices.Equal(a, b) {
		t.Fatalf("the sets differ: %d and %d", len(a), len(b))
	}
	s := same{envelopes: len(held(nodes[0]))}
	boxes, epochs := map[string]bool{}, map[string]bool{}
	for _, k := range held(nodes[0]) {
		boxes[k[:36]], epochs[k[:32]] = true, true
	}
	s.mailboxes, s.epochs = len(boxes), len(epochs)
	w.Faults = wayOnly
	x := watchLine(w, nodes[1], nil)
	w.Heal(nodes[0], nodes[1])
	must(t, w.Run(engine.Seconds(4))) // after 5 s they compare again
	w.tap, w.committed = nil, nil
	x.last = w.Now
	s.bytes, s.recon, s.rounds, s.kinds = sum(x.bytes), sum(x.bytes, "type 5"), x.rounds(), x.bytes
	if after := held(nodes[0]); len(after) != s.envelopes {
		t.Fatalf("%d envelopes came", len(after)-s.envelopes)
	}
	return s
}

// Two members who hold the same find that out for little.
func TestNothingMissing(t *testing.T) {
	s := equals(t, 2, 1_000)
	t.Log(s)
	if s.envelopes < 2_000 || s.epochs < 2 || s.mailboxes < 3 {
		t.Error("that is no set to compare")
	}
	if s.bytes >= 100*s.epochs {
		t.Error("that is more than it may cost")
	}
}
