// Package protocol holds the nouns of Palabre: typed ids, the signed Frame, the
// sealed Envelope, the Content of a message, the invite Link, limits and
// verdicts. It holds no state and decides nothing about people; Check is all
// that can be said of an envelope without keys.
//
// Start with SignFrame and ParseFrame. What is promised: what is parsed
// re-encodes to the same bytes; every list and string has a Max. Spec 20 is the
// byte table.
package protocol

import (
	"encoding/hex"
	"log/slog"

	"github.com/palabre-app/palabre/identity/label"
)

// Version is the version byte of every structure of this format.
const Version = 1

// Suite is the only cipher suite: HPKE with ML-KEM-768+X25519, HKDF-SHA256 and
// ChaCha20-Poly1305; SHA-256; Ed25519 (spec 10 section 3). It is pinned in the
// Genesis and never negotiated.
const Suite = 1

// GroupID is Ref("Genesis", all of the Genesis but its signatures).
type GroupID [32]byte

// ItemID is Ref(label of the kind, transcript) of a frame.
type ItemID [32]byte

// OpID is the item id of an op frame.
type OpID [32]byte

// EpochID is the item id of an epoch frame.
type EpochID [32]byte

// ContentID is Ref("Content", transcript) of a message's content.
type ContentID [32]byte

// MailboxID addresses a mailbox (spec 30 section 6).
type MailboxID [32]byte

// EnvelopeID is the SHA-256 of the whole envelope.
type EnvelopeID [32]byte

// InviteID is the first 16 bytes of Ref("Invite", card public key).
type InviteID [16]byte

// KEMPublicSize is the length of an ML-KEM-768+X25519 public key.
const KEMPublicSize = 1216

// KEMPublic is a public key to which boxes are sealed.
type KEMPublic [KEMPublicSize]byte

// KEMRef names a KEM public key in rosters and in the tags of boxes.
type KEMRef [32]byte

// Ref is Ref("KemKey", kem_pk) (spec 30 section 2).
func (k *KEMPublic) Ref() KEMRef { return label.Ref(label.KemKey, k[:]) }

// LanePublic is the Ed25519 key that may write one device's lane.
type LanePublic [32]byte

// String returns the id in lower-case hex.
func (id GroupID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id ItemID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id OpID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id EpochID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id ContentID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id MailboxID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id EnvelopeID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id in lower-case hex.
func (id InviteID) String() string { return hex.EncodeToString(id[:]) }

// LogValue keeps whole ids out of logs.
func (id GroupID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id EpochID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id EnvelopeID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id ItemID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id OpID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id ContentID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id MailboxID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// LogValue keeps whole ids out of logs.
func (id InviteID) LogValue() slog.Value { return slog.StringValue(id.String()[:6]) }

// Verdict is what a receiver makes of something from the network.
type Verdict uint8

// The three outcomes. Reject is for provable fault of the sender only.
const (
	Accept Verdict = iota + 1
	Ignore
	Reject
)
