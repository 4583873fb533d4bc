package epoch

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

func frameOf(n int) []byte {
	d := identity.DeviceKeyFromSeed([32]byte{1})
	empty := len(protocol.SignFrame(protocol.GroupID{}, protocol.KindBatch, d, make([]byte, 300)).Marshal()) - 300
	return protocol.SignFrame(protocol.GroupID{}, protocol.KindBatch, d, bytes.Repeat([]byte{0xff}, n-empty)).Marshal()
}

func mailboxes(t testing.TB) map[string]*Mailbox {
	g := newGroup(t, 2, 40)
	_, h, k := g.issue(t)
	_, reader, _ := k.Inbox()
	r := RendezvousOf([16]byte{1}, protocol.InviteID{2})
	lane, card := MailKeyFromSeed([32]byte{3}), MailKeyFromSeed([32]byte{4})
	own := must[*Mailbox](t)
	return map[string]*Mailbox{
		"common":        CommonMailbox(k.Net(), 19_000),
		"common, later": CommonMailbox(k.Net(), 19_001),
		"inbox":         own(InboxMailbox(k.Net(), 19_000, h.Core.InboxRead).WithRead(reader)),
		"inbox, later":  own(InboxMailbox(k.Net(), 19_001, h.Core.InboxRead).WithRead(reader)),
		"lane":          own(LaneMailbox(k.Net(), lane.Public()).WithWrite(lane)),
		"page 0":        PageMailbox(h, 0),
		"page 1":        PageMailbox(h, 1),
		"rescue":        RescueMailbox(RescueSeedFromBytes([32]byte{5})),
		"card":          own(CardMailbox(r, card.Public()).WithWrite(card)),
		"request":       own(RequestMailbox(r, card.Public()).WithRead(card)),
	}
}

// Spec 30 section 7: every mailbox has its own address and opens only its own.
func TestMailboxes(t *testing.T) {
	all := mailboxes(t)
	frame := frameOf(500)
	seen := map[protocol.MailboxID]string{}
	for name, m := range all {
		if other, ok := seen[m.Address()]; ok {
			t.Errorf("%s and %s have one address", name, other)
		}
		seen[m.Address()] = name
		e := must[[]byte](t)(m.Seal(frame))
		if len(e) != protocol.BucketSmall || protocol.Check(e) != protocol.Accept {
			t.Errorf("%s: envelope of %d bytes", name, len(e))
		}
		for other, o := range all {
			got, err := o.Open(e)
			if (other == name) != (err == nil && bytes.Equal(got, frame)) {
				t.Errorf("envelope of %s in %s: %v", name, other, err)
			}
		}
		id := protocol.IDOf(e)
		write, read := m.WriteKey(), m.ReadKey()
		if protocol.MailboxOf(write, read) != m.Address() || protocol.MailboxOf(read, write) == m.Address() {
			t.Errorf("%s: the address is not that of its keys", name)
		}
		if sig, err := m.SignPut(id); err == nil {
			if !ed25519.Verify(write[:], label.Transcript(label.Put, id[:]), sig[:]) {
				t.Errorf("%s: put signature", name)
			}
		} else if name != "page 0" && name != "page 1" {
			t.Errorf("%s: %v", name, err)
		}
		sig, err := m.SignGet([32]byte{1}, []byte("peer"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a := m.Address()
		x := slices.Concat([]byte{1}, make([]byte, 31), []byte("peer"), a[:])
		if !ed25519.Verify(read[:], label.Transcript(label.Get, x), sig[:]) {
			t.Errorf("%s: get signature", name)
		}
	}
}

func TestMailboxKeysOfOthers(t *testing.T) {
	n := NetKeyFromBytes([32]byte{1})
	lane, other := MailKeyFromSeed([32]byte{2}), MailKeyFromSeed([32]byte{3})
	m := LaneMailbox(n, lane.Public())
	if _, err := m.SignPut(protocol.EnvelopeID{}); err == nil {
		t.Error("a lane was written without its key")
	}
	if _, err := m.WithWrite(other); err == nil {
		t.Error("another's key became the lane's")
	}
	if _, err := InboxMailbox(n, 1, lane.Public()).SignGet([32]byte{}, nil); err == nil {
		t.Error("the inbox was read without its key")
	}
	w := must[*Mailbox](t)(m.WithWrite(lane))
	if w.Address() != m.Address() {
		t.Error("the owner's mailbox has another address")
	}
	if _, err := m.SignPut(protocol.EnvelopeID{}); err == nil {
		t.Error("WithWrite changed the mailbox that it was called on")
	}
	if n.Recon() == NetKeyFromBytes([32]byte{9}).Recon() {
		t.Error("two net keys have one tag")
	}
}

// Spec 30 section 6: bucket sizes and room.
func TestEnvelopeSizes(t *testing.T) {
	m := CommonMailbox(NetKeyFromBytes([32]byte{1}), 1)
	for n, want := range map[int]int{
		400: protocol.BucketSmall, 1_967: protocol.BucketSmall, 1_968: protocol.BucketMedium,
		16_303: protocol.BucketMedium, 16_304: protocol.BucketLarge, 65_455: protocol.BucketLarge,
	} {
		f := frameOf(n)
		if len(f) != n {
			f = frameOf(n + n - len(f))
		}
		e := must[[]byte](t)(m.Seal(f))
		if len(f) != n || len(e) != want {
			t.Errorf("frame of %d bytes: envelope of %d", len(f), len(e))
		}
		if got := must[[]byte](t)(m.Open(e)); !bytes.Equal(got, f) {
			t.Errorf("frame of %d bytes does not come back", n)
		}
	}
	for name, f := range map[string][]byte{"too large": frameOf(65_456), "no frame": {0xff}, "padded": append(frameOf(400), 0), "empty": nil} {
		if _, err := m.Seal(f); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
}

// Spec 30 section 6: whoever seals a frame again makes the same envelope; another
// frame or another mailbox never shares a nonce.
func TestRewrapIsOneEnvelope(t *testing.T) {
	n := NetKeyFromBytes([32]byte{1})
	frame := frameOf(600)
	ids := map[protocol.EnvelopeID]bool{}
	for range 100 { // other sealers
		ids[protocol.IDOf(must[[]byte](t)(CommonMailbox(n, 7).Seal(frame)))] = true
	}
	m := CommonMailbox(n, 7)
	for range 10_000 {
		ids[protocol.IDOf(must[[]byte](t)(m.Seal(frame)))] = true
	}
	if len(ids) != 1 {
		t.Errorf("one frame in one mailbox gave %d envelopes", len(ids))
	}
	nonces := map[[24]byte]bool{}
	for day := range protocol.Day(50) {
		for size := 400; size < 410; size++ {
			e := must[protocol.Envelope](t)(protocol.ParseEnvelope(must[[]byte](t)(CommonMailbox(n, day).Seal(frameOf(size)))))
			if nonces[e.Nonce] {
				t.Fatal("a nonce comes twice")
			}
			nonces[e.Nonce] = true
		}
	}
}

// reseal makes the envelope that a hostile holder of the key could: any padded
// bytes, any nonce.
func reseal(m *Mailbox, padded []byte, nonce [24]byte) []byte {
	k := label.Derive(m.root[:], label.Envelope)
	a, _ := chacha20poly1305.NewX(k[:])
	e := protocol.Envelope{Version: 1, Mailbox: m.Address(), Nonce: nonce, Ciphertext: a.Seal(nil, nonce[:], padded, m.aad())}
	return e.Marshal()
}

func TestEnvelopeRefusals(t *testing.T) {
	m := CommonMailbox(NetKeyFromBytes([32]byte{1}), 1)
	frame := frameOf(500)
	pad := func(n int, last byte) []byte {
		b := make([]byte, n)
		copy(b, frame)
		b[n-1] = last
		return b
	}
	honest := pad(protocol.RoomSmall, 0)
	good := reseal(m, honest, m.nonce(honest))
	if !bytes.Equal(good, must[[]byte](t)(m.Seal(frame))) {
		t.Fatal("the helper does not seal as Seal does")
	}
	nonZero, larger := pad(protocol.RoomSmall, 1), pad(protocol.RoomMedium, 0)
	wrong := m.nonce(honest)
	wrong[0]++
	for name, e := range map[string][]byte{
		"nonce":     reseal(m, honest, wrong),
		"padding":   reseal(m, nonZero, m.nonce(nonZero)),
		"bucket":    reseal(m, larger, m.nonce(larger)),
		"size":      good[:2_047],
		"no frame":  reseal(m, make([]byte, protocol.RoomSmall), m.nonce(make([]byte, protocol.RoomSmall))),
		"not CBOR":  reseal(m, bytes.Repeat([]byte{0xff}, protocol.RoomSmall), m.nonce(bytes.Repeat([]byte{0xff}, protocol.RoomSmall))),
		"truncated": nil,
	} {
		if _, err := m.Open(e); !errors.Is(err, ErrEnvelope) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := m.Open(bad); !errors.Is(err, ErrEnvelope) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}
