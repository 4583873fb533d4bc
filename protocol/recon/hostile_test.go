package recon

import (
	"errors"
	"math/rand"
	"slices"
	"testing"
)

// play runs a session against any responder and returns the rounds it took.
func play(t *testing.T, set Set, respond func(Message) Message) (rounds int, have, need []ID, err error) {
	t.Helper()
	s, msg, err := NewInitiator(set, 0)
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		rounds++
		if rounds > MaxRounds {
			t.Fatal("the session goes on for ever")
		}
		m, err := Parse(msg)
		if err != nil {
			t.Fatal(err)
		}
		b, err := respond(m).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var h, n []ID
		msg, h, n, done, err = s.Step(b)
		have, need = append(have, h...), append(need, n...)
		if err != nil {
			return rounds, have, need, err
		}
	}
	return rounds, have, need, nil
}

// lie is a fingerprint that fits nothing.
var lie = [FingerprintSize]byte{1}

func TestResponderThatNeverAgrees(t *testing.T) {
	set := mustSet(t, testItems(0, 1000, 10))
	rounds, have, need, err := play(t, set, func(Message) Message {
		return Message{Ranges: []Range{{Upper: Infinity(), Mode: Fingerprint, Fingerprint: lie}}}
	})
	if !errors.Is(err, ErrSessionLimit) || rounds != MaxRounds || len(have)+len(need) != 0 {
		t.Fatalf("%d rounds, %d have, %d need, %v", rounds, len(have), len(need), err)
	}
}

// Rejects each range with many of its own, ever finer.
func TestResponderThatOnlyDivides(t *testing.T) {
	set := mustSet(t, testItems(0, 1000, 10))
	var time uint64
	rounds, _, _, err := play(t, set, func(m Message) Message {
		var out Message
		for range 300 {
			time++
			out.Ranges = append(out.Ranges, Range{Upper: Bound{Time: time}, Mode: Fingerprint, Fingerprint: lie})
		}
		time -= 200
		return out
	})
	if !errors.Is(err, ErrSessionLimit) {
		t.Fatalf("%d rounds, %v", rounds, err)
	}
}

func TestOpenRangesAreBounded(t *testing.T) {
	s, _, err := NewInitiator(mustSet(t, testItems(0, 100, 10)), 0)
	if err != nil {
		t.Fatal(err)
	}
	full := make([]span, MaxOpen)
	for i := range full {
		day := 30000 + uint64(i)
		full[i] = span{from: Bound{Time: day}, to: Bound{Time: day + 1}}
	}
	for _, open := range [][]span{full[1:], full} {
		try := *s
		try.open = open
		answer, err := Message{Ranges: []Range{
			{Upper: Bound{Time: 1}, Mode: Fingerprint, Fingerprint: lie},
			{Upper: Bound{Time: 20010}, Mode: IDList},
		}}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		try.asked = []span{{to: Bound{Time: 20010}}}
		_, have, _, _, err := try.Step(answer)
		if over := len(open) == MaxOpen; errors.Is(err, ErrSessionLimit) != over || len(have) != 100 {
			t.Fatalf("%d open ranges: %d have, %v", len(open)+1, len(have), err)
		}
	}
}

// Denies what is settled: have is still each id at most once, and the walks over
// the set end.
func TestResponderThatOpensAgain(t *testing.T) {
	items := testItems(0, 2000, 10)
	set := mustSet(t, items)
	rng := rand.New(rand.NewSource(1))
	_, have, _, _ := play(t, set, func(m Message) Message {
		// Settles some of what is asked, and denies all the rest once more.
		var out Message
		for _, r := range m.Ranges {
			if len(out.Ranges) > 0 && rng.Intn(2) == 0 {
				break
			}
			if r.Mode == Skip {
				out.Ranges = append(out.Ranges, Range{Upper: r.Upper, Mode: Fingerprint, Fingerprint: lie})
			} else {
				out.Ranges = append(out.Ranges, Range{Upper: r.Upper, Mode: IDList})
			}
		}
		if last := out.Ranges[len(out.Ranges)-1].Upper; last.before(Infinity()) {
			out.Ranges = append(out.Ranges, Range{Upper: Infinity(), Mode: Fingerprint, Fingerprint: lie})
		}
		return out
	})
	if got := sorted(have); len(got) != len(slices.Compact(slices.Clone(got))) || len(got) != 2000 {
		t.Fatalf("%d ids reported, %d of them different", len(got), len(slices.Compact(got)))
	}
}

func TestListOutsideTheQuestion(t *testing.T) {
	set := mustSet(t, testItems(0, 1000, 10))
	s, msg, err := NewInitiator(set, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(msg)
	if err != nil {
		t.Fatal(err)
	}
	// A list over two of the ranges asked about.
	wide, err := Message{Ranges: []Range{{Upper: m.Ranges[1].Upper, Mode: IDList}}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, have, _, _, err := s.Step(wide)
	refusedByPeer(t, err)
	if have != nil {
		t.Fatal("a refused answer was used")
	}
	// The first range is answered in full, the others are refused: then a list in
	// the settled range is refused as well.
	first, err := Message{Ranges: []Range{
		{Upper: m.Ranges[0].Upper, Mode: IDList},
		{Upper: m.Ranges[1].Upper, Mode: Fingerprint, Fingerprint: lie},
	}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, have, _, done, err := s.Step(first); err != nil || done || len(have) != 63 {
		t.Fatalf("%d have, %v", len(have), err)
	}
	_, _, _, _, err = s.Step(first)
	refusedByPeer(t, err)
}

// Nothing was asked behind the last range of a question.
func TestListBehindTheQuestion(t *testing.T) {
	s, _, err := NewInitiator(mustSet(t, testItems(0, 100, 10)), 0)
	if err != nil {
		t.Fatal(err)
	}
	s.asked = []span{{to: Bound{Time: 20005}}}
	answer, err := Message{Ranges: []Range{
		{Upper: Bound{Time: 20005}, Mode: IDList},
		{Upper: Infinity(), Mode: IDList},
	}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, _, err = s.Step(answer)
	refusedByPeer(t, err)
}

// Messages cut short or with a bit changed never panic, never exceed the frame,
// and what is accepted is still of the one form.
func TestMutatedMessages(t *testing.T) {
	a, b := mustSet(t, testItems(0, 700, 10)), mustSet(t, testItems(300, 900, 10))
	o := run(t, a, b, MinFrame, MinFrame)
	rng := rand.New(rand.NewSource(1))
	refused := 0
	for _, m := range o.messages {
		for n := range len(m) {
			if n > 400 && n < len(m)-40 {
				continue
			}
			if parsed, err := Parse(m[:n]); err == nil {
				// A cut between two ranges is a message of its own.
				if again, err := parsed.Append(nil); err != nil || !slices.Equal(again, m[:n]) {
					t.Fatalf("cut at %d: %v", n, err)
				}
			} else {
				refused++
			}
		}
		if _, err := Parse(append(slices.Clone(m), 0)); err == nil && len(m) > 1 {
			t.Fatal("a byte behind the end was accepted")
		}
		for range 200 {
			bad := slices.Clone(m)
			bad[rng.Intn(len(bad))] ^= 1 << rng.Intn(8)
			reply, err := Respond(b, MinFrame, bad)
			if err != nil {
				refused++
			} else if len(reply) > MinFrame {
				t.Fatalf("answer of %d bytes", len(reply))
			}
			s, _, _ := NewInitiator(a, MinFrame)
			if _, _, _, _, err := s.Step(bad); err != nil {
				refusedByPeer(t, err)
			}
		}
	}
	if refused < 500 {
		t.Fatalf("only %d refused", refused)
	}
}

// The dearest message that fits: as many ranges as may be, all of them answered.
func TestDearestMessage(t *testing.T) {
	set := mustSet(t, testItems(0, 100_000, 1))
	var m Message
	for i := range uint64(MaxRanges) {
		m.Ranges = append(m.Ranges, Range{Upper: Bound{Time: i + 20000}, Mode: IDList})
	}
	msg, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := Respond(set, 0, msg)
	if err != nil || len(reply) > DefaultFrame {
		t.Fatalf("%d bytes, %v", len(reply), err)
	}
	back, err := Parse(reply)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(back.Ranges); back.Ranges[n-1].Mode != Fingerprint || back.Ranges[n-1].Upper != Infinity() {
		t.Fatal("a full frame does not end with the fingerprint of the rest")
	}
}
