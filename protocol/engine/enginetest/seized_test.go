package enginetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// seized is an organiser's phone in other hands: switched off as an app, with all
// its keys and rows open. What its new owner makes is signed truly.
type seized struct {
	t      *testing.T
	w      *World
	n      *Node
	device identity.DeviceKey
	log    *group.Log
	ring   *group.KeyRing
	keys   map[protocol.EpochID]*epoch.Keys
	heads  map[protocol.EpochID]*epoch.Header
	last   *epoch.Header // the epoch that the group sends in
	seq    uint64
	ahead  uint64 // counter of the last KeyUpdate
	prev   protocol.ItemID
}

// seize takes a phone.
func seize(t *testing.T, w *World, n *Node) *seized {
	t.Helper()
	x := &seized{t: t, w: w, n: n, device: device(t, n), log: logOf(t, n), keys: map[protocol.EpochID]*epoch.Keys{},
		heads: map[protocol.EpochID]*epoch.Header{}, seq: 1_000}
	tag := protocol.EpochID(n.gate.Accept[0].Tag)
	x.ring = group.NewKeyRing(x.log.Genesis())
	x.ring.Follow(x.log.Resolve())
	var frames []protocol.Frame
	for _, r := range n.Store.rows[tableOfKeyFrames] {
		f, err := protocol.ParseFrame(bytes.Clone(r.value))
		must(t, err)
		frames = append(frames, f)
	}
	x.ring.Restore(frames)
	for _, h := range headers(t, n) {
		x.heads[h.ID()] = h
	}
	for _, r := range n.Store.rows[tableOfSecrets] {
		k, err := epoch.ParseKeys(bytes.Clone(r.value))
		must(t, err)
		x.keys[k.Epoch()] = k
	}
	x.last = x.heads[tag]
	own, ok := x.ring.Newest(x.device.Public().ID())
	if !ok || x.last == nil || x.keys[tag] == nil {
		t.Fatal("the phone has nothing to seize")
	}
	x.ahead, x.prev = own.Counter, own.ID
	n.Stop()
	n.off = true
	return x
}

// draft is an honest epoch over a parent, but for what the caller changes.
func (x *seized) draft(parents ...*epoch.Header) epoch.Draft {
	x.seq++
	d := epoch.Draft{Group: x.n.id, Issuer: x.n.member, Device: x.device, Hedge: epoch.HedgeKeyOf(x.device), Seq: x.seq,
		CreatedAt: x.w.Now.Unix(), GovHeads: x.log.Heads()}
	for _, p := range parents {
		d.Parents = append(d.Parents, epoch.Parent{ID: p.ID(), Gen: p.Core.Gen})
	}
	for _, m := range x.log.Resolve().Members() {
		for _, dev := range m.Devices {
			if k, ok := x.ring.Newest(dev.ID); ok && !m.Suspended {
				d.Recipients = append(d.Recipients, epoch.Recipient{Member: m.ID, Device: dev.ID, Key: &k.KEM, Operator: dev.Operating})
				if m.Role == group.Organiser {
					d.Lanes = append(d.Lanes, k.Lane)
				}
			}
		}
	}
	return d
}

// without leaves somebody's devices out.
func (x *seized) without(d epoch.Draft, n *Node) epoch.Draft {
	d.Recipients = slices.DeleteFunc(d.Recipients, func(r epoch.Recipient) bool { return r.Member == n.member })
	return d
}

// issue makes an epoch of a draft.
func (x *seized) issue(d epoch.Draft) (protocol.Frame, *epoch.Header) {
	x.t.Helper()
	i, err := epoch.IssueEpoch(d, x.n.random)
	must(x.t, err)
	h, err := epoch.ParseHeader(x.n.id, i.Header)
	must(x.t, err)
	x.keys[h.ID()], x.heads[h.ID()] = i.Keys, h
	return i.Header, h
}

// heal signs a KeyUpdate that asks for the next epoch.
func (x *seized) heal() protocol.Frame { return x.newKey(true) }

// newKey tells a new key, and asks for the next epoch with it or not.
func (x *seized) newKey(heal bool) protocol.Frame {
	x.t.Helper()
	kem, err := epoch.NewKEMPrivate(x.n.random)
	must(x.t, err)
	x.ahead++
	f := group.NewKeyUpdate(x.n.id, x.device, group.KeyUpdate{Counter: x.ahead, Prev: x.prev, KEM: kem.Public(),
		Lane: epoch.MailKeyFromSeed([32]byte{byte(x.ahead), 5}).Public(), Heal: heal})
	x.prev = f.ID(x.n.id)
	x.ring.Add(f)
	return f
}

// op signs an operation and takes note of it.
func (x *seized) op(p group.Payload) protocol.Frame {
	x.t.Helper()
	f, err := x.log.NewOp(x.device, x.n.member, p, []protocol.EpochID{x.last.ID()}, x.w.Now.Unix())
	must(x.t, err)
	_, err = x.log.Add(f)
	must(x.t, err)
	x.ring.Follow(x.log.Resolve())
	return f
}

// give puts frames into the common mailbox of an epoch, at nodes.
func (x *seized) give(under *epoch.Header, nodes []*Node, frames ...protocol.Frame) {
	x.t.Helper()
	for _, n := range nodes {
		a := asMember(x.t, n)
		for _, f := range frames {
			a.give(sealed(x.t, x.keys[under.ID()], n, f))
		}
		a.step(engine.PeerDown{Peer: a.id})
	}
}

// size is how many bytes a phone has stored.
func (m *Memory) size() (n int) {
	for _, rows := range m.rows {
		for k, r := range rows {
			n += len(k) + len(r.value)
		}
	}
	return n
}

// rejections lists the RejectEpoch operations that a node holds.
func rejections(t *testing.T, n *Node) (list []group.RejectEpoch) {
	t.Helper()
	l := logOf(t, n)
	for _, f := range l.Frames() {
		if _, p, ok := l.Op(protocol.OpID(f.ID(n.id))); ok {
			if r, ok := p.(group.RejectEpoch); ok {
				list = append(list, r)
			}
		}
	}
	return list
}

// held is a group of three organisers and two readers of whom the founder's
// phone is seized.
func heldUp(t *testing.T) (w *World, x *seized, ben, cam, dia, eve *Node) {
	t.Helper()
	w, ana, ben, cam := organised(t)
	dia, eve = w.Add("Dia"), w.Add("Eve")
	l, err := ben.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, eve.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	must(t, w.Check())
	x = seize(t, w, ana)
	return w, x, ben, cam, dia, eve
}

// talk lets each of the nodes write, and wants all of them to read it soon.
func talk(t *testing.T, w *World, what string, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		must(t, n.Post(what+" "+n.Name, "Corps.", 0))
	}
	must(t, w.Run(engine.Seconds(20)))
	for _, n := range nodes {
		for _, m := range nodes {
			if _, err := m.See(what + " " + n.Name); err != nil {
				t.Errorf("%s: %s does not read %s (at epoch %d, waits %t; %s at %d)", what, m.Name, n.Name, m.epoch(), m.waits(), n.Name, n.epoch())
			}
		}
	}
}

// settled has the seized phone's owner suspended and expelled, and wants the
// group at rest.
func settledWithout(t *testing.T, w *World, x *seized, ben, cam *Node, nodes ...*Node) {
	t.Helper()
	if err := ben.Suspend(x.n); !errors.Is(err, engine.ErrSuspended) {
		must(t, err)
	}
	must(t, w.Run(engine.Seconds(70)))
	p, err := ben.Expel(x.n)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	_, err = cam.Vote(p.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "sans elle", nodes...)
	gen := ben.epoch()
	must(t, w.Run(engine.Seconds(300)))
	if g := ben.epoch(); g != gen {
		t.Errorf("the keys are still renewed: %d, then %d", gen, g)
	}
	for _, n := range nodes {
		if n.Engine.Waiting() || len(n.Engine.Members()) != len(nodes) {
			t.Errorf("%s waits %t with %d members", n.Name, n.Engine.Waiting(), len(n.Engine.Members()))
		}
	}
}
