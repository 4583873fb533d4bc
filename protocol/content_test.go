package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

func someContent() Content {
	return Content{Type: TypeAnnouncement, GovHeads: []OpID{{1}, {2}}, DevSeq: 1, PrevMsg: ContentID{3},
		CreatedAt: 1_000, ExpiresAt: 2_000, Payload: []byte("payload")}
}

func someOriginal() Original {
	return SignOriginal(here, EpochID{4}, alice, 5, [4]byte{6}, someContent())
}

func TestOriginalRoundTrip(t *testing.T) {
	o := someOriginal()
	b := o.Marshal()
	got, c, err := ParseOriginal(b)
	if err != nil || !reflect.DeepEqual(got, o) || !reflect.DeepEqual(c, someContent()) || !bytes.Equal(got.Marshal(), b) {
		t.Fatal(err)
	}
	if !got.Verify(here, alice.Public()) || got.Verify(elsewhere, alice.Public()) || got.Verify(here, bob.Public()) {
		t.Error("an original does not hold for its group and device alone")
	}
	named := o
	named.Device = bob.Public().ID()
	named.Sig = alice.Sign(label.Content, named.transcript(here))
	if named.Verify(here, alice.Public()) || named.Verify(here, bob.Public()) {
		t.Error("an original holds for a key that is not its device's")
	}
}

func TestEachPartOfAnOriginalIsSigned(t *testing.T) {
	o := someOriginal()
	for name, change := range map[string]func(*Original){
		"epoch":      func(o *Original) { o.Epoch[31] ^= 1 },
		"device":     func(o *Original) { o.Device[15] ^= 1 },
		"generation": func(o *Original) { o.Generation++ },
		"guard":      func(o *Original) { o.Guard[3] ^= 1 },
		"content":    func(o *Original) { o.Content = wire.Marshal(Content{Type: 2}) },
	} {
		p := o
		change(&p)
		if p.Verify(here, alice.Public()) || p.ID(here) == o.ID(here) {
			t.Errorf("%s is not covered by signature and id", name)
		}
	}
	p := o
	p.Sig = identity.Signature{}
	if p.ID(here) != o.ID(here) || o.ID(here) == o.ID(elsewhere) {
		t.Error("the id depends on the signature, or not on the group")
	}
	b := o.Marshal()
	for i := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if got, _, err := ParseOriginal(bad); err == nil && got.Verify(here, alice.Public()) {
			t.Fatalf("bit %d changed and the original holds", i)
		}
	}
}

func TestEachFieldChangesTheContentID(t *testing.T) {
	first := someOriginal().ID(here)
	for name, change := range map[string]func(*Content){
		"type":    func(c *Content) { c.Type++ },
		"heads":   func(c *Content) { c.GovHeads = c.GovHeads[:1] },
		"seq":     func(c *Content) { c.DevSeq++ },
		"prev":    func(c *Content) { c.PrevMsg[0]++ },
		"created": func(c *Content) { c.CreatedAt-- },
		"expires": func(c *Content) { c.ExpiresAt++ },
		"payload": func(c *Content) { c.Payload = nil },
	} {
		c := someContent()
		change(&c)
		if SignOriginal(here, EpochID{4}, alice, 5, [4]byte{6}, c).ID(here) == first {
			t.Errorf("%s does not change the id", name)
		}
	}
}

func TestContentBounds(t *testing.T) {
	heads := func(n int) (ids []OpID) {
		for i := range n {
			ids = append(ids, OpID{byte(i)})
		}
		return ids
	}
	for name, change := range map[string]func(*Content){
		"type 0":              func(c *Content) { c.Type = 0 },
		"seq 0":               func(c *Content) { c.DevSeq = 0 },
		"heads not sorted":    func(c *Content) { c.GovHeads = []OpID{{2}, {1}} },
		"head twice":          func(c *Content) { c.GovHeads = []OpID{{1}, {1}} },
		"too many heads":      func(c *Content) { c.GovHeads = heads(MaxHeads + 1) },
		"before 1970":         func(c *Content) { c.CreatedAt = -1 },
		"expires before made": func(c *Content) { c.ExpiresAt = c.CreatedAt - 1 },
		"too long":            func(c *Content) { c.Payload = make([]byte, MaxRoom) },
	} {
		c := someContent()
		change(&c)
		if _, err := ParseContent(wire.Marshal(c)); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := ParseOriginal(wire.Marshal(Original{Content: wire.Marshal(c)})); !errors.Is(err, ErrContent) {
			t.Errorf("%s in an original: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Content){
		"unknown type": func(c *Content) { c.Type = 65_535 },
		"most heads":   func(c *Content) { c.GovHeads = heads(MaxHeads) },
		"no heads":     func(c *Content) { c.GovHeads = nil },
		"no lifetime":  func(c *Content) { c.ExpiresAt = c.CreatedAt },
	} {
		c := someContent()
		change(&c)
		if _, err := ParseContent(wire.Marshal(c)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzContent(f *testing.F) {
	f.Add(wire.Marshal(someContent()))
	f.Add(someOriginal().Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseContent(b); err == nil {
			if !bytes.Equal(wire.Marshal(c), b) || !SortedIDs(c.GovHeads) || len(c.GovHeads) > MaxHeads {
				t.Fatal("what parses does not encode to the same bytes, or is out of bounds")
			}
		} else if !errors.Is(err, ErrContent) {
			t.Fatal(err)
		}
		if o, c, err := ParseOriginal(b); err == nil {
			if !bytes.Equal(o.Marshal(), b) || !bytes.Equal(wire.Marshal(c), o.Content) {
				t.Fatal("what parses does not encode to the same bytes")
			}
		} else if !errors.Is(err, ErrContent) {
			t.Fatal(err)
		}
	})
}
