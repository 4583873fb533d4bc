package epoch

import (
	"bytes"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// same fails unless what was parsed encodes to the bytes that were parsed.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("parsed and encoded again: %d bytes became %d others", len(want), len(got))
	}
}

func FuzzHeader(f *testing.F) {
	g := newGroup(f, 3, 50)
	frame, _, _ := g.issue(f)
	f.Add(frame.Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := ParseHeader(g.id, protocol.Frame{Kind: protocol.KindEpoch, Body: body})
		if err != nil {
			return
		}
		b := headerBody{Core: wire.Marshal(h.Core), ConfTag: h.confTag, OrgTag: h.orgTag}
		for i, ref := range h.refs {
			if h.Core.Inline() {
				b.Pages = append(b.Pages, wire.Marshal(wire.Marshal(*h.pages[i])))
			} else {
				b.Pages = append(b.Pages, wire.Marshal(ref))
			}
		}
		same(t, wire.Marshal(b), body)
	})
}

func FuzzPage(f *testing.F) {
	boxes := []box{padBox([32]byte{1}, 1), padBox([32]byte{1}, 2)}
	bodies, _ := cutPages([32]byte{2}, boxes)
	f.Add(bodies[0])
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := ParsePage(protocol.Frame{Kind: protocol.KindPage, Body: body}); err == nil {
			same(t, wire.Marshal(p.boxes), body)
			same(t, p.body, body)
		}
	})
}

func FuzzMessage(f *testing.F) {
	g := newGroup(f, 2, 51)
	_, _, k := g.issue(f)
	frame, _, _ := k.Seal(g.id, g.people[0].key, text("x"), g.random)
	f.Add(frame.Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := protocol.Frame{Kind: protocol.KindMessage, Body: body}
		if b, err := parseMessage(frame); err == nil {
			same(t, wire.Marshal(b), body)
		}
		if _, err := k.Open(g.id, frame, g.lookup); err == nil {
			t.Error("an unsigned message opened")
		}
	})
}

func FuzzKeys(f *testing.F) {
	g := newGroup(f, 2, 52)
	_, h, k := g.issue(f)
	for range 3 {
		k.Seal(g.id, g.people[0].key, text("x"), g.random)
	}
	reader := g.open(f, h, 1)
	reader.use(g.people[0].id(), 2)
	chain, _ := reader.MarshalChain(g.people[0].id())
	f.Add(reader.MarshalBase())
	f.Add(chain)
	f.Add(must[[]byte](f)(k.Export(true)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := ParseKeys(b); err == nil {
			same(t, k.MarshalBase(), b)
		}
		if d, c, err := reader.parseChain(b); err == nil {
			same(t, reader.marshalChain(d, c, true), b)
		}
		if k, err := ParseExport(b); err == nil {
			same(t, must[[]byte](t)(k.Export(true)), b)
		}
	})
}

func FuzzWelcome(f *testing.F) {
	key := KEMPrivateFromSeed([32]byte{1})
	pk := key.Public()
	d := identity.DeviceKeyFromSeed([32]byte{3})
	w := welcomeOf(0)
	f.Add(w.marshal())
	for _, size := range []int{0, 70_000} {
		for _, frame := range must[[]protocol.Frame](f)(SealWelcome(testGroup, d, &pk, [32]byte{}, welcomeOf(size))) {
			f.Add(frame.Body)
		}
	}
	hashes := make([][32]byte, 3)
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, err := parseWelcome(b); err == nil {
			same(t, w.marshal(), b)
		}
		if m, err := welcomeParcel.parse(protocol.Frame{Kind: protocol.KindWelcome, Body: b}); err == nil {
			same(t, welcomeParcel.marshal(m), b)
		}
		if c, err := welcomeParcel.parseChunk(protocol.Frame{Kind: protocol.KindChunk, Body: b}, protocol.ItemID{}, hashes); err == nil {
			same(t, wire.Marshal(c), b)
		}
	})
}

func FuzzRequest(f *testing.F) {
	join, r := KEMPrivateFromSeed([32]byte{2}), RendezvousOf([16]byte{5}, testInvite)
	pk := join.Public()
	q := JoinRequest{KeyPackage: keyPackage(), Name: "Awa"}
	frame := must[protocol.Frame](f)(SealRequest(testGroup, testInvite, &pk, r, q))
	f.Add(frame.Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		sealed, err := parseRequest(protocol.Frame{Kind: protocol.KindJoinRequest, Body: body})
		if err == nil {
			same(t, wire.Marshal(requestBody{Version: protocol.Version, Sealed: sealed}), body)
		}
	})
}

func FuzzCard(f *testing.F) {
	key := MailKeyFromSeed([32]byte{1})
	c := Card{JoinKey: KEMPrivateFromSeed([32]byte{2}).Public(), Addresses: []string{"/ip4/192.0.2.1/tcp/1"}}
	frame := must[protocol.Frame](f)(SealCard(testGroup, key, c))
	f.Add(frame.Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := protocol.Frame{Kind: protocol.KindCard, Body: body}
		frame.Sig = key.sign(label.Card, anonymousTranscript(testGroup, frame))
		if c, err := ParseCard(testGroup, frame, key.Public()); err == nil {
			same(t, wire.Marshal(c), body)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	m := CommonMailbox(NetKeyFromBytes([32]byte{1}), 1)
	f.Add(frameOf(500), []byte(nil))
	f.Add(frameOf(500), []byte{0, 0, 1})
	f.Fuzz(func(t *testing.T, frame, tail []byte) {
		room := protocol.RoomFor(len(frame) + len(tail))
		if room == 0 {
			return
		}
		padded := make([]byte, room)
		copy(padded[copy(padded, frame):], tail)
		e := reseal(m, padded, m.nonce(padded))
		if got, err := m.Open(e); err == nil {
			if again, err := m.Seal(got); err == nil {
				same(t, again, e)
			}
		}
	})
}

func FuzzReBox(f *testing.F) {
	key := KEMPrivateFromSeed([32]byte{1})
	pk := key.Public()
	d := identity.DeviceKeyFromSeed([32]byte{3})
	r := reboxOf(0)
	f.Add(r.marshal())
	for _, size := range []int{0, 64_900, 70_000} {
		for _, frame := range must[[]protocol.Frame](f)(SealReBox(testGroup, d, identity.DeviceID{5}, &pk, reboxOf(size), dice(1))) {
			f.Add(frame.Body)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseReBox(b); err == nil {
			same(t, r.marshal(), b)
		}
		if m, err := reboxParcel.parse(protocol.Frame{Kind: protocol.KindReBox, Body: b}); err == nil {
			same(t, reboxParcel.marshal(m), b)
		}
	})
}

func FuzzInbox(f *testing.F) {
	g := newGroup(f, 3, 53)
	_, h, _ := g.issue(f)
	d := g.people[2].key
	for _, item := range items(g.id, d) {
		frame := must[protocol.Frame](f)(SealInbox(g.id, d, h, item))
		f.Add(frame.Body)
		f.Add(wire.Marshal(inboxPlain{Version: 1, Kind: item.Kind(), Body: must[[]byte](f)(encodeItem(d.Public().ID(), item))}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := parseInboxFrame(protocol.Frame{Kind: protocol.KindInbox, Body: b}); err == nil {
			same(t, wire.Marshal(body), b)
		}
		room := inboxRoom(len(b))
		if room == 0 {
			return
		}
		if item, err := parseInbox(d.Public().ID(), padTo(room, b)); err == nil {
			again := wire.Marshal(inboxPlain{Version: 1, Kind: item.Kind(), Body: must[[]byte](t)(encodeItem(d.Public().ID(), item))})
			same(t, padTo(inboxRoom(len(again)), again), padTo(room, b))
		}
	})
}
