package group

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

var (
	siegeCount = flag.Uint64("attack-histories", 2000, "how many histories TestAttacksMillion plays")
	siegeSeed  = flag.Uint64("attack-seed", 1, "its seed")
	siegeFrom  = flag.Uint64("attack-from", 0, "its first history")
)

// heals is what an honest majority does when it knows of everything: expel and
// take back, remove stolen devices and helpers, give back, stand on it.
func (s *siege) heals() bool {
	r := s.log.Resolve()
	for _, x := range s.hostileOrganisers(r) {
		var undo []protocol.ItemID
		for _, n := range s.log.nodes {
			if n.op.Member == s.ids[x] && n.op.Kind >= KindSuspend {
				undo = append(undo, protocol.ItemID(n.id))
			}
		}
		if !s.agreeOn(Expel{Target: s.ids[x], Repudiate: protocol.SortIDs(undo)}) {
			return false
		}
	}
	for range 2 * souls { // to give one back may make another suspension of the same author count
		i := slices.IndexFunc(s.log.Resolve().Members(), func(m Member) bool { return m.Suspended })
		if i < 0 {
			break
		}
		if !s.agreeOn(Reinstate{Target: s.log.Resolve().Members()[i].ID}) {
			return false
		}
	}
	last := s.log.Resolve().LastDecision()
	for _, p := range s.honestOrganisers(s.log.Resolve()) {
		if last == s.start() {
			break
		}
		s.seeAll(p)
		if d, ok := s.voting(s.log.Resolve(), p); ok {
			s.vote(p, d, last)
		}
	}
	// One of them removes what is stolen, and helpers if they are known.
	for _, p := range s.honestOrganisers(s.log.Resolve()) {
		d, ok := s.voting(s.log.Resolve(), p)
		if !ok {
			continue
		}
		for _, x := range s.hotOnes() {
			if s.who[x][0] == friendTwo && len(s.log.Adds(x)) == 1 {
				continue // removed with its owner, and not added again
			}
			s.seeAll(p)
			s.sign(p, d, RemoveDevice{Device: x}, s.heads(p)...)
		}
		for _, x := range []int{helperOne, helperTwo, stranger} {
			if s.log.Resolve().IsMember(s.ids[x]) && s.chance(2) {
				s.seeAll(p)
				s.sign(p, d, RemoveMember{Target: s.ids[x]}, s.heads(p)...)
			}
		}
		break
	}
	return s.log.Resolve().LastDecision() == last
}

func (s *siege) hotOnes() (out []identity.DeviceID) {
	for d := range s.hot {
		out = append(out, d)
	}
	slices.SortFunc(out, compareDevices)
	return out
}

// agreeOn lets those honest ones who are there decide; the others come later.
func (s *siege) agreeOn(dec Decision) bool {
	r := s.log.Resolve()
	list := s.honestOrganisers(r)
	s.rnd.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	need, of := r.Majority()
	absent := 0
	if len(list) > need && s.chance(2) {
		absent = 1
	}
	var q protocol.OpID
	for _, p := range list[:len(list)-absent] {
		s.seeAll(p)
		d, ok := s.voting(r, p)
		if !ok {
			continue
		}
		if q == (protocol.OpID{}) {
			if q, ok = s.sign(p, d, Proposal{Prev: r.LastDecision(), Decision: dec}, s.heads(p)...); !ok {
				return false
			}
			if of == 2 {
				s.papers = append(s.papers, q)
				s.sign(p, d, RecoveryVote{Proposal: q, Signature: siegePaper.Vote(q)}, q)
			}
		}
		s.vote(p, d, q)
	}
	return s.log.Resolve().LastDecision() == q
}

// promised says whether spec 40 section 6.11 promises that the chain holds: at
// each of its decisions those who stand on it to this day are more than those who
// might stand elsewhere.
func (s *siege) promised() bool {
	r := s.log.Resolve()
	for _, d := range r.Operators() {
		if s.hot[d] {
			return false
		}
	}
	at := s.founding()
	chain := r.Decisions()
	for k, d := range chain {
		with, against, tablets := 0, 0, 0
		for m, devices := range at.organisers {
			p := s.person(m)
			stands := false
			if v, ok := r.LatestVote(m); ok && v == r.LastDecision() && !s.isHostile(p) {
				with, stands = with+1, true
			}
			if !stands || s.elsewhere(r, p) || slices.ContainsFunc(devices, func(x identity.DeviceID) bool { return s.hot[x] }) {
				against++
			} else if s.hot[s.dev[p][tablet]] {
				tablets++
			}
		}
		if against >= at.majority() { // they back a change of any phone
			against += tablets
		}
		if len(at.organisers) == 2 {
			elsewhere := false
			for _, q := range s.papers {
				elsewhere = elsewhere || !slices.ContainsFunc(chain, func(d Decided) bool { return d.ID == q })
			}
			if s.paperOn(at.clone(), chain[k:]) {
				with++
			}
			if elsewhere {
				against++
			}
		}
		if with <= against {
			return false
		}
		at.apply(d.ID, d.Decision)
	}
	return len(s.log.Heads()) <= protocol.MaxHeads
}

func (s *siege) founding() *standing {
	at := &standing{organisers: map[identity.MemberID][]identity.DeviceID{}, recovery: s.g.Recovery}
	for _, o := range s.g.Organisers {
		at.organisers[o.Cert.Member.ID()] = o.Devices
	}
	return at
}

// elsewhere says whether a device of the person that does not vote now voted last
// for what is not decided: on a branch that makes it a voting one it speaks.
func (s *siege) elsewhere(r *Roster, p int) bool {
	for d := range devicesEach {
		x := s.dev[p][d]
		if r.Operates(s.ids[p], x) || s.hot[x] {
			continue
		}
		var last Vote
		for _, n := range s.log.nodes {
			if v, ok := n.payload.(Vote); ok && n.frame.Device == x && v.Seq > last.Seq {
				last = v
			}
		}
		if last.Seq > 0 && !slices.ContainsFunc(r.Decisions(), func(d Decided) bool { return d.ID == last.Proposal }) {
			return true
		}
	}
	return false
}

// paperOn says whether the paper has a voice in one of the decisions.
func (s *siege) paperOn(at *standing, chain []Decided) bool {
	for _, d := range chain {
		if k := d.Decision.Decides(); len(at.organisers) == 2 && (k == DecideExpel || k == DecideReinstate) && s.carried(d.ID) {
			return true
		}
		at.apply(d.ID, d.Decision)
	}
	return false
}

// carried says whether the paper's vote for a proposal is known.
func (s *siege) carried(q protocol.OpID) bool {
	return slices.ContainsFunc(s.log.nodes, func(n node) bool {
		v, ok := n.payload.(RecoveryVote)
		return ok && v.Proposal == q
	})
}

// state is all that attackers must not change. Helpers who are members are not in
// it: they may leave, and what devices they have is theirs.
func (s *siege) state(free map[identity.MemberID]Role) string {
	var b bytes.Buffer
	r := s.log.Resolve()
	for _, d := range r.Decisions() {
		b.Write(d.ID[:])
	}
	fmt.Fprintln(&b, r.Policy(), r.Recovery())
	for _, m := range r.Members() {
		if _, ok := free[m.ID]; ok {
			continue
		}
		b.Write(m.ID[:])
		b.WriteByte(byte(m.Role))
		b.WriteByte(map[bool]byte{true: 1}[m.Suspended])
		b.WriteByte(map[bool]byte{true: 1}[r.MayPost(m.ID)])
		for _, d := range m.Devices {
			b.Write(d.ID[:])
			b.Write(d.KeyPackage[:])
			b.WriteByte(map[bool]byte{true: 1}[d.Operating])
			if c, ok := r.Cutoff(d.ID); ok {
				b.Write(c.Device[:])
				b.WriteByte(byte(c.Seq))
			}
		}
	}
	return b.String()
}

// verdict is what became of one siege.
type verdict struct {
	played bool // a majority could recover, and the chain is promised to hold
	stuck  bool // it could not
	broken string
}

// besiege plays history n of a seed.
func besiege(seed, n uint64) (*siege, verdict) {
	s := newSiege(seed, n)
	for range 4 + s.rnd.IntN(7) {
		if s.chance(4) {
			s.hostilePlay()
		} else {
			s.honestPlay()
		}
		if s.chance(3) {
			s.loseOldPhones()
		}
	}
	if broken := s.always(); broken != "" {
		return s, verdict{broken: broken}
	}
	if !s.heals() {
		return s, verdict{stuck: true}
	}
	s.loseOldPhones()
	if !s.promised() {
		return s, verdict{}
	}
	return s, verdict{played: true, broken: s.attack()}
}

// loseOldPhones gives phones that were replaced to the attackers.
func (s *siege) loseOldPhones() {
	r := s.log.Resolve()
	for p := range s.organisers {
		if d := s.dev[p][phone]; !s.isHostile(p) && r.resolver.auth.organises(s.ids[p]) && !r.resolver.auth.operates(s.ids[p], d) {
			s.hot[d] = true
		}
	}
}

// votingStolen says whether a device that votes, or did, is in the attackers' hands.
func (s *siege) votingStolen() bool {
	for d := range s.hot {
		if w := s.who[d]; w[0] < s.organisers && w[1] != tablet {
			return true
		}
	}
	return false
}

// always is what holds at any time: nothing is decided without an honest voice,
// and one hostile phone holds one other.
func (s *siege) always() string {
	r := s.log.Resolve()
	if !s.votingStolen() {
		at := s.founding()
		for _, d := range r.Decisions() {
			hostile := 0
			for m := range at.organisers {
				if s.isHostile(s.person(m)) {
					hostile++
				}
			}
			if hostile >= at.majority() {
				break
			}
			if !s.wanted[d.ID] {
				return fmt.Sprintf("a decision without an honest voice: %d", s.log.index[d.ID])
			}
			at.apply(d.ID, d.Decision)
		}
	}
	held := map[identity.MemberID]int{}
	for _, x := range r.Suspensions() {
		if held[x.By]++; !x.Lifted && held[x.By] > 1+s.lifted(r, x.By) {
			return "one organiser holds two suspended"
		}
	}
	return ""
}

// known says whether an expulsion had seen its target add the stranger, and did
// not name that: then the stranger stays.
func (s *siege) known(r *Roster) bool {
	for i, n := range s.log.nodes {
		if _, ok := n.payload.(AddMember); !ok || n.cert.Member.ID() != s.ids[stranger] {
			continue
		}
		for _, d := range r.Decisions() {
			e, ok := d.Decision.(Expel)
			if ok && e.Target == n.op.Member && s.log.nodes[s.log.index[d.ID]].past.has(i) && !slices.Contains(e.Repudiate, protocol.ItemID(n.id)) {
				return true
			}
		}
	}
	return false
}

func (s *siege) lifted(r *Roster, by identity.MemberID) (n int) {
	for _, x := range r.Suspensions() {
		if x.By == by && x.Lifted {
			n++
		}
	}
	return n
}

// epoch is one that an honest organiser's device issues now, and that nobody names.
func (s *siege) epoch() (IssuedEpoch, bool) {
	r := s.log.Resolve()
	for _, p := range s.honestOrganisers(r) {
		if d, ok := s.voting(r, p); ok {
			return IssuedEpoch{ID: protocol.EpochID{7}, Issuer: s.ids[p], Device: s.dev[p][d], GovHeads: s.log.Heads(),
				In: func(protocol.EpochID) bool { return false }}, true
		}
	}
	return IssuedEpoch{}, false
}

// attack lets the attackers do anything alone.
func (s *siege) attack() string {
	r := s.log.Resolve()
	free := map[identity.MemberID]Role{}
	for _, p := range []int{helperOne, helperTwo, stranger} {
		if m, ok := r.Member(s.ids[p]); ok {
			free[m.ID] = m.Role
		}
	}
	if _, in := free[s.ids[stranger]]; in && len(s.hot) == 0 && !s.known(r) {
		return "a stranger whom only attackers added is in after the recovery"
	}
	before, heads := s.state(free), s.log.Heads()
	epoch, issued := s.epoch()
	if issued && s.log.EpochVoid(epoch) {
		return "an honest epoch of now is void"
	}
	for range 2 + s.rnd.IntN(4) {
		s.hostilePlay()
		if s.state(free) != before {
			return "the group changed"
		}
		if issued && s.log.EpochVoid(epoch) {
			return "an honest epoch became void"
		}
		for m, role := range free {
			if now, in := s.log.Resolve().Member(m); in && now.Role != role {
				return "a helper rose"
			}
		}
		out, _ := s.log.Uncovered(heads)
		for _, d := range out {
			w := s.who[d]
			if _, ok := free[s.ids[w[0]]]; !ok {
				return fmt.Sprintf("an epoch without %s's device %d looks unsafe", s.names[w[0]], w[1])
			}
		}
	}
	return s.always()
}

// TestAttacksMillion plays small histories: after the recovery of an honest
// majority nothing that attackers do alone changes who organises, what was decided,
// who is in, suspended, or what honest people's messages and devices count for.
// A million: -attack-histories 1000000.
func TestAttacksMillion(t *testing.T) {
	played, stuck, ops := 0, 0, 0
	kinds := map[string]int{}
	for n := *siegeFrom; n < *siegeFrom+*siegeCount; n++ {
		s, v := besiege(*siegeSeed, n)
		if v.broken != "" {
			t.Fatalf("%s: -attack-seed %d -attack-from %d -attack-histories 1\n%s", v.broken, *siegeSeed, n, s.tell())
		}
		ops += s.log.Len()
		if v.stuck {
			stuck++
		}
		if v.played {
			played++
			s.count(kinds)
		}
	}
	t.Logf("seed %d: %d of %d histories had a majority to recover, %d had none; %d operations; %v", *siegeSeed, played, *siegeCount, stuck, ops, kinds)
	if *siegeCount >= 2000 {
		if uint64(played) < *siegeCount/3 {
			t.Errorf("only %d were played to the end", played)
		}
		for _, k := range []string{"two organisers", "stolen", "replaced", "paper", "given back", "helper in", "signed"} {
			if kinds[k] == 0 {
				t.Errorf("no history had any %q", k)
			}
		}
	}
}

// count notes what a history had in it.
func (s *siege) count(kinds map[string]int) {
	note := func(k string, has bool) {
		if has {
			kinds[k]++
		}
	}
	r := s.log.Resolve()
	note("two organisers", s.organisers == 2)
	note("stolen", len(s.hot) > 0)
	note("paper", len(s.papers) > 0)
	note("signed", s.signed != nil)
	note("helper in", r.IsMember(s.ids[helperOne]))
	note("given back", slices.ContainsFunc(r.Suspensions(), func(x Suspension) bool { return x.Lifted }))
	note("replaced", slices.ContainsFunc(r.Decisions(), func(d Decided) bool { _, ok := d.Decision.(SetDevices); return ok }))
}

// TestAttackSeeds plays the histories in which something broke once.
func TestAttackSeeds(t *testing.T) {
	f, err := os.Open("testdata/attack-seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		var seed, at uint64
		if _, err := fmt.Sscan(line, &seed, &at); err != nil {
			continue
		}
		n++
		if s, v := besiege(seed, at); v.broken != "" {
			t.Errorf("%s: %d %d\n%s", v.broken, seed, at, s.tell())
		}
	}
	if n == 0 {
		t.Error("no seeds")
	}
}
