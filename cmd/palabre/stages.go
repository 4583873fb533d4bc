package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

func (f *face) demoCommand() *cobra.Command {
	var keep string
	c := f.command("demo [seized] [--keep DIR]", "help.demo", cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs), func(args []string) error {
		out := f.out
		if f.json {
			out = io.Discard
		}
		if err := demo(out, keep, len(args) > 0); err != nil {
			return err
		}
		return f.print(api.Done{Done: true}, func() {})
	})
	c.ValidArgs = []string{"seized"}
	c.Flags().StringVar(&keep, "keep", "", f.flag("keep"))
	return c
}

// benchCommand reads its own flags, as the harness writes them with one dash.
func (f *face) benchCommand() *cobra.Command {
	c := f.command("bench-node", "help.bench-node", cobra.ArbitraryArgs, func(args []string) error {
		return benchNode(args, f.in, f.out)
	})
	c.Hidden, c.DisableFlagParsing = true, true
	return c
}
