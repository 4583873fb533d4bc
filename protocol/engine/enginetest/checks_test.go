package enginetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
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
	for _, answer := range [][]byte{nil, {4}, make([]byte, 17)} {
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

// Whoever keeps more epochs than one question has room for asks about all of them in
// time, and each time about the newest.
func TestRoundsReachAllEpochs(t *testing.T) {
	w, ana, ben, _ := organised(t)
	for _, n := range []*Node{ana, ben} {
		n.policy(t, func(p *group.Policy) { p.PeriodDays = 1 })
		must(t, w.Run(engine.Seconds(60)))
	}
	w.pass(t, 21)
	missing := map[[16]byte]bool{}
	for _, r := range ana.Store.rows[tableOfSecrets] {
		k, err := epoch.ParseKeys(bytes.Clone(r.value))
		must(t, err)
		missing[k.Net().Recon()] = true
	}
	if len(missing) < 20 {
		t.Fatalf("%d epochs are kept", len(missing))
	}
	newest := secrets(t, ana).Net().Recon()
	attackers++
	a := &attacker{t: t, n: ana, id: attackers}
	a.step(engine.PeerUp{Peer: a.id, Class: engine.ClassMember, Tag: ana.gate.Accept[0].Tag, Dialled: true})
	rounds := 0
	for range 60 {
		for _, m := range a.got {
			if m[0] != messageCheck {
				continue
			}
			rounds++
			var list [][2][16]byte
			must(t, wire.Unmarshal(m[1:], 1_000, &list))
			if len(list) != 16 || list[0][0] != newest {
				t.Fatalf("asked about %d epochs", len(list))
			}
			for _, c := range list {
				delete(missing, c[0])
			}
			a.step(engine.Received{Peer: a.id, Data: append([]byte{messageChecked}, make([]byte, len(list))...)})
		}
		a.got = nil
		w.Now += engine.Seconds(60)
		a.step(engine.Tick{})
	}
	if len(missing) > 0 || rounds < 10 {
		t.Errorf("%d epochs were not asked about in %d rounds", len(missing), rounds)
	}
}
