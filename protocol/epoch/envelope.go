package epoch

import (
	"crypto/cipher"
	"crypto/hmac"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Seal puts an encoded frame into an envelope of this mailbox, in the smallest
// bucket that holds it. The nonce follows from the padded frame and the mailbox,
// so that whoever seals a frame again makes the same bytes. That is safe because
// equal nonces under one key then mean equal plaintext and equal mailbox; and it
// tells a carrier only that two envelopes are the same. Error: what is not a
// frame, or too large for any bucket.
func (m *Mailbox) Seal(frame []byte) ([]byte, error) {
	room := protocol.RoomFor(len(frame))
	if room == 0 {
		return nil, ErrTooLarge
	}
	if n, err := frameLength(frame); err != nil || n != len(frame) {
		return nil, fmt.Errorf("sealing an envelope: %w", protocol.ErrFrame)
	}
	padded := make([]byte, room)
	copy(padded, frame)
	nonce := m.nonce(padded)
	e := protocol.Envelope{Version: protocol.Version, Mailbox: m.Address(), Nonce: nonce}
	e.Ciphertext = m.aead().Seal(nil, nonce[:], padded, m.aad())
	return e.Marshal(), nil
}

// Open opens an envelope of this mailbox and returns the encoded frame inside,
// without padding, not aliased. Refused with ErrEnvelope: another mailbox or key,
// a nonce that is not the computed one, padding that is not zero, a bucket larger
// than needed, what is not a frame. The frame's signature is the caller's to check.
func (m *Mailbox) Open(envelope []byte) ([]byte, error) {
	e, err := protocol.ParseEnvelope(envelope)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if e.Mailbox != m.Address() {
		return nil, fmt.Errorf("%w: another mailbox", ErrEnvelope)
	}
	padded, err := m.aead().Open(nil, e.Nonce[:], e.Ciphertext, m.aad())
	if err != nil {
		return nil, ErrEnvelope
	}
	if want := m.nonce(padded); !hmac.Equal(want[:], e.Nonce[:]) {
		return nil, fmt.Errorf("%w: wrong nonce", ErrEnvelope)
	}
	n, err := frameLength(padded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if protocol.RoomFor(n) != len(padded) {
		return nil, fmt.Errorf("%w: larger than its content needs", ErrEnvelope)
	}
	return padded[:n:n], nil
}

// frameLength is the length of the frame at the start of b; all bytes after it
// are zero.
func frameLength(b []byte) (int, error) {
	var f protocol.Frame
	n, err := wire.UnmarshalPadded(b, protocol.MaxRoom, &f)
	if err == nil && (f.Kind == 0 || n > f.Kind.Max()) {
		err = protocol.ErrFrame
	}
	return n, err
}

// nonce is the first 24 bytes of HMAC(nk, version || mailbox || padded). The
// mailbox is part of it, because one nonce with two associated data would use a
// one-time authenticator twice.
func (m *Mailbox) nonce(padded []byte) [24]byte {
	if m.nonceKey == nil {
		k := label.Derive(m.root[:], label.EnvelopeNonce)
		m.nonceKey = &k
	}
	tag := mac(*m.nonceKey, m.aad(), padded)
	return [24]byte(tag[:24])
}

func (m *Mailbox) aad() []byte {
	id := m.Address()
	return append([]byte{protocol.Version}, id[:]...)
}

func (m *Mailbox) aead() cipher.AEAD {
	if m.sealKey == nil {
		k := label.Derive(m.root[:], label.Envelope)
		m.sealKey = &k
	}
	a, err := chacha20poly1305.NewX(m.sealKey[:])
	if err != nil {
		panic("epoch: " + err.Error())
	}
	return a
}
