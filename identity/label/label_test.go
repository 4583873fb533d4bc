package label

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// TestEachInputChangesTheResult changes one input of each function at a time.
func TestEachInputChangesTheResult(t *testing.T) {
	secret, other := bytes.Repeat([]byte{1}, Size), append(bytes.Repeat([]byte{1}, Size-1), 0)
	c := []byte("context")
	tests := map[string][][]byte{
		"Expand": {
			Expand(secret, Net, c, 32), Expand(other, Net, c, 32), Expand(secret, Tree, c, 32),
			Expand(secret, Net, c[:6], 32), Expand(secret, Net, nil, 32), Expand(secret, Net, c, 33)[:32],
		},
		"Derive": {d(Derive(secret, Net)), d(Derive(other, Net)), d(Derive(secret, Tree))},
		"DeriveTree": {
			DeriveTree(secret, Net, 0, 32), DeriveTree(secret, Net, 1, 32), DeriveTree(secret, Net, 1<<24, 32),
			DeriveTree(other, Net, 0, 32), DeriveTree(secret, Tree, 0, 32), DeriveTree(secret, Net, 0, 12),
		},
		"Extract":    {d(Extract(secret, c)), d(Extract(other, c)), d(Extract(secret, c[:6])), d(Extract(c, secret))},
		"Ref":        {d(Ref(Op, c)), d(Ref(Page, c)), d(Ref(Op, c[:6])), d(Ref(Op, nil))},
		"Transcript": {Transcript(Op, c), Transcript(Page, c), Transcript(Op, c[:6]), Transcript(Op, nil)},
		"HPKEInfo":   {HPKEInfo(Box, c), HPKEInfo(JoinBox, c), HPKEInfo(Box, c[:6]), HPKEInfo(Box, nil)},
		"Frame":      {Transcript(Frame(16), c), Transcript(Frame(17), c), Transcript(Frame(1), c), Transcript(Frame(255), c)},
	}
	for name, results := range tests {
		for i := range results {
			for j := range i {
				if bytes.Equal(results[i], results[j]) {
					t.Errorf("%s: variants %d and %d give the same bytes", name, j, i)
				}
			}
		}
	}
}

func d(b [Size]byte) []byte { return b[:] }

// TestNoTwoSplitsAreOneTranscript moves the border between label and content.
func TestNoTwoSplitsAreOneTranscript(t *testing.T) {
	whole := "OpOpOpOp"
	for i := 1; i < len(whole); i++ {
		for j := 1; j < i; j++ {
			a, b := Transcript(Label(whole[:i]), []byte(whole[i:])), Transcript(Label(whole[:j]), []byte(whole[j:]))
			if bytes.Equal(a, b) {
				t.Errorf("splits at %d and %d give the same bytes", i, j)
			}
		}
	}
}

func TestVectorLengths(t *testing.T) {
	// RFC 9420 section 2.1.2: 1, 2 or 4 bytes of length, always the shortest.
	for n, want := range map[int][]byte{
		0: {0}, 1: {1}, 63: {63}, 64: {0x40, 64}, 16_383: {0x7f, 0xff}, 16_384: {0x80, 0, 0x40, 0}, 100_000: {0x80, 1, 0x86, 0xa0},
	} {
		got := appendVector([]byte{9}, make([]byte, n))
		if !bytes.Equal(got[:1+len(want)], append([]byte{9}, want...)) || len(got) != 1+len(want)+n {
			t.Errorf("a vector of %d bytes begins with %x", n, got[:min(len(got), 5)])
		}
	}
}

// TestFunctionsAgreeWithTheirDefinition writes the encodings out by hand once.
func TestFunctionsAgreeWithTheirDefinition(t *testing.T) {
	x := []byte("x")
	full := "Palabre 1.0 Op"
	want := append(append([]byte{byte(len(full))}, full...), 1, 'x')
	if got := Transcript(Op, x); !bytes.Equal(got, want) {
		t.Errorf("transcript is %q", got)
	}
	if !bytes.Equal(HPKEInfo(Op, x), want) || Ref(Op, x) != sha256.Sum256(want) {
		t.Error("Ref or HPKEInfo is not over the transcript")
	}
	secret := []byte("secret")
	if !bytes.Equal(DeriveTree(secret, Net, 7, 32), Expand(secret, Net, binary.BigEndian.AppendUint32(nil, 7), 32)) ||
		Derive(secret, Net) != [Size]byte(Expand(secret, Net, nil, 32)) {
		t.Error("Derive or DeriveTree is not an Expand")
	}
	if len(Expand(secret, Net, nil, 8_160)) != 8_160 {
		t.Error("the longest output is short")
	}
}

func TestBrokenInvariantsPanic(t *testing.T) {
	for name, call := range map[string]func(){
		"Expand":     func() { Expand(nil, "", nil, 32) },
		"Derive":     func() { Derive(nil, "") },
		"DeriveTree": func() { DeriveTree(nil, "", 0, 32) },
		"Ref":        func() { Ref("", nil) },
		"Transcript": func() { Transcript("", nil) },
		"HPKEInfo":   func() { HPKEInfo("", nil) },
		"too long":   func() { Expand(nil, Net, nil, 8_161) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}
