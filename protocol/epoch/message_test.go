package epoch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

func TestMessagesInAnyOrder(t *testing.T) {
	g := newGroup(t, 3, 30)
	_, h, k := g.issue(t)
	reader := g.open(t, h, 2)
	var frames []protocol.Frame
	for i := range 20 {
		f, o, err := k.Seal(g.id, g.people[i%2].key, text(fmt.Sprint(i)), g.random)
		if err != nil {
			t.Fatal(err)
		}
		if !o.Verify(g.id, g.people[i%2].key.Public()) || !f.Verify(g.id, g.people[i%2].key.Public()) {
			t.Fatal("a signature does not hold")
		}
		frames = append(frames, f)
	}
	for _, i := range []int{7, 3, 19, 0, 18, 1, 2, 4, 5, 6, 8, 17, 16, 9, 10, 11, 15, 12, 14, 13} {
		if got := g.read(t, reader, frames[i]); got != fmt.Sprint(i) {
			t.Fatalf("message %d reads %q", i, got)
		}
		if _, err := reader.Open(g.id, frames[i], g.lookup); !errors.Is(err, ErrReplay) {
			t.Fatalf("message %d twice: %v", i, err)
		}
	}
	if _, err := k.Open(g.id, frames[0], g.lookup); !errors.Is(err, ErrReplay) {
		t.Errorf("own message: %v", err)
	}
}

// Spec 30 section 5: newest first, all are readable.
func TestNewestFirstBurst(t *testing.T) {
	g := newGroup(t, 2, 31)
	_, h, k := g.issue(t)
	reader := g.open(t, h, 1)
	var frames []protocol.Frame
	for i := range 1_000 {
		f, _, err := k.Seal(g.id, g.people[0].key, text(fmt.Sprint(i)), g.random)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	for i, f := range slices.Backward(frames) {
		if got := g.read(t, reader, f); got != fmt.Sprint(i) {
			t.Fatalf("message %d reads %q", i, got)
		}
		if i == 500 {
			reader = reload(t, reader)
		}
	}
	if c := reader.chains[g.people[0].id()]; len(c.skipped) != 0 || c.next != 1_000 {
		t.Errorf("%d keys left", len(c.skipped))
	}
}

// Spec 30 section 5: no (key, nonce) pair twice, over all devices and generations.
func TestNoKeyTwice(t *testing.T) {
	g := newGroup(t, 3, 32)
	_, _, k := g.issue(t)
	seen := map[messageKey]bool{}
	for _, p := range g.people {
		c, _, err := k.chain(p.id())
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint32(MaxGenerations) {
			key, err := c.key(k.tree.expand, i)
			if err != nil || seen[key] {
				t.Fatalf("generation %d: a key comes twice (%v)", i, err)
			}
			seen[key] = true
			if err := c.use(k.tree.expand, i); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestChainEnds(t *testing.T) {
	g := newGroup(t, 2, 33)
	_, h, k := g.issue(t)
	reader := g.open(t, h, 1)
	d := g.people[0].id()
	if err := k.use(d, MaxGenerations-2); err != nil {
		t.Fatal(err)
	}
	last, _, err := k.Seal(g.id, g.people[0].key, text("last"), g.random)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Seal(g.id, g.people[0].key, text("more"), g.random); !errors.Is(err, ErrExhausted) {
		t.Fatalf("after the last generation: %v", err)
	}
	if k.Sent(d) != MaxGenerations || k.chains[d].secret != [32]byte{} {
		t.Error("the chain is not at its end")
	}
	if got := g.read(t, reader, last); got != "last" {
		t.Error(got)
	}
	r, _ := reader.MarshalChain(d)
	if n := len(reader.chains[d].skipped); n != MaxGenerations-1 || len(r) > MaxChainRecord {
		t.Errorf("%d keys kept in %d bytes", n, len(r))
	}
	reload(t, reader)
	for _, g := range []uint32{MaxGenerations, 1<<32 - 1} {
		if err := reader.use(d, g); !errors.Is(err, ErrMessage) {
			t.Errorf("generation %d: %v", g, err)
		}
	}
}

// forge makes a message as a member could who holds all epoch secrets.
func (g *group) forge(t testing.TB, k *Keys, by *person, s sender, key messageKey, plain []byte, change func(*messageBody)) protocol.Frame {
	t.Helper()
	body := messageBody{Version: 1, Epoch: k.epoch, Ciphertext: aead(key.key).Seal(nil, key.guarded(s.guard), plain, k.aad(g.id))}
	sdKey, sdNonce := senderDataKey(k.tree.expand, k.senderData, body.Ciphertext)
	aead(sdKey).Seal(body.Sender[:0], sdNonce[:], s.encode(), k.aad(g.id))
	if change != nil {
		change(&body)
	}
	return protocol.SignFrame(g.id, protocol.KindMessage, by.key, wire.Marshal(body))
}

// Spec 30 section 5: what is refused, with what outcome, and that it burns no key.
func TestMessageRefusals(t *testing.T) {
	g := newGroup(t, 3, 34)
	_, h, k := g.issue(t)
	_, _, otherEpoch := g.issue(t)
	alice, bob := g.people[0], g.people[1]
	reader := g.open(t, h, 2)
	chain, _, _ := k.chain(alice.id())
	key, _ := chain.key(k.tree.expand, 0)
	good := sender{device: alice.id(), guard: [4]byte{1, 2, 3, 4}}
	signed := func(by *person, e protocol.EpochID, gen uint32, c protocol.Content) []byte {
		o := protocol.SignOriginal(g.id, e, by.key, gen, good.guard, c)
		return wire.Marshal(signedContent{Content: o.Content, Sig: o.Sig})
	}
	plain := signed(alice, k.epoch, 0, text("x"))
	bad := text("x")
	bad.DevSeq = 0
	real := g.forge(t, k, alice, good, key, plain, nil)
	wrongKind := real
	wrongKind.Kind = protocol.KindOp
	unsigned := real
	unsigned.Sig[0]++
	foreign, _, _ := otherEpoch.Seal(g.id, alice.key, text("x"), g.random)
	at := func(gen uint32) sender { s := good; s.generation = gen; return s }
	otherGroup := &group{id: protocol.GroupID{99}, people: g.people}
	cases := map[string]struct {
		f    protocol.Frame
		want error
	}{
		"kind":                    {wrongKind, ErrMessage},
		"frame signature":         {unsigned, ErrMessage},
		"epoch":                   {foreign, ErrOtherEpoch},
		"group":                   {otherGroup.forge(t, k, alice, good, key, plain, nil), ErrMessage},
		"version":                 {g.forge(t, k, alice, good, key, plain, func(b *messageBody) { b.Version = 2 }), ErrMessage},
		"ciphertext":              {g.forge(t, k, alice, good, key, plain, func(b *messageBody) { b.Ciphertext[40]++ }), ErrMessage},
		"sample":                  {g.forge(t, k, alice, good, key, plain, func(b *messageBody) { b.Ciphertext[0]++ }), ErrMessage},
		"short":                   {g.forge(t, k, alice, good, key, plain, func(b *messageBody) { b.Ciphertext = b.Ciphertext[:31] }), ErrMessage},
		"sender data":             {g.forge(t, k, alice, good, key, plain, func(b *messageBody) { b.Sender[0]++ }), ErrMessage},
		"frame of another device": {g.forge(t, k, bob, good, key, plain, nil), ErrMessage},
		"sender of another slot":  {g.forge(t, k, bob, sender{device: bob.id(), guard: good.guard}, key, plain, nil), ErrMessage},
		"generation 4096":         {g.forge(t, k, alice, at(MaxGenerations), key, plain, nil), ErrMessage},
		"generation 2^32-1":       {g.forge(t, k, alice, at(1<<32-1), key, plain, nil), ErrMessage},
		"another generation":      {g.forge(t, k, alice, at(1), key, plain, nil), ErrMessage},
		"content of bob":          {g.forge(t, k, alice, good, key, signed(bob, k.epoch, 0, text("x")), nil), ErrMessage},
		"content of an epoch":     {g.forge(t, k, alice, good, key, signed(alice, otherEpoch.epoch, 0, text("x")), nil), ErrMessage},
		"content of a generation": {g.forge(t, k, alice, good, key, signed(alice, k.epoch, 1, text("x")), nil), ErrMessage},
		"content malformed":       {g.forge(t, k, alice, good, key, signed(alice, k.epoch, 0, bad), nil), ErrMessage},
		"trailing byte":           {g.forge(t, k, alice, good, key, append(slices.Clone(plain), 0), nil), ErrMessage},
	}
	before := reader.MarshalBase()
	for name, c := range cases {
		if _, err := reader.Open(g.id, c.f, g.lookup); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	nobody := func(identity.DeviceID) (identity.DevicePublic, bool) { return identity.DevicePublic{}, false }
	if _, err := reader.Open(g.id, real, nobody); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("unknown device: %v", err)
	}
	b := real.Marshal()
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 1 << (i % 8)
		if f, err := protocol.ParseFrame(flipped); err == nil {
			if _, err := reader.Open(g.id, f, g.lookup); err == nil {
				t.Fatalf("byte %d changed and the message opens", i)
			}
		}
	}
	for n := range real.Body {
		cut := protocol.SignFrame(g.id, protocol.KindMessage, alice.key, real.Body[:n])
		if _, err := reader.Open(g.id, cut, g.lookup); !errors.Is(err, ErrMessage) {
			t.Fatalf("body cut to %d: %v", n, err)
		}
	}
	first := must[*Opened](t)(reader.Open(g.id, real, g.lookup))
	if reader.HasChain(alice.id()) || !bytes.Equal(before, reader.MarshalBase()) {
		t.Fatal("bad input or an opening without commit changed the keys")
	}
	second := must[*Opened](t)(reader.Open(g.id, real, g.lookup))
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(); !errors.Is(err, ErrReplay) {
		t.Errorf("one message committed twice: %v", err)
	}
}

// A device whose slot another device used up cannot send.
func TestSlotOfAnotherDevice(t *testing.T) {
	g := newGroup(t, 2, 35)
	_, h, k := g.issue(t)
	reader := g.open(t, h, 1)
	f, _, _ := k.Seal(g.id, g.people[0].key, text("x"), g.random)
	for _, x := range []*Keys{reader, k} {
		if x == k {
			x = g.open(t, h, 0)
		}
		x.tree.puncture(slotOf(x.epoch, g.people[0].id()))
		if _, _, err := x.Seal(g.id, g.people[0].key, text("x"), g.random); !errors.Is(err, ErrSlot) {
			t.Errorf("sending: %v", err)
		}
		if _, err := x.Open(g.id, f, g.lookup); !errors.Is(err, ErrSlot) {
			t.Errorf("reading: %v", err)
		}
	}
}

// Spec 30 section 5: 378 bytes beside the payload with two heads.
func TestMessageSizes(t *testing.T) {
	g := newGroup(t, 1, 36)
	_, _, k := g.issue(t)
	for _, c := range []struct{ heads, payload, room int }{
		{2, 1_589, protocol.RoomSmall}, {16, 1_113, protocol.RoomSmall},
		{2, 15_925, protocol.RoomMedium}, {2, 65_077, protocol.RoomLarge},
	} {
		m := text(strings.Repeat("x", c.payload))
		m.GovHeads = many[protocol.OpID](byte(c.heads))
		f, o, err := k.Seal(g.id, g.people[0].key, m, g.random)
		if err != nil {
			t.Fatal(err)
		}
		n := len(f.Marshal())
		t.Logf("%d heads, payload %d: frame %d of %d", c.heads, c.payload, n, c.room)
		if n != messageSize(len(o.Content)) || n > c.room || n < c.room-32 {
			t.Errorf("%d heads, payload %d: %d bytes, computed %d", c.heads, c.payload, n, messageSize(len(o.Content)))
		}
	}
	before, _ := k.MarshalChain(g.people[0].id())
	for name, m := range map[string]protocol.Content{"large": text(strings.Repeat("x", 65_200)), "malformed": {}} {
		if _, _, err := k.Seal(g.id, g.people[0].key, m, g.random); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	if _, _, err := k.Seal(g.id, g.people[0].key, text("x"), bytes.NewReader(nil)); err == nil {
		t.Error("sealed without random")
	}
	if after, _ := k.MarshalChain(g.people[0].id()); !bytes.Equal(before, after) {
		t.Error("a refused message changed the chain")
	}
}

// Spec 30 section 11: a removed device with all that it saved opens nothing of an
// epoch that covers its removal, and still what came before.
func TestRemovedDeviceOpensNothingLater(t *testing.T) {
	g := newGroup(t, 5, 37)
	_, h1, k1 := g.issue(t)
	removed := g.people[4]
	saved := reload(t, g.open(t, h1, 4))
	early, _, _ := k1.Seal(g.id, g.people[0].key, text("early"), g.random)

	rest := &group{id: g.id, people: g.people[:4], random: g.random}
	f2, h2, k2 := rest.issue(t, Parent{ID: h1.ID()})
	late, _, _ := k2.Seal(g.id, g.people[0].key, text("late"), g.random)
	envelope := must[[]byte](t)(CommonMailbox(k2.Net(), 3).Seal(late.Marshal()))

	if _, err := h2.Open(removed.kem, false); !errors.Is(err, ErrNoBox) {
		t.Errorf("the removed device's box: %v", err)
	}
	for _, p := range h2.pages {
		for _, b := range p.Boxes {
			if _, err := removed.kem.OpenFrom("box", h2.coreHash[:], b.Ciphertext); err == nil {
				t.Error("a box opened")
			}
		}
	}
	if _, err := saved.Open(g.id, late, g.lookup); !errors.Is(err, ErrOtherEpoch) {
		t.Errorf("old keys on a later message: %v", err)
	}
	saved.epoch = h2.ID() // pretends
	if _, err := saved.Open(g.id, late, g.lookup); !errors.Is(err, ErrMessage) {
		t.Errorf("old keys under the new name: %v", err)
	}
	if h2.Confirm(saved) == nil {
		t.Error("old keys confirm the new epoch")
	}
	saved.epoch = h1.ID()
	if _, err := CommonMailbox(saved.Net(), 3).Open(envelope); !errors.Is(err, ErrEnvelope) {
		t.Errorf("old mailbox: %v", err)
	}
	if got := g.read(t, saved, early); got != "early" {
		t.Errorf("early reads %q", got)
	}
	if !f2.Verify(g.id, g.people[0].key.Public()) {
		t.Error("header")
	}
}
