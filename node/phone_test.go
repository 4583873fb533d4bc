package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"go.uber.org/goleak"
)

// patience bounds every wait of a test; it is never slept.
const patience = 60 * time.Second

var passphrase = []byte("correct horse battery staple one two")

// world is some phones of one test, which can be waited for together.
type world struct {
	t       *testing.T
	changed chan struct{}
}

func newWorld(t *testing.T) *world {
	before := goleak.IgnoreCurrent()
	// Run after all else: every phone has been stopped then.
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, before)
		}
	})
	return &world{t: t, changed: make(chan struct{}, 1)}
}

func (w *world) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// until waits until something holds that changes only by what phones do.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !ok() {
		select {
		case <-w.changed:
		case <-end.C:
			w.t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// phone is a running node on loopback.
type phone struct {
	*Node
	w     *world
	name  string
	dir   string
	addrs []string
	stop  func() // stops it; a second call does nothing
	ends  string // the code that its Run is expected to end with
}

var loopback = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}

func (w *world) phone(name string) *phone {
	w.t.Helper()
	return w.start(w.profile(name), name)
}

func (w *world) profile(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), name)
	if err := Create(dir, name, passphrase); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func (w *world) start(dir, name string) *phone {
	w.t.Helper()
	return w.startWith(Config{Dir: dir, Listen: loopback}, name, nil)
}

// startWith starts a node whose store goes through wrap.
func (w *world) startWith(cfg Config, name string, wrap func(disk) disk) *phone {
	w.t.Helper()
	cfg.Passphrase = passphrase
	n, err := Open(cfg)
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	n.settled = w.wake
	if wrap != nil {
		n.db = wrap(n.db)
	}
	p := &phone{Node: n, w: w, name: name, dir: cfg.Dir}
	ready, ended := make(chan []string, 1), make(chan error, 1)
	go func() { ended <- n.Run(context.Background(), func(a []string) { ready <- a }) }()
	p.stop = sync.OnceFunc(func() {
		if err := n.Close(); err != nil {
			w.t.Errorf("%s: close: %v", name, err)
		}
		if err := <-ended; api.CodeOf(err) != p.ends {
			w.t.Errorf("%s: run: %v", name, err)
		}
	})
	w.t.Cleanup(func() { p.stop() })
	select {
	case p.addrs = <-ready:
	case err := <-ended:
		ended <- nil
		w.t.Fatalf("%s: %v", name, err)
	}
	return p
}

// offline opens a profile for single commands.
func (w *world) offline(dir string) *Node {
	w.t.Helper()
	n, err := Open(Config{Dir: dir, Passphrase: passphrase, Offline: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.Close() })
	return n
}

func call[R any](t *testing.T, b api.Backend, command string, args any) R {
	t.Helper()
	r, err := api.Call[R](context.Background(), b, command, args)
	if err != nil {
		t.Fatalf("%s: %v (%s)", command, err, api.CodeOf(err))
	}
	return r
}

// refused checks that a command is refused with a code.
func refused(t *testing.T, b api.Backend, want, command string, args any) {
	t.Helper()
	_, err := api.Call[any](context.Background(), b, command, args)
	if api.CodeOf(err) != want {
		t.Errorf("%s with %+v: got %v (%s), want %s", command, args, err, api.CodeOf(err), want)
	}
}

// found makes a group on a phone and returns its id.
func (p *phone) found(args api.GroupCreateArgs) string {
	p.w.t.Helper()
	args.Name = "Jardin"
	return call[api.GroupCreated](p.w.t, p, api.CommandGroupCreate, args).Group
}

// admit lets others join a group of p by one link.
func (p *phone) admit(group string, others ...*phone) {
	p.w.t.Helper()
	link := call[api.Invite](p.w.t, p, api.CommandInvite, api.InviteArgs{Group: group, Uses: max(1, len(others)), AutoApprove: true})
	for _, o := range others {
		j := call[api.Joined](p.w.t, o, api.CommandJoin, api.JoinArgs{Link: link.Link, WaitSeconds: 60})
		if j.State != api.StateJoined || j.Group == "" {
			p.w.t.Fatalf("%s did not join: %+v", o.name, j)
		}
	}
}

func announcement(title string) api.PostArgs {
	return api.PostArgs{Kind: api.KindAnnouncement, Texts: []api.Text{{Lang: "fr", Title: title, Body: "Corps de " + title}}}
}

func post1(t *testing.T, b api.Backend, title string) string {
	t.Helper()
	return call[api.Posted](t, b, api.CommandPost, announcement(title)).ID
}

// titles lists the notices that a node shows, sorted.
func titles(t *testing.T, b api.Backend) []string {
	t.Helper()
	var list []string
	for _, n := range call[[]api.Notice](t, b, api.CommandNotices, api.NoticesArgs{}) {
		if n.Body != "Corps de "+n.Title {
			t.Errorf("the body of %q is %q", n.Title, n.Body)
		}
		list = append(list, n.Title)
	}
	slices.Sort(list)
	return list
}

// shows waits until phones list exactly these titles.
func (w *world) shows(want []string, phones ...*phone) {
	w.t.Helper()
	want = slices.Sorted(slices.Values(want))
	for _, p := range phones {
		w.until(fmt.Sprintf("%s to list %d notices", p.name, len(want)), func() bool {
			return slices.Equal(titles(w.t, p), want)
		})
	}
}

func (p *phone) status() api.Status {
	p.w.t.Helper()
	return call[api.Status](p.w.t, p, api.CommandStatus, nil)
}

// inside runs f where the engines may be read.
func (p *phone) inside(f func()) {
	p.w.t.Helper()
	if err := p.read(context.Background(), func() error { f(); return nil }); err != nil {
		p.w.t.Fatal(err)
	}
}

func (p *phone) memberOf(name string) string {
	p.w.t.Helper()
	for _, m := range call[[]api.Member](p.w.t, p, api.CommandMembers, nil) {
		if m.Name == name {
			return m.ID
		}
	}
	return ""
}

// copyFolder copies a profile as a thief or a backup would: while it is in use.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		in, err := os.Open(filepath.Join(from, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.OpenFile(filepath.Join(to, f.Name()), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, in)
		if err := errors.Join(err, in.Close(), out.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
