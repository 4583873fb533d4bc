package identity

import (
	"encoding/hex"
	"log/slog"

	"github.com/palabre-app/palabre/identity/label"
)

// MemberID names a member within one group: the first 16 bytes of
// Ref("Member", member public key) (spec 20 section 2).
type MemberID [16]byte

// DeviceID names a device within one group: the first 16 bytes of
// Ref("Device", device public key).
type DeviceID [16]byte

// ID returns the member id of the key.
func (k MemberPublic) ID() MemberID {
	ref := k.Ref()
	return MemberID(ref[:16])
}

// Ref returns the whole labelled hash of the key, which invites and key
// packages name where 16 bytes would not bind enough.
func (k MemberPublic) Ref() [32]byte { return label.Ref(label.Member, k[:]) }

// ID returns the device id of the key.
func (k DevicePublic) ID() DeviceID {
	ref := label.Ref(label.Device, k[:])
	return DeviceID(ref[:16])
}

// String returns the id in lower-case hex.
func (id MemberID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id DeviceID) String() string { return hex.EncodeToString(id[:]) }

// LogValue keeps whole ids out of logs.
func (id MemberID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id DeviceID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }
