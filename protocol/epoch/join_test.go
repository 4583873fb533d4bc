package epoch

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

var (
	testGroup  = protocol.GroupID{1}
	testInvite = protocol.InviteID{2}
)

func TestCard(t *testing.T) {
	key, join := MailKeyFromSeed([32]byte{1}), KEMPrivateFromSeed([32]byte{2})
	c := Card{JoinKey: join.Public(), Addresses: []string{"/ip4/192.0.2.1/udp/4001/quic-v1", "/dns/example.org/tcp/443"}}
	f := must[protocol.Frame](t)(SealCard(testGroup, key, c))
	again := must[protocol.Frame](t)(protocol.ParseFrame(f.Marshal()))
	got := must[Card](t)(ParseCard(testGroup, again, key.Public()))
	if got.JoinKey != c.JoinKey || !slices.Equal(got.Addresses, c.Addresses) || f.Device != (identity.DeviceID{}) {
		t.Error("the card does not come back")
	}
	if n := len(f.Marshal()); n > 1_967 {
		t.Errorf("card of %d bytes", n)
	}
	if _, err := ParseCard(protocol.GroupID{9}, f, key.Public()); !errors.Is(err, ErrCard) {
		t.Errorf("card of another group: %v", err)
	}
	if _, err := ParseCard(testGroup, f, MailKeyFromSeed([32]byte{9}).Public()); !errors.Is(err, ErrCard) {
		t.Errorf("card of another link: %v", err)
	}
	b := f.Marshal()
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if f, err := protocol.ParseFrame(bad); err == nil {
			if _, err := ParseCard(testGroup, f, key.Public()); !errors.Is(err, ErrCard) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
	}
	for name, spoil := range map[string]func(*Card){
		"five addresses": func(c *Card) { c.Addresses = []string{"a", "b", "c", "d", "e"} },
		"empty address":  func(c *Card) { c.Addresses = []string{""} },
		"long address":   func(c *Card) { c.Addresses = []string{strings.Repeat("a", 129)} },
		"join key":       func(c *Card) { c.JoinKey[0], c.JoinKey[1] = 255, 255 },
	} {
		bad := c
		spoil(&bad)
		if _, err := SealCard(testGroup, key, bad); !errors.Is(err, ErrCard) {
			t.Errorf("%s: sealed, %v", name, err)
		}
		bad.Version = 1
		if _, err := ParseCard(testGroup, signCard(key, wire.Marshal(bad)), key.Public()); !errors.Is(err, ErrCard) {
			t.Errorf("%s: parsed, %v", name, err)
		}
	}
	c.Version = 2
	for name, body := range map[string][]byte{"version": wire.Marshal(c), "trailing": append(slices.Clone(f.Body), 0), "cut": f.Body[:700]} {
		if _, err := ParseCard(testGroup, signCard(key, body), key.Public()); !errors.Is(err, ErrCard) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func signCard(key MailKey, body []byte) protocol.Frame {
	f := protocol.Frame{Kind: protocol.KindCard, Body: body}
	f.Sig = key.sign(label.Card, anonymousTranscript(testGroup, f))
	return f
}

// keyPackage stands for the frame that package group makes, of its usual size.
func keyPackage() []byte {
	d := identity.DeviceKeyFromSeed([32]byte{3})
	return protocol.SignFrame(testGroup, protocol.KindKeyPackage, d, bytes.Repeat([]byte{7}, 1_530)).Marshal()
}

func TestJoinRequest(t *testing.T) {
	join, r := KEMPrivateFromSeed([32]byte{2}), RendezvousOf([16]byte{5}, testInvite)
	pk := join.Public()
	q := JoinRequest{KeyPackage: keyPackage(), Name: "Awa", Rescue: RescueSeedFromBytes([32]byte{6})}
	f := must[protocol.Frame](t)(SealRequest(testGroup, testInvite, &pk, r, q))
	f = must[protocol.Frame](t)(protocol.ParseFrame(f.Marshal()))
	got := must[JoinRequest](t)(OpenRequest(testGroup, testInvite, join, r, f))
	if !bytes.Equal(got.KeyPackage, q.KeyPackage) || got.Name != q.Name || got.Rescue.Seed() != q.Rescue.Seed() {
		t.Error("the request does not come back")
	}
	t.Logf("request of %d bytes", len(f.Marshal()))
	if n := len(f.Marshal()); n < 2_800 || n > 3_200 {
		t.Errorf("request of %d bytes", n)
	}
	otherInvite := protocol.InviteID{9}
	open := func(g protocol.GroupID, i protocol.InviteID, k KEMPrivate, r Rendezvous) error {
		_, err := OpenRequest(g, i, k, r, f)
		return err
	}
	for name, err := range map[string]error{
		"group":  open(protocol.GroupID{9}, testInvite, join, r),
		"invite": open(testGroup, otherInvite, join, r),
		"key":    open(testGroup, testInvite, KEMPrivateFromSeed([32]byte{9}), r),
		"secret": open(testGroup, testInvite, join, RendezvousOf([16]byte{9}, testInvite)),
	} {
		if !errors.Is(err, ErrRequest) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	b := f.Marshal()
	for i := range b {
		if i%5 != 0 && i > 60 { // HPKE makes each step dear
			continue
		}
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if f, err := protocol.ParseFrame(bad); err == nil {
			if _, err := OpenRequest(testGroup, testInvite, join, r, f); !errors.Is(err, ErrRequest) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
	}
	for n := 0; n < len(f.Body); n += 97 {
		cut := f
		cut.Body = f.Body[:n]
		if _, err := OpenRequest(testGroup, testInvite, join, r, cut); !errors.Is(err, ErrRequest) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
	for name, spoil := range map[string]func(*JoinRequest){
		"no name":             func(q *JoinRequest) { q.Name = "" },
		"long name":           func(q *JoinRequest) { q.Name = strings.Repeat("a", 129) },
		"no key package":      func(q *JoinRequest) { q.KeyPackage = nil },
		"other frame":         func(q *JoinRequest) { q.KeyPackage = f.Marshal() },
		"padded key package":  func(q *JoinRequest) { q.KeyPackage = append(q.KeyPackage, 0) },
		"spoiled key package": func(q *JoinRequest) { q.KeyPackage = q.KeyPackage[1:] },
	} {
		bad := q
		bad.KeyPackage = slices.Clone(q.KeyPackage)
		spoil(&bad)
		if _, err := SealRequest(testGroup, testInvite, &pk, r, bad); err == nil {
			t.Errorf("%s: sealed", name)
		}
		plain := wire.Marshal(requestPlain{KeyPackage: bad.KeyPackage, Name: bad.Name, Proof: proof(r, [32]byte{})})
		sealed := must[[]byte](t)(SealTo(&pk, label.JoinBox, slices.Concat(testGroup[:], testInvite[:]), plain))
		forged := protocol.Frame{Kind: protocol.KindJoinRequest, Body: wire.Marshal(requestBody{Version: 1, Sealed: sealed})}
		if _, err := OpenRequest(testGroup, testInvite, join, r, forged); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: opened, %v", name, err)
		}
	}
}

func welcomeOf(size int) Welcome {
	w := Welcome{Genesis: []byte{1}, Batches: []protocol.ItemID{{1}, {2}}, Added: protocol.OpID{3}, History: 1,
		Ops: [][]byte{{4}, {5, 6}}, Epochs: []WelcomeEpoch{{Header: []byte{7}, Keys: []byte{8}}},
		KeyFrames: [][]byte{{9}}, Originals: [][]byte{{10}},
		Chains: []WelcomeChain{{Device: identity.DeviceID{1}, Seq: 4}, {Device: identity.DeviceID{2}, Seq: 1}}}
	for i := 0; size > 0; i++ {
		n := min(size, 60_000)
		w.Ops = append(w.Ops, bytes.Repeat([]byte{byte(i)}, n))
		size -= n
	}
	return w
}

func TestWelcomeWholeAndInChunks(t *testing.T) {
	key, hash := KEMPrivateFromSeed([32]byte{1}), [32]byte{2}
	pk, d := key.Public(), identity.DeviceKeyFromSeed([32]byte{3})
	signer := func(id identity.DeviceID, w *Welcome) (identity.DevicePublic, bool) {
		return d.Public(), id == d.Public().ID() && w.Added == protocol.OpID{3}
	}
	for size, want := range map[int]int{0: 1, 60_000: 1, 70_000: 3, 600_000: 11} {
		w := welcomeOf(size)
		frames := must[[]protocol.Frame](t)(SealWelcome(testGroup, d, &pk, hash, w))
		if len(frames) != want {
			t.Errorf("%d bytes: %d frames", size, len(frames))
		}
		for _, f := range frames {
			if n := len(f.Marshal()); n > protocol.RoomLarge {
				t.Errorf("a frame of %d bytes", n)
			}
		}
		if n := must[int](t)(WelcomeChunks(frames[0])); n != len(frames)-1 {
			t.Errorf("the first frame names %d chunks", n)
		}
		slices.Reverse(frames)
		got := must[*Welcome](t)(OpenWelcome(testGroup, frames, key, hash, signer))
		if !bytes.Equal(got.marshal(), w.marshal()) {
			t.Errorf("%d bytes do not come back", size)
		}
	}
	if _, err := SealWelcome(testGroup, d, &pk, hash, welcomeOf(MaxWelcome)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestWelcomeRefusals(t *testing.T) {
	key, hash := KEMPrivateFromSeed([32]byte{1}), [32]byte{2}
	pk, d := key.Public(), identity.DeviceKeyFromSeed([32]byte{3})
	other := identity.DeviceKeyFromSeed([32]byte{4})
	any := func(identity.DeviceID, *Welcome) (identity.DevicePublic, bool) { return d.Public(), true }
	none := func(identity.DeviceID, *Welcome) (identity.DevicePublic, bool) { return d.Public(), false }
	seal := func(w Welcome) []protocol.Frame {
		return must[[]protocol.Frame](t)(SealWelcome(testGroup, d, &pk, hash, w))
	}
	open := func(f []protocol.Frame) error {
		_, err := OpenWelcome(testGroup, f, key, hash, any)
		return err
	}
	big, second := seal(welcomeOf(200_000)), seal(welcomeOf(200_000))
	if err := open(big); err != nil {
		t.Fatal(err)
	}
	replace := func(i int, f protocol.Frame) []protocol.Frame {
		out := slices.Clone(big)
		out[i] = f
		return out
	}
	resigned := func(f protocol.Frame, change func(*chunkBody)) protocol.Frame {
		var b chunkBody
		if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &b); err != nil {
			t.Fatal(err)
		}
		change(&b)
		return protocol.SignFrame(testGroup, protocol.KindChunk, d, wire.Marshal(b))
	}
	unsigned := big[2]
	unsigned.Sig[0]++
	manifest := func(b welcomeBody) protocol.Frame {
		return protocol.SignFrame(testGroup, protocol.KindWelcome, d, wire.Marshal(b))
	}
	for name, err := range map[string]error{
		"nothing":              open(nil),
		"chunk missing":        open(big[:len(big)-1]),
		"no welcome frame":     open(big[1:]),
		"chunk of another":     open(replace(2, second[2])),
		"chunk twice":          open(replace(2, big[1])),
		"two welcome frames":   open(replace(2, big[0])),
		"chunk index":          open(replace(2, resigned(big[2], func(b *chunkBody) { b.Index = 200 }))),
		"chunk bytes":          open(replace(2, resigned(big[2], func(b *chunkBody) { b.Bytes[0]++ }))),
		"chunk short":          open(replace(2, resigned(big[2], func(b *chunkBody) { b.Bytes = b.Bytes[1:] }))),
		"chunk of a device":    open(replace(2, protocol.SignFrame(testGroup, protocol.KindChunk, other, big[2].Body))),
		"chunk not signed":     open(replace(2, unsigned)),
		"too many frames":      open(slices.Repeat(big[:1], 66)),
		"version":              open([]protocol.Frame{manifest(welcomeBody{Version: 2, Sealed: []byte{1}})}),
		"empty":                open([]protocol.Frame{manifest(welcomeBody{Version: 1})}),
		"both forms":           open([]protocol.Frame{manifest(welcomeBody{Version: 1, Sealed: []byte{1}, Chunks: make([][32]byte, 2)})}),
		"one chunk":            open([]protocol.Frame{manifest(welcomeBody{Version: 1, Chunks: make([][32]byte, 1)})}),
		"65 chunks":            open([]protocol.Frame{manifest(welcomeBody{Version: 1, Chunks: make([][32]byte, 65)})}),
		"not to be opened":     open([]protocol.Frame{manifest(welcomeBody{Version: 1, Sealed: make([]byte, 2_000)})}),
		"signed by who mayn't": func() error { _, err := OpenWelcome(testGroup, big, key, hash, none); return err }(),
		"other key package":    func() error { _, err := OpenWelcome(testGroup, big, key, [32]byte{9}, any); return err }(),
		"other key": func() error {
			_, err := OpenWelcome(testGroup, big, KEMPrivateFromSeed([32]byte{9}), hash, any)
			return err
		}(),
		"other group": func() error { _, err := OpenWelcome(protocol.GroupID{9}, big, key, hash, any); return err }(),
	} {
		if !errors.Is(err, ErrWelcome) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Refused before anything is opened.
	for name, frames := range map[string][]protocol.Frame{
		"bytes":    replace(2, resigned(big[2], func(b *chunkBody) { b.Bytes[0]++ })),
		"manifest": replace(2, resigned(big[2], func(b *chunkBody) { b.Manifest[0]++ })),
		"device":   replace(2, protocol.SignFrame(testGroup, protocol.KindChunk, other, big[2].Body)),
	} {
		if _, _, err := welcomeParcel.assemble(testGroup, frames); !errors.Is(err, ErrWelcome) {
			t.Errorf("chunk with another %s was assembled", name)
		}
	}
	for name, spoil := range map[string]func(*Welcome){
		"no genesis":       func(w *Welcome) { w.Genesis = nil },
		"no epoch":         func(w *Welcome) { w.Epochs = nil },
		"17 epochs":        func(w *Welcome) { w.Epochs = slices.Repeat(w.Epochs, 17) },
		"epoch empty":      func(w *Welcome) { w.Epochs[0].Keys = nil },
		"batches unsorted": func(w *Welcome) { slices.Reverse(w.Batches) },
		"65 batches":       func(w *Welcome) { w.Batches = many[protocol.ItemID](65) },
		"chains unsorted":  func(w *Welcome) { slices.Reverse(w.Chains) },
		"chain twice":      func(w *Welcome) { w.Chains[1].Device = w.Chains[0].Device },
		"chain at 0":       func(w *Welcome) { w.Chains[0].Seq = 0 },
		"op empty":         func(w *Welcome) { w.Ops = [][]byte{{}} },
		"op over Max":      func(w *Welcome) { w.Ops = [][]byte{make([]byte, protocol.MaxRoom+1)} },
	} {
		w := welcomeOf(0)
		spoil(&w)
		if _, err := parseWelcome(w.marshal()); !errors.Is(err, ErrWelcome) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := SealWelcome(testGroup, d, &pk, hash, w); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	plain := seal(welcomeOf(0))[0]
	for i := 0; i < len(plain.Body); i += 11 {
		bad := protocol.SignFrame(testGroup, protocol.KindWelcome, d, slices.Clone(plain.Body))
		bad.Body[i] ^= 1
		if err := open([]protocol.Frame{bad}); !errors.Is(err, ErrWelcome) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		cut := protocol.SignFrame(testGroup, protocol.KindWelcome, d, plain.Body[:i])
		if err := open([]protocol.Frame{cut}); !errors.Is(err, ErrWelcome) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
}
