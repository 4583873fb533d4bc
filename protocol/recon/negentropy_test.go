package recon

import (
	"bytes"
	"encoding/hex"
	"math/rand"
	"slices"
	"testing"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip77/negentropy"
	"github.com/nbd-wtf/go-nostr/nip77/negentropy/storage/vector"
)

// Another implementation of Negentropy version 1, on either side.

func theirSet(items []Item) *vector.Vector {
	v := vector.New()
	for _, it := range items {
		v.Insert(nostr.Timestamp(it.Time), hex.EncodeToString(it.ID[:]))
	}
	v.Seal()
	return v
}

// theirAnswer is what the other implementation answers; frame 0: however long.
func theirAnswer(t *testing.T, items []Item, frame int, msg []byte) []byte {
	t.Helper()
	answer, err := negentropy.New(theirSet(items), frame).Reconcile(hex.EncodeToString(msg))
	if err != nil {
		t.Fatal(err)
	}
	return unhex(t, answer)
}

// theirSession runs the other implementation as initiator over a, against respond.
func theirSession(t *testing.T, a []Item, frame int, respond func(msg []byte) []byte) outcome {
	t.Helper()
	n := negentropy.New(theirSet(a), frame)
	var o outcome
	read := make(chan struct{})
	collect := func(from chan string, into *[]ID) {
		for id := range from {
			*into = append(*into, ID(unhex(t, id)))
		}
		read <- struct{}{}
	}
	go collect(n.Haves, &o.have)
	go collect(n.HaveNots, &o.need)
	for msg := n.Start(); msg != ""; {
		q := unhex(t, msg)
		answer := respond(q)
		o.messages = append(o.messages, q, answer)
		next, err := n.Reconcile(hex.EncodeToString(answer))
		if err != nil {
			t.Fatal(err)
		}
		msg = next
	}
	<-read
	<-read
	return o
}

// drawnPair draws two sets that overlap.
func drawnPair(rng *rand.Rand) (a, b []Item) {
	n := rng.Intn([]int{3, 40, 600, 5_000}[rng.Intn(4)])
	perDay := []uint64{1, 7, 300, 1 << 40}[rng.Intn(4)] // the last: all on one day
	onlyA, onlyB := []float64{0, 0.01, 0.3, 1}[rng.Intn(4)], []float64{0, 0.01, 0.3, 1}[rng.Intn(4)]
	for _, it := range testItems(0, uint64(n), perDay) {
		p := rng.Float64()
		if p >= onlyA/2 {
			b = append(b, it)
		}
		if p < onlyA/2 || p >= onlyA/2+onlyB/2 {
			a = append(a, it)
		}
	}
	return a, b
}

// TestAgainstAnotherImplementation: "the messages are those of Negentropy protocol
// version 1" (spec 70 section 1): byte for byte, whichever side is ours, as long as
// no frame is full.
func TestAgainstAnotherImplementation(t *testing.T) {
	messages, rounds, full := 0, 0, 0
	for seed := range int64(200) {
		a, b := drawnPair(rand.New(rand.NewSource(seed)))
		ours := run(t, mustSet(t, a), mustSet(t, b), MaxMessage, MaxMessage)
		checkExact(t, ours, a, b)
		if slices.ContainsFunc(ours.messages, func(m []byte) bool { return len(m) > MaxMessage-1_100 }) {
			full++
			continue
		}
		for i := 0; i < len(ours.messages); i += 2 {
			if got := theirAnswer(t, b, 0, ours.messages[i]); !bytes.Equal(got, ours.messages[i+1]) {
				t.Fatalf("seed %d, answer %d: theirs has %d bytes, ours %d, or others", seed, i/2, len(got), len(ours.messages[i+1]))
			}
		}
		theirs := theirSession(t, a, 0, func(msg []byte) []byte {
			answer, err := Respond(mustSet(t, b), MaxMessage, msg)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		})
		if !slices.EqualFunc(theirs.messages, ours.messages, bytes.Equal) {
			t.Fatalf("seed %d: their session has %d messages, ours %d, or others", seed, len(theirs.messages), len(ours.messages))
		}
		checkExact(t, theirs, a, b)
		messages += len(ours.messages)
		rounds = max(rounds, len(ours.messages)/2)
	}
	if t.Logf("%d messages alike, at most %d rounds; %d pairs left out for a full frame", messages, rounds, full); rounds < 2 || full > 40 {
		t.Fatal("too little was compared")
	}
}

// Where frames are full each may cut elsewhere; what is found is still exact.
func TestFullFramesOfAnotherImplementation(t *testing.T) {
	full := 0
	for seed := range int64(40) {
		rng := rand.New(rand.NewSource(1_000 + seed))
		a, b := drawnPair(rng)
		s, msg, err := NewInitiator(mustSet(t, a), MinFrame)
		if err != nil {
			t.Fatal(err)
		}
		var o outcome
		for done := false; !done; {
			answer := theirAnswer(t, b, MinFrame, msg)
			if len(answer) > MinFrame-300 {
				full++
			}
			var have, need []ID
			msg, have, need, done, err = s.Step(answer)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			o.have, o.need = append(o.have, have...), append(o.need, need...)
		}
		checkExact(t, o, a, b)
		theirs := theirSession(t, a, MaxMessage, func(msg []byte) []byte {
			answer, err := Respond(mustSet(t, b), MinFrame, msg)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			return answer
		})
		// What lies behind a full answer it compares again, with what was settled there.
		theirs.have, theirs.need = slices.Compact(sorted(theirs.have)), slices.Compact(sorted(theirs.need))
		checkExact(t, theirs, a, b)
	}
	if full == 0 {
		t.Fatal("no frame was full")
	}
}
