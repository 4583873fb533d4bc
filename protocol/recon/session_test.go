package recon

import (
	"errors"
	"math/rand"
	"slices"
	"testing"
)

// TestRandomSets: "have and need together are exactly the difference, each id
// once, however small the frames" (spec 70 section 6).
func TestRandomSets(t *testing.T) {
	frames := []int{0, MinFrame, MinFrame + 1, 5000, 16384, MaxMessage}
	for seed := range int64(300) {
		rng := rand.New(rand.NewSource(seed))
		n := rng.Intn([]int{3, 40, 600, 6000}[rng.Intn(4)])
		perDay := []uint64{1, 7, 300, 1 << 40}[rng.Intn(4)] // the last: all on one day
		// Shares of items that only a holds, only b holds.
		onlyA, onlyB := []float64{0, 0.01, 0.3, 1}[rng.Intn(4)], []float64{0, 0.01, 0.3, 1}[rng.Intn(4)]
		var a, b []Item
		for _, it := range testItems(0, uint64(n), perDay) {
			inA, inB := true, true
			switch p := rng.Float64(); {
			case p < onlyA/2:
				inB = false
			case p < onlyA/2+onlyB/2:
				inA = false
			}
			if inA {
				a = append(a, it)
			}
			if inB {
				b = append(b, it)
			}
		}
		fa, fb := frames[rng.Intn(len(frames))], frames[rng.Intn(len(frames))]
		o := run(t, mustSet(t, a), mustSet(t, b), fa, fb)
		if o.err != nil {
			t.Fatalf("seed %d: %v", seed, o.err)
		}
		checkExact(t, o, a, b)
	}
}

// Equal sets have equal fingerprints, others have others.
func TestFingerprintOfASet(t *testing.T) {
	seen := map[[FingerprintSize]byte]bool{}
	for _, n := range []uint64{0, 1, 2, 31, 32, 5000} {
		items := testItems(0, n, 100)
		s := mustSet(t, items)
		var turned Set
		for _, it := range slices.Backward(items) {
			if _, err := turned.Add(it); err != nil {
				t.Fatal(err)
			}
		}
		if s.Fingerprint() != turned.Fingerprint() || seen[s.Fingerprint()] {
			t.Fatalf("%d items", n)
		}
		seen[s.Fingerprint()] = true
		// It is the same when a part is in another set.
		a, b := mustSet(t, items[:n/3]), mustSet(t, items[n/3:])
		if a.Fingerprint(b) != s.fingerprint(0, int(n)) || s.Fingerprint(Set{}) != s.Fingerprint() || n > 0 && a.Fingerprint() == s.Fingerprint() {
			t.Fatalf("%d items in two sets", n)
		}
	}
}

func TestEqualSetsTakeOneRoundTrip(t *testing.T) {
	for _, n := range []uint64{0, 1, 31, 32, 5000, 100_000} {
		s := mustSet(t, testItems(0, n, 100))
		o := run(t, s, s, 0, 0)
		if len(o.messages) != 2 || len(o.have)+len(o.need) != 0 || o.err != nil {
			t.Fatalf("%d items: %d messages, %v", n, len(o.messages), o.err)
		}
		if n >= 32 && (len(o.messages[1]) != 1 || o.bytes() > 600) {
			t.Fatalf("%d items: %d bytes", n, o.bytes())
		}
	}
}

func TestOneSideEmpty(t *testing.T) {
	items := testItems(0, 5000, 100)
	full := mustSet(t, items)
	for _, frame := range []int{0, MinFrame} {
		o := run(t, Set{}, full, frame, frame)
		checkExact(t, o, nil, items)
		o = run(t, full, Set{}, frame, frame)
		checkExact(t, o, items, nil)
		if len(o.messages) != 2 {
			t.Fatalf("%d messages to an empty set", len(o.messages))
		}
	}
}

// Costs are counts of bytes and messages, so that they hold on any machine. The
// figures are those measured, with a tenth to spare.
func TestCost(t *testing.T) {
	scattered := func(n uint64, keep func(uint64) bool) []Item {
		var items []Item
		for i := range n {
			if keep(i) {
				items = append(items, testItem(i, 20000, 1000))
			}
		}
		return items
	}
	all := func(uint64) bool { return true }
	for _, c := range []struct {
		name               string
		a, b               []Item
		maxBytes, maxRound int
	}{
		{"1 lacking of 100,000",
			scattered(100_000, func(i uint64) bool { return i != 77_777 }), scattered(100_000, all), 2_040, 2},
		{"last 1,000 lacking of 100,000",
			scattered(99_000, all), scattered(100_000, all), 37_300, 3},
		{"1,000 scattered lacking of 100,000",
			scattered(100_000, func(i uint64) bool { return i%100 != 3 }), scattered(100_000, all), 1_045_000, 14},
		{"all 20,000 lacking",
			nil, scattered(20_000, all), 705_000, 12},
		{"10,000 against 10,000 others",
			scattered(20_000, func(i uint64) bool { return i%2 == 0 }),
			scattered(20_000, func(i uint64) bool { return i%2 == 1 }), 633_000, 8},
	} {
		o := run(t, mustSet(t, c.a), mustSet(t, c.b), 0, 0)
		checkExact(t, o, c.a, c.b)
		rounds := len(o.messages) / 2
		t.Logf("%s: %d bytes, %d round trips", c.name, o.bytes(), rounds)
		if o.bytes() > c.maxBytes || rounds > c.maxRound {
			t.Errorf("%s: %d bytes in %d round trips, want at most %d in %d",
				c.name, o.bytes(), rounds, c.maxBytes, c.maxRound)
		}
	}
}

// A session that breaks off has lost nothing: what it found stands, and a new one
// over the changed sets finds the rest.
func TestResume(t *testing.T) {
	for seed := range int64(10) {
		rng := rand.New(rand.NewSource(seed))
		var a, b []Item
		byID := map[ID]Item{}
		for _, it := range testItems(0, 4000, 200) {
			byID[it.ID] = it
			if p := rng.Intn(10); p < 7 {
				a = append(a, it)
				if p > 1 {
					b = append(b, it)
				}
			} else {
				b = append(b, it)
			}
		}
		left, right := mustSet(t, a), mustSet(t, b)
		sessions := 0
		for done := false; !done; sessions++ {
			if sessions > 100 {
				t.Fatal("no progress over 100 sessions")
			}
			s, msg, err := NewInitiator(left, MinFrame)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 + rng.Intn(5) { // then the connection is lost
				reply, err := Respond(right, MinFrame, msg)
				if err != nil {
					t.Fatal(err)
				}
				var have, need []ID
				msg, have, need, done, err = s.Step(reply)
				if err != nil {
					t.Fatal(err)
				}
				// The sets change under the session.
				for _, id := range need {
					if added, err := left.Add(byID[id]); !added || err != nil {
						t.Fatalf("seed %d: needed an id that we hold: %v", seed, err)
					}
				}
				for _, id := range have {
					if added, err := right.Add(byID[id]); !added || err != nil {
						t.Fatalf("seed %d: had an id that they hold: %v", seed, err)
					}
				}
				if done {
					break
				}
			}
		}
		if left.Len() != 4000 || right.Len() != 4000 || sessions < 2 {
			t.Fatalf("seed %d: %d and %d items after %d sessions", seed, left.Len(), right.Len(), sessions)
		}
	}
}

// Items that arrive at the responder during a session do not disturb it.
func TestSetChangesUnderSession(t *testing.T) {
	base := testItems(0, 3000, 100)
	a := mustSet(t, base[:2000])
	b := mustSet(t, base[500:2500])
	s, msg, err := NewInitiator(a, MinFrame)
	if err != nil {
		t.Fatal(err)
	}
	found := map[ID]bool{}
	for i := 2500; ; i++ {
		if i < 3000 {
			if _, err := b.Add(base[i]); err != nil {
				t.Fatal(err)
			}
			a.Remove(base[i-2500]) // the session keeps its own
		}
		reply, err := Respond(b, MinFrame, msg)
		if err != nil {
			t.Fatal(err)
		}
		next, have, need, done, err := s.Step(reply)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range slices.Concat(have, need) {
			if found[id] {
				t.Fatal("an id is reported twice")
			}
			found[id] = true
		}
		if done {
			break
		}
		msg = next
	}
	for i, it := range base[:2500] {
		if want := i < 500 || i >= 2000; found[it.ID] != want {
			t.Fatalf("item %d: found %v", i, !want)
		}
	}
}

func TestFrameSizes(t *testing.T) {
	for _, bad := range []int{-1, 1, MinFrame - 1, MaxMessage + 1} {
		if _, _, err := NewInitiator(Set{}, bad); err == nil {
			t.Errorf("initiator took a frame of %d", bad)
		}
		if _, err := Respond(Set{}, bad, []byte{Version}); err == nil || errors.Is(err, ErrPeer) {
			t.Errorf("responder took a frame of %d: %v", bad, err)
		}
	}
}

func TestOtherVersion(t *testing.T) {
	for _, msg := range [][]byte{{0x62}, {0x60, 1, 2, 3}, {0x6f, 0xff}} {
		if reply, err := Respond(Set{}, 0, msg); err != nil || !slices.Equal(reply, []byte{Version}) {
			t.Fatalf("%x: %x, %v", msg, reply, err)
		}
	}
	_, err := Respond(Set{}, 0, []byte{0x71})
	refusedByPeer(t, err)
}

func TestSessionIsOver(t *testing.T) {
	s, _, err := NewInitiator(Set{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, done, err := s.Step([]byte{Version}); !done || err != nil {
		t.Fatal(err)
	}
	if _, _, _, done, err := s.Step([]byte{Version}); done || err == nil || errors.Is(err, ErrPeer) {
		t.Fatalf("a session that is over went on: %v", err)
	}
}
