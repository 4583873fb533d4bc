package feed

import (
	"sort"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// alike lists look-alikes: all letters after the first become the first. Case
// is folded before, so that a small letter may stand here for its capital
// (Cyrillic н for H). One letter has one place: the nearest in the fonts of
// phones.
var alike = buildAlike([]string{
	"aαаɑ", "bβвƅьъ", "cсϲⅽ", "dԁժɗ", "eеєεҽ", "fғϝ", "gɡցԍ", "hнһհԋ",
	"l1iιіӏıɩɪ", "jјϳյ", "kκкқҝ", "mмμʍ", "nηոռп", "o0οоօ٥۵", "pρрԥ", "qԛգզ",
	"rгʀ", "sѕʂտ5", "tτтե", "uυսцʋ", "vνѵ", "wԝωшաɯ", "xχхҳ", "yγуүվƴ", "zζʐᴢ",
	"эз3ʒ", "бϐ6", "ћђ", "фφ", "πл",
	"يىیېئ", "كکڪ", "اأإآٱ", "وؤ", "ه\u06c1\u06be\u06d5",
})

// alikeCapital are the capitals that look like another letter than their small
// forms do: a Greek N is an N, its small form a v.
var alikeCapital = map[rune]rune{'Ν': 'n', 'Υ': 'y', 'Η': 'h', 'Ρ': 'p', 'Տ': 's'}

func buildAlike(rows []string) map[rune]rune {
	m := map[rune]rune{}
	for _, row := range rows {
		runes := []rune(row)
		for _, r := range runes[1:] {
			if _, taken := m[r]; !taken && r != runes[0] {
				m[r] = runes[0]
			}
		}
	}
	return m
}

// Skeleton maps names that look alike to the same string (after UTS 39 section
// 4, with a table of our own). It is for comparing, never for showing, and is
// not stored: the table may grow.
func Skeleton(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(name) {
		if dropped(r) {
			continue
		}
		if to, ok := alikeCapital[r]; ok {
			r = to
		}
		r = fold(r)
		if to, ok := alike[r]; ok {
			r = to
		}
		b.WriteRune(r)
	}
	s := strings.ReplaceAll(b.String(), "rn", "m")
	return strings.ReplaceAll(s, "vv", "w")
}

// dropped leaves out marks that a glance misses. Marks of Indic scripts are
// vowels and stay.
func dropped(r rune) bool {
	switch {
	case r >= 0x0300 && r <= 0x036f, // Latin, Greek, Cyrillic
		r >= 0x0483 && r <= 0x0489, r >= 0x0591 && r <= 0x05c7,
		r >= 0x0610 && r <= 0x061a, r >= 0x064b && r <= 0x065f, r == 0x0670, r >= 0x06d6 && r <= 0x06ed && unicode.IsMark(r),
		r == 0x0640, r == '_':
		return true
	}
	return unicode.In(r, unicode.Z, unicode.Cc, unicode.Cf, unicode.P)
}

// fold is simple case folding: the smallest letter of the folding orbit would
// be a capital, so the lower case of the capital is taken, which also unites
// final sigma with sigma.
func fold(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }

// Lookalikes returns the groups of two or more names that look alike, as
// indexes into names in ascending order. Names that are equal look alike.
func Lookalikes(names []string) [][]int {
	by := map[string][]int{}
	for i, n := range names {
		s := Skeleton(n)
		by[s] = append(by[s], i)
	}
	var out [][]int
	for _, group := range by {
		if len(group) > 1 {
			out = append(out, group)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i][0] < out[j][0] })
	return out
}
