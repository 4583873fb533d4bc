package identity

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"github.com/sethvargo/go-diceware/diceware"

	"github.com/palabre-app/palabre/identity/label"
)

func TestListOfWords(t *testing.T) {
	seen := map[string]bool{}
	for n := range listSize {
		w := wordAt(n)
		if w == "" || seen[w] || strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsLower(r) && r != '-' }) {
			t.Fatalf("word %d is %q", n, w)
		}
		seen[w] = true
	}
	if list := diceware.WordListEffLarge().(diceware.WordListNumWordser); list.NumWords() != listSize {
		t.Fatalf("the list has %d words", list.NumWords())
	}
	// The published list counts from 11111 "abacus" to 66666 "zoom".
	if wordAt(0) != "abacus" || wordAt(1) != "abdomen" || wordAt(listSize-1) != "zoom" {
		t.Errorf("the list is in another order: %s, %s, %s", wordAt(0), wordAt(1), wordAt(listSize-1))
	}
}

func TestSafetyWordsVector(t *testing.T) {
	var group [32]byte
	for i := range group {
		group[i] = byte(i)
	}
	member := MemberKeyFromSeed([32]byte{7}).Public()
	got := SafetyWords(group, member)
	if want := "kindred reformer yonder nuclei unsnap nursing"; strings.Join(got[:], " ") != want { // spec 85 section 4
		t.Errorf("words are %q, want %q", got, want)
	}
	// Backwards from the words to the number.
	index := map[string]int64{}
	for n := range listSize {
		index[wordAt(n)] = int64(n)
	}
	back, base := new(big.Int), big.NewInt(listSize)
	for _, w := range got {
		back.Add(back.Mul(back, base), big.NewInt(index[w]))
	}
	ref := label.Ref(label.Words, append(group[:], member[:]...))
	want := new(big.Int).SetBytes(ref[:])
	want.Mod(want, new(big.Int).Exp(base, big.NewInt(WordCount), nil))
	if back.Cmp(want) != 0 {
		t.Error("the words are not the last six digits of the number")
	}
	for i := range 32 {
		g, m := group, member
		g[i] ^= 1
		m[i] ^= 1
		if SafetyWords(g, member) == got || SafetyWords(group, m) == got {
			t.Fatalf("byte %d does not change the words", i)
		}
	}
}

func TestNewPassphrase(t *testing.T) {
	// 0x1e60 is 7,776: refused, so the next two bytes count. The top bits do not.
	random := bytes.NewReader([]byte{0x1e, 0x60, 0, 0, 0xe0, 1, 0x1e, 0x5f, 0x1f, 0xff, 0, 2, 0, 3, 0, 3})
	got, err := NewPassphrase(random)
	want := strings.Join([]string{wordAt(0), wordAt(1), wordAt(listSize - 1), wordAt(2), wordAt(3), wordAt(3)}, " ")
	if err != nil || got != want || random.Len() != 0 {
		t.Errorf("got %q, %v, %d bytes left; want %q", got, err, random.Len(), want)
	}
	if _, err := NewPassphrase(bytes.NewReader(make([]byte, 11))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reader that ends gave %v", err)
	}
	if _, err := NewPassphrase(repeat(0xff)); err == nil {
		t.Error("a reader that never gives a word was not noticed")
	}
}

// repeat is a reader that gives one byte for ever.
type repeat byte

func (r repeat) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r)
	}
	return len(b), nil
}
