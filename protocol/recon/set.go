package recon

import (
	"errors"
	"iter"
	"slices"
)

var errTime = errors.New("item time is above the largest allowed")

// Set is a sorted set of items that answers for the fingerprint of any range in
// O(log n). The zero Set is empty.
//
// A Set is a value: a copy is a snapshot, made in O(1), that later calls of Add
// and Remove on the original do not touch. Different goroutines may read copies
// at the same time. Add and Remove cost O(log n).
type Set struct {
	root *node
}

// NewSet returns the set of items, in O(n log n) at most; doubles count once.
// The slice is not kept or changed. It fails if a time is above MaxTime.
func NewSet(items []Item) (Set, error) {
	for i := range items {
		if items[i].Time > MaxTime {
			return Set{}, errTime
		}
	}
	sorted := slices.Clone(items)
	slices.SortFunc(sorted, Item.Compare)
	return Set{root: build(slices.Compact(sorted))}, nil
}

// Len returns the number of items.
func (s Set) Len() int {
	if s.root == nil {
		return 0
	}
	return s.root.count
}

// Has reports whether the item, with this time, is in the set.
func (s Set) Has(it Item) bool {
	return s.root != nil && s.root.has(it)
}

// Add puts the item into the set and reports whether it is new there. It fails,
// and changes nothing, if the time is above MaxTime.
func (s *Set) Add(it Item) (bool, error) {
	if it.Time > MaxTime {
		return false, errTime
	}
	if s.Has(it) {
		return false, nil
	}
	if s.root == nil {
		s.root = newLeaf([]Item{it})
		return true, nil
	}
	left, right := s.root.insert(it)
	if right != nil {
		left = newInner([]*node{left, right})
	}
	s.root = left
	return true, nil
}

// Remove takes the item out of the set and reports whether it was there.
func (s *Set) Remove(it Item) bool {
	if !s.Has(it) {
		return false
	}
	s.root = s.root.remove(it)
	for s.root != nil && len(s.root.kids) == 1 {
		s.root = s.root.kids[0]
	}
	return true
}

// All yields the items in order.
func (s Set) All() iter.Seq[Item] {
	return func(yield func(Item) bool) { s.walk(0, s.Len(), yield) }
}

// rank returns the number of items before b.
func (s Set) rank(b Bound) int {
	if s.root == nil {
		return 0
	}
	return s.root.rank(b.floor())
}

// item returns item number i in order.
func (s Set) item(i int) Item {
	var it Item
	s.walk(i, i+1, func(found Item) bool { it = found; return false })
	return it
}

// ids returns the ids of the items from number lower to before number upper.
func (s Set) ids(lower, upper int) []ID {
	ids := make([]ID, 0, upper-lower)
	s.walk(lower, upper, func(it Item) bool { ids = append(ids, it.ID); return true })
	return ids
}

// walk yields the items from number lower to before number upper.
func (s Set) walk(lower, upper int, yield func(Item) bool) {
	if s.root != nil && lower < upper {
		s.root.walk(lower, upper, yield)
	}
}

// Fingerprint is that of all items of s and of others, where no item is in two of them
// (spec 70 section 3): where together they hold the same it is the same.
func (s Set) Fingerprint(others ...Set) [FingerprintSize]byte {
	var total sum
	count := 0
	for _, set := range append(others, s) {
		if set.root != nil {
			total = total.plus(set.root.total)
		}
		count += set.Len()
	}
	return total.fingerprint(count)
}

// fingerprint is that of the items from number lower to before number upper.
func (s Set) fingerprint(lower, upper int) [FingerprintSize]byte {
	var total sum
	if s.root != nil {
		total = s.root.first(upper).minus(s.root.first(lower))
	}
	return total.fingerprint(upper - lower)
}
