package enginetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// Governing are the deeds that a set of drawn scenarios in which people govern
// must have had, each done at least once: names in World.Counts.
var Governing = []string{"organise", "voted", "decided", "suspended", "reinstate", "reinstated", "expel", "expelled", "period", "posting", "override",
	"paper", "paper ends", "paper votes", "author", "left", "device added", "device removed", "devices set", "asked for keys", "pinned", "taken down",
	"sent now", "restart", "crash before commit", "crash before sending", "crash amid sending", "removed tried"}

// governingDeeds are what organisers do, and others beside them, each as often as its weight
// says. A nil error counts the deed, errNoOne says that there was nothing to do.
var governingDeeds = []struct {
	name   string
	weight int
	do     func(s *scenario, a, b *Node) error
}{
	{"organise", 20, func(s *scenario, a, b *Node) error { return s.decides(a.Organise(b)) }},
	{"voted", 40, func(s *scenario, a, _ *Node) error {
		return s.onOpen(a, func(o engine.ProposalView) (engine.Proposed, error) {
			if o.Voted {
				return engine.Proposed{}, errNoOne
			}
			return a.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, o.ID.String()) })
		})
	}},
	{"suspended", 8, func(s *scenario, a, b *Node) error { return a.Suspend(b) }},
	{"reinstate", 8, func(s *scenario, a, _ *Node) error {
		if !a.live() {
			return errOff
		}
		for _, x := range a.suspended() {
			return s.decides(a.Reinstate(x))
		}
		return errNoOne
	}},
	{"expel", 6, func(s *scenario, a, b *Node) error {
		if s.gone() >= 2 {
			return errNoOne
		}
		return s.decides(a.Expel(b))
	}},
	{"period", 4, func(s *scenario, a, _ *Node) error {
		return s.policy(a, func(p *group.Policy) { p.PeriodDays = uint8(1 + s.random.IntN(7)) })
	}},
	{"posting", 4, func(s *scenario, a, _ *Node) error {
		return s.policy(a, func(p *group.Policy) {
			p.Posting = []group.Posting{group.PostAll, group.PostAuthors, group.PostAll}[s.random.IntN(3)]
		})
	}},
	{"override", 4, func(s *scenario, a, _ *Node) error {
		return s.policy(a, func(p *group.Policy) { p.AlertOverride = !p.AlertOverride })
	}},
	{"paper", 5, func(s *scenario, a, _ *Node) error {
		return s.decides(a.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetRecovery(now, s.paper.Public())
		}))
	}},
	{"paper ends", 1, func(s *scenario, a, _ *Node) error {
		return s.decides(a.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetRecovery(now, group.RecoveryPublic{})
		}))
	}},
	{"paper votes", 10, func(s *scenario, a, _ *Node) error {
		return s.onOpen(a, func(o engine.ProposalView) (engine.Proposed, error) {
			if !o.PaperMay || o.Paper {
				return engine.Proposed{}, errNoOne
			}
			return a.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
				return e.RecoveryVote(now, o.ID.String(), s.paper)
			})
		})
	}},
	{"author", 5, func(s *scenario, a, b *Node) error { return a.Grant(b) }},
	{"left", 2, func(s *scenario, _, b *Node) error {
		if s.gone() >= 2 {
			return errNoOne
		}
		return b.Leave()
	}},
	{"device added", 6, func(s *scenario, a, b *Node) error {
		if a == b || len(s.spares) >= 3 {
			return errNoOne
		}
		x, err := s.addSpare(a, b)
		if err != nil || x == nil {
			return errors.Join(err, errNoOne)
		}
		s.spares = append(s.spares, x)
		return nil
	}},
	{"device removed", 4, func(s *scenario, a, _ *Node) error {
		for i, x := range s.spares {
			if s.random.IntN(2) == 0 && i+1 < len(s.spares) {
				continue
			}
			saved, err := a.do(func(e *engine.Engine, now engine.Time) error {
				return e.RemoveDevice(now, x.key.Public().ID().String())
			})
			return a.saved(saved, err, func() {})
		}
		return errNoOne
	}},
	{"devices set", 6, func(s *scenario, a, _ *Node) error {
		for _, x := range s.spares {
			_, device, err := x.owner.own()
			if err != nil {
				return err
			}
			list := []string{device.Public().ID().String(), x.key.Public().ID().String()}
			return s.decides(a.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
				return e.SetDevices(now, x.owner.member.String(), list)
			}))
		}
		return errNoOne
	}},
	{"asked for keys", 4, func(s *scenario, a, _ *Node) error {
		for _, x := range s.spares {
			if !x.asked && a.live() && a.joined != 0 {
				if err := s.askForKeys(a, x); err != nil || !x.asked {
					return errors.Join(err, errNoOne)
				}
				return nil
			}
		}
		return errNoOne
	}},
	{"pinned", 8, func(s *scenario, a, _ *Node) error { return s.pin(a, true) }},
	{"taken down", 6, func(s *scenario, a, _ *Node) error { return s.pin(a, false) }},
	{"sent now", 15, func(s *scenario, a, _ *Node) error { return s.alertNow(a) }},
}

// govern does one thing that organisers do. The founder, who lets people in and
// removes them, stays out of it as a target: whom an organiser added who is
// stopped may fall out with him.
func (s *scenario) govern() error {
	for range 6 { // until there is something to do
		err := s.governOnce()
		if err == nil || !errors.Is(err, errNoOne) && !errors.Is(err, errOff) && !allowedToGovern(err) {
			return err
		}
	}
	return nil
}

func (s *scenario) governOnce() error {
	a, b := s.pick(), s.pick()
	for range 4 {
		if s.random.IntN(8) > 0 && !(a.isIn() && a.organises()) {
			a = s.pick()
		}
	}
	if b == s.founder || b.joined == 0 || b.removed != 0 || a.joined == 0 || a.removed != 0 {
		return errNoOne
	}
	all := 0
	for _, d := range governingDeeds {
		all += d.weight
	}
	at := s.random.IntN(all)
	for _, d := range governingDeeds {
		if at -= d.weight; at >= 0 {
			continue
		}
		err := d.do(s, a, b)
		if err == nil {
			s.Counts[d.name]++
			s.logf("%s: %s, %s", a.Name, d.name, b.Name)
		}
		return err
	}
	return nil
}

// assemble lets more people in and makes organisers of some, before anything goes
// wrong.
func (s *scenario) assemble() error {
	for range 2 {
		s.join()
		if err := s.Run(engine.Seconds(15)); err != nil {
			return err
		}
		for _, n := range s.nodes {
			if n.off {
				if err := n.Start(); err != nil {
					return err
				}
			}
		}
	}
	for _, b := range s.nodes[1 : 2+s.random.IntN(2)] {
		if _, err := s.founder.Organise(b); err != nil && !s.allowed(err) && !allowedToGovern(err) {
			return err
		}
		if err := s.Run(engine.Seconds(5)); err != nil {
			return err
		}
		for _, n := range s.nodes {
			if !n.isIn() {
				continue
			}
			for _, o := range n.Engine.Authority().Open {
				if _, err := n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, o.ID.String()) }); err != nil && !allowedToGovern(err) {
					return err
				}
			}
		}
		if err := s.Run(engine.Seconds(5)); err != nil {
			return err
		}
	}
	return s.breach
}

func (s *scenario) gone() (count int) {
	for _, n := range s.nodes {
		if n.removed != 0 {
			count++
		}
	}
	return count
}

// decides counts what a command decided.
func (s *scenario) decides(p engine.Proposed, err error) error {
	if err == nil && p.Effective {
		s.Counts["decided"]++
	}
	return err
}

// onOpen does something about one of the open proposals that a sees.
func (s *scenario) onOpen(a *Node, do func(o engine.ProposalView) (engine.Proposed, error)) error {
	if !a.live() || !a.Engine.Joined() {
		return errOff
	}
	for _, o := range a.Engine.Authority().Open {
		p, err := do(o)
		if errors.Is(err, errNoOne) {
			continue
		}
		if err == nil && p.Effective {
			s.logf("%s decided: %s", a.Name, s.decision(o.Decision))
			switch o.Decision.(type) {
			case group.Reinstate:
				s.Counts["reinstated"]++
			case group.Expel:
				s.Counts["expelled"]++
			}
		}
		return s.decides(p, err)
	}
	return errNoOne
}

func (s *scenario) policy(a *Node, change func(p *group.Policy)) error {
	return s.decides(a.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.SetPolicy(now, func(p group.Policy) group.Policy { change(&p); return p })
	}))
}

// pin puts a notice on top, or takes one down.
func (s *scenario) pin(a *Node, up bool) error {
	if !a.live() {
		return errOff
	}
	for _, v := range a.Engine.Notices(a.Now(), nil, false) {
		if v.Pinned == up || up && s.random.IntN(2) == 0 {
			continue
		}
		saved, err := a.do(func(e *engine.Engine, now engine.Time) error {
			_, err := e.Pin(now, v.Notice.String(), up)
			return err
		})
		return a.saved(saved, err, func() { a.changed(v.Title, a.epoch(), 0) })
	}
	return errNoOne
}

// alertNow sends an alert while the keys are being renewed, to whoever can read it.
func (s *scenario) alertNow(a *Node) error {
	if !a.live() || !a.Engine.Joined() {
		return errOff
	}
	r, held := a.Engine.Readers()
	if !held || !r.Allowed || !r.Able {
		return errNoOne
	}
	s.written++
	p := &post{name: fmt.Sprintf("n%d", s.written), author: a, at: s.Now, expires: s.Now + engine.Seconds(protocol.MaxNoticeSeconds)}
	p.without = slices.DeleteFunc(a.knownRemoved(), func(x *Node) bool { return slices.Contains(r.Removed, x.member) })
	x := announcement(p.name, "Corps.")
	x.Urgency = feed.Alert
	saved, err := a.do(func(e *engine.Engine, now engine.Time) error {
		posted, err := e.PostNow(now, x, 0, len(r.Removed))
		p.id = posted.ID
		return err
	})
	return a.saved(saved, err, func() { s.posts = append(s.posts, p) })
}

// allowedToGovern says whether a command of a drawn scenario may fail so:
// somebody else was quicker, or it is not possible.
func allowedToGovern(err error) bool {
	for _, e := range []error{engine.ErrNotOrganiser, engine.ErrAlready, engine.ErrStopped, engine.ErrNoVoice, engine.ErrDecided,
		engine.ErrImpossible, engine.ErrSuspended, engine.ErrOneSuspend, engine.ErrGivenBack, engine.ErrNoOrganiser, engine.ErrOrganiser,
		engine.ErrSelf, engine.ErrNotSuspended, engine.ErrLeave, engine.ErrPaper, engine.ErrPaperMayNot, engine.ErrOutOfBounds, engine.ErrNoKeys} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
