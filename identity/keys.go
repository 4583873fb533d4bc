// Package identity holds who a person is within one group: the member key, the
// device keys that it certifies, the words that people compare, and the sealed
// key file. It is the only package that signs as a person or as a device.
//
// Start with NewMemberKey and NewDeviceKey; a profile starts with SealKeyFile.
// What is promised: private keys cannot be printed, logged, encoded or compared
// with ==; a signature is always made under a label, so that one kind of
// signature never passes for another. Keys are fresh per group and are never a
// network identity.
package identity

import (
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"

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

// private is a signing key that cannot be printed or compared.
type private struct {
	_    [0]func() // makes == a compile error
	seed [SeedSize]byte
}

// NewMemberKey makes a key from 32 bytes of random.
func NewMemberKey(random io.Reader) (MemberKey, error) {
	p, err := newPrivate(random)
	return MemberKey{p}, err
}

// NewDeviceKey makes a key from 32 bytes of random.
func NewDeviceKey(random io.Reader) (DeviceKey, error) {
	p, err := newPrivate(random)
	return DeviceKey{p}, err
}

// MemberKeyFromSeed restores a key from the bytes that Seed gave.
func MemberKeyFromSeed(seed [SeedSize]byte) MemberKey { return MemberKey{private{seed: seed}} }

// DeviceKeyFromSeed restores a key from the bytes that Seed gave.
func DeviceKeyFromSeed(seed [SeedSize]byte) DeviceKey { return DeviceKey{private{seed: seed}} }

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

func newPrivate(random io.Reader) (p private, err error) {
	if _, err := io.ReadFull(random, p.seed[:]); err != nil {
		return private{}, fmt.Errorf("making a key: %w", err)
	}
	return p, nil
}

// Sign signs x under l: Ed25519 over the transcript of RFC 9420 section 5.1.2.
func (p private) Sign(l label.Label, x []byte) Signature {
	key := ed25519.NewKeyFromSeed(p.seed[:])
	return Signature(ed25519.Sign(key, label.Transcript(l, x)))
}

// Seed returns the secret bytes, for the sealed store only.
func (p private) Seed() [SeedSize]byte { return p.seed }

// IsZero says that no key is held.
func (p private) IsZero() bool {
	var none [SeedSize]byte
	return subtle.ConstantTimeCompare(p.seed[:], none[:]) == 1
}

func (p private) public() []byte {
	return ed25519.NewKeyFromSeed(p.seed[:]).Public().(ed25519.PublicKey)
}

const redacted = "[private key]"

// errPrivate answers every attempt to encode a private key.
var errPrivate = errors.New("a private key is never encoded")

// String hides the key.
func (private) String() string { return redacted }

// GoString hides the key.
func (private) GoString() string { return redacted }

// Format hides the key from every verb of package fmt.
func (private) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue hides the key.
func (private) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses.
func (private) MarshalText() ([]byte, error) { return nil, errPrivate }

// MarshalBinary refuses.
func (private) MarshalBinary() ([]byte, error) { return nil, errPrivate }

// MarshalJSON refuses.
func (private) MarshalJSON() ([]byte, error) { return nil, errPrivate }

// MarshalCBOR refuses.
func (private) MarshalCBOR() ([]byte, error) { return nil, errPrivate }
