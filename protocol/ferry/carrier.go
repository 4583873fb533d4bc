package ferry

import (
	"maps"
	"slices"

	"github.com/palabre-app/palabre/protocol"
)

// Carrier decides what is kept. One goroutine owns it and its sessions.
type Carrier struct {
	limits Limits
	store  Storage
	newSet func() Set

	today protocol.Day
	total int64 // of what is stored and of ready
	ready Ready
	boxes map[protocol.MailboxID]*contents // those with something in ready

	networks map[string]int64                     // bytes of today
	tickets  map[TicketKey]map[protocol.Day]int64 // those with something in ready, by Until
	waiting  []*Session                           // with outcomes that wait for Advance
}

// contents is of a mailbox into which something was put since the last Advance.
type contents struct {
	bytes int64
	held  map[protocol.EnvelopeID]bool
}

// New makes the carrier of what store has. newSet makes an empty set. An error is
// the storage's.
func New(limits Limits, store Storage, newSet func() Set) (*Carrier, error) {
	c := &Carrier{limits: limits, store: store, newSet: newSet, networks: map[string]int64{}}
	total, err := store.Total()
	c.total = total
	c.clear()
	return c, err
}

func (c *Carrier) clear() {
	c.ready, c.waiting = Ready{}, nil
	c.boxes, c.tickets = map[protocol.MailboxID]*contents{}, map[TicketKey]map[protocol.Day]int64{}
}

// From is who brings a deposit.
type From struct {
	// Network names where it comes from; the carrier compares it and forgets it at
	// the turn of the day. Empty: who runs the ferry brings it, without a share.
	Network string
	Ticket  *TicketKey // that was shown, or nil
}

// Keep takes in a deposit, as a bundle brings it. With Kept it is in Ready, or was
// held before. An error is the storage's.
func (c *Carrier) Keep(now int64, d Deposit, from From) (Outcome, error) {
	c.turn(now)
	id, size := d.ID(), int64(len(d.Envelope))
	m := protocol.MailboxOf(d.Write, d.Read)
	b, err := c.box(m)
	if err != nil {
		return 0, err
	}
	switch {
	case c.limits.Closed && from.Ticket == nil && from.Network != "":
		return NoTicket, nil
	case b.held[id]:
		return Kept, nil
	case b.bytes+size > c.limits.Mailbox:
		return MailboxFull, nil
	case c.total+size > c.limits.Total:
		return FerryFull, nil
	}
	if ok, err := c.charge(from, size); !ok || err != nil {
		return ShareUsedUp, err
	}
	b.held[id], b.bytes = true, b.bytes+size
	c.total += size
	c.ready.Keep = append(c.ready.Keep, Row{Mailbox: m, ID: id, Put: d.Put, Envelope: d.Envelope, Until: c.today + KeepDays})
	return Kept, nil
}

// charge counts bytes to who brings them; false: there is no room for them.
func (c *Carrier) charge(from From, size int64) (bool, error) {
	switch {
	case from.Ticket != nil:
		t := *from.Ticket
		share, err := c.share(t)
		if err != nil {
			return false, err
		}
		sum := int64(0)
		for _, n := range share {
			sum += n
		}
		if sum+size > c.limits.Ticket {
			return false, nil
		}
		share[c.today+KeepDays] += size
	case from.Network != "":
		if c.networks[from.Network]+size > c.limits.Network {
			return false, nil
		}
		c.networks[from.Network] += size
	}
	return true, nil
}

// box looks up what a mailbox holds.
func (c *Carrier) box(m protocol.MailboxID) (*contents, error) {
	if b := c.boxes[m]; b != nil {
		return b, nil
	}
	b := &contents{held: map[protocol.EnvelopeID]bool{}}
	err := c.store.Mailbox(m, func(id protocol.EnvelopeID, size int) {
		b.held[id], b.bytes = true, b.bytes+int64(size)
	})
	if err != nil {
		return nil, err
	}
	c.boxes[m] = b
	return b, nil
}

// share looks up what came with a ticket and still counts.
func (c *Carrier) share(t TicketKey) (map[protocol.Day]int64, error) {
	if s := c.tickets[t]; s != nil {
		return s, nil
	}
	s := map[protocol.Day]int64{}
	err := c.store.Shares(t, func(x Share) {
		if x.Until > c.today {
			s[x.Until] += x.Bytes
		}
	})
	if err != nil {
		return nil, err
	}
	c.tickets[t] = s
	return s, nil
}

// turn notes a new day. A clock that runs back keeps what it kept.
func (c *Carrier) turn(now int64) {
	if day := protocol.DayOf(now); day > c.today {
		c.today = day
		clear(c.networks)
	}
}

// Tick plans what is to be dropped by the end of a day.
func (c *Carrier) Tick(now int64) {
	c.turn(now)
	c.ready.Expire = c.today
}

// Ready is what is to be made durable now. It is valid until the next call.
func (c *Carrier) Ready() Ready {
	c.ready.Shares = nil
	for _, t := range slices.SortedFunc(maps.Keys(c.tickets), func(a, b TicketKey) int { return slices.Compare(a[:], b[:]) }) {
		if n, ok := c.tickets[t][c.today+KeepDays]; ok {
			c.ready.Shares = append(c.ready.Shares, Share{Ticket: t, Until: c.today + KeepDays, Bytes: n})
		}
	}
	return c.ready
}

// Advance says that Ready is durable; it is called after each Ready, also an empty
// one. Sessions have the answers to what was put then. An error is the storage's.
func (c *Carrier) Advance() error {
	for _, s := range c.waiting {
		s.settle()
	}
	expired := c.ready.Expire != 0
	c.clear()
	if expired {
		total, err := c.store.Total()
		c.total = total
		return err
	}
	return nil
}
