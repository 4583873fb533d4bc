package epoch

import (
	"bytes"
	"fmt"
	"slices"

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

func tagOf(coreHash [32]byte, pk *protocol.KEMPublic) Tag {
	key := kemRef(pk)
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

// parsePage decodes page index of an epoch with count boxes in all.
func parsePage(body []byte, coreHash [32]byte, index, count int) (page, error) {
	var p page
	if err := wire.Unmarshal(body, protocol.RoomMedium, &p); err != nil {
		return page{}, fmt.Errorf("%w: page: %w", ErrHeader, err)
	}
	want := min(BoxesPerPage, count-index*BoxesPerPage)
	if p.Core != coreHash || int(p.Index) != index || len(p.Boxes) != want {
		return page{}, fmt.Errorf("%w: page of another epoch or place", ErrHeader)
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
