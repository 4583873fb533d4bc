package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/group"
)

// An inviter and a joiner who are never online together have a ferry between them: a
// closed one, so the link has to bring the ticket. With and without a person who
// approves.
func TestJoinThroughAFerry(t *testing.T) {
	for name, auto := range map[string]bool{"by itself": true, "by hand": false} {
		t.Run(name, func(t *testing.T) {
			named := "/ip4/192.0.2.7/tcp/4001/p2p/name#ticket"
			p, err := group.DefaultPolicy(10).WithFerries([]string{named})
			must(t, err)
			w, ana, others := circle(t, p, "ben")
			ben := others[0]
			limits := ferry.DefaultLimits()
			limits.Closed = true
			f, err := w.AddFerry("F", limits)
			must(t, err)
			dia, eve := w.Add("Dia"), w.Add("Eve")
			seed := &[32]byte{1}
			f.Tickets = map[*Node]*[32]byte{ana: seed, ben: seed, dia: seed, eve: seed}
			f.store.tickets = map[ferry.TicketKey]bool{ferry.TicketOf(*seed): true}
			w.isolate()

			l, err := ana.Invite(engine.InviteParams{AutoApprove: auto})
			must(t, err)
			if len(l.Ferries) != 1 || l.Ferries[0] != named {
				t.Fatalf("the link names %q", l.Ferries)
			}
			ana.visiting(t, f)
			first := ana.visiting(t, f)
			card := f.Bytes()
			if again := ana.visiting(t, f); again.bytes > first.bytes || f.Bytes() != card {
				t.Errorf("an invite that nobody answers costs %d bytes, then %d; %d more lie there", first.bytes, again.bytes, f.Bytes()-card)
			}
			ana.Stop()
			must(t, ana.Start())
			fetched := ana.visiting(t, f)
			if known := ana.visiting(t, f); f.Bytes() != card || known.bytes > fetched.bytes-2_000 {
				t.Errorf("after a new start %d bytes more lie there, visits cost %d and %d", f.Bytes()-card, fetched.bytes, known.bytes)
			}
			ana.Stop()

			must(t, dia.Join(l))
			if list := dia.Engine.Ferries(); len(list) != 1 || list[0] != named {
				t.Errorf("the joiner looks at %q", list)
			}
			dia.visiting(t, f)
			if asked := f.Bytes(); true {
				dia.visiting(t, f) // asks no second time
				if f.Bytes() != asked {
					t.Errorf("%d bytes more for asking twice", f.Bytes()-asked)
				}
			}
			dia.Stop()
			must(t, ana.Start())
			request := f.Bytes()
			if ana.visiting(t, f); auto != (f.Bytes() > request+10_000) {
				t.Errorf("the visit that found the request left %d bytes", f.Bytes()-request)
			}
			if !auto {
				open := ana.Engine.Requests()
				if len(open) != 1 || open[0].Name != "Dia" {
					t.Fatalf("%+v", open)
				}
				must(t, ana.Approve("Dia"))
				ana.visiting(t, f)
			}
			must(t, ana.Post("bienvenue", "Corps.", 0))
			ana.visiting(t, f)
			ana.Stop()

			must(t, dia.Start())
			dia.visiting(t, f)
			if !dia.isIn() {
				t.Fatal("Dia is not in")
			}
			dia.sees(t, true, "bienvenue")
			must(t, dia.Post("merci", "Corps.", 0))
			dia.visiting(t, f)
			dia.Stop()

			// Ben has never met Dia, and a link that was used lets nobody else in.
			ben.visiting(t, f)
			ben.sees(t, true, "merci")
			must(t, eve.Join(l))
			eve.visiting(t, f)
			must(t, ana.Start())
			ana.visiting(t, f)
			eve.visiting(t, f)
			if eve.isIn() || len(ana.Engine.Requests()) > 0 {
				t.Errorf("Eve is in: %t; %d requests", eve.isIn(), len(ana.Engine.Requests()))
			}
			ana.sees(t, true, "merci")
			ana.visiting(t, f)
			held := f.Bytes()
			if quiet := ana.visiting(t, f); f.Bytes() != held || quiet.bytes > first.bytes {
				t.Errorf("a visit with nothing new costs %d bytes, and %d more lie there", quiet.bytes, f.Bytes()-held)
			}
			eve.Stop()
			must(t, dia.Start())
			dia.visiting(t, f)
			for _, n := range []*Node{ana, ben, dia} {
				if len(n.Engine.Faults()) > 0 {
					t.Errorf("an honest ferry is at fault with %s: %v", n.Name, n.Engine.Faults())
				}
			}
			clear(w.cuts)
			must(t, w.Run(engine.Seconds(300)))
			talk(t, w, "ensemble", ana, ben, dia)
		})
	}
}

// Two ask by a link for one: whoever comes first in the mailbox is let in.
func TestTwoAskThroughAFerry(t *testing.T) {
	w, ana, _ := circle(t, group.DefaultPolicy(10), "ben")
	f := newFerry(t, w, "F")
	dia, eve := w.Add("Dia"), w.Add("Eve")
	w.isolate()
	l, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	ana.visiting(t, f)
	in := 0
	for _, n := range []*Node{dia, eve} {
		must(t, n.Join(l))
		n.visiting(t, f)
	}
	ana.visiting(t, f)
	for _, n := range []*Node{dia, eve} {
		if n.visiting(t, f); n.isIn() {
			in++
		}
	}
	if in != 1 || len(ana.Engine.Requests()) != 0 {
		t.Errorf("%d are in, %d wait", in, len(ana.Engine.Requests()))
	}
}
