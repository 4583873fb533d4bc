package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// CBOR major types (RFC 8949 section 3.1).
const (
	majorUint  = 0
	majorNint  = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
)

// canonical walks one value at the start of data and returns its length. It
// refuses what the house encoding has no use for: integers not in shortest
// form, indefinite lengths, tags, floats, null and undefined, unsorted or
// repeated map keys, text that is not UTF-8, and more than depth levels. It
// covers also what is kept as Raw, which decoding to a type would not look into.
func canonical(data []byte, depth int) (int, error) {
	major, arg, n, err := head(data)
	if err != nil {
		return 0, err
	}
	switch major {
	case majorUint, majorNint:
		return n, nil
	case majorBytes, majorText:
		if arg > uint64(len(data)-n) {
			return 0, fmt.Errorf("%w: truncated", ErrEncoding)
		}
		end := n + int(arg)
		if major == majorText && !utf8.Valid(data[n:end]) {
			return 0, fmt.Errorf("%w: text is not UTF-8", ErrEncoding)
		}
		return end, nil
	case majorArray, majorMap:
		return container(data, n, major == majorMap, arg, depth)
	}
	if data[0] == 0xf4 || data[0] == 0xf5 { // false, true
		return 1, nil
	}
	return 0, fmt.Errorf("%w: tag, float, null or unknown value", ErrEncoding)
}

func container(data []byte, n int, isMap bool, count uint64, depth int) (int, error) {
	if depth == 0 {
		return 0, fmt.Errorf("%w: nested too deep", ErrEncoding)
	}
	if count > MaxElements || count > uint64(len(data)) {
		return 0, fmt.Errorf("%w: too many elements", ErrEncoding)
	}
	var last []byte
	for range count {
		if isMap {
			size, err := canonical(data[n:], depth-1)
			if err != nil {
				return 0, err
			}
			key := data[n : n+size]
			if last != nil && bytes.Compare(last, key) >= 0 {
				return 0, fmt.Errorf("%w: map keys not in order", ErrEncoding)
			}
			last, n = key, n+size
		}
		size, err := canonical(data[n:], depth-1)
		if err != nil {
			return 0, err
		}
		n += size
	}
	return n, nil
}

// head reads the initial byte and its argument, and demands the shortest form.
func head(data []byte) (major byte, arg uint64, n int, err error) {
	if len(data) == 0 {
		return 0, 0, 0, fmt.Errorf("%w: truncated", ErrEncoding)
	}
	major, info := data[0]>>5, data[0]&31
	if info < 24 || major == 7 {
		return major, uint64(info), 1, nil
	}
	if info > 27 {
		return 0, 0, 0, fmt.Errorf("%w: indefinite or reserved length", ErrEncoding)
	}
	size := 1 << (info - 24)
	if len(data) < 1+size {
		return 0, 0, 0, fmt.Errorf("%w: truncated", ErrEncoding)
	}
	var wide [8]byte
	copy(wide[8-size:], data[1:1+size])
	arg = binary.BigEndian.Uint64(wide[:])
	shortest := arg >= 24
	if size > 1 {
		shortest = arg >= 1<<(8*size/2)
	}
	if !shortest {
		return 0, 0, 0, fmt.Errorf("%w: number not in shortest form", ErrEncoding)
	}
	return major, arg, 1 + size, nil
}
