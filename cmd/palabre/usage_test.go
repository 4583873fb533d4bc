package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/text"
)

func TestUsageErrorsExit2(t *testing.T) {
	r, dir := record(t, nil)
	for _, c := range []struct{ line, hint string }{
		{"nosuch", "palabre --help"},
		{"--nosuch", "palabre --help"},
		{"group", "palabre group --help"},
		{"group nosuch", "palabre group --help"},
		{"post", "palabre post --help"},
		{"post nosuch", "palabre post --help"},
		{"init", "palabre init --help"},
		{"init extra --name A", "palabre init --help"},
		{"status extra", "palabre status --help"},
		{"group create", "palabre group create --help"},
		{"group create A --posting nobody", "palabre group create --help"},
		{"group create A B", "palabre group create --help"},
		{"invite --uses 0", "palabre invite --help"},
		{"invite --uses x", "palabre invite --help"},
		{"invite --expires 3", "palabre invite --help"},
		{"join", "palabre join --help"},
		{"connect", "palabre connect --help"},
		{"data extra", "palabre data --help"},
		{"data --cap", "palabre data --help"},
		{"data --cap 20", "palabre data --help"},
		{"data --cap 20MiB", "palabre data --help"},
		{"fetch extra", "palabre fetch --help"},
		{"run --saver=perhaps", "palabre run --help"},
		{"run --saver --listen /ip4/127.0.0.1/tcp/0", "palabre run --help"},
		{"approve", "palabre approve --help"},
		{"remove", "palabre remove --help"},
		{"grant abcdef", "palabre grant --help"},
		{"grant abcdef king", "palabre grant --help"},
		{"grant abcdef reader", "palabre grant --help"},
		{"organisers nosuch", "palabre organisers --help"},
		{"suspend", "palabre suspend --help"},
		{"suspend abcdef fedcba", "palabre suspend --help"},
		{"reinstate", "palabre reinstate --help"},
		{"expel", "palabre expel --help"},
		{"vote abcdef fedcba", "palabre vote --help"},
		{"devices abcdef fedcba", "palabre devices --help"},
		{"devices remove", "palabre devices remove --help"},
		{"devices set abcdef", "palabre devices set --help"},
		{"policy extra", "palabre policy --help"},
		{"policy --posting nobody", "palabre policy --help"},
		{"policy --period soon", "palabre policy --help"},
		{"policy --history all", "palabre policy --help"},
		{"policy --high-risk perhaps", "palabre policy --help"},
		{"policy --alerts-while-renewing=", "palabre policy --help"},
		{"bundle", "palabre bundle --help"},
		{"bundle export", "palabre bundle export --help"},
		{"bundle export file --since soon", "palabre bundle export --help"},
		{"bundle export file other", "palabre bundle export --help"},
		{"bundle import", "palabre bundle import --help"},
		{"ferry", "palabre ferry --help"},
		{"ferry nosuch --dir none", "palabre ferry --help"},
		{"ferry --dir= --figures 0.0.0.0:1", "palabre ferry --help"},
		{"ferry ticket list --dir=", "palabre ferry ticket list --help"},
		{"ferry --dir none --size 63MiB", "palabre ferry --help"},
		{"ferry --dir none --figures 0.0.0.0:9464", "palabre ferry --help"},
		{"ferry --dir none --figures ferry.example:9464", "palabre ferry --help"},
		{"ferry ticket", "palabre ferry ticket --help"},
		{"ferry ticket nosuch --dir none", "palabre ferry ticket --help"},
		{"ferry ticket new", "palabre ferry ticket new --help"},
		{"ferry ticket list", "palabre ferry ticket list --help"},
		{"ferry ticket list extra --dir none", "palabre ferry ticket list --help"},
		{"ferry ticket end --dir none", "palabre ferry ticket end --help"},
		{"ferry ticket end abcdef", "palabre ferry ticket end --help"},
		{"ferry import --dir none", "palabre ferry import --help"},
		{"ferry import file", "palabre ferry import --help"},
		{"ferry import file --dir none --size much", "palabre ferry import --help"},
		{"recovery extra", "palabre recovery --help"},
		{"recovery use", "palabre recovery use --help"},
		{"recovery use abcdef word word", "palabre recovery use --help"},
		{"changes -n 0", "palabre changes --help"},
		{"changes -n many", "palabre changes --help"},
		{"post announcement", "palabre post announcement --help"},
		{"post announcement --body B", "palabre post announcement --help"},
		{"post announcement --title T --urgency loud", "palabre post announcement --help"},
		{"post announcement --title T --text en", "palabre post announcement --help"},
		{"post announcement --title T --text =x", "palabre post announcement --help"},
		{"post announcement --title T --start 2026-01-01T00:00:00Z", "palabre post announcement --help"},
		{"post announcement --title T --body - --text en=-", "palabre post announcement --help"},
		{"post meeting --title T --end 2026-01-01T00:00:00Z --tz UTC", "palabre post meeting --help"},
		{"post meeting --title T --start soon --end 2026-01-01T00:00:00Z --tz UTC", "palabre post meeting --help"},
		{"post meeting --title T --start 2026-01-01T00:00:00 --end 2026-01-01T00:00:00Z --tz UTC", "palabre post meeting --help"},
		{"edit", "palabre edit --help"},
		{"edit abcdef", "palabre edit --help"},
		{"edit abcdef --lang fr", "palabre edit --help"},
		{"edit abcdef --start=", "palabre edit --help"},
		{"cancel abcdef", "palabre cancel --help"},
		{"post announcement --title T --send-now many", "palabre post announcement --help"},
		{"post announcement --title T --send-now -1", "palabre post announcement --help"},
		{"held abcdef", "palabre held --help"},
		{"send-now abcdef", "palabre send-now --help"},
		{"send-now --readers 1", "palabre send-now --help"},
		{"send-now abcdef --readers -1", "palabre send-now --help"},
		{"pin", "palabre pin --help"},
		{"show", "palabre show --help"},
		{"notices --all=perhaps", "palabre notices --help"},
	} {
		plain := palabre(t, dir, words(c.line)...)
		if code := plain.exit(t); code != exitUsage || plain.out.Len() > 0 ||
			!strings.HasPrefix(plain.err.String(), "palabre: ") || !strings.HasSuffix(plain.err.String(), "\n  try: "+c.hint+"\n") {
			t.Errorf("%s: exit %d, %q and %q", c.line, code, plain.out.String(), plain.err.String())
		}
		asked := palabre(t, dir, append(words(c.line), "--json")...)
		if code := asked.exit(t); code != exitUsage || asked.out.Len() > 0 {
			t.Errorf("%s --json: exit %d, %q", c.line, code, asked.out.String())
		}
		if e := asked.fault(t); e.Code != api.CodeUsage || e.Hint != c.hint {
			t.Errorf("%s --json: %+v", c.line, e)
		}
	}
	if len(r.asked) != 0 {
		t.Errorf("the backend was asked: %+v", <-r.asked)
	}
	qr := palabre(t, dir, "invite", "--qr", "--json")
	if qr.exit(t) != exitUsage || qr.fault(t).Code != api.CodeUsage {
		t.Error("--qr and --json go together")
	}
}

func TestUsageErrorCannotCommandTheTerminal(t *testing.T) {
	p := palabre(t, "", "no\x1b[2Jsuch\u202e")
	if p.exit(t) != exitUsage || strings.ContainsAny(p.err.String(), "\x1b\u202e") {
		t.Errorf("%q", p.err.String())
	}
}

func TestEveryCodeHasWords(t *testing.T) {
	want := slices.Sorted(slices.Values(api.Codes()))
	if got := text.Codes(); !slices.Equal(got, want) {
		t.Errorf("words for\n%v\ncodes\n%v", got, want)
	}
}

func TestEveryCommandAndFlagHasWords(t *testing.T) {
	f := &face{ctx: context.Background(), env: func(string) string { return "" }, out: io.Discard, err: io.Discard, language: text.English}
	commands := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		commands++
		if c.Name() != "help" && (c.Short == "" || strings.HasPrefix(c.Short, "help.")) {
			t.Errorf("%s has no words", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			if flag.Usage == "" || strings.HasPrefix(flag.Usage, "flag.") {
				t.Errorf("%s --%s has no words", c.CommandPath(), flag.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(f.root())
	if commands < 48 {
		t.Errorf("%d commands", commands)
	}
}

func TestErrorsOfANodeAreWorded(t *testing.T) {
	_, dir := record(t, map[string]any{
		api.CommandStatus:   &api.Error{Code: api.CodeWhichGroup, Text: "for developers"},
		api.CommandRequests: &api.Error{Code: "of_a_newer_version", Text: "new\x1b[31m words", Hint: "update"},
	})
	p := palabre(t, dir, "status").with("LANG=fr_SN.UTF-8")
	want := "palabre: ce profil a plusieurs groupes ; dites lequel\n  essayez: --group ID, à lire dans : palabre status\n"
	if code := p.exit(t); code != exitFailed || p.err.String() != want || p.out.Len() > 0 {
		t.Errorf("exit %d, %q", code, p.err.String())
	}
	p = palabre(t, dir, "status", "--json")
	if code := p.exit(t); code != exitFailed || p.fault(t) != (api.Error{Code: api.CodeWhichGroup,
		Text: "this profile has several groups; say which", Hint: "--group ID, from: palabre status"}) {
		t.Errorf("exit %d, %q", code, p.err.String())
	}
	p = palabre(t, dir, "requests")
	if p.exit(t); p.err.String() != "palabre: new\ufffd[31m words\n  try: update\n" {
		t.Errorf("%q", p.err.String())
	}
}

func TestWhatNeedsARunningNode(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{"join palabre://join#x", "connect /ip4/127.0.0.1/tcp/1", "watch"} {
		p := palabre(t, dir, append(words(line), "--json")...)
		if code := p.exit(t); code != exitFailed || p.fault(t).Code != api.CodeNotRunning || p.fault(t).Hint != "palabre run" {
			t.Errorf("%s: exit %d, %s", line, code, p.err.String())
		}
	}
	// The folder comes before the passphrase, the passphrase before the profile.
	p := palabre(t, filepath.Join(dir, "none"), "notices", "--json")
	if p.exit(t) != exitFailed || p.fault(t).Code != api.CodeProfileMissing {
		t.Errorf("no folder: %s", p.err.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("the folder was made")
	}
	for _, more := range [][]string{{"--json"}, {}} {
		p = palabre(t, dir, append([]string{"notices"}, more...)...)
		if p.exit(t) != exitFailed || !strings.Contains(p.err.String(), "--passphrase-file FILE") {
			t.Errorf("nobody to ask: %s", p.err.String())
		}
	}
	p = palabre(t, dir, "notices", "--json", "--passphrase-file", filepath.Join(dir, "none"))
	if p.exit(t) != exitFailed || p.fault(t).Code != api.CodePassphraseUnreadable {
		t.Errorf("no such file: %s", p.err.String())
	}
}

func TestRunBesideARunningNode(t *testing.T) {
	_, dir := record(t, nil)
	for line, code := range map[string]string{"run": api.CodeAlreadyRunning, "init --name A": api.CodeProfileExists} {
		p := palabre(t, dir, append(words(line), "--json")...)
		if p.exit(t) != exitFailed || p.fault(t).Code != code {
			t.Errorf("%s: %s", line, p.err.String())
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	p := palabre(t, "", "version", "--json")
	if p.exit(t) != exitDone || !strings.HasPrefix(p.out.String(), `{"version":"`) {
		t.Errorf("%q", p.out.String())
	}
	for _, args := range [][]string{nil, {"--help"}, {"post", "meeting", "--help"}} {
		p := palabre(t, "", args...).with("LANG=es_CO.UTF-8")
		if p.exit(t) != exitDone || !strings.Contains(p.out.String(), "palabre") || p.err.Len() > 0 {
			t.Errorf("%v: %q", args, p.out.String())
		}
	}
}
