package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// TestErasure is the test of spec 35: a phone's whole storage at many times, with
// all that ever travelled, opens exactly what the claims say.
func TestErasure(t *testing.T) {
	for _, v := range levels {
		t.Run(v.name, func(t *testing.T) { erasure(t, v) })
	}
}

func erasure(t *testing.T, v level) {
	w := NewWorld(35)
	x := &theft{World: w, t: t, spy: w.spied(), witness: w.witnessed()}
	ana, ben, cam, dia, eli, fay := w.Add("Ana"), w.Add("Ben"), w.Add("Cam"), w.Add("Dia"), w.Add("Eli"), w.Add("Fay")
	policy := group.DefaultPolicy(10)
	policy.HighRisk = v.high
	must(t, ana.Found("Jardin", policy))
	start := w.Now
	link, err := ana.Invite(engine.InviteParams{Uses: 6, AutoApprove: true})
	must(t, err)
	must(t, ana.Post("avant", "Corps.", 0))
	for _, n := range []*Node{ben, cam, dia, fay} {
		must(t, n.Join(link))
	}
	for _, n := range []*Node{ben, cam, dia, fay} {
		for i := 0; n.joined == 0; i++ {
			if i == 60 {
				t.Fatalf("%s did not get in", n.Name)
			}
			must(t, w.Run(engine.Seconds(1)))
		}
	}
	x.spy.know(ana, ben, cam, dia, fay)

	// Before the next key is acknowledged, the key that opened the Welcome opens
	// what was read; afterwards it does not.
	must(t, ana.Post("vite", "Corps.", 5))
	must(t, w.Run(engine.Seconds(4)))
	if _, err := ben.See("vite"); err != nil {
		t.Fatal(err)
	}
	must(t, w.Run(engine.Seconds(3)))
	x.seize("before the ack", ben, "vite")
	// The only organiser keeps hers until members were connected for two minutes.
	x.seize("before the ack", ana, "avant", "vite")
	must(t, w.Run(engine.Seconds(120)))
	x.seize("after the ack", ben)
	x.seize("after the ack", ana, "avant")

	// What is read and short, read and long, and written where nobody hears it:
	// one of three reaches the group.
	must(t, ana.Post("bref", "Corps.", daySeconds/2))
	must(t, ana.Post("long", "Corps.", 0))
	for _, n := range []*Node{ana, ben, dia, fay} {
		n.step(engine.Addresses{List: []string{address(n)}})
	}
	must(t, w.Run(engine.Seconds(30)))
	for _, n := range w.Nodes() {
		x.apart(cam, n)
	}
	alone := x.lone(cam, daySeconds/2, "saute", "livre", "jamais")
	cam.Stop()
	thief := asMember(t, ben)
	thief.give(alone[1])
	thief.step(engine.PeerDown{Peer: thief.id})
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range []*Node{ana, ben, dia, fay} {
		if _, err := n.See("livre"); err != nil {
			t.Fatal(err)
		}
	}
	fay.Stop()
	away := []string{"bref", "long", "saute", "livre", "jamais"}
	l := x.seize("just read", ben, "bref", "long", "saute", "livre", "jamais")
	x.epochs("just read", l, 0)
	x.inboxes("just read", l)
	x.presence("just read", l, ana, true, true)
	l = x.seize("just read", ana, "avant", "bref", "long", "saute", "livre", "jamais")
	x.inboxes("just read", l, 0)
	x.seize("just off", fay, away...)

	// A newcomer gets no key for what its adder had used or passed over.
	must(t, eli.Join(link))
	must(t, w.Run(engine.Seconds(180)))
	x.spy.know(eli)
	l = x.seize("newcomer", eli, "jamais")
	x.epochs("newcomer", l, 0)
	x.inboxes("newcomer", l)
	x.presence("newcomer", l, ben, true, true)

	// Texts go with their expiry.
	x.until(start + 13*hour)
	for _, n := range []*Node{ben, dia} {
		x.seize("texts expired", n, "long", "saute", "jamais")
	}
	x.seize("texts expired", ana, "avant", "long", "saute", "jamais")
	x.seize("texts expired", eli, "jamais")
	x.seize("still off", fay, away...)
	for _, n := range []*Node{ana, ben, dia} {
		n.step(engine.Addresses{})
	}
	told := w.Now

	// The next epoch comes, and its issuer goes before she acknowledges a key.
	x.until(start + daysOf(v.period) - hour)
	for ben.epoch() == 0 || dia.epoch() == 0 || eli.epoch() == 0 {
		if w.Now > start+daysOf(v.period)+hour {
			t.Fatal("no epoch came with the period")
		}
		must(t, w.Run(engine.Seconds(2)))
	}
	opened := w.Now
	for _, n := range w.Nodes() {
		x.apart(ana, n)
	}
	must(t, dia.Post("tard", "Corps.", daySeconds/2))
	must(t, w.Run(engine.Seconds(60)))
	if _, err := ben.See("tard"); err != nil {
		t.Fatal(err)
	}
	x.epochs("two epochs", x.seize("two epochs", ben, "long", "saute", "jamais", "tard"), 0, 1)

	// Presence goes with its day; from traffic it opens as what is not read.
	x.until(max(told+daysOf(v.presence)+24*hour, opened+13*hour))
	l = x.seize("presence over", ben, "long", "saute", "jamais", "tard")
	x.presence("presence over", l, dia, false, true)
	x.presence("presence over", l, ben, false, true)

	// The key that opened an epoch opens it again for the cap at most. Who was off
	// still has the key that opens what came since.
	x.until(opened + daysOf(v.cap) - hour)
	x.seize("before the cap", ben, "long", "saute", "jamais", "tard")
	x.until(opened + daysOf(v.cap) + hour)
	x.seize("after the cap", ben, "long", "saute", "jamais")
	x.seize("after the cap", dia, "long", "saute", "jamais")
	x.seize("after the cap", eli, "jamais")
	x.epochs("still off", x.seize("still off", fay, slices.Concat(away, []string{"tard"})...), 0, 1)

	// Whoever was off has what it had, until it is in touch again: then it has a
	// retention and a key's life from there.
	x.until(opened + daysOf(v.retention) - 2*hour)
	must(t, fay.Start())
	x.seize("on, nobody is there", fay, slices.Concat(away, []string{"tard"})...)
	back := w.Now
	must(t, w.Run(hour))
	if fay.epoch() != 1 {
		t.Fatal("who was off did not come back")
	}
	l = x.seize("in touch again", fay, "long", "saute", "jamais", "tard")
	if !l.stored["tard"] || l.opened["tard"] {
		t.Error("what came after its expiry opens again, or is not kept for an edit")
	}

	// Secrets of an epoch go a retention after the next one was accepted. Of an epoch
	// in use they stay, and with them what was never read.
	l = x.seize("before the retention", ben, "long", "saute", "jamais")
	x.epochs("before the retention", l, 0, 1)
	x.presence("before the retention", l, dia, false, true)
	l = x.seize("before the retention", ana, "avant", "long", "saute", "jamais", "tard")
	x.inboxes("before the retention", l, generations(l)...)
	x.until(opened + daysOf(v.retention) + hour)
	for _, n := range []*Node{ben, dia} {
		l = x.seize("after the retention", n, "long")
		x.epochs("after the retention", l, 1)
		x.presence("after the retention", l, dia, false, false)
	}
	x.epochs("after the retention", x.seize("after the retention", eli), 1)
	l = x.seize("after the retention", ana, "avant", "long", "tard")
	x.inboxes("after the retention", l, generations(l)...)
	if slices.Contains(generations(l), 0) || len(generations(l)) == 0 {
		t.Errorf("on the organiser's phone the epochs %v are open", generations(l))
	}
	x.seize("just back", fay, "long", "saute", "jamais", "tard")
	x.until(back + daysOf(3))
	x.seize("back for three days", fay, "long", "saute", "jamais")

	// No text outlives its bound, whatever its author wished.
	for i, a := range w.Nodes() {
		for _, b := range w.Nodes()[i+1:] {
			x.apart(a, b)
		}
	}
	if x.Now < back+daysOf(v.retention) && back+daysOf(v.retention) < start+daysOf(v.text)-hour {
		x.until(back + daysOf(v.retention) - hour)
		x.seize("back for less than a retention", fay, "long", "saute", "jamais")
		x.until(back + daysOf(v.retention) + 2*hour)
		x.seize("back for a retention", fay, "long")
	}
	x.until(start + daysOf(v.text) - hour)
	x.seize("before the bound of texts", ben, "long")
	x.until(start + daysOf(v.text) + 26*hour)
	x.seize("after the bound of texts", ben)
	x.seize("after the bound of texts", fay)
	x.seize("after the bound of texts", eli)
}

// TestErasureCap: an organiser who goes on signing and never acknowledges a key
// does not keep the old one alive for longer than the cap.
func TestErasureCap(t *testing.T) {
	w := NewWorld(40)
	x := &theft{World: w, t: t, spy: w.spied(), witness: w.witnessed()}
	ana, ben := w.Add("Ana"), w.Add("Ben")
	hear := w.tap
	w.tap = func(from, to *Node, data []byte) bool {
		hear(from, to, data)
		return from != ben || ben.joined == 0 || data[0] != messageGive
	}
	policy := group.DefaultPolicy(10)
	policy.HighRisk = true
	must(t, ana.Found("Jardin", policy))
	link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, ben.Join(link))
	must(t, w.Run(engine.Seconds(20)))
	opened := ben.joined
	must(t, ana.Post("bref", "Corps.", 3600))
	x.spy.know(ana, ben)
	for day := range int64(3) {
		x.until(opened + daysOf(day) + 23*hour)
		x.seize("before the cap", ben, "bref")
	}
	if ben.epoch() == 0 {
		t.Fatal("the organiser is not active")
	}
	x.until(opened + daysOf(3) + hour)
	x.seize("after the cap", ben)
}
