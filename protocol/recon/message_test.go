package recon

import (
	"bytes"
	"crypto/sha256"
	"math"
	"strings"
	"testing"
)

func TestVarintBytes(t *testing.T) {
	for _, c := range []struct {
		v   uint64
		hex string
	}{
		{0, "00"}, {1, "01"}, {127, "7f"},
		{128, "81 00"},   // most significant digit first
		{300, "82 2c"},   // 2*128 + 44
		{16383, "ff 7f"}, // the largest of two digits
		{16384, "81 80 00"},
		{math.MaxUint64, "81 ff ff ff ff ff ff ff ff 7f"},
	} {
		want := unhex(t, c.hex)
		if got := appendVarint(nil, c.v); !bytes.Equal(got, want) {
			t.Errorf("%d: got %x, want %x", c.v, got, want)
		}
		d := decoder{b: want}
		if got, err := d.varint(); err != nil || got != c.v || len(d.b) != 0 {
			t.Errorf("%x: got %d, %v", want, got, err)
		}
	}
	for _, bad := range []string{
		"", "81", // ends early
		"80 01",                            // leading zero digit
		"82 80 80 80 80 80 80 80 80 00",    // 2^64
		"81 80 80 80 80 80 80 80 80 80 00", // eleven digits
	} {
		d := decoder{b: unhex(t, bad)}
		if v, err := d.varint(); err == nil {
			t.Errorf("%q read as %d", bad, v)
		}
	}
}

func TestFingerprintBytes(t *testing.T) {
	// Two ids whose little-endian sum carries from byte 0 into byte 1, and out
	// of the last byte, where it is lost.
	a, b := ID{0: 0xff, 31: 0x80}, ID{0: 0x02, 31: 0x80}
	s := mustSet(t, []Item{{1, a}, {2, b}})
	in := make([]byte, 33)
	in[0], in[1], in[32] = 0x01, 0x01, 2 // the sum, then the count
	want := sha256.Sum256(in)
	if got := s.fingerprint(0, 2); got != [16]byte(want[:16]) {
		t.Fatalf("got %x, want %x", got, want[:16])
	}
	empty := sha256.Sum256(make([]byte, 33))
	for _, s := range []Set{{}, s} {
		if got := s.fingerprint(0, 0); got != [16]byte(empty[:16]) {
			t.Fatalf("empty range: got %x, want %x", got, empty[:16])
		}
	}
	// The count is part of it: an id of zeros changes no sum.
	if with := mustSet(t, []Item{{1, a}, {2, b}, {3, ID{}}}); with.fingerprint(0, 3) == s.fingerprint(0, 2) {
		t.Fatal("count does not change the fingerprint")
	}
}

func TestMessageBytes(t *testing.T) {
	id := strings.Repeat("11", 32)
	fp := strings.Repeat("aa", 16)
	m := Message{Ranges: []Range{
		{Upper: Bound{Time: 300}, Mode: Skip},
		{Upper: Bound{Time: 300, Prefix: ID{0xab, 0xcd}, Len: 2}, Mode: Fingerprint,
			Fingerprint: [16]byte(unhex(t, fp))},
		{Upper: Bound{Time: 301}, Mode: IDList},
		{Upper: Infinity(), Mode: IDList, IDs: []ID{ID(unhex(t, id))}},
	}}
	want := unhex(t,
		"61",                // version
		"82 2d", "00", "00", // time 1+300, no prefix; skip
		"01", "02 abcd", "01", fp, // same time, prefix of 2; fingerprint
		"02", "00", "02", "00", // one day later; list of none
		"00", "00", "02", "01", id, // infinity; list of one
	)
	got, err := m.Append([]byte("dst"))
	if err != nil || !bytes.Equal(got, append([]byte("dst"), want...)) {
		t.Fatalf("got %x, %v\nwant %x", got, err, want)
	}
	back, err := Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := back.Append(nil); err != nil || !bytes.Equal(again, want) {
		t.Fatalf("parsed and written again: %x, %v", again, err)
	}
	if back.Ranges[1].Upper != m.Ranges[1].Upper || back.Ranges[3].IDs[0] != m.Ranges[3].IDs[0] {
		t.Fatalf("read as %+v", back)
	}
	if m, err := Parse([]byte{Version}); err != nil || len(m.Ranges) != 0 {
		t.Fatalf("message without ranges: %v, %v", m, err)
	}
}

func TestAllSkippedIsImplicit(t *testing.T) {
	// What follows the last range is skipped: [day 5, infinity) settles nothing else.
	a, b := testItems(0, 3, 1), testItems(5, 9, 1)
	s, _, err := NewInitiator(mustSet(t, a), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, have, need, done, err := s.Step([]byte{Version})
	if len(have)+len(need) != 0 || !done || err != nil {
		t.Fatalf("got %d have, %d need, done %v, %v of %d", len(have), len(need), done, err, len(b))
	}
}

// refusals are messages that must not be read, each with a part of the error.
func refusals(t testing.TB) map[string]string {
	id, id2 := strings.Repeat("11", 32), strings.Repeat("22", 32)
	fp := strings.Repeat("aa", 16)
	r := map[string]string{
		"":                                  "ends early",
		"60":                                "version byte",
		"62 00 00 01" + fp:                  "version byte",
		"61 00":                             "ends early",
		"61 00 00":                          "ends early",
		"61 00 00 01" + fp[2:]:              "ends early",
		"61 00 00 02":                       "ends early",
		"61 00 00 02 02" + id:               "ends early",
		"61 00 00 02 81ffffffffffffffff7f":  "ends early",
		"61 00 00 02 01" + id + "00":        "ends early",
		"61 00 00 02 00 00 00 02 00":        "not ascending", // after infinity
		"61 00 00 02 00 01 00 02 00":        "not ascending",
		"61 01 00 02 00":                    "not ascending", // first range is empty
		"61 02 00 02 00 01 00 02 00":        "not ascending",
		"61 02 01 ab 02 00 01 01 aa 02 00":  "not ascending",
		"61 02 01 ab 02 00 01 02 ab00 0200": "not ascending",
		"61 00 01 ab 02 00":                 "infinity has",
		"61 02 21" + id + "11 02 00":        "prefix is too long",
		"61 02 81ffffffffffffffff7f":        "prefix is too long",
		"61 02 20" + id[2:]:                 "ends early",
		"61 00 00 03":                       "mode 3",
		"61 00 00 8100":                     "mode 128",
		"61 8002 00 02 00":                  "leading zero",
		"61 00 8001 02 00":                  "leading zero",
		"61 00 00 8002 00":                  "leading zero",
		"61 00 00 02 8000":                  "leading zero",
		"61 81ffffffffffffffff7f 00 02 00 02 00 02 00":  "beyond the largest", // MaxTime, then more
		"61 81ffffffffffffffff7f 00 02 00 8100 00 0200": "beyond the largest",
		"61 82ffffffffffffffff7f 00 02 00":              "over 64 bits",
		"61 00 00 02 02" + id + id:                      "repeats",
		"61 00 00 02 03" + id + id2 + id:                "repeats",
		"61 02 00 00":                                   "last range is skipped",
		"61 00 00 00":                                   "last range is skipped",
		"61 02 00 00 02 00 00 00 00 02 00":              "two skipped",
	}
	long := "61" + strings.Repeat("0200 02 00 0200 00 ", MaxRanges/2) + "00 00 02 00"
	r[long] = "too many ranges"
	ids := "61 00 00 02 9000" + strings.Repeat(id, 2048)
	r[ids] = "too long"
	return r
}

func TestRefusals(t *testing.T) {
	s, _, err := NewInitiator(mustSet(t, testItems(0, 100, 10)), 0)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range refusals(t) {
		b := unhex(t, text)
		short := text[:min(len(text), 40)]
		if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", short, err, want)
		} else {
			refusedByPeer(t, err)
		}
		if next, have, need, done, err := s.Step(b); err == nil || next != nil || have != nil || need != nil || done {
			t.Errorf("%s: session took it", short)
		}
		if len(b) > 0 && b[0] == 0x61 {
			if _, err := Respond(Set{}, 0, b); err == nil {
				t.Errorf("%s: responder took it", short)
			}
		}
	}
	// None of it changed the session.
	if _, have, _, done, err := s.Step([]byte{Version}); err != nil || !done || have != nil {
		t.Fatalf("after refusals: %v", err)
	}
}

// What Parse cannot see, Append refuses too.
func TestAppendRefuses(t *testing.T) {
	end := Infinity()
	many := make([]ID, MaxMessage/IDSize)
	for i := range many {
		many[i][0], many[i][1] = byte(i), byte(i>>8)
	}
	for name, r := range map[string]Range{
		"hidden prefix":      {Upper: Bound{Time: 1, Prefix: ID{1, 2}, Len: 1}, Mode: IDList},
		"negative prefix":    {Upper: Bound{Time: 1, Len: -1}, Mode: IDList},
		"long prefix":        {Upper: Bound{Time: 1, Len: 33}, Mode: IDList},
		"hidden fingerprint": {Upper: end, Mode: IDList, Fingerprint: [16]byte{1}},
		"hidden ids":         {Upper: end, Mode: Fingerprint, IDs: []ID{{}}},
		"mode":               {Upper: end, Mode: 3},
		"length":             {Upper: end, Mode: IDList, IDs: many},
	} {
		got, err := Message{Ranges: []Range{r}}.Append([]byte("dst"))
		if err == nil || string(got) != "dst" {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
}

func TestParseAllocations(t *testing.T) {
	claim := unhex(t, "61 00 00 02 81ffffffffffffffff7f") // 2^64-1 ids in no bytes
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse(claim) }); n > 12 {
		t.Fatalf("%v allocations for a list that is not there", n)
	}
}

func TestBetween(t *testing.T) {
	ab, ac := ID{0xaa, 0xbb}, ID{0xaa, 0xcc}
	for _, c := range []struct {
		prev, next Item
		want       Bound
	}{
		{Item{1, ac}, Item{2, ab}, Bound{Time: 2}},
		{Item{1, ab}, Item{1, ac}, Bound{Time: 1, Prefix: ac, Len: 2}},
		{Item{1, ID{}}, Item{1, ID{31: 1}}, Bound{Time: 1, Prefix: ID{31: 1}, Len: 32}},
	} {
		if got := between(c.prev, c.next); got != c.want {
			t.Errorf("between %v and %v: %v", c.prev, c.next, got)
		}
	}
}

func FuzzMessage(f *testing.F) {
	a, b := mustSet(f, testItems(0, 100, 10)), mustSet(f, testItems(50, 180, 10))
	for _, m := range run(f, a, b, 0, 0).messages {
		f.Add(m)
	}
	for text := range refusals(f) {
		f.Add(unhex(f, text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(in)
		if err == nil {
			out, err := m.Append(nil)
			if err != nil || !bytes.Equal(in, out) {
				t.Fatalf("read %x, wrote %x, %v", in, out, err)
			}
		}
		reply, err := Respond(b, MinFrame, in)
		if err == nil {
			if len(reply) > MinFrame {
				t.Fatalf("answer of %d bytes", len(reply))
			}
			if _, err := Parse(reply); err != nil {
				t.Fatalf("answer %x: %v", reply, err)
			}
		}
		s, _, _ := NewInitiator(a, MinFrame)
		if next, _, _, done, err := s.Step(in); err == nil && !done {
			if _, err := Parse(next); err != nil || len(next) > MinFrame {
				t.Fatalf("question %x: %v", next, err)
			}
		}
	})
}
