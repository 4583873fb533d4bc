package epoch

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// senders gives keys of which n devices have each sent one message.
func senders(t testing.TB, n int) *Keys {
	t.Helper()
	k := newKeys(protocol.EpochID{1}, [32]byte{2}, &[32]byte{3})
	for i := range n {
		var d identity.DeviceID
		binary.BigEndian.PutUint32(d[:], uint32(i))
		if err := k.use(d, 0); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// stateSize is what a device stores of an epoch: the base record and the chains.
func stateSize(k *Keys) int {
	n := len(k.MarshalBase())
	for _, d := range k.Senders() {
		c, _ := k.MarshalChain(d)
		n += len(c)
	}
	return n
}

// Spec 30 section 13: how the state grows with the number of devices that send.
func TestStateSize(t *testing.T) {
	for n, bound := range map[int]int{10: 21_000, 100: 195_000, 500: 935_000} {
		k := senders(t, n)
		size := stateSize(k)
		t.Logf("%d senders: base %d bytes, with chains %d", n, len(k.MarshalBase()), size)
		if size > bound || size < bound*9/10 {
			t.Errorf("%d senders: %d bytes, want at most %d and not under nine tenths", n, size, bound)
		}
	}
}

// BenchmarkCostState reports the bytes that a device stores of one epoch.
func BenchmarkCostState(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		b.Run(fmt.Sprintf("senders=%d", n), func(b *testing.B) {
			k := senders(b, n)
			var size int
			for b.Loop() {
				size = stateSize(k)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

// rekey is all that an issuer sends for one epoch with one parent, in envelopes.
type rekey struct {
	issued   Issued
	header   *Header
	envelope []byte
	pages    [][]byte
}

func (g *group) rekey(t testing.TB) rekey {
	i, err := IssueEpoch(g.draft(Parent{ID: protocol.EpochID{1}, Gen: 1}), g.random)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(g.id, i.Header)
	if err != nil {
		t.Fatal(err)
	}
	r := rekey{issued: i, header: h}
	if r.envelope, err = lane().Seal(i.Header.Marshal()); err != nil {
		t.Fatal(err)
	}
	for at, p := range i.Pages {
		e, err := PageMailbox(h, uint16(at)).Seal(p.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		r.pages = append(r.pages, e)
	}
	return r
}

func lane() *Mailbox { return LaneMailbox(NetKeyFromBytes([32]byte{1}), protocol.LanePublic{5}) }

// catchUp is what one reader fetches and does; it returns the bytes.
func (g *group) catchUp(t testing.TB, r rekey, p *person) int {
	frame, err := lane().Open(r.envelope)
	if err != nil {
		t.Fatal(err)
	}
	f, err := protocol.ParseFrame(frame)
	if err != nil || !f.Verify(g.id, g.people[0].key.Public()) {
		t.Fatal("header", err)
	}
	h, err := ParseHeader(g.id, f)
	if err != nil {
		t.Fatal(err)
	}
	n := len(r.envelope)
	if h.Pages() > 0 {
		at := h.PageOf(&p.pub)
		if frame, err = PageMailbox(h, uint16(at)).Open(r.pages[at]); err != nil {
			t.Fatal(err)
		}
		if f, err = protocol.ParseFrame(frame); err != nil {
			t.Fatal(err)
		}
		page, err := ParsePage(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.AddPage(page); err != nil {
			t.Fatal(err)
		}
		n += len(r.pages[at])
	}
	if _, err := h.Open(p.kem, false); err != nil {
		t.Fatal(err)
	}
	return n
}

func (r rekey) size() int {
	n := len(r.envelope)
	for _, p := range r.pages {
		n += len(p)
	}
	return n
}

// Spec 30 section 13: the bytes of a rekey, without the operation that caused it.
func TestCostBytes(t *testing.T) {
	for n, want := range map[int][2]int{10: {16, 16}, 48: {64, 64}, 100: {16 + 192, 32}, 500: {16 + 704, 32}} {
		g := newGroup(t, n, 120)
		r := g.rekey(t)
		if got := [2]int{r.size() / 1024, g.catchUp(t, r, g.people[n-1]) / 1024}; got != want {
			t.Errorf("%d devices: issuer and reader %d KiB, want %d", n, got, want)
		}
	}
}

// BenchmarkCost is the table of spec 30 section 13: time of one issuer, with its
// envelopes, and of one reader, from them; bytes of both.
func BenchmarkCost(b *testing.B) {
	for _, n := range []int{10, 48, 100, 500} {
		g := newGroup(b, n, 121)
		b.Run(fmt.Sprintf("issuer/devices=%d", n), func(b *testing.B) {
			var r rekey
			for b.Loop() {
				r = g.rekey(b)
			}
			b.ReportMetric(float64(r.size())/1024, "KiB")
			b.ReportMetric(float64(len(r.pages)), "pages")
		})
		r := g.rekey(b)
		b.Run(fmt.Sprintf("reader/devices=%d", n), func(b *testing.B) {
			var size int
			for b.Loop() {
				size = g.catchUp(b, r, g.people[n-1])
			}
			b.ReportMetric(float64(size)/1024, "KiB")
		})
	}
}
