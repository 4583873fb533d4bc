package p2p

import (
	"encoding/binary"
	"errors"
	"io"
)

// MaxMessage is the longest message of a link in bytes: the largest envelope
// and what goes around it (spec 60 section 3).
const MaxMessage = 72 << 10

// frameHead is the length of a frame's big-endian length field.
const frameHead = 4

var errFrame = errors.New("p2p: a frame has a length out of bounds")

// Frame is length 4 || data; the caller has checked the length.
func Frame(data []byte) []byte {
	b := make([]byte, frameHead, frameHead+len(data))
	binary.BigEndian.PutUint32(b, uint32(len(data)))
	return append(b, data...)
}

// ReadFrame reads one frame and returns its data, which the caller owns. The
// length is checked before anything is allocated. An end of the stream between
// frames is io.EOF.
func ReadFrame(r io.Reader) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > MaxMessage {
		return nil, errFrame
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return data, nil
}
