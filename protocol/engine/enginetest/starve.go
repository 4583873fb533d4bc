package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// Bounds within which nobody may starve (spec 46 section 11).
var (
	// exchangeFor is how long everybody exchanges what they hold before anybody who
	// could issue wakes.
	exchangeFor = engine.Seconds(60)
	// wakeUp is one wake-up of an organiser's device: it waits up to a minute before
	// it issues, up to a minute before it brings anybody back, and the rest is for
	// round trips and for links that are made again under the new keys.
	wakeUp = engine.Seconds(150)
	// deliverFor is how long a notice may take to everybody who is connected.
	deliverFor = engine.Seconds(60)
)

// Deeds are what a set of drawn histories of TestNobodyStarves must have had,
// each at least once: names in World.Counts.
var Deeds = []string{"added", "apart", "removed", "left", "author", "proposed", "voted", "suspended", "reinstate", "expel",
	"days", "off", "posted", "added and renewed apart", "others off", "others only exchange"}

// hunger is a drawn history of a group with several organisers, whose devices
// change it at the same time without reaching one another.
type hunger struct {
	*World
	founders []*Node // who were there before anything went wrong
	island   map[*Node]int
	joined   int
	written  int
	days     int64
	removals int
	policy   group.Policy
	split    bool // some were seen to send in another epoch than others
	risk     bool // a group at high risk
}

// riskFrom is the first seed of histories of groups at high risk.
const riskFrom = 1_000

// lostFor is how long it takes until what was sealed to erased keys was asked for,
// which all who organise have to be awake for (spec 46 section 10).
var lostFor = engine.Seconds(750)

// RunStarveSeed draws a history without any attacker, connects everybody, lets
// the device of one organiser wake, and asks whether anybody starves: whether who
// is in the group reads what is now sent, and whether anything is held. Then all
// wake, and it asks again. In the end all send in one epoch.
func RunStarveSeed(seed uint64) (*World, error) {
	s := &hunger{World: NewWorld(seed), island: map[*Node]int{}, risk: seed >= riskFrom}
	err := s.run()
	if err != nil {
		err = fmt.Errorf("seed %d: %w", seed, err)
	}
	return s.World, err
}

func (s *hunger) run() error {
	if err := s.gather(); err != nil {
		return err
	}
	for range 1 + s.random.IntN(3) {
		if err := s.part(); err != nil {
			return err
		}
	}
	return s.wakeOne()
}

// wakeOne connects everybody and lets one organiser's device do what is due.
func (s *hunger) wakeOne() error {
	s.logf("connected")
	for _, n := range s.nodes {
		if n.live() && n.organises() {
			n.still = n.Now()
		}
	}
	if err := s.HealAll(); err != nil {
		return err
	}
	for _, n := range s.nodes {
		if n.live() && n.organises() && n.still == 0 {
			n.still = n.Now() // it was off until now
		}
	}
	if err := s.Run(exchangeFor); err != nil {
		return err
	}
	awake := s.issuer()
	if awake == nil {
		if !s.wisest().allSuspended() {
			return fmt.Errorf("nobody organises")
		}
		// Each by another: until people put that right nobody can issue an epoch, and
		// messages wait (spec 40 section 6.3).
		s.Counts["all suspended"]++
		return s.breach
	}
	off := s.random.IntN(2) == 0
	s.logf("%s wakes, others off: %t", awake.Name, off)
	for _, n := range s.nodes {
		switch {
		case n.still == 0:
		case n == awake || !n.organises():
			n.start()
		case off:
			s.Counts["others off"]++
			n.Stop()
		default:
			s.Counts["others only exchange"]++
		}
	}
	if err := s.Run(wakeUp); err != nil {
		return err
	}
	late := s.days >= 14 || s.risk && s.days >= 3 // replaced keys are erased by then
	if !late {
		if err := s.fed(awake); err != nil {
			return fmt.Errorf("with %s awake: %w", awake.Name, err)
		}
	}
	s.logf("all wake")
	for _, n := range s.nodes {
		if n.still != 0 {
			n.start()
		}
	}
	if err := s.HealAll(); err != nil {
		return err
	}
	if late {
		if err := s.Run(lostFor); err != nil {
			return err
		}
	}
	if err := s.Run(wakeUp); err != nil {
		return err
	}
	if err := s.fed(awake); err != nil {
		return fmt.Errorf("with everybody awake: %w", err)
	}
	if s.split { // the next period brings them into one (spec 46 section 11)
		if err := s.passDays(int64(s.policy.PeriodDays) + 1); err != nil {
			return err
		}
	}
	if err := s.Run(healFor); err != nil {
		return err
	}
	s.settleGone(awake)
	return s.Check()
}

// settleGone notes who is out: of those whose adder was suspended meanwhile some
// are, and of those whose remover was some are not.
func (s *hunger) settleGone(judge *Node) {
	in := s.eaters(judge)
	for _, n := range s.nodes {
		switch {
		case n.Store == nil || n.joined == 0:
		case !slices.Contains(in, n):
			n.gone()
		default:
			n.removed = 0
		}
	}
}

// start lets a node's clock go on.
func (n *Node) start() {
	n.still, n.wake = 0, 0
	n.step(engine.Tick{})
}

// allSuspended says whether all organisers are, as far as the node knows.
func (n *Node) allSuspended() bool {
	stopped := n.suspended()
	return !slices.ContainsFunc(n.Engine.Members(), func(m engine.MemberView) bool {
		return m.Role == group.Organiser && !slices.Contains(stopped, n.w.byMember(m.ID))
	})
}

// organises says whether the node takes itself for an organiser who may act.
func (n *Node) organises() bool {
	if !n.live() || n.joined == 0 || n.isSuspended() {
		return false
	}
	return slices.ContainsFunc(n.Engine.Members(), func(m engine.MemberView) bool { return m.Self && m.Role == group.Organiser })
}

// isIn says whether the node is in the group, as far as it knows.
func (n *Node) isIn() bool { return n.live() && n.joined != 0 && !n.Engine.Status().Removed }

// issuer draws an organiser by the operations of whoever holds most of them.
func (s *hunger) issuer() *Node {
	var list []*Node
	for _, n := range s.eaters(s.wisest()) {
		if n.organises() {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[s.random.IntN(len(list))]
}

// wisest is the node in the group that holds most operations.
func (s *hunger) wisest() *Node {
	var best *Node
	for _, n := range s.nodes {
		if n.live() && n.joined != 0 && (best == nil || len(n.Store.rows[tableOfOperations]) > len(best.Store.rows[tableOfOperations])) {
			best = n
		}
	}
	return best
}

// eaters are the nodes that are to read and to send, as judge sees the group: in
// it, not suspended, let in before the wake-up, and on.
func (s *hunger) eaters(judge *Node) []*Node {
	stopped := judge.suspended()
	var list []*Node
	for _, m := range judge.Engine.Members() {
		n := s.byMember(m.ID)
		switch {
		case !n.live() || n.joined == 0 || slices.Contains(stopped, n):
		case n.Engine.Status().Removed:
			s.Counts["removal undone"]++ // it knocks seldom (spec 46 section 6)
		default:
			list = append(list, n)
		}
	}
	return list
}

// sendingIn is the epoch that the node's gate puts first; false: it waits.
func (n *Node) sendingIn() (protocol.EpochID, bool) {
	if n.waits() || n.gate == nil || len(n.gate.Accept) == 0 {
		return protocol.EpochID{}, false
	}
	return protocol.EpochID(n.gate.Accept[0].Tag), true
}

// fed asks whether all who should hold nothing back and read what each of them
// sends now. It notes whether all send in one epoch.
func (s *hunger) fed(judge *Node) error {
	list := s.eaters(judge)
	want, _ := judge.sendingIn()
	var names []string
	for _, n := range list {
		names = append(names, n.Name)
		got, ok := n.sendingIn()
		switch {
		case !ok:
			return fmt.Errorf("%s holds back what is sent", n.Name)
		case !bytes.Equal(got[:], want[:]):
			s.logf("%s sends in %x of generation %d, %s in %x of %d", n.Name, got[:3], n.epoch(), judge.Name, want[:3], judge.epoch())
			s.Counts["in two epochs"]++
			s.split = true
		}
		if a, b := judge.roster(), n.roster(); len(judge.Engine.Members()) != len(n.Engine.Members()) {
			return fmt.Errorf("%s has the members %s, %s has %s", judge.Name, a, n.Name, b)
		}
	}
	s.logf("to read: %s", strings.Join(names, " "))
	sent := map[string]*Node{}
	for _, n := range list {
		if !s.mayPost(n) {
			continue
		}
		s.written++
		name := fmt.Sprintf("last%d", s.written)
		if err := n.Post(name, "Corps.", 0); err != nil {
			return fmt.Errorf("%s cannot post: %w", n.Name, err)
		}
		sent[name] = n
	}
	if err := s.Run(deliverFor); err != nil {
		return err
	}
	if s.unread(sent, list) != nil {
		// With a clock that stands still links that are to end in a moment do not.
		for _, n := range list {
			if n.still != 0 {
				n.still += engine.Seconds(4)
				n.step(engine.Tick{})
			}
		}
		if err := s.Run(deliverFor); err != nil {
			return err
		}
	}
	if err := s.unread(sent, list); err != nil {
		return err
	}
	for _, n := range list {
		if n.waits() {
			return fmt.Errorf("%s holds back what is sent", n.Name)
		}
		if u := n.Engine.Status().Unsent; u != 0 && s.canBeTaken(n, list) && len(list) > 1 {
			return fmt.Errorf("%s has %d messages that nobody took", n.Name, u)
		}
	}
	return nil
}

// unread says who of a list does not read what of was sent.
func (s *hunger) unread(sent map[string]*Node, list []*Node) error {
	for name, from := range sent {
		for _, n := range list {
			if _, err := n.See(name); err != nil {
				return fmt.Errorf("%s does not read %s of %s", n.Name, name, from.Name)
			}
		}
	}
	return nil
}

func (s *hunger) mayPost(n *Node) bool {
	posting := n.Engine.Authority().Policy.Posting
	for _, m := range n.Engine.Members() {
		if m.Self {
			return posting == group.PostAll || m.Role == group.Organiser || posting == group.PostAuthors && m.Role == group.Author
		}
	}
	return false
}
