package main

import (
	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

func (f *face) devicesCommand() *cobra.Command {
	var a api.DevicesArgs
	c := f.command("devices [MEMBER]", "help.devices", cobra.MaximumNArgs(1), func(args []string) error {
		if len(args) == 1 {
			a.Member = args[0]
		}
		return act(f, false, api.CommandDevices, a, f.devices)
	})
	var remove api.DeviceArgs
	c.AddCommand(f.groupFlag(f.command("remove DEVICE", "help.devices.remove", cobra.ExactArgs(1), func(args []string) error {
		remove.Device = args[0]
		return act(f, false, api.CommandDevicesRemove, remove, f.done("devices.removed"))
	}), &remove.Group))
	var set api.DevicesSetArgs
	c.AddCommand(f.groupFlag(f.command("set MEMBER DEVICE...", "help.devices.set", cobra.MinimumNArgs(2), func(args []string) error {
		set.Member, set.Devices = args[0], args[1:]
		return act(f, false, api.CommandDevicesSet, set, f.proposed)
	}), &set.Group))
	return f.groupFlag(c, &a.Group)
}

func (f *face) devices(list []api.Device) {
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	var rows [][]string
	for i, id := range shorten(ids) {
		d := list[i]
		mark := ""
		switch {
		case d.Removed:
			mark = f.say("device.removed")
		case d.Operating:
			mark = f.say("device.operating")
		}
		added := ""
		if d.Added != "" {
			added = day(d.Added)
		}
		self := ""
		if d.Self {
			self = f.say("device.self")
		}
		rows = append(rows, []string{id, added, mark, self})
	}
	f.table(rows)
}
