package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

// dialTimeout is for one address: a handshake and a proof over a slow line. Through a
// proxy circuits are made first.
func (n *Node) dialTimeout() time.Duration {
	if n.cfg.Proxy != "" {
		return 90 * time.Second
	}
	return 20 * time.Second
}

// directTimeout is for an address of a place that can also be reached through a carrier:
// most often nobody else can reach it directly.
const directTimeout = 6 * time.Second

// circuitsFirst sorts addresses through carriers before others.
func circuitsFirst(a, b string) int {
	x, y := p2p.CircuitAddr(a), p2p.CircuitAddr(b)
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// dialDue starts the dials whose time has come.
func (n *Node) dialDue() {
	for _, g := range n.sortedGroups() {
		if !g.dials() {
			continue
		}
		if g.road != standing {
			n.pollDue(g)
			continue
		}
		if n.cfg.Careful {
			continue
		}
		for _, p := range g.book.next(n.now()) {
			n.dial(g, p)
		}
	}
}

// dial tries the addresses of a place in turn, beside the owner's goroutine.
func (n *Node) dial(g *groupState, p *place) {
	host, generation, own := g.host, g.hostGeneration, g.own
	addrs := slices.DeleteFunc(slices.Clone(p.addrs), func(a string) bool {
		return slices.Contains(own, a) || g.road != standing && costly(a)
	})
	through := slices.ContainsFunc(addrs, p2p.CircuitAddr)
	if p.resume {
		slices.SortStableFunc(addrs, circuitsFirst)
	}
	n.closing.Go(func() {
		var link p2p.LinkID
		worked, err := "", p2p.ErrSelf
		for _, a := range addrs {
			timeout := n.dialTimeout()
			if through && !p2p.CircuitAddr(a) {
				timeout = min(timeout, directTimeout)
			}
			ctx, cancel := context.WithTimeout(n.dialCtx, timeout)
			var this error
			link, this = host.Dial(ctx, a)
			cancel()
			if this == nil || errors.Is(this, p2p.ErrClosed) || n.dialCtx.Err() != nil {
				worked, err = a, this
				break
			}
			// What is our own counts as that only if nothing else is there.
			if !errors.Is(this, p2p.ErrSelf) {
				err = this
			}
		}
		n.post(func() {
			if g.hostGeneration == generation && n.groups[g.id] == g {
				n.dialled(g, p, link, worked, err)
			}
		})
	})
}

// dialled takes the end of a dial. The link's own events come another way, and
// may come later or be over already.
func (n *Node) dialled(g *groupState, p *place, link p2p.LinkID, addr string, err error) {
	switch {
	case err == nil:
		g.book.reached(n.now(), p, link, addr)
		if g.links[link] {
			n.linkUp(g, link)
		}
	case errors.Is(err, p2p.ErrSelf):
		g.book.isSelf(p)
		n.pollWent(g, false)
	default:
		g.book.failed(n.now(), p, n.longestPause(g))
		n.pollWent(g, false)
	}
}

// longestPause is the last of the growing pauses between two dials of one place:
// who waits to be let in asks every minute (spec 90 section 4).
func (n *Node) longestPause(g *groupState) engine.Time {
	if g.engine.Joined() {
		return pauseLast
	}
	return pauseJoining
}

// linkUp notes that a link is up, for the places that were dialled to it.
func (n *Node) linkUp(g *groupState, link p2p.LinkID) {
	addr, surplus := g.book.up(n.now(), link)
	if addr != "" {
		n.remember(g, addr)
	}
	if surplus != 0 {
		g.host.CloseLink(surplus)
	}
}

// maxWorked is how many addresses that worked are remembered for a group.
const maxWorked = 4

// remember keeps an address that worked, newest first, sealed in the store. It
// is a help for the next start, no promise: a failure is passed over.
func (n *Node) remember(g *groupState, addr string) {
	if slices.Contains(g.worked, addr) {
		return
	}
	worked := slices.Insert(slices.Clone(g.worked), 0, addr)
	worked = worked[:min(len(worked), maxWorked)]
	if p2p.CircuitAddr(addr) {
		g.worked = worked // who has just joined has no other; the next start has no use for it
		return
	}
	kept := slices.DeleteFunc(slices.Clone(worked), p2p.CircuitAddr)
	b := engine.Batch{Puts: []engine.Record{{Table: tableWorked, Key: g.id[:], Value: wire.Marshal(kept)}}}
	if n.commitOwn(b) == nil {
		g.worked = worked
	}
}
