package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/palabre-app/palabre/protocol/engine"
)

// One goroutine owns the engines. Everything else hands it jobs: what the
// network brought, what a person asked for. Jobs that are waiting are run
// together and made durable together; only then is anybody told (spec 90
// section 2).

// maxJobs is how many jobs one commit takes together, and how many more wait.
// A job from the network holds at most p2p.MaxMessage bytes.
const maxJobs = 128

// Bounds of how long the owner sleeps.
const (
	// minSleep keeps a plan that is overdue and cannot be carried out from
	// becoming busy work.
	minSleep = 20 * time.Millisecond
	// maxSleep bounds how late a plan is after the machine slept: timers stand
	// still meanwhile, the clock by which plans are made does not.
	maxSleep = time.Minute
)

// job is one piece of work for the owner of the engines.
type job struct {
	// change works on the engines. It returns the group that it changed, or might
	// have changed before it failed; nil for none.
	change func() (*groupState, error)
	// read, if not nil, runs after all changes of the batch are durable.
	read func() error
	done chan error // nil: nobody waits
}

// errStopped says that the node was closed while a command waited.
var errStopped = errors.New("the node was closed")

// change runs f where the engines may be touched and returns when what it did is
// durable. On an error of f nothing was changed, or the group is loaded again as
// it was.
func (n *Node) change(ctx context.Context, f func() (*groupState, error)) error {
	return n.hand(ctx, job{change: f})
}

// read runs f where the engines may be read, and nothing that f sees is not
// durable.
func (n *Node) read(ctx context.Context, f func() error) error {
	return n.hand(ctx, job{read: f})
}

func (n *Node) hand(ctx context.Context, j job) error {
	j.done = make(chan error, 1)
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return errStopped
	}
	if !n.online {
		defer n.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := n.runBatch([]job{j}); err != nil {
			return err
		}
		return <-j.done
	}
	n.mu.Unlock()
	select {
	case n.jobs <- j:
	case <-n.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	// The owner takes every job up, so this wait is short, and its end tells
	// whether the work was done: ctx does not cut it off.
	select {
	case err := <-j.done:
		return err
	case <-n.stopped:
	}
	select {
	case err := <-j.done:
		return err
	default:
		return errStopped
	}
}

// post hands over a job for which nobody waits. It blocks while the owner is
// behind, which is how a fast peer is slowed down. The owner must not call it.
func (n *Node) post(f func()) {
	select {
	case n.jobs <- job{change: func() (*groupState, error) { f(); return nil, nil }}:
	case <-n.stopped:
	}
}

// loop owns the engines until ctx ends, the control socket fails or the store
// cannot be used any more.
func (n *Node) loop(ctx context.Context, failed <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	batch := make([]job, 0, maxJobs)
	for {
		batch = batch[:0]
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-timer.C:
			n.tick()
		case j := <-n.jobs:
			batch = append(batch, j)
		}
	fill:
		for len(batch) > 0 && len(batch) < maxJobs {
			select {
			case j := <-n.jobs:
				batch = append(batch, j)
			default:
				break fill
			}
		}
		if err := n.runBatch(batch); err != nil {
			return err
		}
		clear(batch) // what was handed over is not kept alive
		timer.Reset(n.sleep())
	}
}

// runBatch carries out jobs: first all changes, then one commit for each group,
// then what may leave and be read, then the answers. Its own error is fatal.
func (n *Node) runBatch(batch []job) error {
	clear(n.lost)
	type result struct {
		group *groupState
		err   error
	}
	results := make([]result, len(batch))
	for i, j := range batch {
		if j.change == nil {
			continue
		}
		r := &results[i]
		r.group, r.err = j.change()
		if r.group == nil {
			continue
		}
		if r.err != nil && !isRefusal(r.err) {
			n.lose(r.group, r.err)
		}
		r.group.retryAt = 0 // a person asked: worth a try whatever failed before
		n.actedOn(r.group, r.err == nil)
	}
	n.settle()
	if n.settled != nil && !slices.ContainsFunc(batch, func(j job) bool { return j.read != nil }) {
		n.settled()
	}
	for i, j := range batch {
		if j.read != nil {
			results[i].err = j.read()
		}
	}
	for i, j := range batch {
		r := results[i]
		if r.err == nil && r.group != nil {
			r.err = n.lost[r.group]
		}
		if r.err == nil {
			r.err = n.fatal
		}
		if j.done != nil {
			j.done <- r.err
		}
	}
	return n.fatal
}

// tick does what has become due.
func (n *Node) tick() {
	now := n.now()
	for _, g := range n.sortedGroups() {
		if g.wake != 0 && now >= g.wake && now >= g.retryAt {
			n.step(g, engine.Tick{})
		}
		if g.host != nil && now >= g.renewAt {
			g.reopen = true
		}
	}
	if at := n.clock(); at.Sub(n.looked) >= maxSleep || at.Before(n.looked) {
		n.looked = at
		n.compareAddrs()
	}
}

// sleep is how long there is nothing to do, if no job comes.
func (n *Node) sleep() time.Duration {
	now, sleep := n.now(), maxSleep
	until := func(t engine.Time) {
		if t != 0 {
			sleep = min(sleep, max(time.Duration(t-now)*time.Millisecond, minSleep))
		}
	}
	for _, g := range n.groups {
		if g.wake != 0 {
			until(max(g.wake, g.retryAt))
		}
		if g.retryAt > now {
			until(g.retryAt)
		}
		if g.host != nil {
			until(g.renewAt)
		}
		switch {
		case !g.dials():
		case g.road == standing:
			if !n.cfg.Careful {
				until(g.book.due())
			}
			until(g.carriers.due())
			until(g.reach.due())
		default:
			until(n.pollAt(g))
		}
	}
	if _, _, try := n.nearNext(); try != nil {
		until(max(try.next, 1))
	}
	return sleep
}

func (n *Node) now() engine.Time { return engine.Time(n.clock().UnixMilli()) }
