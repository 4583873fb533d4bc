package node

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// While no organiser's phone is there to renew the keys, an alert goes out by its
// author's choice, who is told how many can read it, and after some minutes the
// phones of the others renew the keys themselves.
func TestAlertGoesNow(t *testing.T) {
	w := newWorld(t)
	ana, ben, chi, dia := w.phone("Ana"), w.phone("Ben"), w.phone("Chi"), w.phone("Dia")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben, chi, dia)
	on := true
	if p := call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{AlertsWhileRenewing: &on}); !p.Effective {
		t.Fatalf("the policy: %+v", p)
	}
	w.until("names, rules and links", func() bool {
		for _, p := range []*phone{ben, chi, dia} {
			if p.memberOf("Ben") == "" || p.status().Peers != 3 || !call[api.Policy](t, p, api.CommandPolicy, nil).AlertsWhileRenewing {
				return false
			}
		}
		return true
	})
	alert := func(title string) api.PostArgs {
		a := announcement(title)
		a.Urgency = api.UrgencyAlert
		return a
	}
	none := 0
	now := alert("au repos") // nothing is held: as any other
	now.SendNow = &none
	if p := call[api.Posted](t, chi, api.CommandPost, now); p.ID == "" || p.Waiting || p.Expires == "" {
		t.Errorf("an alert at rest: %+v", p)
	}
	w.shows([]string{"au repos"}, chi, dia)
	ana.stop()
	if l := call[api.Left](t, ben, api.CommandLeave, nil); !l.Told {
		t.Fatalf("Ben left: %+v", l)
	}
	w.until("Chi and Dia to wait", func() bool { return chi.status().Groups[0].Waiting && dia.status().Groups[0].Waiting })
	s := chi.status().Groups[0]
	if s.Because == nil || s.Because.What != api.ChangeLeft || len(s.RenewedBy) != 1 || s.RenewedBy[0].Name != "Ana" || !s.OthersRenew {
		t.Errorf("Chi waits: %+v", s)
	}
	if p := call[api.Posted](t, chi, api.CommandPost, announcement("patience")); !p.Waiting || p.MaySendNow {
		t.Errorf("an announcement: %+v", p)
	}
	p := call[api.Posted](t, chi, api.CommandPost, alert("danger"))
	if !p.Waiting || p.ID != "" || !p.MaySendNow || len(p.Readers) != 1 || p.Readers[0].Name != "Ben" || p.Held == "" {
		t.Fatalf("an alert that waits: %+v", p)
	}
	h := call[api.Held](t, chi, api.CommandHeld, nil)
	if len(h.Held) != 2 || h.Held[0].Title != "patience" || h.Held[0].Alert || h.Held[1].ID != p.Held || !h.Held[1].Alert ||
		!h.MaySendNow || len(h.Readers) != 1 || chi.status().Groups[0].Held != 2 {
		t.Errorf("held: %+v", h)
	}
	raw, _ := json.Marshal(api.SendNowArgs{ID: p.Held, Readers: 0})
	var told *api.Error
	if _, err := chi.Do(context.Background(), api.CommandSendNow, raw); !errors.As(err, &told) || told.Code != api.CodeMoreReaders || told.Text != "1" {
		t.Errorf("fewer readers than there are: %v", err)
	}
	refused(t, chi, api.CodeNotAnAlert, api.CommandSendNow, api.SendNowArgs{ID: h.Held[0].ID, Readers: 1})
	refused(t, chi, api.CodeUnknownID, api.CommandSendNow, api.SendNowArgs{ID: "abcdefabcdef", Readers: 1})
	if sent := call[api.Posted](t, chi, api.CommandSendNow, api.SendNowArgs{ID: p.Held, Readers: 1}); sent.ID == "" || sent.Waiting {
		t.Errorf("sent: %+v", sent)
	}
	w.shows([]string{"danger", "au repos"}, chi, dia)
	if s := chi.status().Groups[0]; !s.Waiting || s.Held != 1 {
		t.Errorf("after the alert: %+v", s)
	}
	for _, p := range []*phone{chi, dia} {
		p.later(5 * time.Minute)
	}
	w.until("keys without an organiser", func() bool { return !chi.status().Groups[0].Waiting && !dia.status().Groups[0].Waiting })
	w.shows([]string{"danger", "patience", "au repos"}, chi, dia)
}

// Organisers put notices on top, others do not.
func TestPin(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	id := post1(t, ben, "utile")
	w.shows([]string{"utile"}, ana, ben)
	refused(t, ben, api.CodeNotOrganiser, api.CommandPin, api.PinArgs{ID: id})
	refused(t, ana, api.CodeAlreadySo, api.CommandPin, api.PinArgs{ID: id, Off: true})
	refused(t, ana, api.CodeUnknownID, api.CommandPin, api.PinArgs{ID: "ffffffffff"})
	for _, off := range []bool{false, true} {
		if p := call[api.Posted](t, ana, api.CommandPin, api.PinArgs{ID: id[:8], Off: off}); p.ID != id {
			t.Errorf("off %t: %+v", off, p)
		}
		w.until("Ben to see it", func() bool { return call[[]api.Notice](t, ben, api.CommandNotices, nil)[0].Pinned == !off })
	}
}

// An event about a member that a change says in words says so, and no other does.
func TestMembersEventIsToldOnce(t *testing.T) {
	w := newWorld(t)
	ana, ben, chi := w.phone("Ana"), w.phone("Ben"), w.phone("Chi")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	events := watching(t, ben)
	ana.admit("", chi)
	w.until("Chi's name", func() bool { return ana.memberOf("Chi") != "" && ben.memberOf("Chi") != "" })
	id := ana.memberOf("Chi")
	call[api.Done](t, ana, api.CommandRemove, api.RemoveArgs{Member: id})
	post1(t, ana, "fin")
	var told []bool
	read := false
	events.until(t, func(e api.Event) bool {
		if e.Event == api.EventMembers && e.ID == id {
			told = append(told, e.Told)
		}
		read = read || e.Event == api.EventNotice // in one step with the removal it may be first
		return read && len(told) > 1 && told[len(told)-1]
	})
	// Let in and put out: changes say it. That the name came between nothing else says,
	// unless it came with what let Chi in.
	if !slices.Equal(told, []bool{true, false, true}) && !slices.Equal(told, []bool{true, true}) {
		t.Errorf("told in words: %t", told)
	}
	list := call[[]api.Change](t, ana, api.CommandChanges, nil)
	if list[0].What != api.ChangeRemoved {
		t.Errorf("the newest change is %+v", list[0])
	}
}

// A paper that is ended is not called a new one.
func TestEndedPaperIsSaid(t *testing.T) {
	w := newWorld(t)
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	for _, x := range []struct{ key, want string }{
		{"8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f", api.DecisionRecovery},
		{"", api.DecisionRecoveryEnd},
	} {
		call[api.Proposed](t, ana, api.CommandRecoverySet, api.RecoverySetArgs{Key: x.key})
		if c := call[[]api.Change](t, ana, api.CommandChanges, nil)[0]; c.Decision != x.want || !c.Effective {
			t.Errorf("%q: %+v", x.key, c)
		}
	}
}
