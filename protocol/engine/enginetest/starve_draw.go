package enginetest

import (
	"errors"
	"fmt"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// gather founds a group, lets people in and has them make organisers of some, all
// connected.
func (s *hunger) gather() error {
	organisers := []string{"Ana", "Ben", "Cam", "Dia", "Eli"}[:2+s.random.IntN(4)]
	readers := []string{"Fay", "Gil", "Hal", "Ida"}[:1+s.random.IntN(3)]
	s.policy = group.DefaultPolicy(10)
	s.policy.PeriodDays = uint8(1 + s.random.IntN(7))
	if s.random.IntN(4) == 0 {
		s.policy.Posting = group.PostAuthors
	}
	s.policy.HighRisk = s.risk
	founder := s.Add(organisers[0])
	if err := founder.Found("Jardin", s.policy); err != nil {
		return err
	}
	link, err := founder.Invite(engine.InviteParams{Uses: 20, AutoApprove: true})
	if err != nil {
		return err
	}
	s.founders = []*Node{founder}
	for _, name := range append(organisers[1:], readers...) {
		n := s.Add(name)
		if err := n.Join(link); err != nil {
			return err
		}
		s.founders = append(s.founders, n)
	}
	if err := s.Run(engine.Seconds(20)); err != nil {
		return err
	}
	for _, n := range s.founders[1:len(organisers)] {
		if _, err := founder.Organise(n); err != nil {
			return err
		}
		if err := s.Run(engine.Seconds(5)); err != nil {
			return err
		}
		s.voteAll(func(*Node) bool { return true })
		if err := s.Run(engine.Seconds(5)); err != nil {
			return err
		}
	}
	if err := s.Run(engine.Seconds(120)); err != nil {
		return err
	}
	if got := len(founder.Engine.Authority().Organisers); got != len(organisers) {
		return fmt.Errorf("%d organisers instead of %d", got, len(organisers))
	}
	if s.risk {
		s.policy.PeriodDays = 1
	}
	s.logf("%d organisers, %d others, keys for %d days", len(organisers), len(readers), s.policy.PeriodDays)
	return nil
}

// part draws who reaches whom, and lets everybody act for a while.
func (s *hunger) part() error {
	clear(s.cuts)
	islands := 1 + s.random.IntN(3)
	for _, n := range s.nodes {
		s.island[n] = s.random.IntN(islands)
		if n.off {
			if err := n.Start(); err != nil {
				return err
			}
		}
		s.logf("%s is on island %d", n.Name, s.island[n])
	}
	for i, a := range s.nodes {
		for _, b := range s.nodes[i+1:] {
			if s.island[a] != s.island[b] || s.random.IntN(8) == 0 {
				s.Counts["apart"]++
				s.Cut(a, b)
				s.Cut(b, a)
			}
		}
	}
	added, renewed := map[int]bool{}, map[int]bool{}
	for range 3 + s.random.IntN(6) {
		before := map[string]int{}
		for k, v := range s.Counts {
			before[k] = v
		}
		at, err := s.deed()
		if err != nil && s.breach == nil && !s.mayFail(err) {
			return err
		}
		added[at] = added[at] || s.Counts["added"] > before["added"]
		renewed[at] = renewed[at] || s.Counts["removed"] > before["removed"] || s.Counts["suspended"] > before["suspended"]
		for i := range islands {
			for j := range islands {
				if i != j && added[i] && renewed[j] {
					s.Counts["added and renewed apart"]++
				}
			}
		}
		// From a moment to a minute and a half.
		if err := s.Run(engine.Time(100 + s.random.Int64N(1<<(7+s.random.IntN(11))))); err != nil {
			return err
		}
	}
	return nil
}

func (s *hunger) mayFail(err error) bool {
	for _, e := range []error{errOff, errDied, errNoOne, engine.ErrNotJoined, engine.ErrNotMember, engine.ErrMayNotPost, engine.ErrUnknown,
		engine.ErrLeave, engine.ErrNotSuspended, engine.ErrSelf} {
		if errors.Is(err, e) {
			return true
		}
	}
	return allowedToGovern(err)
}

// deed does one thing somewhere, and returns on which island.
func (s *hunger) deed() (int, error) {
	a, b := s.someone((*Node).organises), s.someone((*Node).isIn)
	if a == nil || b == nil {
		return 0, nil
	}
	at := s.island[a]
	switch x := s.random.IntN(100); {
	case x < 22:
		return at, s.add(a)
	case x < 37:
		if s.removals >= 3 || b.organises() {
			return at, nil
		}
		s.logf("%s removes %s", a.Name, b.Name)
		if err := a.Remove(b); err != nil {
			return at, err
		}
		s.removals++
		s.Counts["removed"]++
	case x < 40:
		if b.organises() || s.removals >= 3 {
			return at, nil
		}
		s.logf("%s leaves", b.Name)
		if err := b.Leave(); err != nil {
			return at, err
		}
		s.removals++
		s.Counts["left"]++
	case x < 46:
		s.logf("%s lets %s post", a.Name, b.Name)
		s.Counts["author"]++
		return at, a.Grant(b)
	case x < 53:
		s.logf("%s would have %s organise", a.Name, b.Name)
		s.Counts["proposed"]++
		_, err := a.Organise(b)
		return at, s.then(at, err)
	case x < 60 && a != b && b.organises():
		s.logf("%s suspends %s", a.Name, b.Name)
		if err := a.Suspend(b); err != nil {
			return at, err
		}
		s.Counts["suspended"]++
	case x < 70:
		for _, c := range a.suspended() {
			s.logf("%s would give %s back", a.Name, c.Name)
			s.Counts["reinstate"]++
			_, err := a.Reinstate(c)
			return at, s.then(at, err)
		}
	case x < 73 && a != b:
		s.logf("%s would expel %s", a.Name, b.Name)
		s.Counts["expel"]++
		_, err := a.Expel(b)
		return at, s.then(at, err)
	case x < 79:
		if s.days >= 18 {
			return at, nil
		}
		days := 1 + s.random.Int64N(8)
		s.days += days
		s.Counts["days"]++
		s.logf("%d days pass", days)
		return at, s.passDays(days)
	case x < 83:
		s.logf("%s is off", b.Name)
		s.Counts["off"]++
		b.Stop()
	default:
		s.written++
		s.logf("%s posts n%d", b.Name, s.written)
		s.Counts["posted"]++
		return at, b.Post(fmt.Sprintf("n%d", s.written), "Corps.", 0)
	}
	return at, nil
}

// passDays lets days pass, on each of which the phones that are on wake for a few
// minutes.
func (s *hunger) passDays(days int64) error {
	for range days {
		gates := map[*Node]*engine.Gate{}
		for _, n := range s.nodes {
			if n.live() {
				n.still = n.Now()
				for len(n.links) > 0 {
					n.links[0].end()
				}
			}
		}
		for _, n := range s.nodes {
			if n.live() {
				gates[n], n.gate = n.gate, nil
			}
		}
		if err := s.Run(engine.Seconds(protocol.DaySeconds) - s.daily()); err != nil {
			return err
		}
		for _, n := range s.nodes {
			if g, ok := gates[n]; ok {
				n.gate = g
				n.start()
			}
		}
		if err := s.Run(s.daily()); err != nil {
			return err
		}
	}
	return nil
}

// daily is for how long the phones wake each day: at high risk until those of an
// island take keys for replaced that they have not used for three days.
func (s *hunger) daily() engine.Time {
	if s.risk {
		return engine.Seconds(700)
	}
	return wakeUp
}

// then lets who is on the island hear of a proposal and vote.
func (s *hunger) then(at int, err error) error {
	if err != nil || s.random.IntN(4) == 0 {
		return err
	}
	if err := s.Run(engine.Seconds(5)); err != nil {
		return err
	}
	s.voteAll(func(n *Node) bool { return s.island[n] == at })
	return nil
}

// voteAll has everybody for whom it holds vote for all that is open.
func (s *hunger) voteAll(who func(n *Node) bool) {
	for _, n := range s.nodes {
		if !n.live() || n.joined == 0 || !who(n) {
			continue
		}
		for _, o := range n.Engine.Authority().Open {
			if o.Voted {
				continue
			}
			_, err := n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, o.ID.String()) })
			if err == nil {
				s.logf("%s votes: %s", n.Name, s.decision(o.Decision))
				s.Counts["voted"]++
			}
		}
	}
}

// add lets somebody new join by a link of a, on a's island.
func (s *hunger) add(a *Node) error {
	if s.joined == 5 {
		return nil
	}
	link, err := a.Invite(engine.InviteParams{Uses: 1, AutoApprove: true})
	if err != nil {
		return err
	}
	s.joined++
	s.Counts["added"]++
	n := s.Add(fmt.Sprintf("New%d", s.joined))
	s.island[n] = s.island[a]
	for _, x := range s.nodes {
		if s.island[x] != s.island[n] {
			s.Cut(x, n)
			s.Cut(n, x)
		}
	}
	s.logf("%s asks %s to let it in", n.Name, a.Name)
	if err := n.Join(link); err != nil {
		return err
	}
	if s.random.IntN(3) == 0 {
		return nil // other things happen before it is in
	}
	return s.Run(engine.Seconds(10))
}

// someone draws a node of which something holds; nil: there is none.
func (s *hunger) someone(is func(*Node) bool) *Node {
	var list []*Node
	for _, n := range s.nodes {
		if is(n) {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[s.random.IntN(len(list))]
}
