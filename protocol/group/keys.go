package group

import (
	"bytes"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Errors of key frames.
var (
	ErrKeyPackage = errors.New("key package does not hold")
	ErrKeyUpdate  = errors.New("key update does not hold")
	ErrAck        = errors.New("malformed ack")
)

// MaxAck is how many key updates one Ack names.
const MaxAck = 180

// KeyPackage is what a device brings to be added: its certificate and its first
// keys, for one group, one invite and one inviter (spec 40 section 7). It counts
// as key update 0 of the device.
type KeyPackage struct {
	Cert    identity.DeviceCert
	Invite  protocol.InviteID
	Inviter [32]byte // Ref("Member", the inviter's member key)
	KEM     protocol.KEMPublic
	Lane    protocol.LanePublic
	Expires int64 // unix seconds, above 0
	Nonce   [16]byte
}

type keyPackageWire struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Suite   uint16
	Cert    []byte
	Invite  protocol.InviteID
	Inviter [32]byte
	KEM     protocol.KEMPublic
	Lane    protocol.LanePublic
	Expires int64
	Nonce   [16]byte
}

// NewKeyPackage signs a key package in group g as the device that it certifies.
func NewKeyPackage(g protocol.GroupID, d identity.DeviceKey, p KeyPackage) protocol.Frame {
	return protocol.SignFrame(g, protocol.KindKeyPackage, d, wire.Marshal(keyPackageWire{
		Version: protocol.Version, Suite: protocol.Suite, Cert: p.Cert.Marshal(), Invite: p.Invite,
		Inviter: p.Inviter, KEM: p.KEM, Lane: p.Lane, Expires: p.Expires, Nonce: p.Nonce,
	}))
}

// ParseKeyPackage decodes a key package of group g and checks certificate, keys
// and the device's signature. The error wraps ErrKeyPackage. See For.
func ParseKeyPackage(g protocol.GroupID, f protocol.Frame) (KeyPackage, error) {
	var w keyPackageWire
	if f.Kind != protocol.KindKeyPackage || len(f.Marshal()) > f.Kind.Max() {
		return KeyPackage{}, ErrKeyPackage
	}
	if err := wire.Unmarshal(f.Body, protocol.RoomSmall, &w); err != nil {
		return KeyPackage{}, errors.Join(ErrKeyPackage, err)
	}
	if w.Version != protocol.Version || w.Suite != protocol.Suite || w.Expires <= 0 {
		return KeyPackage{}, ErrKeyPackage
	}
	cert, err := identity.ParseCert(w.Cert, g)
	if err != nil || !f.Verify(g, cert.Device) || !validKEM(w.KEM) {
		return KeyPackage{}, ErrKeyPackage
	}
	return KeyPackage{Cert: cert, Invite: w.Invite, Inviter: w.Inviter, KEM: w.KEM, Lane: w.Lane, Expires: w.Expires, Nonce: w.Nonce}, nil
}

// For says whether the package was made for this invite of this inviter and
// holds at now (unix seconds). Whether it was used already is the caller's to know.
func (p KeyPackage) For(invite protocol.InviteID, inviter identity.MemberPublic, now int64) error {
	if p.Invite != invite || p.Inviter != inviter.Ref() {
		return errors.Join(ErrKeyPackage, errors.New("made for another invite"))
	}
	if now >= p.Expires {
		return errors.Join(ErrKeyPackage, errors.New("expired"))
	}
	return nil
}

// KeyUpdate replaces the keys of a device (spec 40 section 7). It is not an operation.
type KeyUpdate struct {
	Counter uint64          // from 1; 0 is the key package or the Genesis
	Prev    protocol.ItemID // item id of the frame before; for a founder's first, the group id
	KEM     protocol.KEMPublic
	Lane    protocol.LanePublic
	Heal    bool // asks for a new epoch
}

type keyUpdateWire struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Counter uint64
	Prev    protocol.ItemID
	KEM     protocol.KEMPublic
	Lane    protocol.LanePublic
	Heal    uint8
}

// NewKeyUpdate signs a key update in group g.
func NewKeyUpdate(g protocol.GroupID, d identity.DeviceKey, u KeyUpdate) protocol.Frame {
	return protocol.SignFrame(g, protocol.KindKeyUpdate, d, wire.Marshal(keyUpdateWire{
		Version: protocol.Version, Counter: u.Counter, Prev: u.Prev, KEM: u.KEM, Lane: u.Lane, Heal: bit(u.Heal),
	}))
}

// ParseKeyUpdate decodes a key update and checks its keys. The signature is not
// checked: KeyRing.Add does. The error wraps ErrKeyUpdate.
func ParseKeyUpdate(f protocol.Frame) (KeyUpdate, error) {
	var w keyUpdateWire
	if f.Kind != protocol.KindKeyUpdate || len(f.Marshal()) > f.Kind.Max() {
		return KeyUpdate{}, ErrKeyUpdate
	}
	if err := wire.Unmarshal(f.Body, protocol.RoomSmall, &w); err != nil {
		return KeyUpdate{}, errors.Join(ErrKeyUpdate, err)
	}
	if w.Version != protocol.Version || w.Counter == 0 || w.Heal > 1 || !validKEM(w.KEM) {
		return KeyUpdate{}, ErrKeyUpdate
	}
	return KeyUpdate{Counter: w.Counter, Prev: w.Prev, KEM: w.KEM, Lane: w.Lane, Heal: w.Heal == 1}, nil
}

// AckID is the first 8 bytes of the item id of a key update or key package.
type AckID [8]byte

// AckPrefix returns the prefix by which an Ack names a key frame.
func AckPrefix(id protocol.ItemID) AckID { return AckID(id[:8]) }

// NewAck signs an Ack of key frames newly held: 1 to MaxAck ids in any order. It
// panics outside of these bounds, which are the caller's to keep.
func NewAck(g protocol.GroupID, d identity.DeviceKey, ids []protocol.ItemID) protocol.Frame {
	if len(ids) == 0 || len(ids) > MaxAck {
		panic("group: an ack names 1 to 180 key frames")
	}
	list := make([]AckID, len(ids))
	for i, id := range ids {
		list[i] = AckPrefix(id)
	}
	slices.SortFunc(list, compareAcks)
	return protocol.SignFrame(g, protocol.KindAck, d, wire.Marshal(slices.Compact(list)))
}

// ParseAck decodes the prefixes of an Ack, in ascending order. The signature is
// not checked. The error wraps ErrAck.
func ParseAck(f protocol.Frame) ([]AckID, error) {
	var list []AckID
	if f.Kind != protocol.KindAck || len(f.Marshal()) > f.Kind.Max() {
		return nil, ErrAck
	}
	if err := wire.Unmarshal(f.Body, protocol.RoomSmall, &list); err != nil {
		return nil, errors.Join(ErrAck, err)
	}
	if len(list) == 0 || len(list) > MaxAck {
		return nil, ErrAck
	}
	for i := 1; i < len(list); i++ {
		if compareAcks(list[i-1], list[i]) >= 0 {
			return nil, ErrAck
		}
	}
	return list, nil
}

func compareAcks(a, b AckID) int { return bytes.Compare(a[:], b[:]) }
