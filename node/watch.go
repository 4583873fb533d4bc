package node

import (
	"context"
	"slices"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// maxUnwatched is how many events wait for one watcher. Who is further behind is
// cut off: it can ask for the whole state and watch again.
const maxUnwatched = 4_096

// watcher is somebody who is told of events.
type watcher struct {
	events chan api.Event
	behind chan struct{} // closed when events were dropped
}

// Watch calls f for each event until ctx ends, f fails or the node stops: see
// package api. A watcher that is too far behind is told CodeBusy.
func (n *Node) Watch(ctx context.Context, f func(api.Event) error) error {
	w := &watcher{events: make(chan api.Event, maxUnwatched), behind: make(chan struct{})}
	n.watchMu.Lock()
	n.watchers[w] = true
	n.watchMu.Unlock()
	defer func() {
		n.watchMu.Lock()
		delete(n.watchers, w)
		n.watchMu.Unlock()
	}()
	if err := f(api.Event{Event: api.EventWatching}); err != nil {
		return err
	}
	for {
		select {
		case ev := <-w.events:
			if err := f(ev); err != nil {
				return err
			}
		case <-w.behind:
			return code(api.CodeBusy)
		case <-ctx.Done():
			return nil
		case <-n.stopped:
			return nil
		}
	}
}

// notifyAll tells watchers of what one step changed. Of members whose change an
// authority event says in words, it says so.
func (n *Node) notifyAll(g *groupState, events []engine.Event) {
	told := map[string]bool{}
	if slices.ContainsFunc(events, func(ev engine.Event) bool { return ev.Kind == engine.EventMembers }) {
		told = g.toldOf(events)
	}
	for _, ev := range events {
		n.notify(g, ev, ev.Kind == engine.EventMembers && told[ev.ID])
	}
}

// toldOf is the set of members of whom the authority events say what changed.
func (g *groupState) toldOf(events []engine.Event) map[string]bool {
	of := map[string]bool{}
	for _, ev := range events {
		of[ev.ID] = ev.Kind == engine.EventAuthority
	}
	told := map[string]bool{}
	for _, c := range g.engine.Changes(0) {
		if !of[c.ID.String()] || c.Kind == group.KindProposal && !c.Effective {
			continue
		}
		told[c.Target.String()] = true
		if c.Kind == group.KindAddDevice {
			told[c.By.String()] = true
		}
	}
	return told
}

// notify tells watchers of an event, and acts on those that concern the node.
func (n *Node) notify(g *groupState, ev engine.Event, told bool) {
	switch ev.Kind {
	case engine.EventJoined:
		g.reopen = true // to listen, under the group's keys
		g.hasJoined()
	case engine.EventUsedUp:
		select {
		case <-g.usedUp:
		default:
			close(g.usedUp)
		}
		return
	case engine.EventRemoved:
		// To close: there are no keys any more. Who leaves says so first.
		g.reopen = g.leaving == nil
	case engine.EventAddresses:
		g.book.sync(n.now(), g.engine.PeerAddresses())
		return
	}
	out := api.Event{Event: string(ev.Kind), Group: g.id.String(), ID: ev.ID, Own: ev.Own, Told: told}
	if ev.Kind == engine.EventAuthority && n.watched() {
		g.tell(&out)
	}
	n.broadcast(out)
}

// watched says whether somebody watches.
func (n *Node) watched() bool {
	n.watchMu.Lock()
	defer n.watchMu.Unlock()
	return len(n.watchers) > 0
}

// broadcast tells all watchers.
func (n *Node) broadcast(out api.Event) {
	n.watchMu.Lock()
	defer n.watchMu.Unlock()
	for w := range n.watchers {
		select {
		case w.events <- out:
		default:
			delete(n.watchers, w)
			close(w.behind)
		}
	}
}
