package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// patience is how long something may take that other processes have to do.
const patience = 60 * time.Second

// person is one phone of a story that is told with real processes: a profile
// folder, and this program run on it as anybody would run it.
type person struct {
	name     string
	exe      string
	dir      string   // of the profile
	pass     string   // file with the passphrase
	env      []string // NAME=VALUE, beside the environment of this process
	said     io.Writer
	patience time.Duration

	addrs   []string // where the node can be dialled since it was switched on
	running *process
	watch   *process
	events  chan struct{} // holds a token if something happened since it was looked at
}

// newPerson makes somebody whose folder will be under dir; begin makes the
// profile. What the person's processes print beside their answers goes to said,
// which must bear concurrent use.
func newPerson(exe, dir, name string) *person {
	at := filepath.Join(dir, strings.ToLower(name))
	return &person{name: name, exe: exe, dir: at, pass: at + ".words", said: io.Discard, patience: patience}
}

// begin makes the profile, with a passphrase of its own unless there is one.
func (p *person) begin() error {
	if _, err := os.Stat(p.pass); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(p.pass, []byte("six words that nobody else knows "+p.name+"\n"), 0o600); err != nil {
			return err
		}
	}
	return p.do(nil, "init", "--name", p.name)
}

func (p *person) command(args ...string) *exec.Cmd {
	c := exec.Command(p.exe, append([]string{"--profile", p.dir, "--passphrase-file", p.pass, "--json"}, args...)...)
	c.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), p.env...)
	return c
}

// do runs one command and reads its JSON document into out. What the command
// itself complains of is an *api.Error.
func (p *person) do(out any, args ...string) error {
	c := p.command(args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, io.MultiWriter(&stderr, p.said)
	if err := c.Run(); err != nil {
		var e api.Error
		if json.Unmarshal(stderr.Bytes(), &e) == nil && e.Text != "" {
			return fmt.Errorf("%s: palabre %s: %w", p.name, args[0], &e)
		}
		return fmt.Errorf("%s: palabre %s: %w", p.name, args[0], err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
		return fmt.Errorf("%s: read the answer of palabre %s: %w", p.name, args[0], err)
	}
	return nil
}

// process is a command that stays.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended; then err is how
	err   error
}

// launch starts a command and calls each for every line that it prints.
func (p *person) launch(each func(line string), args ...string) (*process, error) {
	c := p.command(args...)
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.Stderr = p.said
	if err := c.Start(); err != nil {
		return nil, err
	}
	x := &process{cmd: c, ended: make(chan struct{})}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			each(lines.Text())
		}
		x.err = c.Wait()
		close(x.ended)
	}()
	return x, nil
}

// end sends a signal and waits for the end. A process that does not heed it is
// killed, which is an error.
func (x *process) end(s os.Signal, within time.Duration) error {
	if x == nil {
		return nil
	}
	_ = x.cmd.Process.Signal(s) // it may have ended by itself: its own error says how
	select {
	case <-x.ended:
		return x.err
	case <-time.After(within):
		_ = x.cmd.Process.Kill()
		<-x.ended
		return errors.New("palabre did not end when asked to")
	}
}

// on switches the phone on: the node runs, and its events are listened to.
func (p *person) on(listen ...string) error {
	var args []string
	for _, l := range listen {
		args = append(args, "--listen", l)
	}
	return p.onWith(args...)
}

// onWith is on with flags of run.
func (p *person) onWith(flags ...string) error {
	first := make(chan string, 1)
	run, err := p.launch(func(line string) {
		select {
		case first <- line:
		default:
			fmt.Fprintln(p.said, line)
		}
	}, append([]string{"run"}, flags...)...)
	if err != nil {
		return err
	}
	p.running = run
	var r ready
	select {
	case line := <-first:
		err = json.Unmarshal([]byte(line), &r)
	case <-run.ended:
		err = fmt.Errorf("it ended: %v", run.err)
	case <-time.After(p.patience):
		err = errors.New("it says nothing")
	}
	if err == nil && r.Event != "ready" {
		err = fmt.Errorf("it said %q first", r.Event)
	}
	if err == nil {
		p.addrs, err = r.Addrs, p.listen()
	}
	if err != nil {
		p.kill()
		return fmt.Errorf("%s: the node did not start: %w", p.name, err)
	}
	return nil
}

// listen starts `palabre watch` and makes a token of its lines.
func (p *person) listen() error {
	events := make(chan struct{}, 1)
	watch, err := p.launch(func(line string) {
		fmt.Fprintln(p.said, line)
		select {
		case events <- struct{}{}:
		default:
		}
	}, "watch")
	if err != nil {
		return err
	}
	p.events, p.watch = events, watch
	select {
	case <-events: // nothing after this is missed
		return nil
	case <-watch.ended:
		return errors.New("its events cannot be watched")
	case <-time.After(p.patience):
		return errors.New("it tells no events")
	}
}

// off switches the phone off as its owner would.
func (p *person) off() error {
	err := p.running.end(syscall.SIGTERM, p.patience)
	p.running = nil
	_ = p.watch.end(os.Kill, p.patience) // it has nothing more to tell
	p.watch = nil
	if err != nil {
		return fmt.Errorf("%s: the node did not end well: %w", p.name, err)
	}
	return nil
}

// kill takes the battery out.
func (p *person) kill() {
	_ = p.running.end(os.Kill, p.patience)
	_ = p.watch.end(os.Kill, p.patience)
	p.running, p.watch = nil, nil
}

// until waits until a condition holds. It is looked at now and after each event,
// and not waited for once the node is down.
func (p *person) until(what string, holds func() (bool, error)) error {
	late := time.NewTimer(p.patience)
	defer late.Stop()
	for {
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		if p.watch == nil {
			return fmt.Errorf("%s: no node runs that %s could come to", p.name, what)
		}
		select {
		case <-p.events:
		case <-p.watch.ended:
			return fmt.Errorf("%s: the node went down before %s came", p.name, what)
		case <-late.C:
			return fmt.Errorf("%s: waited in vain for %s", p.name, what)
		}
	}
}

// notices lists what the person reads.
func (p *person) notices(all bool) ([]api.Notice, error) {
	args := []string{"notices"}
	if all {
		args = append(args, "--all")
	}
	var list []api.Notice
	err := p.do(&list, args...)
	return list, err
}

// reads waits until the person's list has a notice at least at a version.
func (p *person) reads(id string, version uint64) (api.Notice, error) {
	var found api.Notice
	err := p.until("a notice", func() (bool, error) {
		list, err := p.notices(true)
		for _, n := range list {
			if n.ID == id && n.Version >= version {
				found = n
				return true, nil
			}
		}
		return false, err
	})
	return found, err
}
