package identity

import (
	"io"

	"github.com/palabre-app/palabre/identity/label"
)

// MasterKey is the key of a profile: the sealed key file wraps it, and every key
// of the profile's store is derived from it.
type MasterKey struct{ secret }

// NewMasterKey makes a key from 32 bytes of random.
func NewMasterKey(random io.Reader) (MasterKey, error) {
	s, err := drawSecret(random)
	return MasterKey{s}, err
}

// MasterKeyFromBytes makes the key of 32 bytes that are already secret and random.
func MasterKeyFromBytes(b [SeedSize]byte) MasterKey { return MasterKey{newSecret(b)} }

// Derive returns the 32-byte key of one purpose: Expand under l with the context
// (spec 10 section 2). The master key itself is for the key file and the store only.
func (k MasterKey) Derive(l label.Label, context []byte) [label.Size]byte {
	b := k.reveal()
	return [label.Size]byte(label.Expand(b[:], l, context, label.Size))
}

// Bytes returns the secret bytes, for opening the sealed store only.
func (k MasterKey) Bytes() [SeedSize]byte { return k.reveal() }

// Equal says in constant time whether both are the same key.
func (k MasterKey) Equal(other MasterKey) bool { return k.equal(other.secret) }

// Equal says in constant time whether both are the same key.
func (k MemberKey) Equal(other MemberKey) bool { return k.equal(other.secret) }

// Equal says in constant time whether both are the same key.
func (k DeviceKey) Equal(other DeviceKey) bool { return k.equal(other.secret) }
