package enginetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// What a seizure gives is compared with spec 35 section 2, in both directions: what the
// claims say is open must open, what they say is gone must not.

const (
	rowsOfKEM   = 12
	rowsOfItems = 8
	hour        = engine.Time(3_600_000)
	day         = 24 * hour
)

// seizing is a group in which somebody records.
type seizing struct {
	*World
	t             *testing.T
	r             *wiretap
	ana, ben, cam *Node
	link          protocol.Link
	lost          func(to *Node, data []byte) bool
}

func newSeizing(t *testing.T, highRisk bool) *seizing {
	t.Helper()
	w := NewWorld(35)
	x := &seizing{World: w, t: t, r: &wiretap{sealed: map[protocol.EnvelopeID][]byte{}}}
	w.tap = func(_, to *Node, data []byte) bool {
		x.r.note(data)
		return x.lost == nil || !x.lost(to, data)
	}
	x.ana, x.ben, x.cam = w.Add("Ana"), w.Add("Ben"), w.Add("Cam")
	p := group.DefaultPolicy(10)
	p.HighRisk = highRisk
	must(t, x.ana.Found("Jardin", p))
	var err error
	x.link, err = x.ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	must(t, x.ben.Join(x.link))
	x.run(2 * engine.Seconds(60))
	return x
}

func (x *seizing) run(d engine.Time) { x.t.Helper(); must(x.t, x.Run(d)) }

// apart lets time pass without links, and without the work of them.
func (x *seizing) apart(d engine.Time) {
	x.t.Helper()
	for i, a := range x.nodes {
		for _, b := range x.nodes[i+1:] {
			x.Cut(a, b)
			x.Cut(b, a)
		}
	}
	x.run(d)
	x.together()
}

func (x *seizing) together(not ...*Node) {
	for i, a := range x.nodes {
		for _, b := range x.nodes[i+1:] {
			if !slices.Contains(not, a) && !slices.Contains(not, b) {
				x.Heal(a, b)
			}
		}
	}
}

func (x *seizing) post(n *Node, title string, seconds int64) {
	x.t.Helper()
	must(x.t, n.Post(title, "Corps.", seconds))
}

// is compares the titles that a robbery gives with what is claimed.
func (x *seizing) is(what string, got map[string]bool, want ...string) {
	x.t.Helper()
	list := slices.Sorted(maps.Keys(got))
	slices.Sort(want)
	if strings.Join(list, " ") != strings.Join(want, " ") {
		x.t.Errorf("%s: a thief gets [%s], the claims say [%s]", what, strings.Join(list, " "), strings.Join(want, " "))
	}
}

func (x *seizing) rob(n *Node) haul {
	x.t.Helper()
	l := robbed(x.t, x.World, n.id, n.Store, x.r)
	x.is("where none belongs", l.strays)
	return l
}

// privates counts the KEM keys that a phone holds.
func (x *seizing) privates(n *Node) int {
	x.t.Helper()
	held := 0
	for _, r := range n.Store.rows[rowsOfKEM] {
		var k struct {
			_       struct{} `cbor:",toarray"`
			Counter uint64
			KEM     [32]byte
			Lane    [32]byte
			Frame   protocol.ItemID
			Used    int64
			Gone    bool
		}
		must(x.t, wire.Unmarshal(r.value, 512, &k))
		if k.KEM != [32]byte{} {
			held++
		}
	}
	return held
}

// gens lists generations as a loot does.
func gens(list ...uint32) map[string]bool {
	m := map[string]bool{}
	for _, g := range list {
		m[fmt.Sprint(g)] = true
	}
	return m
}

func texts(m map[uint32]bool) map[string]bool { return gens(slices.Collect(maps.Keys(m))...) }

// A message that was read: shown until it expires. It is won again from the
// traffic until the key that opened its epoch is erased: minutes after all active
// organisers know of a newer key.
func TestSeizureOnline(t *testing.T) {
	for _, high := range []bool{false, true} {
		t.Run(fmt.Sprintf("high=%v", high), func(t *testing.T) {
			x := newSeizing(t, high)
			period := 7 * day
			if high {
				period = day
			}
			x.post(x.ana, "early", 3600)
			x.run(engine.Seconds(10))
			x.apart(period + hour) // an epoch is issued, and nobody has heard of it
			x.together()
			x.run(engine.Seconds(10))
			x.post(x.ana, "short", 3600)
			x.post(x.ana, "long", 0)
			x.run(engine.Seconds(8)) // read, and no acknowledgement yet
			l := x.rob(x.ben)
			x.is("at once, shown", l.shown, "short", "long")
			x.is("at once, from traffic", l.read, "short", "long")
			x.run(2 * hour)
			for _, n := range []*Node{x.ana, x.ben} {
				l = x.rob(n)
				x.is(n.Name+" two hours later, shown", l.shown, "long")
				x.is(n.Name+" two hours later, from traffic", l.read)
				if held := x.privates(n); held != 1 {
					t.Errorf("%s holds %d KEM keys", n.Name, held)
				}
				x.is(n.Name+" nets", texts(l.nets), "0", "1")
			}
			x.is("organisers' secrets of a member", texts(l.orgs))
			x.is("organisers' secrets of an organiser", texts(x.rob(x.ana).orgs), "0", "1")
			// What expires is a row of its own: 90 days, and 30 at high risk, though its
			// author wished for more.
			life := 90 * day
			if high {
				life = 30 * day
			}
			x.apart(life - 4*hour)
			x.is("before the text's cap", x.rob(x.ben).shown, "long")
			x.apart(26 * hour)
			x.is("after the text's cap", x.rob(x.ben).shown)
		})
	}
}

// The cap: an organiser who never acknowledges keeps a key alive for 14 days, 3
// at high risk, and not longer: one who is off, and one who is active and whose
// acknowledgements are lost.
func TestSeizureAtTheCap(t *testing.T) {
	for i := range 4 {
		high, off := i%2 == 1, i < 2
		t.Run(fmt.Sprintf("high=%v off=%v", high, off), func(t *testing.T) {
			x := newSeizing(t, high)
			must(t, x.cam.Join(x.link))
			x.run(engine.Seconds(120))
			period, limit := 7*day, 14*day
			if high {
				period, limit = day, 3*day
			}
			x.apart(period + hour)
			x.together()
			x.run(engine.Seconds(10))
			x.post(x.ana, "short", 3600)
			x.run(engine.Seconds(10))
			opened := x.Now
			if off {
				x.ana.Stop() // before it acknowledged anything
			} else {
				x.lost = func(to *Node, data []byte) bool { return to != x.ana && x.acknowledges(x.ana, data) }
			}
			x.apart(opened + limit - hour - x.Now)
			x.together()
			x.run(20 * engine.Seconds(60))
			l := x.rob(x.ben)
			x.is("before the cap, shown", l.shown)
			x.is("before the cap, from traffic", l.read, "short")
			x.run(45 * engine.Seconds(60))
			l = x.rob(x.ben)
			x.is("after the cap, from traffic", l.read)
		})
	}
}

// acknowledges says whether a message brings an acknowledgement that a phone has
// stored (spec 65 section 7).
func (x *seizing) acknowledges(n *Node, data []byte) bool {
	if len(data) < 2 || data[0] != messageGive {
		return false
	}
	id := protocol.IDOf(data[1:])
	for key := range n.Store.rows[tableOfEnvelopes] {
		if key[36:68] == string(id[:]) && protocol.FrameKind(key[68]) == protocol.KindAck {
			return true
		}
	}
	return false
}

// Time offline is added: nothing runs on a phone that is off. What it has not
// read is open, as long as it is off, and so is what was shown; when it is on
// again, it catches up and erases.
func TestSeizureOfAPhoneThatWasOff(t *testing.T) {
	for _, high := range []bool{false, true} {
		t.Run(fmt.Sprintf("high=%v", high), func(t *testing.T) {
			x := newSeizing(t, high)
			must(t, x.cam.Join(x.link))
			x.run(engine.Seconds(120))
			x.post(x.ana, "seen", 3600)
			x.run(engine.Seconds(10))
			x.run(hour / 2)
			x.ben.Stop()
			period := 7 * day
			if high {
				period = day
			}
			x.post(x.ana, "unread", 2*3600)
			x.run(engine.Seconds(30))
			for i := range 2 {
				x.apart(period + hour)
				x.together(x.ben)
				x.run(engine.Seconds(120))
				x.post(x.ana, fmt.Sprintf("unread%d", i), 3600)
				x.run(engine.Seconds(30))
			}
			x.apart(period)
			l := x.rob(x.ben)
			x.is("off, shown", l.shown, "seen")
			x.is("off, from traffic", l.read, "unread", "unread0", "unread1")
			must(t, x.ben.Start())
			x.together()
			x.run(hour)
			l = x.rob(x.ben)
			x.is("on again, from traffic", l.read)
			// What came after its own expiry waits two days for an edit that prolongs it.
			x.is("on again, kept out of sight", l.shown, "unread", "unread0", "unread1")
			if v := x.ben.Engine.Notices(x.ben.Now(), nil, true); len(v) != 0 {
				t.Errorf("shown: %v", v)
			}
			x.apart(2 * day)
			x.is("two days later", x.rob(x.ben).shown)
		})
	}
}

// A message that a phone does not get, while later ones of its author came: its
// key is kept as long as the epoch is. So are the net key and, of an organiser,
// the inbox.
func TestSeizureOfAnEpoch(t *testing.T) {
	for _, high := range []bool{false, true} {
		t.Run(fmt.Sprintf("high=%v", high), func(t *testing.T) {
			x := newSeizing(t, high)
			var skip protocol.EnvelopeID
			x.lost = func(to *Node, data []byte) bool {
				if to != x.ben || data[0] != messageGive {
					return false
				}
				if id := protocol.IDOf(data[1:]); skip == (protocol.EnvelopeID{}) {
					skip = id
				} else if id != skip {
					return false
				}
				return true
			}
			x.post(x.ana, "skipped", 2*3600)
			x.run(engine.Seconds(20))
			x.post(x.ana, "next", 3600)
			x.run(engine.Seconds(20))
			x.run(2 * hour)
			if _, err := x.ben.See("next"); err == nil {
				t.Fatal("the text did not expire")
			}
			l := x.rob(x.ben)
			x.is("skipped", l.read, "skipped")
			period, keep := 7*day, 30*day
			if high {
				period, keep = day, 7*day
			}
			x.apart(period)
			x.together()
			x.run(engine.Seconds(120))
			superseded := x.Now
			x.apart(superseded + keep - 3*hour - x.Now)
			x.together()
			for _, n := range []*Node{x.ana, x.ben} {
				l = x.rob(n)
				if !l.nets[0] || n == x.ana && !l.orgs[0] || n == x.ben && len(l.orgs) != 0 {
					t.Errorf("%s before the epoch's end: nets %v, inboxes %v", n.Name, l.nets, l.orgs)
				}
			}
			x.is("before the epoch's end", l.read, "skipped")
			x.apart(superseded + keep + hour - x.Now)
			for _, n := range []*Node{x.ana, x.ben} {
				l = x.rob(n)
				if l.nets[0] || l.orgs[0] {
					t.Errorf("%s after the epoch's end: nets %v, inboxes %v", n.Name, l.nets, l.orgs)
				}
			}
			x.is("after the epoch's end", l.read)
		})
	}
}

// A joiner gets no key for a message from before the Welcome; the Welcome opens
// what came after it until the key package's key is erased.
func TestSeizureOfAJoiner(t *testing.T) {
	x := newSeizing(t, false)
	x.post(x.ana, "before", 0)
	x.run(engine.Seconds(20))
	must(t, x.cam.Join(x.link))
	x.run(engine.Seconds(6))
	x.post(x.ana, "after", 3600)
	x.run(engine.Seconds(6))
	l := x.rob(x.cam)
	x.is("joined, shown", l.shown, "after")
	x.is("joined, from traffic", l.read, "after")
	x.run(2 * hour)
	l = x.rob(x.cam)
	x.is("later, shown", l.shown)
	x.is("later, from traffic", l.read)
	x.is("nets of the joiner", texts(l.nets), "0")
	x.is("inboxes of the joiner", texts(l.orgs))
}

// Addresses of others are kept for 48 hours, 24 at high risk; from recorded
// traffic they are read as long as the epoch is kept.
func TestSeizureOfPresence(t *testing.T) {
	for _, high := range []bool{false, true} {
		t.Run(fmt.Sprintf("high=%v", high), func(t *testing.T) {
			x := newSeizing(t, high)
			x.ana.step(engine.Addresses{List: []string{"/ip4/192.0.2.1/tcp/1"}})
			x.run(engine.Seconds(60))
			x.is("fresh", x.rob(x.ben).presence, "Ana")
			x.ana.Stop()
			limit := 48 * hour
			if high {
				limit = 24 * hour
			}
			x.run(limit)
			l := x.rob(x.ben)
			x.is("old, in the rows", l.presence)
			x.is("old, from traffic", l.heard, "Ana")
		})
	}
}

// A group that turns to high risk: all that its bounds say is gone with the next
// step of each phone that hears of the decision.
func TestSeizureAfterTheGroupTurnsToHighRisk(t *testing.T) {
	x := newSeizing(t, false)
	x.post(x.ana, "old", 0)
	x.run(engine.Seconds(20))
	x.apart(7*day + hour) // supersedes generation 0
	x.together()
	x.run(engine.Seconds(120))
	x.apart(25 * day)
	x.together()
	x.ana.step(engine.Addresses{List: []string{"/ip4/192.0.2.1/tcp/1"}})
	x.run(engine.Seconds(120))
	x.Cut(x.ana, x.ben)
	x.Cut(x.ben, x.ana)
	x.run(23 * hour) // the addresses are of the day before
	l := x.rob(x.ben)
	x.is("before, shown", l.shown, "old")
	x.is("before, addresses", l.presence, "Ana")
	if !l.nets[0] {
		t.Error("generation 0 is erased too early")
	}

	// The founder's decision, as the founder's phone would sign it.
	g, err := group.ParseGenesis(x.ana.Store.rows[tableOfMeta]["genesis"].value)
	must(t, err)
	log := group.NewLog(g)
	for range 2 { // in whatever order they lie
		for _, r := range x.ben.Store.rows[tableOfOps] {
			f, err := protocol.ParseFrame(r.value)
			must(t, err)
			log.Add(f)
		}
	}
	p := log.Resolve().Policy()
	p.HighRisk = true
	a := asMember(t, x.ben)
	k := secrets(t, x.ben)
	var decision protocol.OpID
	for i := range 2 {
		var payload group.Payload = group.Proposal{Prev: protocol.OpID(x.ana.id), Decision: group.SetPolicy{Policy: p}}
		if i == 1 {
			payload = log.NextVote(x.ana.member, decision)
		}
		f, err := log.NewOp(device(t, x.ana), x.ana.member, payload, nil, x.ana.Now().Unix())
		must(t, err)
		_, err = log.Add(f)
		must(t, err)
		decision = protocol.OpID(f.ID(x.ana.id))
		a.give(sealed(t, k, x.ben, f))
	}
	if !log.Resolve().Policy().HighRisk {
		t.Fatal("the decision does not hold")
	}
	x.ben.step(engine.Tick{})
	l = x.rob(x.ben)
	x.is("after, shown", l.shown)
	x.is("after, addresses", l.presence)
	if l.nets[0] {
		t.Error("generation 0 is kept for longer than a week")
	}
}
