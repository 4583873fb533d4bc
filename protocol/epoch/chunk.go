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

// parseManifest decodes the body of a Welcome frame.
func parseManifest(f protocol.Frame) (welcomeBody, error) {
	var b welcomeBody
	if f.Kind != protocol.KindWelcome {
		return welcomeBody{}, ErrWelcome
	}
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &b); err != nil {
		return welcomeBody{}, fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	whole := len(b.Chunks) == 0
	if b.Version != protocol.Version || whole != (len(b.Sealed) != 0) || len(b.Sealed) > ChunkSize ||
		len(b.Chunks) == 1 || len(b.Chunks) > MaxChunks {
		return welcomeBody{}, ErrWelcome
	}
	return b, nil
}

// assemble finds the one Welcome frame and puts its chunks, which may come in
// any order, together.
func assemble(g protocol.GroupID, frames []protocol.Frame) (sealed []byte, d identity.DeviceID, err error) {
	if len(frames) > 1+MaxChunks {
		return nil, d, ErrWelcome
	}
	at := slices.IndexFunc(frames, func(f protocol.Frame) bool { return f.Kind == protocol.KindWelcome })
	if at < 0 {
		return nil, d, fmt.Errorf("%w: no welcome frame", ErrWelcome)
	}
	manifest, err := parseManifest(frames[at])
	if err != nil {
		return nil, d, err
	}
	d = frames[at].Device
	if len(frames) != 1+len(manifest.Chunks) {
		return nil, d, fmt.Errorf("%w: wrong number of chunks", ErrWelcome)
	}
	id := frames[at].ID(g)
	parts := make([][]byte, len(manifest.Chunks))
	for i, f := range frames {
		if i == at {
			continue
		}
		b, err := parseChunk(f, id, manifest.Chunks)
		if err != nil {
			return nil, d, err
		}
		if f.Device != d || parts[b.Index] != nil {
			return nil, d, fmt.Errorf("%w: chunk of another device or twice", ErrWelcome)
		}
		parts[b.Index] = b.Bytes
	}
	return append(manifest.Sealed, slices.Concat(parts...)...), d, nil
}

func parseChunk(f protocol.Frame, manifest protocol.ItemID, hashes [][32]byte) (chunkBody, error) {
	var b chunkBody
	if f.Kind != protocol.KindChunk {
		return b, ErrWelcome
	}
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &b); err != nil {
		return b, fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	last := int(b.Index) == len(hashes)-1
	if b.Manifest != manifest || int(b.Index) >= len(hashes) || len(b.Bytes) == 0 || len(b.Bytes) > ChunkSize ||
		(!last && len(b.Bytes) != ChunkSize) || chunkHash(int(b.Index), b.Bytes) != hashes[b.Index] {
		return b, fmt.Errorf("%w: chunk is not the one that it names", ErrWelcome)
	}
	return b, nil
}
