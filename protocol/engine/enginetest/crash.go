package enginetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Death says where in carrying out one Ready a phone dies.
type Death uint8

// Deaths.
const (
	BeforeCommit Death = iota + 1 // nothing of the batch is there
	BeforeSend                    // all of the batch is there, and nobody was told
	AmidSend                      // all of the batch is there, and half of the messages are under way
)

func (d Death) String() string {
	return [...]string{"never", "before the commit", "before it sends", "while it sends"}[d]
}

// DieAt makes the phone die at its n-th commit from now on.
func (n *Node) DieAt(commit int, d Death) {
	n.crashIn, n.crashSent, n.crashAmid = 0, 0, 0
	switch d {
	case BeforeCommit:
		n.crashIn = commit
	case BeforeSend:
		n.crashSent = commit
	case AmidSend:
		n.crashAmid = commit
	}
}

// View is all that a person and the group can tell of an engine's state, in
// words, but for what is of the moment: connections, and what was announced and
// is on its way.
func View(e *engine.Engine, now engine.Time) string {
	var b strings.Builder
	s := e.Status()
	s.Peers, s.Missing = 0, 0
	fmt.Fprintf(&b, "%+v waiting %t frozen %t\n", s, e.Waiting(), e.Frozen())
	if !e.Joined() {
		return b.String()
	}
	fmt.Fprintf(&b, "%+v\n", e.Authority())
	for _, c := range e.Changes(0) {
		fmt.Fprintf(&b, "%+v\n", c)
	}
	for _, m := range e.Members() {
		fmt.Fprintf(&b, "%+v\n", m)
		list, err := e.Devices(m.ID.String())
		fmt.Fprintf(&b, "%+v %v\n", list, err)
	}
	for _, v := range e.Notices(now, nil, true) {
		v.Missing = false
		fmt.Fprintf(&b, "%+v\n", v)
	}
	return b.String()
}

// Reloaded is the view of what a phone would open if it died now.
func (n *Node) Reloaded() (string, error) {
	store := n.Store.Clone()
	c := n.config()
	c.Storage = store
	c.Random = newRandom(n.w.seed, "reloaded")
	e, err := engine.Load(c, n.id, n.Now())
	if err != nil {
		return "", err
	}
	return View(e, n.Now()), nil
}

// differ names the first line in which two views differ.
func differ(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("%s\n  but\n%s", x[i], y[i])
		}
	}
	return fmt.Sprintf("%d lines but %d", len(x), len(y))
}

// sendHalf sends the first half of what is to be sent.
func (n *Node) sendHalf(r *engine.Ready) {
	half := *r
	half.Send, half.Announce = r.Send[:len(r.Send)/2], r.Announce[:len(r.Announce)/2]
	n.send(&half)
	for _, l := range slices.Clone(n.links) {
		l.endAfterWords(n) // that much left
	}
}

// Committed has f called with every batch, once it is stored.
func (w *World) Committed(f func(n *Node, b engine.Batch)) { w.committed = f }

// Sent sets what is told of the length of every message and hint that leaves a node, also
// of those that are lost.
func (w *World) Sent(f func(from, to *Node, bytes int)) { w.sent = f }

func (w *World) count(from, to *Node, bytes int) {
	if w.sent != nil {
		w.sent(from, to, bytes)
	}
}
