// Package label holds every domain label of Palabre and the four labelled
// functions that use them: a key derivation, a hash, a signature transcript and
// the HPKE info string, all in the encodings of RFC 9420 (MLS).
//
// Start with Derive and Ref. What is promised: two calls with different labels,
// or with different inputs under one label, never feed the same bytes to the
// primitive, because label and inputs are length-prefixed. Spec 10 holds the
// table of labels.
package label

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// Label says what a hash, key or signature is for. The constants of this
// package are the only values; an empty label panics, because it would be a
// broken invariant of the program, never input.
type Label string

// prefix names project and version in front of each label (spec 10 section 2).
const prefix = "Palabre 1.0 "

// Size is the length in bytes of a derived secret and of a labelled hash.
const Size = 32

// Expand is RFC 9420 section 8 ExpandWithLabel over HKDF-SHA256: n bytes (at
// most 8,160) from secret for label and context.
func Expand(secret []byte, l Label, context []byte, n int) []byte {
	return expand(prefix, secret, l, context, n)
}

// Derive is RFC 9420 section 8 DeriveSecret: Expand with an empty context to 32 bytes.
func Derive(secret []byte, l Label) [Size]byte {
	return [Size]byte(Expand(secret, l, nil, Size))
}

// DeriveTree is RFC 9420 section 9 DeriveTreeSecret: Expand with the
// generation, four bytes big-endian, as context.
func DeriveTree(secret []byte, l Label, generation uint32, n int) []byte {
	return Expand(secret, l, binary.BigEndian.AppendUint32(nil, generation), n)
}

// Extract is HKDF-Extract with SHA-256 (RFC 5869 section 2.2).
func Extract(salt, ikm []byte) [Size]byte {
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		panic("label: " + err.Error())
	}
	return [Size]byte(prk)
}

// Ref is the labelled hash SHA-256(<prefix label> || <x>), as RFC 9420 section
// 5.2 RefHash with the project's prefix in the label.
func Ref(l Label, x []byte) [Size]byte {
	return sha256.Sum256(Transcript(l, x))
}

// Transcript is the byte string that is signed for x under label, as RFC 9420
// section 5.1.2 SignContent: <prefix label> || <x>.
func Transcript(l Label, x []byte) []byte {
	return transcript(prefix, l, x)
}

// HPKEInfo is the info string of a sealed box, as RFC 9420 section 5.1.3
// EncryptContext: <prefix label> || <context>.
func HPKEInfo(l Label, context []byte) []byte {
	return transcript(prefix, l, context)
}

func expand(prefix string, secret []byte, l Label, context []byte, n int) []byte {
	check(l)
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = appendVector(info, prefix+string(l))
	info = appendVector(info, context)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic("label: " + err.Error())
	}
	return out
}

func transcript(prefix string, l Label, x []byte) []byte {
	check(l)
	out := make([]byte, 0, len(prefix)+len(l)+len(x)+8)
	out = appendVector(out, prefix+string(l))
	return appendVector(out, x)
}

func check(l Label) {
	if l == "" {
		panic("label: empty label")
	}
}

// appendVector appends the variable-length vector of RFC 9420 section 2.1.2:
// length as a QUIC-style integer in its shortest form, then the bytes.
func appendVector[T string | []byte](b []byte, v T) []byte {
	switch n := len(v); {
	case n < 1<<6:
		b = append(b, byte(n))
	case n < 1<<14:
		b = binary.BigEndian.AppendUint16(b, uint16(n)|1<<14)
	case n < 1<<30:
		b = binary.BigEndian.AppendUint32(b, uint32(n)|2<<30)
	default:
		panic("label: vector of 2^30 bytes or more")
	}
	return append(b, v...)
}
