package epoch

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of a Welcome.
const (
	MaxWelcome        = MaxChunks*ChunkSize - SealOverhead // bytes of its encoding
	MaxWelcomeEpochs  = 16
	MaxWelcomeBatches = 64
)

// Welcome is all that a new member needs to start (spec 30 section 10). Slices
// are whole encoded frames or structures that other packages check.
type Welcome struct {
	hidden
	Genesis   []byte
	Batches   []protocol.ItemID // sorted; op batches to fetch first
	Ops       [][]byte          // op frames that no batch holds
	Added     protocol.OpID     // the AddMember of the new member
	Epochs    []WelcomeEpoch
	KeyFrames [][]byte // KeyPackage and KeyUpdate frames of all effective devices
	Originals [][]byte // newest group card and profiles; pinned notices by policy
	History   uint8    // the policy's history value
	// Chains say where each device's messages stand, sorted by device: gaps before
	// that are not the new member's to miss.
	Chains []WelcomeChain
}

// WelcomeChain is the last message that the adder has seen of a device.
type WelcomeChain struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	Seq     uint64 // its dev_seq, above 0
	Content protocol.ContentID
}

// WelcomeEpoch is an epoch in force with the keys to read on from now.
type WelcomeEpoch struct {
	hidden
	Header []byte // encoded frame
	Keys   []byte // Keys.Export
}

// epochPlain is a WelcomeEpoch as it is sealed.
type epochPlain struct {
	_      struct{} `cbor:",toarray"`
	Header []byte
	Keys   []byte
}

// welcomePlain is what is sealed.
type welcomePlain struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Genesis   []byte
	Batches   []protocol.ItemID
	Ops       [][]byte
	Added     protocol.OpID
	Epochs    []epochPlain
	KeyFrames [][]byte
	Originals [][]byte
	History   uint8
	Chains    []WelcomeChain
}

// SealWelcome seals a Welcome to the KEM key of a KeyPackage with the given hash
// and signs it as device d: one frame of kind 9, followed by chunk frames when
// it does not fit into one. Errors: ErrTooLarge, ErrWelcome for what breaks a bound.
func SealWelcome(g protocol.GroupID, d identity.DeviceKey, to *protocol.KEMPublic, keyPackage [32]byte, w Welcome) ([]protocol.Frame, error) {
	plain := w.marshal()
	if len(plain) > MaxWelcome {
		return nil, fmt.Errorf("sealing a welcome: %w", ErrTooLarge)
	}
	if _, err := parseWelcome(plain); err != nil {
		return nil, fmt.Errorf("sealing a welcome: %w", err)
	}
	sealed, err := SealTo(to, label.WelcomeBox, keyPackage[:], plain)
	if err != nil {
		return nil, fmt.Errorf("sealing a welcome: %w", err)
	}
	return welcomeParcel.frames(g, d, nil, sealed), nil
}

// OpenWelcome opens the frames of one Welcome, in any order, with the KEM key of
// the KeyPackage that has the given hash. signer is asked, with what the Welcome
// says, for the key of the device that signed the frames, and answers false if
// that device may not welcome anybody; only then are the signatures checked. That
// a Welcome is awaited, and is the first, is the caller's. Errors wrap ErrWelcome.
func OpenWelcome(g protocol.GroupID, frames []protocol.Frame, key KEMPrivate, keyPackage [32]byte,
	signer func(identity.DeviceID, *Welcome) (identity.DevicePublic, bool)) (*Welcome, error) {
	m, device, err := welcomeParcel.assemble(g, frames)
	if err != nil {
		return nil, err
	}
	plain, err := key.OpenFrom(label.WelcomeBox, keyPackage[:], m.sealed)
	if err != nil {
		return nil, ErrWelcome
	}
	w, err := parseWelcome(plain)
	if err != nil {
		return nil, err
	}
	pub, ok := signer(device, w)
	if !ok {
		return nil, fmt.Errorf("%w: the signer may not welcome", ErrWelcome)
	}
	if err := welcomeParcel.verify(g, frames, pub); err != nil {
		return nil, err
	}
	return w, nil
}

// WelcomeChunks returns how many chunk frames belong to a Welcome frame, 0 if it
// is whole. The error wraps ErrWelcome.
func WelcomeChunks(f protocol.Frame) (int, error) {
	m, err := welcomeParcel.parse(f)
	return len(m.chunks), err
}

func (w *Welcome) marshal() []byte {
	p := welcomePlain{Version: protocol.Version, Genesis: w.Genesis, Batches: w.Batches, Ops: w.Ops,
		Added: w.Added, KeyFrames: w.KeyFrames, Originals: w.Originals, History: w.History, Chains: w.Chains}
	p.Epochs = plainEpochs(w.Epochs)
	return wire.Marshal(p)
}

func parseWelcome(b []byte) (*Welcome, error) {
	var p welcomePlain
	if err := wire.Unmarshal(b, MaxWelcome, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	if p.Version != protocol.Version || len(p.Genesis) == 0 || len(p.Batches) > MaxWelcomeBatches ||
		!protocol.SortedIDs(p.Batches) || !goodEpochs(p.Epochs) || !goodChains(p.Chains) ||
		!goodFrames(p.Ops, p.KeyFrames, p.Originals) {
		return nil, ErrWelcome
	}
	return &Welcome{Genesis: p.Genesis, Batches: p.Batches, Ops: p.Ops, Added: p.Added, Epochs: epochsOf(p.Epochs),
		KeyFrames: p.KeyFrames, Originals: p.Originals, History: p.History, Chains: p.Chains}, nil
}

// plainEpochs and epochsOf turn what is handed over into its sealed form and back.
func plainEpochs(epochs []WelcomeEpoch) (out []epochPlain) {
	for _, e := range epochs {
		out = append(out, epochPlain{Header: e.Header, Keys: e.Keys})
	}
	return out
}

func epochsOf(epochs []epochPlain) (out []WelcomeEpoch) {
	for _, e := range epochs {
		out = append(out, WelcomeEpoch{Header: e.Header, Keys: e.Keys})
	}
	return out
}

func goodEpochs(epochs []epochPlain) bool {
	bad := func(e epochPlain) bool {
		return len(e.Header) == 0 || len(e.Header) > protocol.MaxRoom || len(e.Keys) == 0 || len(e.Keys) > MaxExport
	}
	return len(epochs) > 0 && len(epochs) <= MaxWelcomeEpochs && !slices.ContainsFunc(epochs, bad)
}

func goodFrames(lists ...[][]byte) bool {
	bad := func(f []byte) bool { return len(f) == 0 || len(f) > protocol.MaxRoom }
	return !slices.ContainsFunc(slices.Concat(lists...), bad)
}

func goodChains(chains []WelcomeChain) bool {
	for i, c := range chains {
		if c.Seq == 0 || (i > 0 && bytes.Compare(chains[i-1].Device[:], c.Device[:]) >= 0) {
			return false
		}
	}
	return len(chains) <= protocol.MaxDevices
}
