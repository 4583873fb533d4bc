package epoch

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

func keyUpdateFrame(g protocol.GroupID, d identity.DeviceKey) []byte {
	return protocol.SignFrame(g, protocol.KindKeyUpdate, d, bytes.Repeat([]byte{7}, 1_300)).Marshal()
}

func handed(n int) (list []identity.DeviceID) {
	for i := range n {
		list = append(list, identity.DeviceID{byte(i)})
	}
	return list
}

func missedMost() (x MissedItem) {
	for i := range MaxMissed {
		x.Runs = append(x.Runs, MissedRun{Device: identity.DeviceID{byte(i / 2)}, From: math.MaxUint64 - 9 + uint64(i%2)*4, To: math.MaxUint64 - 7 + uint64(i%2)*4})
	}
	return x
}

func items(g protocol.GroupID, d identity.DeviceKey) map[string]InboxItem {
	return map[string]InboxItem{
		"rescue":           RescueItem{Counter: 3, Seed: RescueSeedFromBytes([32]byte{1})},
		"request":          RequestItem{KeyUpdate: protocol.ItemID{2}, Newest: protocol.EpochID{3}, Lost: protocol.EpochID{4}},
		"request, no keys": RequestItem{},
		"response, empty":  ResponseItem{},
		"response":         ResponseItem{Body: []byte("oui")},
		"response, 16 KiB": ResponseItem{Body: bytes.Repeat([]byte{4}, 9_000)},
		"response, 64 KiB": ResponseItem{Body: bytes.Repeat([]byte{4}, MaxResponse)},
		"key update":       KeyUpdateItem{Frame: keyUpdateFrame(g, d)},
		"handed, one":      HandedItem{Devices: handed(1)},
		"handed, most":     HandedItem{Epoch: protocol.EpochID{5}, Devices: handed(MaxHanded)},
		"missed, one":      MissedItem{Runs: []MissedRun{{From: 1, To: math.MaxUint64}}},
		"missed, most":     missedMost(),
	}
}

// Spec 30 section 12: organisers read every kind, and the size tells the bucket alone.
func TestInboxItems(t *testing.T) {
	g := newGroup(t, 4, 70)
	_, h, _ := g.issue(t)
	organiser, reader := g.open(t, h, 1), g.open(t, h, 3)
	from := g.people[3]
	sizes := map[int]int{}
	for name, item := range items(g.id, from.key) {
		f, err := SealInbox(g.id, from.key, h, item)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n := len(f.Marshal())
		sizes[n]++
		if protocol.RoomFor(n) != n {
			t.Errorf("%s: a frame of %d bytes does not fill its envelope", name, n)
		}
		f = must[protocol.Frame](t)(protocol.ParseFrame(f.Marshal()))
		if e := must[protocol.EpochID](t)(InboxItemEpoch(f)); e != h.ID() {
			t.Errorf("%s: of epoch %x", name, e[:4])
		}
		got := must[InboxItem](t)(organiser.OpenInbox(g.id, f, g.lookup))
		a, b := must[[]byte](t)(encodeItem(from.id(), item)), must[[]byte](t)(encodeItem(from.id(), got))
		if got.Kind() != item.Kind() || !bytes.Equal(a, b) {
			t.Errorf("%s does not come back", name)
		}
		if _, err := reader.OpenInbox(g.id, f, g.lookup); !errors.Is(err, ErrOrgSecret) {
			t.Errorf("%s: a reader opened it: %v", name, err)
		}
	}
	if len(sizes) != 3 || sizes[protocol.RoomSmall] != 9 {
		t.Errorf("sizes %v", sizes)
	}
	if _, err := SealInbox(g.id, from.key, h, ResponseItem{Body: make([]byte, MaxResponse+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if s := fmt.Sprintf("%v %+v", RescueItem{Seed: RescueSeedFromBytes([32]byte{9})}, ResponseItem{Body: []byte("non")}); s != redacted+" "+redacted {
		t.Errorf("an item prints as %s", s)
	}
}

// Spec 30 section 12: what an author's epoch takes is opened by the organisers'
// secret of the epoch whose inbox it keeps.
func TestInboxOfAnAuthorsEpoch(t *testing.T) {
	g := newGroup(t, 4, 71)
	_, h, organiser := g.issue(t)
	_, a, mine := g.byAuthor(t, h)
	f := must[protocol.Frame](t)(SealInbox(g.id, g.people[3].key, a, RequestItem{Newest: a.ID()}))
	if e := must[protocol.EpochID](t)(InboxItemEpoch(f)); e != h.ID() {
		t.Error("the item does not name the organisers' epoch")
	}
	got := must[InboxItem](t)(organiser.OpenInbox(g.id, f, g.lookup))
	if r, ok := got.(RequestItem); !ok || r.Newest != a.ID() {
		t.Errorf("opened %T", got)
	}
	if _, err := mine.OpenInbox(g.id, f, g.lookup); !errors.Is(err, ErrOtherEpoch) {
		t.Errorf("the author opened it: %v", err)
	}
	if _, _, ok := mine.Inbox(); ok {
		t.Error("the author holds inbox keys")
	}
}

// forgeItem seals any padded bytes, as a hostile member could.
func (g *group) forgeItem(t testing.TB, h *Header, by *person, context, padded []byte, change func(*inboxFrameBody)) protocol.Frame {
	t.Helper()
	b := inboxFrameBody{Version: 1, Epoch: h.ID(), Sealed: must[[]byte](t)(SealTo(&h.Core.InboxKey, label.InboxBox, context, padded))}
	if change != nil {
		change(&b)
	}
	return protocol.SignFrame(g.id, protocol.KindInbox, by.key, wire.Marshal(b))
}

func padTo(n int, b []byte) []byte {
	out := make([]byte, n)
	copy(out, b)
	return out
}

func TestInboxRefusals(t *testing.T) {
	g := newGroup(t, 4, 72)
	_, h, _ := g.issue(t)
	_, other, _ := g.issue(t)
	k := g.open(t, h, 1)
	from, bob := g.people[3], g.people[2]
	small := inboxRoom(1)
	context := inboxContext(g.id, h.ID(), from.id())
	plain := func(kind InboxKind, body []byte) []byte {
		return wire.Marshal(inboxPlain{Version: 1, Kind: kind, Body: body})
	}
	request := must[[]byte](t)(encodeItem(from.id(), RequestItem{}))
	good := plain(InboxRequest, request)
	item := func(b []byte) protocol.Frame {
		return g.forgeItem(t, h, from, context, padTo(inboxRoom(len(b)), b), nil)
	}
	real := item(good)
	if _, err := k.OpenInbox(g.id, real, g.lookup); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	unsigned, kind := real, real
	unsigned.Sig[0]++
	kind.Kind = protocol.KindOp
	nonZero := padTo(small, good)
	nonZero[small-1] = 1
	ofBob := must[[]byte](t)(encodeItem(bob.id(), RequestItem{}))
	rescue := func(counter uint64, d identity.DeviceID) []byte {
		return plain(InboxRescue, wire.Marshal(rescueBody{Device: d, Counter: counter}))
	}
	for name, c := range map[string]struct {
		f    protocol.Frame
		want error
	}{
		"kind of frame":          {kind, ErrInbox},
		"signature":              {unsigned, ErrInbox},
		"another epoch":          {must[protocol.Frame](t)(SealInbox(g.id, from.key, other, RequestItem{})), ErrOtherEpoch},
		"epoch renamed":          {g.forgeItem(t, other, from, inboxContext(g.id, other.ID(), from.id()), padTo(small, good), func(b *inboxFrameBody) { b.Epoch = h.ID() }), ErrInbox},
		"another device":         {g.forgeItem(t, h, bob, context, padTo(small, good), nil), ErrInbox},
		"another group":          {g.forgeItem(t, h, from, inboxContext(protocol.GroupID{99}, h.ID(), from.id()), padTo(small, good), nil), ErrInbox},
		"version":                {g.forgeItem(t, h, from, context, padTo(small, good), func(b *inboxFrameBody) { b.Version = 2 }), ErrInbox},
		"version inside":         {item(wire.Marshal(inboxPlain{Version: 2, Kind: InboxRequest, Body: request})), ErrInbox},
		"sealed flipped":         {g.forgeItem(t, h, from, context, padTo(small, good), func(b *inboxFrameBody) { b.Sealed[1_200]++ }), ErrInbox},
		"not padded":             {g.forgeItem(t, h, from, context, good, nil), ErrInbox},
		"padded one byte less":   {g.forgeItem(t, h, from, context, padTo(small-1, good), nil), ErrInbox},
		"bucket too large":       {g.forgeItem(t, h, from, context, padTo(inboxRoom(small+1), good), nil), ErrInbox},
		"padding not zero":       {g.forgeItem(t, h, from, context, nonZero, nil), ErrInbox},
		"context of an epoch":    {g.forgeItem(t, h, from, inboxContext(g.id, other.ID(), from.id()), padTo(small, good), nil), ErrInbox},
		"response of a device":   {g.forgeItem(t, h, bob, context, padTo(small, plain(InboxResponse, []byte("oui"))), nil), ErrInbox},
		"kind 0":                 {item(plain(0, request)), ErrInbox},
		"kind 5":                 {item(plain(5, request)), ErrInbox},
		"request of a device":    {item(plain(InboxRequest, ofBob)), ErrInbox},
		"request cut":            {item(plain(InboxRequest, request[:40])), ErrInbox},
		"request, trailing byte": {item(plain(InboxRequest, append(slices.Clone(request), 0))), ErrInbox},
		"rescue of a device":     {item(rescue(1, bob.id())), ErrInbox},
		"rescue with counter 0":  {item(rescue(0, from.id())), ErrInbox},
		"key update of a device": {item(plain(InboxKeyUpdate, keyUpdateFrame(g.id, bob.key))), ErrInbox},
		"key update, no frame":   {item(plain(InboxKeyUpdate, []byte{1})), ErrInbox},
		"key update, other kind": {item(plain(InboxKeyUpdate, real.Marshal()[:1_900])), ErrInbox},
		"key update with tail":   {item(plain(InboxKeyUpdate, append(keyUpdateFrame(g.id, from.key), 0))), ErrInbox},
	} {
		if _, err := k.OpenInbox(g.id, c.f, g.lookup); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.OpenInbox(protocol.GroupID{99}, real, g.lookup); !errors.Is(err, ErrInbox) {
		t.Errorf("in another group: %v", err)
	}
	nobody := func(identity.DeviceID) (identity.DevicePublic, bool) { return identity.DevicePublic{}, false }
	if _, err := k.OpenInbox(g.id, real, nobody); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("unknown device: %v", err)
	}
	if _, err := g.open(t, other, 1).OpenInbox(g.id, real, g.lookup); !errors.Is(err, ErrOtherEpoch) {
		t.Errorf("keys of another epoch: %v", err)
	}
	for name, bad := range map[string]InboxItem{"nothing": nil, "rescue 0": RescueItem{}, "key update": KeyUpdateItem{Frame: []byte{1}},
		"handed to nobody": HandedItem{}, "handed to too many": HandedItem{Devices: handed(MaxHanded + 1)},
		"handed twice":         HandedItem{Devices: []identity.DeviceID{{1}, {1}}},
		"handed, not sorted":   HandedItem{Devices: []identity.DeviceID{{2}, {1}}},
		"missed nothing":       MissedItem{},
		"missed too many runs": MissedItem{Runs: append(missedMost().Runs, MissedRun{Device: identity.DeviceID{200}, From: 1, To: 1})},
		"missed number 0":      MissedItem{Runs: []MissedRun{{To: 1}}},
		"missed backwards":     MissedItem{Runs: []MissedRun{{From: 3, To: 2}}},
		"missed in two runs":   MissedItem{Runs: []MissedRun{{From: 1, To: 2}, {From: 3, To: 3}}},
		"missed twice":         MissedItem{Runs: []MissedRun{{From: 1, To: math.MaxUint64}, {From: 1, To: 1}}},
		"missed, not sorted":   MissedItem{Runs: []MissedRun{{Device: identity.DeviceID{2}, From: 1, To: 1}, {Device: identity.DeviceID{1}, From: 1, To: 1}}},
		"another's key update": KeyUpdateItem{Frame: keyUpdateFrame(g.id, bob.key)}} {
		if _, err := SealInbox(g.id, from.key, h, bad); !errors.Is(err, ErrInbox) {
			t.Errorf("%s: sealed, %v", name, err)
		}
	}
	for name, n := range map[string]int{"not padded": len(good), "one byte less": small - 1, "one byte more": small + 1, "nothing": 0} {
		f := g.forgeItem(t, h, from, context, make([]byte, n), nil)
		if _, err := InboxItemEpoch(f); !errors.Is(err, ErrInbox) {
			t.Errorf("%s: parsed, %v", name, err)
		}
	}
	for i := 0; i < len(real.Body); i += 17 {
		cut := protocol.SignFrame(g.id, protocol.KindInbox, from.key, real.Body[:i])
		if _, err := k.OpenInbox(g.id, cut, g.lookup); !errors.Is(err, ErrInbox) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
}
