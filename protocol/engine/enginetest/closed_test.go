package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/group"
)

const tableOfClosed engine.Table = 24

// oneByOne lets people into a group of one, one after the other.
func oneByOne(t *testing.T, by *Node, names ...string) {
	t.Helper()
	for _, name := range names {
		l, err := by.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, by.w.Add(name).Join(l))
		must(t, by.w.Run(engine.Seconds(30)))
	}
}

// Who was let in cannot read what was said before. Each of that comes once, from others
// or from a ferry, and never again: not after a start, not on another day, not once the
// group has decided something.
func TestClosedComesOnce(t *testing.T) {
	w := NewWorld(97)
	ana := w.Add("Ana")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	for i := range 5 {
		must(t, ana.Post(fmt.Sprint("avant ", i), "Corps.", 0))
	}
	f := newFerry(t, w, "F")
	ana.visiting(t, f)
	given, twice := map[*Node]map[protocol.EnvelopeID]bool{}, 0
	count := func(to *Node, envelope []byte) {
		id := protocol.IDOf(envelope)
		if given[to] == nil {
			given[to] = map[protocol.EnvelopeID]bool{}
		}
		if given[to][id] {
			twice++
		}
		given[to][id] = true
	}
	w.tap = func(_, to *Node, data []byte) bool {
		if data[0] == messageGive {
			count(to, data[1:])
		}
		return true
	}
	oneByOne(t, ana, "Ben", "Cam")
	ben, cam := w.nodes[1], w.nodes[2]
	closed := len(ben.Store.keys(tableOfClosed))
	if closed < 5 || len(cam.Store.keys(tableOfClosed)) <= closed {
		t.Fatalf("%d never open for the first, %d for the second", closed, len(cam.Store.keys(tableOfClosed)))
	}
	f.Lie = func(msg []byte) [][]byte {
		if msg[0] == ferry.TypeGive {
			count(ben, msg[1:])
		}
		return [][]byte{msg}
	}
	ben.visiting(t, f)
	f.Lie = nil
	for range 2 {
		w.pass(t, 1)
		ana.policy(t, func(p *group.Policy) { p.AlertOverride = !p.AlertOverride })
		must(t, w.Run(engine.Seconds(120)))
	}
	ana.sees(t, true, "avant 0")
	ben.sees(t, false, "avant 0")
	if twice > 0 {
		t.Errorf("%d were given a second time", twice)
	}
	w.pass(t, 45) // it is forgotten with its epoch
	for _, n := range []*Node{ben, cam} {
		if list := n.Store.keys(tableOfClosed); len(list) > 0 {
			t.Errorf("%s still knows of %d", n.Name, len(list))
		}
	}
}

// In a group where nothing is said comparing costs the questions: that newcomers hold less
// of the epoch in which they came is not a difference that begins a session each minute.
func TestQuietGroupComparesCheaply(t *testing.T) {
	w := NewWorld(96)
	ana := w.Add("Ana")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	oneByOne(t, ana, "Ben", "Cam", "Dia", "Eli")
	must(t, w.Run(engine.Seconds(600)))
	count, size := map[byte]int{}, 0
	w.tap = func(_, _ *Node, data []byte) bool {
		count[data[0]]++
		size += len(data)
		return true
	}
	must(t, w.Run(engine.Seconds(3_600)))
	if rounds := count[messageCheck]; rounds < 100 || rounds > 130 || count[messageChecked] != rounds || len(count) != 2 {
		t.Errorf("messages by type, of ten links in an hour: %v", count)
	}
	if size > 6_000 {
		t.Errorf("%d bytes", size)
	}
	if c := len(w.nodes[4].Store.keys(tableOfClosed)); c == 0 {
		t.Error("there is nothing that they hold and the newest does not")
	}
}

// What is known and not held is bounded, whatever a member's phone makes of keys that it
// has used.
func TestClosedIsBounded(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	d, before, chain := device(t, ana), secrets(t, ana).MarshalBase(), []byte(nil)
	for _, r := range ana.Store.rows[tableOfChains] {
		if k, err := epoch.ParseKeys(bytes.Clone(before)); err == nil && k.AddChain(bytes.Clone(r.value)) == nil && slices.Contains(k.Senders(), d.Public().ID()) {
			chain = bytes.Clone(r.value)
		}
	}
	must(t, ana.Post("dit", "Corps.", 0))
	must(t, w.Run(engine.Seconds(10)))
	_, said, err := protocol.ParseOriginal(ana.Store.rows[tableOfItems][ana.Store.keys(tableOfItems)[0]].value)
	must(t, err)
	a := asMember(t, ben)
	for i := range 8_300 {
		k, err := epoch.ParseKeys(bytes.Clone(before))
		must(t, err)
		must(t, k.AddChain(bytes.Clone(chain)))
		said.DevSeq = uint64(1_000 + i)
		f, _, err := k.Seal(ana.id, d, said, ana.random)
		must(t, err)
		a.give(sealed(t, k, ben, f))
	}
	if got := len(ben.Store.keys(tableOfClosed)); got != 8_192 {
		t.Errorf("%d are known", got)
	}
}

// What somebody wrote is known to be held by others only where it is held: not by a
// newcomer for whom it never opens, and by one who got it from a ferry also where other
// things never open there.
func TestFoundAtANewcomers(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	f := newFerry(t, w, "F")
	w.isolate()
	must(t, ben.Post("de loin", "Corps.", 0))
	ben.visiting(t, f)
	ana.visiting(t, f)
	cam.Stop()
	oneByOne(t, ana, "Dia")
	dia := w.nodes[3]
	must(t, w.Run(engine.Seconds(90)))
	dia.visiting(t, f)
	ana.sees(t, true, "de loin")
	dia.sees(t, false, "de loin")
	w.Heal(ben, dia)
	must(t, w.Run(engine.Seconds(90)))
	if s := ben.Engine.Status(); s.Unsent != 1 || s.Peers != 1 {
		t.Fatalf("ben meets who cannot read it: %+v", s)
	}
	w.alone(ben)
	ana.Stop()
	must(t, ben.Post("après", "Corps.", 0))
	ben.visiting(t, f)
	dia.visiting(t, f)
	dia.sees(t, true, "après")
	w.Heal(ben, dia)
	must(t, w.Run(engine.Seconds(90)))
	if s := ben.Engine.Status(); s.Unsent != 1 {
		t.Fatalf("ben meets who has read the second: %+v", s)
	}
	must(t, ana.Start())
	must(t, w.HealAll())
	must(t, w.Run(engine.Seconds(90)))
	if s := ben.Engine.Status(); s.Unsent != 0 {
		t.Fatalf("ben meets who has read both: %+v", s)
	}
}
