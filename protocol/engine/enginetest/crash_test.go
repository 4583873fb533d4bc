package enginetest

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

var crashStep = flag.Int("crashstep", 240, "of the deaths that a phone can die, TestCrashAtEveryWrite draws one in so many, beside those at first writes; 1 for all")

// sea is a group of three who organise and one who reads, and what is watched of
// it while phones die.
type sea struct {
	*World
	t                  *testing.T
	ana, ben, cam, dia *Node
	paper              identity.RecoveryKey
	spare              identity.DeviceKey // a second device of somebody, in nobody's hand
	sparePackage       protocol.ItemID
	commits            map[*Node]int
	signed             map[string]map[string]bool // what one number was used for
	lost               map[string]bool            // own operations and headers that died with their phone
	gen                uint32                     // of the epoch before a course
}

// number notes that something was made under a number that is for one thing.
func (s *sea) number(id string, format string, args ...any) {
	at := fmt.Sprintf(format, args...)
	if s.signed[at] == nil {
		s.signed[at] = map[string]bool{}
	}
	s.signed[at][id] = true
}

// watch looks at every row that anybody stores.
func (s *sea) watch(n *Node, b engine.Batch) {
	if b.Empty() {
		return
	}
	s.commits[n]++
	for _, r := range b.Puts {
		switch r.Table {
		case tableOfEpochs:
			h, err := epoch.ParseHeader(n.id, epochFrame(s.t, r.Value))
			must(s.t, err)
			s.number(h.ID().String(), "epoch %d of %v", h.Core.Seq, h.Device)
		case tableOfKeyFrames:
			f, err := protocol.ParseFrame(r.Value)
			must(s.t, err)
			if u, err := group.ParseKeyUpdate(f); err == nil {
				s.number(f.ID(n.id).String(), "key %d of %v", u.Counter, f.Device)
			}
		case rowsOfItems:
			o, c, err := protocol.ParseOriginal(r.Value)
			must(s.t, err)
			s.number(o.ID(n.id).String(), "message %d of %v", c.DevSeq, o.Device)
			s.number(o.ID(n.id).String(), "message key %v %d of %v", o.Epoch, o.Generation, o.Device)
		}
	}
}

// drown looks at a batch that is lost with its phone.
func (s *sea) drown(n *Node, b engine.Batch) {
	own := device(s.t, n).Public().ID()
	for _, r := range b.Puts {
		switch r.Table {
		case tableOfOps:
			if f, err := protocol.ParseFrame(r.Value); err == nil && f.Device == own {
				s.lost[string(r.Key)] = true
			}
		case tableOfEpochs:
			if f := epochFrame(s.t, r.Value); f.Device == own {
				if had, _ := n.Store.Get(tableOfEpochs, r.Key); had == nil {
					s.lost[string(r.Key)] = true
				}
			}
		}
	}
}

// insist gives a node a command until it is done, however often its phone dies.
// What was acknowledged is done after a start.
func (s *sea) insist(n *Node, done func() bool, command func() error) {
	s.t.Helper()
	acknowledged := false
	for range 5 {
		if n.off {
			must(s.t, s.Run(engine.Seconds(3)))
			must(s.t, n.Start())
		}
		if !n.live() {
			continue // it died again while it opened
		}
		if done() {
			return
		}
		if acknowledged {
			s.t.Errorf("%s lost what it had acknowledged", n.Name)
		}
		before := s.commits[n]
		err := command()
		if took := s.commits[n] - before; took > 1 {
			s.t.Errorf("a command took %d batches", took)
		}
		if err != nil && !errors.Is(err, errDied) && !errors.Is(err, errOff) {
			s.t.Fatal(err)
		}
		if acknowledged = err == nil; acknowledged && n.live() {
			return
		}
	}
	s.t.Errorf("%s could not be made to do it", n.Name)
}

// sail lets time pass. Whoever died is started again within some seconds.
func (s *sea) sail(d engine.Time) {
	s.t.Helper()
	for end := s.Now + d; s.Now < end; {
		must(s.t, s.Run(min(engine.Seconds(9), end-s.Now)))
		for _, n := range s.nodes {
			if n.off {
				must(s.t, n.Start())
			}
		}
	}
}

// decide lets one node propose and another one agree.
func (s *sea) decide(first, second *Node, decided func(n *Node) bool, propose func(n *Node) (engine.Proposed, error)) {
	s.t.Helper()
	say := func(n *Node) {
		s.insist(n, func() bool {
			return decided(n) || slices.ContainsFunc(n.Engine.Authority().Open, func(o engine.ProposalView) bool { return o.Voted })
		},
			func() error { _, err := propose(n); return err })
	}
	say(first)
	for range 20 { // who is suspended is heard a minute later
		if s.sail(engine.Seconds(20)); len(second.Engine.Authority().Open) > 0 {
			break
		}
	}
	say(second)
}

func (s *sea) suspends(n, x *Node) bool {
	return slices.ContainsFunc(n.Engine.Authority().Organisers, func(o engine.OrganiserView) bool { return o.ID == x.member && len(o.SuspendedBy) > 0 })
}

func (s *sea) has(n, x *Node) bool {
	return slices.ContainsFunc(n.Engine.Members(), func(m engine.MemberView) bool { return m.ID == x.member })
}

func (s *sea) organises(n, x *Node) bool {
	return slices.ContainsFunc(n.Engine.Members(), func(m engine.MemberView) bool { return m.ID == x.member && m.Role == group.Organiser })
}

func (s *sea) note(n *Node, title string) {
	s.t.Helper()
	s.insist(n, func() bool {
		_, err := n.See(title)
		return err == nil || n.Engine.Status().Unsent > 0 && n.Engine.Waiting()
	},
		func() error { return n.Post(title, "Corps.", 0) })
}

// course is a change of a group during which phones die.
type course struct {
	name    string
	prepare func(s *sea)
	do      func(s *sea)
	done    func(s *sea, n *Node) bool // as a member sees it at the end
	out     func(s *sea) []*Node       // who is not in the group at the end
}

func nobody(*sea) []*Node { return nil }

var courses = []course{
	{"suspend", nil, func(s *sea) {
		s.insist(s.ana, func() bool { return s.suspends(s.ana, s.cam) }, func() error { return s.ana.Suspend(s.cam) })
		s.cam.stopped = true
		s.note(s.ana, "sans cam")
	}, func(s *sea, n *Node) bool { return s.suspends(n, s.cam) && s.knows(n, "sans cam") }, func(s *sea) []*Node { return []*Node{s.cam} }},
	// An organiser who issued is started again, and issues again.
	{"again", nil, func(s *sea) {
		s.gen = s.ana.epoch()
		s.insist(s.ana, func() bool { return s.suspends(s.ana, s.cam) }, func() error { return s.ana.Suspend(s.cam) })
		s.cam.stopped = true
		s.sail(engine.Seconds(20))
		must(s.t, s.ana.reopen())
		s.insist(s.ana, func() bool { return !s.has(s.ana, s.dia) }, func() error { return s.ana.Remove(s.dia) })
		s.dia.gone()
		s.sail(engine.Seconds(60))
		s.note(s.ben, "à deux")
	}, func(s *sea, n *Node) bool { return !s.has(n, s.dia) && s.knows(n, "à deux") && n.epoch() >= s.gen+2 },
		func(s *sea) []*Node { return []*Node{s.cam, s.dia} }},
	{"remove", nil, func(s *sea) {
		s.insist(s.ana, func() bool { return !s.has(s.ana, s.dia) }, func() error { return s.ana.Remove(s.dia) })
		s.dia.gone()
		s.note(s.ben, "de ben")
	}, func(s *sea, n *Node) bool { return !s.has(n, s.dia) && s.knows(n, "de ben") }, func(s *sea) []*Node { return []*Node{s.dia} }},
	{"expel", nil, func(s *sea) {
		s.decide(s.ben, s.ana, func(n *Node) bool { return !s.has(n, s.cam) }, func(n *Node) (engine.Proposed, error) { return n.Expel(s.cam) })
		s.cam.gone()
		s.note(s.dia, "sans cam")
	}, func(s *sea, n *Node) bool { return !s.has(n, s.cam) && s.knows(n, "sans cam") }, func(s *sea) []*Node { return []*Node{s.cam} }},
	{"reinstate", func(s *sea) {
		must(s.t, s.ana.Suspend(s.cam))
		must(s.t, s.Run(engine.Seconds(150)))
	}, func(s *sea) {
		s.decide(s.cam, s.ben, func(n *Node) bool { return !s.suspends(n, s.cam) }, func(n *Node) (engine.Proposed, error) { return n.Reinstate(s.cam) })
		s.sail(engine.Seconds(200))
		s.note(s.cam, "retour")
	}, func(s *sea, n *Node) bool { return !s.suspends(n, s.cam) && s.knows(n, "retour") }, nobody},
	{"grant", nil, func(s *sea) {
		s.decide(s.ana, s.ben, func(n *Node) bool { return s.organises(n, s.dia) }, func(n *Node) (engine.Proposed, error) { return n.Organise(s.dia) })
	}, func(s *sea, n *Node) bool { return s.organises(n, s.dia) }, nobody},
	{"devices", func(s *sea) {
		id := addDevice(s.t, s.ana, s.ben, 6)
		s.spare = identity.DeviceKeyFromSeed([32]byte{6, 77})
		if s.spare.Public().ID() != id {
			s.t.Fatal("another device")
		}
		must(s.t, s.Run(engine.Seconds(90)))
	}, func(s *sea) {
		s.decide(s.cam, s.ana, func(n *Node) bool { return s.operates(n, s.spare.Public().ID()) }, func(n *Node) (engine.Proposed, error) {
			return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
				return e.SetDevices(now, s.ben.member.String(), []string{device(s.t, s.ben).Public().ID().String(), s.spare.Public().ID().String()})
			})
		})
	}, func(s *sea, n *Node) bool { return s.operates(n, s.spare.Public().ID()) }, nobody},
	{"paper", func(s *sea) {
		// Two organise, and there is a paper.
		s.paper = identity.RecoveryKeyFromSeed([32]byte{7})
		for _, f := range []func(n *Node) (engine.Proposed, error){
			func(n *Node) (engine.Proposed, error) { return n.Expel(s.cam) },
			func(n *Node) (engine.Proposed, error) {
				return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
					return e.SetRecovery(now, s.paper.Public())
				})
			}} {
			for _, n := range []*Node{s.ana, s.ben} {
				_, err := f(n)
				must(s.t, err)
				must(s.t, s.Run(engine.Seconds(20)))
			}
		}
		s.cam.gone()
		must(s.t, s.Run(engine.Seconds(120)))
	}, func(s *sea) {
		s.insist(s.ana, func() bool { return len(s.ana.Engine.Authority().Open) > 0 }, func() error { _, err := s.ana.Expel(s.ben); return err })
		s.sail(engine.Seconds(20))
		s.insist(s.dia, func() bool { return !s.has(s.dia, s.ben) }, func() error {
			_, err := s.dia.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
				open := e.Authority().Open
				if len(open) != 1 {
					return engine.Proposed{}, fmt.Errorf("%d proposals are open", len(open))
				}
				return e.RecoveryVote(now, open[0].ID.String(), s.paper)
			})
			return err
		})
		s.ben.gone()
		s.note(s.dia, "deux")
	}, func(s *sea, n *Node) bool { return !s.has(n, s.ben) && s.knows(n, "deux") }, func(s *sea) []*Node { return []*Node{s.ben, s.cam} }},
	{"heal", func(s *sea) {
		addDevice(s.t, s.ana, s.dia, 6)
		s.spare = identity.DeviceKeyFromSeed([32]byte{6, 77})
		for _, r := range s.ana.Store.rows[tableOfKeyFrames] {
			if f, err := protocol.ParseFrame(r.value); err == nil && f.Device == s.spare.Public().ID() {
				s.sparePackage = f.ID(s.ana.id)
			}
		}
		must(s.t, s.Run(engine.Seconds(90)))
		s.gen = s.ana.epoch()
	}, func(s *sea) {
		kem, err := epoch.NewKEMPrivate(newRandom(s.seed, "spare"))
		must(s.t, err)
		f := group.NewKeyUpdate(s.ana.id, s.spare, group.KeyUpdate{Counter: 1, Prev: s.sparePackage, KEM: kem.Public(),
			Lane: epoch.MailKeyFromSeed([32]byte{9}).Public(), Heal: true})
		id := f.ID(s.ana.id)
		s.insist(s.ben, func() bool { row, _ := s.ben.Store.Get(tableOfKeyFrames, id[:]); return row != nil }, func() error {
			if err := s.ben.hand(f); s.ben.off {
				return errDied
			} else {
				return err
			}
		})
		s.sail(engine.Seconds(120))
		s.note(s.ana, "guéri")
	}, func(s *sea, n *Node) bool { return s.knows(n, "guéri") && n.epoch() > s.gen }, nobody},
	{"period", func(s *sea) { must(s.t, s.Run(day-engine.Seconds(900))); s.gen = s.ana.epoch() }, func(s *sea) { s.sail(engine.Seconds(1500)); s.note(s.cam, "demain") },
		func(s *sea, n *Node) bool { return s.knows(n, "demain") && n.epoch() > s.gen }, nobody},
	{"leave", nil, func(s *sea) {
		s.insist(s.dia, func() bool { return s.dia.Engine.Status().Removed }, func() error { return s.dia.Leave() })
		s.dia.gone()
		s.sail(engine.Seconds(90))
		s.note(s.ana, "adieu")
	}, func(s *sea, n *Node) bool { return !s.has(n, s.dia) && s.knows(n, "adieu") }, func(s *sea) []*Node { return []*Node{s.dia} }},
}

// reopen ends a phone and starts it again; if it is to die at a write, it still is.
func (n *Node) reopen() error {
	in, sent, amid := n.crashIn, n.crashSent, n.crashAmid
	n.Stop()
	n.crashIn, n.crashSent, n.crashAmid = in, sent, amid
	return n.Start()
}

func (s *sea) knows(n *Node, title string) bool { _, err := n.See(title); return err == nil }

func (s *sea) operates(n *Node, d identity.DeviceID) bool {
	return slices.ContainsFunc(n.Engine.Authority().Organisers, func(o engine.OrganiserView) bool { return slices.Contains(o.Devices, d) })
}

// setSail makes the group, and prepares for a course.
func setSail(t *testing.T, c course, seed uint64) *sea {
	t.Helper()
	cryptotest.SetGlobalRandom(t, seed)
	w := NewWorld(seed)
	s := &sea{World: w, t: t, commits: map[*Node]int{}, signed: map[string]map[string]bool{}, lost: map[string]bool{}}
	s.ana, s.ben, s.cam, s.dia = w.Add("Ana"), w.Add("Ben"), w.Add("Cam"), w.Add("Dia")
	p := group.DefaultPolicy(10)
	p.PeriodDays = 1
	must(t, s.ana.Found("Jardin", p))
	l, err := s.ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	for _, n := range []*Node{s.ben, s.cam, s.dia} {
		must(t, n.Join(l))
	}
	must(t, w.Run(engine.Seconds(60)))
	for _, x := range []*Node{s.ben, s.cam} {
		for _, n := range []*Node{s.ana, s.ben} {
			if !s.organises(n, x) && s.organises(n, n) {
				_, err := n.Organise(x)
				must(t, err)
				must(t, w.Run(engine.Seconds(20)))
			}
		}
	}
	must(t, s.dia.Post("avant", "Corps.", 0))
	must(t, w.Run(engine.Seconds(100)))
	if c.prepare != nil {
		c.prepare(s)
	}
	must(t, w.breach)
	clear(s.commits)
	w.committed, w.gone = s.watch, s.drown
	return s
}

// land waits until all is quiet and checks that everybody came to the same.
func (s *sea) land(c course) (kinds map[string]int) {
	s.t.Helper()
	s.sail(engine.Seconds(600))
	if err := s.Check(); err != nil {
		s.t.Error(err)
	}
	out := c.out(s)
	var first *group.Log
	kinds = map[string]int{}
	for _, n := range s.nodes {
		if n.Engine.Frozen() {
			s.t.Errorf("%s takes itself for a copy", n.Name)
		}
		if slices.Contains(out, n) {
			continue
		}
		if !c.done(s, n) {
			s.t.Errorf("%s has not come to the end", n.Name)
		}
		l := logOf(s.t, n)
		if len(l.Evidence()) > 0 {
			s.t.Errorf("%s holds two operations with one number", n.Name)
		}
		if first == nil {
			first = l
		} else if a, b := first.ByPast(), l.ByPast(); !slices.Equal(a, b) {
			s.t.Errorf("%s holds %d operations, somebody else %d", n.Name, len(b), len(a))
		}
		for _, table := range []engine.Table{tableOfOps, tableOfEpochs} {
			for _, k := range n.Store.keys(table) {
				if s.lost[k] {
					s.t.Errorf("%s has what was lost before it was stored, in table %d", n.Name, table)
				}
			}
		}
	}
	for at, ids := range s.signed {
		if len(ids) > 1 {
			s.t.Errorf("%s was made %d times", at, len(ids))
		}
	}
	for _, id := range first.ByPast() {
		o, p, _ := first.Op(id)
		switch p := p.(type) {
		case group.Vote:
			at := fmt.Sprintf("vote of %v for %v", o.Member, p.Proposal)
			if kinds[at]++; kinds[at] > 1 {
				s.t.Errorf("a %s twice", at)
			}
			delete(kinds, at)
		case group.Merge:
		default:
			kinds[fmt.Sprintf("%T", p)]++
		}
	}
	return kinds
}

// TestCrashAtEveryWrite lets a phone die at each write that it makes while the
// group changes: before the write, after it, and in the midst of sending. It
// opens as before or as after; everybody comes to the end; nothing acknowledged
// is lost, nothing is done twice, and no number or key is used for two things.
func TestCrashAtEveryWrite(t *testing.T) {
	deaths, writes := 0, 0
	for _, c := range courses {
		t.Run(c.name, func(t *testing.T) {
			// Undisturbed, to know the writes; at each of them the phone would open
			// as it stands.
			s := setSail(t, c, 7)
			s.committed = func(n *Node, b engine.Batch) {
				s.watch(n, b)
				if b.Empty() {
					return
				}
				got, err := n.Reloaded()
				must(t, err)
				if want := View(n.Engine, n.Now()); got != want {
					t.Fatalf("at its write %d %s would open otherwise than it stands:\n%s", s.commits[n], n.Name, differ(want, got))
				}
			}
			c.do(s)
			s.sail(engine.Seconds(100))
			made := maps.Clone(s.commits)
			want := s.land(c)
			t.Logf("%d, %d, %d, %d writes", made[s.ana], made[s.ben], made[s.cam], made[s.dia])
			draw := rand.New(rand.NewPCG(7, uint64(len(c.name))))
			for who := range s.nodes {
				for write := 1; write <= made[s.nodes[who]]; write++ {
					for _, d := range []Death{BeforeCommit, BeforeSend, AmidSend} {
						if (write > 1 || d == AmidSend) && draw.IntN(*crashStep) != 0 {
							continue
						}
						s := setSail(t, c, 7)
						n := s.nodes[who]
						n.DieAt(write, d)
						c.do(s)
						if got := s.land(c); !maps.Equal(got, want) {
							t.Errorf("%v were signed, undisturbed it were %v", got, want)
						}
						if s.Counts["crash before commit"]+s.Counts["crash before sending"]+s.Counts["crash amid sending"] == 0 {
							t.Error("nobody died")
						}
						if t.Failed() {
							t.Fatalf("%s dies %s number %d", n.Name, d, write)
						}
						deaths++
					}
				}
				writes += made[s.nodes[who]]
			}
		})
	}
	t.Logf("%d deaths at %d writes", deaths, writes)
}
