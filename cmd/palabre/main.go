// Command palabre is the node, and the way to command it from a terminal.
//
// Start with `palabre init --name NAME`, then `palabre run`. The other commands
// talk to the palabre that runs on the profile, or, where none runs, open the
// profile themselves; join, connect and watch need one that runs.
//
// Promised to programs: with --json a command prints one JSON document (watch:
// one line an event) and asks nothing; an error is {"error","hint","code"} on
// standard error with exit code 1, or 2 if the command line is at fault. What
// people read is in their language where there are words for it, and nothing
// that came from others can command their terminal.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // phones and small systems may have no zones of their own
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends what runs; a second one ends the process.
	context.AfterFunc(ctx, stop)
	f := &face{
		ctx: ctx, args: os.Args[1:], env: os.Getenv,
		in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: openTerminal,
	}
	os.Exit(f.run())
}
