package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// demoListen is where the phones of the demo listen: on this machine only.
var demoListen = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}

// demo tells a short story with real nodes, each a process of its own, and
// checks each thing that it claims: the everyday of a group or, if seized is set,
// a phone that is used against its group. keep, if not empty, is where the
// phones' folders stay.
func demo(out io.Writer, keep string, seized bool) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir := keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "palabre-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	s := &story{out: out, exe: exe, dir: dir}
	defer s.end()
	scenes := []func() error{s.groupForms, s.twoLanguages, s.meetingMoves, s.comesBack, s.withoutOrganiser, s.removed}
	if seized {
		scenes = (&seizedStory{story: s}).scenes()
	}
	for _, scene := range scenes {
		if err := scene(); err != nil {
			s.say("✗ %v", err)
			return err
		}
	}
	s.say("")
	s.say("Every line with a ✓ was checked as it was told.")
	if keep != "" {
		s.say("The phones' folders are in %s", dir)
	}
	return nil
}

// story is the people of the demo.
type story struct {
	out                      io.Writer
	exe, dir                 string
	env                      []string // NAME=VALUE for the phones
	awa, bilal, clara, dawit *person
	all                      []*person
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// holds tells a claim that was checked, or fails.
func (s *story) holds(ok bool, claim string, args ...any) error {
	if !ok {
		return fmt.Errorf(claim, args...)
	}
	s.say("  ✓ "+claim, args...)
	return nil
}

func (s *story) end() {
	for _, p := range s.all {
		p.kill()
	}
}

func (s *story) groupForms() error {
	s.say("Four phones. Awa founds a group, the others join by a link.")
	if err := s.gather("Awa", "Bilal", "Clara", "Dawit"); err != nil {
		return err
	}
	s.awa, s.bilal, s.clara, s.dawit = s.all[0], s.all[1], s.all[2], s.all[3]
	words := map[string]string{}
	for _, p := range s.all {
		var members []api.Member
		if err := p.until("four members", func() (bool, error) {
			err := p.do(&members, "members")
			return len(members) == len(s.all), err
		}); err != nil {
			return err
		}
		for _, m := range members {
			if w, seen := words[m.ID]; seen && w != m.Words {
				return errors.New("two phones show different safety words for one person")
			}
			words[m.ID] = m.Words
		}
	}
	return s.holds(len(words) == len(s.all), "all four phones show the same safety words for each person")
}

// gather switches phones on: the first one founds a group, the others join it.
func (s *story) gather(names ...string) error {
	for _, name := range names {
		p := newPerson(s.exe, s.dir, name)
		p.env = s.env
		if err := p.begin(); err != nil {
			return err
		}
		s.all = append(s.all, p)
		if err := p.on(demoListen...); err != nil {
			return err
		}
	}
	founder := s.all[0]
	if err := founder.do(nil, "group", "create", "Les voisins"); err != nil {
		return err
	}
	var invite api.Invite
	if err := founder.do(&invite, "invite", "--uses", fmt.Sprint(len(names)-1), "--auto-approve"); err != nil {
		return err
	}
	for _, p := range s.all[1:] {
		var j api.Joined
		if err := p.do(&j, "join", invite.Link); err != nil {
			return err
		}
		if err := s.holds(j.State == api.StateJoined, "%s is in the group", p.name); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) twoLanguages() error {
	s.say("Awa posts one announcement in French and Arabic.")
	arabic := filepath.Join(s.dir, "ar.txt")
	if err := os.WriteFile(arabic, []byte("توزيع الطعام\nغدا في الساعة السادسة مساء، في ساحة الكنيسة.\n"), 0o600); err != nil {
		return err
	}
	var posted api.Posted
	err := s.awa.do(&posted, "post", "announcement", "--title", "Distribution de repas", "--lang", "fr",
		"--body", "Demain à 18 h, place de l'église.", "--text", "ar="+arabic)
	if err != nil {
		return err
	}
	if _, err := s.bilal.reads(posted.ID, 1); err != nil {
		return err
	}
	var ar, fr api.Shown
	if err := s.bilal.do(&ar, "show", posted.ID, "--lang", "ar"); err != nil {
		return err
	}
	if err := s.holds(ar.Lang == "ar" && strings.Contains(ar.Body, "ساحة الكنيسة"), "Bilal reads it in Arabic: %s", ar.Title); err != nil {
		return err
	}
	if _, err := s.clara.reads(posted.ID, 1); err != nil {
		return err
	}
	if err := s.clara.do(&fr, "show", posted.ID, "--lang", "fr"); err != nil {
		return err
	}
	return s.holds(fr.Lang == "fr" && strings.Contains(fr.Body, "place de l'église"), "Clara reads it in French: %s", fr.Title)
}

func (s *story) meetingMoves() error {
	s.say("Awa calls a meeting, then it moves to another hour and place.")
	start := time.Now().UTC().Add(7 * 24 * time.Hour).Truncate(time.Hour)
	at := func(t time.Time) string { return t.Format(time.RFC3339) }
	var posted api.Posted
	err := s.awa.do(&posted, "post", "meeting", "--title", "Réunion des délégués", "--lang", "fr",
		"--start", at(start), "--end", at(start.Add(90*time.Minute)), "--tz", "Europe/Paris", "--place", "Salle bleue")
	if err != nil {
		return err
	}
	for _, p := range s.all[1:] {
		if _, err := p.reads(posted.ID, 1); err != nil {
			return err
		}
	}
	err = s.awa.do(nil, "edit", posted.ID, "--start", at(start.Add(time.Hour)), "--end", at(start.Add(150*time.Minute)), "--place", "Salle verte")
	if err != nil {
		return err
	}
	for _, p := range s.all[1:] {
		n, err := p.reads(posted.ID, 2)
		if err != nil {
			return err
		}
		ok := n.Meeting != nil && n.Meeting.Place == "Salle verte" && n.Meeting.Start == at(start.Add(time.Hour)) && n.Meeting.TZ == "Europe/Paris"
		if err := s.holds(ok, "%s sees the new hour and place, and that it is version 2", p.name); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) comesBack() error {
	s.say("Clara's phone is off for a while.")
	if err := s.clara.off(); err != nil {
		return err
	}
	var ids []string
	for _, title := range []string{"Nouvelle permanence juridique", "Attention aux faux messages"} {
		var posted api.Posted
		if err := s.bilal.do(&posted, "post", "announcement", "--title", title, "--body", "Détails dimanche.", "--lang", "fr"); err != nil {
			return err
		}
		ids = append(ids, posted.ID)
		if _, err := s.dawit.reads(posted.ID, 1); err != nil {
			return err
		}
	}
	if err := s.clara.on(demoListen...); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.clara.reads(id, 1); err != nil {
			return err
		}
	}
	return s.holds(true, "Clara is back and has both notices that she missed")
}

func (s *story) withoutOrganiser() error {
	s.say("Awa's phone, the one that founded the group, is off.")
	if err := s.awa.off(); err != nil {
		return err
	}
	var posted api.Posted
	if err := s.clara.do(&posted, "post", "announcement", "--title", "On continue", "--body", "La réunion est maintenue.", "--lang", "fr"); err != nil {
		return err
	}
	for _, p := range []*person{s.bilal, s.dawit} {
		if _, err := p.reads(posted.ID, 1); err != nil {
			return err
		}
	}
	if err := s.holds(true, "Bilal and Dawit get Clara's notice all the same: there is no server"); err != nil {
		return err
	}
	if err := s.awa.on(demoListen...); err != nil {
		return err
	}
	_, err := s.awa.reads(posted.ID, 1)
	return err
}

func (s *story) removed() error {
	s.say("Dawit is removed from the group.")
	var members []api.Member
	if err := s.awa.do(&members, "members"); err != nil {
		return err
	}
	for _, m := range members {
		if m.Name != s.dawit.name {
			continue
		}
		if err := s.awa.do(nil, "remove", m.ID); err != nil {
			return err
		}
	}
	var posted api.Posted
	if err := s.awa.do(&posted, "post", "announcement", "--title", "Nouveau lieu", "--body", "Rue des Lilas, au 4.", "--lang", "fr"); err != nil {
		return err
	}
	for _, p := range []*person{s.bilal, s.clara} {
		if _, err := p.reads(posted.ID, 1); err != nil {
			return err
		}
		if err := s.holds(true, "%s reads the new notice", p.name); err != nil {
			return err
		}
	}
	list, err := s.dawit.notices(true)
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.ID == posted.ID {
			return errors.New("a removed person can read a notice that came after the removal")
		}
	}
	return s.holds(len(list) > 0, "Dawit keeps the %d notices from before, and cannot read the new one", len(list))
}
