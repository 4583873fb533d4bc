package epoch

import (
	"errors"
	"testing"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// authorDraft is an epoch that the third device, no organiser's, issues over h.
func (g *group) authorDraft(h *Header) Draft {
	d := g.draft(Parent{ID: h.ID(), Gen: h.Core.Gen})
	by := g.people[2]
	d.Issuer, d.Device, d.Hedge, d.Inbox = by.member, by.key, HedgeKeyOf(by.key), h
	return d
}

func (g *group) byAuthor(t testing.TB, h *Header) (protocol.Frame, *Header, *Keys) {
	t.Helper()
	i := must[Issued](t)(IssueEpoch(g.authorDraft(h), g.random))
	return i.Header, must[*Header](t)(ParseHeader(g.id, i.Header)), i.Keys
}

// Spec 30 section 2: an author's epoch is read by all, is exact, keeps the inbox of
// the organisers' epoch, and gives nobody an organisers' secret.
func TestAuthorsEpoch(t *testing.T) {
	g := newGroup(t, 5, 80)
	_, h, _ := g.issue(t)
	_, a, mine := g.byAuthor(t, h)
	if !a.Core.ByAuthor() || a.InboxEpoch() != h.ID() || a.Core.Gen != 1 || a.orgTag != [32]byte{} {
		t.Error("the header does not say that an author issued it")
	}
	if err := a.KeepsInbox(h); err != nil {
		t.Error(err)
	}
	for i := range g.people {
		k := g.open(t, a, i) // the operators ask for the organisers' secret
		if k.Organiser() || k.net.Seed() != mine.net.Seed() {
			t.Errorf("device %d: organisers' secret held is %v", i, k.Organiser())
		}
	}
	if f := must[Findings](t)(a.Audit(mine, g.expected())); !f.Exact() {
		t.Errorf("not exact: %+v", f)
	}
	// Two operators find different random bytes.
	parts := map[[32]byte]bool{}
	for _, p := range g.people {
		b := must[box](t)(a.find(tagOf(a.coreHash, p.pub.Ref())))
		plain := must[[]byte](t)(p.kem.OpenFrom(label.Box, a.coreHash[:], b.Ciphertext))
		parts[[32]byte(plain[32:])] = true
	}
	if len(parts) != len(g.people) || parts[[32]byte{}] {
		t.Error("the organisers' parts are not all random")
	}
	// A second author's epoch keeps the inbox of the first organisers' epoch.
	_, b, _ := g.byAuthor(t, a)
	if b.InboxEpoch() != h.ID() || b.KeepsInbox(h) != nil || b.Core.Gen != 2 {
		t.Error("a chain of authors' epochs loses the inbox")
	}
}

func TestAuthorsEpochRefusals(t *testing.T) {
	g := newGroup(t, 3, 81)
	f, h, _ := g.issue(t)
	_, other, _ := g.issue(t)
	af, a, _ := g.byAuthor(t, h)
	first := g.authorDraft(h)
	first.Parents = nil
	large := newGroup(t, 49, 82).authorDraft(h)
	for name, d := range map[string]Draft{"gen 0": first, "49 devices": large} {
		if _, err := IssueEpoch(d, dice(1)); !errors.Is(err, ErrAuthor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.KeepsInbox(other); !errors.Is(err, ErrHeader) {
		t.Errorf("another epoch's inbox: %v", err)
	}
	if err := h.KeepsInbox(other); !errors.Is(err, ErrHeader) {
		t.Errorf("not an author's epoch: %v", err)
	}
	if err := a.KeepsInbox(a); !errors.Is(err, ErrHeader) {
		t.Errorf("inbox of an author: %v", err)
	}
	for name, change := range map[string]func(*Core, *headerBody){
		"inbox key":   func(c *Core, _ *headerBody) { c.InboxKey = other.Core.InboxKey },
		"reading key": func(c *Core, _ *headerBody) { c.InboxRead[0]++ },
	} {
		bad := must[*Header](t)(ParseHeader(g.id, g.reissue(t, af, change)))
		if err := bad.KeepsInbox(h); !errors.Is(err, ErrAuthor) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Core, *headerBody){
		"with an organisers' tag": func(_ *Core, b *headerBody) { b.OrgTag = [32]byte{1} },
		"gen 0":                   func(c *Core, _ *headerBody) { c.Gen, c.Parents = 0, nil },
		"paged":                   func(c *Core, b *headerBody) { c.Boxes = 96; b.Pages = pagedOf(t, c) },
	} {
		if _, err := ParseHeader(g.id, g.reissue(t, af, change)); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseHeader(g.id, g.reissue(t, f, func(_ *Core, b *headerBody) { b.OrgTag = [32]byte{} })); !errors.Is(err, ErrHeader) {
		t.Errorf("an organiser without tag: %v", err)
	}
}

// pagedOf lists eight page references, as a header of 96 boxes has.
func pagedOf(t testing.TB, c *Core) (out []wire.Raw) {
	t.Helper()
	for i := range byte(8) {
		out = append(out, wire.Marshal(pageRef{First: Tag{i}}))
	}
	return out
}
