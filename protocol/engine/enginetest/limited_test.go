package enginetest

import (
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// behind is a pair of which one lacks 150 notices of each of two days, among the first of
// which are an alert and a meeting that is soon, and a change of the group's name.
func behind(t *testing.T) (w *World, ana, ben *Node) {
	w = NewWorld(94)
	ana, ben = w.Add("Ana"), w.Add("Ben")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	link, err := ana.Invite(engine.InviteParams{Uses: 1, AutoApprove: true})
	must(t, err)
	must(t, ben.Join(link))
	must(t, w.Run(engine.Seconds(600)))
	w.part([]*Node{ana}, []*Node{ben})
	for day := range 2 {
		for i := range 150 {
			must(t, ana.Post(fmt.Sprintf("avis %d %d", day, i), "Corps.", 20*daySeconds))
		}
		if day == 0 {
			start := ana.Now().Unix() + daySeconds + 36*3_600
			must(t, ana.postNotice("alerte", feed.Alert, nil))
			must(t, ana.postNotice("réunion", feed.Info, &feed.Meeting{Start: start, End: start + 3_600, Zone: "UTC"}))
			ana.policy(t, func(p *group.Policy) { p.Posting = group.PostOrganisers })
			w.pass(t, 1)
		}
	}
	clear(w.cuts)
	return w, ana, ben
}

func (n *Node) shows(titles ...string) (count int) {
	for _, v := range n.Engine.Notices(n.Now(), nil, true) {
		for _, title := range titles {
			if v.Title == title {
				count++
			}
		}
	}
	return count
}

// What matters most comes first, whoever dials: on the first circuit of many, what was
// decided, the alert and the meeting, and otherwise the newest.
func TestFirstOnACircuit(t *testing.T) {
	for _, dials := range []string{"who lacks it", "who holds it"} {
		t.Run(dials, func(t *testing.T) {
			w, ana, ben := behind(t)
			w.relayed = true
			circuits := w.Counts["circuit"]
			if dials == "who lacks it" {
				w.Cut(ana, ben)
			} else {
				w.Cut(ben, ana)
			}
			for w.Counts["circuit"] < circuits+2 { // until the second begins
				must(t, w.Run(engine.Seconds(1)/10))
			}
			if ben.shows("alerte", "réunion") != 2 || ben.Engine.Authority().Policy.Posting != group.PostOrganisers {
				t.Errorf("on the first circuit came %d of an alert and a meeting, and who may post is %d", ben.shows("alerte", "réunion"), ben.Engine.Authority().Policy.Posting)
			}
			old, recent := 0, 0
			for i := range 150 {
				old += ben.shows(fmt.Sprintf("avis 0 %d", i))
				recent += ben.shows(fmt.Sprintf("avis 1 %d", i))
			}
			if recent < 30 || old > 10 {
				t.Errorf("on the first circuit came %d notices of today and %d of yesterday", recent, old)
			}
			must(t, w.Run(engine.Seconds(200)))
			if w.Counts["circuit cut"] > 0 || w.Counts["circuit"] > circuits+9 {
				t.Errorf("%d circuits, of which %d were cut", w.Counts["circuit"]-circuits, w.Counts["circuit cut"])
			}
			must(t, ana.Post("à l'instant", "Corps.", 0))
			must(t, w.Run(engine.Seconds(2)))
			if ben.shows("à l'instant") != 1 {
				t.Error("what is new is not told on a circuit")
			}
			must(t, w.Check())
		})
	}
}
