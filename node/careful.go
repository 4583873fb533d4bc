package node

import (
	"slices"
	"strings"
)

// What a careful node leaves out, beside what Open and single commands refuse: it dials
// no place of a book and no neighbour. README, "Being careful", says it to people, line
// by line, and a test holds each of them against the program.

// hides says whether nobody is told where this device is.
func (n *Node) hides() bool { return n.cfg.Proxy != "" || n.cfg.Careful }

// actedOn has the letter carriers of a group visited soon after a person did something
// to it, or had it done: then a group that keeps no links makes a poll. A careful node goes when it would have gone: whoever watches the line, or the
// carrier, is not to see when something was written.
func (n *Node) actedOn(g *groupState, done bool) {
	if n.cfg.Careful {
		return
	}
	g.carriers.soon(n.now(), visitSoon)
	if done {
		g.poll.soon(n.now(), visitSoon, true)
	}
}

// carefully leaves out the letter carriers that do not look like the web, where there is
// one that does, and no proxy.
func (n *Node) carefully(named []string) []string {
	web := func(s string) bool { return strings.Contains(s, "/tls/ws/p2p/") }
	if !n.cfg.Careful || n.cfg.Proxy != "" || !slices.ContainsFunc(named, web) {
		return named
	}
	return slices.DeleteFunc(slices.Clone(named), func(s string) bool { return !web(s) })
}
