package enginetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// jammer fills mailboxes at one node: with everything that a phone can sign truly,
// and with what devices sign that nobody ever let in.
type jammer struct {
	x      *seized
	serial int
}

func (j *jammer) junk(size int) []byte {
	j.serial++
	b := bytes.Repeat([]byte{1}, size)
	copy(b, fmt.Sprint("junk ", j.serial))
	return b
}

// stranger is a device that the jammer invents.
func (j *jammer) stranger() identity.DeviceKey {
	j.serial++
	var seed [32]byte
	copy(seed[:], fmt.Sprint("nobody ", j.serial))
	return identity.DeviceKeyFromSeed(seed)
}

// boxes are all the mailboxes that the keys of a phone open, of all epochs that it
// keeps: days and lanes, and the organisers' apart.
func (j *jammer) boxes(n *Node) (list, inboxes []*epoch.Mailbox) {
	for id, k := range j.x.keys {
		h := j.x.heads[id]
		if h == nil {
			continue // of its own making, and nobody else's
		}
		for day := n.Now().Day() - 2; day <= n.Now().Day()+2; day++ {
			list = append(list, epoch.CommonMailbox(k.Net(), day))
			inboxes = append(inboxes, epoch.InboxMailbox(k.Net(), day, h.Core.InboxRead))
		}
		for _, lane := range h.Core.Lanes {
			list = append(list, epoch.LaneMailbox(k.Net(), lane))
		}
	}
	for _, l := range [][]*epoch.Mailbox{list, inboxes} {
		slices.SortFunc(l, func(a, b *epoch.Mailbox) int {
			x, y := a.Address(), b.Address()
			return bytes.Compare(x[:], y[:])
		})
	}
	return list, inboxes
}

// op signs an operation that builds on one that nobody has: it waits where it is
// taken. Whose it is cannot be told as long as nobody let the device in.
func (j *jammer) op(d identity.DeviceKey) protocol.Frame {
	member := j.x.n.member
	if d.Public() != j.x.device.Public() {
		member = [16]byte{5}
	}
	return protocol.SignFrame(j.x.n.id, protocol.KindOp, d, wire.Marshal([]any{1, 200, member[:], 1, make([]byte, 32),
		[][]byte{bytes.Repeat([]byte{7}, 32)}, [][]byte{}, j.serial, j.junk(12_000)}))
}

// fill gives a node everything, in all mailboxes by turns, and says how many bytes
// were offered.
func (j *jammer) fill(n *Node) (offered int) {
	x := j.x
	a := asMember(x.t, n)
	boxes, inboxes := j.boxes(n)
	put := func(box *epoch.Mailbox, f protocol.Frame) {
		e, err := box.Seal(f.Marshal())
		must(x.t, err)
		a.give(e)
		offered += len(e)
	}
	give := func(f protocol.Frame) {
		j.serial++
		put(boxes[j.serial%len(boxes)], f)
	}
	for range 150 * j.epochs() { // of its own, more than its shares hold
		give(protocol.SignFrame(x.n.id, 200, x.device, j.junk(60_000)))
	}
	for i := range 60 { // to the organisers: what they open, and what nobody does
		j.serial++
		box := inboxes[j.serial%len(inboxes)]
		f, err := epoch.SealInbox(x.n.id, x.device, x.last, epoch.RescueItem{Counter: uint64(1_000 + i), Seed: epoch.RescueSeedFromBytes([32]byte(j.junk(32)))})
		must(x.t, err)
		put(box, f)
		last := x.last.ID()
		put(box, protocol.SignFrame(x.n.id, protocol.KindInbox, x.device, wire.Marshal([]any{1, last[:], j.junk(15_000)})))
		put(box, protocol.SignFrame(x.n.id, protocol.KindInbox, j.stranger(), wire.Marshal([]any{1, last[:], j.junk(15_000)})))
	}
	for range 120 { // operations, of which the parents never come
		give(j.op(x.device))
		give(j.op(j.stranger()))
	}
	for range 40 { // of devices that nobody let in
		give(protocol.SignFrame(x.n.id, 200, j.stranger(), j.junk(60_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindMessage, j.stranger(), j.junk(60_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindReBox, j.stranger(), j.junk(15_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindEpoch, j.stranger(), j.junk(15_000)))
	}
	for range 300 { // keys, more than wait for an operation
		member, d := identity.MemberKeyFromSeed([32]byte(j.junk(32))), j.stranger()
		kem, err := epoch.NewKEMPrivate(x.n.random)
		must(x.t, err)
		give(group.NewKeyPackage(x.n.id, d, group.KeyPackage{Cert: identity.Certify(x.n.id, member, d), KEM: kem.Public(),
			Lane: epoch.MailKeyFromSeed([32]byte{1}).Public(), Expires: n.Now().Unix() + 3600}))
	}
	for range 700 { // keys of its own, asking for the next epoch each time
		give(x.heal())
	}
	for range 160 { // epochs of its own
		f, h := x.issue(x.draft(x.last))
		delete(x.keys, h.ID())
		delete(x.heads, h.ID())
		give(f)
	}
	for i := range 20 {
		give(protocol.SignFrame(x.n.id, protocol.KindPresence, x.device, wire.Marshal([]any{1, []string{fmt.Sprint("/ip4/192.0.2.1/tcp/", i)}, n.Now().Unix()})))
		give(protocol.SignFrame(x.n.id, protocol.KindReBox, x.device, j.junk(15_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindChunk, x.device, j.junk(15_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindBatch, x.device, j.junk(15_000)))
	}
	a.step(engine.PeerDown{Peer: a.id})
	return offered
}

// epochs counts the epochs whose mailboxes a phone knows.
func (j *jammer) epochs() (n int) {
	for id := range j.x.keys {
		if j.x.heads[id] != nil {
			n++
		}
	}
	return n
}

// Spec 95 row 72: a removed member fills every mailbox that the old keys open, at whoever
// was away and has not heard of the removal, and through a member who helps, who
// fills those of the new keys. What a phone takes of it is bounded, whoever was
// away catches up and reads, and who was removed reads nothing.
func TestJam(t *testing.T) {
	w, x, ben, cam, dia, eve := heldUp(t)
	must(t, x.n.Start()) // the founder's phone is her own again
	ana := x.n
	must(t, w.Run(engine.Seconds(60)))
	fay := w.Add("Fay")
	l, err := ben.Invite(engine.InviteParams{Uses: 5, AutoApprove: true})
	must(t, err)
	must(t, fay.Join(l))
	must(t, w.Run(engine.Seconds(60)))
	must(t, w.Check())
	helper := &jammer{x: seize(t, w, dia)}
	must(t, dia.Start())
	must(t, w.Run(engine.Seconds(60)))
	// Cam, an organiser, and Fay, a reader, are away.
	away := []*Node{cam, fay}
	for _, n := range away {
		for _, m := range w.nodes {
			w.Cut(n, m)
			w.Cut(m, n)
		}
	}
	robbed := &jammer{x: seize(t, w, eve)}
	must(t, ben.Remove(eve))
	must(t, w.Run(engine.Seconds(60)))
	talk(t, w, "sans eve", ana, ben, dia)
	must(t, ben.Post("pendant", "Corps.", 0))
	before := map[*Node]int{}
	for _, n := range []*Node{ana, ben, dia, cam, fay} {
		before[n] = n.Store.size()
	}
	for _, n := range []*Node{cam, fay, ben} {
		offered := robbed.fill(n)
		t.Logf("%s: of %d bytes offered %d more are stored", n.Name, offered, n.Store.size()-before[n])
	}
	// The helper has the new keys as well.
	dia.Stop()
	dia.off = false
	helper.x = seizeAgain(t, w, dia)
	offered := helper.fill(ben)
	t.Logf("ben: of %d bytes more offered %d more are stored", offered, ben.Store.size()-before[ben])
	must(t, dia.Start())
	must(t, w.Run(engine.Seconds(30)))
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(150)))
	// Of each of two devices in each epoch: 9 MiB, 1 MiB of keys and 2 MiB of headers;
	// the key frames, which are pruned each day, 32 headers once more, and the
	// operations, which here are fewer than their share: 4 MiB; and of strangers 1 MiB in
	// this hour, twice where it lies in a table of its own.
	shares := robbed.epochs() + helper.epochs()
	t.Logf("the removed one has the keys of %d epochs, the helper of %d", robbed.epochs(), helper.epochs())
	for n, size := range before {
		if grown := n.Store.size() - size; grown > shares*(9+1+2)<<20+2*4<<20+2<<20 {
			t.Errorf("%s stores %d bytes more", n.Name, grown)
		} else {
			t.Logf("%s stores %d bytes more", n.Name, grown)
		}
		keys := 0
		for k, r := range n.Store.rows[tableOfEnvelopes] {
			if kind := protocol.FrameKind(k[68]); kind == protocol.KindKeyUpdate || kind == protocol.KindKeyPackage {
				keys += len(r.value)
			}
		}
		if keys > shares<<20+1<<20 { // those of all others, and strangers'
			t.Errorf("%s stores %d bytes of keys", n.Name, keys)
		}
		if _, err := n.See("pendant"); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
	}
	talk(t, w, "après", ana, ben, cam, fay)
	for _, n := range []*Node{ana, ben, cam, fay} {
		if len(n.Engine.Members()) != 5 || n.epoch() != ben.epoch() {
			t.Errorf("%s counts %d members at epoch %d, ben is at %d", n.Name, len(n.Engine.Members()), n.epoch(), ben.epoch())
		}
	}
	// Somebody new comes in, and is read by all; who comes by a link of before the
	// removal, which the removed one may know, waits for a person.
	gil, hal := w.Add("Gil"), w.Add("Hal")
	fresh, err := ben.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, gil.Join(fresh))
	must(t, hal.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "nouveau", ana, ben, cam, fay, gil)
	if hal.joined != 0 {
		t.Error("a link that the removed one may know lets somebody in by itself")
	}
	must(t, ben.Approve("Hal"))
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "et lui", ben, cam, fay, gil, hal)
	// What is told to the organisers alone reaches them: seeds of those who came.
	for _, n := range []*Node{fay, gil, hal} {
		for _, o := range []*Node{ana, ben, cam} {
			own, known := seedsAt(n, n), seedsAt(o, n)
			if newest := slices.Max(slices.Collect(maps.Keys(own))); known[newest] != own[newest] {
				t.Errorf("%s does not know how to reach %s", o.Name, n.Name)
			}
		}
	}
	for _, p := range w.posts {
		if _, err := eve.See(p.name); err == nil && p.name != "x" && p.at > eve.removed {
			t.Errorf("eve reads %q", p.name)
		}
	}
	must(t, w.checkRemoved())
}

// seizeAgain reads the phone as it is now.
func seizeAgain(t *testing.T, w *World, n *Node) *seized {
	t.Helper()
	must(t, n.Start())
	return seize(t, w, n)
}
