package node

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// vandal is a host with a member's keys that says what it likes.
type vandal struct {
	*p2p.Host
	t    *testing.T
	to   string
	link p2p.LinkID // 0: it was ended
	met  int
	said chan p2p.Event // answers to a question, and ends of links
}

// newVandal takes the keys of a phone, as who stole them would.
func newVandal(t *testing.T, p *phone) *vandal {
	t.Helper()
	v := &vandal{t: t, said: make(chan p2p.Event, 4)}
	cfg := p2p.Config{OnEvent: func(ev p2p.Event) {
		switch m, ok := ev.(p2p.Message); {
		case ok && m.Data[0] == 18: // checked (spec 65 section 2)
		case ok:
			return
		default:
			if _, ok := ev.(p2p.LinkDown); !ok {
				return
			}
		}
		v.said <- ev
	}}
	p.inside(func() {
		g := p.sortedGroups()[0]
		cfg.Keys, v.to = gateKeys(g.gate), g.own[0]
	})
	var err error
	if v.Host, err = p2p.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// say sends messages and then a question that is answered, and returns when the answer
// is there or the link was ended.
func (v *vandal) say(list ...[]byte) {
	v.t.Helper()
	if v.link == 0 {
		ctx, cancel := context.WithTimeout(v.t.Context(), patience)
		defer cancel()
		for v.link == 0 { // it may be turned away: it comes again and again
			if v.link, _ = v.Dial(ctx, v.to); ctx.Err() != nil {
				v.t.Fatal("the phone answers no more")
			}
		}
		v.met++
	}
	question := append([]byte{17}, wire.Marshal([][2][16]byte{{{1}, {1}}})...)
	for _, m := range append(list, question) {
		_ = v.Send(v.link, m) // if the link has ended, that is told
	}
	if _, down := (<-v.said).(p2p.LinkDown); down {
		v.link = 0
	}
}

// Row 2 of spec 95: a member's host sends a thousand messages that are no messages, and
// envelopes that do not open or hold something else. The phone goes on, stores none of it,
// and what others write meanwhile is shown.
func TestGarbageFromAMembersHost(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	post1(t, ben, "avant")
	w.shows([]string{"avant"}, ana, ben)
	v := newVandal(t, ana)
	var real [][]byte
	ana.inside(func() {
		real = envelopesOf(ana)
	})
	if len(real) < 3 {
		t.Fatalf("%d envelopes", len(real))
	}
	rng := rand.New(rand.NewPCG(2, 2))
	wrote := []string{"avant"}
	for i := range 1_000 {
		m := make([]byte, 1+rng.IntN(300))
		for j := range m {
			m[j] = byte(rng.Uint32())
		}
		m[0] = byte(rng.IntN(24))
		if i%2 == 0 { // an envelope that was one
			m = append([]byte{3}, real[rng.IntN(len(real))]...)
			switch rng.IntN(3) {
			case 0:
				m[1+rng.IntN(len(m)-1)] ^= 1 << rng.IntN(8)
			case 1:
				m = m[:1+rng.IntN(len(m)-1)]
			case 2:
				m = append(m, 0)
			}
			v.say(append([]byte{1}, wire.Marshal([]protocol.EnvelopeID{protocol.IDOf(m[1:])})...), m) // asked for, then
		} else {
			v.say(m)
		}
		if i%250 == 249 {
			title := fmt.Sprint("malgré tout ", i)
			post1(t, ben, title)
			wrote = append(wrote, title)
			w.shows(wrote, ana, ben)
		}
	}
	if v.met < 400 {
		t.Errorf("the link was ended %d times in 1,000 messages", v.met)
	}
	ana.inside(func() {
		if now := len(envelopesOf(ana)); now != len(real)+len(wrote)-1 {
			t.Errorf("%d envelopes are held, %d were, and %d were written", now, len(real), len(wrote)-1)
		}
	})
}

// envelopesOf are the envelopes that a phone of one group has stored.
func envelopesOf(p *phone) (list [][]byte) {
	g := p.sortedGroups()[0]
	err := p.db.Space(store.Space(g.engine.ID())).Scan(7, nil, func(_, envelope []byte) error {
		list = append(list, bytes.Clone(envelope))
		return nil
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return list
}
