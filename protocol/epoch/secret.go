package epoch

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

// NetKey is the key N of an epoch: whoever holds it sees the envelopes of the
// epoch's common mailboxes and can prove co-membership (spec 30 section 3).
type NetKey struct{ secret }

// HedgeKey is mixed into the randomness of what a device issues, so that a bad
// random source alone does not give the secrets away.
type HedgeKey struct{ secret }

// RescueSeed makes the rescue mailbox of one device (spec 30 section 7).
type RescueSeed struct{ secret }

// Rendezvous is the key R of an invite: card and request travel under it, and a
// joiner proves it to the inviter.
type Rendezvous struct{ secret }

// MailKey is an Ed25519 key that writes or reads mailboxes: the lane key of a
// device, the card key of an invite, the inbox key of the organisers.
type MailKey struct{ secret }

// NetKeyFromBytes restores a net key that the store kept on its own.
func NetKeyFromBytes(b [32]byte) NetKey { return NetKey{newSecret(b)} }

// HedgeKeyOf derives a device's hedge key from its signing key.
func HedgeKeyOf(d identity.DeviceKey) HedgeKey {
	seed := d.Seed()
	return HedgeKey{newSecret(label.Derive(seed[:], label.HedgeKey))}
}

// NewRescueSeed draws a seed.
func NewRescueSeed(random io.Reader) (RescueSeed, error) {
	s, err := draw(random)
	return RescueSeed{s}, err
}

// RescueSeedFromBytes restores a seed from the bytes that Seed gave.
func RescueSeedFromBytes(b [32]byte) RescueSeed { return RescueSeed{newSecret(b)} }

// NewMailKey makes a key from 32 bytes of random.
func NewMailKey(random io.Reader) (MailKey, error) {
	s, err := draw(random)
	return MailKey{s}, err
}

// MailKeyFromSeed restores a key from the bytes that Seed gave.
func MailKeyFromSeed(seed [32]byte) MailKey { return MailKey{newSecret(seed)} }

// RendezvousOf derives the key of an invite from the secret in its link
// (spec 30 section 9).
func RendezvousOf(invite [16]byte, id protocol.InviteID) Rendezvous {
	prk := label.Extract(nil, invite[:])
	return Rendezvous{newSecret([32]byte(label.Expand(prk[:], label.Rendezvous, id[:], 32)))}
}

// Derive gives the 32 bytes for another use of the net key, such as the gate.
func (k NetKey) Derive(l label.Label) [32]byte { return label.Derive(k.slice(), l) }

// Derive gives the 32 bytes for another use of the seed than its mailbox.
func (s RescueSeed) Derive(l label.Label) [32]byte { return label.Derive(s.slice(), l) }

// Derive gives the 32 bytes for another use of the rendezvous key.
func (r Rendezvous) Derive(l label.Label) [32]byte { return label.Derive(r.slice(), l) }

// Recon is the 16-byte tag by which two holders of the net key name the epoch
// to each other: the first half of Derive(N, "recon"). It tells others nothing.
func (k NetKey) Recon() [16]byte {
	d := k.Derive(label.Recon)
	return [16]byte(d[:16])
}

// Public returns the public half.
func (k MailKey) Public() [32]byte {
	return [32]byte(ed25519.NewKeyFromSeed(k.slice()).Public().(ed25519.PublicKey))
}

func (k MailKey) sign(l label.Label, x []byte) identity.Signature {
	return identity.Signature(ed25519.Sign(ed25519.NewKeyFromSeed(k.slice()), label.Transcript(l, x)))
}

// secret is 32 bytes that cannot be printed, compared or encoded. They lie inside
// a function, because package fmt does not call Format on what it finds in an
// unexported field: of a function it prints no more than the address.
type secret struct {
	hidden
	bytes func() [32]byte
}

func newSecret(b [32]byte) secret { return secret{bytes: func() [32]byte { return b }} }

func draw(random io.Reader) (s secret, err error) {
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return secret{}, fmt.Errorf("drawing a secret: %w", err)
	}
	return newSecret(b), nil
}

// Seed returns the secret bytes, for the sealed store only.
func (s secret) Seed() (b [32]byte) {
	if s.bytes != nil {
		b = s.bytes()
	}
	return b
}

// slice is Seed as a slice, for the functions that derive.
func (s secret) slice() []byte {
	b := s.Seed()
	return b[:]
}

// hidden, embedded, keeps a type out of prints, logs and encodings, and out of ==.
type hidden struct {
	_ [0]func() // makes == a compile error
}

const redacted = "[secret]"

var errHidden = errors.New("a secret is never encoded")

// String hides the secret.
func (hidden) String() string { return redacted }

// GoString hides the secret.
func (hidden) GoString() string { return redacted }

// Format hides the secret from every verb of package fmt.
func (hidden) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue hides the secret.
func (hidden) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses.
func (hidden) MarshalText() ([]byte, error) { return nil, errHidden }

// MarshalBinary refuses.
func (hidden) MarshalBinary() ([]byte, error) { return nil, errHidden }

// MarshalJSON refuses.
func (hidden) MarshalJSON() ([]byte, error) { return nil, errHidden }

// MarshalCBOR refuses.
func (hidden) MarshalCBOR() ([]byte, error) { return nil, errHidden }
