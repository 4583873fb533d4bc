package wire

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzUnmarshal holds what the package promises: what is accepted encodes to the
// same bytes, and canonical agrees with the decoder on how long a value is.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{
		"a2 01 02 1818 4100", "00", "f4", "80", "a0", "81818180", "5affffffff", "1bffffffffffffffff", "3b8000000000000000", "87", "f6", "c000", "",
	} {
		f.Add(unhex(s))
	}
	f.Add(good)
	f.Add(append(bytes.Clone(good), 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		const max = 1 << 16
		for _, v := range []any{new(sample), new(Map), new(Raw), new(uint64), new([]Map), new([][]byte), new(string), new(bool)} {
			if err := Unmarshal(b, max, v); err == nil {
				if again := Marshal(v); !bytes.Equal(again, b) {
					t.Fatalf("%T: %x encodes to %x", v, b, again)
				}
			} else if !errors.Is(err, ErrEncoding) {
				t.Fatalf("error is %v", err)
			}
			n, err := UnmarshalPadded(b, max, v)
			if err != nil {
				continue
			}
			if again := Marshal(v); !bytes.Equal(again, b[:n]) || len(bytes.Trim(b[n:], "\x00")) != 0 {
				t.Fatalf("%T: %x is padded and encodes to %x", v, b, again)
			}
		}
	})
}
