package main

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
)

// minOwn is the fewest bytes of a passphrase of somebody's own. It stops what a
// laboratory tries within the hour, no more; the six words are what is advised.
const minOwn = 12

// terminal is where a person is asked.
type terminal interface {
	io.Writer
	secret() ([]byte, error) // reads one line without showing it
	Close() error
}

// console is the terminal of the process.
type console struct{ *os.File }

// openTerminal opens the terminal for a question. It works where input and
// output are pipes, and fails where nobody sits.
func openTerminal() (terminal, error) {
	t, err := os.OpenFile(terminalName, os.O_RDWR, 0)
	if err != nil {
		return nil, code(api.CodePassphraseNeeded)
	}
	return console{t}, nil
}

func (c console) secret() ([]byte, error) {
	b, err := term.ReadPassword(int(c.Fd()))
	_, _ = io.WriteString(c.File, "\n")
	return b, err
}

// passphrase returns the passphrase of the profile, from the file or by asking.
// The caller clears it.
func (f *face) passphrase() ([]byte, error) {
	if name := f.passphraseFile(); name != "" {
		return readPassphrase(name)
	}
	t, err := f.ask()
	if err != nil {
		return nil, err
	}
	defer t.Close()
	return f.question(t, "passphrase.ask")
}

// newPassphrase returns the passphrase for a new profile: from the file, or the
// six words that are offered, or one of the person's own, typed twice.
func (f *face) newPassphrase() ([]byte, error) {
	if name := f.passphraseFile(); name != "" {
		return readPassphrase(name)
	}
	t, err := f.ask()
	if err != nil {
		return nil, err
	}
	defer t.Close()
	words, err := identity.NewPassphrase(rand.Reader)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(t, f.say("init.words")+"\n\n    "+words+"\n\n"+f.say("init.write")+"\n\n")
	if err != nil {
		return nil, code(api.CodePassphraseNeeded)
	}
	typed, err := f.question(t, "init.again")
	if err != nil {
		return nil, err
	}
	// However the words were spaced or written large, they were written down.
	if strings.Join(strings.Fields(strings.ToLower(string(typed))), " ") == words {
		clear(typed)
		return []byte(words), nil
	}
	if len(typed) < minOwn {
		clear(typed)
		return nil, code(api.CodePassphraseUnusable)
	}
	again, err := f.question(t, "init.repeat")
	if err != nil {
		clear(typed)
		return nil, err
	}
	defer clear(again)
	if subtle.ConstantTimeCompare(typed, again) != 1 {
		clear(typed)
		return nil, code(api.CodePassphraseMismatch)
	}
	return typed, nil
}

func (f *face) passphraseFile() string {
	if f.passfile != "" {
		return f.passfile
	}
	return f.env("PALABRE_PASSPHRASE_FILE")
}

// ask opens the terminal. A program that asked for JSON is never asked back.
func (f *face) ask() (terminal, error) {
	if f.json {
		return nil, code(api.CodePassphraseNeeded)
	}
	return f.terminal()
}

func (f *face) question(t terminal, key string) ([]byte, error) {
	if _, err := io.WriteString(t, f.say(key)); err != nil {
		return nil, code(api.CodePassphraseNeeded)
	}
	b, err := t.secret()
	if err != nil {
		clear(b)
		return nil, code(api.CodeInterrupted)
	}
	return usable(b)
}

// readPassphrase reads the file; one newline at its end is not part of it.
func readPassphrase(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, code(api.CodePassphraseUnreadable)
	}
	defer file.Close()
	// Two bytes for the newline, one to see that it is too long.
	b, err := io.ReadAll(io.LimitReader(file, identity.MaxPassphrase+3))
	if err != nil {
		clear(b)
		return nil, code(api.CodePassphraseUnreadable)
	}
	cut, found := bytes.CutSuffix(b, []byte("\n"))
	if found {
		cut = bytes.TrimSuffix(cut, []byte("\r"))
	}
	return usable(cut)
}

func usable(b []byte) ([]byte, error) {
	if len(b) == 0 || len(b) > identity.MaxPassphrase {
		clear(b)
		return nil, code(api.CodePassphraseUnusable)
	}
	return b, nil
}
