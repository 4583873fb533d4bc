package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// story is a script that runs, one verb a line. What follows # is a comment;
// "fails" before a line says that the command is refused.
type story struct {
	*World
	people map[string]*Node
	links  map[string]protocol.Link
	paper  identity.RecoveryKey
}

// RunStory runs a script. The error names file and line.
func RunStory(name, text string, seed uint64) error {
	s := &story{World: NewWorld(seed), people: map[string]*Node{}, links: map[string]protocol.Link{}}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		fails := words[0] == "fails"
		if fails {
			words = words[1:]
		}
		err := s.line(words)
		if fails && err != nil && !errors.Is(err, errStory) {
			err = nil
		} else if fails && err == nil {
			err = errors.New("it did not fail")
		}
		if err == nil {
			err = s.breach
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", name, i+1, strings.Join(words, " "), err)
		}
	}
	return nil
}

// errStory says that the script itself is wrong.
var errStory = errors.New("the story is wrong")

func (s *story) line(words []string) error {
	verb, args := words[0], words[1:]
	switch verb {
	case "run":
		d, err := span(args)
		if err != nil {
			return err
		}
		return s.Run(d)
	case "agree":
		return s.Check()
	}
	if len(args) == 0 {
		return fmt.Errorf("%w: whose %s", errStory, verb)
	}
	n := s.person(args[0])
	do, ok := deeds[verb]
	if !ok {
		do, ok = governing[verb]
	}
	if ok {
		return do(s, n, args[1:])
	}
	see, ok := sights[verb]
	if !ok {
		see, ok = governed[verb]
	}
	if ok {
		if !n.live() {
			return errOff
		}
		return see(s, n, args[1:])
	}
	return fmt.Errorf("%w: there is no verb %s", errStory, verb)
}

func (s *story) person(name string) *Node {
	if s.people[name] == nil {
		s.people[name] = s.Add(name)
	}
	return s.people[name]
}

// span reads a time such as 20s, 5m or 3d.
func span(args []string) (engine.Time, error) {
	if len(args) != 1 {
		return 0, fmt.Errorf("%w: how long", errStory)
	}
	if days, ok := strings.CutSuffix(args[0], "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		return engine.Seconds(n * protocol.DaySeconds), err
	}
	d, err := time.ParseDuration(args[0])
	return engine.Time(d.Milliseconds()), err
}

// option reads a word such as uses=3.
func option(args []string, name string) (int64, bool) {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// deeds are what people do and what happens to phones.
var deeds = map[string]func(s *story, n *Node, args []string) error{
	"found": func(s *story, n *Node, args []string) error {
		p := group.DefaultPolicy(10)
		if len(args) > 0 {
			posting, err := group.ParsePosting(args[0])
			if err != nil {
				return errors.Join(errStory, err)
			}
			p.Posting = posting
		}
		if days, ok := option(args, "keep"); ok {
			p.RetentionDays = uint8(days)
		}
		return n.Found("Jardin", p)
	},
	"invite": func(s *story, n *Node, args []string) error {
		p := engine.InviteParams{AutoApprove: slices.Contains(args, "auto")}
		uses, _ := option(args, "uses")
		hours, _ := option(args, "hours")
		p.Uses, p.Seconds = int(uses), hours*3600
		l, err := n.Invite(p)
		s.links[args[0]] = l
		return err
	},
	"join":    func(s *story, n *Node, args []string) error { return n.Join(s.links[args[0]]) },
	"approve": func(s *story, n *Node, args []string) error { return n.Approve(args[0]) },
	"remove":  func(s *story, n *Node, args []string) error { return n.Remove(s.person(args[0])) },
	"grant":   func(s *story, n *Node, args []string) error { return n.Grant(s.person(args[0])) },
	"post": func(s *story, n *Node, args []string) error {
		days, _ := option(args, "days")
		return n.Post(args[0], "Corps.", days*protocol.DaySeconds)
	},
	"burst": func(s *story, n *Node, args []string) error {
		count, err := strconv.Atoi(args[0])
		for i := range count {
			if err == nil {
				err = n.Post(fmt.Sprintf("b%d", i+1), "Corps.", 0)
			}
		}
		return err
	},
	"edit": func(s *story, n *Node, args []string) error {
		days, _ := option(args, "days")
		return n.Edit(args[0], args[1], days*protocol.DaySeconds)
	},
	"cancel": func(s *story, n *Node, args []string) error { return n.Cancel(args[0], "Pluie.") },
	"off":    func(s *story, n *Node, args []string) error { n.Stop(); return nil },
	"on":     func(s *story, n *Node, args []string) error { return n.Start() },
	"dies": func(s *story, n *Node, args []string) error {
		if slices.Contains(args, "unsaved") {
			n.crashIn = 1
		} else {
			n.crashSent = 1
		}
		return nil
	},
	"cut": func(s *story, n *Node, args []string) error {
		s.Cut(n, s.person(args[0]))
		s.Cut(s.person(args[0]), n)
		return nil
	},
	"heal": func(s *story, n *Node, args []string) error { s.Heal(n, s.person(args[0])); return nil },
	"skew": func(s *story, n *Node, args []string) (err error) { n.Skew, err = span(args); return err },
}

// sights are what people see.
var sights = map[string]func(s *story, n *Node, args []string) error{
	"joined": func(s *story, n *Node, args []string) error {
		return want(fmt.Sprint(n.Engine.Joined()), args)
	},
	"removed": func(s *story, n *Node, args []string) error {
		return want(fmt.Sprint(n.Engine.Status().Removed), args)
	},
	"requests": func(s *story, n *Node, args []string) error {
		var names []string
		for _, r := range n.Engine.Requests() {
			names = append(names, r.Name)
		}
		return wantSet(names, args)
	},
	"shows": func(s *story, n *Node, args []string) error {
		var names []string
		for _, v := range n.Engine.Notices(n.Now(), nil, false) {
			names = append(names, v.Title)
		}
		return wantSet(names, args)
	},
	"members": func(s *story, n *Node, args []string) error {
		var names []string
		for _, m := range n.Engine.Members() {
			names = append(names, m.Name)
		}
		return wantSet(names, args)
	},
	"role": func(s *story, n *Node, args []string) error {
		for _, m := range n.Engine.Members() {
			if m.Name == args[0] {
				return want(m.Role.String(), args[1:])
			}
		}
		return errNoOne
	},
	"text": func(s *story, n *Node, args []string) error {
		v, err := n.See(args[0])
		if err != nil {
			return err
		}
		return want(v.Body, args[1:])
	},
	"is": func(s *story, n *Node, args []string) error {
		v, err := n.See(args[0])
		if err != nil {
			return err
		}
		return want(string(v.Status), args[1:])
	},
	"epoch":   func(s *story, n *Node, args []string) error { return want(fmt.Sprint(n.epoch()), args) },
	"missing": func(s *story, n *Node, args []string) error { return want(fmt.Sprint(n.Engine.Status().Missing), args) },
	"unsent":  func(s *story, n *Node, args []string) error { return want(fmt.Sprint(n.Engine.Status().Unsent), args) },
	"counts": func(s *story, n *Node, args []string) error {
		return want(fmt.Sprint(len(n.Engine.Notices(n.Now(), nil, true))), args)
	},
	// told first second: it was told of the first notice before the second.
	"told": func(s *story, n *Node, args []string) error {
		at := func(name string) int {
			for _, p := range s.posts {
				if p.name == name {
					return slices.IndexFunc(n.Events, func(ev engine.Event) bool {
						return ev.Kind == engine.EventNotice && ev.ID == p.id.String()
					})
				}
			}
			return -1
		}
		if a, b := at(args[0]), at(args[1]); a < 0 || b < 0 || a > b {
			return fmt.Errorf("told of them as number %d and %d", a, b)
		}
		return nil
	},
	// rows table count: how many rows the storage holds (spec 65 section 7).
	"rows": func(s *story, n *Node, args []string) error {
		table, err := strconv.ParseUint(args[0], 10, 8)
		if err != nil {
			return errors.Join(errStory, err)
		}
		return want(fmt.Sprint(len(n.Store.rows[engine.Table(table)])), args[1:])
	},
	// keeps title: the text is in some row of the storage.
	"keeps": func(s *story, n *Node, args []string) error {
		for _, rows := range n.Store.rows {
			for _, r := range rows {
				if strings.Contains(string(r.value), args[0]) {
					return nil
				}
			}
		}
		return errNoOne
	},
}

func want(got string, args []string) error {
	if w := strings.Join(args, " "); got != w {
		return fmt.Errorf("it is %s", got)
	}
	return nil
}

func wantSet(got, args []string) error {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "-" })
	slices.Sort(got)
	slices.Sort(args)
	if !slices.Equal(got, args) {
		return fmt.Errorf("it is %q", got)
	}
	return nil
}
