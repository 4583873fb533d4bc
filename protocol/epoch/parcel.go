package epoch

import (
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// parcel is the kind of what is sealed to one device and travels in one frame,
// or in chunks where it does not fit: a Welcome or a ReBox.
type parcel struct {
	kind protocol.FrameKind
	lock int   // bytes of the lock in front, 0 for none
	err  error // that names what is malformed
}

var (
	welcomeParcel = parcel{kind: protocol.KindWelcome, err: ErrWelcome}
	reboxParcel   = parcel{kind: protocol.KindReBox, lock: lockSize, err: ErrReBox}
)

// manifest is the body of a parcel's first frame: sealed at once, or the hashes
// of its chunks.
type manifest struct {
	lock   []byte
	sealed []byte
	chunks [][32]byte
}

// welcomeBody is the body of a Welcome frame.
type welcomeBody struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Sealed  []byte
	Chunks  [][32]byte
}

// reboxBody is the body of a ReBox frame.
type reboxBody struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Lock    []byte // lockSize bytes
	Sealed  []byte
	Chunks  [][32]byte
}

func (p parcel) marshal(m manifest) []byte {
	if p.lock == 0 {
		return wire.Marshal(welcomeBody{Version: protocol.Version, Sealed: m.sealed, Chunks: m.chunks})
	}
	return wire.Marshal(reboxBody{Version: protocol.Version, Lock: m.lock, Sealed: m.sealed, Chunks: m.chunks})
}

// whole is the most bytes that travel in the first frame itself.
func (p parcel) whole() int {
	if p.lock == 0 {
		return ChunkSize
	}
	return ChunkSize - byteString(p.lock)
}

// frames signs a parcel: one frame, followed by its chunks if it needs them.
func (p parcel) frames(g protocol.GroupID, d identity.DeviceKey, lock, sealed []byte) []protocol.Frame {
	if len(sealed) <= p.whole() {
		return []protocol.Frame{protocol.SignFrame(g, p.kind, d, p.marshal(manifest{lock: lock, sealed: sealed}))}
	}
	parts, hashes := cut(sealed)
	first := protocol.SignFrame(g, p.kind, d, p.marshal(manifest{lock: lock, chunks: hashes}))
	return append([]protocol.Frame{first}, chunkFrames(g, d, first.ID(g), parts)...)
}

// parse decodes the body of a parcel's first frame.
func (p parcel) parse(f protocol.Frame) (m manifest, err error) {
	var version uint8
	switch {
	case f.Kind != p.kind:
		return manifest{}, p.err
	case p.lock == 0:
		var b welcomeBody
		err = wire.Unmarshal(f.Body, protocol.MaxRoom, &b)
		version, m = b.Version, manifest{sealed: b.Sealed, chunks: b.Chunks}
	default:
		var b reboxBody
		err = wire.Unmarshal(f.Body, protocol.MaxRoom, &b)
		version, m = b.Version, manifest{lock: b.Lock, sealed: b.Sealed, chunks: b.Chunks}
	}
	if err != nil {
		return manifest{}, fmt.Errorf("%w: %w", p.err, err)
	}
	whole := len(m.chunks) == 0
	if version != protocol.Version || len(m.lock) != p.lock || whole != (len(m.sealed) != 0) ||
		len(m.sealed) > p.whole() || (len(m.chunks) == 1 && p.whole() == ChunkSize) || len(m.chunks) > MaxChunks {
		return manifest{}, p.err
	}
	return m, nil
}

// assemble finds the one first frame and puts its chunks, which may come in any
// order, together.
func (p parcel) assemble(g protocol.GroupID, frames []protocol.Frame) (m manifest, d identity.DeviceID, err error) {
	if len(frames) > 1+MaxChunks {
		return manifest{}, d, p.err
	}
	at := slices.IndexFunc(frames, func(f protocol.Frame) bool { return f.Kind == p.kind })
	if at < 0 {
		return manifest{}, d, fmt.Errorf("%w: its first frame is missing", p.err)
	}
	if m, err = p.parse(frames[at]); err != nil {
		return manifest{}, d, err
	}
	d = frames[at].Device
	if len(frames) != 1+len(m.chunks) {
		return manifest{}, d, fmt.Errorf("%w: wrong number of chunks", p.err)
	}
	id := frames[at].ID(g)
	parts := make([][]byte, len(m.chunks))
	for i, f := range frames {
		if i == at {
			continue
		}
		b, err := p.parseChunk(f, id, m.chunks)
		if err != nil {
			return manifest{}, d, err
		}
		if f.Device != d || parts[b.Index] != nil {
			return manifest{}, d, fmt.Errorf("%w: chunk of another device or twice", p.err)
		}
		parts[b.Index] = b.Bytes
	}
	if len(parts) > 0 {
		m.sealed = slices.Concat(parts...)
		if len(m.sealed) <= p.whole() {
			return manifest{}, d, fmt.Errorf("%w: it would have fitted into one frame", p.err)
		}
	}
	return m, d, nil
}

// verify checks the signature of every frame.
func (p parcel) verify(g protocol.GroupID, frames []protocol.Frame, pub identity.DevicePublic) error {
	for _, f := range frames {
		if !f.Verify(g, pub) {
			return fmt.Errorf("%w: wrong signature", p.err)
		}
	}
	return nil
}
