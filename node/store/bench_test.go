package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

func benchRecord(n int, value []byte) engine.Record {
	return engine.Record{Table: 1, Key: fmt.Appendf(nil, "%032d", n), Value: value, Shred: uint32(1 + n%90)}
}

func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(fmt.Sprintf("records=%d", size), func(b *testing.B) {
			d := mustOpen(b, b.TempDir())
			defer d.Close()
			value := make([]byte, 2048)
			n := 0
			for b.Loop() {
				var batch engine.Batch
				for range size {
					batch.Puts = append(batch.Puts, benchRecord(n, value))
					n++
				}
				commit(b, d, spaceA, batch)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkRead is over 100,000 records of 600 bytes.
func BenchmarkRead(b *testing.B) {
	const total = 100_000
	dir := b.TempDir()
	d := mustOpen(b, dir)
	for n := 0; n < total; {
		var batch engine.Batch
		for range 1000 {
			batch.Puts = append(batch.Puts, benchRecord(n, make([]byte, 600)))
			n++
		}
		commit(b, d, spaceA, batch)
	}
	b.Run("get", func(b *testing.B) {
		r := rand.New(rand.NewPCG(1, 1))
		for b.Loop() {
			v, err := d.Space(spaceA).Get(1, fmt.Appendf(nil, "%032d", r.IntN(total)))
			if err != nil || len(v) != 600 {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		n := 0
		for b.Loop() {
			if err := d.Space(spaceA).Scan(1, nil, func(_, _ []byte) error { n++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	})
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if err := mustOpen(b, dir).Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
