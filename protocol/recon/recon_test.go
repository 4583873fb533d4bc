package recon

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
)

// testItem is item number i of the tests and the vectors: its id is the SHA-256
// of i in eight big-endian bytes, and each day from firstDay on has perDay items.
func testItem(i, firstDay, perDay uint64) Item {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], i)
	return Item{Time: firstDay + i/perDay, ID: sha256.Sum256(b[:])}
}

func testItems(from, to, perDay uint64) []Item {
	var items []Item
	for i := from; i < to; i++ {
		items = append(items, testItem(i, 20000, perDay))
	}
	return items
}

func mustSet(t testing.TB, items []Item) Set {
	t.Helper()
	s, err := NewSet(items)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// unhex reads hex digits with spaces between.
func unhex(t testing.TB, parts ...string) []byte {
	t.Helper()
	var digits []byte
	for _, p := range parts {
		for _, c := range []byte(p) {
			if c != ' ' {
				digits = append(digits, c)
			}
		}
	}
	b, err := hex.DecodeString(string(digits))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outcome is a whole session.
type outcome struct {
	messages   [][]byte // both parties', in turn
	have, need []ID
	err        error
}

func (o outcome) bytes() int {
	n := 0
	for _, m := range o.messages {
		n += len(m)
	}
	return n
}

// run plays a session between honest parties.
func run(t testing.TB, a, b Set, frameA, frameB int) outcome {
	t.Helper()
	s, msg, err := NewInitiator(a, frameA)
	return finish(t, s, msg, err, b, frameA, frameB)
}

func finish(t testing.TB, s *Initiator, msg []byte, err error, b Set, frameA, frameB int) outcome {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	limitA, _ := frameLimit(frameA)
	limitB, _ := frameLimit(frameB)
	var o outcome
	for {
		if len(msg) > limitA {
			t.Fatalf("question of %d bytes in a frame of %d", len(msg), limitA)
		}
		reply, err := Respond(b, frameB, msg)
		if err != nil {
			t.Fatal(err)
		}
		if len(reply) > limitB {
			t.Fatalf("answer of %d bytes in a frame of %d", len(reply), limitB)
		}
		o.messages = append(o.messages, msg, reply)
		next, have, need, done, err := s.Step(reply)
		o.have, o.need = append(o.have, have...), append(o.need, need...)
		if done || err != nil {
			o.err = err
			return o
		}
		msg = next
	}
}

func sorted(ids []ID) []ID {
	return slices.SortedFunc(slices.Values(ids), func(a, b ID) int {
		return Item{ID: a}.Compare(Item{ID: b})
	})
}

// minus returns the ids of a that are not in b, found without this package.
func minus(a, b []Item) []ID {
	ids := map[Item]bool{}
	for _, it := range a {
		ids[it] = true
	}
	for _, it := range b {
		delete(ids, it)
	}
	var out []ID
	for it := range maps.Keys(ids) {
		out = append(out, it.ID)
	}
	return sorted(out)
}

// checkExact demands both differences, each id once.
func checkExact(t testing.TB, o outcome, a, b []Item) {
	t.Helper()
	if o.err != nil {
		t.Fatal(o.err)
	}
	if got, want := sorted(o.have), minus(a, b); !slices.Equal(got, want) {
		t.Fatalf("have: %d ids, want %d", len(got), len(want))
	}
	if got, want := sorted(o.need), minus(b, a); !slices.Equal(got, want) {
		t.Fatalf("need: %d ids, want %d", len(got), len(want))
	}
}

// refusedByPeer demands an error that blames the peer.
func refusedByPeer(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrPeer) {
		t.Fatalf("got %v, want an error that wraps ErrPeer", err)
	}
}

func ExampleNewInitiator() {
	ours, _ := NewSet([]Item{{Time: 20500, ID: ID{1}}, {Time: 20501, ID: ID{2}}})
	theirs, _ := NewSet([]Item{{Time: 20501, ID: ID{2}}, {Time: 20502, ID: ID{3}}})

	session, msg, _ := NewInitiator(ours, 0)
	for done := false; !done; {
		reply, err := Respond(theirs, 0, msg) // on the other device
		if err != nil {
			fmt.Println(err)
			return
		}
		var have, need []ID
		msg, have, need, done, err = session.Step(reply)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("send %x, fetch %x\n", have[0][:1], need[0][:1])
	}
	// Output: send 01, fetch 03
}
