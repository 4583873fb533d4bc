package p2p

import (
	"crypto/rand"
	"errors"
)

// A hint payload is salt 8 || ids, each 32 bytes (spec 60 section 5).
const (
	// MaxHints is the most ids in one payload.
	MaxHints = 512
	saltSize = 8
	hintSize = 32
	maxHint  = saltSize + MaxHints*hintSize
)

type salt [saltSize]byte

var errHint = errors.New("p2p: a hint has a length out of bounds")

// newSalt makes two payloads with the same ids two messages for gossip, which
// forgets a message it has seen only after minutes.
func newSalt() (s salt) {
	rand.Read(s[:])
	return s
}

// encodeHint is for 1 to MaxHints ids.
func encodeHint(s salt, ids [][32]byte) []byte {
	b := append(make([]byte, 0, saltSize+len(ids)*hintSize), s[:]...)
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

// hintFits says whether b has the length of a hint.
func hintFits(b []byte) bool {
	return len(b) >= saltSize+hintSize && len(b) <= maxHint && (len(b)-saltSize)%hintSize == 0
}

func decodeHint(b []byte) (s salt, ids [][32]byte, err error) {
	if !hintFits(b) {
		return s, nil, errHint
	}
	s = salt(b[:saltSize])
	ids = make([][32]byte, (len(b)-saltSize)/hintSize)
	for i := range ids {
		ids[i] = [32]byte(b[saltSize+i*hintSize:])
	}
	return s, ids, nil
}
