package epoch

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"io"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

// SealOverhead is what SealTo adds to a plaintext, in bytes: 1,120 of
// encapsulation and 16 of authentication.
const SealOverhead = 1120 + 16

var (
	errKEMPublic = errors.New("malformed KEM public key")
	errUnseal    = errors.New("sealed box does not open")
)

// KEMPrivate is the private half of a KEM key: an X-Wing seed of 32 bytes
// (ML-KEM-768 with X25519, HPKE KEM 0x647a; spec 10 section 3).
type KEMPrivate struct{ secret }

// NewKEMPrivate makes a key from 32 bytes of random.
func NewKEMPrivate(random io.Reader) (KEMPrivate, error) {
	s, err := draw(random)
	return KEMPrivate{s}, err
}

// KEMPrivateFromSeed restores a key from the bytes that Seed gave.
func KEMPrivateFromSeed(seed [32]byte) KEMPrivate { return KEMPrivate{newSecret(seed)} }

// Public returns the public half. It expands the seed anew: callers keep it.
func (k KEMPrivate) Public() protocol.KEMPublic {
	return protocol.KEMPublic(k.expand().PublicKey().Bytes())
}

func (k KEMPrivate) expand() hpke.PrivateKey {
	sk, err := hpke.MLKEM768X25519().NewPrivateKey(k.slice())
	if err != nil {
		panic("epoch: any 32 bytes are a KEM seed: " + err.Error())
	}
	return sk
}

// CheckKEMPublic says whether the bytes are a KEM public key at all.
func CheckKEMPublic(pk *protocol.KEMPublic) error {
	if _, err := hpke.MLKEM768X25519().NewPublicKey(pk[:]); err != nil {
		return errKEMPublic
	}
	return nil
}

// SealTo seals plaintext to pk: HPKE base mode (RFC 9180 section 6.1) with
// HKDF-SHA256 and ChaCha20-Poly1305, info = HPKEInfo(l, context). The result is
// SealOverhead bytes longer. The randomness is that of crypto/hpke.
func SealTo(pk *protocol.KEMPublic, l label.Label, context, plaintext []byte) ([]byte, error) {
	key, err := hpke.MLKEM768X25519().NewPublicKey(pk[:])
	if err != nil {
		return nil, errKEMPublic
	}
	ct, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), label.HPKEInfo(l, context), plaintext)
	if err != nil {
		return nil, errKEMPublic // the X25519 half is of low order
	}
	return ct, nil
}

// OpenFrom opens what SealTo made under the same label and context.
func (k KEMPrivate) OpenFrom(l label.Label, context, sealed []byte) ([]byte, error) {
	pt, err := hpke.Open(k.expand(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), label.HPKEInfo(l, context), sealed)
	if err != nil {
		return nil, errUnseal
	}
	return pt, nil
}

// deriveKEM is DeriveKeyPair of RFC 9180 section 4.
func deriveKEM(ikm [32]byte) KEMPrivate {
	sk, err := hpke.MLKEM768X25519().DeriveKeyPair(ikm[:])
	if err != nil {
		panic("epoch: deriving a KEM key: " + err.Error())
	}
	b, err := sk.Bytes()
	if err != nil || len(b) != 32 {
		panic(fmt.Sprintf("epoch: a KEM seed of %d bytes", len(b)))
	}
	return KEMPrivateFromSeed([32]byte(b))
}
