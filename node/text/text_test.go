package text

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/feed"
)

var field = regexp.MustCompile(`\{[^}]*\}`)

// places returns the fields of a sentence, sorted.
func places(s string) []string {
	found := field.FindAllString(s, -1)
	slices.Sort(found)
	return found
}

func TestLanguagesSayWhatEnglishSays(t *testing.T) {
	en := catalogues()[English]
	if len(en.Errors) < 50 || len(en.Say) < 50 {
		t.Fatalf("English has %d errors and %d sentences", len(en.Errors), len(en.Say))
	}
	for _, l := range Languages() {
		c := catalogues()[l]
		for code, want := range en.Errors {
			got, ok := c.Errors[code]
			if !ok || got.Say == "" || got.Hint == "" {
				t.Errorf("%s has no words for %s", l, code)
			}
			if !slices.Equal(places(got.Say), places(want.Say)) || !slices.Equal(places(got.Hint), places(want.Hint)) {
				t.Errorf("%s uses other fields for %s", l, code)
			}
			if flags(got.Hint) != flags(want.Hint) {
				t.Errorf("%s hints at other commands for %s: %q", l, code, got.Hint)
			}
		}
		for code := range c.Errors {
			if _, ok := en.Errors[code]; !ok {
				t.Errorf("%s words %s, that English does not have", l, code)
			}
		}
		for key, want := range en.Say {
			got, ok := c.Say[key]
			if !ok && strings.HasPrefix(key, "flag.") {
				continue // said in English
			}
			if strings.TrimSpace(got) == "" || !slices.Equal(places(got), places(want)) {
				t.Errorf("%s says %q for %s", l, got, key)
			}
		}
		for key := range c.Say {
			if en.Say[key] == "" {
				t.Errorf("%s says %s, that English does not have", l, key)
			}
		}
	}
}

var typed = regexp.MustCompile(`palabre [a-z]+|--[a-z-]+`)

// flags returns the commands and flags that a hint names, in order of the text.
func flags(hint string) string {
	found := typed.FindAllString(hint, -1)
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " ")
}

func TestWordsAreThoseOfPeople(t *testing.T) {
	jargon := regexp.MustCompile(`(?i)\b(epochs?|époques?|época|peers?|pairs?|nodes?|nœuds?|nodos?|multiaddr|relays?|relais|gossip|libp2p|` +
		`sockets?|daemon|mailbox|ciphertext|envelopes?|hash|sync|backend|server|serveur|servidor|database|cbor|sqlite|nonce|handshake)\b`)
	for _, l := range Languages() {
		c := catalogues()[l]
		all := map[string]string{}
		for code, p := range c.Errors {
			all[code], all[code+" hint"] = p.Say, p.Hint
		}
		for key, s := range c.Say {
			all[key] = s
		}
		for key, s := range all {
			if bad := jargon.FindString(s); bad != "" {
				t.Errorf("%s: %s says %q", l, key, bad)
			}
			for _, r := range s {
				if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
					t.Errorf("%s: %s has the hidden sign %U", l, key, r)
				}
			}
			if l == Arabic && !strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Arabic, r) }) && !typed.MatchString(s) && !strings.HasPrefix(s, "{command}") {
				t.Errorf("%s is not in Arabic: %q", key, s)
			}
		}
	}
}

func TestErrorsAreSentencesOfTheHouse(t *testing.T) {
	for _, code := range Codes() {
		say, hint, ok := English.Error(code)
		if !ok || strings.HasSuffix(say, ".") || strings.HasSuffix(hint, ".") || !unicode.IsLower([]rune(say)[0]) {
			t.Errorf("%s: %q, %q", code, say, hint)
		}
	}
}

// The bounds are written out in the words, in four languages.
func TestBoundsInWordsAreTheRealOnes(t *testing.T) {
	digits := regexp.MustCompile(`[^0-9]+`)
	for code, want := range map[string]string{
		"name_too_long": number(protocol.MaxNameChars), "title_too_long": number(protocol.MaxTitleChars),
		"text_too_long": number(protocol.MaxBody) + number(feed.MaxPayload), "texts_too_many": number(feed.MaxTexts),
		"reason_too_long": number(feed.MaxReasonChars), "place_too_long": number(feed.MaxPlaceChars),
		"expiry_too_far": number(protocol.MaxNoticeSeconds / protocol.DaySeconds), "bad_id": "6",
	} {
		for _, l := range Languages() {
			if l == Arabic && code == "bad_id" {
				continue // in letters
			}
			say, _, _ := l.Error(code)
			if got := digits.ReplaceAllString(say, ""); got != want {
				t.Errorf("%s: %s says %s, the bound is %s", l, code, got, want)
			}
		}
	}
}

func number(n int) string {
	s := ""
	for ; n > 0; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return s
}

func TestSay(t *testing.T) {
	for _, c := range []struct {
		l    Language
		key  string
		want string
	}{
		{English, "status.running", "Palabre is running. Phones connected: {n"},
		{French, "status.running", "Palabre est en marche. Téléphones connectés : {n"},
		{"xx", "status.running", "Palabre is running. Phones connected: {n"},
		{French, "flag.title", "title"},
		{French, "no.such.key", "no.such.key"},
	} {
		if got := c.l.Say(c.key, "n", "{n"); got != c.want {
			t.Errorf("%s %s: %q", c.l, c.key, got)
		}
	}
	if got := English.Say("status.counts", "members", "{unsent}", "unsent", "1", "missing", "2"); !strings.Contains(got, "members: {unsent}") {
		t.Errorf("a value was filled again: %q", got)
	}
	if _, _, ok := French.Error("no_such_code"); ok {
		t.Error("a code without words has words")
	}
	if _, hint, ok := Arabic.Error("usage", "command", "palabre post"); !ok || hint != "palabre post --help" {
		t.Errorf("hint %q", hint)
	}
}

func TestPreferred(t *testing.T) {
	for _, c := range []struct {
		all, messages, lang, language string
		want                          string
		pick                          Language
	}{
		{"", "", "", "", "", English},
		{"C", "fr_FR", "fr_FR", "ar", "", English},
		{"POSIX", "", "", "", "", English},
		{"C.UTF-8", "", "fr_FR.UTF-8", "", "", English},
		{"", "", "fr_SN.UTF-8", "", "fr-SN", French},
		{"", "es_CO", "fr_FR", "", "es-CO", Spanish},
		{"ar_MA.UTF-8", "es_CO", "fr_FR", "", "ar-MA", Arabic},
		{"", "", "ti_ER", "ti:ar:fr", "ti ar fr ti-ER", Arabic},
		{"", "", "sr_RS@latin", "", "sr-Latn-RS", English},
		{"", "", "zh-TW", "zh_TW:zh_TW", "zh-TW", English},
		{"", "", "../../etc", "", "", English},
		{"", "", "en_US", "x:\x1b[2J:fr", "fr en-US", French},
		{"", "", "es", "aa:ab:ac:ad:ae:af:ag:ah:ai", "aa ab ac ad ae af ag es", Spanish},
		{"", "", strings.Repeat("f", 1000), "", "", English},
	} {
		env := func(name string) string {
			return map[string]string{"LC_ALL": c.all, "LC_MESSAGES": c.messages, "LANG": c.lang, "LANGUAGE": c.language}[name]
		}
		if got := strings.Join(Preferred(env), " "); got != c.want || Pick(env) != c.pick {
			t.Errorf("%+v: %q, %s", c, got, Pick(env))
		}
	}
}
