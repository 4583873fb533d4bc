package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// line makes text that came from anywhere harmless on one line of a terminal.
func line(s string) string { return safe(s, false) }

// paragraph does the same for text of several lines.
func paragraph(s string) string { return safe(s, true) }

// safe replaces what could move the cursor, change the screen, speak to the
// terminal or turn the reading order of what stands beside it, and drops marks
// that nobody sees. Letters of every script stay, and the joiners that Persian,
// Hindi and pictures need.
func safe(s string, lines bool) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' && lines:
			b.WriteByte('\n')
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case r == '\u2028' || r == '\u2029': // line and paragraph separator
			if lines {
				b.WriteByte('\n')
			} else {
				b.WriteByte(' ')
			}
		case r == '\u200c' || r == '\u200d': // joiners
			b.WriteRune(r)
		case turns(r), unicode.IsControl(r), r == utf8.RuneError, unicode.Is(unicode.Co, r), noncharacter(r):
			b.WriteRune(utf8.RuneError)
		case unicode.Is(unicode.Cf, r), r == '\u034f', r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0':
			// marks and fillers that take no room
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// turns says whether r opens or closes a stretch of another reading order.
func turns(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

func noncharacter(r rune) bool {
	return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
}

// hidden says whether JSON writes r as an escape, so that a document can be
// looked at on a terminal and loses nothing.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) ||
		unicode.Is(unicode.Co, r) || noncharacter(r)
}
