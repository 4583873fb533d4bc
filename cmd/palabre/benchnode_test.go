package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// driven is a bench-node and the lines that it prints.
type driven struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan string
	said    *ledger
	answers []string       // not yet asked for
	got     map[int]int    // messages received, how often
	at      map[int]string // when, as printed
}

func drive(t *testing.T, dir string, name int) *driven {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	n := &driven{cmd: exec.Command(self, "bench-node", "-dir", filepath.Join(dir, strconv.Itoa(name)), "-name", strconv.Itoa(name)),
		lines: make(chan string, 64), said: new(ledger), got: map[int]int{}, at: map[int]string{}}
	n.cmd.Env = append(os.Environ(), asProgram+"=1")
	n.cmd.Stderr = n.said
	n.in, err = n.cmd.StdinPipe()
	must(t, err)
	out, err := n.cmd.StdoutPipe()
	must(t, err)
	must(t, n.cmd.Start())
	t.Cleanup(func() {
		n.cmd.Process.Kill()
		for range n.lines {
			// lets the reader end
		}
		if n.said.text() != "" {
			t.Errorf("node %d wrote to standard error: %s", name, n.said.text())
		}
	})
	go func() {
		defer close(n.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			n.lines <- s.Text()
		}
	}()
	n.answer(t, "READY")
	return n
}

// next takes one line; messages are counted, others are answers.
func (n *driven) next(t *testing.T, late <-chan time.Time, what string) {
	t.Helper()
	select {
	case line, ok := <-n.lines:
		if !ok {
			t.Fatalf("the node ended before %s: %s", what, n.said.text())
		}
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "RX" {
			id, err := strconv.Atoi(f[1])
			must(t, err)
			n.got[id]++
			n.at[id] = f[2]
			return
		}
		n.answers = append(n.answers, line)
	case <-late:
		t.Fatalf("waited in vain for %s; has %d messages", what, len(n.got))
	}
}

// answer waits for an answer and returns what follows its first word.
func (n *driven) answer(t *testing.T, word string) string {
	t.Helper()
	late := time.After(patience)
	for len(n.answers) == 0 {
		n.next(t, late, word)
	}
	first, rest, _ := strings.Cut(n.answers[0], " ")
	n.answers = n.answers[1:]
	if first != word {
		t.Fatalf("answered %s %s, not %s", first, rest, word)
	}
	return rest
}

func (n *driven) ask(t *testing.T, answer, format string, args ...any) string {
	t.Helper()
	n.tell(t, format, args...)
	return n.answer(t, answer)
}

func (n *driven) tell(t *testing.T, format string, args ...any) {
	t.Helper()
	_, err := fmt.Fprintf(n.in, format+"\n", args...)
	must(t, err)
}

// has waits until the node got every message of a range, once each.
func (n *driven) has(t *testing.T, first, count int) {
	t.Helper()
	late := time.After(2 * patience)
	for id := first; id < first+count; id++ {
		for n.got[id] == 0 {
			n.next(t, late, fmt.Sprintf("message %d of %d to %d", id, first, first+count-1))
		}
		if n.got[id] > 1 {
			t.Errorf("message %d came %d times", id, n.got[id])
		}
		if ns, err := strconv.ParseInt(n.at[id], 10, 64); err != nil || time.Since(time.Unix(0, ns)).Abs() > time.Hour {
			t.Errorf("message %d came at %q", id, n.at[id])
		}
	}
}

func (n *driven) quit(t *testing.T) {
	t.Helper()
	n.tell(t, "quit")
	for late := time.After(patience); ; {
		select {
		case _, more := <-n.lines:
			if more {
				continue
			}
			if err := n.cmd.Wait(); err != nil {
				t.Fatalf("quit: %v", err)
			}
			return
		case <-late:
			t.Fatal("the node does not quit")
		}
	}
}

// The line protocol of a benchmark: a burst reaches everybody, who was away has
// all of it afterwards, and who joins late is in the group and gets what is sent
// from then on.
func TestBenchNodeSpeaksItsLines(t *testing.T) {
	t.Parallel()
	const burst, size = 300, 200
	dir := place(t)
	a, b, c := drive(t, dir, 0), drive(t, dir, 1), drive(t, dir, 2)
	addr := a.ask(t, "ADDR", "addr")
	if !strings.HasPrefix(addr, "/ip4/127.0.0.1/tcp/") {
		t.Errorf("the address is %q", addr)
	}
	b.ask(t, "OK", "connect %s", addr)
	b.ask(t, "ERR", "connect nowhere")
	b.ask(t, "ERR", "sing")
	invite := a.ask(t, "INVITE", "create")
	if invite == "" || strings.ContainsAny(invite, " \t") {
		t.Fatal("the invite is not one word")
	}
	b.ask(t, "OK", "join %s", invite)
	c.ask(t, "OK", "join %s", invite)
	b.ask(t, "OK", "join %s", invite)

	times := strings.Fields(a.ask(t, "SENTALL", "burst 0 %d %d", burst, size))
	if len(times) != 2 || len(times[0]) != 19 || times[0] >= times[1] {
		t.Errorf("the burst was sent from and to %v", times)
	}
	b.has(t, 0, burst)
	c.has(t, 0, burst)

	c.quit(t)
	a.ask(t, "SENTALL", "burst %d %d %d", burst, burst, size)
	b.tell(t, "send %d %d", 2*burst, size)
	b.has(t, burst, burst)
	c = drive(t, dir, 2)
	c.ask(t, "OK", "join %s", invite)
	c.has(t, burst, burst+1)

	d := drive(t, dir, 3)
	d.ask(t, "OK", "join %s", invite)
	for i, from := range []*driven{a, b, c} {
		from.tell(t, "send %d %d", 10_000+i, size)
	}
	d.has(t, 10_000, 3)
	a.has(t, 10_001, 2)
	if len(a.got) != 3 { // the one that b sent, and these two
		t.Errorf("the author of the burst received %d messages", len(a.got))
	}
	for id := range d.got {
		if id < 10_000 {
			t.Errorf("the late joiner has message %d, from before it joined", id)
		}
	}
	for _, n := range []*driven{a, b, c, d} {
		n.quit(t)
	}
}
