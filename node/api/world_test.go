package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// backend is a node of a test: it counts what reaches it and answers by do.
type backend struct {
	calls atomic.Int64
	do    func(ctx context.Context, command string, args json.RawMessage) (any, error)
	watch func(ctx context.Context, f func(Event) error) error
}

func (b *backend) Do(ctx context.Context, command string, args json.RawMessage) (any, error) {
	b.calls.Add(1)
	return b.do(ctx, command, args)
}

func (b *backend) Watch(ctx context.Context, f func(Event) error) error {
	b.calls.Add(1)
	return b.watch(ctx, f)
}

// echo answers each command with its name and its arguments.
func echo() *backend {
	return &backend{do: func(_ context.Context, command string, args json.RawMessage) (any, error) {
		return map[string]any{"command": command, "args": args}, nil
	}}
}

// shortDir is a folder whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// served is a server that runs, with what it reported.
type served struct {
	dir     string
	reports chan error
	stop    func() error // ends the server, returns what Serve returned
}

func serve(t *testing.T, b Backend, with ...func(*Server)) *served {
	t.Helper()
	dir := shortDir(t)
	s, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := &served{dir: dir, reports: make(chan error, 16)}
	s.Report = func(err error) { out.reports <- err }
	for _, f := range with {
		f(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, b) }()
	stopped := false
	out.stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			if err := out.stop(); err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	})
	return out
}

func (s *served) dial(t *testing.T) *Client {
	t.Helper()
	c, err := Dial(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw sends any request, as no Client would.
func (s *served) raw(t *testing.T, method, path, kind, host string, body []byte, more ...string) (int, *Error) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	path, err = SocketPath(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	doc, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	e := new(Error)
	// Go's server answers a header that is too large by itself.
	own := answer.StatusCode == http.StatusRequestHeaderFieldsTooLarge
	if answer.StatusCode != http.StatusOK && !own && method != http.MethodHead {
		if err := json.Unmarshal(doc, e); err != nil || e.Text == "" || e.Code == "" {
			t.Fatalf("%s %s: status %d with %q", method, path, answer.StatusCode, doc)
		}
	}
	return answer.StatusCode, e
}
