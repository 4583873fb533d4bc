package ferry

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/recon"
	"github.com/palabre-app/palabre/protocol/wire"
)

// One member brings, another one who was away compares and fetches, and brings what
// the ferry lacks.
func TestPollBringsAndTakes(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	m := box(1, 7)
	var all []protocol.EnvelopeID
	a := w.begin("a")
	for i := range 70 {
		d := deposit(t, m, i, protocol.BucketSmall)
		all = append(all, d.ID())
		if why := a.put(d); why != Kept {
			t.Fatalf("deposit %d: %d", i, why)
		}
	}
	w.restart()
	b := w.begin("b")
	b.open(m)
	own := deposit(t, m, 500, protocol.BucketSmall)
	have, need := b.compare(append(slices.Clone(all[:20]), own.ID())...)
	if len(have) != 1 || protocol.EnvelopeID(have[0]) != own.ID() || len(need) != 50 {
		t.Fatalf("%d had, %d needed", len(have), len(need))
	}
	if why := b.put(own); why != Kept {
		t.Fatal(why)
	}
	got := b.want(all[20:]...)
	for _, id := range all[20:] {
		if !got[id] {
			t.Fatalf("%s is not given", id)
		}
	}
	// Given once for each open: what it costs to ask is little.
	if got := kinds(b.ask(WantMessage(all[20:21]))); !bytes.Equal(got, []byte{TypeLack}) {
		t.Fatalf("answered by %v", got)
	}
	b.open(m)
	if !b.want(all[20])[all[20]] {
		t.Fatal("it is not given when the mailbox is opened again")
	}
	c := w.begin("c")
	c.open(box(1, 8), m)
	if got := c.want(own.ID()); !got[own.ID()] {
		t.Fatal("what was brought is not there for others")
	}
	// What was open is not open any more once others are.
	c.open(box(1, 8))
	if got := c.want(all[3]); got[all[3]] {
		t.Fatal("an envelope is given of what was open before")
	}
}

// Ranks are the client's: what it wants first it can ask for first.
func TestRanksPlaceTheEnvelopes(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	a := w.begin("a")
	a.put(deposit(t, box(1, 7), 1, protocol.BucketSmall))
	a.put(deposit(t, box(1, 8), 2, protocol.BucketSmall))
	c := w.begin("c")
	c.ask(OpenMessage([]Door{c.door(box(1, 7), 90, false), c.door(box(1, 8), 20, false)}))
	_, all, err := recon.NewInitiator(recon.Set{}, 0)
	must(t, err)
	m, err := recon.Parse(c.ask(append([]byte{TypeRecon}, all...))[0][1:])
	must(t, err)
	if len(m.Ranges) != 1 || len(m.Ranges[0].IDs) != 2 || recon.ID(deposit(t, box(1, 8), 2, protocol.BucketSmall).ID()) != m.Ranges[0].IDs[0] {
		t.Fatalf("answered by %+v", m)
	}
}

// A ferry gives what is in a mailbox to who has its read key, in this session.
func TestOpenNeedsTheReadKey(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	m := box(1, 7)
	d := deposit(t, m, 1, protocol.BucketSmall)
	w.begin("a").put(d)
	sign := func(x *epoch.Mailbox, nonce [32]byte, ferry []byte) Signature {
		sig, err := x.SignGet(nonce, ferry)
		must(t, err)
		return Signature(sig)
	}
	for name, change := range map[string]func(c *client, x *Door){
		"another session":   func(c *client, x *Door) { x.Get = sign(m, [32]byte{99}, ferryID) },
		"another ferry":     func(c *client, x *Door) { x.Get = sign(m, c.nonce, []byte("another ferry")) },
		"another mailbox":   func(c *client, x *Door) { x.Get = sign(box(1, 8), c.nonce, ferryID) },
		"no signature":      func(c *client, x *Door) { x.Get = Signature{} },
		"the write key":     func(c *client, x *Door) { x.Get = d.Put },
		"keys exchanged":    func(c *client, x *Door) { x.Write, x.Read = x.Read, x.Write },
		"the write key for": func(c *client, x *Door) { x.Read = x.Write },
	} {
		c := w.begin("c")
		x := c.door(m, 0, false)
		change(c, &x)
		if answers, err := c.say(OpenMessage([]Door{x})); !errors.Is(err, ErrClient) || len(answers) != 0 {
			t.Errorf("%s: %v, %x", name, err, answers)
		}
		if answers := c.ask(WantMessage([]protocol.EnvelopeID{d.ID()})); !bytes.Equal(kinds(answers), []byte{TypeLack}) {
			t.Errorf("%s: the envelope is given", name)
		}
	}
	// What is wanted must lie in what is open.
	c := w.begin("c")
	c.open(box(2, 7))
	if c.want(d.ID())[d.ID()] {
		t.Error("an envelope of a closed mailbox is given")
	}
}

func TestTickets(t *testing.T) {
	limits := DefaultLimits()
	limits.Closed = true
	w := newWorld(t, limits)
	key, _ := ticket(1)
	w.store.tickets[key] = true
	m := box(1, 7)
	d := deposit(t, m, 1, protocol.BucketSmall)

	c := w.begin("c")
	if why := c.put(d); why != NoTicket {
		t.Errorf("without a ticket: %d", why)
	}
	if _, err := c.say(OpenMessage([]Door{c.door(m, 0, false)})); !errors.Is(err, ErrClient) {
		t.Errorf("opened without a ticket: %v", err)
	}
	c = w.begin("c")
	if _, err := c.show(2); !errors.Is(err, ErrClient) {
		t.Errorf("a ticket of one's own making: %v", err)
	}
	c = w.begin("c")
	if _, err := c.show(1); err != nil {
		t.Fatal(err)
	}
	if why := c.put(d); why != Kept {
		t.Errorf("with a ticket: %d", why)
	}
	c.open(m)

	// What one session shows is of no use in another.
	seen := w.begin("seen")
	other := *seen
	other.nonce[5]++
	if _, err := other.show(1); !errors.Is(err, ErrClient) {
		t.Errorf("a ticket shown to another session: %v", err)
	}
	x := TicketContext(seen.nonce, ferryID, clientID)
	if bytes.Equal(x, TicketContext(c.nonce, ferryID, clientID)) || bytes.Equal(x, TicketContext(seen.nonce, ferryID, []byte("another client"))) ||
		bytes.Equal(TicketContext(c.nonce, []byte("ab"), []byte("c")), TicketContext(c.nonce, []byte("a"), []byte("bc"))) {
		t.Error("sessions sign the same")
	}
}

// Lanes, pages and cards come with the signature that lets others carry them on.
func TestSignedMailboxes(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	m := box(1, 7)
	d := deposit(t, m, 1, protocol.BucketMedium)
	w.begin("a").put(d)
	c := w.begin("c")
	c.ask(OpenMessage([]Door{c.door(m, 0, true)}))
	answers := c.ask(WantMessage([]protocol.EnvelopeID{d.ID()}))
	want := slices.Concat([]byte{TypeGiveSigned}, d.Put[:], d.Envelope)
	if len(answers) != 1 || !bytes.Equal(answers[0], want) {
		t.Fatalf("%d answers", len(answers))
	}
}

// An empty poll is as long as one that brings a little, to the byte.
func TestPollsArePadded(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	m := box(1, 7)
	for _, brought := range []int{0, 1, 2, 5} {
		c := w.begin("c")
		c.open(m)
		c.compare()
		for i := range brought {
			c.put(deposit(t, box(2, protocol.Day(brought)), i, protocol.BucketSmall))
		}
		c.ask([]byte{TypeDone})
		n := 0
		for _, msg := range c.got {
			n += 4 + len(msg)
		}
		if n != 2_048 {
			t.Errorf("%d bytes where %d were brought", n, brought)
		}
		if _, over, err := c.s.Give(); !over || err != nil {
			t.Errorf("not over: %v", err)
		}
		if _, err := c.say([]byte{TypeDone}); !errors.Is(err, ErrClient) {
			t.Errorf("after the end: %v", err)
		}
	}
	d := deposit(t, m, 1, protocol.BucketSmall)
	w.begin("a").put(d)
	c := w.begin("c")
	c.open(m)
	must(t, c.s.Take(w.now, WantMessage([]protocol.EnvelopeID{d.ID()})))
	c.ask([]byte{TypeDone})
	n := 0
	for _, msg := range c.got {
		n += 4 + len(msg)
	}
	if n != 4_096 {
		t.Errorf("%d bytes with one envelope", n)
	}
}

// Spec 75 section 5.
func TestSessionBounds(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	m := box(1, 7)
	refused := func(name string, c *client, msg []byte) {
		t.Helper()
		if answers, err := c.say(msg); !errors.Is(err, ErrClient) || len(answers) != 0 {
			t.Errorf("%s: %v, %d answers", name, err, len(answers))
		}
	}
	c := w.begin("c")
	for range MaxOpens {
		c.open(m)
	}
	refused("one open more", c, OpenMessage([]Door{c.door(m, 0, false)}))

	c = w.begin("c")
	refused("a mailbox twice", c, OpenMessage([]Door{c.door(m, 0, false), c.door(m, 1, false)}))
	refused("no mailbox", c, OpenMessage(nil))
	refused("recon of nothing", c, []byte{TypeRecon, 0x61})
	refused("no message", c, nil)
	refused("a ferry's message", c, []byte{TypeKept})
	refused("an unknown type", c, []byte{200})
	refused("no ids", c, []byte{TypeWant})
	refused("part of an id", c, []byte{TypeWant, 1, 2, 3})
	refused("an end with a body", c, []byte{TypeDone, 0})
	many := make([]Door, MaxOpen+1)
	for i := range many {
		many[i] = c.door(box(3, protocol.Day(i)), 0, false)
	}
	refused("too many mailboxes", c, OpenMessage(many))
	if n, err := ParseOpened(c.ask(OpenMessage(many[:MaxOpen]))[0][1:]); err != nil || n != MaxOpen {
		t.Errorf("%d opened: %v", n, err)
	}
	refused("recon that is none", c, []byte{TypeRecon, 0x61, 0xff})

	rows, ids := map[protocol.EnvelopeID]Row{}, []protocol.EnvelopeID{}
	for i := range MaxWanted + 1 {
		id := protocol.EnvelopeID{byte(i), byte(i >> 8)}
		rows[id], ids = Row{}, append(ids, id)
	}
	w.store.rows[m.Address()] = rows
	much := w.begin("much")
	much.open(m)
	must(t, much.s.Take(w.now, WantMessage(ids[:600]))) // and the link takes none of them yet
	if err := much.s.Take(w.now, WantMessage(ids[600:])); !errors.Is(err, ErrClient) {
		t.Errorf("1,025 wanted: %v", err)
	}

	m = box(4, 7)
	for i := range MaxPending {
		must(t, c.s.Take(w.now, PutMessage(deposit(t, m, i, protocol.BucketSmall))))
	}
	if err := c.s.Take(w.now, PutMessage(deposit(t, m, 999, protocol.BucketSmall))); !errors.Is(err, ErrClient) {
		t.Errorf("one put more: %v", err)
	}
	c.read()

	// Each message of the ferry fits what a client reads.
	for _, msg := range c.got {
		if msg[0] == TypeKept {
			if list, err := ParseKept(msg[1:]); err != nil || len(list) != MaxPending {
				t.Errorf("%d outcomes: %v", len(list), err)
			}
		}
	}
}

// A client takes no answer on trust.
func TestAnswersAreChecked(t *testing.T) {
	for name, err := range map[string]error{
		"a hello of another version": second(ParseHello(wire.Marshal(Hello{Version: 2}))),
		"no mailbox opened":          second(ParseOpened([]byte{0x81, 0})),
		"65 mailboxes opened":        second(ParseOpened([]byte{0x81, 0x18, 65})),
		"no outcome":                 second(ParseKept(wire.Marshal([]KeptOne{}))),
		"65 outcomes":                second(ParseKept(wire.Marshal(make([]KeptOne, MaxPending+1)))),
		"no ids":                     second(ParsePrefixes(nil)),
	} {
		if !errors.Is(err, wire.ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Of mailboxes that hold more than can be compared at once the first ones are
// opened, and the client is told how many.
func TestLargeMailboxesAreOpenedInTurn(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	var boxes []*epoch.Mailbox
	for i := range 4 {
		m := box(1, protocol.Day(i))
		boxes = append(boxes, m)
		rows := map[protocol.EnvelopeID]Row{}
		for n := range 15_000 {
			rows[protocol.EnvelopeID{byte(n), byte(n >> 8), byte(i)}] = Row{}
		}
		w.store.rows[m.Address()] = rows
	}
	c := w.begin("c")
	var doors []Door
	for _, m := range boxes {
		doors = append(doors, c.door(m, 0, false))
	}
	if n, err := ParseOpened(c.ask(OpenMessage(doors))[0][1:]); err != nil || n != 2 {
		t.Fatalf("%d opened: %v", n, err)
	}
}

// Threats row 54: a ferry's disk has nothing of who came, and of which ticket
// brought what.
func TestRowsSayNothingOfWhoCame(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	key, _ := ticket(1)
	w.store.tickets[key] = true
	c := w.begin("a network")
	_, err := c.show(1)
	must(t, err)
	d := deposit(t, box(1, 7), 1, protocol.BucketSmall)
	c.put(d)
	row := w.store.rows[box(1, 7).Address()][d.ID()]
	b := wire.Marshal(row)
	for name, secret := range map[string][]byte{"peer id": clientID, "network": []byte("a network"), "ticket": key[:]} {
		if bytes.Contains(b, secret) {
			t.Errorf("a row has the %s", name)
		}
	}
	if w.store.shares[key][20_000+KeepDays] != protocol.BucketSmall {
		t.Error("the ticket's share is not counted")
	}
}
