// Package identity holds who a person is within one group: the member key, the
// device keys that it certifies, the words that people compare, and the sealed
// key file. It is the only package that signs as a person or as a device.
//
// Start with NewMemberKey and NewDeviceKey; a profile starts with SealKeyFile.
// What is promised: private keys cannot be printed, logged, encoded or compared
// with ==; a signature is always made under a label, so that one kind of
// signature never passes for another. Keys are fresh per group and are never a
// network identity. Spec 20 sections 2 and 3 have the bytes of ids and
// certificates, spec 85 those of the key file and the words.
package identity

import (
	"crypto/ed25519"
	"io"

	"github.com/palabre-app/palabre/identity/label"
)

// SeedSize is the length in bytes of a private key as it is stored.
const SeedSize = 32

// Signature is an Ed25519 signature (RFC 8032) over a labelled transcript.
type Signature [ed25519.SignatureSize]byte

// MemberPublic is the public half of a member key.
type MemberPublic [ed25519.PublicKeySize]byte

// DevicePublic is the public half of a device key.
type DevicePublic [ed25519.PublicKeySize]byte

// MemberKey is the private key that certifies a person's devices in one group.
type MemberKey struct{ private }

// DeviceKey is the private key with which one device signs all that it sends.
type DeviceKey struct{ private }

// private is a signing key.
type private struct{ secret }

// NewMemberKey makes a key from 32 bytes of random.
func NewMemberKey(random io.Reader) (MemberKey, error) {
	s, err := drawSecret(random)
	return MemberKey{private{s}}, err
}

// NewDeviceKey makes a key from 32 bytes of random.
func NewDeviceKey(random io.Reader) (DeviceKey, error) {
	s, err := drawSecret(random)
	return DeviceKey{private{s}}, err
}

// MemberKeyFromSeed restores a key from the bytes that Seed gave.
func MemberKeyFromSeed(seed [SeedSize]byte) MemberKey { return MemberKey{private{newSecret(seed)}} }

// DeviceKeyFromSeed restores a key from the bytes that Seed gave.
func DeviceKeyFromSeed(seed [SeedSize]byte) DeviceKey { return DeviceKey{private{newSecret(seed)}} }

// Public returns the public half.
func (k MemberKey) Public() MemberPublic { return MemberPublic(k.public()) }

// Public returns the public half.
func (k DeviceKey) Public() DevicePublic { return DevicePublic(k.public()) }

// Verify says whether sig was made by this key's owner over x under l.
func (k MemberPublic) Verify(l label.Label, x []byte, sig Signature) bool {
	return ed25519.Verify(k[:], label.Transcript(l, x), sig[:])
}

// Verify says whether sig was made by this device over x under l.
func (k DevicePublic) Verify(l label.Label, x []byte, sig Signature) bool {
	return ed25519.Verify(k[:], label.Transcript(l, x), sig[:])
}

// Sign signs x under l: Ed25519 over the transcript of RFC 9420 section 5.1.2.
// It panics where no key is held, because a signature under a key that everybody
// knows would be worse than none.
func (p private) Sign(l label.Label, x []byte) Signature {
	if p.bytes == nil {
		panic("identity: signing without a key")
	}
	seed := p.reveal()
	key := ed25519.NewKeyFromSeed(seed[:])
	return Signature(ed25519.Sign(key, label.Transcript(l, x)))
}

// Seed returns the secret bytes, for the sealed store only.
func (p private) Seed() [SeedSize]byte { return p.reveal() }

func (p private) public() []byte {
	seed := p.reveal()
	return ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
}
