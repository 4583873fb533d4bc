package feed

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

var update = flag.Bool("update", false, "write the vectors anew; explain the difference")

const vectorFile = "../spec/vectors/feed.json"

// vectors are data that other implementations run (spec 50).
type vectors struct {
	Comment  string          `json:"comment"`
	Payloads []payloadVector `json:"payloads"`
	Names    []nameVector    `json:"names"`
	Stories  []storyVector   `json:"stories"`
}

type payloadVector struct {
	Name    string               `json:"name"`
	Kind    string               `json:"kind"`
	Type    protocol.ContentType `json:"type"`
	Payload string               `json:"payload"` // hex
	Valid   bool                 `json:"valid"`
}

type nameVector struct {
	Name string `json:"name"` // hex of the bytes: some are not UTF-8
	Code Code   `json:"code"` // empty: accepted
}

// storyVector is a set of items, to be applied in any order, and what is shown.
type storyVector struct {
	Name  string      `json:"name"`
	Now   int64       `json:"now"`
	Items []storyItem `json:"items"`
	Shown []storyView `json:"shown"`
}

type storyItem struct {
	ID        string               `json:"id"`
	Author    string               `json:"author"`
	Organiser bool                 `json:"organiser"`
	Folded    bool                 `json:"folded"`
	Type      protocol.ContentType `json:"type"`
	CreatedAt int64                `json:"created_at"`
	ExpiresAt int64                `json:"expires_at"`
	Payload   string               `json:"payload"`
}

type storyView struct {
	Notice    string   `json:"notice"`
	Version   string   `json:"version"`
	Number    uint64   `json:"number"`
	Status    Status   `json:"status"`
	Expires   int64    `json:"expires"`
	Missing   bool     `json:"missing"`
	Reason    string   `json:"reason"`
	Conflicts []string `json:"conflicts"`
}

var typeOf = map[string]protocol.ContentType{
	"announcement": 1, "meeting": 2, "edit": 16, "cancel": 17, "group card": 32, "profile": 33,
}

func makeVectors(t *testing.T) vectors {
	v := vectors{Comment: "spec 50. payloads: a valid one re-encodes to the same bytes, the others are refused. names: hex of UTF-8 and the code of section 4. stories: the items in any order."}
	good := samples(t)
	kinds := []string{"announcement", "meeting", "edit", "cancel", "group card", "profile"}
	put := func(name, kind string, b []byte, valid bool) {
		v.Payloads = append(v.Payloads, payloadVector{name, kind, typeOf[kind], hex.EncodeToString(b), valid})
	}
	for _, kind := range kinds {
		put("whole", kind, good[kind], true)
		put("cut short", kind, good[kind][:len(good[kind])-1], false)
		put("trailing byte", kind, append(bytes.Clone(good[kind]), 0), false)
		var m wire.Map
		if err := wire.Unmarshal(good[kind], len(good[kind]), &m); err != nil {
			t.Fatal(err)
		}
		m[99] = wire.Marshal("later")
		put("unknown key kept", kind, wire.Marshal(m), true)
		delete(m, 1)
		put("key 1 missing", kind, wire.Marshal(m), false)
	}
	// 2 not in shortest form (18 02); keys out of order.
	put("number not shortest", "profile", []byte{0xa2, 1, 0x61, 'a', 2, 0x18, 2}, false)
	put("keys out of order", "profile", []byte{0xa2, 2, 2, 1, 0x61, 'a'}, false)
	put("smallest", "profile", []byte{0xa2, 1, 0x61, 'a', 2, 1}, true)
	put("urgency 4", "announcement", wire.Marshal(map[uint64]any{1: []wireText{{Tag: "fr", Title: "t"}}, 2: 4}), false)
	put("open isolate", "announcement", wire.Marshal(map[uint64]any{1: []wireText{{Tag: "fr", Title: "\u2067t"}}, 2: 1}), false)
	put("end before start", "meeting", wire.Marshal(map[uint64]any{1: []wireText{{Tag: "fr", Title: "t"}}, 2: 1, 3: 2000, 4: 1000, 5: "Europe/Paris"}), false)
	for _, code := range []Code{"", NameEmpty, NameLong, NameEncoding, NameSpaces, NameHidden, NameCharacter, NameMarks, NameDigits, NameLetters, NameScripts} {
		for _, name := range nameRows[code] {
			if len(name) < 200 {
				v.Names = append(v.Names, nameVector{hex.EncodeToString([]byte(name)), code})
			}
		}
	}
	n := created(t, "n", amina, meetingAt("Salle A"))
	e1 := edited(t, "e1", amina, amends(2, "n", "n"), meetingAt("Salle B"))
	e2 := edited(t, "e2", bashir, amends(2, "n", "n"), meetingAt("Salle C"))
	e3 := edited(t, "e3", bashir, amends(3, "n", "e1", "e2"), meetingAt("Salle D"))
	c := cancelled(t, "c", amina, amends(2, "n", "n"), "police")
	foreign := edited(t, "x", carlos, amends(2, "n", "n"), meetingAt("Piège"))
	folded := e1
	folded.Standing = Folded
	for _, s := range []struct {
		name  string
		now   int64
		items []Item
	}{
		{"conflict", t0, []Item{n, e1, e2}},
		{"conflict resolved", t0, []Item{n, e1, e2, e3, foreign}},
		{"edit waits for a version", t0, []Item{n, e1, e3}},
		{"cancel without what it covers, an edit beside it", t0, []Item{n, e1, c}},
		{"amendments without a notice", t0, []Item{e1, c}},
		{"folded version below a normal one", t0, []Item{n, folded, e2, e3}},
		{"folded version alone", t0, []Item{n, folded}},
		{"held", t0 - 601, []Item{n}},
		{"expired", t0 + 30*day, []Item{n}},
	} {
		story := storyVector{Name: s.name, Now: s.now, Shown: []storyView{}}
		for _, it := range s.items {
			story.Items = append(story.Items, storyItem{it.ID.String(), it.Author.String(), it.Organiser, it.Standing == Folded,
				it.Content.Type, it.Content.CreatedAt, it.Content.ExpiresAt, hex.EncodeToString(it.Content.Payload)})
		}
		story.Shown = tell(holding(t, s.items...), s.now)
		v.Stories = append(v.Stories, story)
	}
	return v
}

func tell(s *State, now int64) []storyView {
	out := []storyView{}
	for _, v := range s.List(now, nil, false) {
		x := storyView{v.Notice.String(), v.ID.String(), v.Number, v.Status, v.Expires, v.Missing, v.CancelReason, []string{}}
		for _, c := range v.Conflicts {
			x.Conflicts = append(x.Conflicts, c.ID.String())
		}
		out = append(out, x)
	}
	return out
}

func TestVectors(t *testing.T) {
	if *update {
		b, err := json.MarshalIndent(makeVectors(t), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Payloads) < 30 || len(v.Names) < 200 || len(v.Stories) < 9 {
		t.Fatal("the vectors are not whole")
	}
	for _, p := range v.Payloads {
		in, _ := hex.DecodeString(p.Payload)
		got, err := reencoders[p.Kind](in)
		if p.Valid != (err == nil) || p.Valid && !bytes.Equal(got, in) || typeOf[p.Kind] != p.Type {
			t.Errorf("%s %s: %v", p.Kind, p.Name, err)
		}
	}
	for _, n := range v.Names {
		name, _ := hex.DecodeString(n.Name)
		if err := CheckName(string(name)); CodeOf(err) != n.Code || (err == nil) != (n.Code == "") {
			t.Errorf("%q: %v, want %q", name, err, n.Code)
		}
	}
	for _, story := range v.Stories {
		var items []Item
		for _, x := range story.Items {
			it := Item{Organiser: x.Organiser, Standing: Normal, Content: protocol.Content{Type: x.Type, DevSeq: 1, CreatedAt: x.CreatedAt, ExpiresAt: x.ExpiresAt}}
			if x.Folded {
				it.Standing = Folded
			}
			id, _ := hex.DecodeString(x.ID)
			author, _ := hex.DecodeString(x.Author)
			copy(it.ID[:], id)
			copy(it.Author[:], author)
			it.Content.Payload, _ = hex.DecodeString(x.Payload)
			items = append(items, it)
		}
		for range 2 {
			if got, want := mustJSON(tell(holding(t, items...), story.Now)), mustJSON(story.Shown); got != want {
				t.Errorf("%s:\n%s\n%s", story.Name, got, want)
			}
			slices.Reverse(items)
		}
	}
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
