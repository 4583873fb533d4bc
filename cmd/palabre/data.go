package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

// allowance is how much data a day may cost, as people buy it: 20MB or 1GB, of a
// thousand each; 0 stands for "none".
type allowance int64

var errAllowance = errors.New("write how much as 20MB or 1GB, from 1MB on, or none")

var dataUnits = []struct {
	name  string
	bytes int64
}{{"GB", 1_000_000_000}, {"MB", 1_000_000}}

// Set reads one.
func (a *allowance) Set(typed string) error {
	if typed == "none" {
		*a = 0
		return nil
	}
	for _, u := range dataUnits {
		digits, ok := strings.CutSuffix(typed, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 20)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != digits {
			return errAllowance
		}
		*a = allowance(int64(n) * u.bytes)
		return nil
	}
	return errAllowance
}

// String writes it as people type it, or nothing for none.
func (a *allowance) String() string {
	for _, u := range dataUnits {
		if n := int64(*a); n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return ""
}

// Type names the value in the help text.
func (a *allowance) Type() string { return "SIZE" }

func (f *face) dataCommand() *cobra.Command {
	var a allowance
	var c *cobra.Command
	c = f.command("data [--cap SIZE|none]", "help.data", nil, func([]string) error {
		if !c.Flags().Changed("cap") {
			return act(f, false, api.CommandData, nil, f.data)
		}
		return act(f, false, api.CommandDataSet, api.DataSetArgs{CapBytes: int64(a)}, f.data)
	})
	c.Flags().Var(&a, "cap", f.flag("cap"))
	return c
}

func (f *face) fetchCommand() *cobra.Command {
	return f.command("fetch", "help.fetch", nil, func([]string) error {
		return act(f, true, api.CommandFetch, nil, f.done("fetch.done"))
	})
}

// data prints what the network cost, and how much it may.
func (f *face) data(d api.Data) {
	for _, x := range []struct {
		key string
		use api.DataUse
	}{{"data.today", d.Today}, {"data.month", d.Month}} {
		u := x.use
		all := [4]int64{volume(u.Letters), volume(u.Comparing), volume(u.Carriers), volume(u.Connections)}
		f.tell(x.key, "all", megabytes(all[0]+all[1]+all[2]+all[3]), "letters", megabytes(all[0]), "comparing", megabytes(all[1]),
			"carriers", megabytes(all[2]), "connections", megabytes(all[3]))
	}
	if d.CapBytes > 0 {
		f.tell("data.cap", "cap", megabytes(d.CapBytes))
	}
	f.dataTrouble(d)
}

// dataTrouble says that the data of a day is used up, or nearly.
func (f *face) dataTrouble(d api.Data) {
	until := line(d.Until)
	if at, err := time.Parse(time.RFC3339, d.Until); err == nil {
		until = at.Local().Format("15:04")
	}
	switch {
	case d.Reached:
		f.tell("data.reached", "cap", megabytes(d.CapBytes), "until", until)
	case d.Low:
		f.tell("data.low", "cap", megabytes(d.CapBytes), "until", until)
	}
}

func volume(v api.DataVolume) int64 { return v.In + v.Out }

// megabytes writes a number of bytes as people know it from their plan.
func megabytes(n int64) string {
	switch {
	case n >= 99_500_000:
		return fmt.Sprintf("%d MB", (n+500_000)/1_000_000)
	case n >= 1_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d kB", (n+999)/1_000)
}
