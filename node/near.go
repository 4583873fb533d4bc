package node

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/palabre-app/palabre/node/lan"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Bounds of dialling neighbours (spec 62 section 3).
const (
	maxNear     = 32 // places that are remembered
	maxNearLink = 4  // links to them, a group
	nearTimeout = 10 * time.Second
)

// Times of dialling neighbours.
var (
	nearFirst  = engine.Seconds(5)       // after the first try that failed; it doubles
	nearAgain  = engine.Seconds(30)      // after one that led to a link
	nearForget = engine.Seconds(15 * 60) // a place that nobody names any more
)

// near is what is known of the local networks. Any neighbour may have made it up.
type near struct {
	beacon  *lan.Beacon // nil: not asked for
	here    bool        // it has looked where it is
	told    []uint16    // ports
	places  []*nearPlace
	dialing bool // one at a time
}

// nearPlace is where something may be, of which group nobody can tell.
type nearPlace struct {
	at    netip.AddrPort
	heard engine.Time
	tries map[protocol.GroupID]*nearTry
}

// nearTry is how one group fared at a place.
type nearTry struct {
	next, pause engine.Time
	link        p2p.LinkID // the last one; it may be over
}

// startNear begins to look for neighbours.
func (n *Node) startNear() {
	if !n.cfg.LAN {
		return
	}
	n.near.beacon = lan.Start(lan.Config{
		OnFound: func(at netip.AddrPort) { n.post(func() { n.near.found(n.now(), at) }) },
		OnMoved: func() { n.post(n.nearMoved) },
	})
}

// found remembers a place.
func (x *near) found(now engine.Time, at netip.AddrPort) {
	if i := slices.IndexFunc(x.places, func(p *nearPlace) bool { return p.at == at }); i >= 0 {
		x.places[i].heard = now
		return
	}
	x.places = slices.DeleteFunc(x.places, func(p *nearPlace) bool { return now-p.heard > nearForget })
	if len(x.places) < maxNear {
		x.places = append(x.places, &nearPlace{at: at, heard: now, tries: map[protocol.GroupID]*nearTry{}})
	}
}

// nearMoved forgets the networks that this device is no longer in, and with them the
// ports that it had there.
func (n *Node) nearMoved() {
	n.near.here, n.near.places, n.near.told = true, nil, nil
	for _, g := range n.groups {
		g.nearPort = 0
	}
}

// tendNear has each group that listens listen for neighbours, and says where.
func (n *Node) tendNear() {
	if !n.near.here {
		return
	}
	var ports []uint16
	for _, g := range n.sortedGroups() {
		if g.host == nil || !g.engine.Joined() || g.road != standing {
			continue
		}
		if g.nearPort == 0 {
			g.nearPort, _ = g.host.ListenNear() // without one it is tried again
		}
		if g.nearPort != 0 {
			ports = append(ports, g.nearPort)
		}
	}
	if !slices.Equal(ports, n.near.told) {
		n.near.told = ports
		n.near.beacon.Tell(ports)
	}
}

// nearNext is the try that is due first, and when; nil: there is none.
func (n *Node) nearNext() (at *nearPlace, by *groupState, try *nearTry) {
	if n.near.dialing {
		return nil, nil, nil
	}
	for _, g := range n.sortedGroups() {
		if !g.dials() || !g.engine.Joined() || g.road != standing || n.nearLinks(g) >= maxNearLink {
			continue
		}
		for _, p := range n.near.places {
			t := p.tries[g.id]
			if t == nil {
				t = &nearTry{}
				p.tries[g.id] = t
			}
			if (t.link == 0 || !g.links[t.link]) && (try == nil || t.next < try.next) {
				at, by, try = p, g, t
			}
		}
	}
	return at, by, try
}

// nearLinks counts a group's links to places.
func (n *Node) nearLinks(g *groupState) (count int) {
	for _, p := range n.near.places {
		if t := p.tries[g.id]; t != nil && t.link != 0 && g.links[t.link] {
			count++
		}
	}
	return count
}

// nearDue dials the place whose time has come.
func (n *Node) nearDue() {
	p, g, try := n.nearNext()
	if p == nil || try.next > n.now() {
		return
	}
	n.near.dialing = true
	host, generation := g.host, g.hostGeneration
	addr := address{ip: p.at.Addr(), port: p.at.Port()}.String()
	n.closing.Go(func() {
		ctx, cancel := context.WithTimeout(n.dialCtx, nearTimeout)
		link, err := host.DialNear(ctx, addr)
		cancel()
		n.post(func() {
			n.near.dialing = false
			switch {
			case g.hostGeneration != generation: // it counts for nothing
			case err != nil:
				try.link, try.pause = 0, longer(try.pause, nearFirst, pauseLast)
				try.next = n.now() + try.pause
			default:
				try.link, try.pause, try.next = link, 0, n.now()+nearAgain
			}
		})
	})
}

// hurry makes what a group tried in vain due at once: its keys are new.
func (x *near) hurry(group protocol.GroupID) {
	for _, p := range x.places {
		if t := p.tries[group]; t != nil && t.pause != 0 {
			t.next, t.pause = 0, 0
		}
	}
}
