package recon

import (
	"slices"
	"sort"
)

// width is the most items of a leaf and the most children of an inner node. It
// trades the copying of an insertion against the depth of the tree.
const width = 32

// node is part of a B+ tree whose nodes never change once made: an insertion or
// a removal makes new nodes from the leaf up and shares the others. That is what
// makes a copy of a Set a snapshot. All leaves have the same depth, and no node
// is empty.
type node struct {
	least Item    // the first item below this node
	count int     // number of items below
	total sum     // sum of their ids
	items []Item  // of a leaf, sorted
	kids  []*node // of an inner node, in order
}

func newLeaf(items []Item) *node {
	n := &node{least: items[0], count: len(items), items: items}
	for i := range items {
		n.total = n.total.plus(idSum(&items[i].ID))
	}
	return n
}

func newInner(kids []*node) *node {
	n := &node{least: kids[0].least, kids: kids}
	for _, k := range kids {
		n.count += k.count
		n.total = n.total.plus(k.total)
	}
	return n
}

// build makes a tree of sorted items without doubles, which it keeps. Nodes are
// filled to three quarters, so that the first insertions split nothing.
func build(items []Item) *node {
	const fill = width * 3 / 4
	var level []*node
	for chunk := range slices.Chunk(items, fill) {
		level = append(level, newLeaf(chunk))
	}
	for len(level) > 1 {
		var above []*node
		for chunk := range slices.Chunk(level, fill) {
			above = append(above, newInner(chunk))
		}
		level = above
	}
	if len(level) == 0 {
		return nil
	}
	return level[0]
}

// place returns the index of the first item of a leaf that is not before it.
func (n *node) place(it Item) int {
	return sort.Search(len(n.items), func(i int) bool { return n.items[i].Compare(it) >= 0 })
}

// kid returns the index of the child that holds it, or would.
func (n *node) kid(it Item) int {
	i := sort.Search(len(n.kids), func(i int) bool { return n.kids[i].least.Compare(it) > 0 })
	return max(i-1, 0)
}

func (n *node) has(it Item) bool {
	for n.kids != nil {
		n = n.kids[n.kid(it)]
	}
	i := n.place(it)
	return i < len(n.items) && n.items[i] == it
}

// rank returns the number of items before it.
func (n *node) rank(it Item) int {
	before := 0
	for n.kids != nil {
		i := n.kid(it)
		for _, k := range n.kids[:i] {
			before += k.count
		}
		n = n.kids[i]
	}
	return before + n.place(it)
}

// first returns the sum of the first i ids.
func (n *node) first(i int) sum {
	var total sum
	for n.kids != nil && i < n.count {
		for _, k := range n.kids {
			if i < k.count {
				n = k
				break
			}
			i -= k.count
			total = total.plus(k.total)
		}
	}
	if i == n.count {
		return total.plus(n.total)
	}
	for j := range n.items[:i] {
		total = total.plus(idSum(&n.items[j].ID))
	}
	return total
}

// walk yields the items from number lower to before number upper, both counted
// within this node, and reports whether to go on.
func (n *node) walk(lower, upper int, yield func(Item) bool) bool {
	if n.kids == nil {
		for _, it := range n.items[lower:upper] {
			if !yield(it) {
				return false
			}
		}
		return true
	}
	for _, k := range n.kids {
		if upper <= 0 {
			break
		}
		if lower < k.count && !k.walk(max(lower, 0), min(upper, k.count), yield) {
			return false
		}
		lower -= k.count
		upper -= k.count
	}
	return true
}

// insert returns this node with an item that it lacks, as two nodes if one is
// too few.
func (n *node) insert(it Item) (left, right *node) {
	if n.kids == nil {
		items := splice(n.items, n.place(it), 0, it)
		if len(items) <= width {
			return newLeaf(items), nil
		}
		return newLeaf(items[:len(items)/2]), newLeaf(items[len(items)/2:])
	}
	i := n.kid(it)
	l, r := n.kids[i].insert(it)
	if r == nil {
		return newInner(splice(n.kids, i, 1, l)), nil
	}
	kids := splice(n.kids, i, 1, l, r)
	if len(kids) <= width {
		return newInner(kids), nil
	}
	return newInner(kids[:len(kids)/2]), newInner(kids[len(kids)/2:])
}

// remove returns this node without an item that it holds, nil if that leaves
// nothing. A child that fits into half a node with its left neighbour joins it.
func (n *node) remove(it Item) *node {
	if n.kids == nil {
		if len(n.items) == 1 {
			return nil
		}
		return newLeaf(splice(n.items, n.place(it), 1))
	}
	i := n.kid(it)
	k := n.kids[i].remove(it)
	switch {
	case k == nil && len(n.kids) == 1:
		return nil
	case k == nil:
		return newInner(splice(n.kids, i, 1))
	case i > 0 && n.kids[i-1].size()+k.size() <= width/2:
		return newInner(splice(n.kids, i-1, 2, n.kids[i-1].join(k)))
	}
	return newInner(splice(n.kids, i, 1, k))
}

// size is the number of items of a leaf or of children of an inner node.
func (n *node) size() int { return len(n.items) + len(n.kids) }

// join returns one node with what n and the node right of it hold.
func (n *node) join(right *node) *node {
	if n.kids == nil {
		return newLeaf(slices.Concat(n.items, right.items))
	}
	return newInner(slices.Concat(n.kids, right.kids))
}

// splice returns a new slice: s with the n elements from index i on replaced.
func splice[E any](s []E, i, n int, by ...E) []E {
	return slices.Concat(s[:i], by, s[i+n:])
}
