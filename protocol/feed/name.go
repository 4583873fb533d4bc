package feed

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/palabre-app/palabre/protocol"
)

const (
	zwnj     = '\u200c'
	maxMarks = 3 // combining marks in a row: Hebrew and Vietnamese need 3
)

// CleanName brings a name that a person typed into the form that CheckName
// asks for: NFC, without spaces at the ends. It removes nothing else, so that
// nobody gets another name than the one that was typed.
func CleanName(s string) string { return norm.NFC.String(strings.Trim(s, " \t\r\n")) }

// CheckName says whether a name of a person or a group is safe to show (spec 50
// section 4). The error is a *Problem with a code that begins with name_.
func CheckName(s string) error {
	switch {
	case s == "":
		return problem(NameEmpty)
	case len(s) > protocol.MaxNameBytes:
		return tooMuch(NameLong, protocol.MaxNameChars)
	case !utf8.ValidString(s) || !norm.NFC.IsNormalString(s):
		return problem(NameEncoding)
	case utf8.RuneCountInString(s) > protocol.MaxNameChars:
		return tooMuch(NameLong, protocol.MaxNameChars)
	case badSpaces(s):
		return problem(NameSpaces)
	}
	runes := []rune(s)
	for i, r := range runes {
		if hidden(r) && !(r == zwnj && betweenArabic(runes, i)) {
			return problem(NameHidden)
		}
	}
	for _, r := range runes {
		if !nameCharacter(r) {
			return problem(NameCharacter)
		}
	}
	if !marksHold(runes) {
		return problem(NameMarks)
	}
	if !oneDigitSystem(runes) {
		return problem(NameDigits)
	}
	if !strings.ContainsFunc(s, unicode.IsLetter) {
		return problem(NameLetters)
	}
	if !scriptsHold(runes) {
		return problem(NameScripts)
	}
	return nil
}

func badSpaces(s string) bool {
	return s[0] == ' ' || s[len(s)-1] == ' ' || strings.Contains(s, "  ") ||
		strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && unicode.In(r, unicode.Zs) })
}

// hidden covers all that shows as nothing, or that changes how its neighbours
// show. The fillers are letters by category, and blank on screen.
func hidden(r rune) bool {
	switch r {
	case 0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x3164, 0xffa0, 0x2800:
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Co, unicode.Zl, unicode.Zp,
		unicode.Variation_Selector, unicode.Noncharacter_Code_Point) ||
		r >= 0xe0000 && r <= 0xe0fff ||
		!unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z)
}

// betweenArabic allows the joiner breaks of Persian and its neighbours.
func betweenArabic(runes []rune, i int) bool {
	return i > 0 && i+1 < len(runes) && arabicLetter(runes[i-1]) && arabicLetter(runes[i+1])
}

func arabicLetter(r rune) bool { return unicode.IsLetter(r) && unicode.Is(unicode.Arabic, r) }

func nameCharacter(r rune) bool {
	if r == ' ' || r == zwnj || strings.ContainsRune("'’-.·_&()+,/\u05be\u05f3\u05f4", r) {
		return true
	}
	if !unicode.In(r, unicode.L, unicode.Mn, unicode.Mc, unicode.Nd) {
		return false
	}
	switch r {
	case 0x0e33, 0x0eb3, 0x0edc, 0x0edd: // everyday Thai and Lao letters
		return true
	}
	one := string(r)
	return norm.NFKC.String(one) == norm.NFC.String(one)
}

func marksHold(runes []rune) bool {
	letter, row := false, 0
	for _, r := range runes {
		switch {
		case unicode.IsMark(r):
			if row++; !letter || row > maxMarks {
				return false
			}
		default:
			letter, row = unicode.IsLetter(r), 0
		}
	}
	return true
}

// oneDigitSystem refuses digits of two systems: in ۴4 they are told apart only
// by who knows both. Decimal digits come in runs of ten from a zero.
func oneDigitSystem(runes []rune) bool {
	zero := rune(-1)
	for _, r := range runes {
		if !unicode.IsDigit(r) {
			continue
		}
		z := digitZero(r)
		if zero >= 0 && z != zero {
			return false
		}
		zero = z
	}
	return true
}

// digitZero finds the zero of a decimal digit's system: the ranges of category
// Nd begin at a zero and hold whole systems.
func digitZero(r rune) rune {
	for _, x := range unicode.Nd.R16 {
		if lo := rune(x.Lo); r >= lo && r <= rune(x.Hi) {
			return r - (r-lo)%10
		}
	}
	for _, x := range unicode.Nd.R32 {
		if lo := rune(x.Lo); r >= lo && r <= rune(x.Hi) {
			return r - (r-lo)%10
		}
	}
	return r
}

// together are the mixtures of UTS 39 section 5.2, highly restrictive. Each is
// allowed as a whole or in part; everything else is one script alone.
var together = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Hangul"},
	{"Latin", "Han", "Bopomofo"},
}

func scriptsHold(runes []rune) bool {
	seen := map[string]bool{}
	for _, r := range runes {
		if s := scriptOf(r); s != "" {
			seen[s] = true
		}
	}
	if len(seen) <= 1 {
		return true
	}
	for _, set := range together {
		n := 0
		for _, s := range set {
			if seen[s] {
				n++
			}
		}
		if n == len(seen) {
			return true
		}
	}
	return false
}

// scriptOf returns the script of a character, or "" for what all scripts share.
// The commonest are asked first.
func scriptOf(r rune) string {
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for _, s := range []string{"Latin", "Arabic", "Cyrillic", "Ethiopic", "Han", "Greek"} {
		if unicode.Is(unicode.Scripts[s], r) {
			return s
		}
	}
	for s, t := range unicode.Scripts {
		if unicode.Is(t, r) {
			return s
		}
	}
	return "unknown"
}
