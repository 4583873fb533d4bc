package lan

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = 30 * time.Second

// quiet is a beacon that does not run, whose packets a test makes.
func quiet(found func(netip.AddrPort), now func() time.Time) *Beacon {
	return still(Config{OnFound: found}, now, nil)
}

var home = network{prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.2/24")}}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// Only what came from the network that it was heard in is believed.
func TestSourcesOutsideTheNetwork(t *testing.T) {
	var found []netip.AddrPort
	b := quiet(func(a netip.AddrPort) { found = append(found, a) }, time.Now)
	packet := answer(told{strings.Repeat("q", minName), 50001})
	for _, from := range []string{"192.168.8.3", "8.8.8.8", "127.0.0.1", "fe80::1"} {
		b.take(packet, ip(from), home)
	}
	if len(found) > 0 || len(b.heard) > 0 {
		t.Fatalf("%v is believed", found)
	}
	b.take(packet, ip("192.168.7.3"), home)
	if len(found) != 1 || found[0] != netip.MustParseAddrPort("192.168.7.3:50001") {
		t.Fatalf("found %v", found)
	}
}

// However many names a neighbour makes up, 32 addresses are remembered, each is
// reported every 10 s at most, and what is silent for 5 minutes makes room.
func TestRememberedIsBounded(t *testing.T) {
	clock := time.Unix(1_800_000_000, 0)
	now := func() time.Time { return clock }
	later := func(d time.Duration) { clock = clock.Add(d) }
	found := 0
	b := quiet(func(netip.AddrPort) { found++ }, now)
	flood := func(from string) {
		for port := range 1000 {
			b.take(answer(told{drawName(), uint16(minPort + port)}), ip(from), home)
		}
	}
	flood("192.168.7.3")
	if found != MaxHeard || len(b.heard) != MaxHeard {
		t.Fatalf("%d reported, %d remembered", found, len(b.heard))
	}
	flood("192.168.7.3")
	if found != MaxHeard {
		t.Fatalf("%d reported, again at once", found)
	}
	later(againAfter)
	flood("192.168.7.3")
	if found != 2*MaxHeard {
		t.Fatalf("%d reported, 10 s later", found)
	}
	later(forgetAfter + time.Second)
	flood("192.168.7.4")
	if found != 3*MaxHeard || len(b.heard) != MaxHeard {
		t.Fatalf("%d reported, %d remembered, when the first ones are silent", found, len(b.heard))
	}
}

// Own packets come back from the network and are no neighbours. Names last as long as
// their port is told.
func TestOwnNames(t *testing.T) {
	found := 0
	b := quiet(func(netip.AddrPort) { found++ }, time.Now)
	b.Tell([]uint16{50001, 50002})
	first := b.told
	b.Tell([]uint16{50002, 50003})
	second := b.told
	if first[1] != second[0] || first[0].name == first[1].name || second[1].name == first[0].name {
		t.Errorf("%v, then %v", first, second)
	}
	for _, x := range second {
		b.take(answer(x), ip("192.168.7.2"), home)
	}
	if found != 0 {
		t.Error("it found itself")
	}
	b.Tell(make([]uint16, 100))
	if len(b.told) != MaxTold {
		t.Errorf("%d are told", len(b.told))
	}
}

// When the networks are other ones, and when the machine slept, which may be in
// another place then, all that was told and heard is gone.
func TestMovedForgetsEverything(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var mu sync.Mutex
	slept, here := time.Duration(0), []network{}
	moved := make(chan bool, 8)
	b := start(Config{OnFound: func(netip.AddrPort) {}, OnMoved: func() { moved <- true }},
		func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(slept) },
		func() []network { mu.Lock(); defer mu.Unlock(); return here })
	wait := func(what string) {
		t.Helper()
		select {
		case <-moved:
		case <-time.After(patience):
			t.Fatal("it did not notice " + what)
		}
	}
	wait("the start")
	for what, change := range map[string]func(){
		"the sleep":           func() { slept += asleep + time.Second },
		"the clock's setback": func() { slept -= time.Hour },
		"another network":     func() { here = []network{{index: 1 << 30, name: "none"}} },
	} {
		b.Tell([]uint16{50001})
		b.take(answer(told{strings.Repeat("q", minName), 50002}), ip("192.168.7.3"), home)
		mu.Lock()
		change()
		mu.Unlock()
		b.Tell([]uint16{50001}) // it looks before it says so
		wait(what)
		b.mu.Lock()
		if len(b.told)+len(b.heard) > 0 {
			t.Errorf("after %s: %v, %v", what, b.told, b.heard)
		}
		b.mu.Unlock()
	}
	b.Close()
	goleak.VerifyNone(t, before)
}
