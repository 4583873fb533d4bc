package epoch

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
)

// large issues an epoch whose boxes travel apart.
func (g *group) large(t testing.TB) (Issued, *Header) {
	t.Helper()
	i := must[Issued](t)(IssueEpoch(g.draft(), g.random))
	return i, must[*Header](t)(ParseHeader(g.id, must[protocol.Frame](t)(protocol.ParseFrame(i.Header.Marshal()))))
}

// Spec 30 section 2: 49 devices and more. A reader needs its own page, whoever
// audits all of them.
func TestIssuePages(t *testing.T) {
	g := newGroup(t, 100, 90)
	i, h := g.large(t)
	if h.Core.Boxes != 144 || len(i.Pages) != 12 || h.Pages() != 12 || h.Core.Inline() {
		t.Fatalf("%d boxes, %d pages", h.Core.Boxes, len(i.Pages))
	}
	if n := len(i.Header.Marshal()); protocol.RoomFor(n) != protocol.RoomMedium {
		t.Errorf("header of %d bytes", n)
	}
	var pages []Page
	for at, f := range i.Pages {
		if !f.Verify(g.id, g.people[0].key.Public()) || protocol.RoomFor(len(f.Marshal())) != protocol.RoomMedium {
			t.Errorf("page %d: unsigned, or of %d bytes", at, len(f.Marshal()))
		}
		p := must[Page](t)(ParsePage(must[protocol.Frame](t)(protocol.ParseFrame(f.Marshal()))))
		if p.Index != at || p.Core != h.CoreHash() || p.Device != h.Device {
			t.Errorf("page %d names %d", at, p.Index)
		}
		pages = append(pages, p)
	}
	for at, p := range g.people {
		if at%9 != 0 && at > 1 { // the boxes are alike; opening is dear
			continue
		}
		h := must[*Header](t)(ParseHeader(g.id, i.Header))
		if _, err := h.Open(p.kem, at < 2); !errors.Is(err, ErrPageMissing) {
			t.Fatalf("device %d without page: %v", at, err)
		}
		own := h.PageOf(&p.pub)
		for other := range pages {
			if h.HasPage(other) {
				t.Fatalf("page %d is held", other)
			}
		}
		if err := h.AddPage(pages[own]); err != nil {
			t.Fatal(err)
		}
		k, err := h.Open(p.kem, at < 2)
		if err != nil || k.net.Seed() != i.Keys.net.Seed() || k.Organiser() != (at < 2) {
			t.Fatalf("device %d with its page: %v", at, err)
		}
		if _, err := h.Audit(k, g.expected()); !errors.Is(err, ErrPageMissing) {
			t.Fatalf("audited with one page: %v", err)
		}
	}
	for _, p := range slices.Backward(pages) {
		if err := h.AddPage(p); err != nil {
			t.Fatal(err)
		}
	}
	if f := must[Findings](t)(h.Audit(i.Keys, g.expected())); !f.Exact() {
		t.Errorf("not exact: %+v", f)
	}
	if f := must[Findings](t)(h.Audit(i.Keys, g.expected()[1:])); f.Exact() || len(f.Unmatched) != 1 {
		t.Errorf("smuggled recipient: %+v", f)
	}
	// The issuer writes the pages where a reader looks for them.
	box, err := PageMailbox(h, 3).WithWrite(i.PageKey)
	if err != nil {
		t.Fatal(err)
	}
	e := must[[]byte](t)(box.Seal(i.Pages[3].Marshal()))
	if len(e) != protocol.BucketMedium {
		t.Errorf("page envelope of %d bytes", len(e))
	}
	if _, err := box.SignPut(protocol.IDOf(e)); err != nil {
		t.Error(err)
	}
	if got := must[[]byte](t)(PageMailbox(h, 3).Open(e)); !slices.Equal(got, i.Pages[3].Marshal()) {
		t.Error("the page does not come back")
	}
}

// Spec 30 section 2: how many devices there are shows in steps of 48 alone.
func TestIssueLargest(t *testing.T) {
	g := newGroup(t, 49, 91)
	i, h := g.large(t)
	if h.Core.Boxes != 96 || len(i.Pages) != 8 {
		t.Errorf("49 devices: %d boxes, %d pages", h.Core.Boxes, len(i.Pages))
	}
	if small := must[Issued](t)(IssueEpoch(newGroup(t, 48, 91).draft(), dice(1))); len(small.Pages) != 0 || small.Keys == nil {
		t.Error("48 devices: pages apart")
	}
	d := g.draft()
	for len(d.Recipients) <= protocol.MaxDevices {
		d.Recipients = append(d.Recipients, d.Recipients[0])
	}
	if _, err := IssueEpoch(d, dice(1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d recipients: %v", len(d.Recipients), err)
	}
	full := &Core{Boxes: MaxBoxes}
	if full.pages() != protocol.MaxPages {
		t.Errorf("%d boxes fill %d pages", MaxBoxes, full.pages())
	}
}
