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

// misdeeds are what a suspended organiser signs with the operations that his phone
// had before it heard: he removes, adds, grants and rejects.
func (x *seized) misdeeds(dia, eve *Node, reject ...protocol.EpochID) []protocol.Frame {
	x.t.Helper()
	member, d := identity.MemberKeyFromSeed([32]byte{6, 6}), identity.DeviceKeyFromSeed([32]byte{6, 7})
	cert := identity.Certify(x.n.id, member, d)
	kem, err := epoch.NewKEMPrivate(x.n.random)
	must(x.t, err)
	kp := group.NewKeyPackage(x.n.id, d, group.KeyPackage{Cert: cert, KEM: kem.Public(),
		Lane: epoch.MailKeyFromSeed([32]byte{6, 8}).Public(), Expires: x.w.Now.Unix() + 3600})
	list := []protocol.Frame{kp, x.op(group.RemoveMember{Target: dia.member}), x.op(group.GrantAuthor{Target: eve.member}),
		x.op(group.AddMember{Cert: cert.Marshal(), KeyPackage: kp.ID(x.n.id)})}
	for _, id := range reject {
		list = append(list, x.op(group.RejectEpoch{Epoch: id, Reason: group.RejectPerson}))
	}
	return list
}

// after signs the operations among frames anew, as one who has seen all that is in
// a log. No client signs them: they would have no effect.
func (x *seized) after(l *group.Log, frames []protocol.Frame) (out []protocol.Frame) {
	x.t.Helper()
	for _, f := range frames {
		if f.Kind != protocol.KindOp {
			continue
		}
		o, _, err := group.ParseOp(f, x.n.id)
		must(x.t, err)
		o.Seq, o.PrevOwn, o.Parents = 1, protocol.OpID{}, l.Heads()
		if last, ok := l.LastOf(x.device.Public().ID()); ok {
			prev, _, _ := l.Op(last)
			o.Seq, o.PrevOwn = prev.Seq+1, last
		}
		g := protocol.SignFrame(x.n.id, protocol.KindOp, x.device, wire.Marshal(o))
		_, err = l.Add(g)
		must(x.t, err)
		out = append(out, g)
	}
	return out
}

// unmoved wants nothing that a suspended organiser did to count.
func unmoved(t *testing.T, what string, members int, gen uint32, dia, eve *Node, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		role, in := group.Role(0), false
		for _, m := range n.Engine.Members() {
			in = in || m.ID == dia.member
			if m.ID == eve.member {
				role = m.Role
			}
		}
		if len(n.Engine.Members()) != members || !in || role != group.Reader {
			t.Errorf("%s: %s counts %d members, dia in %t, eve a %s", what, n.Name, len(n.Engine.Members()), in, role)
		}
		if n.epoch() != gen || n.Engine.Waiting() {
			t.Errorf("%s: %s is at epoch %d and waits %t, it was %d", what, n.Name, n.epoch(), n.Engine.Waiting(), gen)
		}
	}
}

// Spec 95 row 73: a suspended organiser goes on with all that the phone holds, as if it
// had not heard, and as one that has heard: nothing of it counts, nobody is muted.
func TestSuspendedOrganiserDoesNothing(t *testing.T) {
	w, x, ben, cam, dia, eve := heldUp(t)
	all := []*Node{ben, cam, dia, eve}
	must(t, ben.Suspend(x.n))
	must(t, w.Run(engine.Seconds(70)))
	talk(t, w, "sans ana", all...)
	gen, newest := ben.epoch(), protocol.EpochID(ben.gate.Accept[0].Tag)
	// As if nothing had been heard, and an epoch over it without dia.
	deeds := x.misdeeds(dia, eve, newest, x.last.ID())
	f, h := x.issue(x.draft(x.last))
	x.give(x.last, all, append(deeds, f)...)
	u := x.heal()
	d := x.draft(h)
	d.Heals = []protocol.ItemID{u.ID(x.n.id)}
	f, _ = x.issue(d)
	x.give(x.last, all, u, f)
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "malgré", all...)
	unmoved(t, "not heard", 5, gen, dia, eve, all...)
	// Having heard.
	l := logOf(t, ben)
	x.give(x.last, all, x.after(l, deeds)...)
	x.log = l
	d = x.draft(x.last)
	d.Parents = append(d.Parents, epoch.Parent{ID: newest, Gen: gen})
	f, _ = x.issue(d)
	x.give(x.last, all, f)
	must(t, w.Run(engine.Seconds(90)))
	talk(t, w, "encore", all...)
	unmoved(t, "heard", 5, gen, dia, eve, all...)
	// Nobody among the honest rejects anything: an epoch that is void anyway is not
	// worth an operation.
	for _, r := range rejections(t, ben) {
		if r.Reason != group.RejectPerson {
			t.Errorf("an honest device rejects %v", r)
		}
	}
	settledWithout(t, w, x, ben, cam, all...)
}

// Spec 95 row 73: an organiser is suspended and given back while the phone is cut off and
// goes on. What was done meanwhile stays without effect; then the phone is one of
// the group again.
func TestGivenBackReadsAndSends(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia, eve := w.Add("Dia"), w.Add("Eve")
	l, err := ben.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, eve.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	all := []*Node{ben, cam, dia, eve}
	for _, n := range all {
		w.Cut(ana, n)
		w.Cut(n, ana)
	}
	must(t, ben.Suspend(ana))
	ana.stopped = false // nothing of hers is to be lost
	must(t, w.Run(engine.Seconds(70)))
	// She goes on: her phone removes, grants, and renews the keys by itself.
	must(t, ana.Remove(dia))
	dia.removed, dia.copied = 0, nil // it will not have been
	must(t, ana.Grant(eve))
	must(t, w.Run(engine.Seconds(70)))
	p, err := ben.Reinstate(ana)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	if p, err = cam.Vote(p.ID.String()); err != nil || !p.Effective {
		t.Fatal(p, err)
	}
	must(t, w.Run(engine.Seconds(100)))
	talk(t, w, "avant", all...)
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(300)))
	unmoved(t, "given back", 5, ben.epoch(), dia, eve, append(all, ana)...)
	talk(t, w, "de retour", append(all, ana)...)
	if n := len(rejections(t, ben)); n > 0 {
		t.Errorf("%d epochs were rejected", n)
	}
}

// An organiser who is given back after several renewals takes the newest epoch,
// whose parents the phone never had.
func TestGivenBackAfterSeveralEpochs(t *testing.T) {
	w, x, ben, cam, dia, eve := heldUp(t)
	ana := x.n
	all := []*Node{ben, cam, dia}
	for _, n := range append(all, eve) {
		w.Cut(ana, n)
		w.Cut(n, ana)
	}
	must(t, ana.Start())
	must(t, ben.Suspend(ana))
	ana.stopped = false
	must(t, w.Run(engine.Seconds(70)))
	phone := seize(t, w, eve) // that asks for new keys
	for range 3 {
		phone.give(phone.last, all, phone.heal())
		must(t, w.Run(engine.Seconds(130)))
	}
	if ben.epoch() < x.last.Core.Gen+4 {
		t.Fatalf("ben is at epoch %d, it was %d", ben.epoch(), x.last.Core.Gen)
	}
	p, err := ben.Reinstate(ana)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	if p, err = cam.Vote(p.ID.String()); err != nil || !p.Effective {
		t.Fatal(p, err)
	}
	must(t, w.Run(engine.Seconds(70)))
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(200)))
	if ana.epoch() != ben.epoch() || ana.Engine.Waiting() {
		t.Errorf("ana is at epoch %d and waits %t, ben at %d", ana.epoch(), ana.Engine.Waiting(), ben.epoch())
	}
	talk(t, w, "de retour", append(all, ana)...)
}

// Spec 45 section 2: before organisers vote to give somebody back they are told what
// counts again by it, and that is what then does. What the proposal had not seen
// does not.
func TestVotersSeeWhatComesBack(t *testing.T) {
	w, x, ben, cam, dia, eve := heldUp(t)
	all := []*Node{ben, cam, dia, eve}
	must(t, ben.Suspend(x.n))
	must(t, w.Run(engine.Seconds(70)))
	deeds := x.misdeeds(dia, eve)
	x.give(x.last, all, deeds...)
	l := logOf(t, ben)
	heard := x.after(l, deeds)
	x.give(x.last, all, heard...)
	must(t, w.Run(engine.Seconds(60)))
	unmoved(t, "suspended", 5, ben.epoch(), dia, eve, all...)
	returns := func(n *Node) (now, open []engine.Change) {
		a := n.Engine.Authority()
		for _, o := range a.Organisers {
			if o.ID == x.n.member {
				now = o.Returns
			} else if len(o.Returns) > 0 {
				t.Errorf("%s: something of %s returns", n.Name, o.Name)
			}
		}
		for _, p := range a.Open {
			open = append(open, p.Returns...)
		}
		return now, open
	}
	before, _ := returns(ben)
	p, err := ben.Reinstate(x.n)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	x.give(x.last, all, x.op(group.RevokeAuthor{Target: eve.member}))     // the proposal has not seen this
	after := x.after(logOf(t, ben), []protocol.Frame{deeds[2], deeds[1]}) // these have seen the proposal
	x.give(x.last, all, after...)
	must(t, w.Run(engine.Seconds(10)))
	effective := func() map[protocol.OpID]bool {
		out := map[protocol.OpID]bool{}
		for _, c := range cam.Engine.Changes(0) {
			if c.By == x.n.member && c.Effective {
				out[c.ID] = true
			}
		}
		return out
	}
	had := effective()
	_, told := returns(cam)
	if len(before) == 0 || len(told) != len(before)+len(after) {
		t.Fatalf("%d return by the proposal, %d before it", len(told), len(before))
	}
	if p, err = cam.Vote(p.ID.String()); err != nil || !p.Effective {
		t.Fatal(p, err)
	}
	now := effective()
	for id := range had {
		delete(now, id)
	}
	for _, c := range told {
		if !now[c.ID] || !c.Effective || c.By != x.n.member {
			t.Errorf("%v of kind %d was to return, and does not", c.ID, c.Kind)
		}
		delete(now, c.ID)
	}
	for id := range now {
		t.Errorf("%v returns, and nobody was told", id)
	}
	if again, open := returns(cam); len(again)+len(open) > 0 {
		t.Error("it is told of who is not suspended")
	}
}
