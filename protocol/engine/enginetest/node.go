package enginetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// Node is one phone with one group: an engine, or what it left on the disk.
type Node struct {
	Name   string
	Skew   engine.Time    // added to the world's time
	Engine *engine.Engine // nil while the phone is off
	Store  *Memory
	Events []engine.Event // all that were delivered
	Silent bool           // it takes what comes, and gives and says nothing to anybody

	w       *World
	id      protocol.GroupID
	gate    *engine.Gate
	wake    engine.Time
	links   []*link
	visits  []*visit
	random  *rand.ChaCha8
	off     bool
	shown   map[string]int // EventNotice by id
	joined  engine.Time    // when its Welcome came; 0: not yet
	gen     uint32         // of its first epoch
	member  identity.MemberID
	changes int                        // edits and cancels that it saved
	met     map[identity.MemberID]bool // whom it has had as members
	// removed is when somebody removed it, copied what it had on the disk then.
	removed engine.Time
	copied  *Memory
	copy    bool        // of another node
	stopped bool        // it was suspended: what it wrote may be gone for good
	since   engine.Time // it was first: what was said from then on may not be meant for it
	// still is when its clock stopped: it takes in and gives what others ask for, and
	// does nothing that is due. 0: its clock runs.
	still engine.Time
	// wakes is how often it was woken in a second.
	wakes  int
	line   int64 // what it has sent is gone at that time, in bytes at the world's rate
	second int64
	// Commits until the phone dies, before (crashIn) or after (crashSent) one, or
	// amid what is sent then (crashAmid); 0: it lives.
	crashIn, crashSent, crashAmid int
}

// Add makes a node.
func (w *World) Add(name string) *Node {
	n := &Node{Name: name, w: w, random: newRandom(w.seed, name), shown: map[string]int{}, met: map[identity.MemberID]bool{}}
	w.nodes = append(w.nodes, n)
	return n
}

func newRandom(seed uint64, name string) *rand.ChaCha8 {
	var b [32]byte
	copy(b[:], fmt.Sprintf("%d %s", seed, name))
	return rand.NewChaCha8(b)
}

func (n *Node) config() engine.Config {
	return engine.Config{Storage: n.Store, Random: n.random, Zone: func(z string) bool {
		_, err := time.LoadLocation(z)
		return err == nil
	}}
}

// Now is the node's own time.
func (n *Node) Now() engine.Time {
	if n.still != 0 {
		return n.still
	}
	return n.w.Now + n.Skew
}

// Found makes the node the founder of a group.
func (n *Node) Found(name string, p group.Policy) error {
	n.Store = NewMemory()
	e, err := engine.Create(n.config(), n.Now(), engine.CreateParams{GroupName: name, Name: n.Name, Policy: p},
		func(protocol.GroupID) engine.Storage { return n.Store })
	if err != nil {
		return err
	}
	n.joined = n.w.Now
	n.adopt(e)
	return nil
}

// Join starts joining by a link.
func (n *Node) Join(l protocol.Link) error {
	n.Store = NewMemory()
	e, err := engine.Join(n.config(), n.Now(), l, n.Name)
	if err != nil {
		n.Store = nil
		return err
	}
	n.adopt(e)
	return nil
}

func (n *Node) adopt(e *engine.Engine) {
	n.Engine, n.id = e, e.ID()
	if !n.flush() {
		n.Store = nil // it died before anything was there
	}
}

// IsOff says that the phone is off.
func (n *Node) IsOff() bool { return n.off }

func (n *Node) live() bool { return n.Engine != nil }

// Stop ends the node as a flat battery does: what was not committed is lost.
// What it had sent may still arrive.
func (n *Node) Stop() {
	n.off = true
	n.DieAt(0, 0)
	n.Engine, n.gate, n.wake = nil, nil, 0
	for _, v := range slices.Clone(n.visits) {
		v.end()
	}
	for _, l := range slices.Clone(n.links) {
		if n.w.random.IntN(2) == 0 {
			n.w.Counts["last words"]++
			l.endAfterWords(n)
		} else {
			l.end()
		}
	}
}

// Start opens the node again from what it had committed.
func (n *Node) Start() error {
	n.off = false
	if n.Store == nil {
		return nil // it had nothing yet
	}
	e, err := engine.Load(n.config(), n.id, n.Now())
	if err != nil {
		return fmt.Errorf("%s does not open again: %w", n.Name, err)
	}
	n.Engine = e
	n.w.Counts["restart"]++
	n.flush()
	if n.live() {
		n.w.checkStored(n)
	}
	return nil
}

func (n *Node) step(in engine.Input) {
	if !n.live() {
		return
	}
	defer n.w.clock(n)()
	if err := n.Engine.Step(n.Now(), in); err != nil {
		n.w.violate("%s: an input failed: %v", n.Name, err)
		return
	}
	n.flush()
}

// do gives the engine a command and carries out what follows. It returns
// whether the command was acknowledged: whether the node lived to store it.
func (n *Node) do(command func(e *engine.Engine, now engine.Time) error) (bool, error) {
	if !n.live() {
		return false, errOff
	}
	defer n.w.clock(n)()
	if err := command(n.Engine, n.Now()); err != nil {
		n.flush() // a command that fails may have done what time asked for
		return false, err
	}
	return n.flush(), nil
}

// flush carries out what the engine asks for. It is false if the node died
// before the first batch was durable.
func (n *Node) flush() bool {
	for first := true; n.live(); first = false {
		r := n.Engine.Ready()
		n.schedule(r.Wake)
		if r.Empty() {
			return true
		}
		n.record(r)
		if n.w.Bug == SendFirst {
			n.send(r)
		}
		if n.crashIn > 0 && !r.Persist.Empty() {
			if n.crashIn--; n.crashIn == 0 {
				n.w.Counts["crash before commit"]++
				n.w.logf("%s dies before a commit", n.Name)
				if n.w.gone != nil {
					n.w.gone(n, r.Persist)
				}
				n.Stop()
				return !first
			}
		}
		n.commit(r.Persist)
		if n.crashSent > 0 && !r.Persist.Empty() {
			if n.crashSent--; n.crashSent == 0 {
				n.w.Counts["crash before sending"]++
				n.w.logf("%s dies before it sends", n.Name)
				n.Stop()
				return true
			}
		}
		if n.crashAmid > 0 && !r.Persist.Empty() {
			if n.crashAmid--; n.crashAmid == 0 {
				n.w.Counts["crash amid sending"]++
				n.w.logf("%s dies while it sends", n.Name)
				n.sendHalf(r)
				n.Stop()
				return true
			}
		}
		if n.w.Bug != SendFirst {
			n.send(r)
		}
		n.deliver(r)
		if n.live() {
			n.Engine.Advance()
		}
	}
	return true
}

// tableOfChains is the number of the table with the message keys (spec 65
// section 7), for the bug that loses it.
const tableOfChains = 6

func (n *Node) commit(b engine.Batch) {
	if n.w.Bug == LoseChains {
		b.Puts = slices.DeleteFunc(slices.Clone(b.Puts), func(r engine.Record) bool { return r.Table == tableOfChains })
	}
	n.Store.Commit(b)
	if n.w.committed != nil {
		n.w.committed(n, b)
	}
}

func (n *Node) visitOf(p engine.Peer) *visit {
	for _, v := range n.visits {
		if v.id == p {
			return v
		}
	}
	return nil
}

func (n *Node) find(p engine.Peer) *link {
	for _, l := range n.links {
		if l.id == p {
			return l
		}
	}
	return nil
}

func (n *Node) send(r *engine.Ready) {
	if r.Gate != nil {
		n.gate = r.Gate
	}
	for _, m := range r.Send {
		if l := n.find(m.Peer); l != nil {
			l.send(n, m.Data)
		} else if v := n.visitOf(m.Peer); v != nil {
			v.send(m.Data)
		}
	}
	if len(r.Announce) > 0 {
		for _, l := range n.links {
			if l.class == engine.ClassMember {
				l.hint(n, r.Announce)
			}
		}
	}
}

func (n *Node) deliver(r *engine.Ready) {
	n.Events = append(n.Events, r.Deliver...)
	for _, ev := range r.Deliver {
		n.w.checkEvent(n, ev)
	}
	for _, p := range r.Close {
		if l := n.find(p); l != nil {
			// Closed once what was sent before has arrived.
			n.w.at(max(n.w.Now, l.nextA, l.nextB)+1, l.end)
		} else if v := n.visitOf(p); v != nil {
			n.w.at(max(n.w.Now, v.toFerry, v.toNode)+1, v.end)
		}
	}
}

func (n *Node) schedule(at engine.Time) {
	if at == 0 || at == n.wake || n.still != 0 {
		return
	}
	n.wake = at
	n.w.at(at-n.Skew, func() {
		if n.wake == at && n.still == 0 {
			n.wake = 0
			n.woken()
			n.step(engine.Tick{})
		}
	})
}

// maxWakes is how often in a second a device may ask to be woken: a time that has passed
// and is asked for again and again empties a battery.
const maxWakes = 300

func (n *Node) woken() {
	if second := int64(n.w.Now / engine.Seconds(1)); second != n.second {
		n.second, n.wakes = second, 0
	}
	if n.wakes++; n.wakes > maxWakes {
		n.w.violate("%s is woken %d times in a second", n.Name, n.wakes)
	}
}
