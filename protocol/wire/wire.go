// Package wire is the one encoding of Palabre: deterministic CBOR (RFC 8949
// section 4.2.1), decoded strictly and within bounds.
//
// Start with Marshal and Unmarshal. What is promised: a byte string that
// Unmarshal accepts is the only encoding of the value that it yields, so that
// hashes and signatures over received bytes and over re-encoded values agree;
// nothing is allocated beyond a small multiple of the input; no input panics.
// Spec 10 section 1 is the byte table.
package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of what is decoded at all. Each structure has tighter ones of its own.
const (
	MaxDepth    = 4     // arrays and maps inside one another
	MaxElements = 4_096 // of one array or map
)

// ErrEncoding is wrapped by every error of Unmarshal: the bytes are not the
// canonical encoding of the wanted structure.
var ErrEncoding = errors.New("not the canonical encoding")

// Raw is a value kept encoded. Unmarshal checks that it is canonical.
type Raw = cbor.RawMessage

// Map is a structure whose fields may grow: small unsigned keys to values kept
// encoded. Unknown keys survive decoding and encoding.
type Map map[uint64]Raw

var (
	encoder = must(encOptions().EncMode())
	decoder = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  MaxDepth,
		MaxArrayElements: MaxElements,
		MaxMapPairs:      MaxElements,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode())
)

func encOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	return o
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("wire: " + err.Error())
	}
	return v
}

// Marshal returns the canonical encoding of v: a struct tagged toarray, a Map,
// or a basic type. It panics for a type that cannot be encoded, which is a
// mistake of the program.
func Marshal(v any) []byte {
	return must(encoder.Marshal(v))
}

// Unmarshal decodes data, at most max bytes, into v, which points to a zero
// value and does not alias data. On error v is undefined and the error wraps
// ErrEncoding; it never repeats the input.
func Unmarshal(data []byte, max int, v any) error {
	if len(data) > max {
		return fmt.Errorf("%w: %d bytes, more than %d", ErrEncoding, len(data), max)
	}
	n, err := canonical(data, MaxDepth)
	if err != nil {
		return err
	}
	if n != len(data) {
		return fmt.Errorf("%w: trailing bytes", ErrEncoding)
	}
	return decode(data, v)
}

// UnmarshalPadded decodes the value at the start of data into v and demands
// that all bytes after it are zero. It returns the length of the value.
func UnmarshalPadded(data []byte, max int, v any) (int, error) {
	if len(data) > max {
		return 0, fmt.Errorf("%w: %d bytes, more than %d", ErrEncoding, len(data), max)
	}
	n, err := canonical(data, MaxDepth)
	if err != nil {
		return 0, err
	}
	for _, b := range data[n:] {
		if b != 0 {
			return 0, fmt.Errorf("%w: padding is not zero", ErrEncoding)
		}
	}
	return n, decode(data[:n], v)
}

func decode(data []byte, v any) error {
	if err := decoder.Unmarshal(data, v); err != nil {
		// The library's text may name Go types, which tells a reader nothing.
		return fmt.Errorf("%w: wrong shape", ErrEncoding)
	}
	again, err := encoder.Marshal(v)
	if err != nil || !bytes.Equal(again, data) {
		return fmt.Errorf("%w: does not encode to the same bytes", ErrEncoding)
	}
	return nil
}
