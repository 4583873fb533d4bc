package enginetest

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// Spec 95 row 38: all that ever travelled comes again: at once, after minutes, after a
// day, after a start, and after what was kept for a while is gone. There is no
// new row, nobody is told of anything, nothing appears.
func TestReplayOfEverything(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	ana.step(engine.Addresses{List: []string{"/ip4/192.0.2.1/tcp/4001"}})
	must(t, ben.Post("bref", "Corps.", 2*protocol.DaySeconds))
	must(t, ana.Post("long", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, ben.Edit("bref", "Autre.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, ana.Cancel("long", "Pluie."))
	must(t, w.Run(engine.Seconds(120)))
	all := envelopesOf(ana, ben, cam)
	for _, when := range []struct {
		name  string
		later engine.Time
		start bool
		shows int
	}{
		{name: "at once", shows: 2},
		{name: "after three minutes", later: engine.Seconds(180), shows: 2},
		{name: "after a day", later: engine.Seconds(25 * 3600), shows: 2},
		{name: "after a start", start: true, shows: 2},
		{name: "after the short one has expired", later: engine.Seconds(3 * protocol.DaySeconds), shows: 1},
		{name: "after 32 days", later: engine.Seconds(28 * protocol.DaySeconds), start: true, shows: 1},
	} {
		must(t, w.Run(when.later))
		maps.Copy(all, envelopesOf(ana, ben, cam))
		if when.start {
			ben.Stop()
			must(t, ben.Start())
			must(t, w.Run(engine.Seconds(60)))
		}
		before, told := ben.Store.names(), len(ben.Events)
		a := asMember(t, ben)
		asked := 0
		for _, id := range protocol.SortIDs(slices.Collect(maps.Keys(all))) {
			a.got = nil
			a.give(all[id])
			asked += len(a.got)
		}
		a.step(engine.PeerDown{Peer: a.id})
		if after := ben.Store.names(); !slices.Equal(before, after) {
			t.Errorf("%s: rows %v", when.name, slices.DeleteFunc(after, func(x string) bool { return slices.Contains(before, x) }))
		}
		if len(ben.Events) != told {
			t.Errorf("%s: told of %v", when.name, ben.Events[told:])
		}
		if got := len(ben.Engine.Notices(ben.Now(), nil, true)); got != when.shows {
			t.Errorf("%s: %d notices", when.name, got)
		}
		t.Logf("%s: %d envelopes, %d messages back", when.name, len(all), asked)
	}
}

// Spec 95 row 41: a request to join is said again: on a new connection, on another
// link's, after a start, when the link has expired. Nobody comes in by it.
func TestReplayOfARequest(t *testing.T) {
	w := NewWorld(41)
	ana := w.Add("Ana")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	first, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	second, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	tag := func(l protocol.Link) (tag [32]byte) {
		id := l.ID()
		copy(tag[:], id[:])
		return tag
	}
	joiner := w.Add("Ben")
	joiner.Store = NewMemory()
	j, err := engine.Join(joiner.config(), ana.Now(), first, "Ben")
	must(t, err)
	a := attack(t, ana, engine.ClassInvite, tag(first))
	var request []byte
	must(t, j.Step(ana.Now(), engine.PeerUp{Peer: 1, Class: engine.ClassInvite, Dialled: true}))
	for said := 0; request == nil; said = len(a.got) {
		r := j.Ready()
		if r.Empty() {
			t.Fatal("the joiner never asked")
		}
		out := slices.Clone(r.Send)
		j.Advance()
		for _, m := range out {
			if m.Data[0] == messageGive {
				request = bytes.Clone(m.Data[1:])
			}
			a.say(m.Data[0], m.Data[1:])
		}
		for _, m := range a.got[said:] {
			must(t, j.Step(ana.Now(), engine.Received{Peer: 1, Data: m}))
		}
	}
	members := func() int { return len(ana.Engine.Members()) }
	if members() != 2 {
		t.Fatalf("the request let in %d", members()-1)
	}
	again := func(what string, l protocol.Link) {
		t.Helper()
		before := ana.Store.names()
		x := attack(t, ana, engine.ClassInvite, tag(l))
		for range 3 {
			x.say(messageGive, request)
		}
		x.step(engine.PeerDown{Peer: x.id})
		if members() != 2 || len(ana.Engine.Requests()) != 0 || !slices.Equal(before, ana.Store.names()) {
			t.Errorf("%s: %d members, %d requests", what, members(), len(ana.Engine.Requests()))
		}
	}
	again("again", first)
	again("by another link", second)
	ana.Stop()
	must(t, ana.Start())
	again("after a start", first)
	must(t, w.Run(engine.Seconds(4*protocol.DaySeconds)))
	again("after it has expired", first)
	again("by another link, expired", second)
}
