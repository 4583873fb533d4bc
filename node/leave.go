package node

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// leaveWait is how long leaving waits until some other device knows of it. The
// group is erased here after that in any case: who leaves may need to have it off
// this device.
const leaveWait = 20 * time.Second

// leaveDrain is how long links stay open after that. Handed over means sent: a
// link that is closed at once may lose it.
const leaveDrain = 3 * time.Second

// leave says to the group that this person is not in it any more, waits until
// another device has that, and erases the group from this device. Without a
// network, and for who was removed, it only erases.
func leave(n *Node, ctx context.Context, raw json.RawMessage) (any, error) {
	var a api.GroupArgs
	if err := api.DecodeArgs(raw, &a); err != nil {
		return nil, err
	}
	var g *groupState
	answer := api.Left{Done: true}
	err := n.change(ctx, func() (_ *groupState, err error) {
		g, err = n.group(a.Group)
		if err != nil {
			return nil, err
		}
		if g.leaving != nil && n.online { // asked before, and cut short
			return g, nil
		}
		if answer.Told, err = n.mayGo(g); err != nil {
			return nil, err
		}
		if answer.Told || !n.online || !g.engine.Joined() {
			gone := g
			g = nil
			return nil, n.forget(gone)
		}
		switch err := g.engine.Leave(n.now()); {
		case errors.Is(err, engine.ErrCopied): // signs nothing any more, and may go
			gone := g
			g = nil
			return nil, n.forget(gone)
		case err != nil:
			return g, err
		}
		g.tellsLeaving()
		return g, nil
	})
	if err != nil || g == nil {
		return answer, err
	}
	wait := time.NewTimer(leaveWait)
	defer wait.Stop()
	select {
	case <-g.leaving:
		answer.Told = true
		// What was handed over is on its way.
		wait.Reset(leaveDrain)
		select {
		case <-wait.C:
		case <-g.gone:
		case <-n.stopped:
		}
	case <-wait.C:
	case <-ctx.Done():
	case <-g.gone: // asked twice, and the other one was first
		answer.Told = told(g.leaving)
	case <-n.stopped:
	}
	err = n.change(context.WithoutCancel(ctx), func() (*groupState, error) {
		if n.groups[g.id] != g {
			return nil, nil
		}
		return nil, n.forget(g)
	})
	return answer, err
}

// mayGo says whether nobody has to be told that this person leaves: the others
// know, or there are none. An organiser of others does not leave alone.
func (n *Node) mayGo(g *groupState) (alone bool, err error) {
	if !g.engine.Joined() {
		return false, nil
	}
	others, organisers, self := 0, 0, false
	for _, m := range g.engine.Members() {
		switch {
		case m.Self:
			self = m.Role == group.Organiser
		default:
			others++
			if m.Role == group.Organiser {
				organisers++
			}
		}
	}
	switch {
	case others == 0 || g.engine.Status().Removed:
		return true, nil
	case self && organisers == 0:
		return false, code(api.CodeLastOrganiser)
	case self:
		return false, code(api.CodeOrganiserLeaves)
	}
	return false, nil
}

// tellsLeaving notes that this person has left and others are to be told.
func (g *groupState) tellsLeaving() {
	if g.leaving == nil {
		g.leaving = make(chan struct{})
	}
}

// handedOver notes that somebody took the departure.
func (g *groupState) handedOver() {
	if g.leaving != nil && !told(g.leaving) {
		close(g.leaving)
	}
}

func told(leaving chan struct{}) bool {
	select {
	case <-leaving:
		return true
	default:
		return false
	}
}
