package group

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

func role(r *Roster, a actor) Role {
	m, ok := r.Member(a.id())
	if !ok {
		return 0
	}
	return m.Role
}

func wantRole(t *testing.T, l *Log, a actor, want Role) {
	t.Helper()
	if got := role(l.Resolve(), a); got != want {
		t.Fatalf("role is %v, want %v", got, want)
	}
}

// Spec 40 section 6: a removal beats an add that has not seen it.
func TestRemoveBeatsConcurrentAdd(t *testing.T) {
	ann, ben, kid := person(0), person(1), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann, ben))
	a := w.op(ann, w.add(kid))
	r := w.op(ann, RemoveMember{Target: kid.id()}, a)
	again := w.op(ben, w.add(kid), a) // ben has not seen the removal
	l := w.log(t)
	wantRole(t, l, kid, 0)
	if got := l.Resolve().Removals(); len(got) != 1 || got[0] != r {
		t.Fatalf("removals %v", got)
	}
	at, ok := l.At([]protocol.OpID{again})
	if !ok || role(at, kid) != Reader {
		t.Error("at heads that have not seen the removal the member is in")
	}
	if l.Covers([]protocol.OpID{again}, r) || !l.Covers([]protocol.OpID{again, r}, r) {
		t.Error("covering is wrong")
	}
}

func TestReaddAfterSeenRemoval(t *testing.T) {
	ann, kid, kid2 := person(0), person(2), deviceOf(2, 1)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	r := w.op(ann, RemoveMember{Target: kid.id(), Cutoffs: []Cutoff{{Device: kid.dev(), Seq: 4, Content: protocol.ContentID{4}}}}, a)
	b := w.op(ann, w.add(kid2), r)
	l := w.log(t)
	wantRole(t, l, kid, Reader)
	m, _ := l.Resolve().Member(kid.id())
	if len(m.Devices) != 1 || m.Devices[0].ID != kid2.dev() || len(m.Former) != 1 || m.Former[0].Effective {
		t.Errorf("devices %+v, former %+v", m.Devices, m.Former)
	}
	if c, ok := l.Resolve().Cutoff(kid.dev()); !ok || c.Seq != 4 {
		t.Error("the old device is not cut off")
	}
	if _, ok := l.Resolve().Cutoff(kid2.dev()); ok {
		t.Error("the new device is cut off")
	}
	// The same device comes back: what it says before it saw the add stays cut.
	back := w.op(ann, w.add(kid), b)
	l = w.log(t)
	if _, ok := l.Resolve().Cutoff(kid.dev()); ok {
		t.Error("a device that was added again is cut off for ever")
	}
	if c, ok := l.Cutoff(kid.dev(), []protocol.OpID{a}); !ok || c.Seq != 4 {
		t.Error("a message that pretends to be from before the removal is not cut off")
	}
	if _, ok := l.Cutoff(kid.dev(), []protocol.OpID{back}); ok {
		t.Error("a message after the second add is cut off")
	}
}

func TestLowestCutoffWins(t *testing.T) {
	ann, ben, kid, dan := person(0), person(1), person(2), person(3)
	w := newWorld(found(t, DefaultPolicy(3), ann, ben))
	a := w.op(ann, w.add(kid))
	d := w.op(ann, w.add(dan), a)
	w.op(ann, RemoveMember{Target: kid.id(), Cutoffs: []Cutoff{{Device: kid.dev(), Seq: 9, Content: protocol.ContentID{9}}}}, a, d)
	w.op(ben, RemoveMember{Target: kid.id(), Cutoffs: []Cutoff{{Device: kid.dev(), Seq: 3, Content: protocol.ContentID{3}}}}, a)
	w.op(ben, RemoveMember{Target: dan.id()}, d)
	l := w.log(t)
	if c, ok := l.Resolve().Cutoff(kid.dev()); !ok || c.Seq != 3 || c.Content != (protocol.ContentID{3}) {
		t.Errorf("cut-off %+v", c)
	}
	if c, ok := l.Resolve().Cutoff(dan.dev()); !ok || c.Seq != 0 || c.Device != dan.dev() {
		t.Errorf("a device missing from the cut-offs has %+v", c)
	}
	if _, ok := l.Resolve().Cutoff(ann.dev()); ok {
		t.Error("an organiser is cut off")
	}
}

// Readers, removed members, and organisers' devices that do not operate sign
// operations that are nodes without effect.
func TestNoAuthorityNoEffect(t *testing.T) {
	ann, ann2, kid, eve := person(0), deviceOf(0, 1), person(2), person(3)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	a2 := w.op(ann, w.add(ann2), a)
	w.op(kid, w.add(eve), a)
	w.op(kid, RemoveMember{Target: ann.id()}, a)
	w.op(kid, GrantAuthor{Target: kid.id()}, a)
	w.op(ann2, w.add(eve), a2)
	r := w.op(ann, RemoveMember{Target: kid.id()}, a2)
	w.op(kid, w.add(eve), r)
	before := len(w.frames)
	l := w.log(t)
	wantRole(t, l, eve, 0)
	wantRole(t, l, kid, 0)
	wantRole(t, l, ann, Organiser)
	if l.Len() != before {
		t.Error("operations without effect are no nodes")
	}
	// A stranger certifies nobody: his operation is refused, held or not.
	s := w.op(eve, Merge{}, a)
	if _, err := l.Add(w.frames[len(w.frames)-1]); !errors.Is(err, ErrSigner) && l.Has(s) {
		t.Errorf("a stranger's operation: %v", err)
	}
	stranger := person(9)
	w.op(stranger, Merge{}, a)
	if _, err := l.Add(w.frames[len(w.frames)-1]); !errors.Is(err, ErrSigner) {
		t.Errorf("a stranger's operation: %v", err)
	}
}

// The certificate must be in the operation's own past, not merely in the log.
func TestCertificateMustBeInThePast(t *testing.T) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	w.op(ann, w.add(kid))
	w.op(kid, Merge{})
	l := NewLog(w.g)
	l.Add(w.frames[0])
	if _, err := l.Add(w.frames[1]); !errors.Is(err, ErrSigner) {
		t.Errorf("got %v", err)
	}
}

func TestOrganiserCannotBeRemovedByOne(t *testing.T) {
	ann, ben := person(0), person(1)
	w := newWorld(found(t, DefaultPolicy(3), ann, ben))
	w.op(ann, RemoveMember{Target: ben.id(), Cutoffs: nil})
	w.op(ann, RemoveDevice{Device: ben.dev()}, w.ids[0])
	w.op(ben, RemoveDevice{Device: ben.dev()})
	l := w.log(t)
	wantRole(t, l, ben, Organiser)
	if m, ok := l.Resolve().MemberOfDevice(ben.dev()); !ok || len(m.Devices) != 1 || !l.Resolve().IsOrganiser(ben.dev()) {
		t.Error("the organiser's device is out")
	}
	if len(l.Resolve().Removals()) != 0 {
		t.Error("a removal without effect asks for an epoch")
	}
	if _, ok := l.Resolve().Cutoff(ben.dev()); ok {
		t.Error("an organiser is cut off")
	}
	if _, err := l.NewOp(ann.device, ann.id(), RemoveMember{Target: ben.id()}, nil, 1); !errors.Is(err, ErrOrganiser) {
		t.Errorf("builder: %v", err)
	}
	if _, err := l.NewOp(ann.device, ann.id(), RemoveDevice{Device: ben.dev()}, nil, 1); !errors.Is(err, ErrOrganiser) {
		t.Errorf("builder: %v", err)
	}
}

func TestAuthorsAndPolicy(t *testing.T) {
	ann, kid := person(0), person(2)
	for posting, want := range map[Posting][2]bool{PostAll: {true, true}, PostAuthors: {true, false}, PostOrganisers: {false, false}} {
		w := newWorld(found(t, Policy{Posting: posting, PeriodDays: 7, RetentionDays: 30}, ann))
		a := w.op(ann, w.add(kid))
		g := w.op(ann, GrantAuthor{Target: kid.id()}, a)
		l := w.log(t)
		wantRole(t, l, kid, Author)
		if l.Resolve().MayPost(kid.id()) != want[0] {
			t.Errorf("%v: author may post is not %v", posting, want[0])
		}
		w.op(ann, RevokeAuthor{Target: kid.id(), Cutoffs: []Cutoff{{Device: kid.dev(), Seq: 5, Content: protocol.ContentID{5}}}}, g)
		l = w.log(t)
		wantRole(t, l, kid, Reader)
		if l.Resolve().MayPost(kid.id()) != want[1] || !l.Resolve().MayPost(ann.id()) {
			t.Errorf("%v: reader may post is not %v", posting, want[1])
		}
		if _, cut := l.Resolve().Cutoff(kid.dev()); cut != (posting == PostAuthors) {
			t.Errorf("%v: cut off is %v", posting, cut)
		}
		if at, _ := l.At([]protocol.OpID{g}); at.MayPost(kid.id()) != want[0] {
			t.Error("judged by later operations than it had seen")
		}
		if len(l.Resolve().Removals()) != 0 {
			t.Error("a revoked author needs no new epoch")
		}
	}
}

func TestOwnDeviceRemoval(t *testing.T) {
	ann, kid, kid2 := person(0), person(2), deviceOf(2, 1)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	b := w.op(ann, w.add(kid2), a)
	own := w.op(kid2, RemoveDevice{Device: kid.dev(), Seq: 2, Content: protocol.ContentID{2}}, b)
	l := w.log(t)
	m, _ := l.Resolve().Member(kid.id())
	if len(m.Devices) != 1 || m.Devices[0].ID != kid2.dev() || !slices.Contains(l.Resolve().Removals(), own) {
		t.Fatalf("own removal has no effect: %+v", m.Devices)
	}
	// A removed phone removes nobody: after re-adding with a new device, the
	// seized one signs against it.
	w = newWorld(w.g)
	a = w.op(ann, w.add(kid))
	r := w.op(ann, RemoveMember{Target: kid.id()}, a)
	back := w.op(ann, w.add(kid2), r)
	w.op(kid, RemoveDevice{Device: kid2.dev()}, back)
	l = w.log(t)
	if _, ok := l.Resolve().MemberOfDevice(kid2.dev()); !ok {
		t.Error("the old phone put the new one out")
	}
	// Added again itself, it acts again; nobody acts on another's device.
	w = newWorld(w.g)
	a = w.op(ann, w.add(kid))
	r = w.op(ann, RemoveMember{Target: kid.id()}, a)
	back = w.op(ann, w.add(kid), r)
	both := w.op(ann, w.add(kid2), back)
	dan := person(3)
	in := w.op(ann, w.add(dan), both)
	w.op(dan, RemoveDevice{Device: kid.dev()}, in)
	w.op(kid, RemoveDevice{Device: kid2.dev()}, both)
	l = w.log(t)
	if _, ok := l.Resolve().MemberOfDevice(kid2.dev()); ok {
		t.Error("a device that was added again cannot remove its sibling")
	}
	if _, ok := l.Resolve().MemberOfDevice(kid.dev()); !ok {
		t.Error("a member removed another's device")
	}
}

func TestOneDeviceOfTwoMembersIsVoid(t *testing.T) {
	ann, kid := person(0), person(2)
	twin := actor{member: person(3).member, device: kid.device, kem: kid.kem}
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	w.op(ann, w.add(twin), a)
	thief := actor{member: person(4).member, device: ann.device, kem: ann.kem}
	w.op(ann, w.add(thief))
	l := w.log(t)
	wantRole(t, l, kid, 0)
	wantRole(t, l, twin, 0)
	wantRole(t, l, thief, 0)
	if m, ok := l.Resolve().MemberOfDevice(ann.dev()); !ok || m.ID != ann.id() {
		t.Error("a founder's certificate was voided")
	}
}

func TestFarFutureTimeChangesNothing(t *testing.T) {
	ann, kid := person(0), person(2)
	g := found(t, DefaultPolicy(3), ann)
	var dumps []string
	for _, at := range []int64{0, 1 << 62} {
		w := newWorld(g)
		a := w.sign(ann, Op{Kind: KindAddMember, Seq: 1, CreatedAt: at, Payload: w.add(kid).marshal()})
		w.sign(ann, Op{Kind: KindGrantAuthor, Seq: 2, PrevOwn: a, Parents: []protocol.OpID{a}, CreatedAt: 7, Payload: GrantAuthor{Target: kid.id()}.marshal()})
		dumps = append(dumps, dump(w.log(t).Resolve(), []identity.DeviceID{kid.dev()}))
	}
	if dumps[0] != dumps[1] {
		t.Error("created_at changed the roster")
	}
}

func TestEvidence(t *testing.T) {
	ann, kid := person(0), person(2)
	w := newWorld(found(t, DefaultPolicy(3), ann))
	a := w.op(ann, w.add(kid))
	x := w.sign(ann, Op{Kind: KindMerge, Seq: 2, PrevOwn: a, Parents: []protocol.OpID{a}})
	y := w.sign(ann, Op{Kind: KindGrantAuthor, Seq: 2, PrevOwn: a, Parents: []protocol.OpID{a}, Payload: GrantAuthor{Target: kid.id()}.marshal()})
	l := w.log(t)
	e := l.Evidence()
	if len(e) != 1 || e[0].Device != ann.dev() || e[0].Seq != 2 {
		t.Fatalf("evidence %+v", e)
	}
	got := protocol.SortIDs([]protocol.OpID{x, y})
	for i, f := range e[0].Frames {
		if protocol.OpID(f.ID(w.g.ID())) != got[i] {
			t.Error("frames are not the two, in order of their ids")
		}
	}
	wantRole(t, l, kid, Author) // it decides nothing
}
