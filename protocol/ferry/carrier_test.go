package ferry

import (
	"errors"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// Spec 75 section 1: what is no deposit is refused, and nothing of it is kept.
func TestDepositIsChecked(t *testing.T) {
	m, other := box(1, 7), box(1, 8)
	good := deposit(t, m, 1, protocol.BucketSmall)
	for name, change := range map[string]func(d *Deposit){
		"another mailbox's keys": func(d *Deposit) { d.Write, d.Read = other.WriteKey(), other.ReadKey() },
		"keys exchanged":         func(d *Deposit) { d.Write, d.Read = d.Read, d.Write },
		"another's signature":    func(d *Deposit) { d.Put = deposit(t, other, 1, protocol.BucketSmall).Put },
		"signed with the read key": func(d *Deposit) {
			sig, err := m.SignGet([32]byte{}, nil)
			must(t, err)
			d.Put = Signature(sig)
		},
		"another envelope":  func(d *Deposit) { d.Envelope = deposit(t, m, 2, protocol.BucketSmall).Envelope },
		"a bit":             func(d *Deposit) { d.Envelope[100] ^= 1 },
		"cut":               func(d *Deposit) { d.Envelope = d.Envelope[:2047] },
		"longer":            func(d *Deposit) { d.Envelope = append(d.Envelope, 0) },
		"no envelope":       func(d *Deposit) { d.Envelope = nil },
		"of the wrong size": func(d *Deposit) { d.Envelope = make([]byte, protocol.BucketMedium) },
	} {
		d := good
		d.Envelope = append([]byte(nil), good.Envelope...)
		change(&d)
		w := newWorld(t, DefaultLimits())
		if answers, err := w.begin("n").say(PutMessage(d)); !errors.Is(err, ErrClient) || len(answers) != 0 || w.store.commits != 0 {
			t.Errorf("%s: %v, %d answers, %d commits", name, err, len(answers), w.store.commits)
		}
	}
	for _, b := range [][]byte{nil, append(good.Marshal(), 0), good.Marshal()[:2_000], make([]byte, MaxDeposit+1)} {
		if _, err := ParseDeposit(b); !errors.Is(err, ErrClient) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if d, err := ParseDeposit(deposit(t, m, 1, protocol.BucketLarge).Marshal()); err != nil || len(d.Marshal()) != MaxDeposit {
		t.Errorf("the largest has %d bytes: %v", len(d.Marshal()), err)
	}
}

// fill puts envelopes until one is not kept.
func fill(c *client, m *epoch.Mailbox, from, bucket int) (n int, last Outcome) {
	for ; n < 4_000; n++ {
		if last = c.put(deposit(c.w.t, m, from+n, bucket)); last != Kept {
			return n, last
		}
	}
	c.w.t.Fatal("there is no end to the room")
	return 0, 0
}

// Spec 75 section 2. What is full refuses, and keeps what it has.
func TestQuotas(t *testing.T) {
	small := Limits{Mailbox: 10 * protocol.BucketSmall, Ticket: 15 * protocol.BucketSmall, Network: 15 * protocol.BucketSmall, Total: 45 * protocol.BucketSmall}
	w := newWorld(t, small)
	key, _ := ticket(1)
	w.store.tickets[key] = true

	one := w.begin("network 1")
	if n, why := fill(one, box(1, 7), 0, protocol.BucketSmall); n != 10 || why != MailboxFull {
		t.Fatalf("a mailbox takes %d: %d", n, why)
	}
	if why := one.put(deposit(t, box(1, 7), 3, protocol.BucketSmall)); why != Kept {
		t.Fatalf("what is held is refused: %d", why)
	}
	w.restart()
	two := w.begin("network 1")
	if n, why := fill(two, box(1, 7), 100, protocol.BucketSmall); n != 0 || why != MailboxFull {
		t.Fatalf("after a restart it takes %d more: %d", n, why)
	}
	if n, why := fill(two, box(2, 7), 0, protocol.BucketSmall); n != 10 || why != MailboxFull {
		t.Fatalf("another mailbox takes %d: %d", n, why)
	}
	if n, why := fill(two, box(3, 7), 0, protocol.BucketSmall); n != 5 || why != ShareUsedUp {
		t.Fatalf("the network may bring %d more: %d", n, why)
	}
	with := w.begin("network 1")
	if _, err := with.show(1); err != nil {
		t.Fatal(err)
	}
	if n, why := fill(with, box(4, 7), 0, protocol.BucketSmall); n != 10 || why != MailboxFull {
		t.Fatalf("a holder of a ticket brings %d: %d", n, why)
	}
	if n, why := fill(with, box(5, 7), 0, protocol.BucketSmall); n != 5 || why != ShareUsedUp {
		t.Fatalf("a ticket has room for %d more: %d", n, why)
	}
	if n, why := fill(w.begin("network 2"), box(6, 7), 0, protocol.BucketSmall); n != 5 || why != FerryFull {
		t.Fatalf("there is room for %d: %d", n, why)
	}
	if total, _ := w.store.Total(); total != 45*protocol.BucketSmall {
		t.Fatalf("%d bytes are held", total)
	}

	// The next day is another day for networks, and no other one for the rest.
	w.now += protocol.DaySeconds
	w.limits.Total *= 2
	w.restart()
	with = w.begin("network 3")
	if _, err := with.show(1); err != nil {
		t.Fatal(err)
	}
	if n, why := fill(with, box(5, 7), 100, protocol.BucketSmall); n != 0 || why != ShareUsedUp {
		t.Fatalf("the ticket has room for %d on the next day: %d", n, why)
	}
	if n, why := fill(w.begin("network 1"), box(3, 7), 100, protocol.BucketSmall); n != 5 || why != MailboxFull {
		t.Fatalf("the network brings %d on the next day: %d", n, why)
	}

	// After 92 days what came on the first is gone, and what came later is not.
	w.now = dayOne + KeepDays*protocol.DaySeconds
	w.c.Tick(w.now)
	w.commit()
	if total, _ := w.store.Total(); total != 5*protocol.BucketSmall {
		t.Fatalf("%d bytes are held after 92 days", total)
	}
	with = w.begin("network 3")
	if _, err := with.show(1); err != nil {
		t.Fatal(err)
	}
	if n, why := fill(with, box(5, 7), 0, protocol.BucketSmall); n != 10 || why != MailboxFull {
		t.Fatalf("the ticket has room for %d after 92 days: %d", n, why)
	}
}

// A clock that is set back shortens no life and gives no network a second day.
func TestClockThatRunsBack(t *testing.T) {
	limits := DefaultLimits()
	limits.Network = 2 * protocol.BucketSmall
	w := newWorld(t, limits)
	w.now += 5 * protocol.DaySeconds
	c := w.begin("n")
	if n, why := fill(c, box(1, 7), 0, protocol.BucketSmall); n != 2 || why != ShareUsedUp {
		t.Fatalf("%d kept: %d", n, why)
	}
	w.now = dayOne
	if why := c.put(deposit(t, box(1, 7), 9, protocol.BucketSmall)); why != ShareUsedUp {
		t.Fatalf("a clock that runs back gives room: %d", why)
	}
	w.c.Tick(w.now)
	w.commit()
	w.now += 6 * protocol.DaySeconds
	if why := c.put(deposit(t, box(2, 7), 9, protocol.BucketSmall)); why != Kept {
		t.Fatalf("the next day gives no room: %d", why)
	}
	for _, r := range w.store.rows[box(1, 7).Address()] {
		if r.Until != 20_005+KeepDays {
			t.Fatalf("kept until %d", r.Until)
		}
	}
}

// Nothing is said to be kept before it is durable, not even to who brings it a
// second time.
func TestKeptIsSaidOnceItIsDurable(t *testing.T) {
	w := newWorld(t, DefaultLimits())
	a, b := w.begin("a"), w.begin("b")
	d := deposit(t, box(1, 7), 1, protocol.BucketSmall)
	for _, c := range []*client{a, b} {
		must(t, c.s.Take(w.now, PutMessage(d)))
		if answers := c.s.Answers(); len(answers) != 0 {
			t.Fatalf("%x is said before the commit", answers)
		}
	}
	if r := w.c.Ready(); len(r.Keep) != 1 {
		t.Fatalf("%d rows", len(r.Keep))
	}
	w.commit()
	for _, c := range []*client{a, b} {
		answers := c.s.Answers()
		if len(answers) != 1 || answers[0][0] != TypeKept {
			t.Fatalf("%x", answers)
		}
	}
}

// What expired makes room.
func TestExpiryMakesRoom(t *testing.T) {
	limits := DefaultLimits()
	limits.Total = 2 * protocol.BucketSmall
	w := newWorld(t, limits)
	c := w.begin("n")
	if n, why := fill(c, box(1, 7), 0, protocol.BucketSmall); n != 2 || why != FerryFull {
		t.Fatalf("%d kept: %d", n, why)
	}
	w.now += KeepDays*protocol.DaySeconds - 1
	w.c.Tick(w.now)
	if why := c.put(deposit(t, box(1, 7), 9, protocol.BucketSmall)); why != FerryFull {
		t.Fatalf("a second too early: %d", why)
	}
	w.now++
	w.c.Tick(w.now)
	w.commit()
	if n, why := fill(c, box(1, 7), 10, protocol.BucketSmall); n != 2 || why != FerryFull {
		t.Fatalf("%d kept after that: %d", n, why)
	}
}
