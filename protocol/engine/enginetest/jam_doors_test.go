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

// This file fills the mailboxes that belong to one person each: rescue, card and
// request mailboxes (spec 95 row 72).

const (
	messageFetch = 7
	messageHeads = 13
)

// inviteTag is what a link of an invite is proven under.
func inviteTag(l protocol.Link) (tag [32]byte) {
	id := l.ID()
	copy(tag[:], id[:])
	return tag
}

// asker has a link's secret and asks by it under ever other names.
type asker struct {
	*attacker
	link protocol.Link
	root epoch.Rendezvous
	card epoch.Card
	from *jammer
}

func askBy(t *testing.T, j *jammer, n *Node, l protocol.Link) *asker {
	t.Helper()
	a := &asker{attacker: attack(t, n, engine.ClassInvite, inviteTag(l)), link: l, root: epoch.RendezvousOf(l.Secret, l.ID()), from: j}
	box := epoch.CardMailbox(a.root, l.Card)
	a.say(messageFetch, wire.Marshal([]protocol.MailboxID{box.Address()}))
	for _, m := range a.got {
		if m[0] != messageGive {
			continue
		}
		plain, err := box.Open(m[1:])
		must(t, err)
		f, err := protocol.ParseFrame(plain)
		must(t, err)
		a.card, err = epoch.ParseCard(n.id, f, l.Card)
		must(t, err)
	}
	return a
}

// request is one of somebody who does not exist.
func (a *asker) request(expires int64) []byte {
	a.t.Helper()
	member, d := identity.MemberKeyFromSeed([32]byte(a.from.junk(32))), a.from.stranger()
	kem, err := epoch.NewKEMPrivate(a.n.random)
	must(a.t, err)
	f := group.NewKeyPackage(a.n.id, d, group.KeyPackage{Cert: identity.Certify(a.n.id, member, d), Invite: a.link.ID(), Inviter: a.link.Inviter,
		KEM: kem.Public(), Lane: epoch.MailKeyFromSeed([32]byte{1}).Public(), Expires: expires})
	r, err := epoch.SealRequest(a.n.id, a.link.ID(), &a.card.JoinKey, a.root, epoch.JoinRequest{KeyPackage: f.Marshal(),
		Name: fmt.Sprint("Hal ", a.from.serial), Rescue: epoch.RescueSeedFromBytes([32]byte(a.from.junk(32)))})
	must(a.t, err)
	e, err := epoch.RequestMailbox(a.root, a.link.Card).Seal(r.Marshal())
	must(a.t, err)
	return e
}

// Row 72: who was removed knows links, and asks by them without end, under names
// that are others'. Nobody comes in by it, what is kept is bounded, and a newcomer gets
// in: by a link that the removed one does not know, and after asking for one.
func TestJamOfRequests(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	var links []protocol.Link
	for range 3 {
		l, err := ana.Invite(engine.InviteParams{Uses: 300, AutoApprove: true})
		must(t, err)
		links = append(links, l)
	}
	j := &jammer{x: seize(t, w, cam)}
	must(t, ana.Remove(cam))
	must(t, w.Run(engine.Seconds(60)))
	before := ana.Store.size()
	ask := askBy(t, j, ana, links[0])
	rows := ana.Store.names()
	for _, bad := range [][]byte{
		ask.request(ana.Now().Unix() + 100*daySeconds), // it would lie there for ever
		ask.request(1),
	} {
		ask.say(messageGive, bad)
	}
	// Into the card's own mailbox, and a rescue mailbox: nobody but this device writes there.
	junk := protocol.SignFrame(ana.id, protocol.KindWelcome, j.x.device, j.junk(1_000))
	for _, box := range []*epoch.Mailbox{epoch.CardMailbox(ask.root, links[0].Card), epoch.RescueMailbox(epoch.RescueSeedFromBytes([32]byte{3}))} {
		e, err := box.Seal(junk.Marshal())
		must(t, err)
		if ask.say(messageGive, e); !ask.closed {
			t.Error("what belongs into another mailbox was let pass")
		}
	}
	if len(ana.Engine.Requests()) != 0 || fmt.Sprint(rows) != fmt.Sprint(ana.Store.names()) {
		t.Error("something of it was kept")
	}
	for _, l := range links {
		a := askBy(t, j, ana, l)
		for range 240 {
			a.say(messageGive, a.request(ana.Now().Unix()+10*daySeconds))
		}
		a.step(engine.PeerDown{Peer: a.id})
	}
	if n := len(ana.Engine.Members()); n != 2 {
		t.Fatalf("%d members", n)
	}
	// 256 in all, and 4 by each link at least.
	if n := len(ana.Engine.Requests()); n != 256+4 {
		t.Errorf("%d requests are open", n)
	}
	if grown := ana.Store.size() - before; grown > 260*4_096 {
		t.Errorf("%d bytes were stored", grown)
	}
	ana.Stop()
	must(t, ana.Start())
	must(t, w.Run(engine.Seconds(10)))
	// By a link that he knows somebody true is told that it leads nowhere; by another
	// one she is in at once.
	dia := w.Add("Dia")
	must(t, dia.Join(links[1]))
	must(t, w.Run(engine.Seconds(30)))
	told := false
	for _, ev := range dia.Events {
		told = told || ev.Kind == engine.EventUsedUp
	}
	if !told || dia.joined != 0 {
		t.Errorf("dia is told %t, joined at %d", told, dia.joined)
	}
	fresh, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	eve := w.Add("Eve")
	must(t, eve.Join(fresh))
	must(t, w.Run(engine.Seconds(60)))
	talk(t, w, "nouvelle", ana, ben, eve)
	// A person lets somebody in among all those; then all is gone when their keys are.
	must(t, w.Run(daysOf(12)))
	if n := len(ana.Store.rows[tableOfRequests]); n != 0 || len(ana.Engine.Requests()) != 0 {
		t.Errorf("%d requests are stored after their time", n)
	}
}

// flood is what a phone gives on a link of a rescue key: everything that it can
// sign, and what devices sign that nobody let in.
func (j *jammer) flood(a *attacker, box *epoch.Mailbox) (offered int) {
	give := func(f protocol.Frame) {
		e, err := box.Seal(f.Marshal())
		must(j.x.t, err)
		a.say(messageGive, e)
		offered += len(e)
	}
	for range 150 {
		give(j.op(j.x.device))
		give(j.op(j.stranger()))
	}
	for range 700 {
		give(j.x.heal())
	}
	for range 180 { // each justified where the period is long over
		f, h := j.x.issue(j.x.draft(j.x.last))
		delete(j.x.keys, h.ID())
		delete(j.x.heads, h.ID())
		give(f)
	}
	for range 60 {
		give(protocol.SignFrame(j.x.n.id, protocol.KindReBox, j.x.device, j.junk(60_000)))
		give(protocol.SignFrame(j.x.n.id, protocol.KindChunk, j.x.device, j.junk(60_000)))
		give(protocol.SignFrame(j.x.n.id, protocol.KindMessage, j.x.device, j.junk(60_000)))
		give(protocol.SignFrame(j.x.n.id, 200, j.stranger(), j.junk(60_000)))
	}
	return offered
}

// Row 72: an expelled organiser knows the rescue seeds of before. He sits where
// somebody dials who was away for weeks and does not know that he is out, and fills
// her mailbox; a member who helps him says of her phone that it is cut off and fills
// hers at an organiser's. What is stored is bounded, and who was away comes back.
func TestJamOfRescueMailboxes(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia, eve := w.Add("Dia"), w.Add("Eve")
	l, err := ben.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, eve.Join(l))
	for _, n := range []*Node{ana, ben} {
		n.policy(t, func(p *group.Policy) { p.HighRisk = true })
		must(t, w.Run(engine.Seconds(60)))
	}
	must(t, w.Run(engine.Seconds(600)))
	known := seedsAt(cam, eve)
	eve.Stop()
	robbed := &jammer{x: seize(t, w, cam)}
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(70)))
	p, err := ana.Expel(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	if p, err = ben.Vote(p.ID.String()); err != nil || !p.Effective {
		t.Fatal(p, err)
	}
	w.pass(t, 16, eve, cam)
	must(t, ben.Post("pendant", "Corps.", 20*daySeconds))
	must(t, w.Run(engine.Seconds(60)))

	// The helper, at an organiser's.
	own := epoch.RescueMailbox(epoch.RescueSeedFromBytes(newestOf(seedsAt(dia, dia))))
	helper := &jammer{x: seize(t, w, dia)}
	before := map[*Node]int{ana: ana.Store.size(), ben: ben.Store.size()}
	offered := helper.flood(attack(t, ben, engine.ClassCatchUp, own.Address()), own)
	t.Logf("ben: of %d bytes offered %d more are stored", offered, ben.Store.size()-before[ben])
	must(t, w.Run(engine.Seconds(60)))
	for n, size := range before {
		// Keys and held operations of one device: 1 MiB each, and once more in the tables
		// of their own; of strangers 1 MiB, twice too.
		if grown := n.Store.size() - size; grown > 3<<20 {
			t.Errorf("%s stores %d bytes more", n.Name, grown)
		}
	}

	// The expelled one, where eve dials.
	for _, n := range []*Node{ana, ben} {
		w.Cut(n, eve)
		w.Cut(eve, n)
	}
	must(t, eve.Start())
	size := eve.Store.size()
	if len(known) == 0 {
		t.Fatal("the expelled one knows no seed")
	}
	box := epoch.RescueMailbox(epoch.RescueSeedFromBytes(newestOf(known)))
	matches := false
	for _, k := range eve.gate.Dial {
		matches = matches || k.Tag == box.Address()
	}
	if _, trusts := eve.gate.Devices[robbed.x.device.Public().ID()]; !matches || !trusts {
		t.Fatalf("eve dials with the key that he knows: %t, takes his signature: %t", matches, trusts)
	}
	for range 3 {
		a := attack(t, eve, engine.ClassCatchUp, box.Address())
		a.say(messageHeads, wire.Marshal([]protocol.OpID{}))
		offered = robbed.flood(a, box)
		a.say(8, wire.Marshal(box.Address()))
		a.step(engine.PeerDown{Peer: a.id})
		t.Logf("eve: of %d bytes offered %d more are stored", offered, eve.Store.size()-size)
	}
	if grown := eve.Store.size() - size; grown > 8<<20 { // and 2 MiB of headers
		t.Errorf("eve stores %d bytes more", grown)
	}
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(900)))
	if eve.epoch() != ben.epoch() || eve.Engine.Waiting() {
		t.Fatalf("eve is at epoch %d and waits %t, ben at %d", eve.epoch(), eve.Engine.Waiting(), ben.epoch())
	}
	eve.sees(t, true, "pendant")
	talk(t, w, "de retour", ana, ben, eve)
	for _, n := range []*Node{ana, ben, eve} {
		if len(n.Engine.Members()) != 4 {
			t.Errorf("%s counts %d members", n.Name, len(n.Engine.Members()))
		}
	}
}

// newestOf is the seed with the highest counter.
func newestOf(seeds map[uint64][32]byte) (s [32]byte) {
	top := uint64(0)
	for c, x := range seeds {
		if c > top {
			top, s = c, x
		}
	}
	return s
}

// Who tells seed after seed takes no place at the gate from somebody who is cut off.
func TestManySeedsBarNobody(t *testing.T) {
	w, ana, _, cam := gathered(t)
	dia := w.Add("Dia")
	l, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, w.Run(engine.Seconds(600)))
	if c, d := deviceOf(cam), deviceOf(dia); bytes.Compare(c[:], d[:]) < 0 {
		dia, cam = cam, dia // of those heard at one time the smaller id comes first
	}
	cam.Stop()
	x := seize(t, w, dia)
	w.pass(t, 33, cam, dia) // the epoch that she has is kept for a few days more
	for i := range 4 {
		f, err := epoch.SealInbox(ana.id, x.device, x.last, epoch.RescueItem{Counter: uint64(100 + i), Seed: epoch.RescueSeedFromBytes([32]byte{byte(i), 1})})
		must(t, err)
		e, err := epoch.InboxMailbox(x.keys[x.last.ID()].Net(), ana.Now().Day(), x.last.Core.InboxRead).Seal(f.Marshal())
		must(t, err)
		a := asMember(t, ana)
		a.give(e)
		a.step(engine.PeerDown{Peer: a.id})
	}
	if n := len(seedsOf(ana, x.device.Public().ID())); n != 4 {
		t.Fatalf("%d seeds of dia's are kept", n)
	}
	w.pass(t, 8, cam, dia)
	var order []identity.DeviceID
	for _, k := range ana.gate.Accept {
		if k.Device != (identity.DeviceID{}) {
			order = append(order, k.Device)
		}
	}
	seen := map[identity.DeviceID]bool{}
	for i, d := range order {
		if i < 2 && seen[d] {
			t.Errorf("the keys of one device come first: %v", order)
		}
		seen[d] = true
	}
	if len(seen) != 2 {
		t.Errorf("%d devices are expected", len(seen))
	}
}
