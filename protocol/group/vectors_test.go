package group

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

const vectorFile = "../spec/vectors/group.json"

var update = flag.Bool("update", false, "write "+vectorFile+" anew from the stories")

// vectors is the file: data that another implementation can run.
type vectors struct {
	About     string
	Histories []vectorHistory
	Keys      vectorKeys
	Malformed []vectorBad
}

type vectorHistory struct {
	Name    string
	Genesis string
	Group   string
	Ops     []vectorOp // in a causal order
	Members []vectorMember
	// Removals are the ops that an epoch must cover, sorted.
	Removals []string
	Cutoffs  []vectorCutoff
}

type vectorOp struct{ ID, Frame string }

type vectorMember struct {
	ID      string
	Role    string
	MayPost bool
	Devices []string
}

type vectorCutoff struct {
	Device  string
	Seq     uint64
	Content string
}

type vectorKeys struct {
	Group, Device, KeyPackage, KeyPackageID string
	KeyUpdates, KeyUpdateIDs                []string
	Ack                                     string
}

// vectorBad is a frame that must be refused, or held, by a log of the group of
// the first history with all its operations.
type vectorBad struct{ Name, Frame, Reason string }

type expect struct {
	who     actor
	role    Role
	post    bool
	devices []actor
}

type story struct {
	name    string
	w       *world
	members []expect
	removed []protocol.OpID
	cut     []Cutoff
}

// stories are histories with what must come of them, said by hand.
func stories(t testing.TB) []story {
	ann, ben, kid, kid2, dan := person(0), person(1), person(2), deviceOf(2, 1), person(3)
	var out []story
	cut := func(a actor, n uint64) Cutoff {
		return Cutoff{Device: a.dev(), Seq: n, Content: protocol.ContentID{byte(n)}}
	}
	{
		w := newWorld(found(t, DefaultPolicy(5), ann, ben))
		a := w.op(ann, w.add(kid))
		b := w.op(ben, w.add(dan))
		m := w.op(kid, Merge{}, a, b)
		w.op(ann, GrantAuthor{Target: dan.id()}, m)
		w.raw(ben, KindVote, []byte("carried"), m)
		w.op(kid, GrantAuthor{Target: kid.id()}, m) // without authority
		out = append(out, story{"adds, a grant, a carried kind and a reader's grant", w,
			[]expect{{ann, Organiser, true, []actor{ann}}, {ben, Organiser, true, []actor{ben}}, {kid, Reader, true, []actor{kid}}, {dan, Author, true, []actor{dan}}}, nil, nil})
	}
	{
		w := newWorld(found(t, DefaultPolicy(5), ann, ben))
		a := w.op(ann, w.add(kid))
		r := w.op(ann, RemoveMember{Target: kid.id(), Cutoffs: []Cutoff{cut(kid, 3)}}, a)
		w.op(ben, w.add(kid), a)
		out = append(out, story{"a removal beats an add that has not seen it", w,
			[]expect{{ann, Organiser, true, []actor{ann}}, {ben, Organiser, true, []actor{ben}}}, []protocol.OpID{r}, []Cutoff{cut(kid, 3)}})
	}
	{
		w := newWorld(found(t, Policy{Posting: PostAuthors, PeriodDays: 1, RetentionDays: 7, HighRisk: true}, ann, ben))
		a := w.op(ann, w.add(kid))
		g := w.op(ann, GrantAuthor{Target: kid.id()}, a)
		r1 := w.op(ann, RemoveMember{Target: kid.id(), Cutoffs: []Cutoff{cut(kid, 9)}}, g)
		r2 := w.op(ben, RemoveMember{Target: kid.id()}, g)
		w.op(ann, w.add(kid2), r1, r2)
		out = append(out, story{"an author back on a new device; the old one has the lowest cut-off, none", w,
			[]expect{{ann, Organiser, true, []actor{ann}}, {ben, Organiser, true, []actor{ben}}, {kid, Author, true, []actor{kid2}}},
			[]protocol.OpID{r1, r2}, []Cutoff{{Device: kid.dev()}}})
	}
	{
		w := newWorld(found(t, DefaultPolicy(50), ann, ben))
		a := w.op(ann, w.add(kid))
		b := w.op(ann, w.add(kid2), a)
		d := w.op(kid2, RemoveDevice(cut(kid, 2)), b)
		w.op(ben, RemoveMember{Target: ann.id()}, b)   // takes a quorum
		w.op(ben, RemoveDevice{Device: ann.dev()}, b)  // likewise
		w.op(kid, RemoveDevice{Device: kid2.dev()}, b) // both out
		w.op(ann, GrantAuthor{Target: kid.id()}, b)    // a grant
		w.op(ben, RevokeAuthor{Target: kid.id()}, b)   // beats it
		d2 := w.ids[len(w.ids)-3]
		out = append(out, story{"two devices remove each other; an organiser stays; a revocation beats a grant", w,
			[]expect{{ann, Organiser, true, []actor{ann}}, {ben, Organiser, true, []actor{ben}}, {kid, Reader, false, nil}},
			[]protocol.OpID{d, d2}, []Cutoff{cut(kid, 2), {Device: kid2.dev()}}})
	}
	return out
}

func makeVectors(t testing.TB) vectors {
	v := vectors{About: "Histories of operations with the roster that must come of them in every order; key frames; frames that must be refused. Spec 40. Bytes are hex."}
	list := stories(t)
	for _, s := range list {
		h := vectorHistory{Name: s.name, Genesis: hex.EncodeToString(s.w.g.Marshal()), Group: s.w.g.ID().String(), Removals: []string{}, Cutoffs: []vectorCutoff{}}
		for i, f := range s.w.frames {
			h.Ops = append(h.Ops, vectorOp{s.w.ids[i].String(), hex.EncodeToString(f.Marshal())})
		}
		for _, e := range s.members {
			m := vectorMember{ID: e.who.id().String(), Role: e.role.String(), MayPost: e.post, Devices: []string{}}
			for _, d := range e.devices {
				m.Devices = append(m.Devices, d.dev().String())
			}
			h.Members = append(h.Members, m)
		}
		for _, id := range protocol.SortIDs(s.removed) {
			h.Removals = append(h.Removals, id.String())
		}
		for _, c := range s.cut {
			h.Cutoffs = append(h.Cutoffs, vectorCutoff{c.Device.String(), c.Seq, c.Content.String()})
		}
		v.Histories = append(v.Histories, h)
	}
	w, kid, ann := list[0].w, person(2), person(0)
	g := w.g.ID()
	pack := w.pack(kid)
	v.Keys = vectorKeys{Group: g.String(), Device: kid.dev().String(), KeyPackage: hex.EncodeToString(pack.Marshal()), KeyPackageID: pack.ID(g).String()}
	var ids []protocol.ItemID
	for _, f := range chain(g, kid, pack.ID(g), 2) {
		ids = append(ids, f.ID(g))
		v.Keys.KeyUpdates = append(v.Keys.KeyUpdates, hex.EncodeToString(f.Marshal()))
		v.Keys.KeyUpdateIDs = append(v.Keys.KeyUpdateIDs, f.ID(g).String())
	}
	v.Keys.Ack = hex.EncodeToString(NewAck(g, ann.device, ids).Marshal())
	a := w.ids[0]
	bad := func(name, reason string, f protocol.Frame) {
		v.Malformed = append(v.Malformed, vectorBad{name, hex.EncodeToString(f.Marshal()), reason})
	}
	op := func(who actor, o Op) protocol.Frame {
		o.Version, o.Member = 1, who.id()
		return protocol.SignFrame(g, protocol.KindOp, who.device, marshalOp(o))
	}
	bad("seq 0", "seq starts at 1", op(ann, Op{}))
	bad("gap", "seq is that of prev_own and one", op(ann, Op{Seq: 4, PrevOwn: a}))
	bad("parent twice", "parents strictly ascend", op(ann, Op{Seq: 2, PrevOwn: a, Parents: []protocol.OpID{a, a}}))
	bad("merge with payload", "the payload of a Merge is empty", op(ann, Op{Seq: 2, PrevOwn: a, Payload: []byte{0}}))
	bad("stranger", "no certificate in the past", op(person(9), Op{Seq: 1, Parents: []protocol.OpID{a}}))
	bad("member before the add", "no certificate in the past", op(kid, Op{Seq: 1}))
	bad("another group", "signature covers the group id", protocol.SignFrame(list[2].w.g.ID(), protocol.KindOp, ann.device, marshalOp(Op{Version: 1, Member: ann.id(), Seq: 1})))
	return v
}

func TestVectors(t *testing.T) {
	if *update {
		b, err := json.MarshalIndent(makeVectors(t), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Histories) == 0 || len(v.Malformed) == 0 {
		t.Fatal("no vectors")
	}
	for _, h := range v.Histories {
		for _, backwards := range []bool{false, true} {
			checkHistory(t, h, backwards)
		}
	}
	first := replay(t, v.Histories[0], false)
	for _, m := range v.Malformed {
		f, err := protocol.ParseFrame(unhex(t, m.Frame))
		if err != nil {
			t.Fatal(m.Name, err)
		}
		if _, err := first.Add(f); err == nil {
			t.Errorf("%s: taken, although %s", m.Name, m.Reason)
		}
	}
	checkKeys(t, first, v.Keys)
}

func replay(t *testing.T, h vectorHistory, backwards bool) *Log {
	t.Helper()
	g, err := ParseGenesis(unhex(t, h.Genesis))
	if err != nil || g.ID().String() != h.Group {
		t.Fatalf("%s: genesis: %v", h.Name, err)
	}
	l := NewLog(g)
	for i := range h.Ops {
		op := h.Ops[i]
		if backwards {
			op = h.Ops[len(h.Ops)-1-i]
		}
		f, err := protocol.ParseFrame(unhex(t, op.Frame))
		if err != nil || f.ID(g.ID()).String() != op.ID {
			t.Fatalf("%s: op %d: %v", h.Name, i, err)
		}
		if _, err := l.Add(f); err != nil {
			t.Fatalf("%s: op %d: %v", h.Name, i, err)
		}
	}
	if l.Len() != len(h.Ops) {
		t.Fatalf("%s: %d of %d ops", h.Name, l.Len(), len(h.Ops))
	}
	return l
}

func checkHistory(t *testing.T, h vectorHistory, backwards bool) {
	t.Helper()
	r := replay(t, h, backwards).Resolve()
	if len(r.Members()) != len(h.Members) {
		t.Errorf("%s: %d members, want %d", h.Name, len(r.Members()), len(h.Members))
	}
	for _, want := range h.Members {
		m, ok := r.Member(identity.MemberID(unhex(t, want.ID)))
		if !ok || m.Role.String() != want.Role || r.MayPost(m.ID) != want.MayPost || len(m.Devices) != len(want.Devices) {
			t.Errorf("%s: %+v, want %+v", h.Name, m, want)
			continue
		}
		for i, d := range m.Devices {
			if d.ID.String() != want.Devices[i] {
				t.Errorf("%s: device %v", h.Name, d.ID)
			}
		}
	}
	if len(r.Removals()) != len(h.Removals) {
		t.Fatalf("%s: %d removals, want %d", h.Name, len(r.Removals()), len(h.Removals))
	}
	for i, id := range r.Removals() {
		if id.String() != h.Removals[i] {
			t.Errorf("%s: removal %v", h.Name, id)
		}
	}
	for _, want := range h.Cutoffs {
		c, ok := r.Cutoff(identity.DeviceID(unhex(t, want.Device)))
		if !ok || c.Seq != want.Seq || !bytes.Equal(c.Content[:], unhex(t, want.Content)) {
			t.Errorf("%s: cut-off %+v, want %+v", h.Name, c, want)
		}
	}
}

func checkKeys(t *testing.T, l *Log, v vectorKeys) {
	t.Helper()
	k := NewKeyRing(l.Genesis())
	k.Follow(l.Resolve())
	for i, h := range append([]string{v.KeyPackage}, v.KeyUpdates...) {
		f, err := protocol.ParseFrame(unhex(t, h))
		if err != nil || k.Add(f) != protocol.Accept {
			t.Fatalf("key frame %d: %v", i, err)
		}
	}
	all := k.All(identity.DeviceID(unhex(t, v.Device)))
	if len(all) != 3 || all[0].ID.String() != v.KeyUpdateIDs[1] || all[1].ID.String() != v.KeyUpdateIDs[0] || all[2].ID.String() != v.KeyPackageID {
		t.Errorf("keys %d", len(all))
	}
	f, err := protocol.ParseFrame(unhex(t, v.Ack))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseAck(f)
	if err != nil || len(list) != 2 {
		t.Fatal(err)
	}
	for _, id := range v.KeyUpdateIDs {
		if p := AckPrefix(protocol.ItemID(unhex(t, id))); p != list[0] && p != list[1] {
			t.Error("the ack does not name the update")
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
