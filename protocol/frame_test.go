package protocol

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
)

var (
	here, elsewhere = GroupID{1}, GroupID{2}
	alice, bob      = identity.DeviceKeyFromSeed([32]byte{1}), identity.DeviceKeyFromSeed([32]byte{2})
)

func TestFrameRoundTrip(t *testing.T) {
	for _, body := range [][]byte{{}, {0}, bytes.Repeat([]byte{7}, 1_500)} {
		f := SignFrame(here, KindMessage, alice, body)
		b := f.Marshal()
		padded := append(bytes.Clone(b), make([]byte, 100)...)
		got, err := ParseFrame(padded)
		if err != nil || !bytes.Equal(got.Marshal(), b) || !bytes.Equal(got.Body, body) || got.Kind != KindMessage {
			t.Fatalf("%d bytes: %v", len(body), err)
		}
		clear(padded)
		if !got.Verify(here, alice.Public()) || got.ID(here) != f.ID(here) {
			t.Error("a good frame does not verify, or lies in the given bytes")
		}
	}
}

func TestFrameOfAnotherGroupOrDeviceFails(t *testing.T) {
	f := SignFrame(here, KindOp, alice, []byte("x"))
	if f.Verify(elsewhere, alice.Public()) {
		t.Error("a frame holds in another group")
	}
	if f.Verify(here, bob.Public()) {
		t.Error("a frame holds for another device")
	}
	stolen := f
	stolen.Device = bob.Public().ID()
	if stolen.Verify(here, bob.Public()) || stolen.Verify(here, alice.Public()) {
		t.Error("a frame holds under another device's name")
	}
	// Alice signs what names Bob's device.
	named := Frame{Kind: KindOp, Device: bob.Public().ID(), Body: []byte("x")}
	named.Sig = alice.Sign(label.Op, named.transcript(here))
	if named.Verify(here, alice.Public()) || named.Verify(here, bob.Public()) {
		t.Error("a frame holds for a key that is not its device's")
	}
	if f.ID(here) == f.ID(elsewhere) {
		t.Error("one id in two groups")
	}
}

func TestEachPartOfAFrameChangesItsID(t *testing.T) {
	f := SignFrame(here, KindOp, alice, []byte("x"))
	for name, change := range map[string]func(*Frame){
		"kind":   func(f *Frame) { f.Kind = KindPage },
		"device": func(f *Frame) { f.Device[15] ^= 1 },
		"body":   func(f *Frame) { f.Body = []byte("y") },
	} {
		g := f
		change(&g)
		if g.ID(here) == f.ID(here) || g.Verify(here, alice.Public()) {
			t.Errorf("%s is not covered by the id or the signature", name)
		}
	}
	// Whoever could make a second signature must not make a second item of it.
	g := f
	g.Sig = identity.Signature{9}
	if g.ID(here) != f.ID(here) {
		t.Error("the id depends on the signature")
	}
}

func TestEveryBitOfAFrameCounts(t *testing.T) {
	b := SignFrame(here, KindAck, alice, []byte("body")).Marshal()
	for i := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if f, err := ParseFrame(bad); err == nil && f.Verify(here, alice.Public()) {
			t.Fatalf("bit %d changed and the frame holds", i)
		}
	}
}

// TestKindsDoNotPassForOneAnother presents each signature as every other kind.
func TestKindsDoNotPassForOneAnother(t *testing.T) {
	labels := map[label.Label]FrameKind{}
	for k := range 256 {
		kind := FrameKind(k)
		if other, ok := labels[kind.label()]; ok {
			t.Fatalf("kinds %d and %d have one label", other, k)
		}
		labels[kind.label()] = kind
	}
	for a := FrameKind(1); a <= 20; a++ {
		f := SignFrame(here, a, alice, []byte("x"))
		for b := FrameKind(1); b <= 20; b++ {
			g := f
			g.Kind = b
			if g.Verify(here, alice.Public()) != (a == b) {
				t.Errorf("a frame of kind %d verified as %d: %v", a, b, a != b)
			}
		}
	}
}

// TestUnknownKindsAreCheckedAlready: what a later version sends, today's devices
// can verify and carry.
func TestUnknownKindsAreCheckedAlready(t *testing.T) {
	for _, kind := range []FrameKind{16, 31, 32, 255} {
		f := SignFrame(here, kind, alice, []byte("later"))
		got, err := ParseFrame(f.Marshal())
		if err != nil || !got.Verify(here, alice.Public()) {
			t.Fatalf("kind %d: %v", kind, err)
		}
		signed := label.Transcript(label.Frame(uint8(kind)), f.transcript(here))
		if pub := alice.Public(); !ed25519.Verify(pub[:], signed, f.Sig[:]) {
			t.Errorf("kind %d is not signed under its frame label", kind)
		}
		if kind.Max() != RoomLarge {
			t.Errorf("kind %d has Max %d", kind, kind.Max())
		}
	}
}

func TestFrameMax(t *testing.T) {
	want := map[FrameKind]int{
		KindOp: 16_303, KindEpoch: 65_455, KindPage: 16_303, KindMessage: 65_455, KindKeyPackage: 1_967, KindKeyUpdate: 1_967,
		KindPresence: 1_967, KindInbox: 65_455, KindWelcome: 65_455, KindReBox: 65_455, KindBatch: 65_455, KindChunk: 65_455,
		KindCard: 16_303, KindJoinRequest: 16_303, KindAck: 1_967,
	}
	if len(want) != len(frameLabels) {
		t.Fatalf("%d kinds tested, %d exist", len(want), len(frameLabels))
	}
	for kind, most := range want {
		if kind.Max() != most {
			t.Errorf("kind %d: %d, want %d", kind, kind.Max(), most)
		}
		body := make([]byte, most-87) // array 1, kind 1, device 17, head of the body 2 or 3, signature 66
		f := SignFrame(here, kind, alice, body)
		f.Body = f.Body[: len(body)+most-len(f.Marshal()) : len(body)] // exactly Max in all
		if n := len(f.Marshal()); n != most {
			t.Fatalf("kind %d: built %d bytes", kind, n)
		}
		if _, err := ParseFrame(f.Marshal()); err != nil {
			t.Errorf("kind %d at its Max: %v", kind, err)
		}
		f.Body = append(f.Body, 0)
		if _, err := ParseFrame(f.Marshal()); !errors.Is(err, ErrFrame) {
			t.Errorf("kind %d a byte over its Max: %v", kind, err)
		}
	}
}

func TestMalformedFrames(t *testing.T) {
	f := SignFrame(here, KindOp, alice, []byte("secret"))
	b := f.Marshal()
	zero := f
	zero.Kind = 0
	for name, bad := range map[string][]byte{
		"nothing": {}, "kind 0": zero.Marshal(), "padding not zero": append(bytes.Clone(b), 0, 1),
		"cut short": b[:len(b)-1], "more than any room": append(bytes.Clone(b), make([]byte, MaxRoom)...),
		"kind 256": append([]byte{0x84, 0x19, 1, 0}, b[2:]...), "two frames": append(bytes.Clone(b), b...),
	} {
		if _, err := ParseFrame(bad); !errors.Is(err, ErrFrame) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	b := SignFrame(here, KindOp, alice, []byte("x")).Marshal()
	f.Add(b)
	f.Add(append(bytes.Clone(b), 0))
	f.Add(SignFrame(here, 200, alice, nil).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseFrame(b)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatal(err)
			}
			return
		}
		again := got.Marshal()
		if !bytes.HasPrefix(b, again) || len(bytes.Trim(b[len(again):], "\x00")) != 0 || len(again) > got.Kind.Max() {
			t.Fatalf("%x encodes to %x", b, again)
		}
		got.Verify(here, alice.Public())
	})
}
