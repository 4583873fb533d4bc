package epoch

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// messageBody is the body of a message frame.
type messageBody struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Epoch      protocol.EpochID
	Sender     [40]byte // device id, generation and guard, encrypted
	Ciphertext []byte   // of signedContent
}

type signedContent struct {
	_       struct{} `cbor:",toarray"`
	Content []byte
	Sig     identity.Signature
}

// sender is what a message says of its key before its content opens.
type sender struct {
	device     identity.DeviceID
	generation uint32
	guard      [4]byte
}

// Opened is a message that opened, and of which nothing is changed yet.
type Opened struct {
	Original  protocol.Original
	Content   protocol.Content
	ContentID protocol.ContentID
	keys      *Keys
}

// Seal seals a content as the next message of device d (spec 30 section 5) and
// advances its chain: the caller stores the chain (and the base record if
// HasChain was false before) together with the frame, before the frame leaves. A
// key is never used twice; if the store fails, that generation is lost. It reads
// 4 bytes of random. Errors: protocol.ErrContent, ErrTooLarge, ErrSlot,
// ErrExhausted; after an error nothing has changed.
func (k *Keys) Seal(g protocol.GroupID, d identity.DeviceKey, c protocol.Content, random io.Reader) (protocol.Frame, protocol.Original, error) {
	fail := func(err error) (protocol.Frame, protocol.Original, error) {
		return protocol.Frame{}, protocol.Original{}, fmt.Errorf("sealing a message: %w", err)
	}
	encoded := wire.Marshal(c)
	if _, err := protocol.ParseContent(encoded); err != nil {
		return fail(err)
	}
	if messageSize(len(encoded)) > protocol.KindMessage.Max() {
		return fail(ErrTooLarge)
	}
	s := sender{device: d.Public().ID()}
	chain, _, err := k.chain(s.device)
	if err != nil {
		return fail(err)
	}
	if chain.next >= MaxGenerations {
		return fail(ErrExhausted)
	}
	if _, err := io.ReadFull(random, s.guard[:]); err != nil {
		return fail(err)
	}
	s.generation = chain.next
	key, err := chain.key(label.Expand, s.generation)
	if err != nil {
		return fail(err)
	}
	// The key is gone before the ciphertext exists.
	if err := k.use(s.device, s.generation); err != nil {
		return fail(err)
	}
	o := protocol.SignOriginal(g, k.epoch, d, s.generation, s.guard, c)
	aad := k.aad(g)
	plain := wire.Marshal(signedContent{Content: o.Content, Sig: o.Sig})
	ct := aead(key.key).Seal(nil, key.guarded(s.guard), plain, aad)
	body := messageBody{Version: protocol.Version, Epoch: k.epoch, Ciphertext: ct}
	sdKey, sdNonce := senderDataKey(label.Expand, k.senderData, ct)
	aead(sdKey).Seal(body.Sender[:0], sdNonce[:], s.encode(), aad)
	return protocol.SignFrame(g, protocol.KindMessage, d, wire.Marshal(body)), o, nil
}

// Open opens a message frame of group g and checks both signatures with the key
// that lookup gives for the sending device. Nothing changes until Commit, so
// that bad input burns no key and the caller can judge the author's role in
// between. Errors: ErrMessage, ErrOtherEpoch, ErrUnknownDevice, ErrReplay, ErrSlot.
func (k *Keys) Open(g protocol.GroupID, f protocol.Frame, lookup func(identity.DeviceID) (identity.DevicePublic, bool)) (*Opened, error) {
	body, err := k.parse(f)
	if err != nil {
		return nil, err
	}
	aad := k.aad(g)
	s, err := k.sender(body, f.Device, aad)
	if err != nil {
		return nil, err
	}
	pub, ok := lookup(s.device)
	if !ok {
		return nil, ErrUnknownDevice
	}
	if !f.Verify(g, pub) {
		return nil, ErrMessage
	}
	chain, _, err := k.chain(s.device)
	if err != nil {
		return nil, err
	}
	key, err := chain.key(label.Expand, s.generation)
	if err != nil {
		return nil, err
	}
	plain, err := aead(key.key).Open(nil, key.guarded(s.guard), body.Ciphertext, aad)
	if err != nil {
		return nil, ErrMessage
	}
	var sc signedContent
	if err := wire.Unmarshal(plain, protocol.MaxRoom, &sc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	o := protocol.Original{Epoch: k.epoch, Device: s.device, Generation: s.generation,
		Guard: s.guard, Content: sc.Content, Sig: sc.Sig}
	c, err := o.Parse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if !o.Verify(g, pub) {
		return nil, ErrMessage
	}
	return &Opened{Original: o, Content: c, ContentID: o.ID(g), keys: k}, nil
}

// Commit erases the key of the message and keeps those that it passed over; the
// caller stores the chain together with the text. ErrReplay: the key was used
// since the message was opened, and nothing has changed.
func (o *Opened) Commit() error { return o.keys.use(o.Original.Device, o.Original.Generation) }

// Generation tells the number of the key that a message frame of this epoch is
// sealed under, also if that key is used up. Of the frame nothing else is checked.
// Errors: ErrMessage, ErrOtherEpoch.
func (k *Keys) Generation(g protocol.GroupID, f protocol.Frame) (uint32, error) {
	body, err := k.parse(f)
	if err != nil {
		return 0, err
	}
	s, err := k.sender(body, f.Device, k.aad(g))
	return s.generation, err
}

// sender opens what a message says of its key.
func (k *Keys) sender(body messageBody, d identity.DeviceID, aad []byte) (sender, error) {
	sdKey, sdNonce := senderDataKey(label.Expand, k.senderData, body.Ciphertext)
	data, err := aead(sdKey).Open(nil, sdNonce[:], body.Sender[:], aad)
	if err != nil {
		return sender{}, ErrMessage
	}
	s := decodeSender(data)
	if s.device != d || s.generation >= MaxGenerations {
		return sender{}, ErrMessage
	}
	return s, nil
}

// parse reads the body of a message of this epoch.
func (k *Keys) parse(f protocol.Frame) (messageBody, error) {
	body, err := parseMessage(f)
	if err == nil && body.Epoch != k.epoch {
		err = ErrOtherEpoch
	}
	return body, err
}

func parseMessage(f protocol.Frame) (messageBody, error) {
	var body messageBody
	if f.Kind != protocol.KindMessage || len(f.Body) > f.Kind.Max() {
		return messageBody{}, ErrMessage
	}
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &body); err != nil {
		return messageBody{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	// The first 32 bytes are the sample that keys the sender data.
	if body.Version != protocol.Version || len(body.Ciphertext) < 32 {
		return messageBody{}, ErrMessage
	}
	return body, nil
}

func (k *Keys) aad(g protocol.GroupID) []byte {
	return wire.Marshal(struct {
		_       struct{} `cbor:",toarray"`
		Version uint8
		Group   protocol.GroupID
		Epoch   protocol.EpochID
	}{Version: protocol.Version, Group: g, Epoch: k.epoch})
}

// senderDataKey is RFC 9420 section 6.3.2: the key comes from a sample of the
// ciphertext, so that equal senders do not look equal.
func senderDataKey(expand expander, secret [32]byte, ciphertext []byte) (key [32]byte, nonce [12]byte) {
	sample := ciphertext[:min(32, len(ciphertext))]
	return [32]byte(expand(secret[:], label.Key, sample, 32)), [12]byte(expand(secret[:], label.Nonce, sample, 12))
}

// guarded is the nonce with the reuse guard of RFC 9420 section 6.3.1: should a
// device restored from a copy use a generation twice, the nonces still differ.
func (m messageKey) guarded(guard [4]byte) []byte {
	n := m.nonce
	for i, g := range guard {
		n[i] ^= g
	}
	return n[:]
}

func (s sender) encode() []byte {
	b := binary.BigEndian.AppendUint32(append([]byte(nil), s.device[:]...), s.generation)
	return append(b, s.guard[:]...)
}

// decodeSender reads the 24 bytes that the authenticated 40 always hold.
func decodeSender(b []byte) sender {
	return sender{identity.DeviceID(b[:16]), binary.BigEndian.Uint32(b[16:]), [4]byte(b[20:])}
}

func aead(key [32]byte) cipher.AEAD {
	a, err := chacha20poly1305.New(key[:])
	if err != nil {
		panic("epoch: " + err.Error())
	}
	return a
}

// messageSize is the length of the frame of a content of n bytes.
func messageSize(n int) int {
	ct := 1 + byteString(n) + byteString(64) + 16
	body := 1 + 1 + byteString(32) + byteString(40) + byteString(ct)
	return 1 + 1 + byteString(16) + byteString(body) + byteString(64)
}

// byteString is the length of the encoding of a byte string of n bytes.
func byteString(n int) int {
	switch {
	case n < 24:
		return n + 1
	case n < 1<<8:
		return n + 2
	case n < 1<<16:
		return n + 3
	}
	return n + 5
}
