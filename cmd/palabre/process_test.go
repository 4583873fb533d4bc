package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// The tests of this package that start with people run the program as processes
// of its own, by its public commands, on loopback. The binary of the test is the
// program, so that -race reaches it too.

// thorough makes the sampled tests try everything; see each of them.
var thorough = flag.Bool("thorough", false, "try every offset instead of a sample")

var (
	onQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
	onTCP  = "/ip4/127.0.0.1/tcp/0"
)

// ledger holds what processes print. It bears concurrent use.
type ledger struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *ledger) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *ledger) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// place is a short folder that is gone after the test: paths of sockets are short.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// someone makes a person with a profile. The node is killed when the test ends,
// and what it said is shown if the test failed.
func someone(t *testing.T, dir, name string, env ...string) *person {
	t.Helper()
	p := stranger(t, dir, name, env...)
	must(t, p.begin())
	return p
}

// stranger is someone without a profile yet.
func stranger(t *testing.T, dir, name string, env ...string) *person {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	said := new(ledger)
	p := newPerson(self, dir, name)
	p.env = append([]string{asProgram + "=1", "LANG=C", "TZ=UTC"}, env...)
	p.said = said
	t.Cleanup(func() {
		p.kill()
		text := said.text()
		if strings.Contains(text, "panic:") || strings.Contains(text, "DATA RACE") || strings.Contains(text, "goroutine ") {
			t.Errorf("%s: a process crashed:\n%s", p.name, text)
		}
	})
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newGroup makes a group of people whose nodes run: the first one founds it, the
// others join by one link, which is returned.
func newGroup(t *testing.T, posting string, founder *person, others ...*person) (link string) {
	t.Helper()
	must(t, founder.do(nil, "group", "create", "Les voisins", "--posting", posting))
	var invite api.Invite
	must(t, founder.do(&invite, "invite", "--uses", "4", "--auto-approve"))
	for _, p := range others {
		joins(t, p, invite.Link)
	}
	return invite.Link
}

func joins(t *testing.T, p *person, link string) {
	t.Helper()
	var j api.Joined
	must(t, p.do(&j, "join", link))
	if j.State != api.StateJoined {
		t.Fatalf("%s: join said %q", p.name, j.State)
	}
}

// says posts an announcement.
func says(t *testing.T, p *person, title, body string) string {
	t.Helper()
	var posted api.Posted
	must(t, p.do(&posted, "post", "announcement", "--title", title, "--body", body, "--lang", "fr"))
	if posted.ID == "" {
		t.Fatalf("%s: the notice has no id", p.name)
	}
	return posted.ID
}

// attempt is how one command line ended.
type attempt struct {
	exit     int
	out, err string
}

// try runs a command line as it is.
func (p *person) try(t *testing.T, args ...string) attempt {
	t.Helper()
	c := p.command(args...)
	var out, complaint bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaint
	err := c.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return attempt{c.ProcessState.ExitCode(), out.String(), complaint.String()}
}

// fault checks that an attempt failed as it should: nothing on standard output,
// one line of JSON with an error and a hint on the other, exit code 1 (2 for
// usage), no crash. It returns the error.
func (a attempt) fault(t *testing.T) api.Error {
	t.Helper()
	var e api.Error
	d := json.NewDecoder(strings.NewReader(a.err))
	switch err := d.Decode(&e); {
	case err != nil:
		t.Errorf("standard error is no JSON: %q (exit %d, printed %q)", a.err, a.exit, a.out)
		return e
	case strings.Count(a.err, "\n") != 1 || !strings.HasSuffix(a.err, "\n"):
		t.Errorf("the error is not one line: %q", a.err)
	case a.out != "":
		t.Errorf("printed %q beside the error %q", a.out, a.err)
	case e.Text == "" || e.Hint == "":
		t.Errorf("an error without words or hint: %q", a.err)
	case e.Code == api.CodeInternal:
		t.Errorf("not a plain error: %q", a.err)
	}
	want := exitFailed
	if e.Code == api.CodeUsage {
		want = exitUsage
	}
	if a.exit != want {
		t.Errorf("exit %d after %q, not %d", a.exit, a.err, want)
	}
	return e
}

// state is all that a person sees through the running node.
type state struct {
	Notices  []api.Notice
	Members  []api.Member
	Requests []api.Request
	Groups   []api.GroupStatus
}

// sees asks a running node for its state.
func sees(t *testing.T, p *person) state {
	t.Helper()
	c, err := api.Dial(p.dir)
	must(t, err)
	ctx := context.Background()
	var s state
	st, err := api.Call[api.Status](ctx, c, api.CommandStatus, nil)
	must(t, err)
	s.Groups = st.Groups
	if len(st.Groups) == 0 {
		return s
	}
	s.Notices, err = api.Call[[]api.Notice](ctx, c, api.CommandNotices, api.NoticesArgs{All: true})
	must(t, err)
	s.Members, err = api.Call[[]api.Member](ctx, c, api.CommandMembers, api.GroupArgs{})
	must(t, err)
	s.Requests, err = api.Call[[]api.Request](ctx, c, api.CommandRequests, api.GroupArgs{})
	must(t, err)
	return s
}

// same fails the test unless two states are the same.
func same(t *testing.T, what string, before, after any) {
	t.Helper()
	if !reflect.DeepEqual(before, after) {
		b, _ := json.Marshal(before)
		a, _ := json.Marshal(after)
		t.Errorf("%s changed\nfrom %s\nto   %s", what, b, a)
	}
}

// files returns the content of every regular file under a folder, by path.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // it went while we looked
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		all[path] = b
		return err
	}))
	return all
}

// portOf returns the port of an address and its kind.
func portOf(t *testing.T, addr string) (protocol string, port uint16) {
	t.Helper()
	f := strings.Split(addr, "/")
	if len(f) < 5 {
		t.Fatalf("%q is no address", addr)
	}
	n, err := net.LookupPort(f[3], f[4])
	must(t, err)
	return f[3], uint16(n)
}
