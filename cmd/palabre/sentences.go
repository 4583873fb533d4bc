package main

import (
	"strconv"
	"strings"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/text"
)

// who shows a person inside a sentence: by name, and by the start of the id too
// where the name has not come or another one looks like it. What a person types
// is always an id.
func (f *face) who(p *api.Person) string {
	switch {
	case p == nil || p.ID == "":
		return f.say("who.unknown")
	case p.Name == "":
		return shorten([]string{p.ID})[0]
	case p.Alike:
		return line(p.Name) + " " + shorten([]string{p.ID})[0]
	}
	return line(p.Name)
}

func (f *face) names(people []api.Person) string {
	list := make([]string, len(people))
	for i := range people {
		list[i] = f.who(&people[i])
	}
	return strings.Join(list, ", ")
}

// decision says what a proposal asks for.
func (f *face) decision(word string, target *api.Person) string {
	key := "decision." + word
	if !text.Has(key) {
		key = "decision.newer"
	}
	return f.say(key, "target", f.who(target))
}

// change says who did what to whom.
func (f *face) change(c api.Change) string {
	key := "change." + c.What
	if c.What == api.ChangeProposed && c.Effective {
		key = "change.decided"
	}
	if !text.Has(key) {
		key = "change.newer"
	}
	device := ""
	if c.Device != "" {
		device = shorten([]string{c.Device})[0]
	}
	said := f.say(key, "by", f.who(&c.By), "target", f.who(c.Target), "what", f.decision(c.Decision, c.Target), "device", device)
	if c.Twice {
		said += " " + f.say("change.twice")
	}
	if !c.Effective && !c.Open {
		said += " " + f.say("change.void")
	}
	return said
}

// stands says how many have agreed, and who if that is known.
func (f *face) stands(p api.Proposed, voters []api.Person) string {
	key := "stands.some"
	switch p.Have {
	case 0:
		key = "stands.none"
	case 1:
		key = "stands.one"
	}
	names := ""
	if len(voters) > 0 {
		names = " (" + f.names(voters) + ")"
	}
	return f.say(key, "need", strconv.Itoa(p.Need), "of", strconv.Itoa(p.Of), "have", strconv.Itoa(p.Have), "names", names)
}
