package protocol

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

// FrameKind says what the body of a frame is.
type FrameKind uint8

// Frame kinds (spec 20 section 1). Numbers are part of the wire format. Kinds
// that are not listed are kept and carried, never opened.
const (
	KindOp          FrameKind = 1
	KindEpoch       FrameKind = 2
	KindPage        FrameKind = 3
	KindMessage     FrameKind = 4
	KindKeyPackage  FrameKind = 5
	KindKeyUpdate   FrameKind = 6
	KindPresence    FrameKind = 7
	KindInbox       FrameKind = 8
	KindWelcome     FrameKind = 9
	KindReBox       FrameKind = 10
	KindBatch       FrameKind = 11
	KindChunk       FrameKind = 12
	KindCard        FrameKind = 13
	KindJoinRequest FrameKind = 14
	KindAck         FrameKind = 15
	KindOriginal    FrameKind = 16 // its label is that of a kind without a name
)

// ErrFrame says that a frame is malformed.
var ErrFrame = errors.New("malformed frame")

// Frame is the one signed thing: everything that a device says is the body of
// a frame. The group id is signed but not sent, so that a frame of another
// group fails by itself. The signature is the author's, never the carrier's.
type Frame struct {
	_      struct{} `cbor:",toarray"`
	Kind   FrameKind
	Device identity.DeviceID
	Body   []byte
	Sig    identity.Signature
}

// SignFrame makes the frame of a body, which it does not copy.
func SignFrame(g GroupID, kind FrameKind, d identity.DeviceKey, body []byte) Frame {
	f := Frame{Kind: kind, Device: d.Public().ID(), Body: body}
	f.Sig = d.Sign(kind.label(), f.transcript(g))
	return f
}

// ParseFrame decodes the frame at the start of b; all bytes after it must be
// zero, as in an opened envelope. The error wraps ErrFrame. The signature is
// not checked. The frame does not alias b.
func ParseFrame(b []byte) (Frame, error) {
	var f Frame
	n, err := wire.UnmarshalPadded(b, MaxRoom, &f)
	if err != nil {
		return Frame{}, errors.Join(ErrFrame, err)
	}
	if f.Kind == 0 || n > f.Kind.Max() {
		return Frame{}, ErrFrame
	}
	return f, nil
}

// Marshal returns the encoded frame.
func (f Frame) Marshal() []byte { return wire.Marshal(f) }

// Verify says whether the frame was signed in group g by the device of key
// pub, and names that device.
func (f Frame) Verify(g GroupID, pub identity.DevicePublic) bool {
	return f.Device == pub.ID() && pub.Verify(f.Kind.label(), f.transcript(g), f.Sig)
}

// ID returns the item id of the frame in group g. It does not depend on the signature.
func (f Frame) ID(g GroupID) ItemID {
	return label.Ref(f.Kind.label(), f.transcript(g))
}

func (f Frame) transcript(g GroupID) []byte {
	return wire.Marshal(struct {
		_      struct{} `cbor:",toarray"`
		Group  GroupID
		Kind   FrameKind
		Device identity.DeviceID
		Body   []byte
	}{Group: g, Kind: f.Kind, Device: f.Device, Body: f.Body})
}

// Max is the largest encoded frame of the kind in bytes: the room of the
// envelope bucket that the kind may fill.
func (k FrameKind) Max() int {
	switch k {
	case KindOp, KindPage, KindCard, KindJoinRequest:
		return RoomMedium
	case KindKeyPackage, KindKeyUpdate, KindPresence, KindAck:
		return RoomSmall
	}
	return RoomLarge
}

func (k FrameKind) label() label.Label {
	if l, ok := frameLabels[k]; ok {
		return l
	}
	return label.Frame(uint8(k))
}

var frameLabels = map[FrameKind]label.Label{
	KindOp: label.Op, KindEpoch: label.Epoch, KindPage: label.Page, KindMessage: label.Message,
	KindKeyPackage: label.KeyPackage, KindKeyUpdate: label.KeyUpdate, KindPresence: label.Presence,
	KindInbox: label.Inbox, KindWelcome: label.Welcome, KindReBox: label.ReBox, KindBatch: label.Batch,
	KindChunk: label.Chunk, KindCard: label.Card, KindJoinRequest: label.JoinRequest, KindAck: label.Ack,
}
