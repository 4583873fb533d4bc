package epoch

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

type vectorItem struct {
	Frame hexBytes
	Plain hexBytes // without the zero bytes after it
}

// moreVectors adds a ReBox, inbox items, an author's epoch and a page.
func (g *group) moreVectors(t *testing.T, v *ownVectors, h *Header) {
	by, to := g.people[0], g.people[1]
	self := to.id()
	v.Device = self[:]
	for _, item := range []InboxItem{
		RescueItem{Counter: 2, Seed: RescueSeedFromBytes([32]byte{8})}, RequestItem{KeyUpdate: protocol.ItemID{1}, Newest: h.id, Lost: protocol.EpochID{2}},
		ResponseItem{Body: []byte("oui")}, KeyUpdateItem{Frame: keyUpdateFrame(g.id, to.key)},
	} {
		f := must[protocol.Frame](t)(SealInbox(g.id, to.key, h, item))
		body := must[[]byte](t)(encodeItem(self, item))
		v.Inbox = append(v.Inbox, vectorItem{f.Marshal(), wire.Marshal(inboxPlain{Version: 1, Kind: item.Kind(), Body: body})})
	}
	r := reboxOf(0)
	rf := must[[]protocol.Frame](t)(SealReBox(g.id, by.key, self, &to.pub, r, g.random))[0]
	content := must[[32]byte](t)(must[manifest](t)(reboxParcel.parse(rf)).unlock(g.id, self, to.kem))
	pub := by.key.Public()
	v.ReBox.Frame, v.ReBox.SignerKey, v.ReBox.ContentKey, v.ReBox.Plain = rf.Marshal(), pub[:], content[:], r.marshal()

	af, a, ak := g.byAuthor(t, h)
	v.Author.Frame, v.Author.Epoch, v.Author.OrgEpoch, v.Author.Net = af.Marshal(), a.id[:], a.Core.OrgEpoch, ak.net.slice()

	big := newGroup(t, 49, 4_245)
	issued, bh := big.large(t)
	last := big.people[48]
	at, seed := bh.PageOf(&last.pub), last.kem.Seed()
	address := PageMailbox(bh, uint16(at)).Address()
	x := &v.Paged
	x.Group, x.Frame, x.Page, x.KEMSeed, x.Index = big.id[:], issued.Header.Marshal(), issued.Pages[at].Marshal(), seed[:], at
	x.PagesHash, x.Net, x.Address = bh.pagesHash[:], issued.Keys.net.slice(), address[:]

	plain := v.Inbox[0].Plain
	context := inboxContext(g.id, h.id, self)
	tail := padTo(inboxRoom(len(plain)), plain)
	tail[len(tail)-1] = 1
	var swapped page
	if err := wire.Unmarshal(issued.Pages[at].Body, protocol.RoomMedium, &swapped); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(swapped.Boxes)
	v.Refused = append(v.Refused,
		vectorRefused{"item is not padded", "inbox", g.forgeItem(t, h, to, context, plain, nil).Marshal()},
		vectorRefused{"padding of the item is not zero", "inbox", g.forgeItem(t, h, to, context, tail, nil).Marshal()},
		vectorRefused{"boxes are not in order", "page", protocol.SignFrame(big.id, protocol.KindPage, big.people[0].key, wire.Marshal(swapped)).Marshal()},
	)
}
