// Package node is one profile at work: it opens the sealed store, runs an engine
// for each group, connects them to the network and answers commands.
//
// Start with Create, then Open; Run serves until its context ends, and without
// Run the same commands act on the profile alone (what is posted goes out when
// the node next runs). What is promised: a command that returned without an
// error is on disk, and one that returned an error changed nothing (if it ended
// with CodeInterrupted it may have been saved); reading commands show only what
// is on disk; one goroutine owns the engines; nothing secret and no text of a
// group is ever logged, for nothing is logged. Spec 90 is the whole of it.
//
// BUG: known holes. A clock that is set back delays what the engines have
// planned until it is right again. An address given with connect is dialled for
// every group, so whoever listens there sees that groups share a device.
package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Config says which profile to open and where to listen.
type Config struct {
	// Dir is the folder of the profile.
	Dir string
	// Passphrase opens the key file. It is not kept.
	Passphrase []byte
	// Listen holds multiaddrs for all groups' hosts: ip4 or ip6, then tcp, or udp
	// with quic-v1. Port 0 is replaced by the group's own port; any other port is
	// the first group's, and the others listen on their own. Empty: all
	// interfaces, QUIC and TCP.
	Listen []string
	// Proxy is the address of a SOCKS5 proxy, an IP address and a port, through which
	// everything is dialled then: see p2p.Config. Nothing is listened on but what
	// Listen names, which must be TCP on loopback, and no address is told to anybody.
	Proxy string
	// Saver spends little data: no group listens or keeps links, and each makes one short
	// visit every now and then (spec 90 section 9). Listen is passed over then.
	Saver bool
	// LAN looks for phones of the groups in the local networks of this machine, and
	// tells there that something is here: a random name and a port (spec 62). Not with
	// a Proxy; with Saver, or once the cap of a day is reached, nothing of it is done.
	LAN bool
	// Careful connects to letter carriers alone: no other phone is dialled, nothing is
	// listened on, no address is told, and nothing is sent at the moment when a person
	// writes it (spec 90 section 11). Not with Listen or LAN; Saver
	// is passed over then.
	Careful bool
	// Offline opens the profile for single commands: Run is refused.
	Offline bool
}

// disk is what a node needs of its store: see store.DB.
type disk interface {
	Space(store.Space) engine.Storage
	Spaces() ([]store.Space, error)
	Commit(store.Space, engine.Batch) error
	CommitAll([]store.Part) error
	DropSpace(store.Space) error
	Close() error
}

// Node is one open profile. Close it.
type Node struct {
	cfg   Config
	db    disk
	clock func() time.Time
	// settled, if not nil, is called after each batch that changed something.
	settled func()

	// mu is held by whoever works on the profile before Run. Once online is set,
	// the goroutine of Run owns all of the next block, and mu guards only what it
	// always guards: online, closed and cancel.
	mu     sync.Mutex
	online bool
	closed bool
	cancel context.CancelFunc // ends Run

	name     string
	groups   map[protocol.GroupID]*groupState
	given    []string              // addresses from connect
	reserved uint16                // port of the next group
	data     data                  // what the network cost, and may
	visits   uint64                // to letter carriers, so far
	lost     map[*groupState]error // groups whose changes of this batch are gone, and why
	fatal    error                 // the store can not be used any more
	looked   time.Time             // when the own addresses were compared last
	near     near
	dialCtx  context.Context // ends with Run
	closing  sync.WaitGroup  // dials, hosts that are being closed, ready

	jobs    chan job
	stopped chan struct{} // closed when no job is run any more
	ended   chan struct{} // closed when Run has returned

	watchMu  sync.Mutex
	watchers map[*watcher]bool
}

// errFatal wraps what the node cannot go on after.
var errFatal = errors.New("the profile cannot be used any more")

// errTwice says that a node runs or ran already.
var errTwice = errors.New("the node was started already, or is for single commands")

// Open opens the profile under its lock. The errors that people meet are
// *api.Error values; a profile that does not open is left as it was.
func Open(cfg Config) (*Node, error) {
	for _, a := range cfg.Listen {
		if _, ok := parseAddress(a); !ok {
			return nil, code(api.CodeInvalidAddress)
		}
	}
	if p2p.CheckProxy(cfg.Proxy) != nil {
		return nil, code(api.CodeInvalidProxy)
	}
	if cfg.LAN && (cfg.Proxy != "" || cfg.Careful) {
		return nil, code(api.CodeLANWouldTell)
	}
	if cfg.Careful && len(cfg.Listen) > 0 {
		return nil, code(api.CodeCarefulListens)
	}
	db, err := openProfile(cfg.Dir, cfg.Passphrase)
	if err != nil {
		return nil, problem(err)
	}
	cfg.Passphrase = nil
	n := &Node{cfg: cfg, db: db, clock: time.Now, groups: map[protocol.GroupID]*groupState{}, lost: map[*groupState]error{},
		jobs: make(chan job, maxJobs), stopped: make(chan struct{}), ended: make(chan struct{}), watchers: map[*watcher]bool{}}
	if err := n.load(); err != nil {
		return nil, problem(errors.Join(err, db.Close()))
	}
	return n, nil
}

// Run serves the groups' hosts and the control socket until ctx ends or Close is
// called, then closes links and returns nil. It calls ready once, from a
// goroutine of its own, when it can be dialled, and waits for its return before
// it returns itself. A node runs once.
func (n *Node) Run(ctx context.Context, ready func(addrs []string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	if n.closed || n.online || n.cfg.Offline {
		defer n.mu.Unlock()
		if n.closed {
			return problem(errStopped)
		}
		return problem(errTwice)
	}
	n.online, n.cancel, n.dialCtx = true, cancel, ctx
	n.mu.Unlock()
	defer close(n.ended)
	err := n.serve(ctx, cancel, ready)
	if n.near.beacon != nil {
		n.near.beacon.Close()
	}
	for _, g := range n.groups {
		if v := g.carriers.visit; v != nil {
			v.Close()
		}
		if g.host != nil {
			n.closing.Go(func() { g.host.Close() })
		}
	}
	n.closing.Wait()
	if n.fatal == nil {
		n.data.count(n.clock())
		n.saveData(n.clock())
	}
	return problem(err)
}

// serve opens the hosts and the control socket, and carries jobs out until ctx
// ends. When it returns no job is run any more, and whoever waits was told so:
// also hosts that still have something to report, which could not close otherwise.
func (n *Node) serve(ctx context.Context, cancel context.CancelFunc, ready func([]string)) error {
	defer close(n.stopped)
	if err := n.runBatch(nil); err != nil {
		return err
	}
	for _, g := range n.sortedGroups() {
		if g.trouble != nil {
			return g.trouble // told at the start; later it is tried again and again
		}
	}
	control, err := api.Listen(n.cfg.Dir)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	n.closing.Go(func() {
		if err := control.Serve(ctx, n); err != nil {
			failed <- err
		}
	})
	n.startNear()
	addrs := n.readyAddrs()
	n.closing.Go(func() { ready(addrs) })
	err = n.loop(ctx, failed)
	cancel()
	return err
}

// Close ends Run if it is going on, waits for it, and closes the store. A
// second Close does nothing.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	cancel := n.cancel
	n.mu.Unlock()
	if cancel != nil {
		cancel()
		<-n.ended
	}
	return problem(n.db.Close())
}
