package protocol

import (
	"bytes"
	"slices"
)

// SortedIDs says whether ids are in strictly ascending order, which is the only
// form in which a set of ids is encoded.
func SortedIDs[T ~[32]byte](ids []T) bool {
	for i := 1; i < len(ids); i++ {
		a, b := [32]byte(ids[i-1]), [32]byte(ids[i])
		if bytes.Compare(a[:], b[:]) >= 0 {
			return false
		}
	}
	return true
}

// SortIDs puts ids in ascending order without repeats. It works in place.
func SortIDs[T ~[32]byte](ids []T) []T {
	slices.SortFunc(ids, func(x, y T) int {
		a, b := [32]byte(x), [32]byte(y)
		return bytes.Compare(a[:], b[:])
	})
	return slices.Compact(ids)
}
