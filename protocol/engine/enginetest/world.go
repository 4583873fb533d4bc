// Package enginetest runs several engines on a virtual clock and network, from
// one seed, and checks what they promise.
//
// Start with RunSeed for a drawn scenario, with ParseStory for a script, or
// with NewWorld, World.Add and World.Run for a test of one's own; World.Check
// asks at the end whether everybody came to the same. What is promised: one
// goroutine, one source of chance, no wall clock: the same seed and the same
// calls give the same run, but for the key encapsulation, which reads the random
// source of the process (Digest says whether two runs were the same).
//
// The world plays the shell: it commits before it sends, and proves connections
// as the gate does. Faults makes it do so on a bad network, Bug makes it do so
// wrongly, to show that the checks notice.
package enginetest

import (
	"container/heap"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Faults says what goes wrong on the network. Zero is a perfect one.
type Faults struct {
	DelayMin  engine.Time // of a message on a link, before what DelayMax adds
	DelayMax  engine.Time // more, drawn; at least 1 ms
	Rate      int64       // bytes that a node can send in a millisecond, on all links together; 0: any number
	HintDelay engine.Time // more for hints, which overtake one another
	HintLoss  float64     // share of hints that are lost
	HintTwice float64     // share of hints that come twice
	LinkCut   float64     // chance of a link to break, each time that nodes dial
}

// Bug is a mistake of the shell that the checks must find.
type Bug uint8

// Bugs.
const (
	NoBug        Bug = iota
	SendFirst        // what is to be sent leaves before it is stored
	LoseChains       // the rows of message keys are not stored
	NobodyAsks       // no side of a link is told that it dialled, so nobody reconciles
	AnyoneEnters     // older keys admit whoever has them, and as members
)

// World is a set of nodes.
type World struct {
	Now    engine.Time
	Faults Faults
	Bug    Bug
	// Counts holds how often each kind of fault really happened.
	Counts map[string]int
	// Log is the story so far, a line for each thing that was done.
	Log []string

	seed      uint64
	random    *rand.Rand
	nodes     []*Node
	events    events
	serial    uint64
	cuts      map[pair]bool
	relayed   bool // links that come about go through a carrier that cuts them
	links     uint64
	hands     uint64 // links that a scenario made by itself, and devices in nobody's hand
	posts     []*post
	breach    error
	digest    hash.Hash
	committed func(n *Node, b engine.Batch)          // is told of every batch once it is stored
	gone      func(n *Node, b engine.Batch)          // is told of every batch that died with its phone
	tap       func(from, to *Node, data []byte) bool // sees every message on a link; false loses it
	sent      func(from, to *Node, bytes int)        // is told of every message and hint that leaves
	spent     map[*Node]time.Duration                // real time in engines, if it is measured
}

type pair struct{ from, to *Node }

// NewWorld makes an empty world at the given seed. Its clock starts in 2026.
func NewWorld(seed uint64) *World {
	return &World{Now: engine.Seconds(1_790_000_000), Faults: Faults{DelayMax: 40}, Counts: map[string]int{}, seed: seed,
		random: rand.New(rand.NewPCG(seed, 0x70616c61627265)), cuts: map[pair]bool{}, digest: sha256.New()}
}

// chance is true with the given share, and counts it as a fault of that name.
func (w *World) chance(name string, share float64) bool {
	if share <= 0 || w.random.Float64() >= share {
		return false
	}
	w.Counts[name]++
	return true
}

// clock counts the real time from here to the call of what it returns.
func (w *World) clock(n *Node) func() {
	if w.spent == nil {
		return func() {}
	}
	from := time.Now()
	return func() { w.spent[n] += time.Since(from) }
}

func (w *World) logf(format string, args ...any) {
	w.Log = append(w.Log, fmt.Sprintf("%8.1fs ", float64(w.Now-engine.Seconds(1_790_000_000))/1000)+fmt.Sprintf(format, args...))
}

// violate keeps the first promise that was broken.
func (w *World) violate(format string, args ...any) {
	if w.breach == nil {
		w.breach = fmt.Errorf(format, args...)
		w.logf("BROKEN: %v", w.breach)
	}
}

// Cut bars a from dialling b, and ends their link. Both directions make a
// partition; one is what a router at home does.
func (w *World) Cut(a, b *Node) {
	w.cuts[pair{a, b}] = true
	if l := w.linkOf(a, b); l != nil {
		w.Counts["cut"]++
		l.end()
	}
}

// Heal lets two nodes reach one another again.
func (w *World) Heal(a, b *Node) {
	delete(w.cuts, pair{a, b})
	delete(w.cuts, pair{b, a})
}

// HealAll ends all partitions and faults, and starts every node that is off.
func (w *World) HealAll() error {
	clear(w.cuts)
	w.Faults = Faults{DelayMax: 40}
	for _, n := range w.nodes {
		n.DieAt(0, 0)
		if n.off {
			if err := n.Start(); err != nil {
				return err
			}
		}
	}
	return w.breach
}

// Nodes lists the nodes in the order in which they were added.
func (w *World) Nodes() []*Node { return w.nodes }

// Digest is a hash over all that every engine asked for so far.
func (w *World) Digest() [32]byte { return [32]byte(w.digest.Sum(nil)) }

// event is something that is due.
type event struct {
	at     engine.Time
	serial uint64
	do     func()
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].serial < h[j].serial
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *events) Push(x any) { *h = append(*h, x.(event)) }

// Pop is for package heap.
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

func (w *World) at(t engine.Time, do func()) {
	w.serial++
	heap.Push(&w.events, event{at: max(t, w.Now), serial: w.serial, do: do})
}

func (w *World) delay(limit engine.Time) engine.Time {
	return 1 + engine.Time(w.random.Int64N(int64(max(limit, 1))))
}

// Nodes dial whom they can reach every two seconds at first, and, while nothing
// is done to them, ever more rarely.
const (
	dialFirst = engine.Time(2_000)
	dialLast  = engine.Time(300_000)
)

// Run lets time pass. It returns the first promise that was broken.
func (w *World) Run(d engine.Time) error {
	end := w.Now + d
	w.dialRound(dialFirst, end)
	for len(w.events) > 0 && w.events[0].at <= end && w.breach == nil {
		e := heap.Pop(&w.events).(event)
		w.Now = e.at
		e.do()
	}
	w.Now = end
	for _, n := range w.nodes {
		n.step(engine.Tick{})
	}
	return w.breach
}

func (w *World) dialRound(pause, end engine.Time) {
	for i, a := range w.nodes {
		for _, b := range w.nodes[i+1:] {
			if l := w.linkOf(a, b); l != nil && w.chance("cut", w.Faults.LinkCut) {
				l.end()
			}
			// Who dials first is chance, as in life.
			if w.random.IntN(2) == 0 {
				w.dial(a, b)
				w.dial(b, a)
			} else {
				w.dial(b, a)
				w.dial(a, b)
			}
		}
	}
	if next := w.Now + pause; next < end {
		w.at(next, func() { w.dialRound(min(pause+pause/4, dialLast), end) })
	}
}

func (w *World) linkOf(a, b *Node) *link {
	i := slices.IndexFunc(a.links, func(l *link) bool { return l.other(a) == b })
	if i < 0 {
		return nil
	}
	return a.links[i]
}

func (w *World) String() string { return fmt.Sprintf("world of seed %d", w.seed) }
