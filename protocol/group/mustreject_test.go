package group

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// TestMustReject is the list of what must be refused, as far as it concerns this
// package: one subtest each. That of malformed encodings is TestMustRejectForms.
func TestMustReject(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"key update with a gap", func(t *testing.T) {
			k, c, kid := updates(t)
			k.Add(c[1])
			if d, _ := k.Newest(kid.dev()); d.Counter != 0 || k.Flagged(kid.dev()) {
				t.Errorf("counter %d, or flagged", d.Counter)
			}
			k.Add(c[0])
			if d, _ := k.Newest(kid.dev()); d.Counter != 2 {
				t.Errorf("counter %d once the gap is filled", d.Counter)
			}
		}},
		{"key update with a lower counter", func(t *testing.T) {
			k, c, kid := updates(t)
			for _, f := range c[:3] {
				k.Add(f)
			}
			k.Add(c[0])
			k.Add(c[1])
			if d, _ := k.Newest(kid.dev()); d.Counter != 3 || k.Flagged(kid.dev()) {
				t.Errorf("counter %d", d.Counter)
			}
		}},
		{"key update by another device", func(t *testing.T) {
			k, c, kid := updates(t)
			f := NewKeyUpdate(k.id, person(0).device, KeyUpdate{Counter: 1, KEM: kid.kem})
			f.Device = kid.dev()
			if k.Add(f) != protocol.Reject {
				t.Error("taken")
			}
			if d, _ := k.Newest(kid.dev()); d.Counter != 0 || k.Add(c[0]) != protocol.Accept {
				t.Error("it changed something")
			}
		}},
		{"key package expired", packageFor(func(u *packageUse) { u.now = 1000 })},
		{"key package of another invite", packageFor(func(u *packageUse) { u.invite[0]++ })},
		{"key package of another inviter", packageFor(func(u *packageUse) { u.inviter = person(2).member.Public() })},
		{"key package of another group", func(t *testing.T) {
			w, _, _, _, kid := ringWorld(t)
			if _, err := ParseKeyPackage(protocol.GroupID{1}, w.pack(kid)); !errors.Is(err, ErrKeyPackage) {
				t.Error(err)
			}
		}},
		{"key package used", func(t *testing.T) {
			w, _, _, ann, kid := ringWorld(t)
			w.op(ann, RemoveMember{Target: kid.id()}, w.ids...)
			l := w.log(t)
			if err := l.Allows(ann.dev(), ann.id(), w.add(kid)); err != ErrKnownDevice {
				t.Error(err)
			}
		}},
		{"vote by a device that does not vote", func(t *testing.T) {
			p := newPlot(t, "abx")
			a2 := p.second("a", "a.2")
			q := p.propose("b", p.start(), policyOf(9), a2)
			p.vote("b", q)
			p.vote("a.2", q)
			undecided(t, p)
			if p.log(t).Allows(p.who("a.2").dev(), p.id("a"), Vote{Proposal: q, Seq: 1}) != ErrNotAllowed {
				t.Error("it may sign one")
			}
		}},
		{"vote by a former organiser", func(t *testing.T) {
			p := newPlot(t, "abx")
			e := p.decide("ab", p.start(), Expel{Target: p.id("x")})
			p.decide("ax", e, policyOf(9))
			if n := len(p.log(t).Resolve().Decisions()); n != 1 {
				t.Errorf("%d decisions", n)
			}
		}},
		{"vote by who does not organise yet", func(t *testing.T) {
			p := newPlot(t, "abx", "d")
			in := p.op(p.who("a"), p.add(p.who("d")))
			q := p.propose("a", p.start(), policyOf(9), in)
			p.vote("a", q)
			p.vote("d", q)
			undecided(t, p)
		}},
		{"vote with a gap in vote_seq", func(t *testing.T) {
			p := newPlot(t, "abx")
			q := p.propose("a", p.start(), policyOf(9))
			first := p.vote("a", q)
			p.op(p.who("a"), Vote{Proposal: q, Seq: 3, Prev: first}, q, first)
			if v := p.log(t).NextVote(p.id("a"), q); v.Seq != 2 {
				t.Errorf("the next one is %d", v.Seq)
			}
			p.op(p.who("b"), Vote{Proposal: q, Seq: 2, Prev: first}, q, first) // another's
			undecided(t, p)
		}},
		{"vote of the paper while three organise", func(t *testing.T) {
			p := newPlot(t, "abx")
			q := p.decide("a", p.start(), Expel{Target: p.id("x")})
			p.op(p.who("a"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
			undecided(t, p)
		}},
		{"vote of the paper for one who organises alone", func(t *testing.T) {
			p := newPlot(t, "a")
			q := p.propose("a", p.start(), Reinstate{Target: p.id("a")})
			p.op(p.who("a"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
			undecided(t, p)
		}},
		{"vote of the paper for a grant", paperFor(func(p *plot) Decision {
			return GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")}
		})},
		{"vote of the paper for devices", paperFor(func(p *plot) Decision { return SetDevices{Target: p.id("x"), Devices: p.devicesOf("x")} })},
		{"vote of the paper for another paper", paperFor(func(*plot) Decision { return SetRecovery{} })},
		{"vote of the paper for a policy", paperFor(func(*plot) Decision { return policyOf(9) })},
		{"grant without an add in its past", func(t *testing.T) {
			p := newPlot(t, "abx", "d")
			p.op(p.who("a"), p.add(p.who("d")))
			p.decide("abx", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("d")})
			undecided(t, p)
		}},
		{"grant with a device of another", func(t *testing.T) {
			p := newPlot(t, "abx", "d")
			in := p.op(p.who("a"), p.add(p.who("d")))
			p.decide("abx", p.start(), GrantOrganiser{Target: p.id("d"), Devices: p.devicesOf("a")}, in)
			undecided(t, p)
		}},
		{"add again that has not seen the removal", func(t *testing.T) {
			p := newPlot(t, "ab", "m")
			in := p.op(p.who("a"), p.add(p.who("m")))
			p.op(p.who("a"), RemoveMember{Target: p.id("m")}, in)
			p.op(p.who("b"), p.add(p.who("m")), in)
			p.want("members", p.members(), "ab")
		}},
		{"far-future created_at changes no state", func(t *testing.T) {
			var dumps []string
			for _, at := range []int64{1, math.MaxInt64} {
				p := newPlot(t, "abx", "m")
				one := p.sign(p.who("x"), Op{Kind: KindSuspend, Seq: 1, CreatedAt: at, Payload: Suspend{Target: p.id("a")}.marshal()})
				q := p.sign(p.who("a"), Op{Kind: KindProposal, Seq: 1, CreatedAt: at, Parents: []protocol.OpID{one},
					Payload: Proposal{Prev: p.start(), Decision: Reinstate{Target: p.id("a")}}.marshal()})
				p.seq[p.who("a").dev()], p.last[p.who("a").dev()] = 1, q
				p.vote("a", q)
				p.vote("b", q)
				p.op(p.who("a"), p.add(p.who("m")), q)
				dumps = append(dumps, p.free()+p.members())
			}
			if dumps[0] != dumps[1] || dumps[0] != "abxabmx" {
				t.Errorf("%q", dumps)
			}
		}},
	} {
		t.Run(c.name, c.run)
	}
}

func updates(t *testing.T) (*KeyRing, []protocol.Frame, actor) {
	w, l, k, _, kid := ringWorld(t)
	k.Follow(l.Resolve())
	k.Add(w.pack(kid))
	return k, chain(w.g.ID(), kid, w.pack(kid).ID(w.g.ID()), 5), kid
}

type packageUse struct {
	invite  protocol.InviteID
	inviter identity.MemberPublic
	now     int64
}

// packageFor takes a good use of a key package, which is accepted, and a bad one.
func packageFor(change func(*packageUse)) func(*testing.T) {
	return func(t *testing.T) {
		w, _, _, ann, kid := ringWorld(t)
		p := KeyPackage{Cert: identity.Certify(w.g.ID(), kid.member, kid.device), Invite: protocol.InviteID{1},
			Inviter: ann.member.Public().Ref(), KEM: kid.kem, Expires: 1000}
		u := packageUse{p.Invite, ann.member.Public(), 999}
		if err := p.For(u.invite, u.inviter, u.now); err != nil {
			t.Fatal(err)
		}
		if change(&u); p.For(u.invite, u.inviter, u.now) == nil {
			t.Error("accepted")
		}
	}
}

// paperFor lets one of two organisers and the paper vote.
func paperFor(d func(*plot) Decision) func(*testing.T) {
	return func(t *testing.T) {
		p := newPlot(t, "ax", "d")
		in := p.op(p.who("a"), p.add(p.who("d")))
		q := p.decide("a", p.start(), d(p), in)
		p.op(p.who("a"), RecoveryVote{Proposal: q, Signature: p.paper.Vote(q)}, q)
		undecided(t, p)
	}
}

func undecided(t *testing.T, p *plot) {
	t.Helper()
	if n := len(p.log(t).Resolve().Decisions()); n != 0 {
		t.Errorf("%d decisions", n)
	}
}

// forms are well-formed payloads of every kind, each with every list in it filled.
func forms(t *testing.T) map[string]Payload {
	p := newPlot(t, "abx")
	cut := []Cutoff{{Device: identity.DeviceID{1}, Seq: 1, Content: protocol.ContentID{1}}, {Device: identity.DeviceID{2}, Seq: 300, Content: protocol.ContentID{2}}}
	devices := []identity.DeviceID{{1}, {2}}
	p.op(p.who("a"), Merge{})
	p.again("a")
	p.op(p.who("a"), GrantAuthor{Target: p.id("b")})
	evidence := [][]byte{p.frames[0].Marshal(), p.frames[1].Marshal()}
	slices.SortFunc(evidence, slices.Compare)
	m := p.id("b")
	return map[string]Payload{
		"expel":         Proposal{Decision: Expel{Target: m, Cutoffs: cut, Repudiate: []protocol.ItemID{{1}, {2}}}},
		"reinstate":     Proposal{Decision: Reinstate{Target: m}},
		"grant":         Proposal{Decision: GrantOrganiser{Target: m, Devices: devices}},
		"set devices":   Proposal{Decision: SetDevices{Target: m, Devices: devices, Cutoffs: cut}},
		"set recovery":  Proposal{Decision: SetRecovery{Key: []byte("0123456789abcdef0123456789abcdef")}},
		"set policy":    Proposal{Decision: policyOf(9)},
		"vote":          Vote{Proposal: protocol.OpID{1}, Seq: 2, Prev: protocol.OpID{2}},
		"paper":         RecoveryVote{Proposal: protocol.OpID{1}},
		"suspend":       Suspend{Target: m, Cutoffs: cut, Evidence: evidence},
		"add member":    p.add(p.who("a")),
		"remove member": RemoveMember{Target: m, Cutoffs: cut},
		"grant author":  GrantAuthor{Target: m},
		"revoke author": RevokeAuthor{Target: m, Cutoffs: cut},
		"remove device": RemoveDevice(cut[0]),
		"reject epoch":  RejectEpoch{Epoch: protocol.EpochID{1}, Reason: RejectPerson},
		"leave":         Leave{Cutoffs: cut},
		"add device":    AddDevice(p.add(p.who("a"))),
	}
}
