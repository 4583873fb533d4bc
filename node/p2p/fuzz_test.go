package p2p

import (
	"bytes"
	"testing"
)

// What reads as a frame is written as the same bytes.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 7})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(Frame(make([]byte, MaxMessage)))
	f.Fuzz(func(t *testing.T, x []byte) {
		r := bytes.NewReader(x)
		data, err := ReadFrame(r)
		if err != nil {
			return
		}
		if used := x[:len(x)-r.Len()]; !bytes.Equal(Frame(data), used) {
			t.Fatalf("%x became %x", used, Frame(data))
		}
	})
}

// What decodes as a hint encodes to the same bytes.
func FuzzHint(f *testing.F) {
	f.Add(encodeHint(salt{1}, [][32]byte{{2}, {3}}))
	f.Add(encodeHint(salt{}, make([][32]byte, MaxHints)))
	f.Add(make([]byte, maxHint+hintSize))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, x []byte) {
		s, ids, err := decodeHint(x)
		if err != nil {
			return
		}
		if len(ids) < 1 || len(ids) > MaxHints || !bytes.Equal(encodeHint(s, ids), x) {
			t.Fatalf("%x did not come back", x)
		}
	})
}
