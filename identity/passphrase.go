package identity

import (
	"crypto/cipher"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/text/unicode/norm"
)

// MaxPassphrase is the most bytes of a passphrase, as typed.
const MaxPassphrase = 1_024

// ErrNewPassphrase says that a new passphrase cannot be used: it is empty, longer
// than MaxPassphrase, not UTF-8, or already in use in the same file.
var ErrNewPassphrase = errors.New("this passphrase cannot be used")

// normalPassphrase gives the bytes that are stretched: each space character of
// any width becomes U+0020, then Unicode form NFC (as RFC 8265 section 4.2), so
// that one passphrase typed on two keyboards is one. Nothing is trimmed and case
// counts. NFKC is not used: it would make different passphrases equal.
func normalPassphrase(typed []byte) (normal []byte, ok bool) {
	if len(typed) == 0 || len(typed) > MaxPassphrase || !utf8.Valid(typed) {
		return nil, false
	}
	spaced := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, string(typed))
	return norm.NFC.Bytes([]byte(spaced)), true
}

// aead is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under one key.
type aead struct{ cipher.AEAD }

func newAEAD(key []byte) aead {
	c, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic("identity: " + err.Error())
	}
	return aead{c}
}

// seal writes the ciphertext over dst, which has its length.
func (a aead) seal(dst, nonce, plain, bound []byte) {
	copy(dst, a.AEAD.Seal(nil, nonce, plain, bound))
}

// open returns nil where box is not what was sealed.
func (a aead) open(box, nonce, bound []byte) []byte {
	plain, err := a.AEAD.Open(nil, nonce, box, bound)
	if err != nil {
		return nil
	}
	return plain
}
