package enginetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
)

// checkEvent runs after every Ready: nothing is shown twice, neither as an
// event nor in the list.
func (w *World) checkEvent(n *Node, ev engine.Event) {
	switch ev.Kind {
	case engine.EventJoined:
		n.joined, n.gen = w.Now, n.epoch()
		w.logf("%s is in, at epoch %d", n.Name, n.gen)
	case engine.EventNotice:
		n.shown[ev.ID]++
		removals := 0
		for _, x := range w.nodes {
			if x.out() {
				removals += 2
			}
		}
		// A removal can hide a notice, and what was missing can bring it back.
		if n.shown[ev.ID] > 1+removals {
			w.violate("%s is told %d times of one notice", n.Name, n.shown[ev.ID])
		}
		if len(n.shown) > 50 && len(n.shown)%50 != 0 {
			return // a list of many is not looked at each time
		}
		seen := map[string]bool{}
		for _, v := range n.Engine.Notices(n.Now(), nil, true) {
			if seen[v.Title] {
				w.violate("%s lists %q twice", n.Name, v.Title)
			}
			seen[v.Title] = true
		}
	}
	if ev.Kind == engine.EventAuthority {
		n.noteGone()
	}
	if ev.Kind == engine.EventMembers || n.member == (identity.MemberID{}) {
		for _, m := range n.Engine.Members() {
			n.met[m.ID] = true
			if m.Self {
				n.member = m.ID
			}
		}
	}
}

// knowsWhyOut says whether the node holds all that another one knows of its coming and
// going: if it takes itself for a member then, its removal was undone, which the other
// has not heard, and somebody who has handed it the keys.
func (n *Node) knowsWhyOut(o *Node) bool {
	for _, c := range o.Engine.Changes(0) {
		if c.Target == n.member {
			if _, ok := n.Store.rows[tableOfOperations][string(c.ID[:])]; !ok {
				return false
			}
		}
	}
	return true
}

// checkLink runs when a connection is proven: under a key that one side has left
// behind, nobody is let in who is not a member there.
func (w *World) checkLink(l *link) {
	for _, n := range []*Node{l.a, l.b} {
		if l.class == engine.ClassInvite {
			continue
		}
		if o := l.other(n); slices.Contains(n.knownRemoved(), o) && !n.waits() && !(o.isIn() && o.knowsWhyOut(n)) {
			w.violate("%s lets in %s, of whose removal it knows", n.Name, l.other(n).Name)
		}
	}
}

// waits says whether the node has no epoch to send in, and so still keeps the
// gate of the last one open.
func (n *Node) waits() bool { return n.live() && n.Engine.Waiting() }

// checkStored runs when a node was opened again: what it said was saved is there.
func (w *World) checkStored(n *Node) {
	if n.out() || n.joined == 0 {
		return // what it wrote may fold with it
	}
	absent := 0
	for _, p := range w.posts {
		if p.author != n || p.expires <= w.Now+clockSlack {
			continue
		}
		if _, err := n.See(p.name); err != nil {
			absent++
			if p.id != (protocol.ContentID{}) {
				w.violate("%s lost %q, which it had saved", n.Name, p.name)
			}
		}
	}
	if unsent := n.Engine.Status().Unsent; absent > unsent {
		w.violate("%s lost %d drafts", n.Name, absent-unsent)
	}
}

// clockSlack is how far the clocks of two nodes may differ.
const clockSlack = engine.Time(12 * 3600 * 1000)

// Check asks whether all members came to the same: roster, names, notices with
// their texts, nothing missing, nothing unsent; and whether those who were
// removed can read what was written by people who knew. The network must have
// been healed, and time must have passed.
func (w *World) Check() error {
	if w.breach != nil {
		return w.breach
	}
	members := w.members()
	if len(members) == 0 {
		return nil
	}
	first := members[0]
	for _, n := range members {
		s := n.Engine.Status()
		switch {
		case s.Removed:
			return fmt.Errorf("%s takes itself for removed", n.Name)
		case s.Missing > w.lost(n) && n.since == 0: // what was said while one is suspended stays counted
			return fmt.Errorf("%s misses %d messages", n.Name, s.Missing)
		case s.Unsent != 0 && w.canBeTaken(n, members):
			return fmt.Errorf("%s has %d messages that nobody else holds", n.Name, s.Unsent)
		case s.Epoch != first.epoch() || n.waits():
			return fmt.Errorf("%s is at epoch %d, %s at %d", n.Name, s.Epoch, first.Name, first.epoch())
		}
		if a, b := first.roster(), n.roster(); a != b {
			return fmt.Errorf("%s has the members %s, %s has %s", first.Name, a, n.Name, b)
		}
	}
	for _, p := range w.posts {
		if err := w.checkPost(p, members); err != nil {
			return err
		}
	}
	return w.checkRemoved()
}

// canBeTaken says whether somebody else has been in the group's epochs for as
// long as n: what n wrote before that, nobody can take.
func (w *World) canBeTaken(n *Node, members []*Node) bool {
	return slices.ContainsFunc(members, func(m *Node) bool { return m != n && m.gen <= n.gen })
}

// lost counts what n may miss for good: what people who were removed wrote, if
// they were shut out before anybody took it, what was said while n was known to
// be suspended (spec 46 section 3), and what ran out, which nobody hands over.
func (w *World) lost(n *Node) int {
	count := 0
	for _, p := range w.posts {
		if _, err := n.See(p.name); (p.author.out() || p.notFor(n) || p.expires <= w.Now) && err != nil {
			count++
		}
	}
	for _, x := range w.nodes {
		if x.out() {
			count += x.changes
		}
	}
	return count
}

// notFor says whether the author knew that a node was suspended or out.
func (p *post) notFor(n *Node) bool {
	return slices.Contains(p.stopped, n) || slices.Contains(p.without, n) || slices.Contains(p.earlier, n)
}

// members are the nodes that are in the group and running.
func (w *World) members() []*Node {
	var list []*Node
	for _, n := range w.nodes {
		if n.live() && n.joined != 0 && n.removed == 0 && !n.copy && !n.isSuspended() {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil
	}
	stopped := list[0].suspended()
	return slices.DeleteFunc(list, func(n *Node) bool { return slices.Contains(stopped, n) })
}

// roster lists who is in, as the node sees it. A newcomer may lack the name of who is
// suspended: it stands only if all that he said up to his cut-off is held.
func (n *Node) roster() string {
	var names []string
	stopped := n.suspended()
	for _, m := range n.Engine.Members() {
		name := m.Name
		if slices.ContainsFunc(stopped, func(x *Node) bool { return x.member == m.ID }) {
			name = ""
		}
		names = append(names, fmt.Sprintf("%s/%s/%s", m.ID.String()[:6], name, m.Role))
	}
	return strings.Join(names, " ")
}

// checkPost compares what is shown of one notice by all who were in the group,
// and in its epoch, when it was written.
func (w *World) checkPost(p *post, members []*Node) error {
	if p.expires <= w.Now+clockSlack {
		return nil
	}
	var first *Node
	var want string
	for _, n := range members {
		if n.joined > p.at || n.gen > p.gen {
			continue
		}
		if n.since != 0 && max(p.at, p.changed) >= n.since {
			continue // what is said while one is suspended is not handed over (spec 46 section 3)
		}
		// Clocks differ: what is dated ahead counts from then on.
		got := "nothing"
		for _, v := range n.Engine.Notices(w.Now+clockSlack, nil, true) {
			if v.Title == p.name {
				got = describe(v)
			}
		}
		if got == "nothing" && p.notFor(n) {
			continue
		}
		if got == "nothing" && !p.author.out() {
			return fmt.Errorf("%s does not show %q of %s", n.Name, p.name, p.author.Name)
		}
		if first == nil {
			first, want = n, got
		}
		if got != want {
			return fmt.Errorf("of %q %s shows %s, %s shows %s", p.name, first.Name, want, n.Name, got)
		}
	}
	return nil
}

func describe(v feed.View) string {
	var beside []string
	for _, c := range v.Conflicts {
		beside = append(beside, c.Body)
	}
	slices.Sort(beside)
	return fmt.Sprintf("%s, version %d %q, beside %q, until %d, missing %t, pinned %t", v.Status, v.Number, v.Body, beside, v.Expires, v.Missing, v.Pinned)
}

// Raw forms of the two things that an adversary with a removed member's storage
// needs: the table of envelopes (spec 65 section 7) and the message that gives
// one (section 2).
const (
	tableOfEnvelopes = 7
	messageGive      = 3
)

// isBack says whether a node whose removal was noted is in the group all the same, as
// it and all others see it: a decision undid the removal, and what waited for an
// epoch meanwhile was sealed for it as well.
func (w *World) isBack(x *Node) bool {
	return x.isIn() && !slices.ContainsFunc(w.members(), func(m *Node) bool {
		return !slices.ContainsFunc(m.Engine.Members(), func(v engine.MemberView) bool { return v.ID == x.member })
	})
}

// checkRemoved takes the storage of each removed member, as it was at the
// removal and as it is now, opens it, offers it every envelope that anybody
// holds, and looks for texts of people who knew of the removal.
func (w *World) checkRemoved() error {
	var all [][]byte
	for _, n := range w.nodes {
		if n.Store == nil {
			continue
		}
		for _, k := range n.Store.keys(tableOfEnvelopes) {
			all = append(all, n.Store.rows[tableOfEnvelopes][k].value)
		}
	}
	for _, x := range w.nodes {
		if x.removed == 0 || w.isBack(x) {
			continue
		}
		for _, store := range []*Memory{x.copied, x.Store.Clone()} {
			thief := &Node{Name: x.Name + " as a thief", w: NewWorld(w.seed), id: x.id, Store: store, random: x.random, shown: map[string]int{}}
			thief.w.Now = w.Now
			e, err := engine.Load(thief.config(), x.id, w.Now)
			if err != nil {
				return err
			}
			if !e.Joined() {
				continue
			}
			readable := feast(e, store, all, w.Now)
			for _, p := range w.posts {
				if slices.Contains(p.without, x) && readable[p.name] {
					return fmt.Errorf("%s reads %q of %s, who knew of the removal", x.Name, p.name, p.author.Name)
				}
			}
			w.Counts["removed tried"]++
		}
	}
	return nil
}

// feast offers envelopes to an engine as a member would, again and again, and
// returns the titles that it shows.
func feast(e *engine.Engine, store *Memory, envelopes [][]byte, now engine.Time) map[string]bool {
	byID := map[protocol.EnvelopeID][]byte{}
	var ids []protocol.EnvelopeID
	for _, b := range envelopes {
		id := protocol.IDOf(b)
		byID[id] = b
		ids = append(ids, id)
	}
	var tag [32]byte
	settle := func(in engine.Input) (wanted []protocol.EnvelopeID) {
		e.Step(now, in)
		for r := e.Ready(); !r.Empty(); r = e.Ready() {
			store.Commit(r.Persist)
			if r.Gate != nil && len(r.Gate.Accept) > 0 {
				tag = r.Gate.Accept[0].Tag
			}
			for _, m := range r.Send {
				wanted = append(wanted, wantedIDs(m.Data)...)
			}
			e.Advance()
		}
		return wanted
	}
	settle(engine.Tick{})
	settle(engine.PeerUp{Peer: 1, Class: engine.ClassMember, Tag: tag})
	for range 3 {
		for chunk := range slices.Chunk(ids, 256) {
			queue := settle(engine.Hinted{Peer: 1, IDs: chunk})
			for len(queue) > 0 {
				id := queue[0]
				queue = append(queue[1:], settle(engine.Received{Peer: 1, Data: append([]byte{messageGive}, byID[id]...)})...)
			}
		}
	}
	titles := map[string]bool{}
	for _, v := range e.Notices(now, nil, true) {
		titles[v.Title] = true
	}
	return titles
}
