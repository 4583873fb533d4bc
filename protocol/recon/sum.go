package recon

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// sum is the sum of ids modulo 2^256, each read as a little-endian number
// (spec 70 section 3). The lowest limb comes first.
type sum [4]uint64

func idSum(id *ID) sum {
	var s sum
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(id[8*i:])
	}
	return s
}

func (s sum) plus(o sum) sum {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
	return s
}

func (s sum) minus(o sum) sum {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], o[i], borrow)
	}
	return s
}

// fingerprint is the digest of count ids with the sum s.
func (s sum) fingerprint(count int) [FingerprintSize]byte {
	b := make([]byte, 0, IDSize+maxVarint)
	for _, limb := range s {
		b = binary.LittleEndian.AppendUint64(b, limb)
	}
	h := sha256.Sum256(appendVarint(b, uint64(count)))
	return [FingerprintSize]byte(h[:FingerprintSize])
}
