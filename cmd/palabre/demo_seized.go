package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// seizedStory tells how a group of three organisers overcomes the copy of one
// organiser's phone that is used against it.
type seizedStory struct {
	*story
	elena         *person
	ids           map[string]string // of members, by name
	undo          string            // the change that the copy made and that is taken back
	before, after string            // notices: before the phone was taken, and after it was put out
}

func (s *seizedStory) scenes() []func() error {
	return []func() error{s.begins, s.threeOrganise, s.isSeized, s.isStopped, s.isExpelled, s.isGivenBack, s.goesOn, s.newPhone}
}

func (s *seizedStory) begins() error {
	s.say("Five phones. Awa founds a group, the others join by a link.")
	if err := s.gather("Awa", "Bilal", "Clara", "Dawit", "Elena"); err != nil {
		return err
	}
	s.awa, s.bilal, s.clara, s.dawit, s.elena = s.all[0], s.all[1], s.all[2], s.all[3], s.all[4]
	for _, p := range s.all {
		p.patience = 5 * time.Minute // keys are renewed within a minute, and who was stopped asks once a minute
	}
	return s.awa.until("five members with their names", func() (bool, error) {
		var list []api.Member
		err := s.awa.do(&list, "members")
		s.ids = map[string]string{}
		for _, m := range list {
			if m.Name != "" {
				s.ids[m.Name] = m.ID
			}
		}
		return len(s.ids) == len(s.all), err
	})
}

func (s *seizedStory) threeOrganise() error {
	s.say("Awa asks that Bilal and Clara organise too.")
	if err := s.awa.do(nil, "grant", s.ids["Bilal"], "organiser"); err != nil {
		return err
	}
	if err := s.free(s.bilal, "Awa", "Bilal"); err != nil {
		return err
	}
	var p api.Proposed
	if err := s.awa.do(&p, "grant", s.ids["Clara"], "organiser"); err != nil {
		return err
	}
	if err := s.counts(p, 1, 2, 2); err != nil {
		return err
	}
	if err := s.agrees(s.bilal); err != nil {
		return err
	}
	for _, p := range s.all {
		if err := s.free(p, "Awa", "Bilal", "Clara"); err != nil {
			return err
		}
	}
	if err := s.holds(true, "all five phones show three organisers: Awa, Bilal and Clara"); err != nil {
		return err
	}
	var err error
	if s.before, err = s.posts(s.awa, "Réunion dimanche"); err != nil {
		return err
	}
	return s.read(s.before, s.all...)
}

func (s *seizedStory) isSeized() error {
	s.say("Clara's phone is taken from her. What is on it is copied, and the copy is used against the group.")
	if err := s.clara.off(); err != nil {
		return err
	}
	copied := filepath.Join(s.dir, "seized")
	if err := os.CopyFS(copied, os.DirFS(s.clara.dir)); err != nil {
		return err
	}
	s.clara.dir = copied
	if err := s.clara.on(demoListen...); err != nil {
		return err
	}
	if err := s.clara.do(nil, "suspend", s.ids["Awa"]); err != nil {
		return err
	}
	if err := s.clara.do(nil, "remove", s.ids["Dawit"]); err != nil {
		return err
	}
	if err := s.free(s.bilal, "Bilal", "Clara"); err != nil {
		return err
	}
	var changes []api.Change
	tells := func(what, target string) func() (bool, error) {
		return func() (bool, error) {
			err := s.bilal.do(&changes, "changes")
			i := slices.IndexFunc(changes, func(c api.Change) bool {
				return c.What == what && c.By.ID == s.ids["Clara"] && c.Target != nil && c.Target.ID == s.ids[target]
			})
			if i >= 0 {
				s.undo = changes[i].ID
			}
			return i >= 0, err
		}
	}
	if err := s.bilal.until("news of Awa", tells(api.ChangeSuspended, "Awa")); err != nil {
		return err
	}
	if err := s.holds(true, "Bilal's phone says: Clara suspended Awa"); err != nil {
		return err
	}
	if err := s.bilal.until("news of Dawit", tells(api.ChangeRemoved, "Dawit")); err != nil {
		return err
	}
	if err := s.holds(true, "Bilal's phone says: Clara removed Dawit"); err != nil {
		return err
	}
	return s.holds(s.clara.do(nil, "suspend", s.ids["Bilal"]) != nil, "the copy cannot stop Bilal as well: one organiser stops one at most")
}

func (s *seizedStory) isStopped() error {
	s.say("Bilal stops it at once, alone.")
	if err := s.bilal.do(nil, "suspend", s.ids["Clara"]); err != nil {
		return err
	}
	if err := s.free(s.elena, "Bilal"); err != nil {
		return err
	}
	if err := s.free(s.clara, "Bilal"); err != nil {
		return err
	}
	return s.holds(s.clara.do(nil, "remove", s.ids["Elena"]) != nil, "the copy is suspended: it can remove nobody any more")
}

func (s *seizedStory) isExpelled() error {
	s.say("Bilal proposes to expel it, and to take back what it did to Dawit.")
	var p api.Proposed
	if err := s.bilal.do(&p, "expel", s.ids["Clara"], "--undo", s.undo); err != nil {
		return err
	}
	if err := s.counts(p, 1, 2, 3); err != nil {
		return err
	}
	if err := s.agrees(s.awa); err != nil {
		return err
	}
	if err := s.holds(true, "Awa agrees: who is suspended still has a voice"); err != nil {
		return err
	}
	for _, p := range []*person{s.bilal, s.elena} {
		if err := p.until("Clara out and Dawit back", func() (bool, error) {
			in, err := s.members(p)
			return !in["Clara"] && in["Dawit"], err
		}); err != nil {
			return err
		}
		if err := s.holds(true, "%s sees Clara out of the group, and Dawit in it again", p.name); err != nil {
			return err
		}
	}
	return nil
}

func (s *seizedStory) isGivenBack() error {
	s.say("Awa gets back what the copy took from her.")
	if err := s.bilal.do(nil, "reinstate", s.ids["Awa"]); err != nil {
		return err
	}
	if err := s.agrees(s.awa); err != nil {
		return err
	}
	for _, p := range []*person{s.bilal, s.elena, s.awa} {
		if err := s.free(p, "Awa", "Bilal"); err != nil {
			return err
		}
	}
	return s.holds(true, "Awa and Bilal organise, neither is suspended")
}

func (s *seizedStory) goesOn() error {
	s.say("The keys have been renewed. The group goes on.")
	var err error
	if s.after, err = s.posts(s.bilal, "Nouvelle adresse"); err != nil {
		return err
	}
	if err := s.read(s.after, s.awa, s.elena); err != nil {
		return err
	}
	for _, args := range [][]string{{"suspend", s.ids["Bilal"]}, {"remove", s.ids["Elena"]}, {"expel", s.ids["Bilal"]}} {
		if err := s.clara.do(nil, args...); err == nil {
			return fmt.Errorf("the copy may %s somebody", args[0])
		}
	}
	last, err := s.posts(s.awa, "On continue")
	if err != nil {
		return err
	}
	if err := s.read(last, s.bilal, s.elena); err != nil {
		return err
	}
	list, err := s.clara.notices(true)
	if err != nil {
		return err
	}
	has := func(id string) bool { return slices.ContainsFunc(list, func(n api.Notice) bool { return n.ID == id }) }
	if err := s.holds(has(s.before) && !has(s.after) && !has(last), "the copy keeps what Clara had read, and reads nothing that came after"); err != nil {
		return err
	}
	in, err := s.members(s.elena)
	if err != nil {
		return err
	}
	return s.holds(len(in) == 4 && in["Elena"] && s.free(s.elena, "Awa", "Bilal") == nil, "nothing that the copy tried since has any effect")
}

func (s *seizedStory) newPhone() error {
	s.say("Clara has a new phone. Awa invites her again.")
	p := newPerson(s.exe, s.dir, "Clara-again")
	p.env = s.env
	if err := p.begin(); err != nil {
		return err
	}
	s.all = append(s.all, p)
	if err := p.on(demoListen...); err != nil {
		return err
	}
	var invite api.Invite
	if err := s.awa.do(&invite, "invite", "--auto-approve"); err != nil {
		return err
	}
	if err := p.do(nil, "join", invite.Link); err != nil {
		return err
	}
	id, err := s.posts(s.bilal, "Bon retour")
	if err != nil {
		return err
	}
	return s.read(id, p)
}

// posts sends an announcement and gives its id.
func (s *seizedStory) posts(p *person, title string) (string, error) {
	var posted api.Posted
	err := p.do(&posted, "post", "announcement", "--title", title, "--body", "Détails au local.", "--lang", "fr")
	if err == nil && posted.ID == "" {
		// Keys are being renewed: it goes by itself, and has its number then.
		err = p.until("the notice to go", func() (bool, error) {
			list, err := p.notices(true)
			i := slices.IndexFunc(list, func(n api.Notice) bool { return n.Title == title })
			if i >= 0 {
				posted.ID = list[i].ID
			}
			return i >= 0, err
		})
	}
	return posted.ID, err
}

func (s *seizedStory) read(id string, by ...*person) error {
	for _, p := range by {
		n, err := p.reads(id, 1)
		if err != nil {
			return err
		}
		if err := s.holds(true, "%s reads: %s", p.name, n.Title); err != nil {
			return err
		}
	}
	return nil
}

// free waits until a phone shows exactly these organisers as not suspended.
func (s *seizedStory) free(p *person, names ...string) error {
	return p.until(fmt.Sprintf("the organisers %v", names), func() (bool, error) {
		var o api.Organisers
		err := p.do(&o, "organisers")
		n := 0
		for _, x := range o.Organisers {
			if len(x.SuspendedBy) > 0 {
				continue
			}
			if !slices.ContainsFunc(names, func(name string) bool { return s.ids[name] == x.ID }) {
				return false, err
			}
			n++
		}
		return n == len(names), err
	})
}

// agrees waits until a phone asks for its owner's voice, and gives it.
func (s *seizedStory) agrees(p *person) error {
	var o api.Organisers
	if err := p.until("a question to its organisers", func() (bool, error) {
		err := p.do(&o, "organisers")
		return len(o.Open) == 1, err
	}); err != nil {
		return err
	}
	return p.do(nil, "vote", o.Open[0].ID)
}

func (s *seizedStory) counts(p api.Proposed, have, need, of int) error {
	if p.Effective {
		return errors.New("it is decided before enough organisers have agreed")
	}
	return s.holds(p.Have == have && p.Need == need && p.Of == of, "%d of %d organisers must agree: %d has", need, of, have)
}

func (s *seizedStory) members(p *person) (map[string]bool, error) {
	var list []api.Member
	err := p.do(&list, "members")
	in := map[string]bool{}
	for _, m := range list {
		for name, id := range s.ids {
			if id == m.ID {
				in[name] = true
			}
		}
	}
	return in, err
}
