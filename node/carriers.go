package node

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Times of visits to letter carriers (spec 90 section 4).
var (
	visitFirst   = engine.Seconds(10)      // after the start, at most
	visitSoon    = engine.Seconds(5)       // after somebody here did something, at most
	visitJoining = engine.Seconds(2 * 60)  // while this device waits to be let in
	visitAlone   = engine.Seconds(15 * 60) // while no other phone of the group is connected
	visitLinked  = engine.Seconds(60 * 60) // while one is
	failedFirst  = engine.Seconds(60)      // after a visit that came to nothing; it doubles
)

// firstVisitPeer is where the numbers of visits begin, above those of links.
const firstVisitPeer = engine.Peer(1 << 63)

// carrier is one letter carrier that the policy of a group names.
type carrier struct {
	named   string    // as the policy has it
	addr    string    // to dial, with the peer ID that must answer
	id      string    // the peer ID, as the engine knows it
	ticket  *[32]byte // nil: none
	next    engine.Time
	pause   engine.Time // after visits that came to nothing; 0: the last one did not
	visited engine.Time // when it answered last, while the program runs
}

// carriers are those of a group, of which one is visited at a time.
type carriers struct {
	list  []*carrier
	busy  bool
	visit *p2p.Visit // nil: none, or it is not there yet
	peer  engine.Peer
	heard bool // the visited one said something
}

// sync follows the policy. What cannot be read is for a newer version, and left out.
func (c *carriers) sync(now engine.Time, named []string) {
	if slices.EqualFunc(c.list, named, func(x *carrier, s string) bool { return x.named == s }) {
		return
	}
	old := c.list
	c.list = nil
	for _, s := range named {
		if i := slices.IndexFunc(old, func(x *carrier) bool { return x.named == s }); i >= 0 {
			c.list = append(c.list, old[i])
		} else if x, ok := parseCarrier(s); ok && x.named == s {
			x.next = now + upTo(visitFirst)
			c.list = append(c.list, &x)
		}
	}
}

// soon makes all of them due.
func (c *carriers) soon(now, within engine.Time) {
	for _, x := range c.list {
		x.next = min(x.next, now+upTo(within))
	}
}

// alone brings visits forward: no other phone is connected directly any more, and what
// the others write comes by letter.
func (c *carriers) alone(now engine.Time) {
	for _, x := range c.list {
		if x.visited != 0 && x.pause == 0 {
			x.next = min(x.next, max(x.visited+around(visitAlone), now+upTo(visitSoon)))
		}
	}
}

// due is when the next visit is to be made; 0: none can be.
func (c *carriers) due() engine.Time {
	if c.busy || len(c.list) == 0 {
		return 0
	}
	return c.first().next
}

func (c *carriers) first() *carrier {
	return slices.MinFunc(c.list, func(a, b *carrier) int { return cmp.Compare(a.next, b.next) })
}

// upTo draws a time, so that nobody can tell by its moment which phones do the same.
func upTo(t engine.Time) engine.Time { return engine.Time(rand.Int64N(int64(t)) + 1) }

// around draws a time of about t.
func around(t engine.Time) engine.Time { return t*4/5 + upTo(t*2/5) }

// visitDue begins the visits whose time has come.
func (n *Node) visitDue() {
	for _, g := range n.sortedGroups() {
		g.carriers.sync(n.now(), n.carefully(g.engine.Ferries()))
		if !g.dials() || g.road != standing {
			continue
		}
		if at := g.carriers.due(); at != 0 && at <= n.now() {
			n.call(g, g.carriers.first())
		}
	}
}

// call visits a carrier, beside the owner's goroutine until it is there.
func (n *Node) call(g *groupState, c *carrier) {
	g.carriers.busy, c.next = true, n.now()+visitAlone // unless it is over before
	n.closing.Go(func() {
		ctx, cancel := context.WithTimeout(n.dialCtx, n.dialTimeout())
		v, err := p2p.VisitFerry(ctx, c.addr, n.cfg.Proxy, &n.data.traffic)
		cancel()
		n.post(func() {
			switch {
			case err != nil:
				g.carriers.busy = false
				c.failed(n.now())
				n.pollWent(g, false)
			case n.groups[g.id] != g || !g.dials():
				g.carriers.busy = false
				v.Close()
			default:
				n.arrived(g, c, v)
			}
		})
	})
}

func (c *carrier) failed(now engine.Time) {
	c.pause = longer(c.pause, failedFirst, visitLinked)
	c.next = now + around(c.pause)
}

// arrived begins the session of a visit.
func (n *Node) arrived(g *groupState, c *carrier, v *p2p.Visit) {
	n.visits++
	peer := firstVisitPeer + engine.Peer(n.visits)
	g.carriers.visit, g.carriers.peer, g.carriers.heard = v, peer, false
	n.step(g, engine.FerryUp{Peer: peer, Ferry: v.Ferry(), Client: v.Client(), Ticket: c.ticket})
	mine := func() bool { return g.carriers.visit == v }
	v.Start(func(data []byte) {
		n.post(func() {
			if mine() {
				g.carriers.heard = true
				n.step(g, engine.Received{Peer: peer, Data: data})
			}
		})
	}, func() {
		n.post(func() {
			if mine() {
				n.visitOver(g, c)
			}
		})
	})
}

// visitOver ends a visit, and plans the next one.
func (n *Node) visitOver(g *groupState, c *carrier) {
	now, heard := n.now(), g.carriers.heard
	n.endVisit(g)
	defer n.pollWent(g, heard)
	switch {
	case !heard:
		c.failed(now)
	case !g.engine.Joined():
		c.pause, c.visited, c.next = 0, now, now+around(visitJoining)
	case len(g.links) > len(g.through): // those do not last
		c.pause, c.visited, c.next = 0, now, now+around(visitLinked)
	default:
		c.pause, c.visited, c.next = 0, now, now+around(visitAlone)
	}
}

// endVisit takes leave of a carrier, if one is being visited.
func (n *Node) endVisit(g *groupState) {
	v := g.carriers.visit
	if v == nil {
		return
	}
	peer := g.carriers.peer
	g.carriers.visit, g.carriers.busy = nil, false
	v.Close()
	n.step(g, engine.PeerDown{Peer: peer})
}
