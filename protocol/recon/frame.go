package recon

// buckets is the number of parts that a range is divided into. A range with
// fewer than two items for each is listed instead (spec 70 section 5).
const buckets = 16

// Sizes in bytes of the parts that a frame makes room for ahead.
const (
	maxBound = maxVarint + 1 + IDSize
	maxSkip  = maxBound + 1
	// restSize is a fingerprint up to infinity.
	restSize = 3 + FingerprintSize
	// listHead is a bound, a mode and a count.
	listHead = maxBound + 1 + maxVarint
)

// frame is a message in the making that keeps to a size.
type frame struct {
	encoder
	limit  int // bytes
	ranges int // most ranges
}

// put adds all of rs, or nothing and returns false if they do not fit.
func (f *frame) put(rs ...Range) bool {
	saved := f.encoder
	for i := range rs {
		if f.rules.count == f.ranges {
			f.encoder = saved
			return false
		}
		if err := f.add(&rs[i]); err != nil {
			panic("recon: " + err.Error()) // the ranges are of this package's own making
		}
	}
	if len(f.b) > f.limit {
		f.encoder = saved
		return false
	}
	return true
}

// divide returns what to say about a range whose fingerprints differ: that of
// items number lower to before number upper, which ends at the bound end.
func (s Set) divide(lower, upper int, end Bound) []Range {
	n := upper - lower
	if n < 2*buckets {
		return []Range{{Upper: end, Mode: IDList, IDs: s.ids(lower, upper)}}
	}
	rs := make([]Range, 0, buckets)
	for i := range buckets {
		size := n / buckets
		if i < n%buckets {
			size++
		}
		r := Range{Upper: end, Mode: Fingerprint, Fingerprint: s.fingerprint(lower, lower+size)}
		lower += size
		if lower < upper {
			r.Upper = between(s.item(lower-1), s.item(lower))
		}
		rs = append(rs, r)
	}
	return rs
}
