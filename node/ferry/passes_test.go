package ferry

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// Whoever shows a ticket and does nothing else may use circuits for a while. Whoever
// fetches letters with it, under a peer ID of that session alone, takes no place.
func TestPassForATicket(t *testing.T) {
	limits := ferry.DefaultLimits()
	limits.Closed = true
	x := open(t, store.OpenMemory(), limits)
	seed := [32]byte{5}
	must(t, x.s.store.GiveTicket(ferry.TicketOf(seed)))
	show := func(c *client) { c.say(ferry.SignTicket(seed, c.nonce, ferryID, clientID)) }
	end := func(c *client) {
		c.say([]byte{ferry.TypeDone})
		for c.next() != nil {
		}
		<-c.gone
	}
	c := x.visit(home)
	end(c)
	if x.s.Holder(clientID) {
		t.Fatal("without a ticket")
	}
	c = x.visit(home)
	show(c)
	c.put(deposit(t, box(1), 1))
	end(c)
	if x.s.Holder(clientID) {
		t.Fatal("after a session that brought something")
	}
	c = x.visit(home)
	show(c)
	c.fetch(box(1))
	end(c)
	if x.s.Holder(clientID) {
		t.Fatal("after a session that fetched something")
	}
	c = x.visit(home)
	c.say(ferry.SignTicket([32]byte{6}, c.nonce, ferryID, clientID))
	<-c.gone
	if x.s.Holder(clientID) {
		t.Fatal("with a ticket that nobody gave out")
	}
	c = x.visit(home)
	show(c)
	end(c)
	if !x.s.Holder(clientID) || x.s.Holder([]byte("somebody else")) {
		t.Fatal("with a ticket")
	}
	x.now = x.now.Add(passFor)
	if x.s.Holder(clientID) {
		t.Fatal("for longer than it is for")
	}
}

// One ticket's passes take the places of one another, never those of another ticket.
func TestPassesAreBounded(t *testing.T) {
	var p passes
	now := time.Unix(20_000*protocol.DaySeconds, 0)
	name := func(ticket, n int) string {
		return string(binary.BigEndian.AppendUint32([]byte{byte(ticket)}, uint32(n)))
	}
	const tickets = maxPasses/ticketsPasses + 1
	for k := range tickets {
		for n := range ticketsPasses + 1 {
			now = now.Add(time.Second)
			p.give(name(k, n), ferry.TicketKey{byte(k)}, now)
		}
	}
	if len(p.all) != maxPasses {
		t.Errorf("%d passes", len(p.all))
	}
	for k := range tickets {
		if p.has(name(k, 0), now) {
			t.Errorf("the first of ticket %d stayed", k)
		}
		if last := p.has(name(k, ticketsPasses), now); last != (k < tickets-1) {
			t.Errorf("the last of ticket %d: %t", k, last)
		}
	}
	now = now.Add(passFor)
	p.give("again", ferry.TicketKey{99}, now)
	if len(p.all) != 1 || !p.has("again", now) {
		t.Errorf("%d passes that are over stayed", len(p.all)-1)
	}
}
