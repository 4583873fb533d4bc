package engine

import (
	"bytes"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/recon"
	"github.com/palabre-app/palabre/protocol/wire"
)

// rows is a storage without rows.
type rows struct{}

func (rows) Get(Table, []byte) ([]byte, error)                       { return nil, nil }
func (rows) Scan(Table, []byte, func(key, value []byte) error) error { return nil }
func (rows) Keys(Table, []byte, func(key []byte) error) error        { return nil }

// counting gives bytes that differ and are the same in every run.
type counting byte

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		*c += 7
		b[i] = byte(*c)
	}
	return len(b), nil
}

func FuzzPresence(f *testing.F) {
	f.Add(wire.Marshal(presenceBody{Version: 1, Addrs: []string{"/ip4/10.0.0.1/tcp/4001"}, Told: 5}))
	f.Add([]byte{0x83, 1, 0x80, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePresence(b)
		if ok && !bytes.Equal(wire.Marshal(p), b) {
			t.Fatal("what parsed does not encode to the same bytes")
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add(wire.Marshal([]identity.MemberID{{1}, {2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, ok := parseNames(b)
		if ok && len(ids) > 0 && !bytes.Equal(wire.Marshal(ids), b) {
			t.Fatal("what parsed does not encode to the same bytes")
		}
	})
}

func FuzzHeads(f *testing.F) {
	f.Add(wire.Marshal([]protocol.OpID{{1}, {2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		heads, err := parseHeads(b)
		if err == nil && (len(heads) > protocol.MaxHeads || len(heads) > 0 && !bytes.Equal(wire.Marshal(heads), b)) {
			t.Fatal("what parsed does not encode to the same bytes, or is too long")
		}
	})
}

func FuzzPages(f *testing.F) {
	f.Add(wire.Marshal(pageBody{Far: true, List: []protocol.MailboxID{{1}, {2}}}))
	f.Add(wire.Marshal(pageBody{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parsePages(b)
		if !ok {
			return
		}
		if len(m.List) == 0 || len(m.List) > maxPageList {
			t.Fatalf("a list of %d addresses parsed", len(m.List))
		}
		if !bytes.Equal(wire.Marshal(m), b) {
			t.Fatal("what parsed does not encode to the same bytes")
		}
	})
}

func FuzzKeysWanted(f *testing.F) {
	f.Add(wire.Marshal([]recon.ID{{1}, {2}}))
	f.Add(wire.Marshal([]recon.ID{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, ok := parseKeysWanted(b)
		if !ok {
			return
		}
		if len(ids) == 0 || len(ids) > maxKeysAsked {
			t.Fatalf("a list of %d ids parsed", len(ids))
		}
		if !bytes.Equal(wire.Marshal(ids), b) {
			t.Fatal("what parsed does not encode to the same bytes")
		}
	})
}

func FuzzKeysGiven(f *testing.F) {
	frame := func(k protocol.FrameKind) []byte { return protocol.Frame{Kind: k, Body: []byte{1}}.Marshal() }
	f.Add(wire.Marshal([][]byte{frame(protocol.KindKeyUpdate), frame(protocol.KindInbox)}))
	f.Add(wire.Marshal([][]byte{frame(protocol.KindOp)}))
	f.Add(wire.Marshal([][]byte{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, ok := parseKeysGiven(b)
		if !ok {
			return
		}
		if len(frames) == 0 || len(frames) > maxKeysGiven {
			t.Fatalf("a list of %d frames parsed", len(frames))
		}
		var raw [][]byte
		for _, f := range frames {
			if f.Kind != protocol.KindKeyPackage && f.Kind != protocol.KindKeyUpdate && f.Kind != protocol.KindInbox {
				t.Fatalf("a frame of kind %d parsed", f.Kind)
			}
			raw = append(raw, f.Marshal())
		}
		if !bytes.Equal(wire.Marshal(raw), b) {
			t.Fatal("what parsed does not encode to the same bytes")
		}
	})
}

func FuzzRecon(f *testing.F) {
	f.Add(wire.Marshal(reconBody{Opening: true, Message: []byte{0x61}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseRecon(b)
		if err == nil && !bytes.Equal(wire.Marshal(m), b) {
			t.Fatal("what parsed does not encode to the same bytes")
		}
	})
}

func FuzzCheck(f *testing.F) {
	f.Add(wire.Marshal([]checkBody{{Tag: [16]byte{1}}, {Fingerprint: [recon.FingerprintSize]byte{2}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseCheck(b)
		if err == nil && (len(list) > maxReconTags || !bytes.Equal(wire.Marshal(list), b)) {
			t.Fatal("what parsed does not encode to the same bytes, or is too long")
		}
	})
}

// FuzzPeerMessage gives arbitrary messages of a link to an engine, one link for
// each class: nothing panics, nothing is stored, and an id list that was
// understood has one encoding.
func FuzzPeerMessage(f *testing.F) {
	ids := wire.Marshal([]protocol.EnvelopeID{{1}, {2}})
	for kind := byte(0); kind <= msgChecked; kind++ {
		f.Add(append([]byte{kind}, ids...))
		f.Add([]byte{kind})
	}
	f.Add(append([]byte{msgPages}, wire.Marshal(pageBody{Far: true, List: []protocol.MailboxID{{1}, {2}}})...))
	f.Add(append([]byte{msgRecon}, wire.Marshal(reconBody{Opening: true, Message: []byte{0x61}})...)) // of the tag of keys
	f.Add(append([]byte{msgKeysWanted}, wire.Marshal([]recon.ID{{1}, {2}})...))
	f.Add(append([]byte{msgKeys}, wire.Marshal([][]byte{protocol.Frame{Kind: protocol.KindKeyUpdate, Body: []byte{1}}.Marshal()})...))
	var random counting
	e, err := Create(Config{Storage: rows{}, Random: &random, Zone: func(string) bool { return true }}, Seconds(1_790_000_000),
		CreateParams{GroupName: "Group", Name: "Ana", Policy: group.DefaultPolicy(5)}, func(protocol.GroupID) Storage { return rows{} })
	if err != nil {
		f.Fatal(err)
	}
	e.Ready()
	e.Advance()
	f.Fuzz(func(t *testing.T, b []byte) {
		for class := ClassMember; class <= ClassInvite; class++ {
			id := Peer(class)
			if err := e.Step(e.now, PeerUp{Peer: id, Class: class, Tag: e.sending}); err != nil {
				t.Fatal(err)
			}
			if err := e.Step(e.now, Received{Peer: id, Data: b}); err != nil {
				t.Fatal(err)
			}
			if err := e.Step(e.now, PeerDown{Peer: id}); err != nil {
				t.Fatal(err)
			}
			if r := e.Ready(); len(r.Persist.Puts) != 0 {
				t.Fatalf("a message from a peer was stored: table %d", r.Persist.Puts[0].Table)
			}
			e.Advance()
		}
		if len(b) > 1 {
			var list []protocol.EnvelopeID
			if wire.Unmarshal(b[1:], maxIDs*34+8, &list) == nil && !bytes.Equal(wire.Marshal(list), b[1:]) {
				t.Fatal("an id list parsed and does not encode to the same bytes")
			}
		}
	})
}
