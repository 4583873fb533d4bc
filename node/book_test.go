package node

import (
	"fmt"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
)

func at(i int) string { return fmt.Sprintf("/ip4/192.0.2.%d/tcp/4001", i) }

// many is a book of places that members named, in order.
func many(count int) *book {
	b := &book{}
	for i := range count {
		b.add(0, []string{at(i)}, false)
	}
	return b
}

// Spec 90 section 4: pauses grow by doubling, to a minute for who waits to be let
// in and to 512 s for members.
func TestPausesGrow(t *testing.T) {
	for _, c := range []struct {
		last engine.Time
		want []int64
	}{
		{pauseJoining, []int64{2, 4, 8, 16, 32, 60, 60}},
		{pauseLast, []int64{2, 4, 8, 16, 32, 64, 128, 256, 512, 512}},
	} {
		b, now := many(1), engine.Time(5_000)
		for _, seconds := range c.want {
			list := b.next(now)
			if len(list) != 1 {
				t.Fatalf("at %d nothing is dialled", now)
			}
			if again := b.next(now); len(again) != 0 || b.due() != 0 {
				t.Fatal("a place that is being dialled is dialled again")
			}
			b.failed(now, list[0], c.last)
			if b.due() != now+engine.Seconds(seconds) {
				t.Fatalf("the pause is %d ms, want %d s", b.due()-now, seconds)
			}
			if early := b.next(b.due() - 1); len(early) != 0 {
				t.Fatal("dialled before its time")
			}
			now = b.due()
		}
	}
}

// At most four links; who is given comes first; whatever happens, due is later
// than now once next was asked, so that the owner of the book can sleep.
func TestFewLinks(t *testing.T) {
	b, now := many(20), engine.Time(1_000)
	b.add(now, []string{"/ip4/192.0.2.99/tcp/1"}, true)
	list := b.next(now)
	if len(list) != maxLinks || !list[0].given {
		t.Fatalf("%d dials, the first given: %v", len(list), list[0].given)
	}
	for i, p := range list {
		b.reached(now, p, p2p.LinkID(i+1), p.addrs[0])
		if addr, surplus := b.up(now, p2p.LinkID(i+1)); addr != p.addrs[0] || surplus != 0 {
			t.Fatalf("up gives %q, %d", addr, surplus)
		}
	}
	for range 3 {
		if more := b.next(now); len(more) != 0 {
			t.Fatalf("one more is dialled at once")
		}
		if b.due() <= now {
			t.Fatalf("due at %d, now is %d: the owner would spin", b.due(), now)
		}
	}
}

// With all links taken, the others get their turn, each of them, and the links
// stay as many: two halves of a big group cannot stay apart.
func TestFairRotation(t *testing.T) {
	const count = 30
	b, now, last := many(count), engine.Time(1_000), p2p.LinkID(0)
	reached := map[string]bool{}
	for range 2 * count {
		for _, p := range b.next(now) {
			last++
			b.reached(now, p, last, p.addrs[0])
			reached[p.addrs[0]] = true
			if _, surplus := b.up(now, last); surplus != 0 {
				b.down(now, surplus)
			}
		}
		if b.busy() > maxLinks {
			t.Fatalf("%d links", b.busy())
		}
		now = b.due()
	}
	if len(reached) != count {
		t.Errorf("%d of %d places were reached", len(reached), count)
	}
}

// A link that does not last is dialled ever later; one that lasted, soon.
func TestLinksThatDoNotLast(t *testing.T) {
	b, now, last := many(1), engine.Time(1_000), p2p.LinkID(0)
	connect := func() {
		t.Helper()
		p := b.next(now)[0]
		last++
		b.reached(now, p, last, p.addrs[0])
		b.up(now, last)
	}
	var pauses []engine.Time
	for range 12 {
		connect()
		b.down(now+10, last)
		pauses = append(pauses, b.due()-now-10)
		now = b.due()
	}
	if !slices.IsSorted(pauses) || pauses[0] != 250 || pauses[11] != pauseJoining {
		t.Errorf("the pauses are %d", pauses)
	}
	connect()
	now += lived
	b.down(now, last)
	if b.due()-now != pauseDown {
		t.Errorf("after a good link the pause is %d", b.due()-now)
	}
}

// The end of a dial and the link's own events come in any order.
func TestLinkEventsInAnyOrder(t *testing.T) {
	for name, events := range map[string][]string{
		"up first": {"up", "reached", "claim"}, "reached first": {"reached", "up"},
	} {
		b, now := many(1), engine.Time(1_000)
		p := b.next(now)[0]
		for _, e := range events {
			switch e {
			case "up", "claim":
				b.up(now, 7)
			case "reached":
				b.reached(now, p, 7, at(0))
			}
		}
		if p.link != 7 || b.due() != 0 {
			t.Errorf("%s: link %d, due %d", name, p.link, b.due())
		}
	}
	// Up and down again before the end of the dial is heard of: dialled again.
	b, now := many(1), engine.Time(1_000)
	p := b.next(now)[0]
	b.up(now, 7)
	b.down(now, 7)
	b.reached(now, p, 7, at(0))
	if p.link != 0 || b.due() != now+pauseFirst {
		t.Errorf("link %d, due %d", p.link, b.due())
	}
}

// The addresses of one device are one place, whoever told them.
func TestOnePlaceForOneDevice(t *testing.T) {
	b := &book{}
	b.add(0, []string{at(1)}, true)
	b.add(0, []string{at(2)}, true)
	b.sync(0, [][]string{{at(2), at(1), at(3)}, {at(9)}})
	if len(b.places) != 2 || !b.places[0].given || len(b.places[0].addrs) != 3 {
		t.Fatalf("%d places, the first %+v", len(b.places), b.places[0])
	}
	b.sync(0, [][]string{{at(4)}}) // moved, and the other one is gone
	if len(b.places) != 2 || !b.places[0].given || b.places[1].addrs[0] != at(4) {
		t.Errorf("%d places, the second %+v", len(b.places), b.places[1])
	}
	// Two places lead to one link: it is one.
	now := engine.Time(1_000)
	for _, p := range b.next(now) {
		b.reached(now, p, 5, p.addrs[0])
	}
	b.up(now, 5)
	if b.busy() != 1 {
		t.Errorf("one link counts as %d", b.busy())
	}
	b.down(now, 5)
	if b.busy() != 0 {
		t.Errorf("after its end %d links", b.busy())
	}
}

// What is remembered is bounded; given places are never dropped for others.
func TestBookIsBounded(t *testing.T) {
	b := &book{}
	for i := range 10 {
		b.add(0, []string{"/ip4/198.51.100.1/tcp/" + fmt.Sprint(i+1)}, true)
	}
	for i := range 3 * maxPlaces {
		b.add(0, []string{at(i)}, false)
	}
	given := 0
	for _, p := range b.places {
		if p.given {
			given++
		}
	}
	if len(b.places) != maxPlaces || given != 10 {
		t.Errorf("%d places, %d given", len(b.places), given)
	}
	long := &book{}
	var addrs []string
	for i := range 100 {
		addrs = append(addrs, at(i))
	}
	long.add(0, addrs, true)
	long.add(0, append([]string{at(0)}, at(200)), true)
	if got := len(long.places[0].addrs); got > maxPlaceAddrs {
		t.Errorf("a place has %d addresses", got)
	}
}

// A clock that was far ahead and is right again does not stop dialling.
func TestClockSetBack(t *testing.T) {
	b := many(1)
	ahead := engine.Seconds(365 * 86_400)
	b.failed(ahead, b.next(ahead)[0], pauseLast)
	if len(b.next(5_000)) != 1 {
		t.Error("nothing is dialled for a year")
	}
}
