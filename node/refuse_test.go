package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
)

// state is all that reading commands show of a node.
func state(t *testing.T, b api.Backend) string {
	t.Helper()
	var all []any
	for _, command := range []string{api.CommandStatus, api.CommandRequests} {
		all = append(all, call[any](t, b, command, nil))
	}
	for _, g := range call[api.Status](t, b, api.CommandStatus, nil).Groups {
		all = append(all, call[any](t, b, api.CommandMembers, api.GroupArgs{Group: g.ID}),
			call[any](t, b, api.CommandNotices, api.NoticesArgs{Group: g.ID, All: true}))
	}
	doc, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// Each bad input is one plain error, and nothing is changed by it.
func TestBadInput(t *testing.T) {
	w := newWorld(t)
	ana := w.phone("Ana")
	refused(t, ana, api.CodeNoGroup, api.CommandPost, announcement("nulle part"))
	for name, want := range map[string]string{"": api.CodeNameEmpty, " \t": api.CodeNameUnsafe, strings.Repeat("long ", 100): api.CodeNameTooLong,
		"bad\x07bell": api.CodeNameUnsafe, "bidi\u202e": api.CodeNameUnsafe, "zero\u200bwidth": api.CodeNameUnsafe} {
		refused(t, ana, want, api.CommandGroupCreate, api.GroupCreateArgs{Name: name})
		dir := filepath.Join(t.TempDir(), "new")
		if err := Create(dir, name, passphrase); api.CodeOf(err) != want {
			t.Errorf("a profile named %q: %v (%s)", name, err, api.CodeOf(err))
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("a refused name %q left a folder", name)
		}
	}
	refused(t, ana, api.CodeUnknownPosting, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Jardin", Posting: "nobody"})
	if s := ana.status(); len(s.Groups) != 0 {
		t.Fatalf("refused groups are there: %+v", s)
	}
	ana.found(api.GroupCreateArgs{})
	id := post1(t, ana, "un")
	meeting := func(change func(*api.Meeting)) api.PostArgs {
		m := &api.Meeting{Start: stamp(ana.now().Unix() + 86400), End: stamp(ana.now().Unix() + 90000), TZ: "Africa/Dakar", Place: "Ici"}
		change(m)
		return api.PostArgs{Kind: api.KindMeeting, Texts: []api.Text{{Lang: "fr", Title: "m", Body: "Corps de m"}}, Meeting: m}
	}
	text := func(x api.Text) api.PostArgs { return api.PostArgs{Kind: api.KindAnnouncement, Texts: []api.Text{x}} }
	before := state(t, ana)
	absolute := filepath.Join(t.TempDir(), "file")
	for _, c := range []struct {
		code, command string
		args          any
	}{
		{api.CodeBadRequest, api.CommandBundleExport, api.BundleExportArgs{File: "relative", SinceSeconds: 60}},
		{api.CodeBadRequest, api.CommandBundleExport, api.BundleExportArgs{File: absolute}},
		{api.CodeBadRequest, api.CommandBundleExport, api.BundleExportArgs{File: absolute, SinceSeconds: 91 * protocol.DaySeconds}},
		{api.CodeUnknownGroup, api.CommandBundleExport, api.BundleExportArgs{File: absolute, SinceSeconds: 60, Group: "abcdef"}},
		{api.CodeBadRequest, api.CommandBundleImport, api.BundleImportArgs{File: "relative"}},
		{api.CodeFileUnreadable, api.CommandBundleImport, api.BundleImportArgs{File: absolute}},
		{api.CodeTextTooLong, api.CommandPost, text(api.Text{Lang: "fr", Title: "t", Body: strings.Repeat("x", 70_000)})},
		{api.CodeTitleMissing, api.CommandPost, text(api.Text{Lang: "fr", Body: "b"})},
		{api.CodeTitleMissing, api.CommandPost, api.PostArgs{Kind: api.KindAnnouncement}},
		{api.CodeTextUnsafe, api.CommandPost, text(api.Text{Lang: "fr", Title: "a\x00b"})},
		{api.CodeBadLanguage, api.CommandPost, text(api.Text{Lang: "no such language", Title: "t"})},
		{api.CodeLanguageRepeated, api.CommandPost, api.PostArgs{Kind: api.KindAnnouncement, Texts: []api.Text{{Lang: "fr", Title: "t"}, {Lang: "FR", Title: "u"}}}},
		{api.CodeMeetingEndsBeforeStart, api.CommandPost, meeting(func(m *api.Meeting) { m.End = stamp(ana.now().Unix() + 3600) })},
		{api.CodeUnknownZone, api.CommandPost, meeting(func(m *api.Meeting) { m.TZ = "Africa/Nowhere" })},
		{api.CodeUnknownZone, api.CommandPost, meeting(func(m *api.Meeting) { m.TZ = "Local" })},
		{api.CodeBadTime, api.CommandPost, meeting(func(m *api.Meeting) { m.Start = "tomorrow" })},
		{api.CodeBadTime, api.CommandPost, api.PostArgs{Kind: api.KindMeeting, Texts: []api.Text{{Lang: "fr", Title: "m"}}}},
		{api.CodeBadRequest, api.CommandPost, api.PostArgs{Kind: "rumour", Texts: []api.Text{{Lang: "fr", Title: "m"}}}},
		{api.CodeUnknownUrgency, api.CommandPost, api.PostArgs{Kind: api.KindAnnouncement, Urgency: "panic", Texts: []api.Text{{Lang: "fr", Title: "m"}}}},
		{api.CodeExpiryPast, api.CommandPost, api.PostArgs{Kind: api.KindAnnouncement, ExpiresSeconds: -1, Texts: []api.Text{{Lang: "fr", Title: "m"}}}},
		{api.CodeExpiryTooFar, api.CommandPost, api.PostArgs{Kind: api.KindAnnouncement, ExpiresSeconds: 1 << 62, Texts: []api.Text{{Lang: "fr", Title: "m"}}}},
		{api.CodeNothingChanged, api.CommandEdit, api.EditArgs{ID: id}},
		{api.CodeNotAMeeting, api.CommandEdit, api.EditArgs{ID: id, Meeting: &api.MeetingEdit{}}},
		{api.CodeBadID, api.CommandShow, api.ShowArgs{ID: id[:5]}},
		{api.CodeUnknownID, api.CommandShow, api.ShowArgs{ID: "000000"}},
		{api.CodeUnknownID, api.CommandCancel, api.CancelArgs{ID: "000000"}},
		{api.CodeUnknownID, api.CommandRemove, api.RemoveArgs{Member: "000000"}},
		{api.CodeInviteBounds, api.CommandInvite, api.InviteArgs{Uses: -1}},
		{api.CodeInviteBounds, api.CommandInvite, api.InviteArgs{ExpiresSeconds: 1 << 40}},
		{api.CodeInvalidAddress, api.CommandConnect, api.ConnectArgs{Addr: "/dns4/example.org/tcp/1"}},
		{api.CodeUnknownCommand, "panic", nil},
	} {
		refused(t, ana, c.code, c.command, c.args)
	}
	if _, err := ana.Do(context.Background(), api.CommandPost, json.RawMessage(`{"kind":"announcement","titel":"x"}`)); api.CodeOf(err) != api.CodeBadRequest {
		t.Errorf("a misspelt field: %v", err)
	}
	if after := state(t, ana); after != before {
		t.Errorf("refused commands changed something:\n%s\n%s", before, after)
	}
	ana.stop()
	ana = w.start(ana.dir, "Ana")
	var a, b any
	if json.Unmarshal([]byte(before), &a) != nil || json.Unmarshal([]byte(state(t, ana)), &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("after a new start something else is shown:\n%s\n%s", before, state(t, ana))
	}
}

// Links: one character changed, expired, for a group that one is in, used up;
// and a second link takes the place of one that led nowhere.
func TestBadLinks(t *testing.T) {
	w := newWorld(t)
	ana, ben, chi := w.phone("Ana"), w.phone("Ben"), w.phone("Chi")
	id := ana.found(api.GroupCreateArgs{})
	invite := func(a api.InviteArgs) string { return call[api.Invite](t, ana, api.CommandInvite, a).Link }
	link := invite(api.InviteArgs{AutoApprove: true})
	for i := len("palabre://join#"); i < len(link); i += 7 {
		for _, c := range []byte("A_") {
			if link[i] != c {
				altered := link[:i] + string(c) + link[i+1:]
				refused(t, ben, api.CodeLinkAltered, api.CommandJoin, api.JoinArgs{Link: altered})
			}
		}
	}
	refused(t, ben, api.CodeLinkAltered, api.CommandJoin, api.JoinArgs{Link: link[:len(link)-1]})
	refused(t, ben, api.CodeNameUnsafe, api.CommandJoin, api.JoinArgs{Link: link, Name: "a\u202eb"})
	refused(t, ana, api.CodeAlreadyInGroup, api.CommandJoin, api.JoinArgs{Link: link})
	brief := invite(api.InviteArgs{ExpiresSeconds: 1})
	ahead := ben.clock
	if err := ben.change(context.Background(), func() (*groupState, error) {
		ben.clock = func() time.Time { return ahead().Add(2 * time.Second) }
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	refused(t, ben, api.CodeLinkExpired, api.CommandJoin, api.JoinArgs{Link: brief})
	if s := ben.status(); len(s.Groups) != 0 {
		t.Fatalf("refused links left %+v", s)
	}
	// Ben uses the link up; Chi, who has it too, is told so, and nothing is left of it.
	if j := call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link, WaitSeconds: 60}); j.State != api.StateJoined {
		t.Fatalf("Ben did not join: %+v", j)
	}
	refused(t, chi, api.CodeLinkUsedUp, api.CommandJoin, api.JoinArgs{Link: link, WaitSeconds: 60})
	if s := chi.status(); len(s.Groups) != 0 {
		t.Fatalf("a used link left %+v", s)
	}
	if list := call[[]api.Request](t, ana, api.CommandRequests, nil); len(list) != 0 {
		t.Fatalf("a used link asked for something: %+v", list)
	}
	// A link that waits for a person's word, and then another one.
	if j := call[api.Joined](t, chi, api.CommandJoin, api.JoinArgs{Link: invite(api.InviteArgs{})}); j.State != api.StateWaiting {
		t.Fatalf("Chi is let in by nobody: %+v", j)
	}
	w.until("Chi's request", func() bool { return len(call[[]api.Request](t, ana, api.CommandRequests, nil)) == 1 })
	// She gets another link, which is asked by instead of the first.
	ana.admit(id, chi)
	chi.inside(func() {
		if len(chi.groups) != 1 {
			t.Errorf("Chi is in %d groups", len(chi.groups))
		}
	})
}

// A wrong passphrase and damage are one error each and change nothing; two
// openers are one too many.
func TestDamagedProfile(t *testing.T) {
	w := newWorld(t)
	dir := w.profile("Ana")
	if err := Create(dir, "Ana", passphrase); api.CodeOf(err) != api.CodeProfileExists {
		t.Errorf("a second profile in the folder: %v", err)
	}
	n := w.offline(dir)
	call[api.GroupCreated](t, n, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Jardin"})
	post1(t, n, "gardé")
	if _, err := Open(Config{Dir: dir, Passphrase: passphrase}); api.CodeOf(err) != api.CodeProfileInUse {
		t.Errorf("a second opener: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	opens := func(dir string, pass []byte) string {
		n, err := Open(Config{Dir: dir, Passphrase: pass, Offline: true})
		if err == nil {
			err = errors.Join(n.Close())
		}
		if strings.Contains(problemText(err), string(pass)) {
			t.Error("the error repeats the passphrase")
		}
		return api.CodeOf(err)
	}
	if got := opens(dir, []byte("not the passphrase of this")); got != api.CodeWrongPassphrase {
		t.Errorf("a wrong passphrase: %q", got)
	}
	if got := opens(t.TempDir(), passphrase); got != api.CodeProfileMissing {
		t.Errorf("no profile: %q", got)
	}
	for name, change := range map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"empty":     func([]byte) []byte { return nil },
		"altered":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	} {
		for _, file := range []string{"key", "store.db"} {
			copied := copyFolder(t, dir)
			path := filepath.Join(copied, file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := change(bytes.Clone(b))
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := opens(copied, passphrase); got != api.CodeDamaged {
				t.Errorf("%s, %s: %q", file, name, got)
			}
			// Of an empty database nothing can be lost; the store writes a header to it.
			if now, err := os.ReadFile(path); len(damaged) > 0 && (err != nil || !bytes.Equal(now, damaged)) {
				t.Errorf("%s, %s: opening changed the file", file, name)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := opens(copied, passphrase); got != "" {
				t.Errorf("%s, mended after %s: %q", file, name, got)
			}
		}
	}
	// A creation that was cut short is begun anew; a store that lost its key is not touched.
	half := copyFolder(t, dir)
	if err := os.Rename(filepath.Join(half, keyFile), filepath.Join(half, keyFile+suffixNew)); err != nil {
		t.Fatal(err)
	}
	if err := Create(half, "Ana", passphrase); err != nil || opens(half, passphrase) != "" {
		t.Errorf("after half a creation: %v", err)
	}
	lost := copyFolder(t, dir)
	if err := os.Remove(filepath.Join(lost, keyFile)); err != nil {
		t.Fatal(err)
	}
	if err := Create(lost, "Ana", passphrase); api.CodeOf(err) != api.CodeProfileExists {
		t.Errorf("over a store without its key: %v", err)
	}
	if _, err := os.Stat(filepath.Join(lost, "store.db")); err != nil {
		t.Errorf("the store without its key is gone: %v", err)
	}
	if got := titles(t, w.offline(dir)); len(got) != 1 {
		t.Errorf("after all that %q is listed", got)
	}
}

func problemText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sick is a disk that fails when told to.
type sick struct {
	disk
	fail func() error
}

func (s *sick) Commit(sp store.Space, b engine.Batch) error {
	if err := s.fail(); err != nil {
		return err
	}
	return s.disk.Commit(sp, b)
}

func (s *sick) CommitAll(p []store.Part) error {
	if err := s.fail(); err != nil {
		return err
	}
	return s.disk.CommitAll(p)
}

// A full disk: who posts is told, the group is as it was, reading goes on, and
// when there is room again all goes on, with the links made anew.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	ana := w.phone("Ana")
	var full error // set and read by Ben's owner only
	bad := &sick{fail: func() error { return full }}
	ben := w.startWith(Config{Dir: w.profile("Ben"), Listen: loopback}, "Ben", func(d disk) disk { bad.disk = d; return bad })
	fill := func(err error) {
		t.Helper()
		if err := ben.change(context.Background(), func() (*groupState, error) { full = err; return nil, nil }); err != nil {
			t.Fatal(err)
		}
	}
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	post1(t, ben, "avant")
	w.shows([]string{"avant"}, ana, ben)

	fill(store.ErrFull)
	refused(t, ben, api.CodeDiskFull, api.CommandPost, announcement("perdu"))
	refused(t, ben, api.CodeDiskFull, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Deux"})
	if got := titles(t, ben); len(got) != 1 || len(ben.status().Groups) != 1 {
		t.Errorf("after a failed commit %q is listed", got)
	}
	// Alone with a full disk, the owner sleeps.
	ben.inside(func() {
		if s := ben.sleep(); s < time.Second {
			t.Errorf("the owner sleeps for %v", s)
		}
	})
	post1(t, ana, "entre-temps")
	fill(nil)
	post1(t, ben, "après")
	w.shows([]string{"avant", "entre-temps", "après"}, ana, ben)
	w.until("the links to be back", func() bool { return ben.status().Peers > 0 })

	// A failure that leaves the store unusable ends the node, with one error.
	fill(errors.New("input/output error"))
	refused(t, ben, api.CodeDiskFailed, api.CommandPost, announcement("perdu"))
	<-ben.ended
	ben.ends = api.CodeDiskFailed
	refused(t, ben, api.CodeInterrupted, api.CommandStatus, nil)
}

// An error that nobody expected: all that the batch did to the group is thrown
// away and everybody who waited is told; the rest of the batch stands.
func TestUnexpectedErrors(t *testing.T) {
	w := newWorld(t)
	n := w.offline(w.profile("Ana"))
	one := call[api.GroupCreated](t, n, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Un"}).Group
	two := call[api.GroupCreated](t, n, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Deux"}).Group
	broken := errors.New("broken")
	write := func(group, title string, end error) job {
		return job{done: make(chan error, 1), change: func() (*groupState, error) {
			args := announcement(title)
			args.Group = group
			g, _, err := post(n, args)
			return g, errors.Join(err, end)
		}}
	}
	seen := -1
	jobs := []job{write(one, "a", nil), write(two, "b", nil), write(one, "c", broken), write(one, "d", nil),
		{done: make(chan error, 1), read: func() error {
			seen = len(n.groups[groupID(t, one)].engine.Notices(n.now(), nil, true))
			return nil
		}}}
	if err := n.runBatch(jobs); err != nil {
		t.Fatal(err)
	}
	for i, failed := range []bool{true, false, true, true, false} {
		if err := <-jobs[i].done; (err != nil) != failed {
			t.Errorf("job %d: %v", i, err)
		}
	}
	list := func(group string) int {
		return len(call[[]api.Notice](t, n, api.CommandNotices, api.NoticesArgs{Group: group}))
	}
	// "d" was written to the engine that was loaded again, so it is there, though
	// its writer was told of a failure; what came before is not.
	if list(two) != 1 || list(one) > 1 || seen != list(one) {
		t.Errorf("group two lists %d, group one %d, and %d were seen", list(two), list(one), seen)
	}
	// A refusal throws nothing away.
	jobs = []job{write(one, "e", nil), write(one, "f", feed.ErrNotFound)}
	before := list(one)
	if err := n.runBatch(jobs); err != nil || <-jobs[0].done != nil || <-jobs[1].done == nil {
		t.Errorf("a refusal: %v", err)
	}
	if list(one) != before+2 { // "f" was made a refusal by the test, after it was written
		t.Errorf("after a refusal %d are listed, before it %d", list(one), before)
	}
}

// The end of a node: once, from anywhere, and every waiting command is told.
func TestStopping(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	if err := ana.Run(context.Background(), nil); api.CodeOf(err) != api.CodeAlreadyRunning {
		t.Errorf("a second run: %v", err)
	}
	ana.found(api.GroupCreateArgs{})
	link := call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{}).Link
	waiting, watching, watched := make(chan error, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := api.Call[api.Joined](context.Background(), ben, api.CommandJoin, api.JoinArgs{Link: link, WaitSeconds: 60})
		waiting <- err
	}()
	go func() {
		watched <- ben.Watch(context.Background(), func(api.Event) error { close(watching); return nil })
	}()
	<-watching
	w.until("Ben to ask", func() bool { return len(call[[]api.Request](t, ana, api.CommandRequests, nil)) == 1 })
	ben.stop()
	if err := <-waiting; api.CodeOf(err) != api.CodeInterrupted {
		t.Errorf("a join that waited: %v", err)
	}
	if err := <-watched; err != nil {
		t.Errorf("a watcher: %v", err)
	}
	refused(t, ben, api.CodeInterrupted, api.CommandStatus, nil)
	if err := ben.Run(context.Background(), nil); api.CodeOf(err) != api.CodeInterrupted {
		t.Errorf("run after close: %v", err)
	}
	if err := ben.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := ana.Do(ended, api.CommandStatus, nil); err != nil && api.CodeOf(err) != api.CodeInterrupted {
		t.Errorf("a command whose context ended: %v", err)
	}
}

// Who is too far behind is cut off, and nobody else is held up.
func TestWatcherBehind(t *testing.T) {
	w := newWorld(t)
	n := w.offline(w.profile("Ana"))
	call[api.GroupCreated](t, n, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Un"})
	watching, free, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- n.Watch(context.Background(), func(ev api.Event) error {
			if ev.Event == api.EventWatching {
				close(watching)
				<-free
			}
			return nil
		})
	}()
	<-watching
	g := n.sortedGroups()[0]
	for range maxUnwatched + 1 {
		n.notify(g, engine.Event{Kind: engine.EventNotice}, false)
	}
	if len(n.watchers) != 0 {
		t.Errorf("%d watchers are left", len(n.watchers))
	}
	close(free)
	if err := <-ended; api.CodeOf(err) != api.CodeBusy {
		t.Errorf("the watcher is told %v", err)
	}
}
