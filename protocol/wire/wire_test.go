package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// sample has a field of each shape that structures use.
type sample struct {
	_     struct{} `cbor:",toarray"`
	N     uint64
	Text  string
	Bytes []byte
	Fixed [2]byte
	List  []int64
	Yes   bool
	More  Map
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// good is 87 | 17 | 62 c3a9 | 41 ff | 42 0102 | 82 00 20 | f5 | a2 01 02 18 18 41 00
var good = unhex("87 17 62c3a9 41ff 420102 820020 f5 a2 01 02 1818 4100")

func TestSampleRoundTrip(t *testing.T) {
	want := sample{N: 23, Text: "é", Bytes: []byte{255}, Fixed: [2]byte{1, 2}, List: []int64{0, -1}, Yes: true,
		More: Map{1: Raw{2}, 24: Raw{0x41, 0}}}
	if got := Marshal(want); !bytes.Equal(got, good) {
		t.Fatalf("encodes to %x", got)
	}
	var got sample
	if err := Unmarshal(good, len(good), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("decodes to %+v, %v", got, err)
	}
	if err := Unmarshal(good, len(good)-1, &got); !errors.Is(err, ErrEncoding) {
		t.Errorf("more bytes than the most allowed: %v", err)
	}
	// Containers that hold nothing are empty, never null.
	if got := Marshal(sample{}); !bytes.Equal(got, unhex("87 00 60 40 420000 80 f4 a0")) {
		t.Errorf("the empty sample encodes to %x", got)
	}
	var empty sample
	if err := Unmarshal(Marshal(sample{}), 100, &empty); err != nil {
		t.Error(err)
	}
}

// TestOneEncodingOnly gives other encodings of what good says, and what the
// house encoding has no use for.
func TestOneEncodingOnly(t *testing.T) {
	for name, s := range map[string]string{
		"number in 1 byte that fits in 0":  "87 1817 62c3a9 41ff 420102 820020 f5 a0",
		"number in 2 bytes":                "87 190017 62c3a9 41ff 420102 820020 f5 a0",
		"number in 4 bytes":                "87 1a00000017 62c3a9 41ff 420102 820020 f5 a0",
		"number in 8 bytes":                "87 1b0000000000000017 62c3a9 41ff 420102 820020 f5 a0",
		"255 in 2 bytes":                   "87 1900ff 62c3a9 41ff 420102 820020 f5 a0",
		"65535 in 4 bytes":                 "87 1a0000ffff 62c3a9 41ff 420102 820020 f5 a0",
		"2^32-1 in 8 bytes":                "87 1b00000000ffffffff 62c3a9 41ff 420102 820020 f5 a0",
		"negative number not shortest":     "87 17 62c3a9 41ff 420102 82003800 f5 a0",
		"text length not shortest":         "87 17 7802c3a9 41ff 420102 820020 f5 a0",
		"bytes length not shortest":        "87 17 62c3a9 5801ff 420102 820020 f5 a0",
		"array length not shortest":        "9807 17 62c3a9 41ff 420102 820020 f5 a0",
		"map length not shortest":          "87 17 62c3a9 41ff 420102 820020 f5 b800",
		"indefinite outer array":           "9f 17 62c3a9 41ff 420102 820020 f5 a0 ff",
		"indefinite inner array":           "87 17 62c3a9 41ff 420102 9f0020ff f5 a0",
		"indefinite text":                  "87 17 7f62c3a9ff 41ff 420102 820020 f5 a0",
		"indefinite bytes":                 "87 17 62c3a9 5f41ffff 420102 820020 f5 a0",
		"indefinite map":                   "87 17 62c3a9 41ff 420102 820020 f5 bfff",
		"map keys out of order":            "87 17 62c3a9 41ff 420102 820020 f5 a2 181800 0100",
		"map key twice":                    "87 17 62c3a9 41ff 420102 820020 f5 a2 0100 0100",
		"map key not shortest":             "87 17 62c3a9 41ff 420102 820020 f5 a1 180100",
		"map in a kept value out of order": "87 17 62c3a9 41ff 420102 820020 f5 a1 01 a2 0200 0100",
		"map in a kept value, key twice":   "87 17 62c3a9 41ff 420102 820020 f5 a1 01 a2 0200 0200",
		"kept value not shortest":          "87 17 62c3a9 41ff 420102 820020 f5 a1 01 1800",
		"kept value is null":               "87 17 62c3a9 41ff 420102 820020 f5 a1 01 f6",
		"kept value is a float":            "87 17 62c3a9 41ff 420102 820020 f5 a1 01 f93c00",
		"kept text is not UTF-8":           "87 17 62c3a9 41ff 420102 820020 f5 a1 01 61ff",
		"negative map key":                 "87 17 62c3a9 41ff 420102 820020 f5 a1 2000",
		"text map key":                     "87 17 62c3a9 41ff 420102 820020 f5 a1 616100",
		"tag before all":                   "d9d9f7 87 17 62c3a9 41ff 420102 820020 f5 a0",
		"tag of a bignum":                  "87 c24117 62c3a9 41ff 420102 820020 f5 a0",
		"tag of encoded CBOR":              "87 17 62c3a9 d81841ff 420102 820020 f5 a0",
		"float for a number":               "87 f94dc0 62c3a9 41ff 420102 820020 f5 a0",
		"float32":                          "87 fa41b80000 62c3a9 41ff 420102 820020 f5 a0",
		"float64":                          "87 fb4037000000000000 62c3a9 41ff 420102 820020 f5 a0",
		"null for bytes":                   "87 17 62c3a9 f6 420102 820020 f5 a0",
		"null for a list":                  "87 17 62c3a9 41ff 420102 f6 f5 a0",
		"undefined":                        "87 17 62c3a9 41ff 420102 f7 f5 a0",
		"simple value":                     "87 17 62c3a9 41ff 420102 820020 f0 a0",
		"true in two bytes":                "87 17 62c3a9 41ff 420102 820020 f815 a0",
		"break alone":                      "ff",
		"text that is not UTF-8":           "87 17 62c328 41ff 420102 820020 f5 a0",
		"text with a surrogate":            "87 17 63eda080 41ff 420102 820020 f5 a0",
		"text overlong":                    "87 17 62c0af 41ff 420102 820020 f5 a0",
		"text cut inside a character":      "87 17 61c3 41ff 420102 820020 f5 a0",
		"bytes for text":                   "87 17 42c3a9 41ff 420102 820020 f5 a0",
		"text for bytes":                   "87 17 62c3a9 6161 420102 820020 f5 a0",
		"array of numbers for bytes":       "87 17 62c3a9 8118ff 420102 820020 f5 a0",
		"array of numbers for fixed bytes": "87 17 62c3a9 41ff 820102 820020 f5 a0",
		"fixed bytes too short":            "87 17 62c3a9 41ff 4101 820020 f5 a0",
		"fixed bytes too long":             "87 17 62c3a9 41ff 43010200 820020 f5 a0",
		"a field too few":                  "86 17 62c3a9 41ff 420102 820020 f5",
		"a field too many":                 "88 17 62c3a9 41ff 420102 820020 f5 a0 00",
		"map for array":                    "a1 00 17",
		"negative for unsigned":            "87 20 62c3a9 41ff 420102 820020 f5 a0",
		"below the smallest integer":       "87 17 62c3a9 41ff 420102 81 3b8000000000000000 f5 a0",
		"trailing byte":                    hex.EncodeToString(good) + "00",
		"second value":                     hex.EncodeToString(good) + hex.EncodeToString(good),
		"nothing":                          "",
		"reserved length 28":               "1c", "reserved length 29": "3d", "reserved length 30": "5e",
	} {
		var v sample
		if err := Unmarshal(unhex(s), 1_000, &v); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		var v sample
		if err := Unmarshal(good[:n], 1_000, &v); !errors.Is(err, ErrEncoding) {
			t.Errorf("the first %d bytes alone: %v", n, err)
		}
	}
}

// TestLengthsInShortestForm walks the borders of the head's sizes.
func TestLengthsInShortestForm(t *testing.T) {
	for _, n := range []uint64{0, 23, 24, 255, 256, 65_535, 65_536, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		var got uint64
		if err := Unmarshal(Marshal(n), 9, &got); err != nil || got != n {
			t.Errorf("%d: %d, %v", n, got, err)
		}
	}
}

func TestMapKeepsWhatItDoesNotKnow(t *testing.T) {
	b := unhex("a3 00 01 17 82 41aa 6161 1903e8 a1 01 02")
	var m Map
	if err := Unmarshal(b, 100, &m); err != nil || len(m) != 3 || !bytes.Equal(m[23], unhex("82 41aa 6161")) {
		t.Fatal(m, err)
	}
	if !bytes.Equal(Marshal(m), b) {
		t.Error("an unknown key was lost")
	}
	// What is kept does not lie in the given bytes.
	clear(b)
	if !bytes.Equal(m[23], unhex("82 41aa 6161")) {
		t.Error("a kept value aliases the input")
	}
}

func TestDepth(t *testing.T) {
	nest := func(n int) []byte { return append(bytes.Repeat([]byte{0x81}, n), 0) }
	var v Raw
	if err := Unmarshal(nest(MaxDepth), 100, &v); err != nil {
		t.Error(err)
	}
	if err := Unmarshal(nest(MaxDepth+1), 100, &v); !errors.Is(err, ErrEncoding) {
		t.Errorf("%d levels: %v", MaxDepth+1, err)
	}
	if _, err := canonical(nest(MaxDepth+1), MaxDepth); !errors.Is(err, ErrEncoding) {
		t.Errorf("%d levels, before the decoder: %v", MaxDepth+1, err)
	}
	for _, head := range []byte{0x81, 0xa1} {
		deep := bytes.Repeat([]byte{head}, 12_000)
		if grown := allocated(func() {
			if err := Unmarshal(deep, len(deep), &v); !errors.Is(err, ErrEncoding) {
				t.Errorf("12,000 levels: %v", err)
			}
		}); grown > 4<<10 {
			t.Errorf("12,000 levels: %d bytes allocated, so it is not the first levels that decide", grown)
		}
	}
}

// TestDeclaredLengthsCostNothing declares far more than is there.
func TestDeclaredLengthsCostNothing(t *testing.T) {
	var fits [3]any // one of each target
	for _, head := range []string{
		"5affffffff", "7affffffff", "9affffffff", "baffffffff", "5bffffffffffffffff", "7b7fffffffffffffff", "9bffffffffffffffff",
		"bbffffffffffffffff", "991001", "b91001", "590400", "87 17 7affffffff", "87 17 62c3a9 5affffffff", "87 17 62c3a9 41ff 420102 9affffffff",
		"a1 01 9affffffff",
	} {
		b := append(unhex(head), make([]byte, 10)...)
		fits = [3]any{new(sample), new(Map), new(Raw)}
		for _, v := range fits {
			grown := allocated(func() {
				if err := Unmarshal(b, 1<<20, v); !errors.Is(err, ErrEncoding) {
					t.Errorf("%s: %v", head, err)
				}
				if _, err := UnmarshalPadded(b, 1<<20, v); !errors.Is(err, ErrEncoding) {
					t.Errorf("%s padded: %v", head, err)
				}
			})
			if grown > 64<<10 {
				t.Errorf("%s into %T: %d bytes allocated", head, v, grown)
			}
		}
	}
	// Many elements that are really there cost a small multiple of the input.
	list := append(unhex("991000"), make([]byte, MaxElements)...)
	var numbers []int64
	if grown := allocated(func() {
		if err := Unmarshal(list, len(list), &numbers); err != nil || len(numbers) != MaxElements {
			t.Error(len(numbers), err)
		}
	}); grown > 100*uint64(len(list)) {
		t.Errorf("%d bytes allocated for %d", grown, len(list))
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestPadding(t *testing.T) {
	var v sample
	for _, zeros := range []int{0, 1, 1_000} {
		b := append(bytes.Clone(good), make([]byte, zeros)...)
		if n, err := UnmarshalPadded(b, len(b), &v); err != nil || n != len(good) {
			t.Errorf("%d zeros: %d, %v", zeros, n, err)
		}
		for i := len(good); i < len(b); i++ {
			b[i] = 1
			if _, err := UnmarshalPadded(b, len(b), &v); !errors.Is(err, ErrEncoding) {
				t.Fatalf("byte %d of the padding is not zero: %v", i, err)
			}
			b[i] = 0
		}
		if _, err := UnmarshalPadded(b, len(b)-1, &v); !errors.Is(err, ErrEncoding) {
			t.Errorf("more bytes than the most allowed: %v", err)
		}
	}
}

func TestErrorsDoNotRepeatTheInput(t *testing.T) {
	for _, b := range [][]byte{
		append([]byte{0x66}, "secret"...), append([]byte{0x87, 0x17, 0x66}, "secret"...),
		append([]byte{0x67}, "secret"...), append(append([]byte{0x66}, "secret"...), 1),
	} {
		var v sample
		if err := Unmarshal(b, 100, &v); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestMarshalPanicsForWhatHasNoEncoding(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Marshal(make(chan int))
}
