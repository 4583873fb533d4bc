package protocol

import (
	"crypto/sha256"
	"errors"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Envelope buckets in bytes, and the room that each leaves for a frame: the
// bucket less 65 bytes of encoding and 16 of authentication (spec 20 section 4).
const (
	BucketSmall  = 2_048
	BucketMedium = 16_384
	BucketLarge  = 65_536

	envelopeOverhead = 65 + 16
	RoomSmall        = BucketSmall - envelopeOverhead
	RoomMedium       = BucketMedium - envelopeOverhead
	RoomLarge        = BucketLarge - envelopeOverhead
	MaxRoom          = RoomLarge
)

// ErrEnvelope says that an envelope is malformed.
var ErrEnvelope = errors.New("malformed envelope")

// Envelope is all that anybody but a member sees of an item: a mailbox address
// and ciphertext of one of three sizes.
type Envelope struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Mailbox    MailboxID
	Nonce      [24]byte
	Ciphertext []byte
}

// ParseEnvelope decodes an envelope, which it does not alias. The error wraps
// ErrEnvelope.
func ParseEnvelope(b []byte) (Envelope, error) {
	var e Envelope
	if len(b) != BucketSmall && len(b) != BucketMedium && len(b) != BucketLarge {
		return Envelope{}, ErrEnvelope
	}
	if err := wire.Unmarshal(b, BucketLarge, &e); err != nil {
		return Envelope{}, errors.Join(ErrEnvelope, err)
	}
	if e.Version != Version {
		return Envelope{}, ErrEnvelope
	}
	return e, nil
}

// Marshal returns the encoded envelope.
func (e Envelope) Marshal() []byte { return wire.Marshal(e) }

// MailboxOf returns the address of a mailbox from its public keys, as a carrier
// computes it: Ref("Mailbox", CBOR [write key, read key]) (spec 30 section 7).
func MailboxOf(write, read [32]byte) MailboxID {
	return label.Ref(label.Mailbox, wire.Marshal(struct {
		_           struct{} `cbor:",toarray"`
		Write, Read [32]byte
	}{Write: write, Read: read}))
}

// IDOf returns the id of an encoded envelope.
func IDOf(envelope []byte) EnvelopeID { return sha256.Sum256(envelope) }

// Check is the stateless part of the relay check: size, encoding and version.
// Anything else needs keys.
func Check(envelope []byte) Verdict {
	if _, err := ParseEnvelope(envelope); err != nil {
		return Reject
	}
	return Accept
}

// RoomFor returns the room of the smallest bucket that holds a frame of n
// bytes, or 0 if none does.
func RoomFor(n int) int {
	for _, room := range []int{RoomSmall, RoomMedium, RoomLarge} {
		if n <= room {
			return room
		}
	}
	return 0
}
