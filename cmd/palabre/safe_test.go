package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestSafe(t *testing.T) {
	for _, c := range []struct{ in, line, paragraph string }{
		{"plain", "plain", "plain"},
		{"a\nb\tc", "a b c", "a\nb c"},
		{"a\u2028b\u2029c", "a b c", "a\nb\nc"},
		{"\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m", "\ufffd[31mred\ufffd[0m"},
		{"\x9b2J", "\ufffd2J", "\ufffd2J"}, // not UTF-8
		{"\u009b2J\u0085", "\ufffd2J\ufffd", "\ufffd2J\ufffd"},
		{"a\rb\x00\x7f", "a\ufffdb\ufffd\ufffd", "a\ufffdb\ufffd\ufffd"},
		{"\u202egnp.exe\u202c", "\ufffdgnp.exe\ufffd", "\ufffdgnp.exe\ufffd"},
		{"\u2066a\u2067b\u2068c\u2069", "\ufffda\ufffdb\ufffdc\ufffd", "\ufffda\ufffdb\ufffdc\ufffd"},
		{"a\u200b\u200e\u200f\u061c\u00ad\ufeff\u2060b", "ab", "ab"},
		{"\U000e0041\ue000\ufdd0\uffff", "\ufffd\ufffd\ufffd", "\ufffd\ufffd\ufffd"},
		{"می\u200cخواهم", "می\u200cخواهم", "می\u200cخواهم"},
		{"👩\u200d🌾 ሰላም שלום नमस्ते", "👩\u200d🌾 ሰላም שלום नमस्ते", "👩\u200d🌾 ሰላም שלום नमस्ते"},
	} {
		if got := line(c.in); got != c.line {
			t.Errorf("line(%q) is %q", c.in, got)
		}
		if got := paragraph(c.in); got != c.paragraph {
			t.Errorf("paragraph(%q) is %q", c.in, got)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("\x1b[2J\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := line(s)
		if !utf8.ValidString(got) || line(got) != got {
			t.Fatalf("%q became %q", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || turns(r) || unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' {
				t.Fatalf("%q became %q", s, got)
			}
		}
	})
}

// A document says the same with and without its escapes, and shows no sign that
// a terminal obeys.
func FuzzWriteJSON(f *testing.F) {
	f.Add("<&>\u2028\u202e\x1b\u009b\U000e0041\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		if err := writeJSON(&b, map[string]string{"s": s}); err != nil {
			t.Fatal(err)
		}
		var back map[string]string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["s"] != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Fatalf("%q became %q (%v)", s, b.String(), err)
		}
		doc := strings.TrimSuffix(b.String(), "\n")
		if strings.ContainsFunc(doc, hidden) {
			t.Fatalf("%q is shown as %q", s, doc)
		}
	})
}

func TestShorten(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"0123456789 abcdef0123", "01234567 abcdef01"},
		{"0123456789 0123456799", "012345678 012345679"},
		{"0123456789 0123456789", "0123456789 0123456789"},
		{"abc", "abc"},
	} {
		if got := strings.Join(shorten(strings.Fields(c.in)), " "); got != c.want {
			t.Errorf("%q became %q", c.in, got)
		}
	}
}

func TestSpan(t *testing.T) {
	for typed, want := range map[string]time.Duration{
		"72h": 72 * time.Hour, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "1s": time.Second,
		"1d1h1m1s": 25*time.Hour + time.Minute + time.Second, "36600d": maxSpan,
		"": 0, "0h": 0, "h": 0, "5": 0, "-5h": 0, "+5h": 0, "1.5h": 0, "5h ": 0, " 5h": 0, "5H": 0, "5w": 0, "1h1d": 0, "1h1h": 0, "5hours": 0,
		"36601d": 0, "99999999999999999999d": 0, "9223372036854775807d": 0, "878400h1s": 0, "٥h": 0, "5ሰ": 0,
	} {
		var s span
		err := s.Set(typed)
		if (err == nil) != (want > 0) || time.Duration(s) != want {
			t.Errorf("%q: %v, %v", typed, time.Duration(s), err)
		}
		if err == nil {
			var again span
			if err := again.Set(s.String()); err != nil || again != s {
				t.Errorf("%q is written %q", typed, s.String())
			}
		}
	}
}
