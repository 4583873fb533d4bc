package p2p

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// Purpose says what bytes went over the network for (spec 60 section 9).
type Purpose int

const (
	// Letters are messages of links that the Sort of the host calls so, and hints.
	Letters Purpose = iota
	// Comparing is every other message of a link.
	Comparing
	// Carriers are visits to ferries, with all that their connections cost.
	Carriers
	// Connections is what links cost beside their messages: handshakes, proofs,
	// keep-alives, identify, and the headers of packets.
	Connections
	// Purposes is how many there are.
	Purposes
)

// Volume is a number of bytes in each direction, as the network counts them: with
// the headers of IP, UDP and TCP.
type Volume struct{ In, Out int64 }

// Totals is a Volume for each purpose.
type Totals [Purposes]Volume

// tally counts bytes. A nil tally counts nothing.
type tally struct{ in, out atomic.Int64 }

func (t *tally) add(in, out int) {
	if t != nil {
		t.in.Add(int64(in))
		t.out.Add(int64(out))
	}
}

func (t *tally) volume() Volume { return Volume{In: t.in.Load(), Out: t.out.Load()} }

// Traffic counts what hosts and visits send and receive, each byte once, at their
// sockets. It keeps no peer and no address. The zero Traffic is ready, and all its
// methods may be called from any goroutine; a nil one counts nothing.
type Traffic struct {
	links  tally // sockets of hosts
	visits tally // sockets of visits
	said   [2]tally

	mu   sync.Mutex
	rest Volume // the highest seen of Connections
}

// Totals returns what was counted so far. No part of it ever goes down.
func (t *Traffic) Totals() (all Totals) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// What a message counts is seen before its packets are on the way out, and
	// after they came in: its part is taken from the rest before it is there.
	rest := t.links.volume()
	for p := range t.said {
		all[p] = t.said[p].volume()
		rest.In -= all[p].In
		rest.Out -= all[p].Out
	}
	t.rest = Volume{In: max(t.rest.In, rest.In), Out: max(t.rest.Out, rest.Out)}
	all[Carriers], all[Connections] = t.visits.volume(), t.rest
	return all
}

// ofHosts and ofVisits are where sockets are counted.
func (t *Traffic) ofHosts() *tally {
	if t == nil {
		return nil
	}
	return &t.links
}

func (t *Traffic) ofVisits() *tally {
	if t == nil {
		return nil
	}
	return &t.visits
}

// message counts a message of a link with its frame.
func (t *Traffic) message(p Purpose, in, out int) {
	if t != nil && int(p) < len(t.said) {
		t.said[p].add(in, out)
	}
}

// gossip counts bytes of a stream that hints travel on.
func (t *Traffic) gossip(id protocol.ID, in, out int) {
	if strings.HasPrefix(string(id), "/meshsub/") {
		t.message(Letters, in, out)
	}
}
