package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/text"
)

func (f *face) watchCommand() *cobra.Command {
	return f.command("watch", "help.watch", nil, func([]string) error {
		s, err := f.open(true)
		if err != nil {
			return err
		}
		return s.Watch(f.ctx, f.event)
	})
}

// event tells of one event: a line of JSON, or a sentence.
func (f *face) event(e api.Event) error {
	if f.json {
		// What is printed unasked names nobody: "changes" tells who did what.
		e.Change, e.Stands, e.Told = nil, nil, false
		return writeJSON(f.out, e)
	}
	if e.Change != nil {
		said := f.change(*e.Change)
		if e.Stands != nil {
			said += " - " + f.stands(*e.Stands, nil) + ": palabre vote " + shorten([]string{e.Stands.ID})[0]
		}
		_, err := fmt.Fprintln(f.out, said)
		return err
	}
	key := "watch." + e.Event
	if e.Told || !text.Has(key) {
		return nil // said better by another event, or of a newer version
	}
	_, err := fmt.Fprintln(f.out, f.say(key, "id", shorten([]string{e.ID})[0]))
	return err
}
