package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/ferry"
	"github.com/palabre-app/palabre/node/store"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// carries is the JSON line of ferry.
type carries struct {
	Event   string   `json:"event"`
	Addrs   []string `json:"addrs"`
	Figures string   `json:"figures,omitempty"`
}

// ferryCommand runs a letter carrier, which needs no profile.
func (f *face) ferryCommand() *cobra.Command {
	var cfg ferry.Config
	var total size
	c := f.command("ferry --dir DIR [--listen MULTIADDR]... [--tls-cert FILE --tls-key FILE] [--size 10GiB] [--closed] [--figures 127.0.0.1:9464]", "help.ferry", nil, func([]string) error {
		if cfg.Total = int64(total); len(cfg.Listen) == 0 {
			cfg.Listen = []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"}
			if cfg.Certificate != "" {
				cfg.Listen = append(cfg.Listen, "/ip4/0.0.0.0/tcp/443/tls/ws")
			}
		}
		return f.carry(cfg, true, func(x *ferry.Ferry) error {
			// As for run: a reader that never heard of the start would wait for ever.
			ctx, stop := context.WithCancelCause(f.ctx)
			defer stop(nil)
			err := x.Serve(ctx, func(addrs []string) {
				if err := f.carries(addrs, x.Figures(), cfg.Closed); err != nil {
					stop(err)
				}
			})
			if err == nil && f.ctx.Err() == nil {
				err = context.Cause(ctx)
			}
			return err
		})
	})
	c.PersistentFlags().StringVar(&cfg.Dir, "dir", "", f.flag("ferry.dir"))
	flags := c.Flags()
	flags.StringArrayVar(&cfg.Listen, "listen", nil, f.flag("ferry.listen"))
	flags.StringVar(&cfg.Certificate, "tls-cert", "", f.flag("ferry.tls-cert"))
	flags.StringVar(&cfg.Key, "tls-key", "", f.flag("ferry.tls-key"))
	f.sizeFlag(c, &total)
	flags.BoolVar(&cfg.Closed, "closed", false, f.flag("ferry.closed"))
	flags.StringVar(&cfg.Figures, "figures", "", f.flag("ferry.figures"))
	ticket := f.command("ticket", "help.ferry.ticket", nil, nil)
	ticket.AddCommand(f.ticketNewCommand(&cfg), f.ticketListCommand(&cfg), f.ticketEndCommand(&cfg))
	c.AddCommand(ticket, f.ferryImportCommand(&cfg))
	return required(c, "dir")
}

func (f *face) sizeFlag(c *cobra.Command, total *size) {
	*total = size(rules.DefaultLimits().Total)
	c.Flags().Var(total, "size", f.flag("ferry.size"))
}

// carry opens a letter carrier for as long as do lasts, and gives errors their codes.
func (f *face) carry(cfg ferry.Config, create bool, do func(*ferry.Ferry) error) error {
	if cfg.Dir == "" { // it would be the folder in which this was typed
		return usage("--dir is empty")
	}
	x, err := ferry.Open(cfg, create)
	if err == nil {
		err = errors.Join(do(x), x.Close())
	}
	if errors.Is(err, ferry.ErrFigures) {
		return usage("--figures is an address of this machine and a port, such as 127.0.0.1:9464")
	}
	for _, k := range []struct {
		err  error
		code string
	}{
		{ferry.ErrBroken, api.CodeCarrierDisk}, {ferry.ErrMissing, api.CodeCarrierMissing}, {ferry.ErrKey, api.CodeCarrierDamaged},
		{ferry.ErrListen, api.CodeCarrierAddress}, {ferry.ErrCertificate, api.CodeCarrierCertificate}, {ferry.ErrTicket, api.CodeUnknownTicket}, {store.ErrInUse, api.CodeCarrierInUse},
		{store.ErrDamaged, api.CodeCarrierDamaged}, {store.ErrFull, api.CodeCarrierDisk}, {store.ErrNewer, api.CodeNewerVersion},
		{syscall.ENOSPC, api.CodeCarrierDisk}, {os.ErrPermission, api.CodeFileUnreadable}, {syscall.ENOTDIR, api.CodeFileUnreadable},
	} {
		if errors.Is(err, k.err) {
			return code(k.code)
		}
	}
	return err
}

// carries says where the letter carrier can be reached.
func (f *face) carries(addrs []string, figures string, closed bool) error {
	if f.json {
		return writeJSON(f.out, carries{"ready", append([]string{}, addrs...), figures})
	}
	if len(addrs) == 0 {
		f.tell("ferry.nowhere")
	} else {
		f.tell("ferry.ready")
		for _, a := range addrs {
			fmt.Fprintln(f.out, "  "+line(a))
		}
		f.tell("ferry.name")
	}
	if closed {
		f.tell("ferry.closed")
	}
	if figures != "" {
		f.tell("ferry.figures", "address", "http://"+figures+"/metrics")
	}
	return nil
}

// ticketMade is the JSON of ferry ticket new.
type ticketMade struct {
	Ticket string `json:"ticket"` // what goes at the end of the address
	Key    string `json:"key"`
}

// ticketKey is a ticket in the JSON of ferry ticket list and end.
type ticketKey struct {
	Key string `json:"key"`
}

func (f *face) ticketNewCommand(cfg *ferry.Config) *cobra.Command {
	return required(f.command("new --dir DIR", "help.ferry.ticket.new", nil, func([]string) error {
		return f.carry(*cfg, false, func(x *ferry.Ferry) error {
			seed, err := x.NewTicket()
			if err != nil {
				return err
			}
			key := rules.TicketOf(seed)
			made := ticketMade{"#" + base64.RawURLEncoding.EncodeToString(seed[:]), hex.EncodeToString(key[:])}
			return f.print(made, func() {
				fmt.Fprintln(f.out, made.Ticket)
				// Beside the ticket, so that the output alone can be passed on.
				fmt.Fprintln(f.err, f.say("ferry.ticket"))
				fmt.Fprintln(f.err, f.say("ferry.ticket.end", "key", made.Key[:minShort]))
			})
		})
	}), "dir")
}

func (f *face) ticketListCommand(cfg *ferry.Config) *cobra.Command {
	return required(f.command("list --dir DIR", "help.ferry.ticket.list", nil, func([]string) error {
		return f.carry(*cfg, false, func(x *ferry.Ferry) error {
			list, err := x.Tickets()
			if err != nil {
				return err
			}
			keys := make([]ticketKey, len(list))
			for i, k := range list {
				keys[i].Key = hex.EncodeToString(k[:])
			}
			return f.print(keys, func() {
				if len(keys) == 0 {
					f.tell("ferry.tickets.none")
				}
				for _, k := range keys {
					fmt.Fprintln(f.out, k.Key)
				}
			})
		})
	}), "dir")
}

func (f *face) ticketEndCommand(cfg *ferry.Config) *cobra.Command {
	return required(f.command("end KEY --dir DIR", "help.ferry.ticket.end", cobra.ExactArgs(1), func(args []string) error {
		return f.carry(*cfg, false, func(x *ferry.Ferry) error {
			key, err := x.EndTicket(args[0])
			if err != nil {
				return err
			}
			return f.print(ticketKey{hex.EncodeToString(key[:])}, func() { f.tell("ferry.ticket.ended") })
		})
	}), "dir")
}

// ferryImported is the JSON of ferry import.
type ferryImported struct {
	Kept   int    `json:"kept"`
	NoRoom int    `json:"no_room"`
	Phones int    `json:"for_phones"`       // for members' phones alone
	Broken string `json:"broken,omitempty"` // as in api.BundleImported
}

func (f *face) ferryImportCommand(cfg *ferry.Config) *cobra.Command {
	var total size
	c := f.command("import FILE --dir DIR [--size 10GiB]", "help.ferry.import", cobra.ExactArgs(1), func(args []string) error {
		file, err := os.Open(args[0])
		if err != nil {
			return code(api.CodeFileUnreadable)
		}
		defer file.Close()
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			return code(api.CodeFileUnreadable)
		}
		cfg.Total = int64(total)
		return f.carry(*cfg, false, func(x *ferry.Ferry) error {
			got, err := x.Import(file)
			out := ferryImported{Kept: got.Kept, NoRoom: got.NoRoom, Phones: got.Members}
			switch found := out != (ferryImported{}); {
			case err == nil:
			case errors.Is(err, ferry.ErrBroken):
				return err
			case errors.Is(err, rules.ErrCutOff) && found:
				out.Broken = api.BrokenCutOff
			case errors.Is(err, rules.ErrNotBundle) && found:
				out.Broken = api.BrokenDamaged
			case errors.Is(err, rules.ErrCutOff), errors.Is(err, rules.ErrNotBundle):
				return code(api.CodeNotABundle)
			default:
				return code(api.CodeFileUnreadable)
			}
			return f.print(out, func() { f.tookIn(out, args[0]) })
		})
	})
	f.sizeFlag(c, &total)
	return required(c, "dir")
}

func (f *face) tookIn(got ferryImported, file string) {
	f.tell("ferry.imported", "kept", strconv.Itoa(got.Kept))
	if got.NoRoom > 0 {
		f.tell("ferry.imported.full", "n", strconv.Itoa(got.NoRoom))
	}
	if got.Phones > 0 {
		f.tell("ferry.imported.phones", "n", strconv.Itoa(got.Phones), "file", filepath.Base(file))
	}
	if got.Broken != "" {
		f.tell("bundle." + got.Broken)
	}
}
