package group

import (
	"bytes"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// What parses must encode to the same bytes.

func FuzzGenesis(f *testing.F) {
	f.Add(found(f, DefaultPolicy(5), person(0)).Marshal())
	f.Add(found(f, DefaultPolicy(50), person(0), person(1)).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGenesis(b)
		if err != nil {
			return
		}
		w := genesisWire{Version: 1, Suite: 1, Nonce: g.Nonce, Policy: g.Policy.wire()}
		if g.Recovery != (RecoveryPublic{}) {
			w.Recovery = g.Recovery[:]
		}
		for _, o := range g.Organisers {
			w.Organisers = append(w.Organisers, organiserWire{Cert: o.Cert.Marshal(), KEM: o.KEM, Lane: o.Lane, Devices: o.Devices})
		}
		var in genesisWire
		if err := wire.Unmarshal(b, MaxGenesis, &in); err != nil {
			t.Fatal(err)
		}
		w.Sigs = in.Sigs
		if !bytes.Equal(wire.Marshal(w), b) {
			t.Error("encodes differently")
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add(DefaultPolicy(5).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParsePolicy(b); err == nil && !bytes.Equal(p.Marshal(), b) {
			t.Error("encodes differently")
		}
	})
}

func FuzzOp(f *testing.F) {
	ann, kid := person(0), person(2)
	w := newWorld(found(f, DefaultPolicy(5), ann))
	a := w.op(ann, w.add(kid))
	w.op(ann, GrantAuthor{Target: kid.id()}, a)
	w.op(ann, RevokeAuthor{Target: kid.id()}, a)
	w.op(ann, RemoveMember{Target: kid.id(), Cutoffs: []Cutoff{{Device: kid.dev(), Seq: 1, Content: protocol.ContentID{1}}}}, a)
	w.op(ann, RemoveDevice{Device: kid.dev()}, a)
	w.op(ann, Merge{}, a)
	w.raw(ann, 99, []byte{1}, a)
	for _, fr := range w.frames {
		f.Add(fr.Body)
	}
	g := w.g.ID()
	f.Fuzz(func(t *testing.T, b []byte) {
		o, p, err := ParseOp(protocol.Frame{Kind: protocol.KindOp, Body: b}, g)
		if err != nil {
			return
		}
		if !bytes.Equal(wire.Marshal(o), b) {
			t.Error("op encodes differently")
		}
		if p != nil && (p.Kind() != o.Kind || !bytes.Equal(p.marshal(), o.Payload)) {
			t.Error("payload encodes differently")
		}
	})
}

func FuzzKeyPackage(f *testing.F) {
	kid := person(2)
	w := newWorld(found(f, DefaultPolicy(5), person(0)))
	g := w.g.ID()
	f.Add(w.pack(kid).Body)
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := protocol.SignFrame(g, protocol.KindKeyPackage, kid.device, b)
		if p, err := ParseKeyPackage(g, fr); err == nil && !bytes.Equal(NewKeyPackage(g, kid.device, p).Body, b) {
			t.Error("encodes differently")
		}
	})
}

func FuzzKeyUpdate(f *testing.F) {
	kid := person(2)
	f.Add(NewKeyUpdate(protocol.GroupID{}, kid.device, KeyUpdate{Counter: 1, KEM: kid.kem, Heal: true}).Body)
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := ParseKeyUpdate(protocol.Frame{Kind: protocol.KindKeyUpdate, Body: b})
		if err == nil && !bytes.Equal(NewKeyUpdate(protocol.GroupID{}, kid.device, u).Body, b) {
			t.Error("encodes differently")
		}
	})
}

func FuzzAck(f *testing.F) {
	f.Add(NewAck(protocol.GroupID{}, person(1).device, []protocol.ItemID{{1}, {2}}).Body)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseAck(protocol.Frame{Kind: protocol.KindAck, Body: b})
		if err == nil && !bytes.Equal(wire.Marshal(list), b) {
			t.Error("encodes differently")
		}
	})
}
