package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// maxPlaceTime is for finding a letter carrier that has a place.
const maxPlaceTime = 40 * time.Second

// reach is the place at a letter carrier by which the others can reach this phone of
// a group (spec 90 section 3). There is one at a time: each costs a connection that is
// never closed.
type reach struct {
	named   []string        // the carriers that the host was told of, as the policy has them
	asked   bool            // the first answer is there, or nobody is to be asked
	busy    bool            // carriers are being asked
	addr    string          // where others find this phone; empty: nowhere yet
	carrier string          // peer ID of the carrier there
	lost    <-chan struct{} // closed when that place is no more; nil: there is none
	next    engine.Time     // when to ask, or ask for longer; 0: not at all
	pause   engine.Time     // after carriers that gave none
}

// tendPlaces tells hosts which letter carriers may connect them, and asks for the places
// that are due. In a group at high risk nobody is connected by a carrier, which would
// learn who calls whom: letters go through it as ever.
func (n *Node) tendPlaces() {
	for _, g := range n.sortedGroups() {
		if g.host == nil || n.cfg.Proxy != "" {
			continue
		}
		var named []string
		if !g.risky {
			for _, c := range g.carriers.list {
				named = append(named, c.named)
			}
		}
		s := &g.reach
		if !slices.Equal(named, s.named) {
			s.named, s.pause = named, 0
			s.next = n.now() + upTo(visitFirst)
			_ = g.host.SetFerries(n.ferries(g, named)) // they were read before
		}
		if len(named) == 0 || !g.engine.Joined() || len(g.listening) == 0 {
			s.next = 0
			if !s.asked {
				s.asked = true
				n.closing.Go(func() { n.post(func() { n.tellAddrs(g) }) }) // the engines are at rest now
			}
			continue
		}
		if s.next != 0 && s.next <= n.now() && !s.busy && g.dials() {
			n.askForPlace(g)
		}
	}
}

// ferries are the carriers of a group as its host wants them.
func (n *Node) ferries(g *groupState, named []string) (list []p2p.Ferry) {
	for _, c := range g.carriers.list {
		if !slices.Contains(named, c.named) {
			continue
		}
		f := p2p.Ferry{Addr: c.addr}
		if c.ticket != nil {
			seed := *c.ticket
			f.Show = func(ctx context.Context, v *p2p.Visit) error { return showTicket(ctx, v, seed) }
		}
		list = append(list, f)
	}
	return list
}

// askForPlace asks carriers until one has a place: the one that has it now, then the
// others as they are drawn.
func (n *Node) askForPlace(g *groupState) {
	s := &g.reach
	s.busy = true
	host, generation := g.host, g.hostGeneration
	var ids []string
	for _, i := range rand.Perm(len(g.carriers.list)) {
		if id := g.carriers.list[i].id; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.SortStableFunc(ids, func(a, b string) int {
		switch s.carrier {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	n.closing.Go(func() {
		ctx, cancel := context.WithTimeout(n.dialCtx, maxPlaceTime)
		defer cancel()
		var r p2p.Reservation
		err, carrier := p2p.ErrNoPlace, ""
		for _, id := range ids {
			this, stop := context.WithTimeout(ctx, n.dialTimeout())
			r, err = host.Reserve(this, []byte(id))
			stop()
			if err == nil {
				carrier = id
				break
			}
		}
		n.post(func() {
			if g.hostGeneration == generation && n.groups[g.id] == g {
				n.placed(g, carrier, r, err)
			}
		})
	})
}

// placed takes the answers of carriers.
func (n *Node) placed(g *groupState, carrier string, r p2p.Reservation, err error) {
	s := &g.reach
	s.busy, s.asked = false, true
	if err != nil {
		s.pause = longer(s.pause, failedFirst, visitLinked)
		s.next = n.now() + around(s.pause)
		n.tellAddrs(g)
		return
	}
	// A quarter of the time is left to ask again if the carrier is away for a moment.
	left := engine.Time(time.Until(r.Until).Milliseconds())
	s.pause, s.next = 0, n.now()+max(around(left*5/8), failedFirst)
	s.addr, s.carrier = r.Addr, carrier
	if s.lost != r.Lost {
		s.lost = r.Lost
		n.watchPlace(g, r.Lost)
	}
	n.tellAddrs(g)
}

// due is when carriers are to be asked; 0: not.
func (s *reach) due() engine.Time {
	if s.busy {
		return 0
	}
	return s.next
}

// watchPlace asks for another place when this one is lost.
func (n *Node) watchPlace(g *groupState, lost <-chan struct{}) {
	n.closing.Go(func() {
		select {
		case <-lost:
		case <-n.dialCtx.Done():
			return
		}
		n.post(func() {
			if s := &g.reach; s.lost == lost && s.next != 0 {
				// The address stays told: it will most often be the same again.
				s.lost, s.next = nil, n.now()+upTo(visitFirst)
			}
		})
	})
}

// asksForPlace says whether carriers are to be asked for a place at the start of a host.
func (n *Node) asksForPlace(g *groupState) bool {
	return n.cfg.Proxy == "" && g.engine.Joined() && len(g.listening) > 0 && !g.risky && len(g.engine.Ferries()) > 0
}

// seesRisk notes whether the group is at high risk now.
func (g *groupState) seesRisk() {
	g.risky = len(g.engine.Ferries()) > 0 && g.engine.Joined() && g.engine.Authority().Policy.HighRisk
}

// errTicket says that a carrier does not take a ticket.
var errTicket = errors.New("the letter carrier did not take the ticket")

// showTicket shows a ticket in a session in which nothing else is done, by which the
// carrier lets the peer ID of this side have places and calls (spec 75 section 11).
func showTicket(ctx context.Context, v *p2p.Visit, seed [32]byte) error {
	said, ended := make(chan []byte), make(chan struct{})
	v.Start(func(m []byte) {
		select {
		case said <- m:
		case <-ctx.Done():
		}
	}, func() { close(ended) })
	defer func() { // the visit is over when this returns
		v.Close()
		for {
			select {
			case <-said:
			case <-ended:
				return
			}
		}
	}()
	shown, padded := false, false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			if !padded { // an end without it is a refusal
				return errTicket
			}
			return nil
		case m := <-said:
			switch {
			case !shown && m[0] == ferry.TypeHello:
				hello, err := ferry.ParseHello(m[1:])
				if err != nil {
					return errTicket
				}
				if err := errors.Join(v.Send(ferry.SignTicket(seed, hello.Nonce, v.Ferry(), v.Client())), v.Send([]byte{ferry.TypeDone})); err != nil {
					return errTicket
				}
				shown = true
			case shown && m[0] == ferry.TypePad:
				padded = true
			default:
				return errTicket
			}
		}
	}
}

// Bytes that letter carriers let through a circuit (spec 75 section 11).
const (
	openLimit   = 128 << 10
	closedLimit = 32 << 20
)

// limitOf is after how many bytes a carrier cuts a link; 0: it is direct. Which carrier
// it goes through is not asked: if one of the group is open to all, its limit counts.
func (g *groupState) limitOf(up p2p.LinkUp) int {
	switch {
	case !up.Circuit:
		return 0
	case slices.ContainsFunc(g.carriers.list, func(c *carrier) bool { return c.ticket == nil }):
		return openLimit
	}
	return closedLimit
}
