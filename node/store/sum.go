package store

import (
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"math/bits"

	"github.com/palabre-app/palabre/protocol/engine"
)

// sum is a keyed hash of the set of rows: the sum modulo 2^256 of one
// HMAC-SHA256 per row (the additive multiset hash of Clarke and others, 2003).
// It follows each commit at the cost of two MACs per row, and whoever does not
// have the key cannot remove, add or swap rows and keep it. The words are little
// end first.
type sum [4]uint64

const sumSize = 32

func (s *sum) add(m sum) {
	var c uint64
	for i := range s {
		s[i], c = bits.Add64(s[i], m[i], c)
	}
}

func (s *sum) sub(m sum) {
	var c uint64
	for i := range s {
		s[i], c = bits.Sub64(s[i], m[i], c)
	}
}

func (s *sum) bytes() []byte {
	b := make([]byte, 0, sumSize)
	for _, w := range s {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func sumFrom(b []byte) (s sum) {
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s
}

func (s *sum) equal(o *sum) bool {
	return subtle.ConstantTimeCompare(s.bytes(), o.bytes()) == 1
}

func mac(h hash.Hash, x []byte) sum {
	var out [sumSize]byte
	h.Reset()
	h.Write(x)
	return sumFrom(h.Sum(out[:0]))
}

// rowElement is a row's part of the sum: its place and its stamp, which stands
// for the value.
func (k *keys) rowElement(s Space, t engine.Table, shred uint32, key, stamp []byte) sum {
	var buf [32 + 1 + 4 + engine.MaxKeySize + stampSize]byte
	b := append(buf[:0], stamp...)
	b = append(append(b, s[:]...), byte(t))
	b = binary.BigEndian.AppendUint32(b, shred)
	return mac(k.sumRow, append(b, key...))
}

// dayElement is a day key's part of the sum.
func (k *keys) dayElement(s Space, day uint32, sealed []byte) sum {
	return mac(k.sumDay, append(dayAD(s, day), sealed...))
}
