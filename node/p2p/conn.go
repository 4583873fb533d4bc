package p2p

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// verdict is what has become of a connection's proof.
type verdict int

const (
	pending  verdict = iota
	refused          // or closed before it proved anything
	admitted         // proven, with a link; not for the libp2p host
	shown            // proven, with a link, and shown to the libp2p host
	relayed          // as admitted, of class Member, through a ferry (circuit.go)
	carrier          // to a ferry that may connect us with others; it proves nothing
)

// conn is our record of one swarm connection, kept from the end of its
// handshake to its close.
type conn struct {
	network.Conn
	dialled bool
	circuit bool        // it goes through a ferry
	claimed atomic.Bool // the first inbound stream has been taken for the proof
	held    atomic.Int64
	timer   *time.Timer
	leave   func() // gives back the place among the unproven

	decided chan struct{} // closed when the verdict is no longer pending
	ended   chan struct{} // closed when the connection is

	mu      sync.Mutex // held while the host above is told, so that it hears Connected first
	verdict verdict
	closed  bool
	visible atomic.Bool // verdict is shown and the connection is open
}

// shut closes the connection, in silence.
func (c *conn) shut() {
	c.decide(refused)
	c.Conn.Close()
}

// decide moves from pending to v and reports whether it did.
func (c *conn) decide(v verdict) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.decideLocked(v)
}

func (c *conn) decideLocked(v verdict) bool {
	if c.verdict != pending || c.closed && v != refused {
		return false
	}
	c.verdict = v
	c.timer.Stop()
	c.leave()
	if v != shown {
		close(c.decided)
	}
	return true
}

// decidedAs returns the verdict so far.
func (c *conn) decidedAs() verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verdict
}

// wait blocks until the verdict is there. The proof's deadline bounds it.
func (c *conn) wait() verdict {
	<-c.decided
	return c.decidedAs()
}
