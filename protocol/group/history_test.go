package group

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

var (
	historyCount = flag.Int("histories", 500, "how many histories TestHistories draws")
	historySeed  = flag.Uint64("histories-seed", 1, "from which seed")
)

// drama draws a history: honest organisers who share what they see at times,
// one or two hostile ones with any parents, numbers and devices, and readers.
type drama struct {
	*world
	rnd     *rand.Rand
	log     *Log // everything
	org     []actor
	second  []actor // the organisers' second phones
	others  []actor
	hostile map[identity.MemberID]bool
	sees    map[identity.MemberID]map[protocol.OpID]bool
	votes   map[identity.MemberID][]protocol.OpID
	paper   identity.RecoveryKey
	counts  map[string]int
	devices []identity.DeviceID
	certs   map[identity.DeviceID]AddMember
}

var (
	dramaCerts  = map[string]AddMember{}
	dramaGroups = map[string]Genesis{}
)

func newDrama(rnd *rand.Rand, counts map[string]int) *drama {
	n := 2 + rnd.IntN(4) // 2 to 5 organisers
	posting := []Posting{PostOrganisers, PostAuthors, PostAll}[rnd.IntN(3)]
	key := fmt.Sprint(n, posting)
	g, ok := dramaGroups[key]
	paper := identity.RecoveryKeyFromSeed(seed('r', 1))
	d := &drama{rnd: rnd, hostile: map[identity.MemberID]bool{}, sees: map[identity.MemberID]map[protocol.OpID]bool{},
		votes: map[identity.MemberID][]protocol.OpID{}, paper: paper, counts: counts, certs: map[identity.DeviceID]AddMember{}}
	var founders []Founder
	for i := range n {
		a := person(i + 1)
		founders = append(founders, Founder{Member: a.member, Device: a.device, KEM: a.kem, Lane: a.lane})
		d.org = append(d.org, a)
		d.second = append(d.second, deviceOf(i+1, 1))
	}
	if !ok {
		var err error
		p := DefaultPolicy(10)
		p.Posting = posting
		if g, err = NewGenesis(zeros{}, founders, paper.Public(), p); err != nil {
			panic(err)
		}
		dramaGroups[key] = g
	}
	for i := range 4 {
		d.others = append(d.others, person(40+i), deviceOf(40+i, 1))
	}
	d.world, d.log = newWorld(g), NewLog(g)
	for _, a := range slices.Concat(d.org, d.second, d.others) {
		d.devices = append(d.devices, a.dev())
		d.sees[a.id()] = map[protocol.OpID]bool{}
		cert, ok := dramaCerts[key+a.dev().String()]
		if !ok {
			cert = AddMember{Cert: identity.Certify(g.ID(), a.member, a.device).Marshal(), KeyPackage: protocol.ItemID{7}}
			dramaCerts[key+a.dev().String()] = cert
		}
		d.certs[a.dev()] = cert
	}
	for i := range min(1+rnd.IntN(2), (n-1)/2) {
		d.hostile[d.org[n-1-i].id()] = true
	}
	for i, a := range d.org { // most have a second phone, and all know of some people
		if rnd.IntN(3) > 0 {
			d.say(a, AddDevice(d.certs[d.second[i].dev()]))
		}
	}
	for range rnd.IntN(4) {
		d.say(d.org[0], d.certs[pick(rnd, d.others).dev()], d.headsOf(d.org[0])...)
	}
	for _, a := range d.org {
		d.meet(d.org[0], a)
	}
	return d
}

func pick[T any](rnd *rand.Rand, list []T) T { return list[rnd.IntN(len(list))] }

func (d *drama) isHostile(a actor) bool { return d.hostile[a.id()] }

// submit adds what was signed last if the log takes it.
func (d *drama) submit(a actor, id protocol.OpID, before uint64, last protocol.OpID) (protocol.OpID, bool) {
	if r, err := d.log.Add(d.frames[len(d.frames)-1]); err == nil && r.Outcome == Added {
		d.sees[a.id()][id] = true
		maps.Copy(d.sees[a.id()], d.pastOf(id))
		if d.isHostile(a) && d.rnd.IntN(6) == 0 { // forget: the next one equivocates
			d.seq[a.dev()], d.last[a.dev()] = before, last
			d.counts["equivocation"]++
		}
		return id, true
	}
	d.frames, d.ids = d.frames[:len(d.frames)-1], d.ids[:len(d.ids)-1]
	d.seq[a.dev()], d.last[a.dev()] = before, last
	return id, false
}

func (d *drama) pastOf(id protocol.OpID) map[protocol.OpID]bool {
	out := map[protocol.OpID]bool{}
	d.log.nodes[d.log.index[id]].past.each(func(i int) { out[d.log.nodes[i].id] = true })
	return out
}

// say signs for a with these parents.
func (d *drama) say(a actor, p Payload, parents ...protocol.OpID) (protocol.OpID, bool) {
	before, last := d.seq[a.dev()], d.last[a.dev()]
	heads := map[protocol.OpID]bool{}
	for _, x := range parents {
		heads[x] = true
	}
	d.epochHeads = nil
	if d.rnd.IntN(3) == 0 {
		d.epochHeads = []protocol.EpochID{{byte(d.rnd.IntN(3))}}
	}
	id := d.op(a, p, slices.Collect(maps.Keys(heads))...)
	return d.submit(a, id, before, last)
}

// headsOf is what an honest person builds on: the heads of what it saw.
func (d *drama) headsOf(a actor) []protocol.OpID {
	seen := d.sees[a.id()]
	covered := map[protocol.OpID]bool{}
	for id := range seen {
		for _, p := range d.log.nodes[d.log.index[id]].op.Parents {
			covered[p] = true
		}
	}
	var out []protocol.OpID
	for id := range seen {
		if !covered[id] {
			out = append(out, id)
		}
	}
	return protocol.SortIDs(out)
}

// view is the roster by what a saw.
func (d *drama) view(a actor) *Roster {
	r, _ := d.log.At(d.headsOf(a))
	return r
}

func (d *drama) meet(a, b actor) {
	maps.Copy(d.sees[a.id()], d.sees[b.id()])
	maps.Copy(d.sees[b.id()], d.sees[a.id()])
}

func (d *drama) all(a actor) {
	for _, n := range d.log.nodes {
		d.sees[a.id()][n.id] = true
	}
}

func (d *drama) vote(a actor, q protocol.OpID, parents ...protocol.OpID) {
	v := d.log.NextVote(a.id(), q)
	if v.Seq > 1 {
		parents = append(parents, v.Prev)
	}
	if _, ok := d.say(a, v, append(parents, q)...); ok {
		d.counts["vote"]++
	}
}

func (d *drama) cuts(a actor) []Cutoff {
	if d.rnd.IntN(2) == 0 {
		return nil
	}
	return []Cutoff{{Device: a.dev(), Seq: 1 + d.rnd.Uint64N(3), Content: protocol.ContentID{byte(1 + d.rnd.IntN(3))}}}
}

// decision draws any decision.
func (d *drama) decision() Decision {
	t := pick(d.rnd, slices.Concat(d.org, d.org, d.others))
	switch d.rnd.IntN(8) {
	case 0, 1:
		var undo []protocol.ItemID
		for range d.rnd.IntN(3) {
			if len(d.ids) > 0 {
				undo = append(undo, protocol.ItemID(pick(d.rnd, d.ids)))
			}
		}
		return Expel{Target: t.id(), Cutoffs: d.cuts(t), Repudiate: protocol.SortIDs(undo)}
	case 2, 3:
		for _, m := range d.log.Resolve().Members() {
			if m.Suspended {
				return Reinstate{Target: m.ID}
			}
		}
		return Reinstate{Target: t.id()}
	case 4:
		t = pick(d.rnd, d.others)
		return GrantOrganiser{Target: t.id(), Devices: []identity.DeviceID{t.dev()}}
	case 5:
		i := d.rnd.IntN(len(d.org))
		t = pick(d.rnd, []actor{d.org[i], d.second[i]})
		return SetDevices{Target: t.id(), Devices: []identity.DeviceID{t.dev()}, Cutoffs: d.cuts(d.org[i])}
	case 6:
		var k []byte
		if d.rnd.IntN(2) == 0 {
			p := d.paper.Public()
			k = p[:]
		}
		return SetRecovery{Key: k}
	}
	p := DefaultPolicy(10)
	p.Posting = []Posting{PostOrganisers, PostAuthors, PostAll}[d.rnd.IntN(3)]
	return SetPolicy{p}
}

// deed draws an operation that one person signs alone.
func (d *drama) deed(a actor) Payload {
	t := pick(d.rnd, slices.Concat(d.others, d.others, d.org, d.second))
	switch d.rnd.IntN(14) {
	case 0, 1, 2:
		return d.certs[pick(d.rnd, d.others).dev()]
	case 3:
		return RemoveMember{Target: t.id(), Cutoffs: d.cuts(t)}
	case 4:
		return GrantAuthor{Target: t.id()}
	case 5:
		return RevokeAuthor{Target: t.id(), Cutoffs: d.cuts(t)}
	case 6:
		return RemoveDevice{Device: t.dev(), Seq: 2, Content: protocol.ContentID{9}}
	case 7:
		return RejectEpoch{Epoch: protocol.EpochID{byte(d.rnd.IntN(3))}, Reason: RejectPerson}
	case 8:
		if d.rnd.IntN(3) == 0 {
			return Leave{Cutoffs: d.cuts(a)}
		}
		return Merge{}
	case 9, 10:
		for _, o := range slices.Concat(d.org, d.second, d.others) {
			if o.id() == a.id() && o.dev() != a.dev() {
				return AddDevice(d.certs[o.dev()])
			}
		}
		return Merge{}
	case 11:
		for _, o := range slices.Concat(d.org, d.second, d.others) {
			if o.id() == a.id() && (o.dev() != a.dev() || d.rnd.IntN(4) == 0) {
				return RemoveDevice{Device: o.dev()}
			}
		}
		return Merge{}
	}
	return Suspend{Target: pick(d.rnd, slices.Concat(d.org, d.org, d.others[:2])).id(), Cutoffs: d.cuts(t)}
}

// any draws parents from all that exists.
func (d *drama) any() []protocol.OpID {
	var out []protocol.OpID
	for range d.rnd.IntN(4) {
		if n := len(d.log.nodes); n > 0 {
			// Mostly recent ones, sometimes any: a backdated operation.
			out = append(out, d.log.nodes[n-1-d.rnd.IntN(1+d.rnd.IntN(n))].id)
		}
	}
	return out
}

// step lets somebody do something.
func (d *drama) step() {
	everybody := slices.Concat(d.org, d.org, d.org, d.second, d.others)
	a := pick(d.rnd, everybody)
	honest := !d.isHostile(a)
	parents := d.any()
	if honest && d.rnd.IntN(8) > 0 {
		parents = d.headsOf(a)
		if len(parents) > protocol.MaxParents {
			parents = parents[:protocol.MaxParents]
		}
	}
	switch d.rnd.IntN(10) {
	case 0, 1:
		d.meet(a, pick(d.rnd, everybody))
	case 2, 3:
		prev := protocol.OpID(d.g.ID())
		if r := d.view(a); honest || d.rnd.IntN(2) == 0 {
			prev = r.LastDecision()
		} else if len(d.ids) > 0 {
			prev = pick(d.rnd, d.ids)
		}
		if prev != protocol.OpID(d.g.ID()) {
			parents = append(parents, prev)
		}
		if q, ok := d.say(a, Proposal{Prev: prev, Decision: d.decision()}, parents[:min(len(parents), protocol.MaxParents)]...); ok {
			d.vote(a, q)
			// Whom they meet may agree at once.
			for _, b := range d.org {
				if d.rnd.IntN(2) == 0 {
					d.meet(a, b)
					d.vote(b, q)
				}
			}
		}
	case 4:
		for _, o := range d.view(a).Open() {
			d.vote(a, o.ID, parents...)
			break
		}
		if !honest || d.rnd.IntN(4) == 0 {
			for _, n := range d.log.nodes {
				if _, ok := n.payload.(Proposal); ok && d.rnd.IntN(3) == 0 {
					d.vote(a, n.id)
				}
			}
		}
	case 5: // a forged number, or the paper
		for _, n := range d.log.nodes {
			if _, ok := n.payload.(Proposal); ok && d.rnd.IntN(3) == 0 {
				if d.rnd.IntN(2) == 0 {
					d.say(a, RecoveryVote{Proposal: n.id, Signature: d.paper.Vote(n.id)}, n.id)
				} else {
					d.say(a, Vote{Proposal: n.id, Seq: 1}, n.id)
				}
				break
			}
		}
	default:
		d.say(a, d.deed(a), parents...)
	}
}

func (d *drama) count(r *Roster) {
	d.counts["decision"] += len(r.Decisions())
	for _, x := range r.Decisions() {
		d.counts[fmt.Sprintf("decision %T", x.Decision)]++
	}
	for _, s := range r.Suspensions() {
		d.counts["suspension"]++
		if s.Lifted {
			d.counts["lifted"]++
		}
	}
	for _, m := range r.Members() {
		if m.Suspended {
			d.counts["suspended"]++
		}
		d.counts[m.Role.String()]++
		if len(m.Devices) > 1 {
			d.counts["two devices"]++
		}
	}
	d.counts["own device"] += len(r.resolver.ownAdds)
	for _, c := range r.resolver.auth.chain {
		d.counts["dropped"] += len(c.dropped)
	}
}

// TestHistories is spec 40 section 6 against the slow reference, in any order of
// delivery with duplicates, at all heads and at some. Long runs: -histories.
func TestHistories(t *testing.T) {
	counts := map[string]int{}
	draw := func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		d := newDrama(rnd, counts)
		for range 10 + rnd.IntN(30) {
			d.step()
		}
		s := newSlow(d.g, d.frames)
		want := s.dump(d.devices)
		if got := dump(d.log.Resolve(), d.devices); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
		if got := dump(shuffled(rnd, d.g, d.world).Resolve(), d.devices); got != want {
			t.Fatalf("another order\ngot\n%s\nwant\n%s", got, want)
		}
		d.count(d.log.Resolve())
		d.compareAt(t, s)
	}
	for name, value := range map[string]string{"rapid.checks": fmt.Sprint(*historyCount), "rapid.seed": fmt.Sprint(*historySeed)} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, draw)
	t.Log(counts)
	for _, what := range []string{"decision", "decision group.Expel", "decision group.Reinstate", "decision group.GrantOrganiser",
		"decision group.SetDevices", "decision group.SetPolicy", "decision group.SetRecovery", "suspension", "suspended", "lifted",
		"author", "reader", "two devices", "own device", "dropped", "equivocation"} {
		if counts[what] == 0 {
			t.Errorf("no history had any %q", what)
		}
	}
}

// compareAt compares what epochs and messages are judged by.
func (d *drama) compareAt(t *rapid.T, s *slow) {
	if len(d.log.nodes) == 0 {
		return
	}
	closure := func(heads []protocol.OpID) map[protocol.OpID]bool {
		out := map[protocol.OpID]bool{}
		for _, h := range heads {
			out[h] = true
			maps.Copy(out, s.past[h])
		}
		return out
	}
	for range 2 {
		heads := protocol.SortIDs(append(d.any(), d.log.nodes[d.rnd.IntN(len(d.log.nodes))].id))
		parent := protocol.SortIDs(append(d.any(), d.log.nodes[d.rnd.IntN(len(d.log.nodes))].id))
		at, _ := d.log.At(heads)
		if got, want := dump(at, d.devices), s.restrict(closure(heads)).dump(d.devices); got != want {
			t.Fatalf("at heads\ngot\n%s\nwant\n%s", got, want)
		}
		out, _ := d.log.Uncovered(heads)
		want := s.uncovered(closure(heads), d.devices)
		if !slices.Equal(out, want) {
			t.Fatalf("uncovered: %v, not %v", out, want)
		}
		if got, want := d.log.Answers(heads, parent), s.answers(closure(heads), closure(parent), d.devices); got != want {
			t.Fatalf("answers: %v, not %v", got, want)
		}
		if got, want := d.log.LeavesOut(heads, parent), s.leavesOut(closure(heads), closure(parent), d.devices); got != want {
			t.Fatalf("leaves out: %v, not %v", got, want)
		}
		issuer := pick(d.rnd, slices.Concat(d.org, d.second, d.others))
		e := IssuedEpoch{ID: protocol.EpochID{1}, Issuer: issuer.id(), Device: issuer.dev(), ByAuthor: d.rnd.IntN(2) == 0, GovHeads: heads,
			In: func(head protocol.EpochID) bool { return head == protocol.EpochID{1} }}
		if got, want := d.log.EpochVoid(e), s.epochVoid(e, closure(heads), d.devices); got != want {
			t.Fatalf("void: %v, not %v", got, want)
		}
		for n := range byte(3) {
			if got, want := d.log.Resolve().Rejected(protocol.EpochID{n}), s.roster().rejects(protocol.EpochID{n}); got != want {
				t.Fatalf("rejected: %v, not %v", got, want)
			}
		}
	}
}
