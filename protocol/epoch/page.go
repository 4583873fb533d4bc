package epoch

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Tag finds the box of a KEM key within one epoch: the first 8 bytes of
// Ref("BoxTag", core hash || Ref("KemKey", key)).
type Tag [8]byte

// box is one sealed copy of the epoch's secrets, or padding.
type box struct {
	_          struct{} `cbor:",toarray"`
	Tag        Tag
	Ciphertext []byte // boxCiphertext bytes
}

// page is up to BoxesPerPage boxes. It names the core by hash and not the epoch
// by id, because the id is a hash over the hashes of the pages.
type page struct {
	_     struct{} `cbor:",toarray"`
	Core  [32]byte
	Index uint16
	Boxes []box
}

// pageRef is what the header says of a page that travels apart.
type pageRef struct {
	_     struct{} `cbor:",toarray"`
	First Tag
	Hash  [32]byte
}

// Page is a page that travelled apart, checked as far as it can be without its
// header.
type Page struct {
	Core   [32]byte // Header.CoreHash of the header to which it belongs
	Index  int
	Device identity.DeviceID // that signed the frame

	body  []byte
	boxes page
}

// ParsePage decodes a page frame and checks encoding, bounds and order. Whether
// the header names it is for Header.AddPage to say. The page does not alias the
// frame. Errors wrap ErrHeader.
func ParsePage(f protocol.Frame) (Page, error) {
	if f.Kind != protocol.KindPage || len(f.Marshal()) > f.Kind.Max() {
		return Page{}, fmt.Errorf("%w: not a page frame", ErrHeader)
	}
	p, err := parsePage(f.Body)
	if err != nil {
		return Page{}, err
	}
	return Page{Core: p.Core, Index: int(p.Index), Device: f.Device, body: slices.Clone(f.Body), boxes: p}, nil
}

// AddPage takes a page and checks it against the header, which says its hash: so
// the page needs no signature of its own, but it must be the issuer's, or one page
// could travel under many names. Errors wrap ErrHeader.
func (h *Header) AddPage(p Page) error {
	if p.Device != h.Device {
		return fmt.Errorf("%w: page of another device", ErrHeader)
	}
	return h.addPage(p.Index, p.body, p.boxes)
}

func (h *Header) addPage(index int, body []byte, p page) error {
	if index < 0 || index >= len(h.refs) || label.Ref(label.Page, body) != h.refs[index].Hash {
		return fmt.Errorf("%w: page is not the one that the header names", ErrHeader)
	}
	if err := p.check(h.coreHash, index, int(h.Core.Boxes)); err != nil {
		return err
	}
	if p.Boxes[0].Tag != h.refs[index].First {
		return fmt.Errorf("%w: page begins with another tag", ErrHeader)
	}
	if index+1 < len(h.refs) && !p.before(h.refs[index+1].First) {
		return fmt.Errorf("%w: boxes not in order", ErrHeader)
	}
	h.pages[index] = &p
	return nil
}

// CheckPage is AddPage without keeping the page.
func (h *Header) CheckPage(p Page) error {
	if p.Index < 0 || p.Index >= len(h.refs) {
		return fmt.Errorf("%w: page is not one that the header names", ErrHeader)
	}
	held := h.pages[p.Index]
	err := h.AddPage(p)
	h.pages[p.Index] = held
	return err
}

// DropPages forgets the pages that travelled apart: whoever stores them adds them
// again when it needs them. The boxes of an inline header stay.
func (h *Header) DropPages() {
	if !h.Core.Inline() {
		clear(h.pages)
	}
}

// Pages returns how many pages travel apart: 0 where the boxes are in the header.
func (h *Header) Pages() int {
	if h.Core.Inline() {
		return 0
	}
	return len(h.refs)
}

func tagOf(coreHash [32]byte, key protocol.KEMRef) Tag {
	ref := label.Ref(label.BoxTag, slices.Concat(coreHash[:], key[:]))
	return Tag(ref[:8])
}

// cutPages sorts the boxes by tag and cuts them into encoded pages.
func cutPages(coreHash [32]byte, boxes []box) (bodies [][]byte, refs []pageRef) {
	slices.SortFunc(boxes, func(a, b box) int { return bytes.Compare(a.Tag[:], b.Tag[:]) })
	for i, part := range slices.Collect(slices.Chunk(boxes, BoxesPerPage)) {
		body := wire.Marshal(page{Core: coreHash, Index: uint16(i), Boxes: part})
		bodies = append(bodies, body)
		refs = append(refs, pageRef{First: part[0].Tag, Hash: label.Ref(label.Page, body)})
	}
	return bodies, refs
}

func hashPages(refs []pageRef) [32]byte { return label.Ref(label.Pages, wire.Marshal(refs)) }

// parsePage decodes a page of any epoch.
func parsePage(body []byte) (page, error) {
	var p page
	if err := wire.Unmarshal(body, protocol.RoomMedium, &p); err != nil {
		return page{}, fmt.Errorf("%w: page: %w", ErrHeader, err)
	}
	if int(p.Index) >= protocol.MaxPages || len(p.Boxes) == 0 || len(p.Boxes) > BoxesPerPage {
		return page{}, fmt.Errorf("%w: page out of bounds", ErrHeader)
	}
	for i, b := range p.Boxes {
		if len(b.Ciphertext) != boxCiphertext {
			return page{}, fmt.Errorf("%w: box of a wrong size", ErrHeader)
		}
		if i > 0 && bytes.Compare(p.Boxes[i-1].Tag[:], b.Tag[:]) >= 0 {
			return page{}, fmt.Errorf("%w: boxes not in order", ErrHeader)
		}
	}
	return p, nil
}

// check says whether the page is page index of the epoch, which has count boxes.
func (p *page) check(coreHash [32]byte, index, count int) error {
	if p.Core != coreHash || int(p.Index) != index || len(p.Boxes) != min(BoxesPerPage, count-index*BoxesPerPage) {
		return fmt.Errorf("%w: page of another epoch or place", ErrHeader)
	}
	return nil
}

// before says that all boxes of the page have smaller tags than t.
func (p *page) before(t Tag) bool {
	last := p.Boxes[len(p.Boxes)-1].Tag
	return bytes.Compare(last[:], t[:]) < 0
}
