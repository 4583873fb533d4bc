package epoch

import (
	"crypto/ed25519"
	"fmt"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Card is what an invite link points to: the key to which join requests are
// sealed, and where the inviter can be met now (spec 30 section 9).
type Card struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	JoinKey   protocol.KEMPublic
	Addresses []string // at most MaxLinkAddresses multiaddrs without a peer ID
}

// SealCard signs a card with the card key, whose public half is in the link. The
// frame names no device: its device id is zero and its signature is the card
// key's over the usual transcript. Version is set.
func SealCard(g protocol.GroupID, key MailKey, c Card) (protocol.Frame, error) {
	c.Version = protocol.Version
	if err := c.check(); err != nil {
		return protocol.Frame{}, err
	}
	f := protocol.Frame{Kind: protocol.KindCard, Body: wire.Marshal(c)}
	f.Sig = key.sign(label.Card, anonymousTranscript(g, f))
	return f, nil
}

// ParseCard decodes a card and checks that the card key of the link signed it
// for group g. Errors wrap ErrCard.
func ParseCard(g protocol.GroupID, f protocol.Frame, card [32]byte) (Card, error) {
	if f.Kind != protocol.KindCard || f.Device != (identity.DeviceID{}) {
		return Card{}, ErrCard
	}
	if !ed25519.Verify(card[:], label.Transcript(label.Card, anonymousTranscript(g, f)), f.Sig[:]) {
		return Card{}, fmt.Errorf("%w: wrong signature", ErrCard)
	}
	var c Card
	if err := wire.Unmarshal(f.Body, f.Kind.Max(), &c); err != nil {
		return Card{}, fmt.Errorf("%w: %w", ErrCard, err)
	}
	if err := c.check(); err != nil {
		return Card{}, err
	}
	return c, nil
}

func (c *Card) check() error {
	if c.Version != protocol.Version || CheckKEMPublic(&c.JoinKey) != nil || len(c.Addresses) > protocol.MaxLinkAddresses {
		return ErrCard
	}
	for _, a := range c.Addresses {
		if a == "" || len(a) > protocol.MaxAddress {
			return ErrCard
		}
	}
	return nil
}

// anonymousTranscript is the transcript of a frame (spec 20 section 1), here for
// the one kind that no device signs.
func anonymousTranscript(g protocol.GroupID, f protocol.Frame) []byte {
	return wire.Marshal(struct {
		_      struct{} `cbor:",toarray"`
		Group  protocol.GroupID
		Kind   protocol.FrameKind
		Device identity.DeviceID
		Body   []byte
	}{Group: g, Kind: f.Kind, Device: f.Device, Body: f.Body})
}
