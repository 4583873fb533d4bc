package group

import "math/bits"

// pageBits is the number of operations in one page of a set.
const pageBits = 1024

type page [pageBits / 64]uint64

// set is a set of operations by index. Pages are shared between sets and never
// written once shared, so that a causal past costs a page or two more than that
// of its parents, not a bit for each operation of the group.
type set []*page

func (s set) has(i int) bool {
	p := i / pageBits
	return p < len(s) && s[p] != nil && s[p][i%pageBits/64]>>(i%64)&1 == 1
}

// with returns the set and i. It writes to the list of s, which must be fresh,
// but not to its pages.
func (s set) with(i int) set {
	p := i / pageBits
	for len(s) <= p {
		s = append(s, nil)
	}
	var fresh page
	if s[p] != nil {
		fresh = *s[p]
	}
	fresh[i%pageBits/64] |= 1 << (i % 64)
	s[p] = &fresh
	return s
}

// union returns a fresh list that shares pages where it can.
func union(a, b set) set {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := make(set, len(a))
	copy(out, a)
	for i, p := range b {
		switch q := out[i]; {
		case p == nil || p == q:
		case q == nil:
			out[i] = p
		default:
			var both page
			for w := range both {
				both[w] = p[w] | q[w]
			}
			switch both {
			case *q:
			case *p:
				out[i] = p
			default:
				out[i] = &both
			}
		}
	}
	return out
}

func (s set) count() (n int) {
	for _, p := range s {
		if p != nil {
			for _, w := range p {
				n += bits.OnesCount64(w)
			}
		}
	}
	return n
}

// each calls f for each member in ascending order, which is a causal order.
func (s set) each(f func(i int)) {
	for k, p := range s {
		if p == nil {
			continue
		}
		for w, word := range p {
			for ; word != 0; word &= word - 1 {
				f(k*pageBits + w*64 + bits.TrailingZeros64(word))
			}
		}
	}
}
