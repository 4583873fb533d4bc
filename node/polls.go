package node

import (
	"slices"
	"strings"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
)

// road is how a group uses the network now (spec 90 section 9).
type road int

const (
	standing road = iota // it listens, and keeps links
	polling              // it makes one short visit every now and then: data is dear
	acting               // the cap of today is reached: one only after a person did something
)

func (n *Node) road(g *groupState) road {
	switch {
	case n.data.reached(n.clock()):
		return acting
	case n.cfg.Saver && !n.cfg.Careful && g.engine.Joined():
		return polling
	}
	return standing
}

// Times of polls.
var (
	pollEvery   = engine.Seconds(15 * 60)      // for each group that there is
	pollNight   = engine.Seconds(60 * 60)      // at night, at least
	pollMember  = engine.Seconds(24 * 60 * 60) // how long letter carriers alone will do
	pollQuiet   = engine.Seconds(3)            // when nothing was said so long, all is said
	pollPatient = engine.Seconds(15)           // or so long, on a slow line
	pollLongest = engine.Seconds(10 * 60)
)

// pollTries is how many places one poll dials before it gives up.
const pollTries = 4

// poll is one short visit of a group that keeps no links: to a letter carrier, or to a
// member. Its link is closed when both have said what they have to say.
type poll struct {
	next  engine.Time // when it is to begin; 0: never
	asked bool        // a person did something, or asked
	on    bool        // it is going on

	began   engine.Time
	before  int64       // bytes of the day when it began
	carrier bool        // one was tried
	tries   int         // places that were dialled
	place   *place      // that was dialled last
	dialled engine.Time // when
	heard   engine.Time // when something was said on the link last; 0: there is none
	quiet   engine.Time // for how long nothing must be said
	again   bool        // the link was of an older key: the newest opens more

	member engine.Time // when one was last looked for
}

// soon plans a poll within some time. By says that a person wants it.
func (p *poll) soon(now, within engine.Time, by bool) {
	at := now + upTo(within)
	if p.next == 0 || at < p.next {
		p.next = at
	}
	p.asked = p.asked || by
}

// told notes that something was said on a link.
func (p *poll) told(now engine.Time) {
	if p.heard != 0 {
		p.heard = now
	}
}

// costly says whether an address is of QUIC, whose first packets alone are more than a
// poll by TCP.
func costly(addr string) bool { return strings.HasSuffix(addr, "/quic-v1") }

// pollPause is about how long there is between two polls of a group: the more groups,
// the longer, and longer at night.
func (n *Node) pollPause() engine.Time {
	every := engine.Time(0)
	for _, g := range n.groups {
		if g.engine.Joined() {
			every += pollEvery
		}
	}
	if hour := n.clock().Local().Hour(); hour >= 23 || hour < 6 {
		every = max(every, pollNight)
	}
	return max(every, pollEvery)
}

// pollDue begins a poll if its time has come.
func (n *Node) pollDue(g *groupState) {
	p, now := &g.poll, n.now()
	// A pause that is longer than any comes of a clock that was set back.
	if p.on || p.next == 0 || now < p.next && p.next < now+2*max(n.pollPause(), pollNight) {
		return
	}
	if n.road(g) == acting && !p.asked {
		p.next = 0
		return
	}
	if p.asked {
		g.book.hurry(now)
		for _, x := range g.carriers.list {
			x.next = now
		}
	}
	*p = poll{on: true, began: now, before: n.data.today(n.clock()).sum(), member: p.member}
	p.next = now + around(n.pollPause())
	n.pollStep(g)
}

// pollStep takes the next way of a poll that is going on: a letter carrier, then
// members, those last that did not answer for a while.
func (n *Node) pollStep(g *groupState) {
	p, now := &g.poll, n.now()
	if c := &g.carriers; !p.carrier && !c.busy && len(c.list) > 0 {
		if first := c.first(); first.pause == 0 || first.next <= now || len(g.book.places) == 0 {
			p.carrier = true
			n.call(g, first)
			return
		}
	}
	if n.cfg.Careful {
		p.on = false
		return
	}
	if p.again && p.place != nil && p.place.idle() {
		p.again = false
	} else {
		p.place = g.book.pick(now)
	}
	if p.place == nil || p.tries == pollTries {
		p.on = false
		return
	}
	p.tries++
	p.dialled, p.member = now, now
	p.place.dialing, p.place.tried = true, now
	n.dial(g, p.place)
}

// pick returns a place for a poll: one that answers by TCP.
func (b *book) pick(now engine.Time) *place {
	list := slices.DeleteFunc(b.waiting(now), func(p *place) bool {
		return !slices.ContainsFunc(p.addrs, func(a string) bool { return !costly(a) })
	})
	slices.SortStableFunc(list, func(p, q *place) int {
		switch x, y := p.pause > pauseJoining, q.pause > pauseJoining; {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// pollWent goes on after a visit to a letter carrier, or after a dial that led nowhere.
// What carriers do not carry comes of members: now and then one is looked for as well.
func (n *Node) pollWent(g *groupState, well bool) {
	p := &g.poll
	if !p.on || p.heard != 0 {
		return
	}
	if well && n.now()-p.member < pollMember {
		p.on = false
		return
	}
	n.pollStep(g)
}

// pollUp notes that a link is up. Where no poll is going on, it comes too late.
func (n *Node) pollUp(g *groupState, up p2p.LinkUp) {
	p, now := &g.poll, n.now()
	switch {
	case g.road == standing:
	case !p.on:
		g.host.CloseLink(up.Link)
	default:
		p.heard, p.again = now, up.Class == p2p.CatchUp
		p.quiet = min(max(pollQuiet, now-p.dialled), pollPatient)
	}
}

// pollDown notes that a link has ended: the other side, or the engine, closed it. On one
// of an older key the newest keys came, and what they open comes on the next.
func (n *Node) pollDown(g *groupState) {
	p := &g.poll
	if !p.on || p.heard == 0 || len(g.links) > 0 {
		return
	}
	p.heard = 0
	if p.again {
		g.book.hurry(n.now())
		n.pollStep(g)
		return
	}
	p.on = false
}

// endPolls ends those that are over: nothing was said for a while, or it took too long,
// or more than is left for a short visit once the cap is reached.
func (n *Node) endPolls() {
	for _, g := range n.sortedGroups() {
		p, now := &g.poll, n.now()
		if !p.on {
			continue
		}
		spent := n.data.today(n.clock()).sum() - p.before
		switch {
		case now < p.began || now >= p.began+pollLongest || g.road == acting && spent >= pollUse:
			n.endPoll(g)
		case now < n.pollAt(g):
		case p.again: // the keys have come: pollDown goes on under them
			p.heard = now
			n.hangUp(g)
		default:
			n.endPoll(g)
		}
	}
}

// pollAt is when something is to be done about the polls of a group.
func (n *Node) pollAt(g *groupState) engine.Time {
	p := &g.poll
	switch {
	case !p.on:
		return p.next
	case p.heard != 0:
		return min(p.heard+p.quiet, p.began+pollLongest)
	}
	return p.began + pollLongest
}

// endPoll takes leave of whoever is visited.
func (n *Node) endPoll(g *groupState) {
	g.poll.on, g.poll.heard = false, 0
	n.endVisit(g)
	n.hangUp(g)
}

func (n *Node) hangUp(g *groupState) {
	for id := range g.links {
		g.host.CloseLink(id)
	}
}
