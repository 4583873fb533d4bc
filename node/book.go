package node

import (
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Limits of dialling (spec 90 section 4).
const (
	maxLinks      = 4  // dialled links a group
	maxPlaces     = 64 // remembered to dial, a group
	maxPlaceAddrs = 8
)

// Times of dialling.
var (
	pauseFirst   = engine.Seconds(2)   // after the first try that failed; it doubles
	pauseJoining = engine.Seconds(60)  // and ends here, for who waits to be let in
	pauseLast    = engine.Seconds(512) // or here, for members
	pauseDown    = engine.Seconds(1) / 4
	lived        = engine.Seconds(30)  // a link that lasted so long was a good one
	rotateEvery  = engine.Seconds(900) // all links are taken and others wait
	// A link through a carrier that lasted so long was ended by the carrier's clock, and
	// had nothing left to bring: making it again costs more than waiting.
	circuitLived = engine.Seconds(100)
	circuitEvery = engine.Seconds(900)
)

// book is where to dial for one group. It is a function of what it is told.
type book struct {
	places []*place
	rotate engine.Time // when one link makes way for a place that waits; 0: none waits
}

// place is where one device of the group may answer: alternative addresses of
// it, tried in order, which lead to one link.
type place struct {
	addrs   []string
	given   bool // by a link or by hand, or it worked before: kept for good
	tried   engine.Time
	next    engine.Time // not to be dialled before
	pause   engine.Time
	dialing bool
	link    p2p.LinkID // 0: none
	since   engine.Time
	claim   p2p.LinkID // a dial led to this link, which is not up yet
	via     string     // the address that did
	self    bool       // this device answers there
	resume  bool       // a link through a carrier ended before its time: there first
}

func (p *place) idle() bool { return !p.dialing && p.link == 0 && !p.self }

func (p *place) has(addrs []string) bool {
	return slices.ContainsFunc(addrs, func(a string) bool { return slices.Contains(p.addrs, a) })
}

// longer doubles a pause between bounds.
func longer(pause, first, last engine.Time) engine.Time { return min(max(pause*2, first), last) }

// add remembers a place, and makes a given one due at once. Places that turn out
// to be one device become one.
func (b *book) add(now engine.Time, addrs []string, given bool) {
	if len(addrs) == 0 {
		return
	}
	addrs = addrs[:min(len(addrs), maxPlaceAddrs)]
	i := slices.IndexFunc(b.places, func(p *place) bool { return p.has(addrs) })
	if i < 0 {
		b.insert(&place{addrs: slices.Clone(addrs), given: given})
		return
	}
	p := b.places[i]
	b.places = slices.DeleteFunc(b.places, func(q *place) bool {
		if q == p || !q.has(addrs) || !q.idle() {
			return false
		}
		p.given = p.given || q.given
		return true
	})
	if slices.ContainsFunc(addrs, func(a string) bool { return !slices.Contains(p.addrs, a) }) {
		merged := slices.Clone(addrs)
		for _, a := range p.addrs {
			if p.given && !slices.Contains(merged, a) && !p2p.CircuitAddr(a) && len(merged) < maxPlaceAddrs {
				merged = append(merged, a)
			}
		}
		p.addrs, p.self = merged, false
		p.next, p.pause = now, 0
	}
	if given {
		p.given = true
		p.next, p.pause = now, 0
	}
}

// insert adds a place; the one that was tried last gives way, never a given one.
func (b *book) insert(p *place) {
	if len(b.places) >= maxPlaces {
		old := -1
		for i, q := range b.places {
			if !q.given && q.idle() && (old < 0 || q.tried > b.places[old].tried) {
				old = i
			}
		}
		if old < 0 {
			return
		}
		b.places = slices.Delete(b.places, old, old+1)
	}
	b.places = append(b.places, p)
}

// sync replaces what members said of themselves: places that nobody names any
// more are forgotten.
func (b *book) sync(now engine.Time, lists [][]string) {
	for _, addrs := range lists {
		b.add(now, addrs, false)
	}
	b.places = slices.DeleteFunc(b.places, func(p *place) bool {
		return !p.given && p.idle() && !slices.ContainsFunc(lists, p.has)
	})
}

// busy counts the links that were dialled and the dials that go on. Two places
// that turned out to lead to one device are one link.
func (b *book) busy() int {
	count, seen := 0, map[p2p.LinkID]bool{}
	for _, p := range b.places {
		if p.dialing || p.link != 0 && !seen[p.link] {
			count++
		}
		seen[p.link] = true
	}
	return count
}

// waiting lists the places that could be dialled now: given ones that were never
// tried, then those that have waited longest.
func (b *book) waiting(now engine.Time) []*place {
	var list []*place
	for _, p := range b.places {
		// A pause that is longer than any comes of a clock that was set back.
		if p.idle() && (p.next <= now || p.next > now+pauseLast) {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(p, q *place) int {
		if p.tried == q.tried && p.given != q.given {
			if p.given {
				return -1
			}
			return 1
		}
		return cmp.Compare(p.tried, q.tried)
	})
	return list
}

// next returns the places to dial now and takes them for being dialled. When all
// links are taken and others wait, one more is dialled every rotateEvery: without
// that, two halves of a big group that were apart for a while would each be
// content with themselves and stay apart.
func (b *book) next(now engine.Time) []*place {
	list := b.waiting(now)
	free := max(0, maxLinks-b.busy())
	switch {
	case len(list) <= free:
		b.rotate = 0
	case b.rotate == 0 || b.rotate > now+rotateEvery:
		b.rotate = now + rotateEvery
	case now >= b.rotate:
		b.rotate = now + rotateEvery
		free++
	}
	list = list[:min(len(list), free)]
	for _, p := range list {
		p.dialing, p.tried = true, now
	}
	return list
}

// due is when next has something to return, if nothing happens before; 0: never.
func (b *book) due() engine.Time {
	due := engine.Time(0)
	for _, p := range b.places {
		if p.idle() && (due == 0 || p.next < due) {
			due = max(p.next, 1)
		}
	}
	if due != 0 && b.rotate != 0 {
		due = max(due, b.rotate)
	}
	return due
}

// reached notes that a dial led to a link: up may have been told of it, or will
// be. If it never is, the place is dialled again.
func (b *book) reached(now engine.Time, p *place, link p2p.LinkID, addr string) {
	p.dialing = false
	p.claim, p.via = link, addr
	p.next = now + max(p.pause, pauseFirst)
	if i := slices.Index(p.addrs, addr); i > 0 && !p2p.CircuitAddr(addr) { // a direct one is better
		p.addrs = slices.Insert(slices.Delete(slices.Clone(p.addrs), i, i+1), 0, addr)
	}
}

// failed notes that nobody of the group answered at any address of the place.
func (b *book) failed(now engine.Time, p *place, last engine.Time) {
	p.dialing = false
	p.pause = longer(p.pause, pauseFirst, last)
	p.next = now + p.pause
}

func (b *book) isSelf(p *place) { p.dialing, p.self = false, true }

// up notes that a link is up. It returns the address that led to it if it was
// dialled, and a link to close if it is one more than there should be: the one
// that has been up longest.
func (b *book) up(now engine.Time, link p2p.LinkID) (addr string, surplus p2p.LinkID) {
	for _, p := range b.places {
		if p.claim == link {
			p.claim, p.link, p.since = 0, link, now
			addr = p.via
		}
	}
	if addr == "" || b.busy() <= maxLinks {
		return addr, 0
	}
	var oldest *place
	for _, p := range b.places {
		if p.link != 0 && p.link != link && (oldest == nil || p.since < oldest.since) {
			oldest = p
		}
	}
	if oldest == nil {
		return addr, 0
	}
	return addr, oldest.link
}

// down frees the places that a link was dialled to. They are dialled again soon,
// and ever later if the links do not last.
func (b *book) down(now engine.Time, link p2p.LinkID) {
	for _, p := range b.places {
		if p.link != link {
			continue
		}
		p.link = 0
		circuit := p2p.CircuitAddr(p.via)
		if circuit && now-p.since >= circuitLived {
			p.pause, p.next, p.resume = 0, now+circuitEvery, false
			continue
		}
		p.resume = circuit
		if now-p.since >= lived {
			p.pause = 0
		}
		p.pause = longer(p.pause, pauseDown, pauseJoining)
		p.next = now + p.pause
	}
}

// allDown is the end of all links and dials, of a host for example.
func (b *book) allDown(now engine.Time) {
	for _, p := range b.places {
		if p.link != 0 {
			b.down(now, p.link)
		}
		p.claim = 0
	}
}

// restart makes everything due: the host is another one.
func (b *book) restart(now engine.Time) {
	for _, p := range b.places {
		p.dialing, p.self, p.link, p.claim = false, false, 0, 0
	}
	b.hurry(now)
}

// hurry makes what waits due at once: the keys are new, or the network is.
func (b *book) hurry(now engine.Time) {
	for _, p := range b.places {
		if p.idle() {
			p.next, p.pause = now, 0
		}
	}
}
