package store

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/engine"
)

// KeySize is the length in bytes of the key of a store.
const KeySize = 32

// secret is a 256-bit key. It cannot be compared with ==. The bytes lie inside of
// a function: fmt does not call Format on what is in an unexported field, and
// follows pointers for some verbs, but it prints no more of a function than its
// address. Copies of a secret share the bytes, so that they are wiped together.
type secret struct {
	bytes func() []byte
}

func newSecret(b []byte) secret {
	kept := make([]byte, KeySize)
	copy(kept, b)
	return secret{func() []byte { return kept }}
}

func (s secret) wipe() { clear(s.bytes()) }

// Format hides the bytes from every verb of fmt.
func (secret) Format(f fmt.State, _ rune) { f.Write([]byte("(secret)")) }

// derive makes the sub-key of a purpose (spec 80 section 3).
func derive(key []byte, l label.Label, purpose string) secret {
	return newSecret(label.Expand(key, l, []byte(purpose), KeySize))
}

// keys are the sub-keys of a store; which seals what is spec 80 section 3.
type keys struct {
	file, row, day, state, mark secret
	sumRow, sumDay              hash.Hash // HMAC-SHA256, used under the lock of DB
}

func deriveKeys(key [KeySize]byte) *keys {
	sr := derive(key[:], label.StoreSum, "row")
	sd := derive(key[:], label.StoreSum, "day")
	return &keys{
		file:   derive(key[:], label.StoreFile, ""),
		row:    derive(key[:], label.StoreRow, ""),
		day:    derive(key[:], label.StoreDay, ""),
		state:  derive(key[:], label.StoreSum, "state"),
		mark:   derive(key[:], label.StoreSum, "mark"),
		sumRow: hmac.New(sha256.New, sr.bytes()),
		sumDay: hmac.New(sha256.New, sd.bytes()),
	}
}

// wipe overwrites the keys, as far as a program in Go can: copies inside of the
// ciphers remain until their memory is used again.
func (k *keys) wipe() {
	for _, s := range []secret{k.file, k.row, k.day, k.state, k.mark} {
		s.wipe()
	}
}

const (
	nonceSize = chacha20poly1305.NonceSizeX
	tagSize   = chacha20poly1305.Overhead
	// stampSize is the length of a row's stamp: nonce, then tag.
	stampSize = nonceSize + tagSize
	// sealedKeySize is the length of a sealed day key: nonce, key, tag.
	sealedKeySize = nonceSize + KeySize + tagSize
)

func aead(k *secret) cipher.AEAD {
	a, err := chacha20poly1305.NewX(k.bytes())
	if err != nil {
		panic("store: " + err.Error())
	}
	return a
}

// seal encrypts plain under a fresh random nonce, which goes first. 192 bits
// make a repeat impossible in practice even if a copy of the folder goes on
// writing under the same key: no counter is ever used as a nonce.
func seal(k *secret, plain, ad []byte) []byte {
	out := make([]byte, nonceSize, nonceSize+len(plain)+tagSize)
	rand.Read(out)
	return aead(k).Seal(out, out, plain, ad)
}

// open is the inverse of seal, and ErrDamaged for anything else.
func open(k *secret, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < stampSize {
		return nil, ErrDamaged
	}
	plain, err := aead(k).Open([]byte{}, sealed[:nonceSize], sealed[nonceSize:], ad)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// rowAD binds a value to its place: space, table, shred day, key. All but the
// last have a fixed length, so no two rows share it.
func rowAD(s Space, t engine.Table, shred uint32, key []byte) []byte {
	ad := make([]byte, 0, len(s)+1+4+len(key))
	ad = append(append(ad, s[:]...), byte(t))
	ad = binary.BigEndian.AppendUint32(ad, shred)
	return append(ad, key...)
}

func dayAD(s Space, day uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{}, s[:]...), day)
}

// sealRow splits the sealed value: the stamp goes to the directory, the
// ciphertext beside it, so that the directory alone vouches for every value.
func sealRow(k *secret, value, ad []byte) (stamp [stampSize]byte, text []byte) {
	b := seal(k, value, ad)
	n := len(b) - tagSize
	copy(stamp[:], b[:nonceSize])
	copy(stamp[nonceSize:], b[n:])
	return stamp, b[nonceSize:n]
}

func openRow(k *secret, stamp, text, ad []byte) ([]byte, error) {
	if len(stamp) != stampSize || len(text) > engine.MaxValueSize {
		return nil, ErrDamaged
	}
	b := make([]byte, 0, stampSize+len(text))
	b = append(append(append(b, stamp[:nonceSize]...), text...), stamp[nonceSize:]...)
	return open(k, b, ad)
}
