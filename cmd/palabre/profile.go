package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node"
	"github.com/palabre-app/palabre/node/api"
)

// made is the JSON of init.
type made struct {
	Profile string `json:"profile"`
}

func (f *face) initCommand() *cobra.Command {
	var name string
	c := f.command("init --name NAME", "help.init", nil, func([]string) error {
		dir, err := f.dir()
		if err != nil {
			return err
		}
		if _, err := api.Dial(dir); err == nil {
			return code(api.CodeProfileExists)
		}
		pass, err := f.newPassphrase()
		if err != nil {
			return err
		}
		defer clear(pass)
		if err := node.Create(dir, name, pass); err != nil {
			return err
		}
		return f.print(made{dir}, func() { f.tell("init.done", "dir", dir) })
	})
	c.Flags().StringVar(&name, "name", "", f.flag("init.name"))
	return required(c, "name")
}

// ready is the JSON line of run.
type ready struct {
	Event string   `json:"event"`
	Addrs []string `json:"addrs"`
}

func (f *face) runCommand() *cobra.Command {
	var listen []string
	var proxy string
	var lan, careful, saver bool
	c := f.command("run [--listen MULTIADDR]... [--lan] [--proxy HOST:PORT] [--careful] [--saver]", "help.run", nil, func([]string) error {
		switch {
		case saver && len(listen) > 0:
			return usage("--listen and --saver exclude each other")
		case saver && lan:
			return usage("--lan and --saver exclude each other")
		case saver && careful:
			return usage("--careful and --saver exclude each other")
		}
		dir, err := f.dir()
		if err != nil {
			return err
		}
		switch _, err := api.Dial(dir); {
		case err == nil:
			return code(api.CodeAlreadyRunning)
		case !errors.Is(err, api.ErrNotRunning):
			return err
		}
		if err := f.profileThere(dir); err != nil {
			return err
		}
		n, err := f.openNode(node.Config{Dir: dir, Listen: listen, LAN: lan, Proxy: proxy, Careful: careful, Saver: saver})
		if err != nil {
			return err
		}
		// A reader that went away is no reason to stop carrying messages, but one
		// that never heard of the start would wait for ever.
		ctx, stop := context.WithCancelCause(f.ctx)
		defer stop(nil)
		err = n.Run(ctx, func(addrs []string) {
			if err := f.ready(addrs, saver); err != nil {
				stop(err)
			}
		})
		if err == nil && f.ctx.Err() == nil {
			err = context.Cause(ctx)
		}
		return errors.Join(err, n.Close())
	})
	c.Flags().StringArrayVar(&listen, "listen", nil, f.flag("listen"))
	c.Flags().BoolVar(&lan, "lan", false, f.flag("lan"))
	c.Flags().StringVar(&proxy, "proxy", "", f.flag("proxy"))
	c.Flags().BoolVar(&careful, "careful", false, f.flag("careful"))
	c.Flags().BoolVar(&saver, "saver", false, f.flag("saver"))
	return c
}

// ready says that the node can be reached, or that it saves data.
func (f *face) ready(addrs []string, saver bool) error {
	if f.json {
		return writeJSON(f.out, ready{"ready", append([]string{}, addrs...)})
	}
	if saver {
		f.tell("run.saver")
		return nil
	}
	if len(addrs) == 0 {
		f.tell("run.nowhere")
		return nil
	}
	f.tell("run.ready")
	for _, a := range addrs {
		fmt.Fprintln(f.out, "  "+line(a))
	}
	return nil
}

func (f *face) statusCommand() *cobra.Command {
	return f.command("status", "help.status", nil, func([]string) error {
		return act(f, false, api.CommandStatus, nil, f.status)
	})
}

func (f *face) status(s api.Status) {
	if s.Running {
		f.tell("status.running", "n", strconv.Itoa(s.Peers))
	} else {
		f.tell("status.stopped")
	}
	if s.Saver {
		f.tell("status.saver")
	}
	if len(s.Groups) == 0 {
		f.tell("status.nogroup")
	}
	if s.Data != nil {
		defer func() {
			fmt.Fprintln(f.out)
			f.data(*s.Data)
		}()
	}
	ids := make([]string, len(s.Groups))
	for i, g := range s.Groups {
		ids[i] = g.ID
	}
	ids = shorten(ids)
	for i, g := range s.Groups {
		name := line(g.Name)
		if name == "" {
			name = f.say("status.joining")
		}
		fmt.Fprintf(f.out, "\n%s  %s\n  ", ids[i], name)
		f.tell("status.counts", "members", strconv.Itoa(g.Members), "unsent", strconv.Itoa(g.Unsent), "missing", strconv.Itoa(g.Missing))
		f.trouble(g)
	}
}

// trouble tells what keeps a group from being as it should, and what to type.
func (f *face) trouble(g api.GroupStatus) {
	tell := func(key string, pairs ...string) {
		fmt.Fprint(f.out, "  ")
		f.tell(key, pairs...)
	}
	if g.Removed {
		tell("watch.removed")
		return
	}
	for _, p := range g.Suspended {
		tell("status.suspended", "who", f.who(&p))
	}
	switch {
	case g.Alarm:
		tell("organisers.alarm")
	case g.Waiting && g.Because != nil:
		tell("status.because", "what", f.change(*g.Because))
	case g.Waiting:
		tell("status.waiting")
	}
	if len(g.RenewedBy) > 0 && g.OthersRenew {
		tell("status.renewed", "who", f.names(g.RenewedBy))
	} else if len(g.RenewedBy) > 0 {
		tell("status.renewed_only", "who", f.names(g.RenewedBy))
	}
	if g.Held > 0 {
		tell("status.held", "n", strconv.Itoa(g.Held))
	}
	for _, c := range g.Carriers {
		if c.Unreached {
			tell("status.carrier_away", "address", line(c.Address))
		}
		if c.Faults > 0 {
			tell("status.carrier_lies", "address", line(c.Address), "n", strconv.Itoa(c.Faults))
		}
	}
}

func (f *face) connectCommand() *cobra.Command {
	return f.command("connect MULTIADDR", "help.connect", cobra.ExactArgs(1), func(args []string) error {
		return act(f, true, api.CommandConnect, api.ConnectArgs{Addr: args[0]}, f.done("connect.done"))
	})
}

// done prints one sentence for a command that returns nothing else.
func (f *face) done(key string) func(api.Done) { return func(api.Done) { f.tell(key) } }

// version is the JSON of version.
type version struct {
	Version string `json:"version"`
}

func (f *face) versionCommand() *cobra.Command {
	return f.command("version", "help.version", nil, func([]string) error {
		v := version{"devel"}
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		return f.print(v, func() { fmt.Fprintln(f.out, "palabre "+v.Version) })
	})
}

// required makes flags that a command cannot do without.
func required(c *cobra.Command, flags ...string) *cobra.Command {
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		for _, name := range flags {
			if !c.Flags().Changed(name) {
				return usage("--" + name + " is missing")
			}
		}
		return run(c, args)
	}
	return c
}
