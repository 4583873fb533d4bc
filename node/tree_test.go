package node

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// Plumtree, as it was compared with hints (decision 034): whoever has something new gives it
// at once to the peers that are its branches, and tells all others its id a little later. Who
// is given something twice prunes that branch; who hears of an id and is not given it asks.
// This is the machine alone: no clock, no network. It ships nowhere.

const (
	treeBatch = 300 * time.Millisecond // for so long ids are gathered
	treeWait  = 700 * time.Millisecond // for so long something announced may still come by itself
)

type treeID = [32]byte

// treeAct is one thing to do: exactly one of the lists and marks says what.
type treeAct struct {
	to    string
	give  []treeID
	tell  []treeID
	ask   []treeID
	prune bool
}

// treePeer is one neighbour. It is a branch until it or we say otherwise.
type treePeer struct {
	pruned  bool
	pending []treeID // ids to tell
	flush   time.Duration
}

// treeLack is something that was announced and did not come yet.
type treeLack struct {
	from []string // who announced it, the next to ask first
	due  time.Duration
}

// tree is one node. Times are since any fixed moment.
type tree struct {
	peers map[string]*treePeer
	seen  map[treeID]bool // true once it is stored and may be given
	knows map[treeID]map[string]bool
	lacks map[treeID]*treeLack
	acts  []treeAct
}

func newTree() *tree {
	return &tree{peers: map[string]*treePeer{}, seen: map[treeID]bool{}, knows: map[treeID]map[string]bool{}, lacks: map[treeID]*treeLack{}}
}

func (t *tree) up(p string)   { t.peers[p] = &treePeer{} }
func (t *tree) down(p string) { delete(t.peers, p) }

// take returns what is to be done now.
func (t *tree) take() []treeAct {
	acts := t.acts
	t.acts = nil
	return acts
}

func (t *tree) note(p string, id treeID) {
	if t.knows[id] == nil {
		t.knows[id] = map[string]bool{}
	}
	t.knows[id][p] = true
}

// given takes note that a body came. It says whether it is new, and is to be stored.
func (t *tree) given(p string, id treeID) bool {
	t.note(p, id)
	x := t.peers[p]
	if _, twice := t.seen[id]; twice {
		if x != nil {
			x.pruned = true
			t.acts = append(t.acts, treeAct{to: p, prune: true})
		}
		return false
	}
	if x != nil {
		x.pruned = false
	}
	t.seen[id] = false
	delete(t.lacks, id)
	return true
}

// stored says that a body is durable, an own one or one that came. Only now it goes on.
func (t *tree) stored(now time.Duration, id treeID) {
	t.seen[id] = true
	for _, p := range t.sorted() {
		x := t.peers[p]
		switch {
		case t.knows[id][p]:
		case !x.pruned:
			t.note(p, id)
			t.acts = append(t.acts, treeAct{to: p, give: []treeID{id}})
		default:
			if len(x.pending) == 0 {
				x.flush = now + treeBatch
			}
			x.pending = append(x.pending, id)
		}
	}
}

func (t *tree) prunedBy(p string) {
	if x := t.peers[p]; x != nil {
		x.pruned = true
	}
}

// told takes note of ids that a peer has.
func (t *tree) told(now time.Duration, p string, ids []treeID) {
	for _, id := range ids {
		t.note(p, id)
		if _, ok := t.seen[id]; ok {
			continue
		}
		if t.lacks[id] == nil {
			t.lacks[id] = &treeLack{due: now + treeWait}
		}
		if l := t.lacks[id]; !slices.Contains(l.from, p) {
			l.from = append(l.from, p)
		}
	}
}

// asked gives what a peer asks for; it is a branch from now on.
func (t *tree) asked(p string, ids []treeID) {
	if x := t.peers[p]; x != nil {
		x.pruned = false
	}
	for _, id := range ids {
		if t.seen[id] {
			t.note(p, id)
			t.acts = append(t.acts, treeAct{to: p, give: []treeID{id}})
		}
	}
}

// tick does what is due: ids that were gathered go out, and what did not come is asked for.
func (t *tree) tick(now time.Duration) {
	for _, p := range t.sorted() {
		x := t.peers[p]
		if len(x.pending) == 0 || x.flush > now {
			continue
		}
		ids := slices.DeleteFunc(x.pending, func(id treeID) bool { return t.knows[id][p] })
		if x.pending = nil; len(ids) > 0 {
			t.acts = append(t.acts, treeAct{to: p, tell: ids})
		}
	}
	asks := map[string][]treeID{}
	for id, l := range t.lacks {
		if l.due > now || len(l.from) == 0 {
			continue
		}
		p := l.from[0]
		l.from = append(l.from[1:], p)
		l.due = now + treeWait
		asks[p] = append(asks[p], id)
	}
	for _, p := range t.sorted() {
		if ids := asks[p]; len(ids) > 0 {
			slices.SortFunc(ids, func(a, b treeID) int { return slices.Compare(a[:], b[:]) })
			t.peers[p].pruned = false
			t.acts = append(t.acts, treeAct{to: p, ask: ids})
		}
	}
}

// next is when tick has something to do, if nothing happens before; 0: never.
func (t *tree) next() (at time.Duration) {
	sooner := func(d time.Duration) {
		if at == 0 || d < at {
			at = d
		}
	}
	for _, x := range t.peers {
		if len(x.pending) > 0 {
			sooner(x.flush)
		}
	}
	for _, l := range t.lacks {
		sooner(l.due)
	}
	return at
}

func (t *tree) sorted() []string {
	list := make([]string, 0, len(t.peers))
	for p := range t.peers {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// Each rule of the tree, by one node with three neighbours.
func TestTree(t *testing.T) {
	one, two := treeID{1}, treeID{2}
	n := newTree()
	for _, p := range []string{"a", "b", "c"} {
		n.up(p)
	}
	does := func(what string, want ...treeAct) {
		t.Helper()
		if got := n.take(); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Fatalf("%s: %+v", what, got)
		}
	}
	if !n.given("a", one) {
		t.Fatal("what came first is not new")
	}
	n.asked("b", []treeID{one})
	does("before it is stored nothing goes on")
	n.prunedBy("c")
	n.stored(0, one)
	does("to branches at once, not back", treeAct{to: "b", give: []treeID{one}})
	n.tick(treeBatch - 1)
	does("ids are gathered")
	if n.next() != treeBatch {
		t.Fatalf("it is due at %v", n.next())
	}
	n.tick(treeBatch)
	does("and told to the others", treeAct{to: "c", tell: []treeID{one}})
	if n.given("b", one) {
		t.Fatal("what came twice is new")
	}
	does("who gave it twice is pruned", treeAct{to: "b", prune: true})
	n.told(0, "b", []treeID{one, two})
	n.told(5, "c", []treeID{two})
	n.tick(treeWait - 1)
	does("it may still come by itself")
	n.tick(treeWait)
	does("who announced it is asked", treeAct{to: "b", ask: []treeID{two}})
	n.tick(2 * treeWait)
	does("then the next", treeAct{to: "c", ask: []treeID{two}})
	n.tick(3 * treeWait)
	does("and again the first", treeAct{to: "b", ask: []treeID{two}})
	n.given("c", two)
	n.stored(3*treeWait, two)
	does("who was asked is a branch, and has it", treeAct{to: "a", give: []treeID{two}})
	n.tick(9 * treeWait)
	does("nothing is asked for any more")
	n.prunedBy("a")
	n.asked("a", []treeID{one})
	does("who asks is given", treeAct{to: "a", give: []treeID{one}})
	n.down("b")
	n.stored(0, treeID{3})
	does("and is a branch again", treeAct{to: "a", give: []treeID{{3}}}, treeAct{to: "c", give: []treeID{{3}}})
}
