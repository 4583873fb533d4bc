package epoch

import (
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of what is cut into chunks.
const (
	MaxChunks = 64
	ChunkSize = 65_280 // bytes in every chunk but the last; the frame fits one envelope
)

// chunkBody is the body of a chunk frame.
type chunkBody struct {
	_        struct{}        `cbor:",toarray"`
	Manifest protocol.ItemID // of the frame that lists the hashes
	Index    uint8
	Bytes    []byte
}

// chunkHash is Ref("Chunk", CBOR [index, bytes]). A transcript of a chunk frame,
// hashed under the same label, begins with another byte (an array of four).
func chunkHash(index int, b []byte) [32]byte {
	return label.Ref(label.Chunk, wire.Marshal(struct {
		_     struct{} `cbor:",toarray"`
		Index uint8
		Bytes []byte
	}{Index: uint8(index), Bytes: b}))
}

func cut(sealed []byte) (parts [][]byte, hashes [][32]byte) {
	for part := range slices.Chunk(sealed, ChunkSize) {
		hashes = append(hashes, chunkHash(len(parts), part))
		parts = append(parts, part)
	}
	return parts, hashes
}

func chunkFrames(g protocol.GroupID, d identity.DeviceKey, manifest protocol.ItemID, parts [][]byte) []protocol.Frame {
	out := make([]protocol.Frame, len(parts))
	for i, p := range parts {
		body := wire.Marshal(chunkBody{Manifest: manifest, Index: uint8(i), Bytes: p})
		out[i] = protocol.SignFrame(g, protocol.KindChunk, d, body)
	}
	return out
}

// parseChunk decodes a chunk frame and checks it against the first frame.
func (p parcel) parseChunk(f protocol.Frame, manifest protocol.ItemID, hashes [][32]byte) (chunkBody, error) {
	var b chunkBody
	if f.Kind != protocol.KindChunk {
		return b, p.err
	}
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &b); err != nil {
		return b, fmt.Errorf("%w: %w", p.err, err)
	}
	last := int(b.Index) == len(hashes)-1
	if b.Manifest != manifest || int(b.Index) >= len(hashes) || len(b.Bytes) == 0 || len(b.Bytes) > ChunkSize ||
		(!last && len(b.Bytes) != ChunkSize) || chunkHash(int(b.Index), b.Bytes) != hashes[b.Index] {
		return b, fmt.Errorf("%w: chunk is not the one that it names", p.err)
	}
	return b, nil
}
