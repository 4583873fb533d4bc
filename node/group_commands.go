package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// group finds the group that a command means: by id or a prefix of it, or the
// only one.
func (n *Node) group(prefix string) (*groupState, error) {
	if prefix == "" {
		switch len(n.groups) {
		case 0:
			return nil, code(api.CodeNoGroup)
		case 1:
			return n.sortedGroups()[0], nil
		}
		return nil, code(api.CodeWhichGroup)
	}
	prefix = strings.ToLower(prefix)
	if len(prefix) < 6 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, code(api.CodeBadID)
	}
	var found *groupState
	for id, g := range n.groups {
		if !strings.HasPrefix(id.String(), prefix) {
			continue
		}
		if found != nil {
			return nil, code(api.CodeAmbiguousID)
		}
		found = g
	}
	if found == nil {
		return nil, code(api.CodeUnknownGroup)
	}
	return found, nil
}

func createGroup(n *Node, a api.GroupCreateArgs) (*groupState, any, error) {
	policy := group.DefaultPolicy(group.AllPostUpTo)
	if a.Posting != "" {
		var err error
		if policy.Posting, err = group.ParsePosting(a.Posting); err != nil {
			return nil, nil, code(api.CodeUnknownPosting)
		}
	}
	cfg := engine.Config{Random: rand.Reader, Zone: knownZone}
	e, err := engine.Create(cfg, n.now(), engine.CreateParams{GroupName: a.Name, Name: n.name, Policy: policy},
		func(id protocol.GroupID) engine.Storage { return n.db.Space(store.Space(id)) })
	if err != nil {
		return nil, nil, err
	}
	g, err := n.newGroup(e, protocol.InviteID{})
	if err != nil {
		return nil, nil, err
	}
	return g, api.GroupCreated{Group: g.id.String()}, nil
}

// newGroup puts a group to work that this person made or asks to join. It
// and its place in the profile become durable in one transaction. The group gets the reserved port, and the next group another one:
// a port that served two groups would link them. Its host opens after.
func (n *Node) newGroup(e *engine.Engine, link protocol.InviteID) (*groupState, error) {
	record := groupRecord{Port: n.reserved, Link: link}
	next, err := freePort(n.portTaken)
	if err != nil {
		return nil, err
	}
	id := e.ID()
	own := engine.Batch{Puts: []engine.Record{
		{Table: tableGroups, Key: id[:], Value: wire.Marshal(record)},
		{Table: tableProfile, Key: keyPort, Value: wire.Marshal(next)},
	}}
	r := e.Ready()
	err = n.db.CommitAll([]store.Part{{Space: store.Space(id), Batch: r.Persist}, {Space: store.Space{}, Batch: own}})
	if err != nil {
		return nil, err
	}
	n.reserved = next
	g := n.addGroup(e, record)
	n.carryOut(g, r)
	e.Advance()
	return g, nil
}

func (n *Node) portTaken(port uint16) bool {
	for _, g := range n.groups {
		if g.record.Port == port {
			return true
		}
	}
	return port == n.reserved
}

func invite(n *Node, a api.InviteArgs) (*groupState, any, error) {
	g, err := n.group(a.Group)
	if err != nil {
		return nil, nil, err
	}
	if a.Uses < 0 || a.ExpiresSeconds < 0 {
		return nil, nil, code(api.CodeInviteBounds)
	}
	l, err := g.engine.Invite(n.now(), engine.InviteParams{Uses: a.Uses, Seconds: a.ExpiresSeconds,
		AutoApprove: a.AutoApprove, Addresses: n.linkAddrs(g)})
	if err != nil {
		return g, nil, err
	}
	return g, api.Invite{Link: l.Text()}, nil
}

// join starts joining and waits for the answer as long as it was asked to. The
// running node goes on by itself.
func join(n *Node, ctx context.Context, raw json.RawMessage) (any, error) {
	var a api.JoinArgs
	if err := api.DecodeArgs(raw, &a); err != nil {
		return nil, err
	}
	var g *groupState
	err := n.change(ctx, func() (_ *groupState, err error) {
		g, err = n.startJoin(a)
		return g, err
	})
	if err != nil {
		return nil, err
	}
	answer := api.Joined{Group: g.id.String(), State: api.StateJoined}
	wait := time.NewTimer(time.Duration(max(0, min(a.WaitSeconds, api.MaxWaitSeconds))) * time.Second)
	defer wait.Stop()
	select {
	case <-g.joined:
	case <-g.usedUp:
		return nil, n.giveUp(ctx, g)
	case <-wait.C:
		answer.State = api.StateWaiting
	case <-ctx.Done():
		answer.State = api.StateWaiting
	case <-g.gone:
		return nil, errStopped // the person left meanwhile, or joins by another link
	case <-n.stopped:
		return nil, errStopped
	}
	return answer, nil
}

// giveUp forgets a group whose link is used up, so that nothing is left of the
// attempt, and says so.
func (n *Node) giveUp(ctx context.Context, g *groupState) error {
	err := n.change(ctx, func() (*groupState, error) {
		if n.groups[g.id] != g || g.engine.Joined() {
			return nil, nil
		}
		return nil, n.forget(g)
	})
	if err != nil {
		return err
	}
	return code(api.CodeLinkUsedUp)
}

func (n *Node) startJoin(a api.JoinArgs) (*groupState, error) {
	if !n.online {
		return nil, code(api.CodeNotRunning)
	}
	l, err := protocol.ParseLink(a.Link)
	if err != nil {
		return nil, err
	}
	if n.cfg.Careful && len(l.Ferries) == 0 {
		return nil, code(api.CodeCarefulLink)
	}
	old := n.groups[l.Group]
	if old != nil && old.engine.Joined() {
		if old.engine.Status().Removed {
			return nil, code(api.CodeRemoved) // to come back, leave first: what is here is erased
		}
		return nil, code(api.CodeAlreadyInGroup)
	}
	if old != nil && old.record.Link == l.ID() {
		return old, nil // the same link again: go on waiting
	}
	name := a.Name
	if name == "" {
		name = n.name
	}
	e, err := engine.Join(n.engineConfig(l.Group), n.now(), l, name)
	if err != nil {
		return nil, err
	}
	if old != nil { // asked by another link, and not let in
		if err := n.forget(old); err != nil {
			return nil, err
		}
	}
	return n.newGroup(e, l.ID())
}

func requests(n *Node, a api.GroupArgs) (any, error) {
	groups := n.sortedGroups()
	if a.Group != "" {
		g, err := n.group(a.Group)
		if err != nil {
			return nil, err
		}
		groups = []*groupState{g}
	}
	list := []api.Request{}
	for _, g := range groups {
		for _, r := range g.engine.Requests() {
			list = append(list, api.Request{ID: r.ID, Group: g.id.String(), Name: r.Name,
				Words: strings.Join(r.Words[:], " "), Created: stamp(r.Created), Expired: r.Expired})
		}
	}
	return list, nil
}

func approve(n *Node, a api.ApproveArgs) (*groupState, any, error) {
	return n.alter(a.Group, func(g *groupState) error { return g.engine.Approve(n.now(), a.ID) })
}

func remove(n *Node, a api.RemoveArgs) (*groupState, any, error) {
	return n.alter(a.Group, func(g *groupState) error { return g.engine.Remove(n.now(), a.Member) })
}

// alter carries out a command of one engine that returns nothing.
func (n *Node) alter(prefix string, f func(*groupState) error) (*groupState, any, error) {
	g, err := n.group(prefix)
	if err != nil {
		return nil, nil, err
	}
	return g, api.Done{Done: true}, f(g)
}

func members(n *Node, a api.GroupArgs) (any, error) {
	g, err := n.group(a.Group)
	if err != nil {
		return nil, err
	}
	if !g.engine.Joined() {
		return nil, engine.ErrNotJoined
	}
	suspended := map[identity.MemberID]bool{}
	for _, o := range g.engine.Authority().Organisers {
		suspended[o.ID] = len(o.SuspendedBy) > 0
	}
	list := []api.Member{}
	for _, m := range g.engine.Members() {
		list = append(list, api.Member{ID: m.ID.String(), Name: m.Name, Role: m.Role.String(), Words: strings.Join(m.Words[:], " "),
			Suspended: suspended[m.ID], Twice: m.Twice})
	}
	return list, nil
}

// forget erases a group from this device. The profile's rows go first: a group
// that it does not list is erased by the next start, should this be cut short.
// If they do not go, nothing was changed.
func (n *Node) forget(g *groupState) error {
	err := n.commitOwn(engine.Batch{Deletes: []engine.Ref{{Table: tableGroups, Key: g.id[:]}, {Table: tableWorked, Key: g.id[:]}}})
	if err != nil {
		return err
	}
	delete(n.groups, g.id)
	clear(g.links) // the engine need not hear of their end
	n.closeHost(g)
	close(g.gone)
	return n.db.DropSpace(store.Space(g.id))
}

// stamp writes unix seconds as people's programs read them.
func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
