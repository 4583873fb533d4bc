package epoch

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Spec 30 section 14: each case that a second implementation must refuse, by the
// name that the specification gives it.
func TestMustReject(t *testing.T) {
	g := newGroup(t, 12, 100)
	alice, bob := g.people[0], g.people[1]
	parent := Parent{ID: protocol.EpochID{1}, Gen: 4}
	f, h, k := g.issue(t, parent)
	_, other, otherKeys := g.issue(t, parent)
	org, secret := [32]byte{1}, [32]byte{2}
	header := func(change func(*Core, *headerBody)) error {
		_, err := ParseHeader(g.id, g.reissue(t, f, change))
		return err
	}
	open := func(change func(*Core, *headerBody)) error {
		_, err := must[*Header](t)(ParseHeader(g.id, g.reissue(t, f, change))).Open(bob.kem, true)
		return err
	}
	padded := newGroup(t, 3, 101)
	padding := func(spoil func([]box)) error {
		c, d := padded.coreFor(t, org), padded.draft()
		boxes := must[[]box](t)(d.boxes(label.Ref(label.EpochCore, wire.Marshal(c)), secret, &org, 10, dice(1)))
		spoil(boxes)
		h := padded.handMade(t, c, secret, org, boxes)
		return exact(h.Audit(padded.open(t, h, 0), padded.expected()))
	}
	big := newGroup(t, 49, 102)
	issued, bigHeader := big.large(t)
	_, elsewhere := big.large(t)
	pages := func(change func(*page), by *person) error {
		raw := must[Page](t)(ParsePage(issued.Pages[4])).boxes
		raw.Boxes = slices.Clone(raw.Boxes)
		change(&raw)
		got, err := ParsePage(protocol.SignFrame(big.id, protocol.KindPage, by.key, wire.Marshal(raw)))
		if err != nil {
			return err
		}
		return bigHeader.AddPage(got)
	}
	reader := g.open(t, h, 2)
	message := func(s sender, key messageKey, by *person) error {
		plain := protocol.SignOriginal(g.id, k.epoch, alice.key, s.generation, s.guard, text("x"))
		b := wire.Marshal(signedContent{Content: plain.Content, Sig: plain.Sig})
		_, err := reader.Open(g.id, g.forge(t, k, by, s, key, b, nil), g.lookup)
		return err
	}
	chain, _, _ := k.chain(alice.id())
	key0, _ := chain.key(k.tree.expand, 0)
	by := func(p *person, gen uint32) sender { return sender{device: p.id(), generation: gen} }
	foreign, _, err := otherKeys.Seal(g.id, alice.key, text("x"), g.random)
	if err != nil {
		t.Fatal(err)
	}
	malformed, lowOrder := bob.pub, bob.pub
	malformed[0], malformed[1] = 255, 255
	clear(lowOrder[1184:])
	mailbox, away := CommonMailbox(k.Net(), 1), CommonMailbox(k.Net(), 2)
	frame := frameOf(500)
	envelope := func(room int, last byte, nonce byte) error {
		b := padTo(room, frame)
		b[room-1] = last
		n := mailbox.nonce(b)
		n[0] += nonce
		_, err := mailbox.Open(reseal(mailbox, b, n))
		return err
	}
	welcome := must[[]protocol.Frame](t)(SealWelcome(g.id, alice.key, &bob.pub, [32]byte{1}, welcomeOf(0)))
	rebox := must[[]protocol.Frame](t)(SealReBox(g.id, alice.key, bob.id(), &bob.pub, reboxOf(0), dice(1)))
	signer := func(identity.DeviceID, *Welcome) (identity.DevicePublic, bool) { return alice.key.Public(), true }
	giver := func(identity.DeviceID, *ReBox) (identity.DevicePublic, bool) { return alice.key.Public(), true }
	item := must[protocol.Frame](t)(SealInbox(g.id, bob.key, h, ResponseItem{Body: []byte("oui")}))
	stolen := protocol.SignFrame(g.id, protocol.KindInbox, g.people[3].key, item.Body)
	af, author, authorKeys := g.byAuthor(t, h)

	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"wrong gen", secondOf(h.CheckGen(func(protocol.EpochID) (uint32, bool) { return 5, true })), ErrHeader},
		{"gen 0 with a parent", header(func(c *Core, _ *headerBody) { c.Gen = 0 }), ErrHeader},
		{"gen above 0 without parent", header(func(c *Core, _ *headerBody) { c.Parents = nil }), ErrHeader},
		{"unknown version", header(func(c *Core, _ *headerBody) { c.Version = 2 }), ErrHeader},
		{"unknown suite", header(func(c *Core, _ *headerBody) { c.Suite = 2 }), ErrHeader},
		{"box from another epoch", open(moveBoxes(t, other, bob)), ErrConfirm},
		{"wrong conf_tag", open(func(_ *Core, b *headerBody) { b.ConfTag[31]++ }), ErrConfirm},
		{"wrong org_conf_tag", open(func(_ *Core, b *headerBody) { b.OrgTag[31]++ }), ErrOrgSecret},
		{"inbox_pk not from org_secret", padded.lyingInbox(t, func(c *Core) { c.InboxKey = other.Core.InboxKey }), ErrOrgSecret},
		{"inbox_read_pk not from org_secret", padded.lyingInbox(t, func(c *Core) { c.InboxRead[0]++ }), ErrOrgSecret},
		{"padding with another tag", padding(func(b []box) { b[9].Tag[0]++ }), errNotExact},
		{"padding with another ciphertext", padding(func(b []box) { b[9].Ciphertext[0]++ }), errNotExact},

		{"page with a wrong hash", pages(func(p *page) { p.Boxes[3].Ciphertext = make([]byte, boxCiphertext) }, big.people[0]), ErrHeader},
		{"page with a wrong index", pages(func(p *page) { p.Index = 5 }, big.people[0]), ErrHeader},
		{"page index 84", pages(func(p *page) { p.Index = protocol.MaxPages }, big.people[0]), ErrHeader},
		{"page of another device", pages(func(*page) {}, big.people[1]), ErrHeader},
		{"page of another epoch", elsewhere.AddPage(must[Page](t)(ParsePage(issued.Pages[4]))), ErrHeader},
		{"page with 13 boxes", pages(func(p *page) { p.Boxes = append(p.Boxes, p.Boxes[0]) }, big.people[0]), ErrHeader},
		{"page without boxes", pages(func(p *page) { p.Boxes = nil }, big.people[0]), ErrHeader},
		{"page with boxes out of order", pages(func(p *page) { slices.Reverse(p.Boxes) }, big.people[0]), ErrHeader},
		{"page of another kind", secondOf(ParsePage(protocol.Frame{Kind: protocol.KindOp, Body: issued.Pages[4].Body})), ErrHeader},

		{"author's epoch with an organisers' tag", secondOf(ParseHeader(g.id, g.reissue(t, af, func(_ *Core, b *headerBody) { b.OrgTag = [32]byte{1} }))), ErrHeader},
		{"author's epoch with its own inbox", must[*Header](t)(ParseHeader(g.id, g.reissue(t, af, func(c *Core, _ *headerBody) { c.InboxKey = other.Core.InboxKey }))).KeepsInbox(h), ErrAuthor},
		{"author's epoch not exact", exact(author.Audit(authorKeys, g.expected()[1:])), errNotExact},
		{"author's epoch without a device", exact(author.Audit(authorKeys, append(g.expected(), padded.expected()[0]))), errNotExact},

		{"message of another epoch", secondOf(reader.Open(g.id, foreign, g.lookup)), ErrOtherEpoch},
		{"message of another slot", message(by(bob, 0), key0, bob), ErrMessage},
		{"message under another frame device", message(by(alice, 0), key0, bob), ErrMessage},
		{"generation 4096", message(by(alice, MaxGenerations), key0, alice), ErrMessage},
		{"generation replay", replayed(t, g, h), ErrReplay},

		{"malformed ML-KEM key", CheckKEMPublic(&malformed), errKEMPublic},
		{"malformed ML-KEM key of a recipient", secondOf(SealTo(&malformed, label.Box, nil, nil)), errKEMPublic},
		{"all-zero X25519 of a recipient", secondOf(SealTo(&lowOrder, label.Box, nil, nil)), errKEMPublic},
		{"all-zero X25519 in a box", secondOf(bob.kem.OpenFrom(label.Box, nil, zeroX25519(t, &bob.pub))), errUnseal},
		{"ReBox to a malformed key", secondOf(SealReBox(g.id, alice.key, bob.id(), &malformed, reboxOf(0), dice(1))), errKEMPublic},

		{"wrong bucket", envelope(protocol.RoomMedium, 0, 0), ErrEnvelope},
		{"non-zero padding", envelope(protocol.RoomSmall, 1, 0), ErrEnvelope},
		{"wrong nonce", envelope(protocol.RoomSmall, 0, 1), ErrEnvelope},
		{"envelope of another mailbox", secondOf(away.Open(must[[]byte](t)(mailbox.Seal(frame)))), ErrEnvelope},

		{"Welcome of another package", secondOf(OpenWelcome(g.id, welcome, bob.kem, [32]byte{2}, signer)), ErrWelcome},
		{"Welcome of another group", secondOf(OpenWelcome(protocol.GroupID{9}, welcome, bob.kem, [32]byte{1}, signer)), ErrWelcome},
		{"ReBox for another device", secondOf(OpenReBox(g.id, rebox, alice.id(), bob.kem, giver)), ErrReBox},
		{"ReBox to another KEM key", secondOf(OpenReBox(g.id, rebox, bob.id(), alice.kem, giver)), ErrReBox},
		{"ReBox of another group", secondOf(OpenReBox(protocol.GroupID{9}, rebox, bob.id(), bob.kem, giver)), ErrReBox},
		{"inbox item re-signed by another", secondOf(k.OpenInbox(g.id, stolen, g.lookup)), ErrInbox},
		{"inbox item of another epoch", secondOf(otherKeys.OpenInbox(g.id, item, g.lookup)), ErrOtherEpoch},
		{"inbox item of another group", secondOf(k.OpenInbox(protocol.GroupID{9}, item, g.lookup)), ErrInbox},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%v, want %v", c.err, c.want)
			}
		})
	}
	// What the cases spoil is otherwise accepted.
	for name, err := range map[string]error{
		"header": header(func(*Core, *headerBody) {}), "box": open(func(*Core, *headerBody) {}),
		"padding": padding(func([]box) {}), "inbox keys": padded.lyingInbox(t, func(*Core) {}),
		"page": pages(func(*page) {}, big.people[0]), "author": author.KeepsInbox(h), "audit": exact(author.Audit(authorKeys, g.expected())),
		"message": message(by(alice, 0), key0, alice), "envelope": envelope(protocol.RoomSmall, 0, 0),
		"welcome": secondOf(OpenWelcome(g.id, welcome, bob.kem, [32]byte{1}, signer)),
		"rebox":   secondOf(OpenReBox(g.id, rebox, bob.id(), bob.kem, giver)),
		"inbox":   secondOf(k.OpenInbox(g.id, item, g.lookup)),
	} {
		if err != nil {
			t.Errorf("%s, unspoilt: %v", name, err)
		}
	}
}

var errNotExact = errors.New("not exact")

func exact(f Findings, err error) error {
	if err == nil && !f.Exact() {
		err = errNotExact
	}
	return err
}

func secondOf[T any](_ T, err error) error { return err }

// moveBoxes seals every box of the first page under another epoch's hash.
func moveBoxes(t testing.TB, other *Header, to *person) func(*Core, *headerBody) {
	return func(_ *Core, b *headerBody) {
		for i := range b.Pages {
			var body []byte
			var p page
			wire.Unmarshal(b.Pages[i], protocol.MaxRoom, &body)
			wire.Unmarshal(body, protocol.MaxRoom, &p)
			for j := range p.Boxes {
				p.Boxes[j].Ciphertext = must[[]byte](t)(SealTo(&to.pub, label.Box, other.coreHash[:], make([]byte, 64)))
			}
			b.Pages[i] = wire.Marshal(wire.Marshal(p))
		}
	}
}

// lyingInbox opens, as an operator, an epoch whose inbox fields were changed
// before everything else was made from them.
func (g *group) lyingInbox(t testing.TB, lie func(*Core)) error {
	org, secret := [32]byte{1}, [32]byte{2}
	c, d := g.coreFor(t, org), g.draft()
	lie(&c)
	hash := label.Ref(label.EpochCore, wire.Marshal(c))
	h := g.handMade(t, c, secret, org, must[[]box](t)(d.boxes(hash, secret, &org, 10, dice(1))))
	_, err := h.Open(g.people[0].kem, true)
	return err
}

// replayed opens and commits one message, and opens it again.
func replayed(t testing.TB, g *group, h *Header) error {
	a, b := g.open(t, h, 0), g.open(t, h, 1)
	f, _, err := a.Seal(g.id, g.people[0].key, text("x"), g.random)
	if err != nil {
		t.Fatal(err)
	}
	g.read(t, b, f)
	_, err = reload(t, b).Open(g.id, f, g.lookup)
	return err
}

// zeroX25519 is a box whose X25519 share is the point of low order.
func zeroX25519(t testing.TB, pk *protocol.KEMPublic) []byte {
	b := bytes.Clone(must[[]byte](t)(SealTo(pk, label.Box, nil, nil)))
	clear(b[1_088:1_120])
	return b
}
