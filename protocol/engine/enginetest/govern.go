package enginetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// Govern carries out a command that may decide something about somebody.
func (n *Node) Govern(command func(e *engine.Engine, now engine.Time) (engine.Proposed, error)) (engine.Proposed, error) {
	var p engine.Proposed
	saved, err := n.do(func(e *engine.Engine, now engine.Time) (err error) {
		p, err = command(e, now)
		return err
	})
	return p, n.saved(saved, err, func() { n.w.noteGone() })
}

// Expel proposes to expel somebody, and to take back what is named.
func (n *Node) Expel(x *Node, repudiate ...string) (engine.Proposed, error) {
	return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.Expel(now, x.member.String(), repudiate)
	})
}

// Organise proposes to make somebody an organiser.
func (n *Node) Organise(x *Node) (engine.Proposed, error) {
	return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.GrantOrganiser(now, x.member.String())
	})
}

// Reinstate proposes to give somebody back.
func (n *Node) Reinstate(x *Node) (engine.Proposed, error) {
	return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.Reinstate(now, x.member.String())
	})
}

// Suspend stops an organiser. From then on nobody who knows writes for the target.
func (n *Node) Suspend(x *Node) error {
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.Suspend(now, x.member.String()) })
	return n.saved(saved, err, func() {
		if x.stopped = true; x.since == 0 {
			x.since = n.w.Now
		}
	})
}

// out says whether others may have shut the node out before all that it wrote
// was taken.
func (n *Node) out() bool { return n.removed != 0 || n.stopped }

// Leave says goodbye.
func (n *Node) Leave() error {
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.Leave(now) })
	return n.saved(saved, err, func() { n.gone() })
}

// gone notes that a node is out of the group, and what it has on the disk.
func (n *Node) gone() {
	if n.removed == 0 {
		n.removed, n.copied = n.w.Now, n.Store.Clone()
	}
}

// noteGone notes who is out by a decision that some organiser knows of.
func (w *World) noteGone() {
	for _, n := range w.nodes {
		n.noteGone()
	}
}

func (n *Node) noteGone() {
	if !n.live() || n.joined == 0 {
		return
	}
	for _, c := range n.Engine.Changes(0) {
		if c.Decision != group.DecideExpel || !c.Effective {
			continue
		}
		for _, x := range n.w.nodes {
			if x.member == c.Target && x.Store != nil && x.joined != 0 {
				x.gone()
			}
		}
	}
}

// suspendedBy lists the nodes that are suspended as this one sees it.
func (n *Node) suspended() []*Node {
	if !n.live() {
		return nil
	}
	var list []*Node
	for _, o := range n.Engine.Authority().Organisers {
		for _, x := range n.w.nodes {
			if len(o.SuspendedBy) > 0 && x.member == o.ID {
				list = append(list, x)
			}
		}
	}
	return list
}

// isSuspended says whether the node knows that it is suspended.
func (n *Node) isSuspended() bool { return n.live() && slices.Contains(n.suspended(), n) }

// Copy makes a node of what another one has on its disk, as who seizes a phone
// or restores it from a backup does.
func (w *World) Copy(n *Node, name string) (*Node, error) {
	x := w.Add(name)
	x.id, x.Store, x.joined, x.gen = n.id, n.Store.Clone(), n.joined, n.gen
	x.member, x.copy = n.member, true
	return x, x.Start()
}

func (w *World) byMember(id identity.MemberID) *Node {
	i := slices.IndexFunc(w.nodes, func(n *Node) bool { return n.member == id && !n.copy })
	if i < 0 {
		return &Node{Name: id.String()[:6]}
	}
	return w.nodes[i]
}

// decision puts a decision into words of a story, such as "expel ben".
func (w *World) decision(d group.Decision) string {
	switch d := d.(type) {
	case group.Expel:
		return "expel " + w.byMember(d.Target).Name
	case group.Reinstate:
		return "reinstate " + w.byMember(d.Target).Name
	case group.GrantOrganiser:
		return "organise " + w.byMember(d.Target).Name
	case group.SetDevices:
		return "devices " + w.byMember(d.Target).Name
	case group.SetRecovery:
		return "paper"
	}
	return "policy " + d.(group.SetPolicy).Policy.Posting.String()
}

// governing are the deeds of organisers in a story.
var governing = map[string]func(s *story, n *Node, args []string) error{
	"suspend": func(s *story, n *Node, args []string) error { return n.Suspend(s.person(args[0])) },
	"expel": func(s *story, n *Node, args []string) error {
		_, err := n.Expel(s.person(args[0]))
		return err
	},
	"reinstate": func(s *story, n *Node, args []string) error {
		_, err := n.Reinstate(s.person(args[0]))
		return err
	},
	"organise": func(s *story, n *Node, args []string) error {
		_, err := n.Organise(s.person(args[0]))
		return err
	},
	// vote expel ben: for the open proposal of these words.
	"vote": func(s *story, n *Node, args []string) error {
		id, err := s.proposal(n, args)
		if err != nil {
			return err
		}
		_, err = n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, id) })
		return err
	},
	// carry expel ben: brings the paper's voice.
	"carry": func(s *story, n *Node, args []string) error {
		id, err := s.proposal(n, args)
		if err != nil {
			return err
		}
		_, err = n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.RecoveryVote(now, id, s.paper)
		})
		return err
	},
	// paper: proposes a new paper, or with "none" to end it.
	"paper": func(s *story, n *Node, args []string) error {
		var key group.RecoveryPublic
		if !slices.Contains(args, "none") {
			var err error
			if s.paper, err = identity.NewRecoveryKey(n.random); err != nil {
				return err
			}
			key = s.paper.Public()
		}
		_, err := n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.SetRecovery(now, key) })
		return err
	},
	// policy posting-word period=1 keep=3
	"policy": func(s *story, n *Node, args []string) error {
		_, err := n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetPolicy(now, func(p group.Policy) group.Policy {
				if posting, err := group.ParsePosting(args[0]); err == nil {
					p.Posting = posting
				}
				if days, ok := option(args, "period"); ok {
					p.PeriodDays = uint8(days)
				}
				if days, ok := option(args, "keep"); ok {
					p.RetentionDays = uint8(days)
				}
				return p
			})
		})
		return err
	},
	"leave": func(s *story, n *Node, args []string) error { return n.Leave() },
	"confirm": func(s *story, n *Node, args []string) error {
		_, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.ConfirmAuthority(now) })
		return err
	},
	"copy": func(s *story, n *Node, args []string) error {
		x, err := s.Copy(n, args[0])
		s.people[args[0]] = x
		return err
	},
}

// proposal finds an open proposal by its words.
func (s *story) proposal(n *Node, words []string) (string, error) {
	if !n.live() {
		return "", errOff
	}
	for _, o := range n.Engine.Authority().Open {
		if s.decision(o.Decision) == strings.Join(words, " ") {
			return o.ID.String(), nil
		}
	}
	return "", fmt.Errorf("%w: proposal %q", errNoOne, words)
}

// governed are the sights of a story that concern organisers.
var governed = map[string]func(s *story, n *Node, args []string) error{
	"organisers": func(s *story, n *Node, args []string) error {
		var names []string
		for _, o := range n.Engine.Authority().Organisers {
			names = append(names, o.Name)
		}
		return wantSet(names, args)
	},
	"suspended": func(s *story, n *Node, args []string) error {
		var names []string
		for _, x := range n.suspended() {
			if !x.copy {
				names = append(names, x.Name)
			}
		}
		return wantSet(names, args)
	},
	// open expel ben 1 of 2: the only open proposal and its voices; "-": none.
	"open": func(s *story, n *Node, args []string) error {
		var list []string
		for _, o := range n.Engine.Authority().Open {
			list = append(list, fmt.Sprintf("%s %d of %d", s.decision(o.Decision), o.Have, o.Need))
		}
		if len(list) == 0 {
			list = []string{"-"}
		}
		slices.Sort(list)
		return want(strings.Join(list, ", "), args)
	},
	// change organise ben true: the newest change in words, and whether it has effect.
	"change": func(s *story, n *Node, args []string) error {
		list := n.Engine.Changes(1)
		if len(list) == 0 {
			return errNoOne
		}
		c := list[0]
		return want(fmt.Sprintf("%s kind %d/%d %t", s.byMember(c.Target).Name, c.Kind, c.Decision, c.Effective), args)
	},
	"alarm": func(s *story, n *Node, args []string) error {
		return want(fmt.Sprint(n.Engine.Status().AuthorityAlarm), args)
	},
	"waiting": func(s *story, n *Node, args []string) error { return want(fmt.Sprint(n.Engine.Waiting()), args) },
	// period ana 7: days until keys are renewed.
	"period": func(s *story, n *Node, args []string) error {
		return want(fmt.Sprint(n.Engine.Authority().Policy.PeriodDays), args)
	},
	// ops: how many operations it holds.
	"ops": func(s *story, n *Node, args []string) error {
		return want(fmt.Sprint(len(n.Store.rows[tableOfOperations])), args)
	},
	// heard: no operation was told of twice in one state, and there were so many events.
	"heard": func(s *story, n *Node, args []string) error {
		count := 0
		for _, ev := range n.Events {
			if ev.Kind == engine.EventKind(args[0]) {
				count++
			}
		}
		return want(fmt.Sprint(count), args[1:])
	},
}

const tableOfOperations = 2
