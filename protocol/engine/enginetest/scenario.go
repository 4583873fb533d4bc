package enginetest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// Kinds are the faults that a set of drawn scenarios must have had, each at
// least once: names in World.Counts.
var Kinds = []string{"hint lost", "hint twice", "hint late", "message lost", "cut", "one-way", "partition", "crash before commit",
	"crash before sending", "last words", "restart", "skew", "days off", "catch-up", "refused", "removed tried"}

// healFor is the time after the last fault within which everybody must have
// come to the same: reconciliation is at most 5 minutes apart, and news may need
// several hops and epochs.
var healFor = engine.Seconds(40 * 60)

// scenario is a drawn run.
type scenario struct {
	*World
	founder *Node
	link    protocol.Link
	outside []*Node // not asked in yet
	written int
	governs bool // people also govern, beside all else
	paper   identity.RecoveryKey
	spares  []*spare // devices in nobody's hand

	away, awayMost int64 // days for which somebody was off, and may be
}

// RunSeed draws a scenario, runs it with all its faults, heals, and checks. The
// error names the first promise that did not hold; World.Log is the story.
func RunSeed(seed uint64, bug Bug) (*World, error) { return runSeed(seed, bug, false) }

// RunGovernedSeed is RunSeed with several organisers, who suspend, vote, expel
// and change the policy.
func RunGovernedSeed(seed uint64) (*World, error) { return runSeed(seed, NoBug, true) }

func runSeed(seed uint64, bug Bug, governs bool) (*World, error) {
	s := &scenario{World: NewWorld(seed), governs: governs, paper: identity.RecoveryKeyFromSeed([32]byte{7})}
	s.Bug = bug
	err := s.run()
	if err != nil {
		err = fmt.Errorf("seed %d: %w", seed, err)
	}
	return s.World, err
}

func (s *scenario) run() error {
	names := []string{"Ana", "Ben", "Cam", "Dia", "Eli", "Fay"}[:3+s.random.IntN(4)]
	for _, name := range names {
		n := s.Add(name)
		if s.random.IntN(2) == 0 {
			n.Skew = engine.Time(s.random.Int64N(1 << s.random.IntN(26)))
			if s.random.IntN(2) == 0 {
				n.Skew = -n.Skew
			}
			if n.Skew != 0 {
				s.Counts["skew"]++
			}
		}
	}
	s.founder, s.outside = s.nodes[0], s.nodes[1:]
	policy := group.DefaultPolicy(10)
	policy.HighRisk = s.random.IntN(4) == 0
	policy.AlertOverride = s.governs && s.random.IntN(2) == 0
	s.awayMost = 27
	if policy.HighRisk {
		s.awayMost = 5
	}
	if err := s.founder.Found("Jardin", policy); err != nil {
		return err
	}
	var err error
	if s.link, err = s.founder.Invite(engine.InviteParams{Uses: 20, AutoApprove: true}); err != nil {
		return err
	}
	s.join()
	if s.random.IntN(2) == 0 {
		s.join()
	}
	if err := s.Run(engine.Seconds(20)); err != nil {
		return err
	}
	if s.founder.off {
		if err := s.founder.Start(); err != nil {
			return err
		}
	}
	if s.governs {
		if err := s.assemble(); err != nil {
			return err
		}
	}
	s.Faults = Faults{DelayMax: 1 + engine.Time(s.random.Int64N(1<<(4+s.random.IntN(9)))), HintLoss: s.random.Float64() * 0.4,
		HintTwice: s.random.Float64() * 0.2, HintDelay: engine.Seconds(s.random.Int64N(60)), LinkCut: s.random.Float64() * 0.1}
	s.logf("%d nodes, %+v", len(names), s.Faults)
	for range 12 + s.random.IntN(14) {
		if err := s.act(); err != nil && s.breach == nil && !s.allowed(err) && !(s.governs && allowedToGovern(err)) {
			return err
		}
		if s.governs && s.random.IntN(3) > 0 {
			if err := s.govern(); err != nil && s.breach == nil && !s.allowed(err) && !allowedToGovern(err) {
				return err
			}
		}
		pause := engine.Time(s.random.Int64N(1 << (8 + s.random.IntN(10))))
		if err := s.Run(pause); err != nil {
			return err
		}
	}
	s.logf("healed")
	if err := s.HealAll(); err != nil {
		return err
	}
	// Who asked by a link of before a removal waits for a person.
	if err := s.Run(engine.Seconds(90)); err != nil {
		return err
	}
	for _, r := range s.founder.Engine.Requests() {
		s.logf("%s lets %s in", s.founder.Name, r.Name)
		if err := s.founder.Approve(r.Name); err != nil && s.breach == nil && !s.allowed(err) {
			return err
		}
	}
	if err := s.Run(healFor); err != nil {
		return err
	}
	return s.Check()
}

// allowed says whether a command may fail so: the phone is off or died, or the
// person does not know of what another one does.
func (s *scenario) allowed(err error) bool {
	for _, e := range []error{errOff, errDied, errNoOne, engine.ErrNotJoined, engine.ErrNotMember, engine.ErrMayNotPost,
		engine.ErrUnknown, engine.ErrLinkExpired} {
		if errors.Is(err, e) {
			return true
		}
	}
	// The feed says so of a cancelled notice.
	return strings.Contains(err.Error(), "cancel")
}

func (s *scenario) pick() *Node { return s.nodes[s.random.IntN(len(s.nodes))] }

// act does one thing that somebody in a group does, or that happens to a phone.
func (s *scenario) act() error {
	a, b := s.pick(), s.pick()
	switch x := s.random.IntN(100); {
	case x < 34:
		s.written++
		name := fmt.Sprintf("n%d", s.written)
		s.logf("%s posts %s", a.Name, name)
		return a.Post(name, "Corps.", 0)
	case x < 44:
		return s.change(a)
	case x < 50:
		s.join()
	case x < 58:
		s.Counts["one-way"]++
		s.logf("%s cannot dial %s", a.Name, b.Name)
		s.Cut(a, b)
	case x < 66:
		s.Counts["partition"]++
		s.logf("%s and %s are apart", a.Name, b.Name)
		s.Cut(a, b)
		s.Cut(b, a)
	case x < 70:
		s.logf("%s and %s are together again", a.Name, b.Name)
		s.Heal(a, b)
	case x < 76:
		a.crashIn = 1 + s.random.IntN(6)
	case x < 82:
		a.crashSent = 1 + s.random.IntN(6)
		if s.governs && s.random.IntN(3) == 0 {
			a.DieAt(a.crashSent, AmidSend)
		}
	case x < 86:
		s.logf("%s is off", a.Name)
		a.Stop()
	case x < 95:
		for _, n := range s.nodes {
			if n.off {
				s.logf("%s is on", n.Name)
				if err := n.Start(); err != nil {
					s.violate("%v", err)
					return err
				}
			}
		}
	case x < 96:
		s.Counts["days off"]++
		s.logf("%s is off for days", a.Name)
		a.Stop()
		// Who is away for longer than epochs are kept is added anew (spec 35).
		days := min(1+s.random.Int64N(9), s.awayMost-s.away)
		s.away += days
		return s.Run(engine.Seconds(days * protocol.DaySeconds))
	default:
		return s.remove(b)
	}
	return nil
}

func (s *scenario) change(a *Node) error {
	if s.written == 0 {
		return nil
	}
	name := fmt.Sprintf("n%d", 1+s.random.IntN(s.written))
	if s.random.IntN(4) == 0 {
		s.logf("%s cancels %s", a.Name, name)
		return a.Cancel(name, "Pluie.")
	}
	s.written++
	s.logf("%s edits %s", a.Name, name)
	err := a.Edit(name, fmt.Sprintf("Version %d.", s.written), 0)
	return err
}

func (s *scenario) join() {
	if len(s.outside) == 0 {
		return
	}
	n := s.outside[0]
	s.outside = s.outside[1:]
	s.logf("%s asks to join", n.Name)
	if s.random.IntN(4) == 0 {
		s.founder.crashIn = 1 + s.random.IntN(2) // in the middle of letting somebody in
	}
	if err := n.Join(s.link); err != nil {
		s.logf("%s: %v", n.Name, err)
	}
}

func (s *scenario) remove(x *Node) error {
	gone := 0
	for _, n := range s.nodes {
		if n.removed != 0 {
			gone++
		}
	}
	if x == s.founder || x.joined == 0 || x.removed != 0 || gone == 3 {
		return nil
	}
	s.logf("%s removes %s", s.founder.Name, x.Name)
	if err := s.founder.Remove(x); err != nil {
		return err
	}
	l, err := s.founder.Invite(engine.InviteParams{Uses: 20, AutoApprove: true}) // the other one lets nobody in by itself any more
	if err == nil {
		s.link = l
	}
	return err
}
