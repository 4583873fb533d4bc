package group

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

var attackCount = flag.Int("attacks", 500, "how many attacks TestAttackers plays")

// honestDevice is the device with which an honest organiser votes now.
func (d *drama) honestDevice(i int, r *Roster) (actor, bool) {
	for _, a := range []actor{d.org[i], d.second[i]} {
		if r.resolver.auth.operates(a.id(), a.dev()) {
			return a, true
		}
	}
	return actor{}, false
}

// agree lets every honest organiser vote for a new decision, knowing everything.
func (d *drama) agree(dec Decision) bool {
	var q protocol.OpID
	for i, o := range d.org {
		a, ok := d.honestDevice(i, d.log.Resolve())
		if d.isHostile(o) || !ok {
			continue
		}
		d.all(a)
		if q == (protocol.OpID{}) {
			if q, ok = d.say(a, Proposal{Prev: d.log.Resolve().LastDecision(), Decision: dec}, d.parents(a)...); !ok {
				return false
			}
		}
		d.vote(a, q)
	}
	return d.log.Resolve().LastDecision() == q
}

func (d *drama) parents(a actor) []protocol.OpID {
	heads := d.headsOf(a)
	for len(heads) > protocol.MaxParents {
		d.say(a, Merge{}, heads[:protocol.MaxParents]...)
		heads = d.headsOf(a)
	}
	return heads
}

// overcome is what an honest majority does: expel and take back, then give back.
func (d *drama) overcome() bool {
	for pass := 0; pass < 8; pass++ {
		var bad *Member
		for _, m := range d.log.Resolve().Members() {
			if m.Role == Organiser && !d.isHonest(m.ID) {
				bad = &m
				break
			}
		}
		if bad == nil {
			break
		}
		var undo []protocol.ItemID
		for _, n := range d.log.nodes {
			if n.op.Member == bad.ID && n.op.Kind >= KindSuspend && len(undo) < MaxRepudiate {
				undo = append(undo, protocol.ItemID(n.id))
			}
		}
		if !d.agree(Expel{Target: bad.ID, Repudiate: protocol.SortIDs(undo)}) {
			return false
		}
	}
	for pass := 0; pass < 8; pass++ {
		i := slices.IndexFunc(d.log.Resolve().Members(), func(m Member) bool { return m.Suspended })
		if i < 0 {
			break
		}
		if !d.agree(Reinstate{Target: d.log.Resolve().Members()[i].ID}) {
			return false
		}
	}
	// Everybody stands on the last decision.
	last := d.log.Resolve().LastDecision()
	for i, o := range d.org {
		if a, ok := d.honestDevice(i, d.log.Resolve()); ok && !d.isHostile(o) && last != protocol.OpID(d.g.ID()) {
			d.all(a)
			d.vote(a, last)
		}
	}
	return d.strong()
}

func (d *drama) isHonest(m identity.MemberID) bool {
	return slices.ContainsFunc(d.org, func(a actor) bool { return a.id() == m && !d.isHostile(a) })
}

// strong says whether at each decision the honest who organise to this day are
// more than half of those who organised then: the majority that the rules ask for.
func (d *drama) strong() bool {
	r := d.log.Resolve()
	s := newSlow(d.g, nil)
	s.ops, s.past = newSlow(d.g, d.frames).ops, newSlow(d.g, d.frames).past
	st := s.genesisState()
	for i := -1; i < len(r.Decisions()); i++ {
		if i >= 0 {
			st, _ = s.apply(st, r.Decisions()[i].ID)
		}
		n := 0
		for m := range st.org {
			if d.isHonest(m) && r.resolver.auth.organises(m) {
				n++
			}
		}
		if 2*n <= len(st.org) {
			return false
		}
	}
	return true
}

// whoWhat is what attackers must not change.
func (d *drama) whoWhat() (string, map[identity.DeviceID]bool) {
	r := d.log.Resolve()
	out := fmt.Sprintln(r.LastDecision(), r.Policy(), r.Recovery())
	devices := map[identity.DeviceID]bool{}
	for _, m := range r.Members() {
		for _, x := range m.Devices {
			devices[x.ID] = true
		}
		if m.Role == Organiser {
			out += fmt.Sprintln(m.ID, m.Suspended)
		}
	}
	return out, devices
}

// TestAttackers: after the honest majority's recovery nothing that the attackers
// do alone changes who organises, what was decided, who is suspended, or brings
// anybody or any device into the group but further ones of present members.
func TestAttackers(t *testing.T) {
	played, members := 0, 0
	for n := range uint64(*attackCount) {
		counts := map[string]int{}
		rnd := rand.New(rand.NewPCG(n, 2))
		d := newDrama(rnd, counts)
		for range 6 + rnd.IntN(20) {
			d.step()
		}
		if !d.overcome() {
			continue
		}
		played++
		before, in := d.whoWhat()
		present := map[identity.MemberID]bool{}
		for _, m := range d.log.Resolve().Members() {
			present[m.ID] = true
		}
		honestDevices := map[identity.DeviceID]bool{}
		heads := d.log.Heads()
		if len(heads) > protocol.MaxHeads {
			continue
		}
		for x := range in {
			if m, _ := d.log.Resolve().MemberOfDevice(x); d.isHonest(m.ID) {
				honestDevices[x] = true
			}
		}
		for range 1 + rnd.IntN(8) {
			d.attack()
			after, now := d.whoWhat()
			if after != before {
				t.Fatalf("attack %d changed\n%s\ninto\n%s", n, before, after)
			}
			for x := range now {
				m, _ := d.log.Resolve().MemberOfDevice(x)
				if !in[x] && (!present[m.ID] || d.isHonest(m.ID)) {
					t.Fatalf("attack %d brought in device %v of %v", n, x, m.ID)
				}
			}
			for x := range honestDevices {
				if !now[x] {
					t.Fatalf("attack %d took device %v out", n, x)
				}
			}
			for _, x := range d.log.Resolve().Members() {
				if !present[x.ID] {
					t.Fatalf("attack %d brought in %v", n, x.ID)
				}
			}
			// Nobody outside makes an epoch of now look unsafe: only devices of
			// members who took them out themselves, or left.
			out, _ := d.log.Uncovered(heads)
			for _, x := range out {
				if !in[x] && !d.byMember(x, present) {
					t.Fatalf("attack %d uncovers by %v", n, x)
				}
			}
		}
		members += len(present)
	}
	t.Logf("%d of %d attacks had an honest majority to recover; %d members", played, *attackCount, members)
	if played < *attackCount/4 {
		t.Errorf("only %d of %d played", played, *attackCount)
	}
}

// byMember says whether the device was added by a present member.
func (d *drama) byMember(x identity.DeviceID, present map[identity.MemberID]bool) bool {
	m, ok := d.log.Resolve().MemberOfCert(x)
	return ok && present[m]
}

// attack lets a hostile organiser, or anybody who never was an honest one, do
// anything: any parents, numbers used before, every kind.
func (d *drama) attack() {
	var bad []actor
	for i, a := range d.org {
		if d.isHostile(a) {
			bad = append(bad, a, a, d.second[i])
		}
	}
	bad = append(bad, d.others...)
	a := pick(d.rnd, bad)
	if d.rnd.IntN(3) == 0 {
		d.seq[a.dev()], d.last[a.dev()] = 0, protocol.OpID{}
	}
	parents := d.any()
	if d.rnd.IntN(3) == 0 {
		d.all(a)
		parents = d.headsOf(a)
		parents = parents[:min(len(parents), protocol.MaxParents)]
	}
	switch d.rnd.IntN(5) {
	case 0:
		var prev protocol.OpID
		switch list := d.log.Resolve().Decisions(); {
		case len(list) > 0 && d.rnd.IntN(2) == 0:
			prev = pick(d.rnd, list).ID
		default:
			prev = protocol.OpID(d.g.ID())
		}
		if prev != protocol.OpID(d.g.ID()) {
			parents = append(parents[:min(len(parents), 15)], prev)
		}
		if q, ok := d.say(a, Proposal{Prev: prev, Decision: d.decision()}, parents...); ok {
			for _, b := range bad {
				d.vote(b, q)
			}
		}
	case 1:
		for _, n := range d.log.nodes {
			if _, ok := n.payload.(Proposal); ok && d.rnd.IntN(2) == 0 {
				d.vote(a, n.id)
			}
		}
	default:
		d.say(a, d.deed(a), parents...)
	}
}
