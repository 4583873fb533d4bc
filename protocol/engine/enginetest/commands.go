package enginetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

var (
	errOff   = errors.New("the phone is off")
	errDied  = errors.New("the phone died before it was saved")
	errNoOne = errors.New("nothing of this name is known")
)

// post is a notice as the world remembers it: what the checks expect of it.
type post struct {
	name    string
	author  *Node
	id      protocol.ContentID // zero while it waits for an epoch
	at      engine.Time
	gen     uint32  // lowest epoch that a version of it was made in
	without []*Node // removed people of whose removal the author knew
	earlier []*Node // the same, of those who were out before the author came: he has their removal in his log
	stopped []*Node // who was suspended then, as the author knew
	expires engine.Time
	changed engine.Time // the last time that somebody did; 0: nobody
}

// Post writes an announcement whose title is its name. Seconds 0 is the
// furthest expiry. It is acknowledged if the error is nil.
func (n *Node) Post(name, body string, seconds int64) error {
	var expires int64
	if seconds > 0 {
		expires = n.Now().Unix() + seconds
	}
	p := &post{name: name, author: n, at: n.w.Now, gen: n.epoch(), without: n.knownRemoved(), earlier: n.removedEarlier(), stopped: n.suspended(),
		expires: n.w.Now + engine.Seconds(protocol.MaxNoticeSeconds)}
	if seconds > 0 {
		p.expires = n.w.Now + engine.Seconds(seconds)
	}
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error {
		posted, err := e.Post(now, announcement(name, body), expires)
		p.id = posted.ID
		return err
	})
	return n.saved(saved, err, func() { n.w.posts = append(n.w.posts, p) })
}

func announcement(title, body string) feed.Notice {
	return feed.Notice{Type: protocol.TypeAnnouncement, Urgency: feed.Info, Texts: []feed.Text{{Tag: "fr", Title: title, Body: body}}}
}

func (n *Node) saved(saved bool, err error, then func()) error {
	switch {
	case err != nil:
		return err
	case !saved:
		return errDied
	}
	then()
	return nil
}

func (n *Node) epoch() uint32 {
	if !n.live() {
		return 0
	}
	return n.Engine.Status().Epoch
}

// Edit changes the body of a notice that this node shows. Seconds from now
// until it expires; 0 keeps the expiry.
func (n *Node) Edit(name, body string, seconds int64) error {
	v, err := n.See(name)
	if err != nil {
		return err
	}
	var expires int64
	if seconds > 0 {
		expires = n.Now().Unix() + seconds
	}
	gen := n.epoch()
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Edit(now, v.Notice.String(), expires, func(x feed.Notice) feed.Notice {
			x.Texts[0].Body = body
			return x
		})
		return err
	})
	return n.saved(saved, err, func() { n.changed(name, gen, seconds) })
}

// Cancel strikes a notice out that this node shows.
func (n *Node) Cancel(name, reason string) error {
	v, err := n.See(name)
	if err != nil {
		return err
	}
	gen := n.epoch()
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Cancel(now, v.Notice.String(), reason, "fr")
		return err
	})
	return n.saved(saved, err, func() { n.changed(name, gen, 0) })
}

// changed notes that the node made a version of a notice in an epoch.
func (n *Node) changed(name string, gen uint32, seconds int64) {
	n.changes++
	for _, p := range n.w.posts {
		if p.name == name {
			p.gen, p.changed = min(p.gen, gen), n.w.Now
			if seconds > 0 {
				p.expires = n.w.Now + engine.Seconds(seconds)
			}
		}
	}
}

// See returns a notice by its title as the node shows it, also a cancelled one.
func (n *Node) See(name string) (feed.View, error) {
	if !n.live() {
		return feed.View{}, errOff
	}
	for _, v := range n.Engine.Notices(n.Now(), nil, true) {
		if v.Title == name {
			return v, nil
		}
	}
	return feed.View{}, fmt.Errorf("%w: %s", errNoOne, name)
}

// Invite makes a link.
func (n *Node) Invite(p engine.InviteParams) (protocol.Link, error) {
	p.Addresses = []string{"/ip4/127.0.0.1/tcp/1"}
	var l protocol.Link
	saved, err := n.do(func(e *engine.Engine, now engine.Time) (err error) {
		l, err = e.Invite(now, p)
		return err
	})
	return l, n.saved(saved, err, func() {})
}

// Approve lets in whoever asked under a name.
func (n *Node) Approve(name string) error {
	if !n.live() {
		return errOff
	}
	for _, r := range n.Engine.Requests() {
		if r.Name == name {
			saved, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.Approve(now, r.ID) })
			return n.saved(saved, err, func() {})
		}
	}
	return fmt.Errorf("%w: %s", errNoOne, name)
}

// Remove takes somebody out of the group.
func (n *Node) Remove(x *Node) error {
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.Remove(now, x.member.String()) })
	return n.saved(saved, err, func() {
		if x.removed == 0 {
			x.removed, x.copied = n.w.Now, x.Store.Clone()
		}
	})
}

// Grant lets somebody post where the policy asks for authors.
func (n *Node) Grant(x *Node) error {
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.GrantAuthor(now, x.member.String()) })
	return n.saved(saved, err, func() {})
}

// removedEarlier lists who was out before this node came, as far as it was told: whom
// what it writes is not for, though it never had them as members.
func (n *Node) removedEarlier() (out []*Node) {
	if !n.live() || n.joined == 0 {
		return nil
	}
	changes := n.Engine.Changes(0)
	for _, x := range n.w.nodes {
		if x.removed != 0 && !n.met[x.member] && slices.ContainsFunc(changes, func(c engine.Change) bool {
			return c.Kind == group.KindRemoveMember && c.Target == x.member
		}) {
			out = append(out, x)
		}
	}
	return out
}

// knownRemoved lists who was removed as far as this node knows.
func (n *Node) knownRemoved() []*Node {
	if !n.live() || n.joined == 0 {
		return nil
	}
	in := map[identity.MemberID]bool{}
	for _, m := range n.Engine.Members() {
		in[m.ID] = true
	}
	var out []*Node
	for _, x := range n.w.nodes {
		if x.removed != 0 && n.met[x.member] && !in[x.member] {
			out = append(out, x)
		}
	}
	return out
}
