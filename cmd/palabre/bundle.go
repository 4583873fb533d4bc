package main

import (
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

// bundleCommand writes and reads files that somebody carries.
func (f *face) bundleCommand() *cobra.Command {
	c := f.command("bundle", "help.bundle", nil, nil)
	c.AddCommand(f.bundleExportCommand(), f.bundleImportCommand())
	return c
}

func (f *face) bundleExportCommand() *cobra.Command {
	var a api.BundleExportArgs
	var since span
	c := f.command("export FILE [--since 7d]", "help.bundle.export", cobra.ExactArgs(1), func(args []string) (err error) {
		if a.File, err = filepath.Abs(args[0]); err != nil {
			return code(api.CodeFileUnreadable)
		}
		a.SinceSeconds = since.seconds()
		return act(f, false, api.CommandBundleExport, a, func(b api.BundleExported) {
			f.tell("bundle.written", "items", strconv.Itoa(b.Items), "size", strconv.FormatInt((b.Bytes+1_023)/1_024, 10), "file", line(b.File))
			f.tell("bundle.carry", "file", line(filepath.Base(b.File)))
		})
	})
	_ = since.Set("7d")
	c.Flags().Var(&since, "since", f.flag("since"))
	return f.groupFlag(c, &a.Group)
}

func (f *face) bundleImportCommand() *cobra.Command {
	return f.command("import FILE", "help.bundle.import", cobra.ExactArgs(1), func(args []string) error {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return code(api.CodeFileUnreadable)
		}
		return act(f, false, api.CommandBundleImport, api.BundleImportArgs{File: path}, func(b api.BundleImported) {
			switch {
			case b.New > 0:
				f.tell("bundle.new", "items", strconv.Itoa(b.New))
			case b.Known > 0:
				f.tell("bundle.nothing_new")
			default:
				f.tell("bundle.for_others")
			}
			if b.Broken != "" {
				f.tell("bundle." + b.Broken)
			}
		})
	})
}
