package enginetest

import (
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// newFerry is a ferry with the usual limits.
func newFerry(t *testing.T, w *World, name string) *Ferry {
	t.Helper()
	f, err := w.AddFerry(name, ferry.DefaultLimits())
	must(t, err)
	return f
}

// visiting lets a node visit a ferry until the session has ended.
func (n *Node) visiting(t *testing.T, f *Ferry) *visit {
	t.Helper()
	v := n.Poll(f)
	if v == nil {
		t.Fatalf("%s does not reach %s", n.Name, f.Name)
	}
	must(t, n.w.Run(engine.Seconds(30)))
	if v.up {
		t.Fatalf("the session of %s does not end", n.Name)
	}
	return v
}

// isolate lets nobody reach anybody.
func (w *World) isolate() {
	for _, n := range w.nodes {
		w.alone(n)
	}
}

// The author is gone, all others are away at different times and never meet: with one
// ferry everybody ends with everything.
func TestOneFerryBringsEverything(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia, eve := w.Add("Dia"), w.Add("Eve")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, eve.Join(link))
	must(t, w.Run(engine.Seconds(120)))
	f := newFerry(t, w, "F")
	w.isolate()
	all := []*Node{ana, ben, cam, dia, eve}
	for _, n := range all[1:] {
		n.Stop()
	}
	must(t, ana.Post("un", "Corps.", 0))
	must(t, ana.Post("deux", "Corps.", 0))
	ana.step(engine.Addresses{List: []string{address(ana)}})
	ana.visiting(t, f)
	if presence := f.held(ana, protocol.KindPresence); presence != 0 || f.held(ana, protocol.KindMessage) == 0 {
		t.Errorf("the ferry holds %d items with addresses", presence)
	}
	if f.Bytes() == 0 {
		t.Fatal("nothing was brought")
	}
	ana.Stop()
	// Each alone, one after the other, writes something and goes.
	for _, n := range all[1:] {
		must(t, n.Start())
		n.visiting(t, f)
		n.sees(t, true, "un", "deux")
		must(t, n.Post("de "+n.Name, "Corps.", 0))
		n.visiting(t, f)
		n.Stop()
	}
	for _, n := range all {
		must(t, n.Start())
		n.visiting(t, f)
		n.sees(t, true, "un", "deux", "de Ben", "de Cam", "de Dia", "de Eve")
		n.Stop()
	}
	for _, n := range all {
		must(t, n.Start())
	}
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(300)))
	must(t, w.Check())
}

// The keys are renewed while somebody is away, and she meets nobody but a ferry: she
// walks from epoch to epoch on one connection. Who was removed is not brought along.
func TestWalkThroughAFerry(t *testing.T) {
	w, ana, ben, _ := organised(t)
	dia, fay := w.Add("Dia"), w.Add("Fay")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, fay.Join(link))
	must(t, w.Run(engine.Seconds(120)))
	f := newFerry(t, w, "F")
	dia.Stop()
	must(t, ana.Remove(fay))
	must(t, w.Run(engine.Seconds(60)))
	w.alone(fay)
	for range 3 {
		w.pass(t, 8, dia)
		must(t, ben.Post("semaine "+string(rune('a'+ben.epoch())), "Corps.", 0))
		must(t, w.Run(engine.Seconds(60)))
		for _, n := range w.nodes {
			if n != dia && n != fay {
				n.visiting(t, f)
			}
		}
	}
	last := ben.epoch()
	must(t, ben.Post("dernier", "Corps.", 0))
	must(t, w.Run(engine.Seconds(30)))
	ben.visiting(t, f)
	w.isolate()
	must(t, dia.Start())
	if dia.epoch()+3 > last {
		t.Fatalf("dia is at epoch %d, the others at %d", dia.epoch(), last)
	}
	v := dia.visiting(t, f)
	if dia.epoch() != last || dia.Engine.Waiting() {
		t.Errorf("dia is at epoch %d, the others at %d", dia.epoch(), last)
	}
	dia.sees(t, true, "dernier")
	t.Logf("a walk over %d epochs: %d messages, %d bytes", last-1, v.messages, v.bytes)
	if got := fay.visiting(t, f); got.bytes == 0 {
		t.Error("fay does not get through to the ferry")
	}
	fay.sees(t, false, "dernier")
	must(t, w.checkRemoved())
}

// The network loses whole visits, the phone dies in the middle of one: the next one
// goes on.
func TestVisitsThatBreakOff(t *testing.T) {
	w, ana, ben, cam := organised(t)
	f := newFerry(t, w, "F")
	w.isolate()
	ben.Stop()
	cam.Stop()
	for i := range 80 {
		must(t, ana.Post(fmt.Sprint("avis ", i), "Corps.", 0))
	}
	for tries := 0; ; tries++ {
		if tries > 60 {
			t.Fatal("there is no end")
		}
		v := ana.Poll(f)
		w.at(w.Now+engine.Time(60+40*tries), v.end)
		must(t, w.Run(engine.Seconds(5)))
		if ana.Engine.Faults() != nil && len(ana.Engine.Faults()) > 0 {
			t.Fatalf("an honest ferry is at fault: %v", ana.Engine.Faults())
		}
		if f.held(ana, protocol.KindMessage) >= 80 {
			break
		}
	}
	must(t, ben.Start())
	for tries := 0; ; tries++ {
		if tries > 60 {
			t.Fatal("there is no end")
		}
		v := ben.Poll(f)
		w.at(w.Now+engine.Time(60+40*tries), v.end)
		must(t, w.Run(engine.Seconds(5)))
		if tries%3 == 2 {
			ben.Stop()
			must(t, ben.Start())
		}
		if len(ben.Engine.Notices(ben.Now(), nil, true)) == 80 {
			break
		}
	}
}

// held counts what a ferry holds of the envelopes of one kind of a node's store.
func (f *Ferry) held(n *Node, kind protocol.FrameKind) (count int) {
	for k, r := range n.Store.rows[tableOfEnvelopes] {
		if env, err := protocol.ParseEnvelope(r.value); err == nil && k[68] == byte(kind) && f.store.rows[env.Mailbox][protocol.IDOf(r.value)].Envelope != nil {
			count++
		}
	}
	return count
}

// A ferry that lies, in each way that it can, beside an honest one: everybody ends with
// everything, and the lie is told.
func TestLyingFerries(t *testing.T) {
	drop := func(kind byte, each int) func(msg []byte) [][]byte {
		n := 0
		return func(msg []byte) [][]byte {
			if msg[0] == kind {
				if n++; n%each == 0 {
					return nil
				}
			}
			return [][]byte{msg}
		}
	}
	for _, c := range []struct {
		name string
		lie  func(f *Ferry)
		told func(x engine.FerryFaults) bool
	}{
		{"gives nothing", func(f *Ferry) { f.Lie = drop(ferry.TypeGive, 1) }, func(x engine.FerryFaults) bool { return x.Withheld > 0 }},
		{"gives not all", func(f *Ferry) { f.Lie = drop(ferry.TypeGive, 3) }, func(x engine.FerryFaults) bool { return x.Withheld > 0 }},
		{"says that it lacks what it named", func(f *Ferry) {
			f.Lie = func(msg []byte) [][]byte {
				if msg[0] == ferry.TypeGive {
					id := protocol.IDOf(msg[1:])
					msg = append([]byte{ferry.TypeLack}, id[:ferry.PrefixSize]...)
				}
				return [][]byte{msg}
			}
		}, func(x engine.FerryFaults) bool { return x.Withheld > 0 }},
		{"alters", func(f *Ferry) {
			f.Lie = func(msg []byte) [][]byte {
				if msg[0] == ferry.TypeGive {
					msg[200] ^= 1
				}
				return [][]byte{msg}
			}
		}, func(x engine.FerryFaults) bool { return x.False > 0 }},
		{"gives twice", func(f *Ferry) {
			f.Lie = func(msg []byte) [][]byte {
				if msg[0] == ferry.TypeGive {
					return [][]byte{msg, msg}
				}
				return [][]byte{msg}
			}
		}, func(x engine.FerryFaults) bool { return x.False > 0 }},
		{"forgets what it kept", func(f *Ferry) {
			f.Lie = func(msg []byte) [][]byte {
				if msg[0] == ferry.TypeKept {
					clear(f.store.rows)
				}
				return [][]byte{msg}
			}
		}, func(x engine.FerryFaults) bool { return x.Lost > 0 }},
		{"says twice that it keeps", func(f *Ferry) {
			f.Lie = func(msg []byte) [][]byte {
				if msg[0] == ferry.TypeKept {
					return [][]byte{msg, msg}
				}
				return [][]byte{msg}
			}
		}, func(x engine.FerryFaults) bool { return x.False > 0 }},
		{"says nothing", func(f *Ferry) { f.Lie = func([]byte) [][]byte { return nil } }, nil},
		{"talks nonsense", func(f *Ferry) {
			f.Lie = func(msg []byte) [][]byte { return [][]byte{msg, {msg[0], 0xff, 0xff}, {}, {77}} }
		}, func(x engine.FerryFaults) bool { return x.False > 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, ana, ben, cam := organised(t)
			liar, honest := newFerry(t, w, "liar"), newFerry(t, w, "honest")
			w.isolate()
			all := []*Node{ana, ben, cam}
			visit := func(n *Node, f *Ferry) {
				n.Poll(f)
				must(t, w.Run(engine.Seconds(90)))
				if len(n.visits) > 0 {
					t.Fatalf("a visit of %s at %s does not end", n.Name, f.Name)
				}
			}
			for _, n := range all { // before it began to lie
				visit(n, liar)
				visit(n, honest)
			}
			c.lie(liar)
			for i := range 2 {
				for _, n := range all {
					must(t, n.Post(fmt.Sprint("de ", n.Name, " ", i), "Corps.", 0))
					visit(n, liar)
					visit(n, honest)
				}
			}
			for _, n := range all {
				visit(n, liar)
				visit(n, honest)
			}
			told := false
			for _, n := range all {
				for _, m := range all {
					n.sees(t, true, fmt.Sprint("de ", m.Name, " 0"), fmt.Sprint("de ", m.Name, " 1"))
				}
				faults := n.Engine.Faults()
				if x := faults["ferry honest"]; x != (engine.FerryFaults{}) {
					t.Errorf("%s blames the honest one: %+v", n.Name, x)
				}
				told = told || c.told != nil && c.told(faults["ferry liar"])
			}
			if told != (c.told != nil) {
				t.Errorf("the lie is told: %t", told)
			}
			clear(w.cuts)
			must(t, w.Run(engine.Seconds(300)))
			must(t, w.Check())
		})
	}
}

// What is told to the organisers alone lies in a mailbox that they alone read.
func TestInboxThroughAFerry(t *testing.T) {
	w, ana, ben, cam := organised(t)
	must(t, w.Run(engine.Seconds(60)))
	f := newFerry(t, w, "F")
	dia := w.Add("Dia")
	w.isolate()
	w.Heal(ana, dia)
	link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, w.Run(engine.Seconds(30))) // ana alone meets her
	ana.Stop()                         // nobody but dia brings what ben and cam lack
	w.isolate()
	for _, n := range []*Node{dia, ben, cam} {
		n.visiting(t, f)
	}
	own := seedsAt(dia, dia)
	for _, o := range []*Node{ben, cam} {
		if known := seedsAt(o, dia); len(own) == 0 || len(known) != len(own) {
			t.Errorf("%s knows %d of dia's %d seeds", o.Name, len(known), len(own))
		}
	}
	must(t, dia.Post("bonjour", "Corps.", 0))
	dia.visiting(t, f)
	cam.visiting(t, f)
	cam.sees(t, true, "bonjour")
}

// A visit that finds nothing new costs little, and the first of a day more than the
// others.
func TestWhatAVisitCosts(t *testing.T) {
	w, ana, ben, cam := organised(t)
	f := newFerry(t, w, "F")
	for i := range 20 {
		must(t, ana.Post(fmt.Sprint("avis ", i), "Corps.", 0))
	}
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range []*Node{ana, ben, cam} {
		n.visiting(t, f)
	}
	w.isolate()
	first := ben.visiting(t, f)
	w.Now += engine.Seconds(daySeconds)
	for _, n := range w.nodes {
		n.step(engine.Tick{})
	}
	daily, second := ben.visiting(t, f), ben.visiting(t, f)
	t.Logf("%d bytes the same day, %d the first time next day, %d the second", first.bytes, daily.bytes, second.bytes)
	if first.bytes > 6_200 || daily.bytes > 12_000 || second.bytes > 6_200 {
		t.Error("that is more than it was")
	}
}

// A closed ferry serves holders of its tickets. Who has none is told so before it asks
// for anything, and takes that for no fault.
func TestClosedFerry(t *testing.T) {
	w, ana, ben, _ := organised(t)
	limits := ferry.DefaultLimits()
	limits.Closed = true
	f, err := w.AddFerry("F", limits)
	must(t, err)
	f.Tickets = map[*Node]*[32]byte{ana: {1}}
	f.store.tickets = map[ferry.TicketKey]bool{ferry.TicketOf([32]byte{1}): true}
	w.isolate()
	must(t, ana.Post("un", "Corps.", 0))
	ana.visiting(t, f)
	if f.Bytes() == 0 {
		t.Fatal("nothing was kept for who has a ticket")
	}
	held := f.Bytes()
	if v := ben.visiting(t, f); v.messages != 1 {
		t.Errorf("%d messages with who has no ticket, want a greeting alone", v.messages)
	}
	if f.Bytes() != held || len(ben.Engine.Faults()) > 0 {
		t.Errorf("%d bytes were kept, %v", f.Bytes()-held, ben.Engine.Faults())
	}
	ben.sees(t, false, "un")
	f.Tickets[ben] = f.Tickets[ana]
	ben.visiting(t, f)
	ben.sees(t, true, "un")
}
