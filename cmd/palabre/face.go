package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/text"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// face is one run of the program: where it reads and writes, and what the flags
// for all commands say.
type face struct {
	ctx      context.Context
	args     []string
	env      func(string) string
	in       io.Reader
	out, err io.Writer
	terminal func() (terminal, error) // to ask for a passphrase

	language text.Language
	json     bool
	profile  string
	passfile string
	inUsed   bool // the input was read already
}

// run does what the arguments say and returns the exit code.
func (f *face) run() int {
	f.language = text.Pick(f.env)
	root := f.root()
	root.SetArgs(f.args)
	root.SetOut(f.out)
	root.SetErr(f.err)
	at, err := root.ExecuteContextC(f.ctx)
	if err == nil {
		return exitDone
	}
	return f.fail(at, err)
}

// asksJSON says whether the arguments hold --json. It is for those that could not
// be read as far as that.
func (f *face) asksJSON() bool {
	flags := f.args
	if i := slices.Index(flags, "--"); i >= 0 {
		flags = flags[:i]
	}
	return slices.Contains(flags, "--json") || slices.Contains(flags, "--json=true")
}

// root builds the tree of commands.
func (f *face) root() *cobra.Command {
	root := f.command("palabre", "help.palabre", nil, nil)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err.Error()) })
	all := root.PersistentFlags()
	all.StringVar(&f.profile, "profile", "", f.flag("profile"))
	all.StringVar(&f.passfile, "passphrase-file", "", f.flag("passphrase-file"))
	all.BoolVar(&f.json, "json", false, f.flag("json"))
	root.AddCommand(f.initCommand(), f.runCommand(), f.statusCommand(), f.connectCommand(), f.dataCommand(), f.fetchCommand(), f.versionCommand(),
		f.groupCommand(), f.inviteCommand(), f.joinCommand(), f.requestsCommand(), f.approveCommand(),
		f.membersCommand(), f.removeCommand(), f.grantCommand(), f.leaveCommand(),
		f.organisersCommand(), f.suspendCommand(), f.reinstateCommand(), f.expelCommand(), f.voteCommand(),
		f.devicesCommand(), f.policyCommand(), f.recoveryCommand(), f.changesCommand(),
		f.postCommand(), f.editCommand(), f.cancelCommand(), f.pinCommand(), f.heldCommand(), f.sendNowCommand(), f.noticesCommand(), f.showCommand(), f.watchCommand(), f.bundleCommand(),
		f.ferryCommand(), f.demoCommand(), f.benchCommand())
	return root
}

// command makes one command. Without run it only groups others.
func (f *face) command(use, help string, args cobra.PositionalArgs, run func(args []string) error) *cobra.Command {
	c := &cobra.Command{Use: use, Short: f.say(help), DisableFlagsInUseLine: true}
	c.Args = func(c *cobra.Command, given []string) error {
		if args == nil {
			args = cobra.NoArgs
			if run == nil && len(given) > 0 {
				return usage(fmt.Sprintf("unknown command %q for %q", given[0], c.CommandPath()))
			}
		}
		if err := args(c, given); err != nil {
			return usage(err.Error())
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, given []string) error {
		if run != nil {
			return run(given)
		}
		if c.HasParent() {
			return usage("a command is missing after " + c.CommandPath())
		}
		return c.Help()
	}
	return c
}

func (f *face) say(key string, pairs ...string) string { return f.language.Say(key, pairs...) }

// flag says what a flag is for.
func (f *face) flag(key string) string { return f.say("flag." + key) }

// usageError is a command line that cannot be read. It holds what cobra says of
// it, in English.
type usageError struct{ detail string }

func (e *usageError) Error() string { return e.detail }

func usage(detail string) error { return &usageError{detail} }

// fail tells of an error and returns the exit code. All errors end here.
func (f *face) fail(at *cobra.Command, err error) int {
	exit := exitFailed
	told := f.worded(err)
	var u *usageError
	if errors.As(err, &u) {
		exit = exitUsage
		f.json = f.json || f.asksJSON()
		told.Code = api.CodeUsage
		told.Text, told.Hint, _ = f.language.Error(api.CodeUsage, "detail", u.detail, "command", at.CommandPath())
	}
	if f.json {
		// Nothing is left to do if this cannot be written either.
		_ = writeJSON(f.err, told)
		return exit
	}
	fmt.Fprintf(f.err, "palabre: %s\n", line(told.Text))
	if told.Hint != "" {
		fmt.Fprintf(f.err, "  %s: %s\n", f.say("hint"), line(told.Hint))
	}
	return exit
}

// worded gives an error its words for people, by its code. What has no code is a
// fault, which is told as it is: it happened on this machine.
func (f *face) worded(err error) *api.Error {
	e := new(api.Error)
	switch {
	case errors.As(err, &e):
		copied := *e
		e = &copied
	case errors.Is(err, context.Canceled):
		e = &api.Error{Code: api.CodeInterrupted, Text: err.Error()}
	default:
		e = &api.Error{Code: api.CodeInternal, Text: err.Error()}
	}
	if say, hint, ok := f.language.Error(e.Code, "detail", e.Text); ok {
		e.Text, e.Hint = say, hint
	}
	return e
}

// code is an error of this program itself; worded gives it its words.
func code(c string) error { return &api.Error{Code: c, Text: c} }

// dir returns the folder of the profile, as a whole path.
func (f *face) dir() (string, error) {
	dir := f.profile
	if dir == "" {
		dir = f.env("PALABRE_PROFILE")
	}
	if dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("find the folder of the profile: %w", err)
		}
		dir = filepath.Join(base, "palabre")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the folder of the profile: %w", err)
	}
	return dir, nil
}

// maxInput bounds what is read from a file or the input.
const maxInput = 1 << 20

// read returns the content of a file, or of the input for "-", which can be read
// once. It must be text of at most maxInput bytes.
func (f *face) read(name string) (string, error) {
	from := f.in
	if name == "-" {
		if f.inUsed {
			return "", usage("the input (-) can be read once only")
		}
		f.inUsed = true
	} else {
		file, err := os.Open(name)
		if err != nil {
			return "", code(api.CodeFileUnreadable)
		}
		defer file.Close()
		from = file
	}
	b, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	if err != nil {
		return "", code(api.CodeFileUnreadable)
	}
	if len(b) > maxInput {
		return "", code(api.CodeTextTooLong)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n"), nil
}
