package epoch

import (
	"encoding/binary"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

// Open opens the box of key and checks that its secret confirms the header. An
// operator, which is an operating device of an organiser, also demands the
// organisers' secret: ErrOrgSecret says that the issuer must be rejected; opening
// again with operator false still reads the epoch. The secret is kept whenever
// it confirms, because a device may open before it knows its own role.
// Other errors: ErrPageMissing, ErrNoBox, ErrConfirm.
func (h *Header) Open(key KEMPrivate, operator bool) (*Keys, error) {
	pk := key.Public()
	b, err := h.find(tagOf(h.coreHash, pk.Ref()))
	if err != nil {
		return nil, err
	}
	plain, err := key.OpenFrom(label.Box, h.coreHash[:], b.Ciphertext)
	if err != nil || len(plain) != 64 {
		return nil, ErrConfirm
	}
	secret, org := [32]byte(plain[:32]), [32]byte(plain[32:])
	if !sameMAC(h.confTag, confirm(secret, h.coreHash, h.pagesHash)) {
		return nil, ErrConfirm
	}
	if h.confirmsOrg(org) {
		return newKeys(h.id, secret, &org), nil
	}
	if operator && !h.Core.ByAuthor() {
		return nil, ErrOrgSecret
	}
	return newKeys(h.id, secret, nil), nil
}

// Confirm says whether keys that came by another way than a box, such as a
// Welcome, belong to the header. The tree inside is not covered by this: that
// shows when messages open. Errors: ErrConfirm, ErrOrgSecret.
func (h *Header) Confirm(k *Keys) error {
	if k.epoch != h.id || !sameMAC(h.confTag, mac(k.confirm, h.coreHash[:], h.pagesHash[:])) {
		return ErrConfirm
	}
	if k.hasOrg && !h.confirmsOrg(k.org) {
		return ErrOrgSecret
	}
	return nil
}

func (h *Header) confirmsOrg(org [32]byte) bool {
	if h.Core.ByAuthor() || !sameMAC(h.orgTag, confirm(org, h.coreHash, h.pagesHash)) {
		return false
	}
	inbox, reader := inboxKeys(org)
	return inbox.Public() == h.Core.InboxKey && reader.Public() == h.Core.InboxRead
}

// padBox computes padding box i. Computed, so that openers can tell padding
// from a recipient who was smuggled in; outsiders cannot.
func padBox(pad [32]byte, i uint32) box {
	at := binary.BigEndian.AppendUint32(nil, i)
	return box{
		Tag:        Tag(label.Expand(pad[:], label.PadTag, at, 32)[:8]),
		Ciphertext: label.Expand(pad[:], label.PadBox, at, boxCiphertext),
	}
}

// Expected is a device that ought to have a box, with every KEM key of it that
// was accepted.
type Expected struct {
	Member   identity.MemberID
	Device   identity.DeviceID
	Keys     []protocol.KEMRef
	Optional bool // it signed two KeyUpdates at one counter: it may be there or not
}

// Findings is what an audit of the boxes found.
type Findings struct {
	Missing    []identity.DeviceID // expected, not optional, without a box
	Repeated   []identity.DeviceID // with more than one box
	Unmatched  []Tag               // boxes that are neither padding nor for a known key
	RosterGood bool                // the roster hash is that of the matched boxes
}

// Exact says that every expected device has exactly one box and that there is
// no other box but padding (spec 30 section 4).
func (f Findings) Exact() bool {
	return f.RosterGood && len(f.Missing)+len(f.Repeated)+len(f.Unmatched) == 0
}

// Audit compares the boxes with the devices that ought to have one. It needs
// every page, or returns ErrPageMissing.
func (h *Header) Audit(k *Keys, expected []Expected) (Findings, error) {
	if k.epoch != h.id {
		return Findings{}, ErrConfirm
	}
	for _, p := range h.pages {
		if p == nil {
			return Findings{}, ErrPageMissing
		}
	}
	padding := h.padding(k.pad)
	type owner struct{ device, key int }
	owners := map[Tag]owner{}
	for i, e := range expected {
		for j, pk := range e.Keys {
			owners[tagOf(h.coreHash, pk)] = owner{i, j}
		}
	}
	var f Findings
	var boxed []Boxed
	count := make([]int, len(expected))
	for _, p := range h.pages {
		for _, b := range p.Boxes {
			o, known := owners[b.Tag]
			switch {
			case known:
				e := expected[o.device]
				count[o.device]++
				boxed = append(boxed, Boxed{Member: e.Member, Device: e.Device, Key: e.Keys[o.key]})
			case !padding[b.Tag]:
				f.Unmatched = append(f.Unmatched, b.Tag)
			}
		}
	}
	for i, n := range count {
		switch {
		case n == 0 && !expected[i].Optional:
			f.Missing = append(f.Missing, expected[i].Device)
		case n > 1:
			f.Repeated = append(f.Repeated, expected[i].Device)
		}
	}
	f.RosterGood = RosterHash(boxed) == h.Core.Roster
	return f, nil
}

// padding returns the tags of the boxes that are padding 0, 1, 2 and so on
// without a gap, ciphertext included.
func (h *Header) padding(pad [32]byte) map[Tag]bool {
	tags := map[Tag]bool{}
	for i := range uint32(h.Core.Boxes) {
		want := padBox(pad, i)
		got, err := h.find(want.Tag)
		if err != nil || string(got.Ciphertext) != string(want.Ciphertext) {
			break
		}
		tags[want.Tag] = true
	}
	return tags
}
