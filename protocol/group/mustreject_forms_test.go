package group

import (
	"encoding/binary"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// head reads a CBOR head: its major type, its argument and its length.
func head(b []byte) (major byte, arg uint64, n int) {
	major = b[0] >> 5
	switch low := b[0] & 31; {
	case low < 24:
		return major, uint64(low), 1
	case low == 24:
		return major, uint64(b[1]), 2
	case low == 25:
		return major, uint64(binary.BigEndian.Uint16(b[1:])), 3
	case low == 26:
		return major, uint64(binary.BigEndian.Uint32(b[1:])), 5
	}
	return major, binary.BigEndian.Uint64(b[1:]), 9
}

// longHeads returns each form of an encoding in which one head is longer than need
// be, and each in which one array is of indefinite length.
func longHeads(b []byte) (out [][]byte) {
	splice := func(at, n int, with ...byte) []byte {
		c := append([]byte{}, b[:at]...)
		return append(append(c, with...), b[at+n:]...)
	}
	for at := 0; at < len(b); {
		major, arg, n := head(b[at:])
		for _, size := range []int{1, 2, 4, 8} {
			if size+1 > n {
				long := binary.BigEndian.AppendUint64([]byte{major<<5 | byte(23+map[int]int{1: 1, 2: 2, 4: 3, 8: 4}[size])}, arg)
				out = append(out, splice(at, n, append(long[:1:1], long[9-size:]...)...))
			}
		}
		out = append(out, splice(at, 0, 0xc6)) // a tag
		if major == 4 && at == 0 {
			out = append(out, append(splice(at, n, 0x9f), 0xff))
		}
		if at += n; major == 2 {
			at += int(arg)
		}
	}
	return out
}

// taken says whether a payload of a kind has any meaning.
func taken(t *testing.T, kind OpKind, payload []byte) bool {
	t.Helper()
	w := newWorld(newPlot(t, "abx").g)
	w.raw(person(1), kind, payload)
	_, p, err := ParseOp(w.frames[0], w.g.ID())
	return err == nil && p != nil
}

// TestMustRejectForms: of each payload and decision only one encoding is taken.
func TestMustRejectForms(t *testing.T) {
	for name, p := range forms(t) {
		t.Run(name, func(t *testing.T) {
			good := p.marshal()
			if !taken(t, p.Kind(), good) {
				t.Fatal("the good one is refused")
			}
			refuse := func(what string, b []byte) {
				t.Helper()
				if taken(t, p.Kind(), b) {
					t.Errorf("%s: taken, % x", what, b)
				}
			}
			refuse("trailing", append(append([]byte{}, good...), 0))
			refuse("nothing", nil)
			refuse("cut", good[:len(good)-1])
			refuse("one field more", append(append([]byte{good[0] + 1}, good[1:]...), 0))
			for _, b := range longHeads(good) {
				refuse("longer than need be", b)
			}
			if q, ok := p.(Proposal); ok {
				d := q.Decision
				inner := func(body []byte) []byte {
					return wire.Marshal(proposalWire{Prev: q.Prev, Kind: d.Decides(), Body: body})
				}
				for _, b := range longHeads(d.body()) {
					refuse("decision longer than need be", inner(b))
				}
				refuse("decision trailing", inner(append(d.body(), 0)))
				refuse("decision cut", inner(d.body()[:len(d.body())-1]))
				refuse("unknown decision", wire.Marshal(proposalWire{Prev: q.Prev, Kind: 7, Body: d.body()}))
				refuse("decision 0", wire.Marshal(proposalWire{Prev: q.Prev, Kind: 0, Body: d.body()}))
			}
		})
	}
}

// TestMustRejectLists: lists that are unsorted, have something twice, or are over
// their Max.
func TestMustRejectLists(t *testing.T) {
	m := person(2).id()
	cut := func(n byte) Cutoff {
		return Cutoff{Device: identity.DeviceID{n}, Seq: 1, Content: protocol.ContentID{1}}
	}
	cuts := map[string][]Cutoff{"unsorted": {cut(2), cut(1)}, "twice": {cut(1), cut(1)}, "over Max": nil,
		"of seq 0": {{Device: identity.DeviceID{1}, Content: protocol.ContentID{1}}}, "without an id": {{Device: identity.DeviceID{1}, Seq: 1}}}
	devices := map[string][]identity.DeviceID{"unsorted": {{2}, {1}}, "twice": {{1}, {1}}, "over Max": {{1}, {2}, {3}, {4}, {5}}, "none": {}}
	items := map[string][]protocol.ItemID{"unsorted": {{2}, {1}}, "twice": {{1}, {1}}, "over Max": nil}
	for n := range MaxCutoffs + 1 {
		cuts["over Max"] = append(cuts["over Max"], cut(byte(n+1)))
	}
	for n := range MaxRepudiate + 1 {
		items["over Max"] = append(items["over Max"], protocol.ItemID{byte(n >> 8), byte(n)})
	}
	bad := map[string]Payload{}
	one := []identity.DeviceID{{1}}
	for what, list := range cuts {
		bad["expel with cut-offs "+what] = Proposal{Decision: Expel{Target: m, Cutoffs: list}}
		bad["set devices with cut-offs "+what] = Proposal{Decision: SetDevices{Target: m, Devices: one, Cutoffs: list}}
		bad["suspend with cut-offs "+what] = Suspend{Target: m, Cutoffs: list}
		bad["remove member with cut-offs "+what] = RemoveMember{Target: m, Cutoffs: list}
		bad["revoke author with cut-offs "+what] = RevokeAuthor{Target: m, Cutoffs: list}
		bad["leave with cut-offs "+what] = Leave{Cutoffs: list}
	}
	for what, list := range devices {
		bad["grant with devices "+what] = Proposal{Decision: GrantOrganiser{Target: m, Devices: list}}
		bad["set devices with devices "+what] = Proposal{Decision: SetDevices{Target: m, Devices: list}}
	}
	for what, list := range items {
		bad["expel that repudiates "+what] = Proposal{Decision: Expel{Target: m, Repudiate: list}}
	}
	proof := forms(t)["suspend"].(Suspend).Evidence
	for what, list := range map[string][][]byte{"unsorted": {proof[1], proof[0]}, "twice": {proof[0], proof[0]}, "of one": proof[:1],
		"of three": {proof[0], proof[1], proof[1]}, "of no frame": {{1}, {2}}} {
		bad["suspend with evidence "+what] = Suspend{Target: m, Evidence: list}
	}
	for what, key := range map[string][]byte{"short": make([]byte, 31), "long": make([]byte, 33), "all zero": make([]byte, 32)} {
		bad["recovery key "+what] = Proposal{Decision: SetRecovery{Key: key}}
	}
	bad["vote of number 0"] = Vote{Proposal: protocol.OpID{1}}
	bad["first vote that follows one"] = Vote{Proposal: protocol.OpID{1}, Seq: 1, Prev: protocol.OpID{2}}
	bad["later vote that follows none"] = Vote{Proposal: protocol.OpID{1}, Seq: 2}
	bad["remove device at 0 with an id"] = RemoveDevice{Content: protocol.ContentID{1}}
	for name, p := range bad {
		t.Run(name, func(t *testing.T) {
			if taken(t, p.Kind(), p.marshal()) {
				t.Error("taken")
			}
		})
	}
}

// TestMustRejectVersions: of each signed thing only version 1 is taken, and of
// what names a suite only that.
func TestMustRejectVersions(t *testing.T) {
	w, _, _, ann, kid := ringWorld(t)
	g := w.g.ID()
	op := wire.Marshal(Op{Version: 1, Member: ann.id(), Seq: 1})
	pack := w.pack(kid)
	update := NewKeyUpdate(g, kid.device, KeyUpdate{Counter: 1, KEM: kid.kem})
	cert := identity.Certify(g, kid.member, kid.device).Marshal()
	genesis := w.g.Marshal()
	for name, c := range map[string]struct {
		b     []byte
		at    int
		parse func(b []byte) error
	}{
		"operation": {op, 1, func(b []byte) error {
			_, _, err := ParseOp(protocol.SignFrame(g, protocol.KindOp, ann.device, b), g)
			return err
		}},
		"key package": {pack.Body, 1, func(b []byte) error {
			_, err := ParseKeyPackage(g, protocol.SignFrame(g, protocol.KindKeyPackage, kid.device, b))
			return err
		}},
		"suite of a key package": {pack.Body, 2, func(b []byte) error {
			_, err := ParseKeyPackage(g, protocol.SignFrame(g, protocol.KindKeyPackage, kid.device, b))
			return err
		}},
		"key update": {update.Body, 1, func(b []byte) error {
			_, err := ParseKeyUpdate(protocol.SignFrame(g, protocol.KindKeyUpdate, kid.device, b))
			return err
		}},
		"certificate":        {cert, 1, func(b []byte) error { _, err := identity.ParseCert(b, g); return err }},
		"genesis":            {genesis, 1, func(b []byte) error { _, err := ParseGenesis(b); return err }},
		"suite of a genesis": {genesis, 2, func(b []byte) error { _, err := ParseGenesis(b); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			if c.b[c.at] != 1 {
				t.Fatalf("byte %d is %d", c.at, c.b[c.at])
			}
			if err := c.parse(c.b); err != nil {
				t.Fatal(err)
			}
			for _, v := range []byte{0, 2, 23} {
				b := append([]byte{}, c.b...)
				b[c.at] = v
				if c.parse(b) == nil {
					t.Errorf("%d is taken", v)
				}
			}
		})
	}
}
