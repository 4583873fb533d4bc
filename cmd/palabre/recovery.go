package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
)

func (f *face) recoveryCommand() *cobra.Command {
	var a api.GroupArgs
	c := f.command("recovery", "help.recovery", nil, func([]string) error {
		return act(f, false, api.CommandRecovery, a, func(r api.Recovery) {
			if r.Exists {
				f.tell("recovery.exists")
				return
			}
			f.tell("recovery.none")
		})
	})
	c.AddCommand(f.recoveryNew(), f.recoveryEnd(), f.recoveryUse())
	return f.groupFlag(c, &a.Group)
}

// recoveryNew draws the key of a paper. The words are shown once, on the terminal
// or in a file of the person's choice; only the public half goes any further.
func (f *face) recoveryNew() *cobra.Command {
	var a api.RecoverySetArgs
	var file string
	c := f.command("new [--words-file FILE]", "help.recovery.new", nil, func([]string) error {
		key, err := identity.NewRecoveryKey(rand.Reader)
		if err != nil {
			return err
		}
		public := key.Public()
		a.Key = hex.EncodeToString(public[:])
		undo := func() {}
		if file != "" {
			if err := writeWords(file, key.Paper()); err != nil {
				return err
			}
			undo = func() { _ = os.Remove(file) }
		} else if err := f.showWords(key.Paper()); err != nil {
			return err
		}
		err = act(f, false, api.CommandRecoverySet, a, func(p api.Proposed) {
			f.tell("recovery.keep")
			f.proposed(p)
		})
		switch api.CodeOf(err) {
		case "", api.CodeInterrupted, api.CodeInternal, api.CodeDiskFailed:
			// It may have been saved: whoever throws the words away then has no paper.
		default:
			undo()
		}
		return err
	})
	c.Flags().StringVar(&file, "words-file", "", f.flag("words-file.new"))
	return f.groupFlag(c, &a.Group)
}

func (f *face) recoveryEnd() *cobra.Command {
	var a api.RecoverySetArgs
	c := f.command("end", "help.recovery.end", nil, func([]string) error {
		return act(f, false, api.CommandRecoverySet, a, f.proposed)
	})
	return f.groupFlag(c, &a.Group)
}

func (f *face) recoveryUse() *cobra.Command {
	var a api.RecoveryUseArgs
	var file string
	c := f.command("use PROPOSAL [--words-file FILE]", "help.recovery.use", cobra.ExactArgs(1), func(args []string) error {
		a.Proposal = args[0]
		typed, err := f.typedWords(file)
		if err != nil {
			return err
		}
		key, err := identity.ParsePaper(typed)
		if err != nil {
			return code(api.CodeRecoveryWords)
		}
		a.Words = key.Paper()
		return act(f, false, api.CommandRecoveryUse, a, f.proposed)
	})
	c.Flags().StringVar(&file, "words-file", "", f.flag("words-file.use"))
	return f.groupFlag(c, &a.Group)
}

// showWords shows the words on the terminal, and waits until the last one was
// typed back: a paper that nobody wrote is worse than none.
func (f *face) showWords(words string) error {
	t, err := f.askWords()
	if err != nil {
		return err
	}
	defer t.Close()
	list := strings.Fields(words)
	var b strings.Builder
	for i := 0; i < len(list); i += 7 {
		b.WriteString("    " + strings.Join(list[i:min(i+7, len(list))], " ") + "\n")
	}
	if _, err := io.WriteString(t, f.say("recovery.words")+"\n\n"+b.String()+"\n"+f.say("recovery.write")+"\n\n"); err != nil {
		return code(api.CodeRecoveryWordsNeeded)
	}
	typed, err := f.question(t, "recovery.again")
	if err != nil {
		return err
	}
	defer clear(typed)
	if strings.ToLower(strings.TrimSpace(string(typed))) != list[len(list)-1] {
		return code(api.CodeRecoveryWords)
	}
	return nil
}

// typedWords reads the words of a paper: from a file, the input for "-", or by
// asking. They are never an argument, which other users of a machine see.
func (f *face) typedWords(file string) (string, error) {
	if file != "" {
		return f.read(file)
	}
	t, err := f.askWords()
	if err != nil {
		return "", err
	}
	defer t.Close()
	typed, err := f.question(t, "recovery.ask")
	defer clear(typed)
	return string(typed), err
}

func (f *face) askWords() (terminal, error) {
	if f.json {
		return nil, code(api.CodeRecoveryWordsNeeded)
	}
	t, err := f.terminal()
	if err != nil {
		return nil, code(api.CodeRecoveryWordsNeeded)
	}
	return t, nil
}

// writeWords writes the words to a new file that nobody else can read.
func writeWords(name, words string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return code(api.CodeRecoveryFile)
	}
	_, err = file.WriteString(words + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(name)
		return code(api.CodeRecoveryFile)
	}
	return nil
}
