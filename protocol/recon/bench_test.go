package recon

import "testing"

func BenchmarkNewSet(b *testing.B) {
	items := testItems(0, 100_000, 1000)
	for b.Loop() {
		mustSet(b, items)
	}
}

func BenchmarkAdd(b *testing.B) {
	s := mustSet(b, testItems(0, 100_000, 1000))
	i := uint64(100_000)
	for b.Loop() {
		i++
		if _, err := s.Add(testItem(i, 20000-i%100, 1000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFingerprint(b *testing.B) {
	s := mustSet(b, testItems(0, 100_000, 1000))
	for b.Loop() {
		s.fingerprint(12_345, 87_654)
	}
}

func BenchmarkSession(b *testing.B) {
	items := testItems(0, 100_000, 1000)
	left, right := mustSet(b, items[:99_000]), mustSet(b, items)
	for b.Loop() {
		o := run(b, left, right, 0, 0)
		b.ReportMetric(float64(o.bytes()), "wire-bytes")
		b.ReportMetric(float64(len(o.messages)/2), "round-trips")
	}
}
