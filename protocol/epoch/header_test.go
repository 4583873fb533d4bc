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

// Spec 30 sections 2 and 3: everyone boxed gets one secret, operators the organisers'.
func TestEveryRecipientOpensOneSecret(t *testing.T) {
	g := newGroup(t, 10, 1)
	f, h, mine := g.issue(t)
	if !f.Verify(g.id, g.people[0].key.Public()) {
		t.Fatal("the header is not signed")
	}
	for i := range g.people {
		k := g.open(t, h, i)
		if k.net.Seed() != mine.net.Seed() || k.senderData != mine.senderData || k.pad != mine.pad || k.confirm != mine.confirm {
			t.Errorf("device %d holds other keys", i)
		}
		if k.Organiser() != (i < 2) {
			t.Errorf("device %d: organisers' secret held is %v", i, k.Organiser())
		}
		if err := h.Confirm(k); err != nil {
			t.Error(err)
		}
	}
	inbox, reader, ok := g.open(t, h, 1).Inbox()
	if !ok || inbox.Public() != h.Core.InboxKey || reader.Public() != h.Core.InboxRead {
		t.Error("the inbox keys are not those of the header")
	}
	if _, err := h.Open(g.people[2].kem, true); !errors.Is(err, ErrOrgSecret) {
		t.Errorf("a reader opened as an operator: %v", err)
	}
	stranger := KEMPrivateFromSeed([32]byte{1})
	if _, err := h.Open(stranger, false); !errors.Is(err, ErrNoBox) {
		t.Errorf("a stranger: %v", err)
	}
}

// Spec 30 section 2: the sizes of the table.
func TestHeaderSizes(t *testing.T) {
	for _, c := range []struct{ devices, boxes, min, max, room int }{
		{1, 10, 13_800, 14_300, protocol.RoomMedium},
		{10, 10, 13_800, 14_300, protocol.RoomMedium},
		{11, 48, 60_000, 62_000, protocol.RoomLarge},
		{48, 48, 60_000, 62_000, protocol.RoomLarge},
	} {
		f, h, _ := newGroup(t, c.devices, 2).issue(t)
		n := len(f.Marshal())
		t.Logf("%d devices: %d boxes, %d bytes", c.devices, h.Core.Boxes, n)
		if int(h.Core.Boxes) != c.boxes || n < c.min || n > c.max || protocol.RoomFor(n) != c.room {
			t.Errorf("%d devices: %d boxes, %d bytes", c.devices, h.Core.Boxes, n)
		}
	}
	full := newGroup(t, 48, 2).draft()
	for i := range byte(64) {
		full.Lanes = append(full.Lanes[:i], protocol.LanePublic{i + 1})
	}
	for i := range byte(16) {
		full.GovHeads = append(full.GovHeads[:i], protocol.OpID{i})
		full.Heals = append(full.Heals, protocol.ItemID{i})
	}
	for i := range byte(8) {
		full.Parents = append(full.Parents, Parent{ID: protocol.EpochID{i}, Gen: 3})
	}
	f, _, err := Issue(full, dice(1))
	if err != nil || len(f.Marshal()) > protocol.RoomLarge {
		t.Errorf("all lists full: %d bytes, %v", len(f.Marshal()), err)
	}
	if n := len(wire.Marshal(padBox([32]byte{}, 0))); n != 1_213 {
		t.Errorf("a box has %d bytes", n)
	}
	page := wire.Marshal(page{Index: 83, Boxes: slices.Repeat([]box{padBox([32]byte{}, 0)}, 12)})
	if n := len(protocol.SignFrame(protocol.GroupID{}, protocol.KindPage, identity.DeviceKeyFromSeed([32]byte{1}), page).Marshal()); n != 14_682 {
		t.Errorf("a page frame has %d bytes", n)
	}
	if _, _, err := Issue(newGroup(t, 49, 3).draft(), dice(1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("49 devices without pages: %v", err)
	}
}

// Spec 30 section 2: who and how many is hidden in the number of boxes.
func TestPaddedBoxes(t *testing.T) {
	for n, want := range map[int]int{1: 10, 10: 10, 11: 48, 48: 48, 49: 96, 100: 144, 500: 528, 1000: 1008} {
		if got := paddedBoxes(n); got != want || !validBoxes(got) {
			t.Errorf("%d devices give %d boxes, want %d", n, got, want)
		}
	}
}

func TestIssueRefusals(t *testing.T) {
	g := newGroup(t, 3, 4)
	for name, spoil := range map[string]func(*Draft){
		"no recipient":       func(d *Draft) { d.Recipients = nil },
		"device twice":       func(d *Draft) { d.Recipients[1].Device = d.Recipients[0].Device },
		"key twice":          func(d *Draft) { d.Recipients[1].Key = d.Recipients[0].Key },
		"sequence zero":      func(d *Draft) { d.Seq = 0 },
		"too many parents":   func(d *Draft) { d.Parents = manyParents(9) },
		"generation at end":  func(d *Draft) { d.Parents = []Parent{{Gen: 1<<32 - 1}} },
		"malformed ML-KEM":   func(d *Draft) { bad := *d.Recipients[1].Key; bad[0], bad[1] = 255, 255; d.Recipients[1].Key = &bad },
		"all-zero X25519":    func(d *Draft) { bad := *d.Recipients[1].Key; clear(bad[1184:]); d.Recipients[1].Key = &bad },
		"too many gov heads": func(d *Draft) { d.GovHeads = manyOps(17) },
	} {
		d := g.draft()
		spoil(&d)
		if _, _, err := Issue(d, dice(1)); err == nil {
			t.Errorf("%s: an epoch was issued", name)
		}
	}
	if _, _, err := Issue(g.draft(), bytes.NewReader(make([]byte, 100))); err == nil {
		t.Error("random ran out and an epoch was issued")
	}
}

func manyParents(n byte) (out []Parent) {
	for i := range n {
		out = append(out, Parent{ID: protocol.EpochID{i}})
	}
	return out
}

func manyOps(n byte) (out []protocol.OpID) {
	for i := range n {
		out = append(out, protocol.OpID{i})
	}
	return out
}

// reissue changes core, pages or tags of a header and signs it again, as a
// hostile issuer would.
func (g *group) reissue(t testing.TB, f protocol.Frame, change func(c *Core, b *headerBody)) protocol.Frame {
	t.Helper()
	var b headerBody
	var c Core
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &b); err != nil {
		t.Fatal(err)
	}
	if err := wire.Unmarshal(b.Core, maxCore, &c); err != nil {
		t.Fatal(err)
	}
	before := b.Core
	change(&c, &b)
	if bytes.Equal(before, b.Core) {
		b.Core = wire.Marshal(c)
	}
	// The pages name the core, so that a changed core needs changed pages.
	if c.Inline() {
		for i := range b.Pages {
			var body []byte
			var p page
			if wire.Unmarshal(b.Pages[i], protocol.MaxRoom, &body) == nil && wire.Unmarshal(body, protocol.MaxRoom, &p) == nil {
				p.Core = label.Ref(label.EpochCore, b.Core)
				b.Pages[i] = wire.Marshal(wire.Marshal(p))
			}
		}
	}
	return protocol.SignFrame(g.id, protocol.KindEpoch, g.people[0].key, wire.Marshal(b))
}

// Spec 30 section 2: what a header must be to be read at all.
func TestHeaderRefusals(t *testing.T) {
	g := newGroup(t, 12, 5)
	f, _, _ := g.issue(t, Parent{ID: protocol.EpochID{1}, Gen: 4}, Parent{ID: protocol.EpochID{2}, Gen: 2})
	if _, err := ParseHeader(g.id, g.reissue(t, f, func(*Core, *headerBody) {})); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	swap := func(b *headerBody, i, j int) { b.Pages[i], b.Pages[j] = b.Pages[j], b.Pages[i] }
	spoilPage := func(b *headerBody, change func(*page)) {
		var body []byte
		var p page
		wire.Unmarshal(b.Pages[0], protocol.MaxRoom, &body)
		wire.Unmarshal(body, protocol.MaxRoom, &p)
		change(&p)
		b.Pages[0] = wire.Marshal(wire.Marshal(p))
	}
	for name, spoil := range map[string]func(*Core, *headerBody){
		"version":                     func(c *Core, _ *headerBody) { c.Version = 2 },
		"suite":                       func(c *Core, _ *headerBody) { c.Suite = 2 },
		"generation 0 with parents":   func(c *Core, _ *headerBody) { c.Gen = 0 },
		"generation without parents":  func(c *Core, _ *headerBody) { c.Parents = nil },
		"parents unsorted":            func(c *Core, _ *headerBody) { slices.Reverse(c.Parents) },
		"parents twice":               func(c *Core, _ *headerBody) { c.Parents[1] = c.Parents[0] },
		"nine parents":                func(c *Core, _ *headerBody) { c.Parents = many[protocol.EpochID](9) },
		"17 heads":                    func(c *Core, _ *headerBody) { c.GovHeads = many[protocol.OpID](17) },
		"heads unsorted":              func(c *Core, _ *headerBody) { slices.Reverse(c.GovHeads) },
		"65 lanes":                    func(c *Core, _ *headerBody) { c.Lanes = many[protocol.LanePublic](65) },
		"lanes unsorted":              func(c *Core, _ *headerBody) { slices.Reverse(c.Lanes) },
		"17 heals":                    func(c *Core, _ *headerBody) { c.Heals = many[protocol.ItemID](17) },
		"sequence 0":                  func(c *Core, _ *headerBody) { c.Seq = 0 },
		"negative time":               func(c *Core, _ *headerBody) { c.CreatedAt = -1 },
		"boxes not padded":            func(c *Core, _ *headerBody) { c.Boxes = 12 },
		"boxes too many":              func(c *Core, _ *headerBody) { c.Boxes = 1_056 },
		"boxes fewer than pages":      func(c *Core, _ *headerBody) { c.Boxes = 10 },
		"boxes more than pages":       func(c *Core, _ *headerBody) { c.Boxes = 96 },
		"org epoch short":             func(c *Core, _ *headerBody) { c.OrgEpoch = []byte{1} },
		"author with organisers' tag": func(c *Core, _ *headerBody) { c.OrgEpoch = make([]byte, 32) },
		"organiser without tag":       func(_ *Core, b *headerBody) { b.OrgTag = [32]byte{} },
		"inbox key":                   func(c *Core, _ *headerBody) { c.InboxKey[0], c.InboxKey[1] = 255, 255 },
		"core with trailing byte":     func(c *Core, b *headerBody) { b.Core = append(wire.Marshal(*c), 0) },
		"core not shortest":           func(c *Core, b *headerBody) { b.Core = append([]byte{0x98, 17}, b.Core[1:]...) },
		"page missing":                func(_ *Core, b *headerBody) { b.Pages = b.Pages[:3] },
		"pages swapped":               func(_ *Core, b *headerBody) { swap(b, 0, 1) },
		"page in paged form":          func(_ *Core, b *headerBody) { b.Pages[0] = wire.Marshal(pageRef{}) },
		"page of a wrong index":       func(_ *Core, b *headerBody) { spoilPage(b, func(p *page) { p.Index = 1 }) },
		"boxes unsorted":              func(_ *Core, b *headerBody) { spoilPage(b, func(p *page) { slices.Reverse(p.Boxes) }) },
		"box twice":                   func(_ *Core, b *headerBody) { spoilPage(b, func(p *page) { p.Boxes[1] = p.Boxes[0] }) },
		"box short": func(_ *Core, b *headerBody) {
			spoilPage(b, func(p *page) { p.Boxes[0].Ciphertext = p.Boxes[0].Ciphertext[1:] })
		},
		"page short": func(_ *Core, b *headerBody) { spoilPage(b, func(p *page) { p.Boxes = p.Boxes[1:] }) },
		"pages overlap": func(_ *Core, b *headerBody) {
			spoilPage(b, func(p *page) { p.Boxes[11].Tag = Tag{255, 255, 255, 255, 255, 255, 255, 255} })
		},
	} {
		if _, err := ParseHeader(g.id, g.reissue(t, f, spoil)); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := f
	other.Kind = protocol.KindOp
	if _, err := ParseHeader(g.id, other); !errors.Is(err, ErrHeader) {
		t.Errorf("another kind: %v", err)
	}
	var b headerBody
	wire.Unmarshal(f.Body, protocol.MaxRoom, &b)
	b.Pages[0][12]++ // in the core hash that the page names
	if _, err := ParseHeader(g.id, protocol.SignFrame(g.id, protocol.KindEpoch, g.people[0].key, wire.Marshal(b))); !errors.Is(err, ErrHeader) {
		t.Errorf("page of another core: %v", err)
	}
}

func many[T ~[32]byte](n byte) (out []T) {
	for i := range n {
		out = append(out, T{i})
	}
	return out
}

// Spec 30 section 3: a box that does not confirm the header gives nothing.
func TestConfirmRefusals(t *testing.T) {
	g := newGroup(t, 4, 6)
	f, h, _ := g.issue(t)
	other, _, _ := g.issue(t)
	flip := func(change func(*Core, *headerBody)) error {
		h := must[*Header](t)(ParseHeader(g.id, g.reissue(t, f, change)))
		_, err := h.Open(g.people[1].kem, true)
		return err
	}
	for name, c := range map[string]struct {
		change func(*Core, *headerBody)
		want   error
	}{
		"conf tag":  {func(_ *Core, b *headerBody) { b.ConfTag[0]++ }, ErrConfirm},
		"org tag":   {func(_ *Core, b *headerBody) { b.OrgTag[0]++ }, ErrOrgSecret},
		"core":      {func(c *Core, _ *headerBody) { c.CreatedAt++ }, ErrNoBox},
		"all pages": {func(_ *Core, b *headerBody) { b.Pages = pagesOf(t, other) }, ErrNoBox},
	} {
		if err := flip(c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A box sealed under another epoch's hash, put under the right tag.
	moved := func(_ *Core, b *headerBody) {
		var body []byte
		var p page
		wire.Unmarshal(b.Pages[0], protocol.MaxRoom, &body)
		wire.Unmarshal(body, protocol.MaxRoom, &p)
		for i := range p.Boxes {
			p.Boxes[i].Ciphertext = must[[]byte](t)(SealTo(&g.people[1].pub, label.Box, h.pagesHash[:], make([]byte, 64)))
		}
		b.Pages[0] = wire.Marshal(wire.Marshal(p))
	}
	if err := flip(moved); !errors.Is(err, ErrConfirm) {
		t.Errorf("box of another epoch: %v", err)
	}
}

func pagesOf(t testing.TB, f protocol.Frame) []wire.Raw {
	var b headerBody
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &b); err != nil {
		t.Fatal(err)
	}
	return b.Pages
}

// handMade builds a header from chosen secrets, as a hostile issuer could.
func (g *group) handMade(t testing.TB, c Core, secret, org [32]byte, boxes []box) *Header {
	t.Helper()
	core := wire.Marshal(c)
	hash := label.Ref(label.EpochCore, core)
	bodies, refs := cutPages(hash, boxes)
	body := headerBody{Core: core, ConfTag: confirm(secret, hash, hashPages(refs)), OrgTag: confirm(org, hash, hashPages(refs))}
	if c.ByAuthor() {
		body.OrgTag = [32]byte{}
	}
	for i := range bodies {
		if c.Inline() {
			body.Pages = append(body.Pages, wire.Marshal(bodies[i]))
		} else {
			body.Pages = append(body.Pages, wire.Marshal(refs[i]))
		}
	}
	f := protocol.SignFrame(g.id, protocol.KindEpoch, g.people[0].key, wire.Marshal(body))
	h := must[*Header](t)(ParseHeader(g.id, f))
	for i := range bodies {
		if !c.Inline() && i > 0 { // page 0 stays away
			if err := h.AddPage(g.page(t, bodies[i])); err != nil {
				t.Fatal(err)
			}
			elsewhere := g.page(t, bodies[i])
			elsewhere.Index--
			if err := h.AddPage(elsewhere); !errors.Is(err, ErrHeader) {
				t.Fatalf("page in a wrong place: %v", err)
			}
			bad := bytes.Clone(bodies[i])
			bad[200]++
			if err := h.AddPage(g.page(t, bad)); !errors.Is(err, ErrHeader) {
				t.Fatalf("page with a wrong hash: %v", err)
			}
		}
	}
	return h
}

func (g *group) coreFor(t testing.TB, org [32]byte) Core {
	d := g.draft()
	c := must[Core](t)(d.core())
	inbox, reader := inboxKeys(org)
	c.InboxKey, c.InboxRead = inbox.Public(), reader.Public()
	return c
}

// Spec 30 section 3: the inbox keys must follow from the organisers' secret.
func TestInboxMustFollowFromOrgSecret(t *testing.T) {
	g := newGroup(t, 3, 7)
	org, secret := [32]byte{1}, [32]byte{2}
	for _, from := range [][32]byte{org, {3}} {
		c := g.coreFor(t, from)
		d := g.draft()
		hash := label.Ref(label.EpochCore, wire.Marshal(c))
		h := g.handMade(t, c, secret, org, must[[]box](t)(d.boxes(hash, secret, &org, 10, dice(1))))
		_, err := h.Open(g.people[0].kem, true)
		if (from == org) != (err == nil) || (err != nil && !errors.Is(err, ErrOrgSecret)) {
			t.Errorf("inbox from %x: %v", from[:1], err)
		}
		if _, err := h.Open(g.people[0].kem, false); err != nil {
			t.Errorf("authority decided readability: %v", err)
		}
	}
}

// Spec 30 section 2: an epoch of an author is read, and gives nobody an organisers' secret.
func TestAuthorEpochIsRead(t *testing.T) {
	g := newGroup(t, 3, 8)
	c := g.coreFor(t, [32]byte{1})
	c.Gen, c.Parents, c.OrgEpoch = 1, []protocol.EpochID{{1}}, bytes.Repeat([]byte{1}, 32)
	d := g.draft()
	hash, secret := label.Ref(label.EpochCore, wire.Marshal(c)), [32]byte{2}
	h := g.handMade(t, c, secret, [32]byte{}, must[[]box](t)(d.boxes(hash, secret, nil, 10, dice(1))))
	k := must[*Keys](t)(h.Open(g.people[0].kem, true))
	if k.Organiser() {
		t.Error("an author's epoch gave an organisers' secret")
	}
}

func TestCheckGen(t *testing.T) {
	g := newGroup(t, 1, 10)
	_, h, _ := g.issue(t, Parent{ID: protocol.EpochID{1}, Gen: 4}, Parent{ID: protocol.EpochID{2}, Gen: 2})
	known := map[protocol.EpochID]uint32{{1}: 4}
	look := func(e protocol.EpochID) (uint32, bool) { v, ok := known[e]; return v, ok }
	if ok, err := h.CheckGen(look); ok || err != nil {
		t.Errorf("parent not held: %v %v", ok, err)
	}
	known[protocol.EpochID{2}] = 2
	if ok, err := h.CheckGen(look); !ok || err != nil {
		t.Errorf("right generation: %v %v", ok, err)
	}
	known[protocol.EpochID{2}] = 5
	if ok, err := h.CheckGen(look); ok || !errors.Is(err, ErrHeader) {
		t.Errorf("wrong generation: %v %v", ok, err)
	}
}

// Every byte of the header counts: a changed one is refused or is another epoch
// that the signature does not cover.
func TestHeaderBitFlipsAndTruncations(t *testing.T) {
	g := newGroup(t, 2, 13)
	f, h, _ := g.issue(t)
	pub := g.people[0].key.Public()
	b := f.Marshal()
	for i := 0; i < len(b); i += 7 {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		f, err := protocol.ParseFrame(bad)
		if err != nil {
			continue
		}
		if f.Verify(g.id, pub) {
			t.Fatalf("byte %d changed and the signature holds", i)
		}
		ParseHeader(g.id, f) // must not panic, whatever it says
	}
	for n := 0; n < len(f.Body); n += 31 {
		cut := f
		cut.Body = f.Body[:n]
		if _, err := ParseHeader(g.id, cut); !errors.Is(err, ErrHeader) {
			t.Fatalf("body cut to %d: %v", n, err)
		}
	}
	other := must[*Header](t)(ParseHeader(protocol.GroupID{1}, f))
	if other.ID() == h.ID() || f.Verify(protocol.GroupID{1}, pub) {
		t.Error("a header of another group passed")
	}
}
