package enginetest

import (
	"bytes"
	"testing"
	"testing/cryptotest"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// Group keys section 4.5, spec 30 section 2, spec 40 section 6.8: in a small group
// whoever may post renews the keys when no organiser is there to do it.

// Spans of the rule: authors wait 60 to 300 seconds.
const (
	beforeAuthors = 59
	afterAuthors  = 300
)

// circle is a group of Ana, who organises, and of those named, come to rest.
func circle(t *testing.T, p group.Policy, names ...string) (w *World, ana *Node, others []*Node) {
	t.Helper()
	return circleOf(t, 45, p, names...)
}

func circleOf(t *testing.T, seed uint64, p group.Policy, names ...string) (w *World, ana *Node, others []*Node) {
	t.Helper()
	w = NewWorld(seed)
	ana = w.Add("ana")
	must(t, ana.Found("Jardin", p))
	l, err := ana.Invite(engine.InviteParams{Uses: len(names), AutoApprove: true})
	must(t, err)
	for _, name := range names {
		n := w.Add(name)
		must(t, n.Join(l))
		others = append(others, n)
	}
	must(t, w.Run(engine.Seconds(60)))
	if s := ana.Engine.Status(); s.Members != 1+len(names) || s.Unsent != 0 {
		t.Fatalf("no group came about: %+v", s)
	}
	return w, ana, others
}

// lonely is a deed of a phone that dies with it. It returns the operations that were
// signed, for somebody to carry; nobody has the epoch.
func lonely(t *testing.T, w *World, n *Node, deed func() error) (operations [][]byte) {
	t.Helper()
	for _, x := range w.nodes {
		if x != n {
			w.Cut(n, x)
			w.Cut(x, n)
		}
	}
	held := envelopesOf(n)
	must(t, deed())
	const kindAt = 32 + 4 + 32 // epoch, day, id (spec 65 section 7)
	for _, k := range n.Store.keys(tableOfEnvelopes) {
		b := n.Store.rows[tableOfEnvelopes][k].value
		if held[protocol.IDOf(b)] == nil && protocol.FrameKind(k[kindAt]) == protocol.KindOp {
			operations = append(operations, bytes.Clone(b))
		}
	}
	n.Stop()
	if len(operations) == 0 {
		t.Fatal("nothing was signed")
	}
	return operations
}

// carry hands envelopes to a node on a link of its own.
func carry(t *testing.T, n *Node, envelopes [][]byte) {
	t.Helper()
	a := asMember(t, n)
	for _, b := range envelopes {
		a.give(b)
	}
	a.step(engine.PeerDown{Peer: a.id})
}

// newestHeader is the header of the epoch in which a node sends.
func newestHeader(t *testing.T, n *Node) *epoch.Header {
	t.Helper()
	for _, h := range headers(t, n) {
		if h.ID() == protocol.EpochID(n.gate.Accept[0].Tag) {
			return h
		}
	}
	t.Fatalf("%s has no header of its epoch", n.Name)
	return nil
}

// heldBy looks whether somebody with this storage, offered all that others hold,
// reads a notice.
func heldBy(t *testing.T, w *World, n *Node, store *Memory, title string) bool {
	t.Helper()
	store = store.Clone()
	var all [][]byte
	for _, b := range envelopesOf(w.nodes...) {
		all = append(all, b)
	}
	x := &Node{Name: "thief", w: NewWorld(w.seed), id: n.id, Store: store, random: n.random, shown: map[string]int{}}
	e, err := engine.Load(x.config(), n.id, w.Now)
	must(t, err)
	return feast(e, store, all, w.Now)[title]
}

// TestAuthorRenewsTheKeys: an organiser removes somebody from a phone that dies
// before anybody got the new keys. Members who have the removal go on by
// themselves, not before an organiser had a minute, and the removed one reads
// nothing. When the organiser is back her own epoch goes before, and she reads what
// was said in the author's.
func TestAuthorRenewsTheKeys(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia")
	ben, cam, dia := others[0], others[1], others[2]
	first := newestHeader(t, ben)
	ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
	carry(t, ben, ops)
	must(t, ben.Post("held", "Corps.", 0))
	must(t, w.Run(engine.Seconds(beforeAuthors-5)))
	if !ben.Engine.Waiting() || !cam.Engine.Waiting() {
		t.Fatal("somebody sends before an organiser had time to renew the keys")
	}
	must(t, w.Run(engine.Seconds(afterAuthors)))
	h := newestHeader(t, ben)
	if !h.Core.ByAuthor() || h.Core.Issuer != ben.member && h.Core.Issuer != cam.member || h.Core.Gen != 1 {
		t.Fatalf("the epoch is of generation %d, by an author: %t", h.Core.Gen, h.Core.ByAuthor())
	}
	if h.InboxEpoch() != first.ID() || h.KeepsInbox(first) != nil {
		t.Error("it does not keep the organisers' inbox")
	}
	must(t, cam.Post("after", "Corps.", 0))
	must(t, w.Run(engine.Seconds(10)))
	for _, n := range []*Node{ben, cam} {
		for _, name := range []string{"held", "after"} {
			if _, err := n.See(name); err != nil {
				t.Errorf("%s: %v", n.Name, err)
			}
		}
	}
	if heldBy(t, w, dia, dia.copied, "after") || heldBy(t, w, dia, dia.Store, "held") {
		t.Error("the removed one reads")
	}
	if !heldBy(t, w, ben, ben.Store, "after") {
		t.Error("a member who is offered the same reads nothing: the search is blind")
	}
	// Every lane that an author needs to write in is there.
	if n := len(h.Core.Lanes); n != 3 {
		t.Errorf("%d lanes", n)
	}
	// The organiser is back: her epoch has a secret of the organisers, and goes before.
	must(t, w.HealAll())
	must(t, w.Run(engine.Seconds(400)))
	for _, n := range []*Node{ana, ben, cam} {
		if h := newestHeader(t, n); h.Core.ByAuthor() || h.Core.Issuer != ana.member {
			t.Errorf("%s sends in an author's epoch: %t", n.Name, h.Core.ByAuthor())
		}
	}
	must(t, w.Check())
}

// TestAuthorsWaitAndGiveWay: whatever is drawn, no author issues in the first
// minute and one does within five, and an organiser's epoch goes before it.
func TestAuthorsWaitAndGiveWay(t *testing.T) {
	for seed := range uint64(8) {
		w, ana, others := circleOf(t, seed, group.DefaultPolicy(10), "ben", "cam", "dia")
		ben, cam := others[0], others[1]
		ops := lonely(t, w, ana, func() error { return ana.Remove(others[2]) })
		carry(t, ben, ops)
		must(t, w.Run(engine.Seconds(beforeAuthors)))
		if !ben.Engine.Waiting() || !cam.Engine.Waiting() {
			t.Errorf("seed %d: an author did not wait", seed)
		}
		must(t, w.Run(engine.Seconds(afterAuthors-beforeAuthors+5)))
		if h := newestHeader(t, ben); !h.Core.ByAuthor() || h.ID() != newestHeader(t, cam).ID() {
			t.Errorf("seed %d: ben is at an author's epoch: %t", seed, h.Core.ByAuthor())
		}
		must(t, w.HealAll())
		must(t, w.Run(engine.Seconds(2)))
		for _, n := range []*Node{ana, ben, cam} {
			if h := newestHeader(t, n); h.Core.Issuer != ana.member {
				t.Errorf("seed %d: %s sends in an author's epoch beside the organiser's", seed, n.Name)
			}
		}
		must(t, w.Run(engine.Seconds(200)))
		for _, n := range []*Node{ana, ben, cam} {
			if h := newestHeader(t, n); h.Core.Issuer != ana.member {
				t.Errorf("seed %d: %s does not send in the organiser's epoch", seed, n.Name)
			}
		}
	}
}

// TestOrganiserRenewsAfterAuthor: somebody leaves while no organiser is there. The
// members go on, and the organiser renews the keys when she is back, once.
func TestOrganiserRenewsAfterAuthor(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia")
	ben, cam, dia := others[0], others[1], others[2]
	ana.Stop()
	must(t, dia.Leave())
	must(t, w.Run(engine.Seconds(afterAuthors+10)))
	if h := newestHeader(t, ben); !h.Core.ByAuthor() {
		t.Fatal("no author renewed the keys")
	}
	must(t, cam.Post("meanwhile", "Corps.", 0))
	must(t, w.Run(engine.Seconds(10)))
	must(t, w.HealAll())
	must(t, w.Run(engine.Seconds(600)))
	for _, n := range []*Node{ana, ben, cam} {
		if h := newestHeader(t, n); h.Core.ByAuthor() || h.Core.Issuer != ana.member || h.Core.Gen != 2 {
			t.Errorf("%s is at generation %d, by an author: %t", n.Name, h.Core.Gen, h.Core.ByAuthor())
		}
		if list := headers(t, n); len(list) != 3 {
			t.Errorf("%s has %d epochs", n.Name, len(list))
		}
	}
	must(t, ana.Post("back", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	if heldBy(t, w, dia, dia.Store, "meanwhile") || heldBy(t, w, dia, dia.Store, "back") {
		t.Error("who left reads on")
	}
	must(t, w.Check())
}

// TestOrganiserIsQuicker: where an organiser is online no author issues.
func TestOrganiserIsQuicker(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia")
	must(t, ana.Remove(others[2]))
	must(t, w.Run(engine.Seconds(600)))
	for _, h := range headers(t, others[0]) {
		if h.Core.ByAuthor() {
			t.Error("an author issued beside the organiser")
		}
	}
	must(t, w.Check())
}

// TestTwoAuthorsAtOnce: in two halves of a network two authors renew the keys. Both
// epochs are read by all, and all send in one.
func TestTwoAuthorsAtOnce(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia", "eva", "fay")
	ben, cam, dia, eva, fay := others[0], others[1], others[2], others[3], others[4]
	ops := lonely(t, w, ana, func() error { return ana.Remove(fay) })
	fay.Stop() // who is removed may carry things
	for _, a := range []*Node{ben, cam} {
		for _, b := range []*Node{dia, eva} {
			w.Cut(a, b)
			w.Cut(b, a)
		}
	}
	carry(t, ben, ops)
	carry(t, dia, ops)
	must(t, w.Run(engine.Seconds(afterAuthors+60)))
	if a, b := newestHeader(t, ben), newestHeader(t, dia); a.ID() == b.ID() || !a.Core.ByAuthor() || !b.Core.ByAuthor() {
		t.Fatal("the halves have one epoch")
	}
	must(t, cam.Post("left", "Corps.", 0))
	must(t, eva.Post("right", "Corps.", 0))
	ana.Store = nil // her phone is gone for good
	must(t, w.HealAll())
	must(t, w.Run(engine.Seconds(600)))
	for _, n := range []*Node{ben, cam, dia, eva} {
		for _, name := range []string{"left", "right"} {
			if _, err := n.See(name); err != nil {
				t.Errorf("%s: %v", n.Name, err)
			}
		}
		if newestHeader(t, n).ID() != newestHeader(t, ben).ID() {
			t.Errorf("%s sends in another epoch than ben", n.Name)
		}
	}
	must(t, w.Check())
}

// TestAuthorIsRemovedMeanwhile: the author who renewed the keys was removed by an
// organiser who did not know. His epoch is left behind, and what others wrote in it
// is read.
func TestAuthorIsRemovedMeanwhile(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia", "eva")
	ben, cam, dia, eva := others[0], others[1], others[2], others[3]
	ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
	dia.Stop() // who is removed may carry things
	carry(t, cam, ops)
	for _, n := range []*Node{cam, eva} { // Ben does not hear of it before the keys are renewed
		w.Cut(ben, n)
		w.Cut(n, ben)
	}
	must(t, w.Run(engine.Seconds(afterAuthors+10)))
	author, other := cam, eva
	if newestHeader(t, cam).Core.Issuer == eva.member {
		author, other = eva, cam
	}
	if h := newestHeader(t, cam); h.Core.Issuer != author.member {
		t.Fatal("nobody renewed the keys")
	}
	must(t, ana.Start())
	must(t, ana.Remove(author))
	must(t, author.Post("mine", "Corps.", 0))
	must(t, other.Post("theirs", "Corps.", 0))
	must(t, w.HealAll())
	must(t, w.Run(engine.Seconds(600)))
	for _, n := range []*Node{ana, ben, other} {
		if _, err := n.See("theirs"); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		if h := newestHeader(t, n); h.Core.ByAuthor() || n.Engine.Status().Members != 3 {
			t.Errorf("%s has %d members and an author's epoch: %t", n.Name, n.Engine.Status().Members, h.Core.ByAuthor())
		}
	}
	must(t, ben.Post("ours", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	if heldBy(t, w, author, author.Store, "ours") {
		t.Error("who was removed reads on")
	}
	must(t, w.Check())
}

// TestSuspendedOrganiserLeftBehind: an organiser stops another one and dies. The
// members go on without either, the stopped one does not renew anything.
func TestSuspendedOrganiserLeftBehind(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben", "cam", "dia")
	ben, cam, dia := others[0], others[1], others[2]
	_, err := ana.Organise(ben)
	must(t, err)
	must(t, w.Run(engine.Seconds(120)))
	ops := lonely(t, w, ana, func() error { return ana.Suspend(ben) })
	carry(t, cam, ops)
	must(t, w.Run(engine.Seconds(afterAuthors+60)))
	for _, n := range []*Node{cam, dia} {
		if h := newestHeader(t, n); !h.Core.ByAuthor() || h.Core.Issuer == ben.member {
			t.Errorf("%s: an author's epoch: %t", n.Name, h.Core.ByAuthor())
		}
	}
	must(t, cam.Post("sans lui", "Corps.", 0))
	must(t, w.Run(engine.Seconds(10)))
	if _, err := dia.See("sans lui"); err != nil {
		t.Error(err)
	}
	if heldBy(t, w, ben, ben.Store, "sans lui") {
		t.Error("the stopped organiser reads")
	}
}

// TestOnlyWhoMayPostRenews: who may not post waits for an organiser.
func TestOnlyWhoMayPostRenews(t *testing.T) {
	p := group.DefaultPolicy(10)
	p.Posting = group.PostAuthors
	w, ana, others := circle(t, p, "ben", "cam", "dia", "eva")
	ben, cam, dia, eva := others[0], others[1], others[2], others[3]
	must(t, ana.Grant(cam))
	must(t, w.Run(engine.Seconds(10)))
	ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
	dia.Stop()
	for _, n := range []*Node{ben, eva} {
		w.Cut(n, cam)
		w.Cut(cam, n)
	}
	carry(t, ben, ops)
	must(t, w.Run(engine.Seconds(2*afterAuthors)))
	if n := len(headers(t, ben)) + len(headers(t, eva)); n != 2 || !ben.Engine.Waiting() {
		t.Fatalf("a reader renewed the keys: %d epochs", n)
	}
	must(t, w.healBut(ana))
	must(t, w.Run(engine.Seconds(2*afterAuthors)))
	if h := newestHeader(t, ben); h.Core.Issuer != cam.member || !h.Core.ByAuthor() {
		t.Error("the author did not renew the keys")
	}
}

// TestAuthorCrashes kills the phone of an author at the commit of the renewal:
// either nothing happened, or all of it did, and the others get it.
func TestAuthorCrashes(t *testing.T) {
	// Ben may post, Cam and Eva only read, and Cam is not there.
	scene := func() (w *World, ben, cam, ana *Node) {
		cryptotest.SetGlobalRandom(t, 45) // each time the same
		p := group.DefaultPolicy(10)
		p.Posting = group.PostAuthors
		w, ana, others := circle(t, p, "ben", "cam", "dia", "eva")
		ben, cam, dia, eva := others[0], others[1], others[2], others[3]
		must(t, ana.Grant(ben))
		must(t, w.Run(engine.Seconds(60)))
		for _, n := range []*Node{ben, eva} {
			w.Cut(n, cam)
			w.Cut(cam, n)
		}
		ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
		dia.Stop()
		carry(t, ben, ops)
		must(t, ben.Post("held", "Corps.", 0))
		return w, ben, cam, ana
	}
	w, ben, _, _ := scene()
	before, commits, at := len(headers(t, ben)), 0, 0
	w.committed = func(n *Node, b engine.Batch) {
		if n != ben || b.Empty() {
			return
		}
		commits++
		if at == 0 && len(headers(t, ben)) > before {
			at = commits
		}
	}
	must(t, w.Run(engine.Seconds(afterAuthors+60)))
	if at == 0 {
		t.Fatal("nothing is issued")
	}
	for _, crash := range []string{"before", "after"} {
		w, ben, cam, ana := scene()
		if crash == "before" {
			ben.crashIn = at
		} else {
			ben.crashSent = at
		}
		must(t, w.Run(engine.Seconds(afterAuthors+60)))
		n := len(headers(t, ben))
		if !ben.off || crash == "before" && n != before || crash == "after" && n != before+1 {
			t.Fatalf("crash %s the commit: off %t, %d headers, %d before", crash, ben.off, n, before)
		}
		must(t, ben.Start())
		must(t, w.healBut(ana))
		must(t, w.Run(engine.Seconds(afterAuthors+60)))
		for _, n := range []*Node{ben, cam} {
			if _, err := n.See("held"); err != nil {
				t.Errorf("crash %s the commit: %s: %v", crash, n.Name, err)
			}
		}
		if n := len(headers(t, cam)); n != before+1 {
			t.Errorf("crash %s the commit: %d headers", crash, n)
		}
	}
}

// healBut lets all reach one another but the one whose phone stays off.
func (w *World) healBut(not *Node) error {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a != not && b != not {
				w.Heal(a, b)
			}
		}
	}
	return w.breach
}
