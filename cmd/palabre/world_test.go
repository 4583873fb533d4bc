package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// asProgram makes the test binary be the program itself.
const asProgram = "PALABRE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is a command line to run as its own process.
type program struct {
	*exec.Cmd
	out, err bytes.Buffer
}

// palabre prepares the program with arguments, in an English home that knows
// nothing. Env holds further NAME=VALUE.
func palabre(t *testing.T, profile string, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	p := &program{Cmd: exec.Command(self, args...)}
	p.Env = []string{asProgram + "=1", "HOME=" + home, "XDG_CONFIG_HOME=" + home, "TZ=UTC", "LANG=C", "PALABRE_PROFILE=" + profile}
	p.Stdout, p.Stderr = &p.out, &p.err
	detach(p.Cmd)
	return p
}

func (p *program) with(env ...string) *program {
	p.Env = append(p.Env, env...)
	return p
}

// exit runs the program and returns its exit code.
func (p *program) exit(t *testing.T) int {
	t.Helper()
	err := p.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// fault reads what the program told on standard error as JSON.
func (p *program) fault(t *testing.T) api.Error {
	t.Helper()
	var fields map[string]string
	if err := json.Unmarshal(p.err.Bytes(), &fields); err != nil || len(fields) != 3 {
		t.Fatalf("standard error is %q (%v)", p.err.String(), err)
	}
	e := api.Error{Text: fields["error"], Hint: fields["hint"], Code: fields["code"]}
	if e.Text == "" || e.Hint == "" || e.Code == "" {
		t.Fatalf("standard error is %q", p.err.String())
	}
	return e
}

// request is what reached the backend.
type request struct{ command, args string }

// recorder is a backend that keeps what it is asked, and answers from a table.
type recorder struct {
	asked   chan request
	answers map[string]any
	events  chan api.Event
}

func (r *recorder) Do(_ context.Context, command string, args json.RawMessage) (any, error) {
	r.asked <- request{command, string(args)}
	if err, ok := r.answers[command].(error); ok {
		return nil, err
	}
	return r.answers[command], nil
}

func (r *recorder) Watch(ctx context.Context, f func(api.Event) error) error {
	for {
		select {
		case e := <-r.events:
			if err := f(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// record serves a recorder on a profile folder and returns both.
func record(t *testing.T, answers map[string]any) (*recorder, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pal") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	s, err := api.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{asked: make(chan request, 64), answers: answers, events: make(chan api.Event)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return r, dir
}

// file writes a file and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// words splits a command line at spaces; ~ stands for a space inside a word.
func words(commandLine string) []string {
	list := strings.Fields(commandLine)
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "~", " ")
	}
	return list
}
