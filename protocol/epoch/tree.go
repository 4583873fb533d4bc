package epoch

import (
	"slices"

	"github.com/palabre-app/palabre/identity/label"
)

// treeDepth is the depth of the secret tree: a device's slot is 64 bits of a
// hash, so that nobody hands out slots.
const treeDepth = 64

// node is a place in the tree: the first depth bits of the slots below it.
type node struct {
	depth  uint8
	prefix uint64
}

// tree is the secret tree of RFC 9420 section 9, punctured: the secrets of the
// nodes that are not above a slot already taken.
type tree struct {
	expand expander
	depth  uint8
	nodes  map[node][32]byte
	taken  []uint64 // sorted
}

func newTree(expand expander, depth uint8, root [32]byte) *tree {
	return &tree{expand: expand, depth: depth, nodes: map[node][32]byte{{}: root}}
}

// above finds the one held node above slot; false if the slot was taken.
func (t *tree) above(slot uint64) (node, bool) {
	for d := int(t.depth); d >= 0; d-- {
		n := node{uint8(d), slot >> (t.depth - uint8(d))}
		if _, ok := t.nodes[n]; ok {
			return n, true
		}
	}
	return node{}, false
}

// leaf derives the secret of slot and changes nothing.
func (t *tree) leaf(slot uint64) ([32]byte, bool) { return t.walk(slot, nil) }

// puncture derives the secret of slot, keeps the secrets beside the path, and
// erases the path.
func (t *tree) puncture(slot uint64) ([32]byte, bool) {
	start, ok := t.above(slot)
	if !ok {
		return [32]byte{}, false
	}
	leaf, _ := t.walk(slot, func(n node, s [32]byte) { t.nodes[n] = s })
	delete(t.nodes, start)
	at, _ := slices.BinarySearch(t.taken, slot)
	t.taken = slices.Insert(t.taken, at, slot)
	return leaf, true
}

func (t *tree) walk(slot uint64, beside func(node, [32]byte)) ([32]byte, bool) {
	n, ok := t.above(slot)
	if !ok {
		return [32]byte{}, false
	}
	s := t.nodes[n]
	for n.depth < t.depth {
		bit := slot >> (t.depth - n.depth - 1) & 1
		child := [2]node{{n.depth + 1, n.prefix << 1}, {n.depth + 1, n.prefix<<1 | 1}}
		if beside != nil {
			beside(child[1-bit], t.child(s, 1-bit))
		}
		s, n = t.child(s, bit), child[bit]
	}
	return s, true
}

func (t *tree) child(s [32]byte, bit uint64) [32]byte {
	side := "left"
	if bit == 1 {
		side = "right"
	}
	return [32]byte(t.expand(s[:], label.Tree, []byte(side), 32))
}

// frontier lists, from left to right, the nodes that a tree holds once the
// slots are taken. So a record names the slots and need not name the nodes.
func frontier(depth uint8, taken []uint64) []node {
	var out []node
	var visit func(n node, slots []uint64)
	visit = func(n node, slots []uint64) {
		if len(slots) == 0 {
			out = append(out, n)
			return
		}
		if n.depth == depth {
			return
		}
		mid := slices.IndexFunc(slots, func(s uint64) bool { return s>>(depth-n.depth-1)&1 == 1 })
		if mid < 0 {
			mid = len(slots)
		}
		visit(node{n.depth + 1, n.prefix << 1}, slots[:mid])
		visit(node{n.depth + 1, n.prefix<<1 | 1}, slots[mid:])
	}
	visit(node{}, taken)
	return out
}
