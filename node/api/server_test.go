package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCommandsReachTheBackend(t *testing.T) {
	s := serve(t, &backend{do: func(_ context.Context, command string, args json.RawMessage) (any, error) {
		var a InviteArgs
		if err := DecodeArgs(args, &a); err != nil || command != CommandInvite {
			t.Errorf("%s %s: %v", command, args, err)
		}
		return Invite{Link: "palabre://join#" + a.Group + "<&>\u2028"}, nil
	}})
	got, err := Call[Invite](t.Context(), s.dial(t), CommandInvite, InviteArgs{Group: "abcdef", Uses: 3})
	if err != nil || got.Link != "palabre://join#abcdef<&>\u2028" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestErrorsKeepTheirCode(t *testing.T) {
	refusal := &Error{Code: CodeLinkExpired, Text: "too late", Hint: "ask again"}
	s := serve(t, &backend{do: func(context.Context, string, json.RawMessage) (any, error) {
		return nil, errors.Join(errors.New("outer"), refusal)
	}})
	_, err := Call[Joined](t.Context(), s.dial(t), CommandJoin, nil)
	var e *Error
	if !errors.As(err, &e) || *e != *refusal {
		t.Errorf("got %#v", err)
	}
}

func TestFaultsAreReportedAndNotTold(t *testing.T) {
	fault := errors.New("open /home/somebody/secret: no")
	for name, do := range map[string]func() (any, error){
		"error":  func() (any, error) { return nil, fault },
		"panic":  func() (any, error) { panic(fault) },
		"answer": func() (any, error) { return func() {}, nil },
	} {
		s := serve(t, &backend{do: func(context.Context, string, json.RawMessage) (any, error) { return do() }})
		_, err := Call[Status](t.Context(), s.dial(t), CommandStatus, nil)
		if CodeOf(err) != CodeInternal || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: told %v", name, err)
		}
		if r := <-s.reports; name != "answer" && !strings.Contains(r.Error(), fault.Error()) {
			t.Errorf("%s: reported %v", name, r)
		}
	}
}

// Each request but the right one is refused, for each place there is, and the
// backend never hears of it.
func TestOnlyTheExactRequestPasses(t *testing.T) {
	b := echo()
	s := serve(t, b)
	places := map[string]string{pathHello: http.MethodGet, pathWatch: http.MethodGet}
	for command := range arguments {
		places[pathRoot+command] = http.MethodPost
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "post"}
	for place, right := range places {
		for _, m := range methods {
			if m == right {
				continue
			}
			if status, _ := s.raw(t, m, place, typeJSON, hostName, []byte("{}")); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", m, place, status)
			}
		}
		for _, bad := range []struct {
			host  string
			extra []string
		}{
			{"localhost", nil}, {"palabre.example", nil}, {"PALABRE", nil},
			{hostName, []string{"Origin", "null"}}, {hostName, []string{"Sec-Fetch-Site", "same-origin"}},
		} {
			if status, _ := s.raw(t, right, place, typeJSON, bad.host, []byte("{}"), bad.extra...); status != http.StatusForbidden {
				t.Errorf("%s for %s %v: %d", place, bad.host, bad.extra, status)
			}
		}
		if right != http.MethodPost {
			continue
		}
		for _, kind := range []string{"", "text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"} {
			if status, _ := s.raw(t, right, place, kind, hostName, []byte("{}")); status != http.StatusUnsupportedMediaType {
				t.Errorf("%s as %q: %d", place, kind, status)
			}
		}
		for _, body := range []string{"null", "[]", `""`, "{", "{} {}", `{"nosuch":1}`, "\x00"} {
			if status, e := s.raw(t, right, place, typeJSON, hostName, []byte(body)); status != http.StatusUnprocessableEntity || e.Code != CodeBadRequest {
				t.Errorf("%s with %q: %d %s", place, body, status, e.Code)
			}
		}
	}
	for _, place := range []string{"/", "/v1", "/v1/", "/v2/status", "/v1/nosuch", "/v1/status/", "/v1//status", "/v1/status?x=1", "/v1/Status"} {
		status, e := s.raw(t, "POST", place, typeJSON, hostName, []byte("{}"))
		if status != http.StatusNotFound || e.Code != CodeUnknownCommand {
			t.Errorf("%s: %d %s", place, status, e.Code)
		}
	}
	if n := b.calls.Load(); n != 0 {
		t.Errorf("the backend was asked %d times", n)
	}
	if status, _ := s.raw(t, "POST", "/v1/status", typeJSON, hostName, nil); status != http.StatusOK || b.calls.Load() != 1 {
		t.Errorf("the right request: %d", status)
	}
}

func TestUnknownCommandOfAClient(t *testing.T) {
	b := echo()
	s := serve(t, b)
	if _, err := s.dial(t).Do(t.Context(), "nosuch", nil); CodeOf(err) != CodeUnknownCommand {
		t.Errorf("got %v", err)
	}
}

func TestRequestBounds(t *testing.T) {
	b := echo()
	s := serve(t, b)
	body := func(n int) []byte {
		frame := `{"id":"","reason":""}`
		return []byte(`{"id":"","reason":"` + strings.Repeat("x", n-len(frame)) + `"}`)
	}
	if status, _ := s.raw(t, "POST", "/v1/cancel", typeJSON, hostName, body(MaxRequest)); status != http.StatusOK {
		t.Errorf("at the bound: %d", status)
	}
	status, e := s.raw(t, "POST", "/v1/cancel", typeJSON, hostName, body(MaxRequest+1))
	if status != http.StatusRequestEntityTooLarge || e.Code != CodeTooLarge || b.calls.Load() != 1 {
		t.Errorf("over the bound: %d %s", status, e.Code)
	}
	if _, err := s.dial(t).Do(t.Context(), CommandCancel, body(MaxRequest+1)); CodeOf(err) != CodeTooLarge {
		t.Errorf("a client: %v", err)
	}
	if status, _ := s.raw(t, "POST", "/v1/status", typeJSON, hostName, []byte("{}"), "X-Long", strings.Repeat("x", 2*maxHeader)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long header: %d", status)
	}
}

// A join waits for longer than a request may take to arrive. The wait is real,
// because the deadline of a socket is.
func TestSlowCommandOutlivesTheReadTimeout(t *testing.T) {
	const patience = 50 * time.Millisecond
	s := serve(t, &backend{do: func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(4 * patience):
			return Joined{State: StateWaiting}, nil
		}
	}}, func(s *Server) { s.patience = patience })
	got, err := Call[Joined](t.Context(), s.dial(t), CommandJoin, JoinArgs{})
	if err != nil || got.State != StateWaiting {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTooManyCommandsAtOnce(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, &backend{do: func(context.Context, string, json.RawMessage) (any, error) {
		inside <- struct{}{}
		<-leave
		return Done{true}, nil
	}})
	c := s.dial(t)
	ended := make(chan error, MaxCommands)
	for range MaxCommands {
		go func() {
			_, err := c.Do(t.Context(), CommandStatus, nil)
			ended <- err
		}()
		<-inside
	}
	if _, err := c.Do(t.Context(), CommandStatus, nil); CodeOf(err) != CodeBusy {
		t.Errorf("one too many: %v", err)
	}
	close(leave)
	for range MaxCommands {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestCommandEndsWithItsClient(t *testing.T) {
	inside, gone := make(chan struct{}), make(chan error)
	s := serve(t, &backend{do: func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
		close(inside)
		<-ctx.Done()
		gone <- ctx.Err()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	c := s.dial(t)
	go func() {
		_, err := c.Do(ctx, CommandJoin, nil)
		ended <- err
	}()
	<-inside
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	<-gone
}

func TestCommandEndsWithTheServer(t *testing.T) {
	inside := make(chan struct{})
	s := serve(t, &backend{do: func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
		close(inside)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	ended := make(chan error)
	c := s.dial(t)
	go func() {
		_, err := c.Do(t.Context(), CommandJoin, nil)
		ended <- err
	}()
	<-inside
	if err := s.stop(); err != nil {
		t.Errorf("serve: %v", err)
	}
	if err := <-ended; CodeOf(err) != CodeInterrupted {
		t.Errorf("the client got %v", err)
	}
	if _, err := c.Do(t.Context(), CommandStatus, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

// ticker is a backend whose watchers see what is sent, and that tells of their
// coming and going.
func ticker() (b *backend, events chan Event, gone chan struct{}) {
	events, gone = make(chan Event), make(chan struct{}, MaxWatches+1)
	b = &backend{watch: func(ctx context.Context, f func(Event) error) error {
		defer func() { gone <- struct{}{} }()
		if err := f(Event{Event: EventWatching}); err != nil {
			return err
		}
		for {
			select {
			case <-ctx.Done():
				return nil
			case e := <-events:
				if err := f(e); err != nil {
					return err
				}
			}
		}
	}}
	return b, events, gone
}

func TestWatch(t *testing.T) {
	b, events, gone := ticker()
	s := serve(t, b)
	want := []Event{{Event: EventWatching}, {Event: EventNotice, Group: "aa", ID: "bb", Own: true}, {Event: EventTaken, Group: "aa"}}
	ctx, cancel := context.WithCancel(t.Context())
	var got []Event
	seen := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- s.dial(t).Watch(ctx, func(e Event) error {
			got = append(got, e)
			seen <- struct{}{}
			return nil
		})
	}()
	<-seen
	for _, e := range want[1:] {
		events <- e
		<-seen
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a watch that was ended: %v", err)
	}
	<-gone // and the backend knows
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	stop := errors.New("enough")
	if err := s.dial(t).Watch(t.Context(), func(Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of f: %v", err)
	}
	<-gone
}

func TestWatchEndsWithTheServer(t *testing.T) {
	b, _, gone := ticker()
	s := serve(t, b)
	c := s.dial(t)
	ended := make(chan error, MaxWatches)
	seen := make(chan struct{}, MaxWatches)
	for range MaxWatches {
		go func() {
			ended <- c.Watch(t.Context(), func(Event) error { seen <- struct{}{}; return nil })
		}()
		<-seen
	}
	if err := c.Watch(t.Context(), func(Event) error { return nil }); CodeOf(err) != CodeBusy {
		t.Errorf("one too many: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for range MaxWatches {
		<-gone
		if err := <-ended; !errors.Is(err, ErrNotRunning) {
			t.Errorf("got %v", err)
		}
	}
}

func TestWatchTellsWhyItEnds(t *testing.T) {
	fault := errors.New("secret")
	for _, c := range []struct {
		err  error
		code string
	}{{&Error{Code: CodeBusy, Text: "too slow"}, CodeBusy}, {fault, CodeInternal}} {
		s := serve(t, &backend{watch: func(context.Context, func(Event) error) error { return c.err }})
		err := s.dial(t).Watch(t.Context(), func(Event) error { return nil })
		if CodeOf(err) != c.code || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
		if c.err == fault && !errors.Is(<-s.reports, fault) {
			t.Error("the fault was not reported")
		}
	}
}

func TestDialRefusesAnotherProgram(t *testing.T) {
	dir := shortDir(t)
	path, err := SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"program":"other","api":1}`)) })}
	go other.Serve(l)
	defer other.Close()
	if _, err := Dial(dir); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

func TestCallOnABackendInTheSameProcess(t *testing.T) {
	b := &backend{do: func(context.Context, string, json.RawMessage) (any, error) { return []Member{{ID: "aa"}}, nil }}
	for range 2 {
		if got, err := Call[[]Member](t.Context(), b, CommandMembers, GroupArgs{}); err != nil || len(got) != 1 || got[0].ID != "aa" {
			t.Errorf("got %+v, %v", got, err)
		}
		b.do = func(context.Context, string, json.RawMessage) (any, error) {
			return []map[string]string{{"id": "aa"}}, nil
		}
	}
	b.do = func(_ context.Context, _ string, args json.RawMessage) (any, error) {
		if !bytes.Equal(args, []byte("{}")) {
			t.Errorf("nil arguments are %s", args)
		}
		return "", nil
	}
	if _, err := Call[Status](t.Context(), b, CommandStatus, nil); err == nil {
		t.Error("a string was taken for a status")
	}
}
