package feed

import (
	"unicode/utf8"

	"golang.org/x/text/language"
)

// checkText refuses what can hide or reorder text (spec 50 section 1.1). With
// lines, newline and tab are allowed. Balance is asked per line because that is
// where the bidi algorithm ends every embedding; what is left open would
// swallow whatever a face writes after it.
func checkText(s string, lines bool) error {
	if !utf8.ValidString(s) {
		return problem(TextEncoding)
	}
	var open []rune // closers expected, innermost last
	for _, r := range s {
		switch {
		case r == '\n' && lines:
			if len(open) > 0 {
				return problem(TextBidi)
			}
		case r == '\t' && lines:
		case r < 0x20, r >= 0x7f && r <= 0x9f, r == 0x2028, r == 0x2029:
			return problem(TextControl)
		case r == 0x202d, r == 0x202e:
			return problem(TextBidi)
		case r == 0x202a, r == 0x202b:
			open = append(open, 0x202c)
		case r >= 0x2066 && r <= 0x2068:
			open = append(open, 0x2069)
		case r == 0x202c, r == 0x2069:
			if len(open) == 0 || open[len(open)-1] != r {
				return problem(TextBidi)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return problem(TextBidi)
	}
	return nil
}

// validTag says whether tag has the restricted form of spec 50 section 1.1. It
// asks no registry: all versions of the program must agree.
func validTag(tag string) bool {
	n := run(tag, 'a', 'z')
	if n != 2 && n != 3 {
		return false
	}
	rest := tag[n:]
	if len(rest) >= 5 && rest[0] == '-' && run(rest[1:2], 'A', 'Z') == 1 && run(rest[2:5], 'a', 'z') == 3 {
		rest = rest[5:]
	}
	if rest == "" {
		return true
	}
	if rest[0] != '-' {
		return false
	}
	rest = rest[1:]
	return len(rest) == 2 && run(rest, 'A', 'Z') == 2 || len(rest) == 3 && run(rest, '0', '9') == 3
}

// run is the length of the start of s that lies between lo and hi.
func run(s string, lo, hi byte) int {
	n := 0
	for n < len(s) && s[n] >= lo && s[n] <= hi {
		n++
	}
	return n
}

// Tag brings a language tag that a person or a system gave into the form that
// notices use: language, script and region of BCP 47. The problem is TagBad.
func Tag(s string) (string, error) {
	if len(s) > 64 {
		return "", problem(TagBad)
	}
	t, err := language.Parse(s)
	if err != nil {
		return "", problem(TagBad)
	}
	base, script, region := t.Raw()
	out := base.String()
	if v := script.String(); v != "Zzzz" {
		out += "-" + v
	}
	if v := region.String(); v != "ZZ" {
		out += "-" + v
	}
	if base.String() == "und" || !validTag(out) {
		return "", problem(TagBad)
	}
	return out, nil
}

// choose returns the index of the text that serves a reader of the preferred
// languages, best first, and 0, the original, if none does. Only the same
// language in the same script counts: tables of close languages would answer
// Tigrinya with English or Amharic before the reader's next language is asked.
func choose(texts []Text, preferred []string) int {
	for _, want := range preferred {
		near := -1
		for i, t := range texts {
			if t.Tag == want {
				return i
			}
			if near < 0 && sameReader(want, t.Tag) {
				near = i
			}
		}
		if near >= 0 {
			return near
		}
	}
	return 0
}

// sameReader says whether two tags are of one language in one script; the
// script follows from language and region where it is not written.
func sameReader(a, b string) bool {
	x, errX := language.Parse(a)
	y, errY := language.Parse(b)
	if errX != nil || errY != nil {
		return false
	}
	baseX, _ := x.Base()
	baseY, _ := y.Base()
	scriptX, _ := x.Script()
	scriptY, _ := y.Script()
	return baseX == baseY && scriptX == scriptY
}
