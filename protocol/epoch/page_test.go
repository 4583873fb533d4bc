package epoch

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Spec 30 section 2: in the paged form a reader needs its own page only.
func TestPagedHeader(t *testing.T) {
	g := newGroup(t, 48, 9)
	org, secret := [32]byte{1}, [32]byte{2}
	c := g.coreFor(t, org)
	c.Boxes = 96
	d := g.draft()
	hash := label.Ref(label.EpochCore, wire.Marshal(c))
	h := g.handMade(t, c, secret, org, must[[]box](t)(d.boxes(hash, secret, &org, 96, dice(1))))
	opened, missing := 0, 0
	for i, p := range g.people {
		switch k, err := h.Open(p.kem, i < 2); {
		case err == nil && h.PageOf(&p.pub) > 0 && k.net.Seed() == label.Derive(secret[:], label.Net):
			opened++
		case errors.Is(err, ErrPageMissing) && h.PageOf(&p.pub) == 0:
			missing++
		default:
			t.Errorf("device %d: %v", i, err)
		}
	}
	if opened == 0 || missing == 0 || h.HasPage(0) || !h.HasPage(1) {
		t.Errorf("%d opened, %d lacked the page", opened, missing)
	}
	if _, err := h.Audit(newKeys(h.id, secret, nil), g.expected()); !errors.Is(err, ErrPageMissing) {
		t.Errorf("audit without all pages: %v", err)
	}
}

// Spec 30 section 2: a page with the right hash must still begin where the header
// says and end before the next page.
func TestPageMustLieWhereTheHeaderSays(t *testing.T) {
	g := newGroup(t, 2, 14)
	c := g.coreFor(t, [32]byte{1})
	c.Boxes = 96
	hash := label.Ref(label.EpochCore, wire.Marshal(c))
	boxes := must[[]box](t)((&Draft{}).boxes(hash, [32]byte{2}, &[32]byte{1}, 96, dice(1)))
	for name, lie := range map[string]func(refs []pageRef){
		"begins later":     func(r []pageRef) { r[3].First[7] ^= 1 },
		"ends in the next": func(r []pageRef) { r[4].First = r[3].First; r[4].First[7]++ },
	} {
		bodies, refs := cutPages(hash, boxes)
		lie(refs)
		b := headerBody{Core: wire.Marshal(c), OrgTag: [32]byte{1}}
		for _, r := range refs {
			b.Pages = append(b.Pages, wire.Marshal(r))
		}
		f := protocol.SignFrame(g.id, protocol.KindEpoch, g.people[0].key, wire.Marshal(b))
		h := must[*Header](t)(ParseHeader(g.id, f))
		if err := h.AddPage(g.page(t, bodies[2])); err != nil {
			t.Fatal(err)
		}
		if err := h.AddPage(g.page(t, bodies[3])); !errors.Is(err, ErrHeader) || h.HasPage(3) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A page can be checked without being kept, and be dropped again once the box in
// it was opened: whoever stores pages holds none in memory.
func TestPagesAreHeldElsewhere(t *testing.T) {
	g := newGroup(t, protocol.SmallGroup+1, 15)
	i := must[Issued](t)(IssueEpoch(g.draft(), g.random))
	h := must[*Header](t)(ParseHeader(g.id, i.Header))
	at := h.PageOf(&g.people[3].pub)
	p := must[Page](t)(ParsePage(i.Pages[at]))
	if err := h.CheckPage(p); err != nil || h.HasPage(at) {
		t.Fatal(err, h.HasPage(at))
	}
	wrong := p
	wrong.Index = (at + 1) % len(i.Pages)
	if err := h.CheckPage(wrong); !errors.Is(err, ErrHeader) || h.HasPage(wrong.Index) {
		t.Errorf("a page at another place: %v", err)
	}
	wrong.Index = len(i.Pages)
	if err := h.CheckPage(wrong); !errors.Is(err, ErrHeader) {
		t.Errorf("a page beyond the last: %v", err)
	}
	if err := h.AddPage(p); err != nil {
		t.Fatal(err)
	}
	if err := h.CheckPage(p); err != nil || !h.HasPage(at) {
		t.Error("checking a page again took it away: ", err)
	}
	if _, err := h.Open(g.people[3].kem, false); err != nil {
		t.Error(err)
	}
	h.DropPages()
	if _, err := h.Open(g.people[3].kem, false); !errors.Is(err, ErrPageMissing) {
		t.Errorf("a page that was dropped: %v", err)
	}
	_, inline, _ := newGroup(t, 3, 16).issue(t)
	if inline.DropPages(); !inline.HasPage(0) {
		t.Error("the boxes of an inline header are dropped")
	}
}

// Spec 30 section 2: a page is bounded before its header is known.
func TestPageBounds(t *testing.T) {
	var boxes []box
	for i := range byte(13) {
		boxes = append(boxes, box{Tag: Tag{i}, Ciphertext: make([]byte, boxCiphertext)})
	}
	short := slices.Clone(boxes[:12])
	short[11].Ciphertext = short[11].Ciphertext[1:]
	parse := func(p page) error {
		_, err := ParsePage(protocol.Frame{Kind: protocol.KindPage, Body: wire.Marshal(p)})
		return err
	}
	if err := parse(page{Index: protocol.MaxPages - 1, Boxes: boxes[:12]}); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]page{
		"index 84": {Index: protocol.MaxPages, Boxes: boxes[:12]},
		"no boxes": {},
		"13 boxes": {Boxes: boxes},
		"unsorted": {Boxes: []box{boxes[1], boxes[0]}},
		"twice":    {Boxes: []box{boxes[1], boxes[1]}},
		"short":    {Boxes: short},
	} {
		if err := parse(p); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
