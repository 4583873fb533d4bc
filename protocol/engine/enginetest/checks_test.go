package enginetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

const (
	messageCheck   = 17
	messageChecked = 18
)

// question asks whether the set of an epoch has a fingerprint.
func question(tags ...[16]byte) []byte {
	var list [][2][16]byte
	for _, t := range tags {
		list = append(list, [2][16]byte{t, {1}})
	}
	return wire.Marshal(list)
}

// Whether two hold the same of an epoch is answered for members alone: nobody else hears
// even whether the epoch is known. What is no question, or no answer to one, ends the link.
func TestCheckIsAnsweredForMembers(t *testing.T) {
	_, ana, ben, _ := gathered(t)
	known := secrets(t, ana).Net().Recon()
	a := asMember(t, ana)
	for _, c := range []struct {
		who  *attacker
		want []byte
	}{
		{a, []byte{messageChecked, 1, 2, 1}},
		{attack(t, ana, engine.ClassCatchUp, ana.gate.Accept[0].Tag), []byte{messageChecked, 2, 2, 2}},
	} {
		c.who.say(messageCheck, question(known, [16]byte{9}, known))
		if !slices.ContainsFunc(c.who.got, func(m []byte) bool { return bytes.Equal(m, c.want) }) {
			t.Errorf("class %d: %x", c.who.class, c.who.got)
		}
	}
	a.say(messageChecked, []byte{1}) // nothing was asked
	if a.closed {
		t.Error("an answer to no question ends the link")
	}
	for _, bad := range [][]byte{nil, question(), question(make([][16]byte, 17)...), append(question(known), 0)} {
		if a.say(messageCheck, bad); !a.closed {
			t.Errorf("%x is taken for a question", bad)
		}
	}
	for _, answer := range [][]byte{nil, {3}, make([]byte, 17)} {
		attackers++
		d := &attacker{t: t, n: ben, id: attackers}
		d.step(engine.PeerUp{Peer: d.id, Class: engine.ClassMember, Tag: ben.gate.Accept[0].Tag, Dialled: true})
		asked := slices.IndexFunc(d.got, func(m []byte) bool { return m[0] == messageCheck })
		if asked < 0 || len(d.got[asked]) > 1+8+16*35 {
			t.Fatalf("who dialled asked %x", d.got)
		}
		if d.step(engine.Received{Peer: d.id, Data: append([]byte{messageChecked}, answer...)}); !d.closed {
			t.Errorf("%x is taken for an answer", answer)
		}
		d.step(engine.PeerDown{Peer: d.id})
	}
}
