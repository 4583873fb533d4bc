package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// Group keys section 4.5, alerts by informed choice.

func alert(title string) feed.Notice {
	n := announcement(title, "Corps.")
	n.Urgency = feed.Alert
	return n
}

// alerts is a circle whose policy lets alerts go out, or not.
func alerts(t *testing.T, override bool, names ...string) (w *World, ana *Node, others []*Node) {
	t.Helper()
	p := group.DefaultPolicy(10)
	p.AlertOverride = override
	return circle(t, p, names...)
}

// PostNow posts an alert that does not wait, and Send one that does.
func (n *Node) PostNow(x feed.Notice, readers int) (p engine.Posted, err error) {
	saved, err := n.do(func(e *engine.Engine, now engine.Time) (err error) {
		p, err = e.PostNow(now, x, 0, readers)
		return err
	})
	return p, n.saved(saved, err, func() {})
}

// SendNow sends what waits.
func (n *Node) SendNow(id string, readers int) error {
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.SendNow(now, id, readers)
		return err
	})
	return n.saved(saved, err, func() {})
}

// TestAlertIsSentNow: while the keys are being renewed an alert goes out by its
// author's choice, who is told who can read it. All members read it, the removed
// one reads it and nothing else, and what else was written waits.
func TestAlertIsSentNow(t *testing.T) {
	w, ana, others := alerts(t, true, "ben", "cam", "dia")
	ben, cam, dia := others[0], others[1], others[2]
	if _, held := ben.Engine.Readers(); held {
		t.Fatal("something waits in a group at rest")
	}
	ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
	dia.Stop()
	carry(t, ben, ops)
	must(t, w.Run(engine.Seconds(5)))
	r, held := ben.Engine.Readers()
	if !held || !r.Allowed || !r.Able || !slices.Equal(r.Removed, []identity.MemberID{dia.member}) {
		t.Fatalf("readers %+v, held %t", r, held)
	}
	must(t, ben.Post("quiet", "Corps.", 0))
	_, err := ben.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Post(now, alert("waits"), 0)
		return err
	})
	must(t, err)
	list := ben.Engine.Held()
	if len(list) != 2 || list[0].Title != "quiet" || list[0].Alert || list[1].Title != "waits" || !list[1].Alert {
		t.Fatalf("held: %+v", list)
	}
	for name, x := range map[string]struct {
		err, want error
	}{
		"one reader more than was said": {ben.SendNow(list[1].ID, 0), engine.ErrReaders},
		"no alert":                      {ben.SendNow(list[0].ID, 1), engine.ErrNotAlert},
		"short":                         {ben.SendNow(list[1].ID[:5], 1), engine.ErrPrefix},
		"nobody's":                      {ben.SendNow("ffffffffffff", 1), engine.ErrUnknown},
	} {
		if !errors.Is(x.err, x.want) {
			t.Errorf("%s: %v", name, x.err)
		}
	}
	if _, err := ben.PostNow(announcement("calm", ""), 5); !errors.Is(err, engine.ErrNotAlert) {
		t.Errorf("an announcement that is no alert: %v", err)
	}
	if n := len(ben.Engine.Held()); n != 2 {
		t.Errorf("%d wait after errors", n)
	}
	must(t, ben.SendNow(list[1].ID[:8], 1))
	p, err := cam.PostNow(alert("at once"), 1)
	must(t, err)
	if p.Waiting || p.ID == (protocol.ContentID{}) {
		t.Errorf("posted %+v", p)
	}
	if list := ben.Engine.Held(); len(list) != 1 || list[0].Title != "quiet" || !ben.Engine.Waiting() {
		t.Errorf("held after sending: %+v", list)
	}
	must(t, w.Run(engine.Seconds(20)))
	for _, n := range []*Node{ben, cam} {
		for _, title := range []string{"waits", "at once"} {
			if v, err := n.See(title); err != nil || v.Urgency != feed.Alert || v.Author == ana.member {
				t.Errorf("%s: %q: %v", n.Name, title, err)
			}
		}
		if _, err := n.See("quiet"); err == nil {
			t.Errorf("%s shows what was to wait", n.Name)
		}
	}
	for _, title := range []string{"waits", "at once"} {
		if !heldBy(t, w, dia, dia.copied, title) {
			t.Errorf("the removed one cannot read %q, so the number that was told is wrong", title)
		}
	}
	if heldBy(t, w, dia, dia.copied, "quiet") {
		t.Error("the removed one reads what waits")
	}
	// Everything goes on once the keys are there, also for who was off meanwhile.
	must(t, w.HealAll())
	must(t, w.Run(engine.Seconds(afterAuthors+100)))
	must(t, cam.Post("later", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range []*Node{ana, ben, cam} {
		for _, title := range []string{"waits", "at once", "quiet", "later"} {
			if _, err := n.See(title); err != nil {
				t.Errorf("%s: %v", n.Name, err)
			}
		}
	}
	for _, store := range []*Memory{dia.copied, dia.Store} {
		for _, title := range []string{"quiet", "later"} {
			if heldBy(t, w, dia, store, title) {
				t.Errorf("the removed one reads %q", title)
			}
		}
	}
	must(t, w.Check())
}

// TestAlertReachesWhoComesLater: who connects while the keys are still being renewed
// gets the alert then, and the link stays.
func TestAlertReachesWhoComesLater(t *testing.T) {
	w, ana, others := alerts(t, true, "ben", "cam", "dia")
	ben, cam, dia := others[0], others[1], others[2]
	ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
	dia.Stop()
	w.Cut(ben, cam)
	w.Cut(cam, ben)
	carry(t, ben, ops)
	_, err := ben.PostNow(alert("late"), 1)
	must(t, err)
	w.Heal(ben, cam)
	must(t, w.Run(engine.Seconds(20)))
	if _, err := cam.See("late"); err != nil || !cam.Engine.Waiting() {
		t.Errorf("cam waits: %t, %v", cam.Engine.Waiting(), err)
	}
	link := w.linkOf(ben, cam)
	must(t, w.Run(engine.Seconds(20)))
	if link == nil || w.linkOf(ben, cam) != link {
		t.Error("the link did not stay")
	}
}

// TestAlertWaitsByDefault: without the policy nothing goes out, and without being
// asked for nothing does either.
func TestAlertWaitsByDefault(t *testing.T) {
	w, ana, others := alerts(t, false, "ben", "cam", "dia")
	ben, dia := others[0], others[2]
	p, err := ben.PostNow(alert("at rest"), 0) // nothing is held: as Post
	must(t, err)
	if p.Waiting {
		t.Error("it waits where nothing is held")
	}
	ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
	carry(t, ben, ops)
	if r, held := ben.Engine.Readers(); !held || r.Allowed || len(r.Removed) != 1 {
		t.Errorf("readers %+v, held %t", r, held)
	}
	before := len(ben.Store.names())
	if _, err := ben.PostNow(alert("no"), 9); !errors.Is(err, engine.ErrNoOverride) {
		t.Errorf("against the policy: %v", err)
	}
	if n := len(ben.Store.names()); n != before || len(ben.Engine.Held()) != 0 {
		t.Error("a refused alert left something")
	}
	_, err = ben.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Post(now, alert("patient"), 0)
		return err
	})
	must(t, err)
	if err := ben.SendNow(ben.Engine.Held()[0].ID, 9); !errors.Is(err, engine.ErrNoOverride) {
		t.Errorf("against the policy: %v", err)
	}
	must(t, w.Run(engine.Seconds(20)))
	if heldBy(t, w, dia, dia.copied, "patient") {
		t.Error("it went out")
	}
}

// TestAlertTakesTheBestKeys: of the epochs that there are the one that fewest
// removed people can read is used.
func TestAlertTakesTheBestKeys(t *testing.T) {
	w, ana, others := alerts(t, true, "ben", "cam", "dia", "eva")
	ben, cam, dia, eva := others[0], others[1], others[2], others[3]
	must(t, ana.Remove(dia))
	must(t, w.Run(engine.Seconds(60)))
	ops := lonely(t, w, ana, func() error { return ana.Remove(eva) })
	eva.Stop()
	carry(t, ben, ops)
	r, held := ben.Engine.Readers()
	if !held || !slices.Equal(r.Removed, []identity.MemberID{eva.member}) {
		t.Fatalf("readers %+v", r)
	}
	_, err := ben.PostNow(alert("now"), 1)
	must(t, err)
	must(t, w.Run(engine.Seconds(20)))
	if _, err := cam.See("now"); err != nil {
		t.Error(err)
	}
	if heldBy(t, w, dia, dia.copied, "now") || !heldBy(t, w, eva, eva.copied, "now") {
		t.Error("it did not go under the epoch that only eva can read")
	}
}

// TestAlertSentNowSurvivesACrash kills the phone at the commit: the alert waits as
// before, or it is sent, once.
func TestAlertSentNowSurvivesACrash(t *testing.T) {
	for _, crash := range []string{"before", "after"} {
		w, ana, others := alerts(t, true, "ben", "cam", "dia")
		ben, cam, dia := others[0], others[1], others[2]
		ops := lonely(t, w, ana, func() error { return ana.Remove(dia) })
		carry(t, ben, ops)
		_, err := ben.do(func(e *engine.Engine, now engine.Time) error {
			_, err := e.Post(now, alert("help"), 0)
			return err
		})
		must(t, err)
		if crash == "before" {
			ben.crashIn = 1
		} else {
			ben.crashSent = 1
		}
		ben.SendNow(ben.Engine.Held()[0].ID, 1)
		must(t, ben.Start())
		if n := len(ben.Engine.Held()); n != map[string]int{"before": 1, "after": 0}[crash] {
			t.Errorf("crash %s: %d wait", crash, n)
		}
		if crash == "before" {
			must(t, ben.SendNow(ben.Engine.Held()[0].ID, 1))
		}
		must(t, w.healBut(ana))
		must(t, w.Run(engine.Seconds(afterAuthors+60)))
		for _, n := range []*Node{ben, cam} {
			count := 0
			for _, v := range n.Engine.Notices(n.Now(), nil, true) {
				if v.Title == "help" {
					count++
				}
			}
			if count != 1 {
				t.Errorf("crash %s: %s shows it %d times", crash, n.Name, count)
			}
		}
	}
}

// TestAlertIDsAreOfTheText: what waits is named alike after a restart, and each
// apart.
func TestAlertIDsAreOfTheText(t *testing.T) {
	w, ana, others := alerts(t, true, "ben", "cam", "dia")
	ben := others[0]
	ops := lonely(t, w, ana, func() error { return ana.Remove(others[2]) })
	carry(t, ben, ops)
	for range 3 {
		_, err := ben.do(func(e *engine.Engine, now engine.Time) error {
			_, err := e.Post(now, alert("same"), 0)
			return err
		})
		must(t, err)
	}
	seen := map[string]bool{}
	for _, h := range ben.Engine.Held() {
		if seen[h.ID] || len(h.ID) != 16 {
			t.Errorf("id %s", h.ID)
		}
		seen[h.ID] = true
	}
	before := slices.Clone(ben.Engine.Held())
	must(t, ben.Start())
	after := ben.Engine.Held()
	if !slices.Equal(before, after) {
		t.Error("ids change over a restart")
	}
}

// TestHighRiskSaysWhenItGoes: where readers erase at 30 days, that is what the
// notice says, and what its author is told.
func TestHighRiskSaysWhenItGoes(t *testing.T) {
	const month = 30 * protocol.DaySeconds
	p := group.DefaultPolicy(10)
	p.HighRisk = true
	w, ana, others := circle(t, p, "ben")
	ben := others[0]
	for _, seconds := range []int64{0, 90 * protocol.DaySeconds, month + 1, month, 3600} {
		want := ana.Now().Unix() + month
		if seconds == 3600 {
			want = ana.Now().Unix() + 3600
		}
		var got engine.Posted
		expires := int64(0)
		if seconds != 0 {
			expires = ana.Now().Unix() + seconds
		}
		_, err := ana.do(func(e *engine.Engine, now engine.Time) (err error) {
			got, err = e.Post(now, announcement(fmt.Sprint("for ", seconds), "Corps."), expires)
			return err
		})
		must(t, err)
		if got.Expires != want {
			t.Errorf("posted for %d s: told %d, want %d", seconds, got.Expires-ana.Now().Unix(), want-ana.Now().Unix())
		}
		must(t, w.Run(engine.Seconds(5)))
		for _, n := range []*Node{ana, ben} {
			v, err := n.Engine.Notice(n.Now(), got.ID.String(), nil)
			must(t, err)
			if v.Expires != want {
				t.Errorf("%s shows %d, want %d", n.Name, v.Expires, want)
			}
		}
		_, err = ana.do(func(e *engine.Engine, now engine.Time) error {
			_, err := e.Edit(now, got.ID.String(), 0, func(x feed.Notice) feed.Notice { x.Texts[0].Body = "Autre."; return x })
			return err
		})
		must(t, err)
		if v, err := ana.Engine.Notice(ana.Now(), got.ID.String(), nil); err != nil || v.Expires != want {
			t.Errorf("edited: %d, want %d, %v", v.Expires, want, err)
		}
	}
	// A meeting that readers would have erased before it is refused.
	at := ana.Now().Unix() + 2*month
	_, err := ana.Engine.Post(ana.Now(), feed.Notice{Type: protocol.TypeMeeting, Urgency: feed.Info,
		Texts: []feed.Text{{Tag: "fr", Title: "loin"}}, Meeting: &feed.Meeting{Start: at, Zone: "Europe/Paris"}}, 0)
	var problem *feed.Problem
	if !errors.As(err, &problem) || problem.Code != feed.ExpiryMeeting {
		t.Errorf("a meeting in 60 days: %v", err)
	}
}

// TestNoticesOfBeforeHighRisk: a notice that was to stand for longer than a group
// keeps texts that is at high risk by now says when it goes.
func TestNoticesOfBeforeHighRisk(t *testing.T) {
	w, ana, others := circle(t, group.DefaultPolicy(10), "ben")
	must(t, ana.Post("vieux", "Corps.", 0))
	posted := ana.Now().Unix()
	must(t, w.Run(engine.Seconds(10)))
	ana.policy(t, func(p *group.Policy) { p.HighRisk = true })
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range []*Node{ana, others[0]} {
		if v, err := n.See("vieux"); err != nil || v.Expires != posted+30*daySeconds {
			t.Errorf("%s shows that it stands for %d days: %v", n.Name, (v.Expires-posted)/daySeconds, err)
		}
	}
}
