package enginetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/wire"
)

// The tests of rows of spec 95 use an attacker: a proven link that says what it
// likes. What it needs of a member's phone it reads from the storage, as spec 65
// section 7 describes it.
const messageWant = 2

// attackers counts the links of attackers, apart from those of the world.
var attackers engine.Peer = 1 << 40

// attacker is a proven link to a node with nothing but a test behind it.
type attacker struct {
	t      *testing.T
	n      *Node
	class  engine.Class
	tag    [32]byte
	id     engine.Peer
	got    [][]byte // what the node said on the link
	closed bool     // the node wants the link closed
}

func attack(t *testing.T, n *Node, class engine.Class, tag [32]byte) *attacker {
	t.Helper()
	attackers++
	a := &attacker{t: t, n: n, class: class, tag: tag, id: attackers}
	a.step(engine.PeerUp{Peer: a.id, Class: class, Tag: tag})
	a.got = nil // what it says to everybody who comes
	return a
}

// asMember is a link under the node's newest key.
func asMember(t *testing.T, n *Node) *attacker {
	return attack(t, n, engine.ClassMember, n.gate.Accept[0].Tag)
}

func (a *attacker) step(in engine.Input) {
	a.t.Helper()
	if err := a.n.Engine.Step(a.n.Now(), in); err != nil {
		a.t.Fatal(err)
	}
	for r := a.n.Engine.Ready(); !r.Empty(); r = a.n.Engine.Ready() {
		a.n.schedule(r.Wake)
		a.n.commit(r.Persist)
		for _, m := range r.Send {
			if m.Peer == a.id {
				a.got = append(a.got, bytes.Clone(m.Data))
			}
		}
		a.closed = a.closed || slices.Contains(r.Close, a.id)
		a.n.send(r)
		a.n.deliver(r)
		a.n.Engine.Advance()
	}
}

// say sends one message. Whoever was thrown out comes back first.
func (a *attacker) say(kind byte, body []byte) {
	a.t.Helper()
	if a.closed {
		a.step(engine.PeerDown{Peer: a.id})
		attackers++
		a.id, a.closed = attackers, false
		got := a.got
		a.step(engine.PeerUp{Peer: a.id, Class: a.class, Tag: a.tag})
		a.got = got
	}
	a.step(engine.Received{Peer: a.id, Data: append([]byte{kind}, body...)})
}

// give announces an envelope and gives it, whether it was asked for or not.
func (a *attacker) give(envelope []byte) {
	a.t.Helper()
	a.say(1, wire.Marshal([]protocol.EnvelopeID{protocol.IDOf(envelope)}))
	a.say(messageGive, envelope)
}

// answers are what the node said but for requests to be given envelopes.
func (a *attacker) answers() (list [][]byte) {
	for _, m := range a.got {
		if m[0] != messageWant {
			list = append(list, m)
		}
	}
	return list
}

// sealed puts a frame where all members look, as any member can.
func sealed(t *testing.T, k *epoch.Keys, n *Node, f protocol.Frame) []byte {
	t.Helper()
	e, err := epoch.CommonMailbox(k.Net(), n.Now().Day()).Seal(f.Marshal())
	must(t, err)
	return e
}
