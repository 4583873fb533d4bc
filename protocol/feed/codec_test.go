package feed

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// reencoders decode a payload of each kind and encode it again.
var reencoders = map[string]func([]byte) ([]byte, error){
	"announcement": func(b []byte) ([]byte, error) { return again(decodeAs(protocol.TypeAnnouncement))(b) },
	"meeting":      func(b []byte) ([]byte, error) { return again(decodeAs(protocol.TypeMeeting))(b) },
	"edit":         again(DecodeEdit),
	"cancel":       again(DecodeCancel),
	"group card":   again(DecodeGroupCard),
	"profile":      again(DecodeProfile),
	"pin":          again(DecodePin),
}

func decodeAs(t protocol.ContentType) func([]byte) (Notice, error) {
	return func(b []byte) (Notice, error) { return DecodeNotice(t, b) }
}

func again[T interface{ Encode() ([]byte, error) }](decode func([]byte) (T, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := decode(b)
		if err != nil {
			return nil, err
		}
		out, err := v.Encode()
		if err != nil {
			panic("what was decoded does not encode: " + err.Error())
		}
		return out, nil
	}
}

func fourLanguages() []Text {
	return []Text{
		{"fr", "Réunion déplacée", "La réunion a lieu à la bourse du travail.\nApportez vos papiers."},
		{"ar", "تم نقل الاجتماع", "يعقد الاجتماع في مقر النقابة.\nأحضروا أوراقكم."},
		{"ti", "ኣኼባ ተቐይሩ", "እቲ ኣኼባ ኣብ ቤት ጽሕፈት ማሕበር ክካየድ እዩ።"},
		{"es", "Reunión trasladada", "La reunión será en la bolsa de trabajo. ¡Traed los papeles!"},
	}
}

func samples(t testing.TB) map[string][]byte {
	meeting := meetingAt("Bourse du travail, salle 3")
	meeting.Texts = fourLanguages()
	meeting.Meeting.Link = "https://meet.example.org/palabre"
	news := Notice{Type: protocol.TypeAnnouncement, Urgency: Alert, Texts: fourLanguages()}
	return map[string][]byte{
		"announcement": encoded(t, news),
		"meeting":      encoded(t, meeting),
		"edit":         encoded(t, Edit{Amends: amends(3, "n", "a", "b"), Next: meeting}),
		"cancel":       encoded(t, Cancel{Amends: amends(2, "n", "n"), Reason: "descente de police", Tag: "fr"}),
		"group card":   encoded(t, GroupCard{Name: "Collectif 75", Version: 2}),
		"profile":      encoded(t, Profile{Name: "أمينة", Version: 1}),
		"pin":          encoded(t, Pin{Notice: idOf("n"), Version: 3, Pinned: true}),
	}
}

func TestRoundTrip(t *testing.T) {
	for name, b := range samples(t) {
		got, err := reencoders[name](b)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n, err := DecodeNotice(protocol.TypeMeeting, samples(t)["meeting"])
	if err != nil || !reflect.DeepEqual(n.Texts, fourLanguages()) || *n.Meeting != (Meeting{t0 + 2*day, t0 + 2*day + 7200, "Europe/Paris",
		"Bourse du travail, salle 3", "https://meet.example.org/palabre"}) || n.Urgency != Important {
		t.Fatalf("%+v %v", n, err)
	}
}

// Truncations, one byte more, and every flipped bit: each is refused or is the
// encoding of something else; nothing panics.
func TestDamage(t *testing.T) {
	for name, b := range samples(t) {
		for i := range b {
			if _, err := reencoders[name](b[:i]); !errors.Is(err, ErrPayload) {
				t.Fatalf("%s cut at %d: %v", name, i, err)
			}
			for bit := range 8 {
				bad := bytes.Clone(b)
				bad[i] ^= 1 << bit
				got, err := reencoders[name](bad)
				if err == nil && !bytes.Equal(got, bad) || err != nil && !errors.Is(err, ErrPayload) {
					t.Fatalf("%s bit %d of byte %d: %v", name, bit, i, err)
				}
			}
		}
		if _, err := reencoders[name](append(bytes.Clone(b), 0)); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: trailing byte: %v", name, err)
		}
	}
}

// Spec 50 section 1: unknown keys are kept, at most 16.
func TestUnknownKeys(t *testing.T) {
	for name, b := range samples(t) {
		for n, ok := range map[int]bool{1: true, MaxUnknownKeys: true, MaxUnknownKeys + 1: false} {
			var m wire.Map
			if err := wire.Unmarshal(b, len(b), &m); err != nil {
				t.Fatal(err)
			}
			for k := range n {
				m[uint64(100+k)] = wire.Marshal([]string{"later", fmt.Sprint(k)})
			}
			with := wire.Marshal(m)
			got, err := reencoders[name](with)
			if ok != (err == nil) || ok && !bytes.Equal(got, with) {
				t.Errorf("%s with %d unknown keys: %v", name, n, err)
			}
		}
	}
}

func TestRefusedPayloads(t *testing.T) {
	text := func(tag, title, body string) any { return []wireText{{Tag: tag, Title: title, Body: body}} }
	news := map[uint64]any{1: text("fr", "t", "b"), 2: 1}
	meet := map[uint64]any{1: text("fr", "t", "b"), 2: 1, 3: 1000, 4: 2000, 5: "Europe/Paris"}
	id := idOf("n")
	big := slicesOf(17)
	edit := map[uint64]any{1: id, 2: 2, 3: [][32]byte{id}, 4: 1, 5: encoded(t, announcement("t"))}
	cancel := map[uint64]any{1: id, 2: 2, 3: [][32]byte{id}}
	card := map[uint64]any{1: "Collectif", 2: 1}
	const gone = "gone"
	for _, c := range []struct {
		name  string
		kind  string
		base  map[uint64]any
		key   uint64
		value any
	}{
		{"no texts key", "announcement", news, 1, gone},
		{"no texts", "announcement", news, 1, []wireText{}},
		{"nine texts", "announcement", news, 1, manyTexts(9)},
		{"repeated tag", "announcement", news, 1, []wireText{{Tag: "fr", Title: "a"}, {Tag: "fr", Title: "b"}}},
		{"bad tag", "announcement", news, 1, text("FR", "t", "")},
		{"empty title", "announcement", news, 1, text("fr", " ", "")},
		{"title too long", "announcement", news, 1, text("fr", strings.Repeat("ሀ", 201), "")},
		{"body too long", "announcement", news, 1, text("fr", "t", strings.Repeat("x", 12_001))},
		{"newline in title", "announcement", news, 1, text("fr", "a\nb", "")},
		{"override", "announcement", news, 1, text("fr", "t", "a\u202eb")},
		{"open isolate", "announcement", news, 1, text("fr", "t", "a\u2067b")},
		{"urgency 0", "announcement", news, 2, 0},
		{"urgency 4", "announcement", news, 2, 4},
		{"urgency text", "announcement", news, 2, "1"},
		{"urgency negative", "announcement", news, 2, -1},
		{"no start", "meeting", meet, 3, gone},
		{"start 0", "meeting", meet, 3, 0},
		{"start after 9999", "meeting", meet, 3, MaxInstant + 1},
		{"end 0", "meeting", meet, 4, 0},
		{"end at start", "meeting", meet, 4, 1000},
		{"end after 9999", "meeting", meet, 4, MaxInstant + 1},
		{"no zone", "meeting", meet, 5, gone},
		{"zone with dots", "meeting", meet, 5, "../etc"},
		{"empty place", "meeting", meet, 6, ""},
		{"place too long", "meeting", meet, 6, strings.Repeat("x", 201)},
		{"place with newline", "meeting", meet, 6, "a\nb"},
		{"link that runs", "meeting", meet, 7, "javascript:alert(1)"},
		{"plain http", "meeting", meet, 7, "http://example.org/"},
		{"link with look-alikes", "meeting", meet, 7, "https://exаmple.org/"},
		{"link with user", "meeting", meet, 7, "https://bank.org@evil.org/"},
		{"link too long", "meeting", meet, 7, "https://example.org/" + strings.Repeat("x", 512)},
		{"version 1", "edit", edit, 2, 1},
		{"version too high", "edit", edit, 2, MaxVersion + 1},
		{"no prev", "edit", edit, 3, [][32]byte{}},
		{"unsorted prev", "edit", edit, 3, [][32]byte{{2}, {1}}},
		{"repeated prev", "edit", edit, 3, [][32]byte{{1}, {1}}},
		{"17 prev", "edit", edit, 3, big},
		{"short notice id", "edit", edit, 1, id[:31]},
		{"edit of an edit", "edit", edit, 4, 16},
		{"edit of type 0", "edit", edit, 4, 0},
		{"payload of another type", "edit", edit, 4, 2},
		{"payload empty", "edit", edit, 5, []byte{}},
		{"cancel without notice", "cancel", cancel, 1, gone},
		{"empty reason", "cancel", cancel, 4, ""},
		{"reason too long", "cancel", cancel, 4, strings.Repeat("x", 501)},
		{"tag without reason", "cancel", cancel, 5, "fr"},
		{"hidden name", "group card", card, 1, "a\u200bb"},
		{"version 0", "profile", card, 2, 0},
		{"no name", "profile", card, 1, gone},
	} {
		base := maps.Clone(c.base)
		if _, err := reencoders[c.kind](wire.Marshal(base)); err != nil {
			t.Fatalf("%s: the base is refused: %v", c.name, err)
		}
		if base[c.key] = c.value; c.value == gone {
			delete(base, c.key)
		}
		if _, err := reencoders[c.kind](wire.Marshal(base)); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func slicesOf(n int) (out [][32]byte) {
	for i := range n {
		out = append(out, [32]byte{byte(i)})
	}
	return out
}

func manyTexts(n int) (out []wireText) {
	for i := range n {
		out = append(out, wireText{Tag: string([]byte{'a', 'a' + byte(i)}), Title: "t"})
	}
	return out
}

// The largest of everything that fits, and the first that does not.
func TestLargest(t *testing.T) {
	n := announcement(strings.Repeat("ሀ", protocol.MaxTitleChars))
	n.Texts = nil
	for i := range 5 {
		n.Texts = append(n.Texts, Text{Tag: string([]byte{'a', 'a' + byte(i)}), Title: strings.Repeat("t", 200), Body: strings.Repeat("b", 11_750)})
	}
	b := encoded(t, n)
	if len(b) > MaxPayload || len(b) < MaxPayload-300 {
		t.Fatal(len(b))
	}
	e := Edit{Amends: Amends{Notice: idOf("n"), Version: 2}, Next: n}
	for i := range MaxPrev {
		e.Prev = append(e.Prev, protocol.ContentID{byte(i)})
	}
	if got := encoded(t, e); len(got) > MaxEditPayload {
		t.Fatal(len(got))
	}
	n.Texts[0].Body += strings.Repeat("b", 250)
	n.Texts[1].Body += strings.Repeat("b", 250)
	if _, err := n.Encode(); CodeOf(err) != PayloadLong {
		t.Fatal(err)
	}
}

// An edit of a type that this version does not know keeps its payload.
func TestEditOfUnknownType(t *testing.T) {
	b := wire.Marshal(map[uint64]any{1: idOf("n"), 2: 2, 3: [][32]byte{idOf("n")}, 4: 9, 5: []byte("later")})
	if got, err := reencoders["edit"](b); err != nil || !bytes.Equal(got, b) {
		t.Fatal(err)
	}
}

func fuzzReencode(f *testing.F, kind string) {
	f.Add(samples(f)[kind])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := reencoders[kind](b)
		if err == nil && !bytes.Equal(got, b) {
			t.Fatalf("%x became %x", b, got)
		}
		if err != nil && !errors.Is(err, ErrPayload) {
			t.Fatal(err)
		}
	})
}

func FuzzAnnouncement(f *testing.F) { fuzzReencode(f, "announcement") }
func FuzzMeeting(f *testing.F)      { fuzzReencode(f, "meeting") }
func FuzzEdit(f *testing.F)         { fuzzReencode(f, "edit") }
func FuzzCancel(f *testing.F)       { fuzzReencode(f, "cancel") }
func FuzzGroupCard(f *testing.F)    { fuzzReencode(f, "group card") }
func FuzzProfile(f *testing.F)      { fuzzReencode(f, "profile") }
func FuzzPin(f *testing.F)          { fuzzReencode(f, "pin") }
