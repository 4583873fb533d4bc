package text

import (
	"slices"
	"strings"
)

// Pick returns the language that the environment asks for, as POSIX and gettext
// order it, or English. The argument is os.Getenv, or what stands in for it.
func Pick(env func(string) string) Language {
	for _, tag := range Preferred(env) {
		base, _, _ := strings.Cut(tag, "-")
		if l := Language(base); slices.Contains(Languages(), l) {
			return l
		}
	}
	return English
}

// maxPreferred bounds the languages of one reader.
const maxPreferred = 8

// Preferred returns the reader's languages in the form of BCP 47, best first:
// the list in LANGUAGE, then the locale. A C or POSIX locale has none, and then
// LANGUAGE does not count.
func Preferred(env func(string) string) []string {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale = env(name); locale != "" {
			break
		}
	}
	last := tag(locale)
	if last == "" {
		return nil
	}
	var tags []string
	for _, name := range append(strings.Split(env("LANGUAGE"), ":"), locale) {
		if t := tag(name); t != "" && !slices.Contains(tags, t) && len(tags) < maxPreferred-1 {
			tags = append(tags, t)
		}
	}
	if !slices.Contains(tags, last) {
		tags = append(tags, last)
	}
	return tags
}

// tag brings a locale such as fr_SN.UTF-8@euro into the form fr-SN. It returns
// "" for C, POSIX and what is no locale.
func tag(locale string) string {
	if len(locale) > 64 {
		return ""
	}
	locale, modifier, _ := strings.Cut(locale, "@")
	locale, _, _ = strings.Cut(locale, ".")
	base, region, _ := strings.Cut(strings.ReplaceAll(locale, "-", "_"), "_")
	base, region = strings.ToLower(base), strings.ToUpper(region)
	if n := letters(base); n != len(base) || n < 2 || n > 3 {
		return ""
	}
	switch modifier {
	case "latin":
		base += "-Latn"
	case "cyrillic":
		base += "-Cyrl"
	}
	if n := letters(strings.ToLower(region)); n == len(region) && n == 2 {
		return base + "-" + region
	}
	return base
}

// letters counts the lower-case letters that s begins with.
func letters(s string) int {
	n := 0
	for n < len(s) && s[n] >= 'a' && s[n] <= 'z' {
		n++
	}
	return n
}
