package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// messagePages is the message that asks for pages (spec 65 section 2).
const messagePages = 14

// givePaged gives a node the header of a seized phone's epoch and, as far as it
// asks, its pages.
func (x *seized) givePaged(n *Node, i epoch.Issued, frames ...protocol.Frame) (pages int) {
	x.t.Helper()
	h, err := epoch.ParseHeader(x.n.id, i.Header)
	must(x.t, err)
	envelopes := map[protocol.MailboxID][]byte{}
	for at, p := range i.Pages {
		box := epoch.PageMailbox(h, uint16(at))
		envelopes[box.Address()], err = box.Seal(p.Marshal())
		must(x.t, err)
	}
	a := asMember(x.t, n)
	for _, f := range append(frames, i.Header) {
		a.give(sealed(x.t, x.keys[x.last.ID()], n, f))
	}
	for len(a.got) > 0 {
		m := a.got[0]
		a.got = a.got[1:]
		if m[0] != messagePages {
			continue
		}
		var body struct {
			_    struct{} `cbor:",toarray"`
			Far  bool
			List []protocol.MailboxID
		}
		must(x.t, wire.Unmarshal(m[1:], 4_096, &body))
		for _, address := range body.List {
			if envelope := envelopes[address]; envelope != nil {
				pages++
				a.step(engine.Received{Peer: a.id, Data: append([]byte{messageGive}, envelope...)})
			}
		}
	}
	a.step(engine.PeerDown{Peer: a.id})
	return pages
}

// Row 71 in a large group: the boxes of an epoch lie in pages, and an organiser's
// device fetches all of them, because it would otherwise not see who is left out.
func TestBadPagedEpochIsRejected(t *testing.T) {
	ghost, err := epoch.NewKEMPrivate(NewWorld(1).Add("ghost").random)
	must(t, err)
	ghostKey := ghost.Public()
	for _, c := range []struct {
		name   string
		reason group.Rejection
		change func(x *seized, d epoch.Draft, dia *Node) epoch.Draft
	}{
		{"leaves a reader out", group.RejectMissing, func(x *seized, d epoch.Draft, dia *Node) epoch.Draft { return x.without(d, dia) }},
		{"a box for nobody", group.RejectStranger, func(_ *seized, d epoch.Draft, _ *Node) epoch.Draft {
			d.Recipients = append(d.Recipients, epoch.Recipient{Member: [16]byte{7}, Device: [16]byte{9}, Key: &ghostKey})
			return d
		}},
		{"another secret for the organisers", group.RejectSecret, func(x *seized, d epoch.Draft, _ *Node) epoch.Draft {
			for i := range d.Recipients {
				d.Recipients[i].Operator = d.Recipients[i].Member == x.n.member
			}
			return d
		}},
		{"as it has to be", 0, func(_ *seized, d epoch.Draft, _ *Node) epoch.Draft { return d }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, ana, ben, cam := organised(t)
			dia := w.Add("Dia")
			l, err := ben.Invite(engine.InviteParams{AutoApprove: true})
			must(t, err)
			must(t, dia.Join(l))
			must(t, w.Run(engine.Seconds(30)))
			off := letIn(t, w, ben, 49)
			must(t, ben.removeAbsent(off[0]))
			must(t, w.Run(engine.Seconds(400)))
			x := seize(t, w, ana)
			if x.last.Pages() == 0 {
				t.Fatal("the epoch has no pages")
			}
			must(t, w.Run(engine.Seconds(10)))
			// Ben alone meets the seized phone.
			others := []*Node{cam, dia}
			for _, n := range others {
				w.Cut(ben, n)
				w.Cut(n, ben)
			}
			heal := x.heal()
			d := x.draft(x.last)
			d.Heals = []protocol.ItemID{heal.ID(x.n.id)}
			i, err := epoch.IssueEpoch(c.change(x, d, dia), x.n.random)
			must(t, err)
			if got := x.givePaged(ben, i, heal); got != len(i.Pages) {
				t.Fatalf("%d pages were asked for, of %d", got, len(i.Pages))
			}
			for _, n := range others {
				w.Heal(ben, n)
			}
			must(t, w.Run(engine.Seconds(240)))
			all := []*Node{ben, cam, dia}
			talk(t, w, "après", all...)
			want := x.last.Core.Gen + 1 // in place of a bad one comes one beside it
			for _, n := range all {
				list := rejections(t, n)
				switch {
				case c.reason == 0 && len(list) != 0, c.reason != 0 && (len(list) != 1 || list[0].Reason != c.reason):
					t.Errorf("%s holds the rejections %v", n.Name, list)
				case n.epoch() != want:
					t.Errorf("%s is at epoch %d, want %d", n.Name, n.epoch(), want)
				}
			}
			// What was found is stored, or found again.
			ops := ben.opCount()
			for _, n := range []*Node{ben, cam} {
				n.Stop()
				must(t, n.Start())
			}
			must(t, w.Run(engine.Seconds(700)))
			if ben.opCount() != ops {
				t.Errorf("a start brought %d operations more", ben.opCount()-ops)
			}
		})
	}
}
