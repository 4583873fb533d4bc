package enginetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

const daySeconds = protocol.DaySeconds

// level is what a policy promises (spec 35).
type level struct {
	name                   string
	high                   bool
	period, retention, cap int64 // days
	presence               int64
	text                   int64 // days at most
}

var levels = []level{
	{name: "standard", period: 7, retention: 30, cap: 14, presence: 2, text: 90},
	{name: "high risk", high: true, period: 1, retention: 7, cap: 3, presence: 1, text: 30},
}

// theft is a world whose phones are seized again and again.
type theft struct {
	*World
	t       *testing.T
	spy     *spy
	witness witness
}

// seize opens all that a phone has now, and wants exactly what is named to be
// readable, of all notices that there ever were.
func (x *theft) seize(when string, n *Node, readable ...string) *loot {
	x.t.Helper()
	return x.seizeStore(when, n, n.Store.Clone(), readable...)
}

func (x *theft) seizeStore(when string, n *Node, store *Memory, readable ...string) *loot {
	x.t.Helper()
	l := steal(x.t, n.id, store, x.spy, n.Now())
	for _, p := range x.posts {
		if want := slices.Contains(readable, p.name); l.reads(p.name) != want {
			x.t.Errorf("%s, %s's phone: %q readable: %t (stored %t, opened %t)", when, n.Name, p.name, !want, l.stored[p.name], l.opened[p.name])
		}
	}
	if found := x.witness.leaks(n, store); len(found) > 0 {
		x.t.Errorf("%s, %s's phone: erased and still there: %s", when, n.Name, strings.Join(found, ", "))
	}
	return l
}

// epochs wants exactly these generations to be open: who wrote when.
func (x *theft) epochs(when string, l *loot, want ...uint32) {
	x.t.Helper()
	var got []uint32
	for id := range l.keys {
		got = append(got, l.headers[id].Core.Gen)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		x.t.Errorf("%s: the net keys of epochs %v are open, not %v", when, got, want)
	}
}

// inboxes wants exactly these generations' inboxes to be open.
func (x *theft) inboxes(when string, l *loot, want ...uint32) {
	x.t.Helper()
	var got []uint32
	for id, h := range l.headers {
		if l.inbox(id) {
			got = append(got, h.Core.Gen)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		x.t.Errorf("%s: the inboxes of epochs %v are open, not %v", when, got, want)
	}
}

// presence wants an address to lie in the storage, and to open from traffic.
func (x *theft) presence(when string, l *loot, n *Node, stored, heard bool) {
	x.t.Helper()
	a := address(n)
	if l.addresses[a] != stored || l.heard[a] != heard {
		x.t.Errorf("%s: %s's address is stored %t, opens %t; not %t, %t", when, n.Name, l.addresses[a], l.heard[a], stored, heard)
	}
}

func address(n *Node) string { return "/dns4/" + strings.ToLower(n.Name) + ".example/tcp/4001" }

// until lets time pass up to an hour before and after a time.
func (x *theft) until(t engine.Time) {
	x.t.Helper()
	if t <= x.Now {
		x.t.Fatalf("the time to wait for is %.1f hours over", float64(x.Now-t)/3.6e6)
	}
	must(x.t, x.Run(t-x.Now))
}

func daysOf(days int64) engine.Time { return engine.Seconds(days * daySeconds) }

func (x *theft) apart(a, b *Node) {
	x.Cut(a, b)
	x.Cut(b, a)
}

// lone makes what a member writes while nobody hears him, and returns the
// envelopes, which pass where only the spy sees them.
func (x *theft) lone(n *Node, seconds int64, names ...string) [][]byte {
	x.t.Helper()
	var list [][]byte
	for _, name := range names {
		before := envelopesOf(n)
		must(x.t, n.Post(name, "Corps.", seconds))
		for id, e := range envelopesOf(n) {
			if before[id] == nil {
				x.spy.see(e)
				list = append(list, e)
			}
		}
	}
	if len(list) != len(names) {
		x.t.Fatalf("%d envelopes came of %d notices", len(list), len(names))
	}
	return list
}

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

// generations lists the generations whose keys are open.
func generations(l *loot) []uint32 {
	var list []uint32
	for id := range l.keys {
		list = append(list, l.headers[id].Core.Gen)
	}
	slices.Sort(list)
	return list
}

// TestThiefFindsWhatIsLeft proves the thief able: each thing that is erased in
// time, put back into the storage as it once lay there, is found and used.
func TestThiefFindsWhatIsLeft(t *testing.T) {
	w := NewWorld(36)
	x := &theft{World: w, t: t, spy: w.spied(), witness: w.witnessed()}
	ana, ben := w.Add("Ana"), w.Add("Ben")
	policy := group.DefaultPolicy(10)
	policy.HighRisk = true
	must(t, ana.Found("Jardin", policy))
	link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, ben.Join(link))
	must(t, w.Run(engine.Seconds(10)))
	x.spy.know(ana, ben)
	// Snapshots: before a message was read, before its epoch's key was given up,
	// while the text is there.
	unread := ben.Store.Clone()
	must(t, ana.Post("bref", "Corps.", 3600))
	ana.step(engine.Addresses{List: []string{address(ana)}})
	must(t, w.Run(engine.Seconds(10)))
	ana.step(engine.Addresses{})
	read := ben.Store.Clone()
	organiser := ana.Store.Clone()
	x.seizeStore("read", ben, read, "bref")
	must(t, w.Run(8*24*hour+hour))
	now := ben.Store.Clone()
	l := x.seizeStore("later", ben, now)
	x.presence("later", l, ana, false, false)

	with := func(old, base *Memory, tables ...engine.Table) *Memory {
		m := base.Clone()
		for _, table := range tables {
			for k, r := range old.rows[table] {
				if _, there := m.rows[table][k]; there && table == tableOfEpochs {
					continue
				}
				m.rows[table][k] = r
			}
		}
		return m
	}
	steals := func(m *Memory) *loot { return steal(t, ben.id, m, x.spy, ben.Now()) }
	for _, c := range []struct {
		what  string
		old   *Memory
		table []engine.Table
	}{
		{"the key of the Welcome", read, []engine.Table{tableOfKEM}},
		{"the epoch before it was read", unread, []engine.Table{tableOfEpochs, tableOfSecrets, tableOfChains}},
		{"the text", read, []engine.Table{tableOfItems}},
	} {
		if !steals(with(c.old, now, c.table...)).reads("bref") {
			t.Errorf("%s was put back, and nothing was read with it", c.what)
		}
		if len(x.witness.leaks(ben, with(c.old, now, c.table...))) != 0 {
			t.Errorf("%s: rows that are there count as leaks", c.what)
		}
	}
	// The epoch as it was after reading: who wrote when, presence; not the text.
	l = steals(with(read, now, tableOfEpochs, tableOfSecrets, tableOfChains))
	if l.reads("bref") {
		t.Error("a message that was read opens with what is kept of its epoch")
	}
	x.presence("epoch put back", l, ana, false, true)
	x.presence("all put back", steals(with(read, now, tableOfEpochs, tableOfSecrets, tableOfChains, tableOfEnvelopes)), ana, true, true)
	l = steal(t, ana.id, with(organiser, ana.Store, tableOfEpochs, tableOfSecrets), x.spy, ana.Now())
	if !slices.Contains(generations(l), 0) {
		t.Error("the organiser's first epoch was put back, and is not open")
	}
	for id, h := range l.headers {
		if h.Core.Gen == 0 && !l.inbox(id) {
			t.Error("the organisers' secret was put back, and the inbox is not open")
		}
	}
	// An erased secret in a row where nobody looks for it.
	for s, what := range secretsOf(tableOfSecrets, read.rows[tableOfSecrets][read.keys(tableOfSecrets)[0]].value) {
		m := now.Clone()
		m.rows[tableOfMeta]["name"] = row{value: []byte("somewhere in the middle " + s + " of a row")}
		if got := x.witness.leaks(ben, m); !slices.Equal(got, []string{what}) {
			t.Errorf("%s lies in the storage, and is not found: %v", what, got)
		}
	}
}

// TestErasureFollowsThePolicy: when the group decides that it is at high risk, what
// its table gives no time any more goes with the next step, also where only texts
// are too old.
func TestErasureFollowsThePolicy(t *testing.T) {
	for _, met := range []bool{true, false} {
		w := NewWorld(39)
		x := &theft{World: w, t: t, spy: w.spied(), witness: w.witnessed()}
		ana, ben := w.Add("Ana"), w.Add("Ben")
		must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
		link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
		must(t, err)
		must(t, ben.Join(link))
		must(t, w.Run(engine.Seconds(30)))
		must(t, ana.Post("vieux", "Corps.", 0))
		must(t, w.Run(hour))
		before, after := []uint32{0, 1, 2, 3, 4}, []uint32{3, 4}
		if !met {
			x.apart(ana, ben)
			before, after = []uint32{0}, []uint32{0}
		}
		must(t, w.Run(daysOf(30)-3*hour))
		if met {
			must(t, ana.Post("neuf", "Corps.", 0))
			ana.step(engine.Addresses{List: []string{address(ana)}})
			must(t, w.Run(hour))
			x.apart(ana, ben)
		}
		must(t, w.Run(26*hour))
		x.spy.know(ana, ben)
		l := x.seize("standard", ben, x.names()...)
		x.epochs("standard", l, before...)
		x.presence("standard", l, ana, met, met)
		decideHighRisk(t, ana, ben)
		l = x.seize("high risk", ben, x.names()[1:]...)
		x.epochs("high risk", l, after...)
		x.presence("high risk", l, ana, false, met)
	}
}

func (x *theft) names() (list []string) {
	for _, p := range x.posts {
		list = append(list, p.name)
	}
	return list
}

// decideHighRisk brings to a member what makes the group one at high risk, signed
// with the founder's key.
func decideHighRisk(t *testing.T, founder, to *Node) {
	t.Helper()
	genesis, err := group.ParseGenesis(founder.Store.rows[tableOfMeta]["genesis"].value)
	must(t, err)
	log := group.NewLog(genesis)
	for range 2 {
		for _, k := range founder.Store.keys(tableOfOps) {
			f, err := protocol.ParseFrame(founder.Store.rows[tableOfOps][k].value)
			must(t, err)
			_, err = log.Add(f)
			must(t, err)
		}
	}
	policy := log.Resolve().Policy()
	policy.HighRisk = true
	a := asMember(t, to)
	var decided protocol.OpID
	for _, p := range []func() group.Payload{
		func() group.Payload {
			return group.Proposal{Prev: protocol.OpID(founder.id), Decision: group.SetPolicy{Policy: policy}}
		},
		func() group.Payload { return group.Vote{Proposal: decided, Seq: 1} },
	} {
		f, err := log.NewOp(device(t, founder), founder.member, p(), nil, to.Now().Unix())
		must(t, err)
		_, err = log.Add(f)
		must(t, err)
		if decided == (protocol.OpID{}) {
			decided = protocol.OpID(f.ID(founder.id))
		}
		a.give(sealed(t, secrets(t, to), to, f))
	}
	if !log.Resolve().Policy().HighRisk {
		t.Fatal("the decision has no effect")
	}
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
