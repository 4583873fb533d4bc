package epoch

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Header is a parsed epoch header. Its pages may still be missing when the
// boxes travel apart.
type Header struct {
	Core   Core
	Device identity.DeviceID // that signed the frame

	id                  protocol.EpochID
	coreHash, pagesHash [32]byte
	confTag, orgTag     [32]byte
	refs                []pageRef
	pages               []*page // nil where not held
}

// headerBody is the body of an epoch frame.
type headerBody struct {
	_       struct{} `cbor:",toarray"`
	Core    []byte
	Pages   []wire.Raw // byte strings when inline, else pageRefs
	ConfTag [32]byte
	OrgTag  [32]byte
}

// ParseHeader decodes an epoch frame of group g and checks all that needs no
// state: encoding, bounds, order, counts, hashes, and that exactly generation 0
// has no parents. The signature (Frame.Verify), the generation (CheckGen), the
// issuer's role, and that generation 0 comes from the Genesis are the caller's.
// Errors wrap ErrHeader. The header does not alias the frame.
func ParseHeader(g protocol.GroupID, f protocol.Frame) (*Header, error) {
	var body headerBody
	if f.Kind != protocol.KindEpoch || len(f.Marshal()) > f.Kind.Max() {
		return nil, fmt.Errorf("%w: not an epoch frame", ErrHeader)
	}
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	h := &Header{Device: f.Device, id: protocol.EpochID(f.ID(g)), confTag: body.ConfTag, orgTag: body.OrgTag}
	if err := wire.Unmarshal(body.Core, maxCore, &h.Core); err != nil {
		return nil, fmt.Errorf("%w: core: %w", ErrHeader, err)
	}
	if err := h.Core.check(); err != nil {
		return nil, err
	}
	if h.Core.ByAuthor() != (h.orgTag == [32]byte{}) {
		return nil, fmt.Errorf("%w: organisers' tag", ErrHeader)
	}
	h.coreHash = label.Ref(label.EpochCore, body.Core)
	if len(body.Pages) != h.Core.pages() {
		return nil, fmt.Errorf("%w: wrong number of pages", ErrHeader)
	}
	if err := h.readPages(body.Pages); err != nil {
		return nil, err
	}
	h.pagesHash = hashPages(h.refs)
	return h, nil
}

func (h *Header) readPages(raw []wire.Raw) error {
	h.pages = make([]*page, len(raw))
	for i, r := range raw {
		var ref pageRef
		if h.Core.Inline() {
			var body []byte
			if err := wire.Unmarshal(r, protocol.MaxRoom, &body); err != nil {
				return fmt.Errorf("%w: page: %w", ErrHeader, err)
			}
			p, err := parsePage(body)
			if err != nil {
				return err
			}
			if err := p.check(h.coreHash, i, int(h.Core.Boxes)); err != nil {
				return err
			}
			h.pages[i] = &p
			ref = pageRef{First: p.Boxes[0].Tag, Hash: label.Ref(label.Page, body)}
			if i > 0 && !h.pages[i-1].before(ref.First) {
				return fmt.Errorf("%w: boxes not in order", ErrHeader)
			}
		} else if err := wire.Unmarshal(r, 64, &ref); err != nil {
			return fmt.Errorf("%w: page: %w", ErrHeader, err)
		}
		if i > 0 && bytes.Compare(h.refs[i-1].First[:], ref.First[:]) >= 0 {
			return fmt.Errorf("%w: pages not in order", ErrHeader)
		}
		h.refs = append(h.refs, ref)
	}
	return nil
}

// ID returns the epoch id: the item id of the frame.
func (h *Header) ID() protocol.EpochID { return h.id }

// CoreHash returns Ref("EpochCore", core): the name by which pages point to
// their header.
func (h *Header) CoreHash() [32]byte { return h.coreHash }

// InboxEpoch returns the epoch whose organisers' secret opens the inbox of this
// one: itself, or the one that an author's epoch names.
func (h *Header) InboxEpoch() protocol.EpochID {
	if h.Core.ByAuthor() {
		return protocol.EpochID(h.Core.OrgEpoch)
	}
	return h.id
}

// KeepsInbox checks that an author's epoch copied the inbox of the epoch that it
// names, whose header is org. An epoch that did not is rejected, though it can be
// read. ErrHeader, or ErrAuthor.
func (h *Header) KeepsInbox(org *Header) error {
	switch {
	case !h.Core.ByAuthor() || org.Core.ByAuthor() || h.InboxEpoch() != org.id:
		return fmt.Errorf("%w: not the epoch that the author names", ErrHeader)
	case h.Core.InboxKey != org.Core.InboxKey || h.Core.InboxRead != org.Core.InboxRead:
		return ErrAuthor
	}
	return nil
}

// CheckGen says whether the generation follows from the parents'. It returns
// false and no error while gen does not know a parent.
func (h *Header) CheckGen(gen func(protocol.EpochID) (uint32, bool)) (bool, error) {
	var want uint64
	for _, p := range h.Core.Parents {
		g, ok := gen(p)
		if !ok {
			return false, nil
		}
		want = max(want, uint64(g)+1)
	}
	if uint64(h.Core.Gen) != want {
		return false, fmt.Errorf("%w: wrong generation", ErrHeader)
	}
	return true, nil
}

// PageOf returns the index of the page that can hold the box of pk.
func (h *Header) PageOf(pk *protocol.KEMPublic) int {
	return h.pageOf(tagOf(h.coreHash, pk.Ref()))
}

func (h *Header) pageOf(t Tag) int {
	after := sort.Search(len(h.refs), func(i int) bool { return bytes.Compare(h.refs[i].First[:], t[:]) > 0 })
	return max(0, after-1)
}

// Boxes says whether a box for pk is among those that are held.
func (h *Header) Boxes(key protocol.KEMRef) bool {
	_, err := h.find(tagOf(h.coreHash, key))
	return err == nil
}

// HasPage says whether a page is held; those of an inline header always are.
func (h *Header) HasPage(index int) bool {
	return index >= 0 && index < len(h.pages) && h.pages[index] != nil
}

// find returns the box with the tag.
func (h *Header) find(t Tag) (box, error) {
	p := h.pages[h.pageOf(t)]
	if p == nil {
		return box{}, ErrPageMissing
	}
	i, ok := slices.BinarySearchFunc(p.Boxes, t, func(b box, t Tag) int { return bytes.Compare(b.Tag[:], t[:]) })
	if !ok {
		return box{}, ErrNoBox
	}
	return p.Boxes[i], nil
}
