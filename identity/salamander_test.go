package identity

import (
	"encoding/binary"
	"errors"
	"math/big"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// TestOneCiphertextUnderTwoKeys builds a ciphertext that XChaCha20-Poly1305 opens
// under two keys, which is easy since Poly1305 is linear in one free block, and
// puts it in a slot: the commitment lets one of them through at most.
func TestOneCiphertextUnderTwoKeys(t *testing.T) {
	file, _ := cheapFile(t, 10, "p")
	keys := [2][]byte{stretch(file, []byte("one")), stretch(file, []byte("two"))}
	var commit, wrap [2][]byte
	var bound []byte
	for i, key := range keys {
		commit[i], wrap[i], bound = slotKeys(file, 0, key)
	}
	nonce := slotNonce(file, 0)
	box := twoKeyBox(t, wrap, nonce, bound)
	for i := range keys {
		if newAEAD(wrap[i]).open(box, nonce, bound) == nil {
			t.Fatalf("the crafted box does not open under key %d: the test proves nothing", i)
		}
	}
	slot := slotOf(file, 0)
	copy(slot[commitSize+chacha20poly1305.NonceSizeX:], box)
	for i, key := range keys {
		copy(slot, commit[i])
		if _, _, err := openSlots(file, key); err != nil {
			t.Errorf("key %d does not open the slot that commits to it: %v", i, err)
		}
		if _, _, err := openSlots(file, keys[1-i]); !errors.Is(err, ErrPassphrase) {
			t.Errorf("a slot that commits to key %d opened under the other: %v", i, err)
		}
		for b := range commitSize {
			slot[b] ^= 1
			for _, k := range keys {
				if _, _, err := openSlots(file, k); !errors.Is(err, ErrPassphrase) {
					t.Fatalf("byte %d of the commitment changed and the slot opened", b)
				}
			}
			slot[b] ^= 1
		}
	}
}

// twoKeyBox solves for the second 16-byte block of a 32-byte ciphertext so that
// the tag is the same under both keys (RFC 8439 section 2.5).
func twoKeyBox(t *testing.T, wrap [2][]byte, nonce, bound []byte) []byte {
	t.Helper()
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	high := new(big.Int).Lsh(big.NewInt(1), 128)
	number := func(le []byte) *big.Int { // little-endian
		b := slices.Clone(le)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	var r, s [2]*big.Int
	for i := range wrap {
		c, err := chacha20.NewUnauthenticatedCipher(wrap[i], nonce)
		if err != nil {
			t.Fatal(err)
		}
		var one [32]byte
		c.XORKeyStream(one[:], one[:])
		for _, b := range []int{3, 7, 11, 15} {
			one[b] &= 15
		}
		for _, b := range []int{4, 8, 12} {
			one[b] &= 252
		}
		r[i], s[i] = number(one[:16]), number(one[16:])
	}
	padded := append(slices.Clone(bound), make([]byte, -len(bound)&15)...)
	lengths := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(len(bound))), 32)
	hash := func(i int, c1 []byte, second *big.Int) *big.Int { // second is without its high bit
		h := new(big.Int)
		take := func(block *big.Int) {
			h.Add(h, block).Add(h, high).Mul(h, r[i]).Mod(h, p)
		}
		for b := 0; b < len(padded); b += 16 {
			take(number(padded[b : b+16]))
		}
		take(number(c1))
		take(second)
		take(number(lengths))
		return h
	}
	tag := func(i int, c1 []byte, second *big.Int) *big.Int {
		h := hash(i, c1, second)
		return h.Add(h, s[i]).Mod(h, high)
	}
	slope := new(big.Int).Sub(new(big.Int).Mul(r[0], r[0]), new(big.Int).Mul(r[1], r[1]))
	slope.ModInverse(slope.Mod(slope, p), p)
	for try := range uint64(1_000) {
		c1 := binary.LittleEndian.AppendUint64(make([]byte, 8), try)
		// hash 0 + s0 = hash 1 + s1 + k*2^128, and both are linear in the block.
		for k := int64(-4); k <= 4; k++ {
			d := new(big.Int).Sub(hash(1, c1, new(big.Int)), hash(0, c1, new(big.Int)))
			d.Add(d, s[1]).Sub(d, s[0]).Add(d, new(big.Int).Mul(big.NewInt(k), high))
			second := d.Mod(d.Mul(d, slope), p)
			if second.BitLen() > 128 || tag(0, c1, second).Cmp(tag(1, c1, second)) != 0 {
				continue
			}
			box := append(slices.Clone(c1), make([]byte, 32)...)
			le := func(dst []byte, n *big.Int) {
				n.FillBytes(dst)
				slices.Reverse(dst)
			}
			le(box[16:32], second)
			le(box[32:48], tag(0, c1, second))
			return box
		}
	}
	t.Fatal("no ciphertext found")
	return nil
}
