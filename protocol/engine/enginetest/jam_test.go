package enginetest

import (
	"bytes"
	"fmt"
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

// boxes are all the mailboxes that the keys of an epoch open: days and lanes.
func (j *jammer) boxes(h *epoch.Header, n *Node) (list []*epoch.Mailbox) {
	net := j.x.keys[h.ID()].Net()
	for day := n.Now().Day() - 2; day <= n.Now().Day()+2; day++ {
		list = append(list, epoch.CommonMailbox(net, day))
	}
	for _, lane := range h.Core.Lanes {
		list = append(list, epoch.LaneMailbox(net, lane))
	}
	return list
}

// fill gives a node everything, in all the mailboxes of an epoch by turns, and
// says how many bytes were offered.
func (j *jammer) fill(n *Node, h *epoch.Header) (offered int) {
	x := j.x
	a := asMember(x.t, n)
	boxes := j.boxes(h, n)
	give := func(f protocol.Frame) {
		j.serial++
		e, err := boxes[j.serial%len(boxes)].Seal(f.Marshal())
		must(x.t, err)
		a.give(e)
		offered += len(e)
	}
	for range 165 { // of its own, without end
		give(protocol.SignFrame(x.n.id, 200, x.device, j.junk(60_000)))
	}
	for range 40 { // of devices that nobody let in
		give(protocol.SignFrame(x.n.id, 200, j.stranger(), j.junk(60_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindMessage, j.stranger(), j.junk(60_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindReBox, j.stranger(), j.junk(15_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindEpoch, j.stranger(), j.junk(15_000)))
	}
	for range 60 {
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
		f, _ := x.issue(x.draft(h))
		give(f)
	}
	for i := range 20 {
		give(protocol.SignFrame(x.n.id, protocol.KindPresence, x.device, wire.Marshal([]any{1, []string{fmt.Sprint("/ip4/192.0.2.1/tcp/", i)}, n.Now().Unix() + 3600})))
		give(protocol.SignFrame(x.n.id, protocol.KindReBox, x.device, j.junk(15_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindChunk, x.device, j.junk(15_000)))
		give(protocol.SignFrame(x.n.id, protocol.KindBatch, x.device, j.junk(15_000)))
	}
	a.step(engine.PeerDown{Peer: a.id})
	return offered
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
		offered := robbed.fill(n, robbed.x.last)
		t.Logf("%s: of %d bytes offered %d more are stored", n.Name, offered, n.Store.size()-before[n])
	}
	// The helper has the new keys as well.
	dia.Stop()
	dia.off = false
	helper.x = seizeAgain(t, w, dia)
	offered := helper.fill(ben, helper.x.last)
	t.Logf("ben: of %d bytes more offered %d more are stored", offered, ben.Store.size()-before[ben])
	must(t, dia.Start())
	must(t, w.Run(engine.Seconds(30)))
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(150)))
	// Of each of two devices: 9 MiB, 1 MiB of keys and 2 MiB of headers; the key
	// frames, which are pruned each day, and 32 headers once more, less than 1 MiB; and
	// of strangers 1 MiB in this hour, and their packages.
	for n, size := range before {
		if grown := n.Store.size() - size; grown > 2*13<<20+2<<20 {
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
		if keys > 2<<20+1<<19 { // 1 MiB of each, and those of all others
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
	// Somebody new comes in, and is read by all.
	gil := w.Add("Gil")
	must(t, gil.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "nouveau", ana, ben, cam, fay, gil)
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
