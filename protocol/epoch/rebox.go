package epoch

import (
	"fmt"
	"io"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

const (
	lockSize = SealOverhead + 32

	// MaxReBox is the most bytes that the encoding of a ReBox may have.
	MaxReBox = MaxChunks*ChunkSize - 16
)

// ReBox brings a device back that has no box in the epochs in force, or lost its
// way to them (spec 30 section 11). Slices are whole encoded frames that other
// packages check.
type ReBox struct {
	hidden
	Epochs    []WelcomeEpoch // 1 to MaxWelcomeEpochs; operators' exports for an operating device alone
	Originals [][]byte       // signed originals since the member was added
	KeyFrames [][]byte       // KeyPackage and KeyUpdate frames of all effective devices
	Ops       [][]byte       // op frames: the device may lack any of them
	Chains    []WelcomeChain // as in a Welcome
}

type reboxPlain struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Epochs    []epochPlain
	Originals [][]byte
	KeyFrames [][]byte
	Ops       [][]byte
	Chains    []WelcomeChain
}

// SealReBox seals a ReBox to device to, under its newest KEM public key, and signs
// it as device d: one frame of kind 10, followed by chunk frames when it does not
// fit into one. Nothing in the clear says for whom it is. It reads 32 bytes of
// random. Errors: ErrTooLarge, ErrReBox for what breaks a bound.
func SealReBox(g protocol.GroupID, d identity.DeviceKey, to identity.DeviceID, key *protocol.KEMPublic, r ReBox, random io.Reader) ([]protocol.Frame, error) {
	fail := func(err error) ([]protocol.Frame, error) { return nil, fmt.Errorf("sealing a rebox: %w", err) }
	plain := r.marshal()
	if len(plain) > MaxReBox {
		return fail(ErrTooLarge)
	}
	if _, err := parseReBox(plain); err != nil {
		return fail(err)
	}
	var drawn [32]byte
	if _, err := io.ReadFull(random, drawn[:]); err != nil {
		return fail(err)
	}
	// The content key seals once, so its nonce is zero. It depends on the plaintext:
	// random that repeats then repeats the whole text and never the key alone.
	context := label.Ref(label.ReBoxKey, plain)
	content := hedged(HedgeKeyOf(d), drawn, label.ReBoxKey, context[:])
	bound := reboxContext(g, to, key)
	lock, err := SealTo(key, label.ReBoxLock, bound, content[:])
	if err != nil {
		return fail(err)
	}
	sealed := aead(content).Seal(nil, make([]byte, 12), plain, bound)
	return reboxParcel.frames(g, d, lock, sealed), nil
}

// ReBoxKey finds, among the KEM keys that a device holds, the one to which a
// ReBox frame is sealed; false if the frame is for another device. It needs no
// chunk, and costs one decapsulation for each key. Nobody without the private key
// can tell for whom the frame is.
func ReBoxKey(g protocol.GroupID, f protocol.Frame, self identity.DeviceID, keys ...KEMPrivate) (KEMPrivate, bool) {
	m, err := reboxParcel.parse(f)
	if err != nil {
		return KEMPrivate{}, false
	}
	for _, k := range keys {
		if _, err := m.unlock(g, self, k); err == nil {
			return k, true
		}
	}
	return KEMPrivate{}, false
}

// ReBoxChunks returns how many chunk frames belong to a ReBox frame, 0 if it is
// whole. The error wraps ErrReBox.
func ReBoxChunks(f protocol.Frame) (int, error) {
	m, err := reboxParcel.parse(f)
	return len(m.chunks), err
}

// ReBoxHasChunk says whether a frame is a chunk of the ReBox whose first frame is
// given.
func ReBoxHasChunk(g protocol.GroupID, first, chunk protocol.Frame) bool {
	m, err := reboxParcel.parse(first)
	if err != nil || chunk.Kind != protocol.KindChunk {
		return false
	}
	_, err = reboxParcel.parseChunk(chunk, first.ID(g), m.chunks)
	return err == nil
}

// OpenReBox opens the frames of one ReBox, in any order, as device self with one
// of its KEM keys. signer is asked, as in OpenWelcome, for the key of the device
// that signed, and answers false if that is no operating device of an organiser.
// Errors wrap ErrReBox.
//
// Keys that the device holds already must stay: those handed over stand where
// their giver stood, and going back to them would use keys of messages twice. The
// same holds for a second ReBox of one epoch.
func OpenReBox(g protocol.GroupID, frames []protocol.Frame, self identity.DeviceID, key KEMPrivate,
	signer func(identity.DeviceID, *ReBox) (identity.DevicePublic, bool)) (*ReBox, error) {
	m, device, err := reboxParcel.assemble(g, frames)
	if err != nil {
		return nil, err
	}
	content, err := m.unlock(g, self, key)
	if err != nil {
		return nil, err
	}
	pk := key.Public()
	plain, err := aead(content).Open(nil, make([]byte, 12), m.sealed, reboxContext(g, self, &pk))
	if err != nil {
		return nil, ErrReBox
	}
	r, err := parseReBox(plain)
	if err != nil {
		return nil, err
	}
	pub, ok := signer(device, r)
	if !ok {
		return nil, fmt.Errorf("%w: the signer may not hand out keys", ErrReBox)
	}
	if err := reboxParcel.verify(g, frames, pub); err != nil {
		return nil, err
	}
	return r, nil
}

// unlock opens the lock and so finds the content key.
func (m manifest) unlock(g protocol.GroupID, self identity.DeviceID, key KEMPrivate) ([32]byte, error) {
	pk := key.Public()
	content, err := key.OpenFrom(label.ReBoxLock, reboxContext(g, self, &pk), m.lock)
	if err != nil || len(content) != 32 {
		return [32]byte{}, ErrReBox
	}
	return [32]byte(content), nil
}

// reboxContext binds lock and content to group, device and KEM key.
func reboxContext(g protocol.GroupID, d identity.DeviceID, key *protocol.KEMPublic) []byte {
	return wire.Marshal(struct {
		_      struct{} `cbor:",toarray"`
		Group  protocol.GroupID
		Device identity.DeviceID
		Key    [32]byte
	}{Group: g, Device: d, Key: key.Ref()})
}

func (r *ReBox) marshal() []byte {
	return wire.Marshal(reboxPlain{Version: protocol.Version, Epochs: plainEpochs(r.Epochs), Originals: r.Originals,
		KeyFrames: r.KeyFrames, Ops: r.Ops, Chains: r.Chains})
}

func parseReBox(b []byte) (*ReBox, error) {
	var p reboxPlain
	if err := wire.Unmarshal(b, MaxReBox, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReBox, err)
	}
	if p.Version != protocol.Version || !goodEpochs(p.Epochs) || !goodChains(p.Chains) ||
		!goodFrames(p.Originals, p.KeyFrames, p.Ops) {
		return nil, ErrReBox
	}
	return &ReBox{Epochs: epochsOf(p.Epochs), Originals: p.Originals, KeyFrames: p.KeyFrames, Ops: p.Ops, Chains: p.Chains}, nil
}
