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

// generations lists the generations whose keys are open.
func generations(l *loot) []uint32 {
	var list []uint32
	for id := range l.keys {
		list = append(list, l.headers[id].Core.Gen)
	}
	slices.Sort(list)
	return list
}

func (x *theft) names() (list []string) {
	for _, p := range x.posts {
		list = append(list, p.name)
	}
	return list
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
