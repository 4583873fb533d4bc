package lan

import (
	"crypto/rand"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of a beacon (spec 62 section 2).
const (
	// MaxTold is the most ports that are told; others are left out.
	MaxTold = 16
	// MaxHeard is the most addresses that are remembered at a time.
	MaxHeard = 32

	forgetAfter = 5 * time.Minute  // an address that is not heard of any more
	againAfter  = 10 * time.Second // an address is reported again, if it is heard
	answerEvery = time.Second      // at most
	lookEvery   = 10 * time.Second // whether the networks have changed
	asleep      = 30 * time.Second // without a look: this machine slept, and may have been carried away
	roundFirst  = time.Second      // between the first two rounds; it doubles
	roundLast   = time.Minute
)

// Config is all that Start needs. Both funcs are called from goroutines of the
// beacon, may block, and must not call Close.
type Config struct {
	// OnFound reports where something may be. It comes again while it is heard.
	OnFound func(at netip.AddrPort)
	// OnMoved says that the networks of this machine have changed, and comes once at
	// the start. Nothing is told from then on until Tell is called again, which is to
	// be with other ports.
	OnMoved func()
}

// Beacon is one presence in the local networks. All methods may be called from any
// goroutine.
type Beacon struct {
	cfg        Config
	now        func() time.Time
	interfaces func() []network // of this machine

	mu    sync.Mutex
	told  []told
	heard map[netip.AddrPort]*memory

	wake  chan struct{} // what is told has changed
	asked chan struct{} // somebody asked
	stop  chan struct{}
	done  chan struct{}
}

// memory is when an address was heard of and reported last.
type memory struct{ heard, reported time.Time }

// Start makes a beacon, which tells nothing yet. Close it.
func Start(cfg Config) *Beacon { return start(cfg, time.Now, networks) }

func start(cfg Config, now func() time.Time, interfaces func() []network) *Beacon {
	b := still(cfg, now, interfaces)
	go b.run()
	return b
}

func still(cfg Config, now func() time.Time, interfaces func() []network) *Beacon {
	return &Beacon{cfg: cfg, now: now, interfaces: interfaces, heard: map[netip.AddrPort]*memory{},
		wake: make(chan struct{}, 1), asked: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// Close ends the beacon, and returns when its goroutines have ended.
func (b *Beacon) Close() {
	close(b.stop)
	<-b.done
}

// Tell replaces the ports that are told. Each new one gets a name of its own.
func (b *Beacon) Tell(ports []uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []told
	for _, port := range ports[:min(len(ports), MaxTold)] {
		i := slices.IndexFunc(b.told, func(t told) bool { return t.port == port })
		if i >= 0 {
			list = append(list, b.told[i])
		} else {
			list = append(list, told{drawName(), port})
		}
	}
	b.told = list
	signal(b.wake)
}

// drawName draws a name as libp2p does: its length is drawn, too.
func drawName() string {
	name := make([]byte, minName+draw(maxName-minName+1))
	for i := range name {
		name[i] = letters[draw(len(letters))]
	}
	return string(name)
}

func draw(n int) int {
	x, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic("lan: no randomness")
	}
	return int(x.Int64())
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run opens and closes sockets and sends. Reading is beside it.
func (b *Beacon) run() {
	defer close(b.done)
	here := b.interfaces()
	for {
		over := b.stay(here)
		if over {
			return
		}
		here = b.interfaces()
	}
}

// stay serves one set of networks. It returns when they have changed, or with true
// at the end.
func (b *Beacon) stay(here []network) (over bool) {
	var readers sync.WaitGroup
	var sockets []*socket
	defer func() {
		for _, s := range sockets {
			s.conn.Close()
		}
		readers.Wait()
	}()
	b.mu.Lock()
	b.told, b.heard = nil, map[netip.AddrPort]*memory{}
	b.mu.Unlock()
	for _, n := range here {
		if s, err := open(n); err == nil {
			sockets = append(sockets, s)
			readers.Go(func() { b.read(s) })
		}
	}
	readers.Go(b.cfg.OnMoved)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	pause := roundFirst
	round, reply := time.NewTimer(0), time.NewTimer(0)
	defer round.Stop()
	defer reply.Stop()
	reply.Stop()
	answered := time.Time{}
	// By the wall clock, for the other one stands still while a machine sleeps.
	looked := b.now().Round(0)
	for {
		ask, say := false, false
		select {
		case <-b.stop:
			return true
		case <-b.wake:
			pause = roundFirst
			round.Reset(0)
			continue
		case <-b.asked:
			reply.Reset(max(0, answerEvery-b.now().Sub(answered)) + time.Duration(draw(int(100*time.Millisecond))))
			continue
		case <-look.C:
		case <-round.C:
			ask = true
		case <-reply.C:
			say = true
		}
		// Looked at before anything is said: names of one place are not for another.
		now := b.now().Round(0)
		if now.Sub(looked) > asleep || now.Before(looked) || !slices.EqualFunc(here, b.interfaces(), network.equal) {
			return false
		}
		looked = now
		if ask {
			send(sockets, question())
			round.Reset(pause*3/4 + time.Duration(draw(int(pause/2))))
			pause = min(2*pause, roundLast)
		}
		if ask || say {
			b.answer(sockets)
			answered = b.now()
		}
	}
}

func send(sockets []*socket, packet []byte) {
	for _, s := range sockets {
		s.conn.WriteToUDP(packet, group) // who does not hear it hears the next one
	}
}

func (b *Beacon) answer(sockets []*socket) {
	b.mu.Lock()
	list := slices.Clone(b.told)
	b.mu.Unlock()
	for _, t := range list {
		send(sockets, answer(t))
	}
}

func (b *Beacon) read(s *socket) {
	buffer := make([]byte, maxPacket+1)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		b.take(buffer[:n], from.Addr().Unmap(), s.network)
	}
}

// take believes of a packet that something may be at the address that it came from,
// if that is one of the network.
func (b *Beacon) take(packet []byte, from netip.Addr, in network) {
	if !slices.ContainsFunc(in.prefixes, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return
	}
	h, ok := parse(packet)
	if !ok {
		return
	}
	if h.asks {
		signal(b.asked)
	}
	for _, t := range h.told {
		if at := netip.AddrPortFrom(from, t.port); b.remember(t, at) {
			b.cfg.OnFound(at)
		}
	}
}

// remember says whether an address is to be reported.
func (b *Beacon) remember(t told, at netip.AddrPort) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Contains(b.told, t) { // ourselves
		return false
	}
	now := b.now()
	for a, m := range b.heard {
		if now.Sub(m.heard) > forgetAfter {
			delete(b.heard, a)
		}
	}
	m := b.heard[at]
	switch {
	case m != nil:
	case len(b.heard) >= MaxHeard:
		return false
	default:
		m = &memory{}
		b.heard[at] = m
	}
	m.heard = now
	if !m.reported.IsZero() && now.Sub(m.reported) < againAfter {
		return false
	}
	m.reported = now
	return true
}

var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
