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

// InboxKind says what a device tells the organisers. Numbers are part of the wire
// format.
type InboxKind uint8

// Kinds of inbox items (spec 30 section 12).
const (
	InboxRescue    InboxKind = 1
	InboxRequest   InboxKind = 2
	InboxResponse  InboxKind = 3
	InboxKeyUpdate InboxKind = 4
	InboxHanded    InboxKind = 5
	InboxMissed    InboxKind = 6
)

// InboxItem is one thing that a device tells the organisers: a RescueItem,
// RequestItem, ResponseItem, KeyUpdateItem, HandedItem or MissedItem.
type InboxItem interface {
	Kind() InboxKind
}

// RescueItem names the seed of the sender's rescue mailbox.
type RescueItem struct {
	hidden
	Counter uint64 // from 1; of two seeds the higher counts
	Seed    RescueSeed
}

// RequestItem asks for a ReBox.
type RequestItem struct {
	KeyUpdate protocol.ItemID  // the sender's newest own one, zero for its KeyPackage
	Newest    protocol.EpochID // the newest epoch that it can open
	Lost      protocol.EpochID // one that it cannot; zero: it knows of none
}

// ResponseItem answers a notice; its bytes mean nothing here.
type ResponseItem struct {
	hidden
	Body []byte
}

// KeyUpdateItem is an encoded frame of kind 6, which the receiver checks. It takes
// a larger bucket than the frame alone does.
type KeyUpdateItem struct{ Frame []byte }

// HandedItem names an epoch that the sender has just handed over with ReBoxes, and
// the devices to which it did, 1 to MaxHanded, sorted, each once: others need not.
type HandedItem struct {
	Epoch   protocol.EpochID
	Devices []identity.DeviceID
}

// MissedItem names messages that the sender lacks and that nobody gives, 1 to MaxMissed
// runs of them, ascending by device and number, none touching another.
type MissedItem struct{ Runs []MissedRun }

// MissedRun is a run of numbers in the messages of one device, from 1, ends included.
type MissedRun struct {
	_        struct{} `cbor:",toarray"`
	Device   identity.DeviceID
	From, To uint64
}

// Has says whether one of the runs has a message.
func (m MissedItem) Has(d identity.DeviceID, seq uint64) bool {
	return slices.ContainsFunc(m.Runs, func(r MissedRun) bool { return r.Device == d && r.From <= seq && seq <= r.To })
}

func (m MissedItem) fits() bool {
	if len(m.Runs) == 0 || len(m.Runs) > MaxMissed {
		return false
	}
	for i, r := range m.Runs {
		if r.From == 0 || r.From > r.To {
			return false
		}
		if i == 0 {
			continue
		}
		before := m.Runs[i-1]
		order := bytes.Compare(before.Device[:], r.Device[:])
		if order > 0 || order == 0 && (before.To >= r.From || before.To+1 >= r.From) {
			return false
		}
	}
	return true
}

// Kind is InboxMissed.
func (MissedItem) Kind() InboxKind { return InboxMissed }

// Kind is InboxRescue.
func (RescueItem) Kind() InboxKind { return InboxRescue }

// Kind is InboxRequest.
func (RequestItem) Kind() InboxKind { return InboxRequest }

// Kind is InboxResponse.
func (ResponseItem) Kind() InboxKind { return InboxResponse }

// Kind is InboxKeyUpdate.
func (KeyUpdateItem) Kind() InboxKind { return InboxKeyUpdate }

// Kind is InboxHanded.
func (HandedItem) Kind() InboxKind { return InboxHanded }

// Bounds of inbox items.
const (
	// MaxResponse is the most bytes of a ResponseItem.
	MaxResponse = protocol.MaxRoom - inboxFrame - SealOverhead - inboxHead

	// MaxHanded is the most devices of a HandedItem: they fit into the smallest bucket.
	MaxHanded = 32

	// MaxMissed is the most runs of a MissedItem: they fit into the smallest bucket.
	MaxMissed = 12

	inboxFrame = 127 // of the frame beside what is sealed, which is over 255 bytes
	inboxHead  = 6   // of an item beside a body of more than 255 bytes
)

// inboxFrameBody is the body of an inbox frame.
type inboxFrameBody struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Epoch   protocol.EpochID // whose organisers' secret opens it
	Sealed  []byte
}

// inboxPlain is what is sealed, followed by zero bytes.
type inboxPlain struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Kind    InboxKind
	Body    []byte
}

type rescueBody struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	Counter uint64
	Seed    [32]byte
}

type requestItemBody struct {
	_         struct{} `cbor:",toarray"`
	Device    identity.DeviceID
	KeyUpdate protocol.ItemID
	Newest    protocol.EpochID
	Lost      protocol.EpochID
}

type handedBody struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	Epoch   protocol.EpochID
	Devices []identity.DeviceID
}

type missedBody struct {
	_      struct{} `cbor:",toarray"`
	Device identity.DeviceID
	Runs   []MissedRun
}

// SealInbox seals an item of device d to the organisers who hold the inbox of
// header h (spec 30 section 12): one frame of kind 8 that fills its envelope, so
// that items of one bucket are all of one size. Errors: ErrTooLarge, ErrInbox for
// what breaks a bound.
func SealInbox(g protocol.GroupID, d identity.DeviceKey, h *Header, item InboxItem) (protocol.Frame, error) {
	fail := func(err error) (protocol.Frame, error) {
		return protocol.Frame{}, fmt.Errorf("sealing an inbox item: %w", err)
	}
	self := d.Public().ID()
	body, err := encodeItem(self, item)
	if err != nil {
		return fail(err)
	}
	plain := wire.Marshal(inboxPlain{Version: protocol.Version, Kind: item.Kind(), Body: body})
	room := inboxRoom(len(plain))
	if room == 0 {
		return fail(ErrTooLarge)
	}
	padded := make([]byte, room)
	copy(padded, plain)
	e := h.InboxEpoch()
	sealed, err := SealTo(&h.Core.InboxKey, label.InboxBox, inboxContext(g, e, self), padded)
	if err != nil {
		return fail(err)
	}
	f := wire.Marshal(inboxFrameBody{Version: protocol.Version, Epoch: e, Sealed: sealed})
	return protocol.SignFrame(g, protocol.KindInbox, d, f), nil
}

// InboxItemEpoch returns the epoch whose organisers' secret opens an inbox frame.
// The error wraps ErrInbox.
func InboxItemEpoch(f protocol.Frame) (protocol.EpochID, error) {
	b, err := parseInboxFrame(f)
	return b.Epoch, err
}

// OpenInbox opens an inbox frame of group g with the organisers' secret and checks
// its signature with the key that lookup gives for the device. Nothing tells a
// frame that comes twice: the caller knows its item id, and RescueItem's counter.
// Errors: ErrInbox, ErrOtherEpoch, ErrUnknownDevice, ErrOrgSecret where the secret
// is not held.
func (k *Keys) OpenInbox(g protocol.GroupID, f protocol.Frame, lookup func(identity.DeviceID) (identity.DevicePublic, bool)) (InboxItem, error) {
	b, err := parseInboxFrame(f)
	if err != nil {
		return nil, err
	}
	if b.Epoch != k.epoch {
		return nil, ErrOtherEpoch
	}
	inbox, _, ok := k.Inbox()
	if !ok {
		return nil, ErrOrgSecret
	}
	pub, ok := lookup(f.Device)
	if !ok {
		return nil, ErrUnknownDevice
	}
	if !f.Verify(g, pub) {
		return nil, fmt.Errorf("%w: wrong signature", ErrInbox)
	}
	padded, err := inbox.OpenFrom(label.InboxBox, inboxContext(g, k.epoch, f.Device), b.Sealed)
	if err != nil {
		return nil, ErrInbox
	}
	return parseInbox(f.Device, padded)
}

func parseInboxFrame(f protocol.Frame) (inboxFrameBody, error) {
	var b inboxFrameBody
	if f.Kind != protocol.KindInbox {
		return b, ErrInbox
	}
	if err := wire.Unmarshal(f.Body, protocol.MaxRoom, &b); err != nil {
		return b, fmt.Errorf("%w: %w", ErrInbox, err)
	}
	if n := len(b.Sealed) - SealOverhead; b.Version != protocol.Version || n <= 0 || inboxRoom(n) != n {
		return b, ErrInbox
	}
	return b, nil
}

// inboxRoom is the size to which an item of n bytes is padded: what is left of the
// smallest bucket that holds it, or 0.
func inboxRoom(n int) int {
	for _, room := range []int{protocol.RoomSmall, protocol.RoomMedium, protocol.RoomLarge} {
		if r := room - inboxFrame - SealOverhead; n <= r {
			return r
		}
	}
	return 0
}

// inboxContext binds an item to group, epoch and sending device.
func inboxContext(g protocol.GroupID, e protocol.EpochID, d identity.DeviceID) []byte {
	return wire.Marshal(struct {
		_      struct{} `cbor:",toarray"`
		Group  protocol.GroupID
		Epoch  protocol.EpochID
		Device identity.DeviceID
	}{Group: g, Epoch: e, Device: d})
}

// encodeItem returns the body of an item of device d.
func encodeItem(d identity.DeviceID, item InboxItem) ([]byte, error) {
	switch i := item.(type) {
	case RescueItem:
		if i.Counter == 0 {
			return nil, ErrInbox
		}
		return wire.Marshal(rescueBody{Device: d, Counter: i.Counter, Seed: i.Seed.Seed()}), nil
	case RequestItem:
		return wire.Marshal(requestItemBody{Device: d, KeyUpdate: i.KeyUpdate, Newest: i.Newest, Lost: i.Lost}), nil
	case ResponseItem:
		if len(i.Body) > MaxResponse {
			return nil, ErrTooLarge
		}
		return i.Body, nil
	case KeyUpdateItem:
		f, err := protocol.ParseFrame(i.Frame)
		if err != nil || f.Kind != protocol.KindKeyUpdate || f.Device != d || len(f.Marshal()) != len(i.Frame) {
			return nil, ErrInbox
		}
		return i.Frame, nil
	case HandedItem:
		if len(i.Devices) == 0 || len(i.Devices) > MaxHanded {
			return nil, ErrInbox
		}
		for n := 1; n < len(i.Devices); n++ {
			if bytes.Compare(i.Devices[n-1][:], i.Devices[n][:]) >= 0 {
				return nil, ErrInbox
			}
		}
		return wire.Marshal(handedBody{Device: d, Epoch: i.Epoch, Devices: i.Devices}), nil
	case MissedItem:
		if !i.fits() {
			return nil, ErrInbox
		}
		return wire.Marshal(missedBody{Device: d, Runs: i.Runs}), nil
	}
	return nil, ErrInbox
}

// parseInbox decodes what device d sealed, with its padding.
func parseInbox(d identity.DeviceID, padded []byte) (InboxItem, error) {
	var p inboxPlain
	n, err := wire.UnmarshalPadded(padded, protocol.MaxRoom, &p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInbox, err)
	}
	if p.Version != protocol.Version || inboxRoom(n) != len(padded) {
		return nil, ErrInbox
	}
	var item InboxItem
	switch p.Kind {
	case InboxRescue:
		var b rescueBody
		err = wire.Unmarshal(p.Body, protocol.RoomSmall, &b)
		item = RescueItem{Counter: b.Counter, Seed: RescueSeedFromBytes(b.Seed)}
	case InboxRequest:
		var b requestItemBody
		err = wire.Unmarshal(p.Body, protocol.RoomSmall, &b)
		item = RequestItem{KeyUpdate: b.KeyUpdate, Newest: b.Newest, Lost: b.Lost}
	case InboxResponse:
		item = ResponseItem{Body: p.Body}
	case InboxKeyUpdate:
		item = KeyUpdateItem{Frame: p.Body}
	case InboxHanded:
		var b handedBody
		err = wire.Unmarshal(p.Body, protocol.RoomSmall, &b)
		item = HandedItem{Epoch: b.Epoch, Devices: b.Devices}
	case InboxMissed:
		var b missedBody
		err = wire.Unmarshal(p.Body, protocol.RoomSmall, &b)
		item = MissedItem{Runs: b.Runs}
	default:
		return nil, fmt.Errorf("%w: unknown kind", ErrInbox)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInbox, err)
	}
	// What d may not seal, such as another device's name, is not taken either.
	if again, err := encodeItem(d, item); err != nil || !slices.Equal(again, p.Body) {
		return nil, ErrInbox
	}
	return item, nil
}
