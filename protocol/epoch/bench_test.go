package epoch

import (
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

func BenchmarkIssue10(b *testing.B) { benchIssue(b, 10) }
func BenchmarkIssue48(b *testing.B) { benchIssue(b, 48) }

func benchIssue(b *testing.B, n int) {
	g := newGroup(b, n, 1)
	d := g.draft()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Issue(d, g.random); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAndOpenHeader(b *testing.B) {
	g := newGroup(b, 10, 1)
	f, _, _ := g.issue(b)
	b.ReportAllocs()
	for b.Loop() {
		h, err := ParseHeader(g.id, f)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := h.Open(g.people[5].kem, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealMessage(b *testing.B) {
	g := newGroup(b, 2, 1)
	_, h, k := g.issue(b)
	c := text(strings.Repeat("x", 1_000))
	b.ReportAllocs()
	for b.Loop() {
		if k.Sent(g.people[0].id()) == MaxGenerations {
			b.StopTimer()
			k = g.open(b, h, 1)
			b.StartTimer()
		}
		if _, _, err := k.Seal(g.id, g.people[0].key, c, g.random); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenMessage(b *testing.B) {
	g := newGroup(b, 2, 1)
	_, h, k := g.issue(b)
	reader := g.open(b, h, 1)
	f, _, _ := k.Seal(g.id, g.people[0].key, text("first"), g.random)
	g.read(b, reader, f)
	f, _, _ = k.Seal(g.id, g.people[0].key, text(strings.Repeat("x", 1_000)), g.random)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reader.Open(g.id, f, g.lookup); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnvelopeSeal(b *testing.B) {
	m := CommonMailbox(NetKeyFromBytes([32]byte{1}), 1)
	f := frameOf(1_500)
	b.SetBytes(protocol.BucketSmall)
	for b.Loop() {
		if _, err := m.Seal(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnvelopeOpen(b *testing.B) {
	m := CommonMailbox(NetKeyFromBytes([32]byte{1}), 1)
	e, _ := m.Seal(frameOf(1_500))
	b.SetBytes(protocol.BucketSmall)
	for b.Loop() {
		if _, err := m.Open(e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSealTo is one box alone: what an issuer's time is compared with.
func BenchmarkSealTo(b *testing.B) {
	g := newGroup(b, 1, 1)
	pk := g.people[0].kem.Public()
	for b.Loop() {
		if _, err := SealTo(&pk, label.KemKey, nil, make([]byte, 32)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenFrom is one box alone, from the seed: what a reader's time is compared
// with.
func BenchmarkOpenFrom(b *testing.B) {
	g := newGroup(b, 1, 1)
	k := g.people[0].kem
	pk := k.Public()
	sealed, err := SealTo(&pk, label.KemKey, nil, make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := k.OpenFrom(label.KemKey, nil, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
