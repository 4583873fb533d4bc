package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// absent is a phone that asked to be let in and has been off ever since: real
// keys, a certificate and a key package, but no engine. Most of a large group is
// made of them, so that one process can hold it.
type absent struct {
	member identity.MemberKey
	device identity.DeviceKey
	kem    epoch.KEMPrivate // to which its boxes are sealed
	pack   protocol.Frame
}

func (a *absent) id() identity.MemberID { return a.member.Public().ID() }

// letIn has a node let in n phones that are off, by links that approve by themselves.
func letIn(t testing.TB, w *World, by *Node, n int) []*absent {
	t.Helper()
	var list []*absent
	for len(list) < n {
		uses := min(n-len(list), 50)
		link, err := by.Invite(engine.InviteParams{Uses: uses, AutoApprove: true})
		must(t, err)
		for range uses {
			list = append(list, letInOne(t, w, by, link))
		}
		must(t, w.Run(engine.Seconds(1)))
	}
	if got := len(by.Engine.Members()); got < n {
		t.Fatalf("%d were let in, and there are %d members", n, got)
	}
	return list
}

// letInOne asks as a joiner's device does: for the card, and then with the request.
func letInOne(t testing.TB, w *World, by *Node, link protocol.Link) *absent {
	t.Helper()
	var tag [32]byte
	id := link.ID()
	copy(tag[:], id[:])
	root := epoch.RendezvousOf(link.Secret, id)
	card := epoch.CardMailbox(root, link.Card)

	var given []byte
	before := w.tap
	defer func() { w.tap = before }()
	phone := &Node{Name: "a phone that is off", w: w}
	w.tap = func(_, to *Node, data []byte) bool {
		if to == phone && data[0] == messageGive {
			given = data[1:]
		}
		return false
	}
	w.connect(phone, by, engine.ClassInvite, tag, tag)
	l := w.linkOf(phone, by)
	by.step(engine.Received{Peer: l.id, Data: append([]byte{messageFetch}, wire.Marshal([]protocol.MailboxID{card.Address()})...)})
	plain, err := card.Open(given)
	must(t, err)
	f, err := protocol.ParseFrame(plain)
	must(t, err)
	c, err := epoch.ParseCard(link.Group, f, link.Card)
	must(t, err)

	a := &absent{}
	a.member, err = identity.NewMemberKey(by.random)
	must(t, err)
	a.device, err = identity.NewDeviceKey(by.random)
	must(t, err)
	a.kem, err = epoch.NewKEMPrivate(by.random)
	must(t, err)
	var seed [32]byte
	by.random.Read(seed[:])
	a.pack = group.NewKeyPackage(link.Group, a.device, group.KeyPackage{Cert: identity.Certify(link.Group, a.member, a.device), Invite: id,
		Inviter: link.Inviter, KEM: a.kem.Public(), Lane: epoch.MailKeyFromSeed(seed).Public(), Expires: by.Now().Unix() + 7*protocol.DaySeconds})
	request, err := epoch.SealRequest(link.Group, id, &c.JoinKey, root,
		epoch.JoinRequest{KeyPackage: a.pack.Marshal(), Name: "off", Rescue: epoch.RescueSeedFromBytes(seed)})
	must(t, err)
	envelope, err := epoch.RequestMailbox(root, link.Card).Seal(request.Marshal())
	must(t, err)
	by.step(engine.Received{Peer: l.id, Data: append([]byte{messageGive}, envelope...)})
	l.end()
	return a
}

// removeAbsent takes a phone that is off out of the group.
func (n *Node) removeAbsent(a *absent) error {
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.Remove(now, a.id().String()) })
	return n.saved(saved, err, func() {})
}
