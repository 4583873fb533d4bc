package epoch

import (
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// JoinRequest is what a joiner asks for (spec 30 section 9).
type JoinRequest struct {
	hidden
	KeyPackage []byte     // encoded frame of kind 5, which the caller checks
	Name       string     // pseudonym, 1 to MaxNameBytes bytes of UTF-8
	Rescue     RescueSeed // of the mailbox where the joiner waits for the Welcome
}

type requestBody struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Sealed  []byte // requestPlain
}

type requestPlain struct {
	_          struct{} `cbor:",toarray"`
	KeyPackage []byte
	Name       string
	Rescue     [32]byte
	Proof      [32]byte // HMAC(Derive(R, "mac"), KeyPackage hash)
}

// KeyPackageHash is how operations, requests and Welcomes name a KeyPackage: the
// item id of its frame. It fails for what is not such a frame, exactly encoded.
func KeyPackageHash(g protocol.GroupID, keyPackage []byte) ([32]byte, error) {
	f, err := protocol.ParseFrame(keyPackage)
	if err != nil {
		return [32]byte{}, err
	}
	if f.Kind != protocol.KindKeyPackage || len(f.Marshal()) != len(keyPackage) {
		return [32]byte{}, protocol.ErrFrame
	}
	return f.ID(g), nil
}

// SealRequest seals a join request to the join key of the card. The frame names
// no device and is not signed: what authenticates it, the KeyPackage's own
// signature and the proof under the invite's key, lies inside.
func SealRequest(g protocol.GroupID, invite protocol.InviteID, joinKey *protocol.KEMPublic, r Rendezvous, q JoinRequest) (protocol.Frame, error) {
	fail := func(err error) (protocol.Frame, error) {
		return protocol.Frame{}, fmt.Errorf("sealing a join request: %w", err)
	}
	hash, err := KeyPackageHash(g, q.KeyPackage)
	if err != nil {
		return fail(err)
	}
	if q.Name == "" || len(q.Name) > protocol.MaxNameBytes {
		return fail(ErrTooLarge)
	}
	plain := wire.Marshal(requestPlain{KeyPackage: q.KeyPackage, Name: q.Name, Rescue: q.Rescue.Seed(), Proof: proof(r, hash)})
	sealed, err := SealTo(joinKey, label.JoinBox, slices.Concat(g[:], invite[:]), plain)
	if err != nil {
		return fail(err)
	}
	body := wire.Marshal(requestBody{Version: protocol.Version, Sealed: sealed})
	return protocol.Frame{Kind: protocol.KindJoinRequest, Body: body}, nil
}

// OpenRequest opens a join request to the given invite and checks that its
// sender holds the link. That the KeyPackage is for this group, invite and
// inviter and not used before is the caller's to check. Errors wrap ErrRequest.
func OpenRequest(g protocol.GroupID, invite protocol.InviteID, join KEMPrivate, r Rendezvous, f protocol.Frame) (JoinRequest, error) {
	sealed, err := parseRequest(f)
	if err != nil {
		return JoinRequest{}, err
	}
	plain, err := join.OpenFrom(label.JoinBox, slices.Concat(g[:], invite[:]), sealed)
	if err != nil {
		return JoinRequest{}, ErrRequest
	}
	var p requestPlain
	if err := wire.Unmarshal(plain, f.Kind.Max(), &p); err != nil {
		return JoinRequest{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	hash, err := KeyPackageHash(g, p.KeyPackage)
	if err != nil {
		return JoinRequest{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if p.Name == "" || len(p.Name) > protocol.MaxNameBytes || !sameMAC(p.Proof, proof(r, hash)) {
		return JoinRequest{}, ErrRequest
	}
	return JoinRequest{KeyPackage: p.KeyPackage, Name: p.Name, Rescue: RescueSeedFromBytes(p.Rescue)}, nil
}

func parseRequest(f protocol.Frame) (sealed []byte, err error) {
	var body requestBody
	if f.Kind != protocol.KindJoinRequest || f.Device != (identity.DeviceID{}) || f.Sig != (identity.Signature{}) {
		return nil, ErrRequest
	}
	if err := wire.Unmarshal(f.Body, f.Kind.Max(), &body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if body.Version != protocol.Version || len(body.Sealed) < SealOverhead {
		return nil, ErrRequest
	}
	return body.Sealed, nil
}

func proof(r Rendezvous, keyPackage [32]byte) [32]byte {
	return mac(r.Derive(label.Mac), keyPackage[:])
}
