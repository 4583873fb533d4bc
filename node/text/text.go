// Package text is what palabre says to people: every sentence and hint, by key,
// in the languages that it speaks. The words are in languages/*.json.
//
// Start with Pick, then Say and Error:
//
//	l := text.Pick(os.Getenv)
//	fmt.Println(l.Say("status.running", "n", "3"))
//
// Promised: English has every key; what another language lacks is said in
// English. A language uses the same {fields} as English. The words are
// those of people: group, phone, invite; no word of the network's inside.
package text

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed languages/*.json
var files embed.FS

// Language is a language that palabre speaks, as its BCP 47 code.
type Language string

// The languages of the interface. Notices may be in any language.
const (
	English Language = "en"
	French  Language = "fr"
	Spanish Language = "es"
	Arabic  Language = "ar"
)

// Languages returns all languages of the interface, English first.
func Languages() []Language { return []Language{English, French, Spanish, Arabic} }

// problem is an error in words.
type problem struct {
	Say  string `json:"say"`
	Hint string `json:"hint"`
}

// catalogue is what one language says.
type catalogue struct {
	Errors map[string]problem `json:"errors"` // by api code
	Say    map[string]string  `json:"say"`    // by key
}

// catalogues reads the embedded words once. They are part of the program, so
// that a fault in them is a fault of the build.
var catalogues = sync.OnceValue(func() map[Language]*catalogue {
	all := map[Language]*catalogue{}
	for _, l := range Languages() {
		b, err := files.ReadFile("languages/" + string(l) + ".json")
		if err == nil {
			all[l] = new(catalogue)
			err = json.Unmarshal(b, all[l])
		}
		if err != nil {
			panic(fmt.Sprintf("text: the words of %s: %v", l, err))
		}
	}
	return all
})

// Say returns the sentence of a key. Pairs are the names and values of its
// fields. Values are put in as they are: whoever shows a sentence makes it
// safe for its screen. A key that nobody has is returned itself.
func (l Language) Say(key string, pairs ...string) string {
	for _, l := range []Language{l, English} {
		if c := catalogues()[l]; c != nil && c.Say[key] != "" {
			return fill(c.Say[key], pairs)
		}
	}
	return key
}

// Has says whether the key has a sentence.
func Has(key string) bool { return catalogues()[English].Say[key] != "" }

// Error returns what a person is told for a code of package api, and what to
// type or do about it. For a code that has no words, ok is false.
func (l Language) Error(code string, pairs ...string) (sentence, hint string, ok bool) {
	for _, l := range []Language{l, English} {
		if c := catalogues()[l]; c != nil {
			if p, found := c.Errors[code]; found {
				return fill(p.Say, pairs), fill(p.Hint, pairs), true
			}
		}
	}
	return "", "", false
}

// Codes returns the codes that have words, sorted.
func Codes() []string {
	var codes []string
	for c := range catalogues()[English].Errors {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	return codes
}

// fill replaces {name} by its value in one pass, so that a value with braces
// stays as it is.
func fill(s string, pairs []string) string {
	var swap []string
	for i := 0; i+1 < len(pairs); i += 2 {
		swap = append(swap, "{"+pairs[i]+"}", pairs[i+1])
	}
	return strings.NewReplacer(swap...).Replace(s)
}
