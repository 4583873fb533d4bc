package recon

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

// update writes the vectors anew. A change of theirs is a change of the protocol
// and belongs into the spec first.
var update = flag.Bool("update", false, "write recon.json")

const vectorFile = "../spec/vectors/recon.json"

type vectors struct {
	Notes        []string            `json:"notes"`
	Fingerprints []fingerprintVector `json:"fingerprints"`
	Sessions     []sessionVector     `json:"sessions"`
	Refused      []refusedVector     `json:"refused"`
}

type fingerprintVector struct {
	Items       [][2]uint64 `json:"items"`
	Fingerprint string      `json:"fingerprint"`
}

type sessionVector struct {
	Name     string      `json:"name"`
	FirstDay uint64      `json:"first_day"`
	PerDay   uint64      `json:"per_day"`
	A        [][2]uint64 `json:"a"`
	B        [][2]uint64 `json:"b"`
	FrameA   int         `json:"frame_a"`
	FrameB   int         `json:"frame_b"`
	Messages []string    `json:"messages"`
	Have     []uint64    `json:"have"`
	Need     []uint64    `json:"need"`
}

type refusedVector struct {
	Message string `json:"message"`
	Why     string `json:"why"`
}

var vectorNotes = []string{
	"Spec 70. Item number i has the id SHA-256(i as 8 bytes, big-endian) and the time first_day + floor(i / per_day).",
	"a, b and items list item numbers as [from, to), to excluded. have and need are item numbers in ascending order.",
	"messages are hex, the initiator's (set a) and the responder's (set b) in turn; the session ends after the last.",
	"A responder answers each message of a with the next message of b, byte for byte; where frames are full it may cut elsewhere. An initiator may ask otherwise, but must find have and need.",
	"refused: messages in hex that no party accepts.",
}

// vectorSessions is what the file is made of; the rest of each is computed.
var vectorSessions = []sessionVector{
	{Name: "both empty", FirstDay: 20000, PerDay: 10},
	{Name: "one item against none", FirstDay: 20000, PerDay: 10, A: [][2]uint64{{0, 1}}},
	{Name: "short lists", FirstDay: 20000, PerDay: 2, A: [][2]uint64{{0, 5}}, B: [][2]uint64{{3, 9}}},
	{Name: "equal, with fingerprints", FirstDay: 20000, PerDay: 10, A: [][2]uint64{{0, 100}}, B: [][2]uint64{{0, 100}}},
	{Name: "all on one day", FirstDay: 20000, PerDay: 1000, A: [][2]uint64{{0, 60}, {61, 80}}, B: [][2]uint64{{0, 7}, {9, 81}}},
	{Name: "time zero", FirstDay: 0, PerDay: 1, A: [][2]uint64{{0, 40}}, B: [][2]uint64{{1, 41}}},
	{Name: "two levels", FirstDay: 20000, PerDay: 30, A: [][2]uint64{{0, 590}, {600, 1000}}, B: [][2]uint64{{0, 30}, {31, 1003}}},
	{Name: "responder's frames are full", FirstDay: 20000, PerDay: 25, A: [][2]uint64{{0, 10}}, B: [][2]uint64{{5, 300}}, FrameA: MinFrame, FrameB: MinFrame},
	{Name: "both frames are full", FirstDay: 20000, PerDay: 1000, A: [][2]uint64{{0, 200}, {210, 600}}, B: [][2]uint64{{150, 640}}, FrameA: MinFrame, FrameB: MinFrame},
}

func numbered(ranges [][2]uint64, firstDay, perDay uint64) []Item {
	var items []Item
	for _, r := range ranges {
		for i := r[0]; i < r[1]; i++ {
			items = append(items, testItem(i, firstDay, perDay))
		}
	}
	return items
}

// numbers gives the item numbers of ids, ascending.
func numbers(ids []ID) []uint64 {
	known := map[ID]uint64{}
	for i := range uint64(2000) {
		known[testItem(i, 0, 1).ID] = i
	}
	out := []uint64{}
	for _, id := range ids {
		out = append(out, known[id])
	}
	slices.Sort(out)
	return out
}

func writeVectors(t *testing.T) {
	v := vectors{Notes: vectorNotes}
	for _, items := range [][][2]uint64{{}, {{0, 1}}, {{0, 2}}, {{0, 200}}} {
		s := mustSet(t, numbered(items, 0, 1))
		f := s.fingerprint(0, s.Len())
		v.Fingerprints = append(v.Fingerprints, fingerprintVector{items, hex.EncodeToString(f[:])})
	}
	for _, c := range vectorSessions {
		a, b := numbered(c.A, c.FirstDay, c.PerDay), numbered(c.B, c.FirstDay, c.PerDay)
		if c.FrameA == 0 {
			c.FrameA, c.FrameB = DefaultFrame, DefaultFrame
		}
		o := run(t, mustSet(t, a), mustSet(t, b), c.FrameA, c.FrameB)
		checkExact(t, o, a, b)
		for _, m := range o.messages {
			c.Messages = append(c.Messages, hex.EncodeToString(m))
		}
		c.Have, c.Need = numbers(o.have), numbers(o.need)
		for _, p := range []*[][2]uint64{&c.A, &c.B} {
			if *p == nil {
				*p = [][2]uint64{}
			}
		}
		v.Sessions = append(v.Sessions, c)
	}
	for text, why := range refusals(t) {
		if text = strings.ReplaceAll(text, " ", ""); len(text) < 1000 {
			v.Refused = append(v.Refused, refusedVector{text, why})
		}
	}
	slices.SortFunc(v.Refused, func(a, b refusedVector) int { return strings.Compare(a.Message, b.Message) })
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Fingerprints) < 4 || len(v.Sessions) < 9 || len(v.Refused) < 30 {
		t.Fatal("vectors are missing")
	}
	for _, c := range v.Fingerprints {
		s := mustSet(t, numbered(c.Items, 0, 1))
		if f := s.fingerprint(0, s.Len()); hex.EncodeToString(f[:]) != c.Fingerprint {
			t.Errorf("fingerprint of %v is %x", c.Items, f)
		}
	}
	for _, c := range v.Sessions {
		t.Run(c.Name, func(t *testing.T) { checkSession(t, c) })
	}
	for _, c := range v.Refused {
		if _, err := Parse(unhex(t, c.Message)); err == nil || !strings.Contains(err.Error(), c.Why) {
			t.Errorf("%s: got %v, want %q", c.Message, err, c.Why)
		}
	}
}

func checkSession(t *testing.T, c sessionVector) {
	b := mustSet(t, numbered(c.B, c.FirstDay, c.PerDay))
	s, msg, err := NewInitiator(mustSet(t, numbered(c.A, c.FirstDay, c.PerDay)), c.FrameA)
	if err != nil {
		t.Fatal(err)
	}
	var have, need []ID
	for i := 0; i+1 < len(c.Messages); i += 2 {
		if hex.EncodeToString(msg) != c.Messages[i] {
			t.Fatalf("message %d is %x", i, msg)
		}
		reply, err := Respond(b, c.FrameB, msg)
		if err != nil || hex.EncodeToString(reply) != c.Messages[i+1] {
			t.Fatalf("message %d is %x, %v", i+1, reply, err)
		}
		next, h, n, done, err := s.Step(reply)
		if err != nil || done != (i+2 == len(c.Messages)) {
			t.Fatalf("after message %d: done %v, %v", i+1, done, err)
		}
		have, need, msg = append(have, h...), append(need, n...), next
	}
	if !slices.Equal(numbers(have), c.Have) || !slices.Equal(numbers(need), c.Need) {
		t.Fatalf("have %v, need %v", numbers(have), numbers(need))
	}
}
