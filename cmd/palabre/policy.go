package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/palabre-app/palabre/node/api"
)

func (f *face) policyCommand() *cobra.Command {
	var a api.PolicySetArgs
	var posting, history, risk, alerts string
	var period, keep int
	var carriers []string
	var c *cobra.Command
	c = f.command("policy [--posting all|authors|organisers] [--period DAYS] [--keep DAYS] [--history none|pinned] [--high-risk on|off]"+
		" [--alerts-while-renewing on|off] [--carrier ADDRESS|none]...", "help.policy", nil, func([]string) error {
		asked := false
		given := func(flag string) bool {
			if !c.Flags().Changed(flag) {
				return false
			}
			asked = true
			return true
		}
		if given("posting") {
			if err := oneOf("posting", posting, api.PostingAll, api.PostingAuthors, api.PostingOrganisers); err != nil {
				return err
			}
			a.Posting = &posting
		}
		if given("history") {
			if err := oneOf("history", history, api.HistoryNone, api.HistoryPinned); err != nil {
				return err
			}
			a.History = &history
		}
		if given("period") {
			a.PeriodDays = &period
		}
		if given("keep") {
			a.KeepDays = &keep
		}
		for flag, s := range map[string]struct {
			typed string
			to    **bool
		}{"high-risk": {risk, &a.HighRisk}, "alerts-while-renewing": {alerts, &a.AlertsWhileRenewing}} {
			if given(flag) {
				if err := oneOf(flag, s.typed, "on", "off"); err != nil {
					return err
				}
				on := s.typed == "on"
				*s.to = &on
			}
		}
		if given("carrier") {
			list := slices.DeleteFunc(carriers, func(s string) bool { return s == "none" })
			if len(list) > 0 && len(list) < len(carriers) {
				return usage("--carrier none stands alone")
			}
			a.Carriers = &list
		}
		if !asked {
			return act(f, false, api.CommandPolicy, api.GroupArgs{Group: a.Group}, f.policy)
		}
		return act(f, false, api.CommandPolicySet, a, f.proposed)
	})
	flags := c.Flags()
	flags.StringVar(&posting, "posting", "", f.flag("posting"))
	flags.IntVar(&period, "period", 0, f.flag("period"))
	flags.IntVar(&keep, "keep", 0, f.flag("policy.keep"))
	flags.StringVar(&history, "history", "", f.flag("history"))
	flags.StringVar(&risk, "high-risk", "", f.flag("high-risk"))
	flags.StringVar(&alerts, "alerts-while-renewing", "", f.flag("alerts-while-renewing"))
	flags.StringArrayVar(&carriers, "carrier", nil, f.flag("carrier"))
	return f.groupFlag(c, &a.Group)
}

// policy prints what the group settled, a line for each flag that changes it.
func (f *face) policy(p api.Policy) {
	for _, s := range []struct{ key, flag, value string }{
		{"policy.posting", "posting", line(p.Posting)},
		{"policy.period", "period", strconv.Itoa(p.PeriodDays)},
		{"policy.keep", "keep", strconv.Itoa(p.KeepDays)},
		{"policy.history", "history", line(p.History)},
		{"policy.risk", "high-risk", onOff(p.HighRisk)},
		{"policy.alerts", "alerts-while-renewing", onOff(p.AlertsWhileRenewing)},
	} {
		fmt.Fprintf(f.out, "  --%s %s\n      %s\n", s.flag, s.value, f.say(s.key))
	}
	for _, a := range p.Carriers {
		fmt.Fprintf(f.out, "  --carrier %s\n", line(a))
	}
	if len(p.Carriers) == 0 {
		fmt.Fprintf(f.out, "  --carrier none\n")
	}
	fmt.Fprintf(f.out, "      %s\n", f.say("policy.carrier"))
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
