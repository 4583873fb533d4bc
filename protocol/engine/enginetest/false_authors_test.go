package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// The tests of this file hand members epochs that an author may not issue so (spec
// 40 section 6.8): nobody sends in them, builds on them, or opens the gate for them.

// newestKEM is the public half of the newest key of a node's device.
func newestKEM(t *testing.T, n *Node) *protocol.KEMPublic {
	t.Helper()
	var newest kemRow
	for _, k := range n.Store.keys(tableOfKEM) {
		var r kemRow
		must(t, wire.Unmarshal(n.Store.rows[tableOfKEM][k].value, 256, &r))
		if r.Counter >= newest.Counter {
			newest = r
		}
	}
	pub := epoch.KEMPrivateFromSeed(newest.KEM).Public()
	return &pub
}

// authored is what a device of n may say in an author's epoch over the one in which
// others send, for those given.
func authored(t *testing.T, n *Node, log *group.Log, over *epoch.Header, seq uint64, to ...*Node) epoch.Draft {
	t.Helper()
	d := epoch.Draft{Group: n.id, Issuer: n.member, Device: device(t, n), Hedge: epoch.HedgeKeyOf(device(t, n)), Seq: seq,
		CreatedAt: n.Now().Unix(), Parents: []epoch.Parent{{ID: over.ID(), Gen: over.Core.Gen}}, GovHeads: log.Heads(), Inbox: over}
	for _, x := range to {
		d.Recipients = append(d.Recipients, epoch.Recipient{Member: x.member, Device: device(t, x).Public().ID(), Key: newestKEM(t, x)})
	}
	return d
}

// counts says whether a node sends in an epoch, or lets in as a member who has it.
func (n *Node) takes(id protocol.EpochID) bool {
	return slices.ContainsFunc(n.gate.Accept, func(k engine.GateKey) bool {
		return protocol.EpochID(k.Tag) == id && k.Class == engine.ClassMember
	})
}

func TestFalseAuthorsEpochs(t *testing.T) {
	var nobody protocol.EpochID
	nobody[0] = 1
	other := protocol.KEMPublic{}
	for _, x := range []struct {
		name string
		good bool
		make func(d *epoch.Draft, before *group.Log, dia epoch.Recipient)
	}{
		{"as it should be", true, func(*epoch.Draft, *group.Log, epoch.Recipient) {}},
		{"a box for who was removed", false, func(d *epoch.Draft, _ *group.Log, dia epoch.Recipient) {
			d.Recipients = append(d.Recipients, dia)
		}},
		{"a box for a stranger", false, func(d *epoch.Draft, _ *group.Log, dia epoch.Recipient) {
			d.Recipients = append(d.Recipients, epoch.Recipient{Member: [16]byte{1}, Device: [16]byte{1}, Key: &other})
		}},
		{"a member left out", false, func(d *epoch.Draft, _ *group.Log, _ epoch.Recipient) {
			d.Recipients = d.Recipients[:len(d.Recipients)-1]
		}},
		{"covers no removal", false, func(d *epoch.Draft, before *group.Log, dia epoch.Recipient) {
			d.GovHeads, d.Recipients = before.Heads(), append(d.Recipients, dia)
		}},
		{"another inbox", false, func(d *epoch.Draft, _ *group.Log, _ epoch.Recipient) {
			id := d.Inbox.ID()
			core := d.Inbox.Core
			core.OrgEpoch, core.InboxKey = id[:], other
			d.Inbox = &epoch.Header{Core: core}
		}},
		{"the inbox of nobody knows what", false, func(d *epoch.Draft, _ *group.Log, _ epoch.Recipient) {
			core := d.Inbox.Core
			core.OrgEpoch = nobody[:]
			d.Inbox = &epoch.Header{Core: core}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia", "eva")
			ben, cam, dia, eva := others[0], others[1], others[2], others[3]
			key, err := epoch.NewKEMPrivate(w.nodes[0].random)
			must(t, err)
			other = key.Public()
			before, over, keys := logOf(t, ben), newestHeader(t, ben), secrets(t, ben)
			dead := *newestKEM(t, ana) // the next one dies with her phone
			ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
			dia.Stop()
			cam.Stop()
			carry(t, ben, ops)
			must(t, w.Run(engine.Seconds(5)))
			d := authored(t, cam, logOf(t, ben), over, 1, ana, ben, cam, eva)
			d.Recipients[0].Key = &dead
			x.make(&d, before, epoch.Recipient{Member: dia.member, Device: device(t, dia).Public().ID(), Key: newestKEM(t, dia)})
			i, err := epoch.IssueEpoch(d, cam.random)
			must(t, err)
			id := i.Keys.Epoch()
			carry(t, ben, [][]byte{sealed(t, keys, ben, i.Header)})
			must(t, w.Run(engine.Seconds(10)))
			for _, n := range []*Node{ben, eva} {
				if n.takes(id) != x.good || n.Engine.Waiting() == x.good {
					t.Errorf("%s takes it: %t; waits: %t", n.Name, n.takes(id), n.Engine.Waiting())
				}
			}
			must(t, ben.Post("after", "Corps.", 0))
			must(t, w.Run(engine.Seconds(afterAuthors+60)))
			if ben.Engine.Waiting() || eva.Engine.Waiting() {
				t.Error("the true authors do not go on")
			}
			for _, n := range []*Node{ben, eva} {
				for _, h := range headers(t, n) {
					if slices.Contains(h.Core.Parents, id) {
						t.Errorf("%s has an epoch that builds on it", n.Name)
					}
				}
				if _, err := n.See("after"); err != nil {
					t.Errorf("%s: %v", n.Name, err)
				}
			}
			if heldBy(t, w, dia, dia.Store, "after") {
				t.Error("the removed one reads")
			}
		})
	}
}

// TestFalseEpochsDoNotFillUp: one author's device cannot make others keep what
// counts for nothing, nor stand in the way of an organiser's epoch; and no newcomer
// is given such a one.
func TestFalseEpochsDoNotFillUp(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia", "eva")
	ben, cam, dia, eva := others[0], others[1], others[2], others[3]
	over, keys := newestHeader(t, ben), secrets(t, ben)
	must(t, ana.Remove(dia))
	must(t, w.Run(engine.Seconds(30)))
	before := len(headers(t, ana))
	var false1 []protocol.EpochID
	a := asMember(t, ana)
	for seq := range uint64(20) {
		d := authored(t, cam, logOf(t, ben), over, seq+1, ana, ben, cam, eva, dia)
		i, err := epoch.IssueEpoch(d, cam.random)
		must(t, err)
		a.give(sealed(t, keys, ben, i.Header))
		false1 = append(false1, i.Keys.Epoch())
	}
	if n := len(headers(t, ana)) - before; n == 0 || n > 4 {
		t.Errorf("%d of 20 were stored", n)
	}
	// Nor many that would count, each beside the other.
	before = len(headers(t, ana))
	sending := newestHeader(t, ana).ID()
	for seq := range uint64(20) {
		i, err := epoch.IssueEpoch(authored(t, ben, logOf(t, ben), over, seq+1, ana, ben, cam, eva), ben.random)
		must(t, err)
		a.give(sealed(t, keys, ben, i.Header))
	}
	if n := len(headers(t, ana)) - before; n == 0 || n > 4 {
		t.Errorf("%d of 20 that count were stored", n)
	}
	if newestHeader(t, ana).ID() != sending {
		t.Error("an author's epoch moved everybody from an organiser's")
	}
	a.step(engine.PeerDown{Peer: a.id})
	l, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	fay := w.Add("fay")
	must(t, fay.Join(l))
	must(t, w.Run(engine.Seconds(60)))
	for _, h := range headers(t, fay) {
		if slices.Contains(false1, h.ID()) {
			t.Error("the newcomer was given a false epoch")
		}
	}
	must(t, ana.Remove(eva))
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range []*Node{ana, ben, cam, fay} {
		h := newestHeader(t, n)
		if h.Core.Gen != 2 || h.Core.ByAuthor() || slices.ContainsFunc(false1, func(id protocol.EpochID) bool { return slices.Contains(h.Core.Parents, id) }) {
			t.Errorf("%s is at generation %d, by an author: %t, over %d epochs", n.Name, h.Core.Gen, h.Core.ByAuthor(), len(h.Core.Parents))
		}
	}
	must(t, w.Check())
}

// TestReaderIssuesInVain: an epoch of somebody who may not post is not taken in.
func TestReaderIssuesInVain(t *testing.T) {
	p := group.DefaultPolicy(10)
	p.Posting = group.PostAuthors
	w, ana, others := circle(t, p, "ben", "cam", "dia")
	ben, cam, dia := others[0], others[1], others[2]
	over, keys := newestHeader(t, ben), secrets(t, ben)
	ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
	carry(t, ben, ops)
	must(t, w.Run(engine.Seconds(5)))
	i, err := epoch.IssueEpoch(authored(t, cam, logOf(t, ben), over, 1, ana, ben, cam), cam.random)
	must(t, err)
	before := len(headers(t, ben))
	carry(t, ben, [][]byte{sealed(t, keys, ben, i.Header)})
	must(t, w.Run(engine.Seconds(10)))
	if len(headers(t, ben)) != before || !ben.Engine.Waiting() {
		t.Error("a reader's epoch was taken")
	}
}

// TestAuthorsRenewForRemovalsOnly: that a period is over is for organisers, so an
// author's epoch with no other reason moves nobody, and no author makes one.
func TestAuthorsRenewForRemovalsOnly(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia")
	ben, cam, dia := others[0], others[1], others[2]
	over, keys := newestHeader(t, ben), secrets(t, ben)
	ana.Stop()
	must(t, w.Run(daysOf(8)))
	i, err := epoch.IssueEpoch(authored(t, cam, logOf(t, ben), over, 1, ana, ben, cam, dia), cam.random)
	must(t, err)
	carry(t, ben, [][]byte{sealed(t, keys, ben, i.Header)})
	must(t, w.Run(engine.Seconds(afterAuthors+60)))
	for _, n := range others {
		if newestHeader(t, n).ID() != over.ID() || n.takes(i.Keys.Epoch()) {
			t.Errorf("%s follows an author to generation %d", n.Name, n.epoch())
		}
	}
	if len(headers(t, ben)) != 2 {
		t.Errorf("ben has %d epochs: what was handed to him is not among them, or an author renewed the keys", len(headers(t, ben)))
	}
}
