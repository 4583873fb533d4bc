package identity

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// secret is 32 bytes that cannot be printed, logged, encoded or compared with ==.
// The bytes lie inside a function: package fmt does not call Format on what it
// finds in an unexported field, and would print an array or follow a pointer
// there, but of a function it prints no more than the address.
type secret struct {
	bytes func() [SeedSize]byte
}

func newSecret(b [SeedSize]byte) secret {
	return secret{func() [SeedSize]byte { return b }}
}

func drawSecret(random io.Reader) (secret, error) {
	var b [SeedSize]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return secret{}, fmt.Errorf("making a key: %w", err)
	}
	return newSecret(b), nil
}

func (s secret) reveal() (b [SeedSize]byte) {
	if s.bytes != nil {
		b = s.bytes()
	}
	return b
}

func (s secret) equal(t secret) bool {
	a, b := s.reveal(), t.reveal()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// IsZero says that no key is held.
func (s secret) IsZero() bool { return s.equal(secret{}) }

const redacted = "[private key]"

// errSecret answers every attempt to encode a secret.
var errSecret = errors.New("a private key is never encoded")

// String hides the key.
func (secret) String() string { return redacted }

// GoString hides the key.
func (secret) GoString() string { return redacted }

// Format hides the key from every verb of package fmt.
func (secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue hides the key.
func (secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses.
func (secret) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalBinary refuses.
func (secret) MarshalBinary() ([]byte, error) { return nil, errSecret }

// MarshalJSON refuses.
func (secret) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalCBOR refuses.
func (secret) MarshalCBOR() ([]byte, error) { return nil, errSecret }
