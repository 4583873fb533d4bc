package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/text"
)

// typist sits at a terminal: reads what it says, and types.
type typist struct {
	strings.Builder
	types func(seen string) []byte // nil ends the input
}

func (p *typist) secret() ([]byte, error) {
	if b := p.types(p.String()); b != nil {
		return b, nil
	}
	return nil, io.EOF
}

func (p *typist) Close() error { return nil }

func asked(p *typist) *face {
	return &face{ctx: context.Background(), env: func(string) string { return "" }, language: text.English,
		terminal: func() (terminal, error) { return p, nil }}
}

var offered = regexp.MustCompile(`\n\n    ((?:[a-z-]+ ){5}[a-z-]+)\n\n`)

func TestInitOffersSixWords(t *testing.T) {
	var first string
	for _, how := range []func(string) string{
		func(s string) string { return s },
		func(s string) string { return " " + strings.ToUpper(strings.ReplaceAll(s, " ", "  ")) + " " },
	} {
		var words string
		p := &typist{types: func(seen string) []byte {
			m := offered.FindStringSubmatch(seen)
			if m == nil {
				t.Fatalf("no six words in %q", seen)
			}
			words = m[1]
			return []byte(how(words))
		}}
		got, err := asked(p).newPassphrase()
		if err != nil || string(got) != words || words == first {
			t.Errorf("got %q for %q, %v", got, words, err)
		}
		if !strings.Contains(p.String(), "Write them on paper") {
			t.Error("nobody was told to write them down")
		}
		first = words
	}
}

func TestInitTakesAPassphraseOfOnesOwn(t *testing.T) {
	for _, c := range []struct {
		typed []string
		code  string
	}{
		{[]string{"a sentence of mine", "a sentence of mine"}, ""},
		{[]string{"a sentence of mine", "a sentence of mine "}, api.CodePassphraseMismatch},
		{[]string{"eleven byte"}, api.CodePassphraseUnusable},
		{[]string{""}, api.CodePassphraseUnusable},
		{[]string{strings.Repeat("x", 1025)}, api.CodePassphraseUnusable},
		{nil, api.CodeInterrupted},
		{[]string{"a sentence of mine"}, api.CodeInterrupted},
	} {
		rest := c.typed
		p := &typist{types: func(string) []byte {
			if len(rest) == 0 {
				return nil
			}
			b := []byte(rest[0])
			rest = rest[1:]
			return b
		}}
		got, err := asked(p).newPassphrase()
		if api.CodeOf(err) != c.code || err == nil && string(got) != c.typed[0] {
			t.Errorf("%.20q: %q, %v", c.typed, got, err)
		}
	}
}

func TestJSONIsNeverAsked(t *testing.T) {
	p := &typist{types: func(string) []byte { t.Error("asked"); return nil }}
	f := asked(p)
	f.json = true
	for _, ask := range []func() ([]byte, error){f.passphrase, f.newPassphrase} {
		if _, err := ask(); api.CodeOf(err) != api.CodePassphraseNeeded || p.Len() > 0 {
			t.Errorf("got %v, %q", err, p.String())
		}
	}
}

func TestFaultsOfThisMachineAreTold(t *testing.T) {
	f := asked(nil)
	e := f.worded(errors.New("the disk said no"))
	if e.Code != api.CodeInternal || !strings.Contains(e.Text, "the disk said no") || e.Hint == "" {
		t.Errorf("%+v", e)
	}
	if e := f.worded(context.Canceled); e.Code != api.CodeInterrupted {
		t.Errorf("%+v", e)
	}
}
