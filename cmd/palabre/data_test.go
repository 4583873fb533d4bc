package main

import (
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

func TestAllowances(t *testing.T) {
	for typed, want := range map[string]int64{"1MB": 1_000_000, "20MB": 20_000_000, "999999MB": 999_999_000_000, "1GB": 1_000_000_000, "none": 0,
		"": -1, "0MB": -1, "20": -1, "20 MB": -1, "20mb": -1, "MB": -1, "1.5GB": -1, "-1MB": -1, "+1MB": -1, "020MB": -1, "1MiB": -1, "1kB": -1,
		"99999999999999999999MB": -1, "2000000GB": -1, "None": -1} {
		a := allowance(7)
		err := a.Set(typed)
		if (err == nil) != (want >= 0) || err == nil && int64(a) != want || err != nil && a != 7 {
			t.Errorf("%q is read as %d, %v", typed, a, err)
		}
		if again := a.String(); err == nil && want > 0 && !(again == typed || typed == "999999MB") {
			t.Errorf("%q is written as %q", typed, again)
		}
	}
	for n, want := range map[int64]string{0: "0 kB", 1: "1 kB", 1_000: "1 kB", 1_001: "2 kB", 999_999: "1000 kB", 1_000_000: "1.0 MB", 20_049_999: "20.0 MB", 99_499_999: "99.5 MB",
		99_500_000: "100 MB", 1_234_500_000: "1235 MB"} {
		if got := megabytes(n); got != want {
			t.Errorf("%d bytes are %q, not %q", n, got, want)
		}
	}
}

// used is data of which each number tells which one it is.
var used = api.Data{
	Today: api.DataUse{Letters: api.DataVolume{In: 1_000_000, Out: 500_000}, Comparing: api.DataVolume{In: 2_000_000},
		Carriers: api.DataVolume{Out: 3_000_000}, Connections: api.DataVolume{In: 4_000_000, Out: 6_000}},
	Month: api.DataUse{Letters: api.DataVolume{In: 100_000_000}}, Until: "2026-12-01T00:00:00Z",
}

const usedSaid = "Data today: 10.5 MB (notices 1.5 MB, asking what is new 2.0 MB, letter carriers 3.0 MB, connections 4.0 MB)\n" +
	"Data this month: 100 MB (notices 100 MB, asking what is new 0 kB, letter carriers 0 kB, connections 0 kB)\n"

// People read what the network cost, and what happens when a day has cost enough, in
// the zone of their clock.
func TestPeopleReadOfData(t *testing.T) {
	low, reached := used, used
	low.CapBytes, low.Low = 12_000_000, true
	reached.CapBytes, reached.Low, reached.Reached = 10_000_000, true, true
	r, dir := record(t, map[string]any{api.CommandData: used, api.CommandDataSet: low, api.CommandFetch: api.Done{Done: true},
		api.CommandStatus: api.Status{Running: true, Saver: true, Groups: []api.GroupStatus{}, Data: &reached}})
	prints(t, dir, usedSaid, "data")
	prints(t, dir, usedSaid+"At most a day: 12.0 MB\nMost of the 12.0 MB of today are used. If they run out, nothing comes by itself until 00:00. To allow more: palabre data --cap SIZE\n",
		"data", "--cap", "12MB")
	p := palabre(t, dir, "status").with("TZ=Africa/Kampala")
	if p.exit(t) != exitDone {
		t.Fatal(p.err.String())
	}
	for _, want := range []string{"Palabre saves data: nothing stays connected between two looks. To look now: palabre fetch\n", usedSaid,
		"The 10.0 MB of today are used up: until 03:00 nothing comes by itself. What you write still goes out, by one short visit.", "palabre data --cap SIZE\n"} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("%q lacks %q", p.out.String(), want)
		}
	}
	if strings.Contains(p.out.String(), "Most of") {
		t.Errorf("said twice: %q", p.out.String())
	}
	prints(t, dir, "Palabre looks for news now, and takes along what you wrote. To see what came: palabre notices\n", "fetch")
	for range 4 {
		<-r.asked
	}
}

// A phone that saves data, as a process: it says so, cannot be dialled, tells and keeps
// what it spent, and takes a cap while it does not run.
func TestSaverOfAProcess(t *testing.T) {
	dir := place(t)
	awa := someone(t, dir, "Awa")
	must(t, awa.onWith("--saver"))
	if len(awa.addrs) > 0 {
		t.Errorf("it can be dialled at %v", awa.addrs)
	}
	must(t, awa.do(nil, "fetch"))
	var s api.Status
	must(t, awa.do(&s, "status"))
	if !s.Saver || s.Data == nil || s.Data.CapBytes != 0 {
		t.Errorf("%+v", s)
	}
	must(t, awa.off())
	var d api.Data
	must(t, awa.do(&d, "data", "--cap", "20MB"))
	must(t, awa.do(&d, "data"))
	if d.CapBytes != 20_000_000 || d.Reached {
		t.Errorf("%+v", d)
	}
	if e := awa.try(t, "data", "--cap", "1048575GB").fault(t); e.Code != api.CodeDataBounds {
		t.Errorf("%+v", e)
	}
	if e := awa.try(t, "fetch").fault(t); e.Code != api.CodeNotRunning {
		t.Errorf("%+v", e)
	}
	var none api.Data
	must(t, awa.do(&none, "data", "--cap", "none"))
	if none.CapBytes != 0 || none.Until == "" {
		t.Errorf("%+v", none)
	}
}
