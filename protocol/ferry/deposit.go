package ferry

import (
	"crypto/ed25519"
	"fmt"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Signature is an Ed25519 signature over a labelled transcript.
type Signature [ed25519.SignatureSize]byte

// MaxDeposit is the size of the largest deposit in bytes.
const MaxDeposit = protocol.BucketLarge + 140

// Deposit is an envelope and the proof that whoever made it may write in its
// mailbox (spec 75 section 1).
type Deposit struct {
	_           struct{} `cbor:",toarray"`
	Envelope    []byte
	Write, Read [32]byte
	Put         Signature
}

// ParseDeposit decodes and checks a deposit, which it does not alias. The error
// wraps ErrClient.
func ParseDeposit(b []byte) (Deposit, error) {
	var d Deposit
	if err := wire.Unmarshal(b, MaxDeposit, &d); err != nil {
		return Deposit{}, fmt.Errorf("%w: %w", ErrClient, err)
	}
	e, err := protocol.ParseEnvelope(d.Envelope)
	if err != nil {
		return Deposit{}, fmt.Errorf("%w: %w", ErrClient, err)
	}
	if protocol.MailboxOf(d.Write, d.Read) != e.Mailbox {
		return Deposit{}, fmt.Errorf("%w: the envelope is of another mailbox", ErrClient)
	}
	id := d.ID()
	if !verify(d.Write, label.Put, id[:], d.Put) {
		return Deposit{}, fmt.Errorf("%w: the deposit is not signed by who may write", ErrClient)
	}
	return d, nil
}

// Marshal returns the encoded deposit.
func (d Deposit) Marshal() []byte { return wire.Marshal(d) }

// ID returns the id of its envelope.
func (d Deposit) ID() protocol.EnvelopeID { return protocol.IDOf(d.Envelope) }

func verify(key [32]byte, l label.Label, x []byte, sig Signature) bool {
	return ed25519.Verify(key[:], label.Transcript(l, x), sig[:])
}
