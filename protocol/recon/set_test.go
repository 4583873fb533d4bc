package recon

import (
	"math"
	"math/rand"
	"slices"
	"testing"
)

// TestSetAgainstSlice runs random additions and removals against a sorted slice
// and compares everything that a session asks of a set.
func TestSetAgainstSlice(t *testing.T) {
	for seed := range int64(20) {
		rng := rand.New(rand.NewSource(seed))
		var s Set
		var model []Item
		if seed%2 == 0 {
			model = testItems(0, uint64(rng.Intn(3000)), 50)
			s = mustSet(t, model)
			slices.SortFunc(model, Item.Compare)
		}
		for step := range 3000 {
			it := testItem(uint64(rng.Intn(2500)), 20000, 50)
			at, found := slices.BinarySearchFunc(model, it, Item.Compare)
			if s.Has(it) != found {
				t.Fatalf("seed %d: Has is %v", seed, !found)
			}
			// Grow and shrink in turn, so that nodes split and join.
			if grow := rng.Intn(10) < 8; grow == (step/1000%2 == 0) {
				added, err := s.Add(it)
				if err != nil || added == found {
					t.Fatalf("seed %d: Add is %v, %v", seed, added, err)
				}
				if !found {
					model = slices.Insert(model, at, it)
				}
			} else {
				if s.Remove(it) != found {
					t.Fatalf("seed %d: Remove is %v", seed, !found)
				}
				if found {
					model = slices.Delete(model, at, at+1)
				}
			}
			if step%100 == 0 {
				checkSet(t, s, model, rng)
			}
		}
		for len(model) > 0 { // oldest first, as items expire
			if !s.Remove(model[0]) {
				t.Fatalf("seed %d: item is not there", seed)
			}
			model = model[1:]
		}
		checkSet(t, s, nil, rng)
	}
}

func checkSet(t *testing.T, s Set, model []Item, rng *rand.Rand) {
	t.Helper()
	if s.Len() != len(model) || !slices.Equal(slices.Collect(s.All()), model) {
		t.Fatalf("set of %d differs from model of %d", s.Len(), len(model))
	}
	for range 5 {
		upper := rng.Intn(len(model) + 1)
		lower := rng.Intn(upper + 1)
		var want sum
		for _, it := range model[lower:upper] {
			want = want.plus(idSum(&it.ID))
		}
		if s.fingerprint(lower, upper) != want.fingerprint(upper-lower) {
			t.Fatalf("fingerprint of [%d,%d) of %d", lower, upper, len(model))
		}
		if ids := s.ids(lower, upper); len(ids) != upper-lower || len(ids) > 0 && ids[0] != model[lower].ID {
			t.Fatalf("ids of [%d,%d)", lower, upper)
		}
		if upper < len(model) && s.item(upper) != model[upper] {
			t.Fatalf("item %d", upper)
		}
		it := testItem(uint64(rng.Intn(4000)), 20000, 50)
		at, _ := slices.BinarySearchFunc(model, it, Item.Compare)
		if got := s.rank(Bound{Time: it.Time, Prefix: it.ID, Len: 32}); got != at {
			t.Fatalf("rank %d, want %d", got, at)
		}
	}
	if s.rank(Infinity()) != len(model) || s.rank(Bound{}) != 0 {
		t.Fatal("rank of the ends")
	}
	if s.root != nil {
		depths := map[int]bool{}
		checkNode(t, s.root, 1, depths)
		if len(depths) != 1 {
			t.Fatalf("leaves at depths %v", depths)
		}
	}
}

func checkNode(t *testing.T, n *node, depth int, depths map[int]bool) {
	t.Helper()
	if n.size() == 0 || n.size() > width {
		t.Fatalf("node of %d", n.size())
	}
	if n.kids == nil {
		depths[depth] = true
	}
	for _, k := range n.kids {
		checkNode(t, k, depth+1, depths)
	}
}

// What is removed gives its nodes back.
func TestRemoveShrinks(t *testing.T) {
	items := testItems(0, 20_000, 100)
	s := mustSet(t, items)
	for i, it := range items {
		if i%50 != 0 && !s.Remove(it) {
			t.Fatalf("item %d is not there", i)
		}
	}
	if leaves := countLeaves(s.root); s.Len() != 400 || leaves > 60 {
		t.Fatalf("%d items in %d leaves", s.Len(), leaves)
	}
	for i := 50; i < len(items); i += 50 {
		s.Remove(items[i])
	}
	if s.Len() != 1 || s.root.kids != nil {
		t.Fatalf("%d items below inner nodes", s.Len())
	}
}

func countLeaves(n *node) int {
	if n.kids == nil {
		return 1
	}
	leaves := 0
	for _, k := range n.kids {
		leaves += countLeaves(k)
	}
	return leaves
}

func TestSetCopyIsSnapshot(t *testing.T) {
	s := mustSet(t, testItems(0, 1000, 10))
	copied := s
	before := copied.fingerprint(0, 1000)
	for i := range uint64(1000) {
		if i%2 == 0 {
			s.Remove(testItem(i, 20000, 10))
		} else if _, err := s.Add(testItem(i+5000, 20000, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if copied.Len() != 1000 || copied.fingerprint(0, 1000) != before || s.Has(testItem(0, 20000, 10)) {
		t.Fatal("the copy changed with the original")
	}
	if !slices.Equal(slices.Collect(copied.All()), slices.Collect(mustSet(t, testItems(0, 1000, 10)).All())) {
		t.Fatal("the copy holds other items")
	}
}

func TestSetInput(t *testing.T) {
	reserved := Item{Time: math.MaxUint64}
	if _, err := NewSet([]Item{reserved}); err == nil {
		t.Fatal("NewSet took infinity")
	}
	var s Set
	if added, err := s.Add(reserved); err == nil || added || s.Len() != 0 {
		t.Fatal("Add took infinity")
	}
	if added, err := s.Add(Item{Time: MaxTime}); err != nil || !added {
		t.Fatal(err)
	}
	items := []Item{{Time: 2}, {Time: 1}, {Time: 2}}
	if s := mustSet(t, items); s.Len() != 2 || items[0].Time != 2 || items[1].Time != 1 {
		t.Fatal("doubles counted, or the caller's slice changed")
	}
}

// One more item makes few new nodes, however large the set.
func TestAddIsLocal(t *testing.T) {
	s := mustSet(t, testItems(0, 100_000, 100))
	i := uint64(100_000)
	allocs := testing.AllocsPerRun(500, func() {
		i++
		if _, err := s.Add(testItem(i*7919%900_000+100_000, 19500, 100)); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 16 {
		t.Fatalf("%v allocations for one item", allocs)
	}
}
