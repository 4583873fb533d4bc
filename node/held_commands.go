package node

import (
	"errors"
	"strconv"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// posted is what became of something that was written. Of what waits it says what
// its author can do.
func (g *groupState) posted(p engine.Posted) api.Posted {
	out := api.Posted{Waiting: p.Waiting}
	if p.ID != (protocol.ContentID{}) {
		out.ID = p.ID.String()
	}
	if p.Expires != 0 {
		out.Expires = stamp(p.Expires)
	}
	list := g.engine.Held()
	if !p.Waiting || len(list) == 0 {
		return out
	}
	newest := list[len(list)-1]
	out.Held = newest.ID
	if r, ok := g.engine.Readers(); ok && newest.Alert && r.Allowed && r.Able {
		out.MaySendNow, out.Readers = true, g.people().persons(r.Removed)
	}
	return out
}

func held(n *Node, a api.GroupArgs) (any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, err
	}
	out := api.Held{Held: []api.HeldNotice{}, Readers: []api.Person{}}
	for _, h := range g.engine.Held() {
		x := api.HeldNotice{ID: h.ID, Kind: api.KindOther, Title: h.Title, Alert: h.Alert, Created: stamp(h.Created), Expires: stamp(h.Expires)}
		switch h.Type {
		case protocol.TypeAnnouncement:
			x.Kind = api.KindAnnouncement
		case protocol.TypeMeeting:
			x.Kind = api.KindMeeting
		}
		out.Held = append(out.Held, x)
	}
	if r, ok := g.engine.Readers(); ok && r.Able {
		out.MaySendNow, out.Readers = r.Allowed, g.people().persons(r.Removed)
	}
	return out, nil
}

func sendNow(n *Node, a api.SendNowArgs) (*groupState, any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, nil, err
	}
	p, err := g.engine.SendNow(n.now(), a.ID, a.Readers)
	if err != nil {
		return g, nil, g.readersSaid(err)
	}
	return g, g.posted(p), nil
}

// readersSaid tells how many removed people can read an alert, where it was refused
// because it is more than was said.
func (g *groupState) readersSaid(err error) error {
	if r, ok := g.engine.Readers(); ok && errors.Is(err, engine.ErrReaders) {
		return &api.Error{Code: api.CodeMoreReaders, Text: strconv.Itoa(len(r.Removed))}
	}
	return err
}

func pin(n *Node, a api.PinArgs) (*groupState, any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, nil, err
	}
	p, err := g.engine.Pin(n.now(), a.ID, !a.Off)
	if err != nil {
		return g, nil, err
	}
	return g, g.posted(p), nil
}
