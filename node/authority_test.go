package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
)

func (p *phone) organisers() api.Organisers {
	p.w.t.Helper()
	return call[api.Organisers](p.w.t, p, api.CommandOrganisers, nil)
}

// governed is all that reading commands show of who may what in a group.
func governed(t *testing.T, b api.Backend) string {
	t.Helper()
	var all []any
	for _, command := range []string{api.CommandMembers, api.CommandOrganisers, api.CommandDevices, api.CommandPolicy, api.CommandRecovery, api.CommandChanges} {
		all = append(all, call[any](t, b, command, nil))
	}
	doc, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// later lets time pass for one phone: a device that renews keys for others waits
// up to a minute, so that not all do it at once.
func (p *phone) later(d time.Duration) {
	p.w.t.Helper()
	p.inside(func() {
		ahead := p.clock
		p.clock = func() time.Time { return ahead().Add(d) }
	})
}

// council makes a group whose founder and two more organise, with a reader.
func council(t *testing.T) (w *world, ana, ben, chi, dia *phone) {
	w = newWorld(t)
	ana, ben, chi, dia = w.phone("Ana"), w.phone("Ben"), w.phone("Chi"), w.phone("Dia")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben, chi, dia)
	all := []*phone{ana, ben, chi, dia}
	w.until("all names", func() bool {
		for _, p := range all {
			for _, q := range all {
				if p.memberOf(q.name) == "" {
					return false
				}
			}
		}
		return true
	})
	// One founder decides alone, two together.
	p := call[api.Proposed](t, ana, api.CommandGrant, api.GrantArgs{Member: ana.memberOf("Ben"), Role: api.RoleOrganiser})
	if !p.Effective || p.Need != 1 || p.Of != 1 || p.Have != 1 {
		t.Fatalf("one organiser alone made another: %+v", p)
	}
	refused(t, ana, api.CodeAlreadySo, api.CommandGrant, api.GrantArgs{Member: ana.memberOf("Ben"), Role: api.RoleOrganiser})
	w.until("Ben to organise", func() bool { return len(ben.organisers().Organisers) == 2 })
	p = call[api.Proposed](t, ana, api.CommandGrant, api.GrantArgs{Member: ana.memberOf("Chi"), Role: api.RoleOrganiser})
	if p.Effective || p.Have != 1 || p.Need != 2 || p.Of != 2 {
		t.Fatalf("two decide together: %+v", p)
	}
	w.until("Ben to be asked", func() bool { return len(ben.organisers().Open) == 1 })
	if open := ben.organisers().Open[0]; open.ID != p.ID || open.Decision != api.DecisionOrganiser || open.By.Name != "Ana" || open.Target.Name != "Chi" ||
		open.Voted || len(open.Voters) != 1 || open.Voters[0].Name != "Ana" || open.Have != 1 || open.Need != 2 || len(open.Devices) != 1 || open.Created == "" {
		t.Fatalf("Ben is asked %+v", open)
	}
	refused(t, ana, api.CodeAlreadySo, api.CommandVote, api.VoteArgs{Proposal: p.ID})
	refused(t, dia, api.CodeNotOrganiser, api.CommandVote, api.VoteArgs{Proposal: p.ID})
	if v := call[api.Proposed](t, ben, api.CommandVote, api.VoteArgs{Proposal: p.ID[:6]}); !v.Effective || v.ID != p.ID || v.Have != 2 {
		t.Fatalf("Ben's vote decides: %+v", v)
	}
	refused(t, ben, api.CodeNotOpen, api.CommandVote, api.VoteArgs{Proposal: p.ID})
	for _, q := range all {
		w.until("all to see three organisers", func() bool { o := q.organisers(); return len(o.Organisers) == 3 && o.Need == 2 && o.Of == 3 })
	}
	return w, ana, ben, chi, dia
}

// Three organisers lose one: one stops him at once, two expel him, and everybody
// is told who did what.
func TestSuspendAndExpel(t *testing.T) {
	w, ana, ben, chi, dia := council(t)
	watched := watching(t, dia)
	id := map[string]string{}
	for _, n := range []string{"Ana", "Ben", "Chi", "Dia"} {
		id[n] = ana.memberOf(n)
	}

	before := governed(t, ana)
	for _, c := range []struct {
		code, command string
		args          any
	}{
		{api.CodeUnknownID, api.CommandSuspend, api.MemberArgs{Member: "000000"}},
		{api.CodeBadID, api.CommandSuspend, api.MemberArgs{Member: id["Ben"][:5]}},
		{api.CodeUnknownID, api.CommandSuspend, api.MemberArgs{Member: "Chi is a name"}},
		{api.CodeNotAnOrganiser, api.CommandSuspend, api.MemberArgs{Member: id["Dia"]}},
		{api.CodeNotYourself, api.CommandSuspend, api.MemberArgs{Member: id["Ana"]}},
		{api.CodeNotSuspended, api.CommandReinstate, api.MemberArgs{Member: id["Ben"]}},
		{api.CodeNotAnOrganiser, api.CommandReinstate, api.MemberArgs{Member: id["Dia"]}},
		{api.CodeUnknownID, api.CommandExpel, api.ExpelArgs{Member: "000000"}},
		{api.CodeUnknownID, api.CommandExpel, api.ExpelArgs{Member: id["Ben"], Undo: []string{"000000"}}},
		{api.CodeTooLarge, api.CommandExpel, api.ExpelArgs{Member: id["Ben"], Undo: make([]string, 257)}},
		{api.CodeUnknownID, api.CommandVote, api.VoteArgs{Proposal: "000000"}},
		{api.CodeBadID, api.CommandVote, api.VoteArgs{Proposal: "0"}},
		{api.CodeCannotRemoveOrganiser, api.CommandRemove, api.RemoveArgs{Member: id["Ben"]}},
		{api.CodeNoAlarm, api.CommandConfirm, nil},
		{api.CodeOrganiserLeaves, api.CommandLeave, nil},
	} {
		refused(t, ana, c.code, c.command, c.args)
	}
	for _, c := range []struct {
		command string
		args    any
	}{
		{api.CommandSuspend, api.MemberArgs{Member: id["Ben"]}}, {api.CommandReinstate, api.MemberArgs{Member: id["Ben"]}},
		{api.CommandExpel, api.ExpelArgs{Member: id["Ben"]}}, {api.CommandGrant, api.GrantArgs{Member: id["Dia"], Role: api.RoleOrganiser}},
		{api.CommandRecoverySet, api.RecoverySetArgs{Key: strings.Repeat("ab", 32)}},
		{api.CommandDevicesSet, api.DevicesSetArgs{Member: id["Ben"], Devices: []string{"abcdef"}}},
	} {
		refused(t, dia, api.CodeNotOrganiser, c.command, c.args)
	}
	if after := governed(t, ana); after != before {
		t.Fatalf("refused commands changed\n%s\nto\n%s", before, after)
	}

	// He is stopped at once; the keys are renewed without him.
	call[api.Done](t, ana, api.CommandSuspend, api.MemberArgs{Member: id["Ben"]})
	refused(t, ana, api.CodeAlreadySuspended, api.CommandSuspend, api.MemberArgs{Member: id["Ben"]})
	refused(t, ana, api.CodeOneSuspension, api.CommandSuspend, api.MemberArgs{Member: id["Chi"]})
	w.until("all to see the suspension", func() bool {
		for _, p := range []*phone{ana, chi, dia} {
			if s := p.status().Groups[0]; len(s.Suspended) != 1 || s.Suspended[0].Name != "Ben" {
				return false
			}
		}
		return true
	})
	for _, o := range chi.organisers().Organisers {
		if suspended := len(o.SuspendedBy) == 1 && o.SuspendedBy[0].Name == "Ana"; suspended != (o.Name == "Ben") || o.Self != (o.Name == "Chi") || len(o.Devices) != 1 {
			t.Errorf("Chi sees %+v", o)
		}
	}
	for _, m := range call[[]api.Member](t, dia, api.CommandMembers, nil) {
		if m.Suspended != (m.Name == "Ben") {
			t.Errorf("Dia sees %+v", m)
		}
	}

	p := call[api.Proposed](t, chi, api.CommandExpel, api.ExpelArgs{Member: id["Ben"]})
	if p.Effective || p.Have != 1 || p.Need != 2 {
		t.Fatalf("Chi alone expels: %+v", p)
	}
	w.until("Ana to be asked", func() bool { return len(ana.organisers().Open) == 1 })
	// The same asked again is a vote for what is open.
	if again := call[api.Proposed](t, ana, api.CommandExpel, api.ExpelArgs{Member: id["Ben"]}); again.ID != p.ID || !again.Effective {
		t.Fatalf("Ana agrees: %+v", again)
	}
	w.until("Dia to see him gone", func() bool { return dia.memberOf("Ben") == "" && len(dia.organisers().Organisers) == 2 })
	post1(t, ana, "sans lui")
	w.shows([]string{"sans lui"}, ana, chi, dia)
	if got := titles(t, ben); len(got) > 0 {
		t.Errorf("the expelled reads %q", got)
	}

	// Who did what to whom, newest first, the same for all.
	list := call[[]api.Change](t, dia, api.CommandChanges, api.ChangesArgs{Limit: 2})
	if len(list) != 2 || list[0].What != api.ChangeProposed || list[0].Decision != api.DecisionExpel || !list[0].Effective || list[0].Open ||
		list[0].By.Name != "Chi" || list[0].Target.ID != id["Ben"] || list[1].What != api.ChangeSuspended || list[1].By.Name != "Ana" {
		t.Errorf("the changes are %+v", list)
	}
	if all := call[[]api.Change](t, dia, api.CommandChanges, nil); len(all) != 7 || all[6].What != api.ChangeAdded {
		t.Errorf("there are %d changes: %+v", len(all), all)
	}
	watched.until(t, func(e api.Event) bool {
		return e.Event == api.EventAuthority && e.Change != nil && e.Change.What == api.ChangeSuspended && e.Change.Effective &&
			e.Change.By.Name == "Ana" && e.Change.Target.Name == "Ben"
	})
	watched.until(t, func(e api.Event) bool {
		return e.Change != nil && e.Change.Open && e.Change.Decision == api.DecisionExpel && e.Stands != nil && e.Stands.Have == 1 && e.Stands.Need == 2 && e.Stands.ID == p.ID
	})
	watched.until(t, func(e api.Event) bool {
		return e.Change != nil && e.Change.Decision == api.DecisionExpel && e.Change.Effective && e.Stands == nil
	})
}

// watched is what a phone was told of, in order.
type watched struct{ events chan api.Event }

func watching(t *testing.T, p *phone) *watched {
	t.Helper()
	out, begun := &watched{events: make(chan api.Event, 1024)}, make(chan bool)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Watch(ctx, func(e api.Event) error {
			if e.Event == api.EventWatching {
				close(begun)
			}
			out.events <- e
			return nil
		})
	}()
	<-begun
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return out
}

// until takes events up to one that fits.
func (w *watched) until(t *testing.T, fits func(api.Event) bool) {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case e := <-w.events:
			if fits(e) {
				return
			}
		case <-end:
			t.Fatal("nobody was told")
		}
	}
}

// A suspended organiser does nothing alone, votes still, and is given back.
func TestReinstate(t *testing.T) {
	w, ana, ben, chi, _ := council(t)
	call[api.Done](t, ana, api.CommandSuspend, api.MemberArgs{Member: ana.memberOf("Ben")})
	w.until("Ben to know", func() bool { return len(ben.status().Groups[0].Suspended) == 1 })
	refused(t, ben, api.CodeSuspended, api.CommandSuspend, api.MemberArgs{Member: ben.memberOf("Ana")})
	refused(t, ben, api.CodeSuspended, api.CommandInvite, api.InviteArgs{})
	w.until("Chi to know", func() bool { return len(chi.status().Groups[0].Suspended) == 1 })
	p := call[api.Proposed](t, chi, api.CommandReinstate, api.MemberArgs{Member: chi.memberOf("Ben")})
	w.until("Ben to be asked", func() bool { return len(ben.organisers().Open) == 1 })
	if v := call[api.Proposed](t, ben, api.CommandVote, api.VoteArgs{Proposal: p.ID}); !v.Effective {
		t.Fatalf("two of three give back: %+v", v)
	}
	w.until("Ana to know", func() bool { return len(ana.status().Groups[0].Suspended) == 0 })
	refused(t, ana, api.CodeGivenBack, api.CommandSuspend, api.MemberArgs{Member: ana.memberOf("Ben")})
}

// The rules of a group, the paper and the devices of its organisers.
func TestPolicyRecoveryDevices(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	refused(t, ana, api.CodeNoGroup, api.CommandPolicy, nil)
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	w.until("Ben's name", func() bool { return ana.memberOf("Ben") != "" && ben.memberOf("Ana") != "" })

	start := api.Policy{Posting: api.PostingAll, PeriodDays: 7, KeepDays: 30, History: api.HistoryNone, Carriers: []string{}}
	if p := call[api.Policy](t, ben, api.CommandPolicy, nil); !reflect.DeepEqual(p, start) {
		t.Fatalf("the rules are %+v", p)
	}
	num := func(n int) *int { return &n }
	word := func(s string) *string { return &s }
	on := true
	before := governed(t, ana)
	for _, a := range []struct {
		code string
		args api.PolicySetArgs
	}{
		{api.CodePolicyBounds, api.PolicySetArgs{PeriodDays: num(0)}}, {api.CodePolicyBounds, api.PolicySetArgs{PeriodDays: num(8)}},
		{api.CodePolicyBounds, api.PolicySetArgs{PeriodDays: num(257)}}, {api.CodePolicyBounds, api.PolicySetArgs{KeepDays: num(31)}},
		{api.CodePolicyBounds, api.PolicySetArgs{KeepDays: num(-255)}}, {api.CodeUnknownPosting, api.PolicySetArgs{Posting: word("none")}},
		{api.CodeBadRequest, api.PolicySetArgs{History: word("all")}}, {api.CodeAlreadySo, api.PolicySetArgs{}},
		{api.CodeAlreadySo, api.PolicySetArgs{KeepDays: num(30)}}, {api.CodeAlreadySo, api.PolicySetArgs{Carriers: &[]string{}}},
		{api.CodeInvalidCarrier, api.PolicySetArgs{Carriers: &[]string{"/ip4/192.0.2.7/tcp/4001"}}},
		{api.CodeTooManyCarriers, api.PolicySetArgs{Carriers: &[]string{"a", "b", "c", "d", "e"}}},
	} {
		refused(t, ana, a.code, api.CommandPolicySet, a.args)
	}
	refused(t, ben, api.CodeNotOrganiser, api.CommandPolicySet, api.PolicySetArgs{PeriodDays: num(3)})
	for _, key := range []string{"ab", strings.Repeat("g", 64), strings.Repeat("0", 64)} {
		refused(t, ana, api.CodeBadRequest, api.CommandRecoverySet, api.RecoverySetArgs{Key: key})
	}
	refused(t, ana, api.CodeNoRecovery, api.CommandRecoverySet, api.RecoverySetArgs{})
	refused(t, ana, api.CodeRecoveryWords, api.CommandRecoveryUse, api.RecoveryUseArgs{Proposal: "abcdef", Words: "some words"})
	own := call[[]api.Device](t, ana, api.CommandDevices, nil)
	if len(own) != 1 || !own[0].Self || !own[0].Operating || own[0].Removed || own[0].Member != ana.memberOf("Ana") || own[0].Added != "" {
		t.Fatalf("Ana's devices are %+v", own)
	}
	refused(t, ana, api.CodeDevicesBounds, api.CommandDevicesSet, api.DevicesSetArgs{Member: own[0].Member})
	refused(t, ana, api.CodeDevicesBounds, api.CommandDevicesSet, api.DevicesSetArgs{Member: own[0].Member, Devices: make([]string, 5)})
	refused(t, ana, api.CodeUnknownID, api.CommandDevicesSet, api.DevicesSetArgs{Member: own[0].Member, Devices: []string{"000000"}})
	refused(t, ana, api.CodeAlreadySo, api.CommandDevicesSet, api.DevicesSetArgs{Member: own[0].Member, Devices: []string{own[0].ID[:6]}})
	refused(t, ana, api.CodeOperatingDevice, api.CommandDevicesRemove, api.DeviceArgs{Device: own[0].ID})
	refused(t, ana, api.CodeUnknownID, api.CommandDevicesRemove, api.DeviceArgs{Device: "000000"})
	refused(t, ana, api.CodeUnknownID, api.CommandDevices, api.DevicesArgs{Member: "000000"})
	if after := governed(t, ana); after != before {
		t.Fatalf("refused commands changed\n%s\nto\n%s", before, after)
	}

	want := api.Policy{Posting: api.PostingOrganisers, PeriodDays: 3, KeepDays: 9, History: api.HistoryPinned, HighRisk: true, AlertsWhileRenewing: true,
		Carriers: []string{"/ip4/192.0.2.7/tcp/4001/p2p/" + carrierID}}
	p := call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{Posting: word(want.Posting), PeriodDays: num(3), KeepDays: num(9),
		History: word(want.History), HighRisk: &on, AlertsWhileRenewing: &on, Carriers: &[]string{want.Carriers[0] + "#" + strings.Repeat("A", 43)}})
	if !p.Effective {
		t.Fatalf("%+v", p)
	}
	w.until("Ben to know the rules", func() bool { return reflect.DeepEqual(call[api.Policy](t, ben, api.CommandPolicy, nil), want) })
	refused(t, ben, api.CodeMayNotPost, api.CommandPost, announcement("non"))
	// What is not named stays.
	off := false
	call[api.Proposed](t, ana, api.CommandPolicySet, api.PolicySetArgs{HighRisk: &off})
	want.HighRisk = false
	if got := call[api.Policy](t, ana, api.CommandPolicy, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("the rules are %+v", got)
	}

	// A group of two with a paper: it speaks where one of them is lost.
	paper, err := identity.NewRecoveryKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := paper.Public()
	call[api.Proposed](t, ana, api.CommandGrant, api.GrantArgs{Member: ana.memberOf("Ben"), Role: api.RoleOrganiser})
	w.until("Ben to organise", func() bool { return len(ben.organisers().Organisers) == 2 })
	p = call[api.Proposed](t, ana, api.CommandRecoverySet, api.RecoverySetArgs{Key: hex.EncodeToString(public[:])})
	w.until("Ben to be asked", func() bool { return len(ben.organisers().Open) == 1 })
	if o := ben.organisers().Open[0]; p.Effective || o.Decision != api.DecisionRecovery || o.PaperMay || call[api.Recovery](t, ben, api.CommandRecovery, nil).Exists {
		t.Fatalf("one of two: %+v, %+v", p, o)
	}
	refused(t, ana, api.CodeNoRecovery, api.CommandRecoveryUse, api.RecoveryUseArgs{Proposal: p.ID, Words: paper.Paper()})
	call[api.Proposed](t, ben, api.CommandVote, api.VoteArgs{Proposal: p.ID})
	w.until("Ana to have the paper", func() bool {
		return call[api.Recovery](t, ana, api.CommandRecovery, nil).Exists && ana.organisers().Paper
	})
	p = call[api.Proposed](t, ana, api.CommandExpel, api.ExpelArgs{Member: ana.memberOf("Ben")})
	if p.Effective || !p.PaperMay {
		t.Fatalf("one of two expels: %+v", p)
	}
	other, err := identity.NewRecoveryKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, ana, api.CodeRecoveryWords, api.CommandRecoveryUse, api.RecoveryUseArgs{Proposal: p.ID, Words: other.Paper()})
	if v := call[api.Proposed](t, ana, api.CommandRecoveryUse, api.RecoveryUseArgs{Proposal: p.ID[:6], Words: strings.ToUpper(paper.Paper())}); !v.Effective {
		t.Fatalf("the paper decides: %+v", v)
	}
	if o := ana.organisers(); len(o.Organisers) != 1 || len(o.Open) != 0 {
		t.Errorf("after the paper spoke: %+v", o)
	}
	w.until("Ben to be out", func() bool { return ben.status().Groups[0].Removed })
}

// Who leaves is gone for the others too, and the keys are renewed without her.
func TestLeaveIsSaid(t *testing.T) {
	w := newWorld(t)
	ana, ben, chi := w.phone("Ana"), w.phone("Ben"), w.phone("Chi")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben, chi)
	w.until("names", func() bool {
		return ana.memberOf("Ben") != "" && chi.memberOf("Ben") != "" && ben.memberOf("Ana") != ""
	})
	w.until("Ben to be linked", func() bool { return ben.status().Peers > 0 })
	generation := ana.status().Groups[0].Epoch
	id := ana.memberOf("Ben")
	refused(t, ana, api.CodeLastOrganiser, api.CommandLeave, nil)
	if l := call[api.Left](t, ben, api.CommandLeave, nil); !l.Done || !l.Told {
		t.Fatalf("Ben left: %+v", l)
	}
	if s := ben.status(); len(s.Groups) != 0 {
		t.Errorf("Ben's phone remembers %+v", s.Groups)
	}
	w.until("the others to know", func() bool { return ana.memberOf("Ben") == "" && chi.memberOf("Ben") == "" })
	ana.later(time.Minute)
	w.until("new keys", func() bool { return ana.status().Groups[0].Epoch > generation })
	post1(t, ana, "après")
	w.shows([]string{"après"}, ana, chi)
	if c := call[[]api.Change](t, chi, api.CommandChanges, api.ChangesArgs{Limit: 1}); c[0].What != api.ChangeLeft || c[0].By.ID != id || !c[0].Effective {
		t.Errorf("the newest change is %+v", c)
	}

	// Without a network nobody is told, and the phone forgets all the same. The last
	// one goes as she likes.
	chi.stop()
	n := w.offline(chi.dir)
	if l := call[api.Left](t, n, api.CommandLeave, nil); !l.Done || l.Told {
		t.Errorf("Chi left: %+v", l)
	}
	refused(t, n, api.CodeNoGroup, api.CommandLeave, nil)
	call[api.Done](t, ana, api.CommandRemove, api.RemoveArgs{Member: ana.memberOf("Chi")})
	if l := call[api.Left](t, ana, api.CommandLeave, nil); !l.Done || !l.Told {
		t.Errorf("Ana left: %+v", l)
	}
}

// Leaving that was cut short after it was signed goes on: at the next start the
// phone tells it, and forgets when it is asked to.
func TestLeaveCutShort(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	w.until("names", func() bool { return ana.memberOf("Ben") != "" && ben.memberOf("Ana") != "" })
	ana.stop()
	w.until("Ana to be gone", func() bool { return ben.status().Peers == 0 })
	err := ben.change(context.Background(), func() (*groupState, error) {
		g := ben.sortedGroups()[0]
		return g, g.engine.Leave(ben.now())
	})
	if err != nil {
		t.Fatal(err)
	}
	ben.stop()
	ana = w.start(ana.dir, "Ana") // first: who finds nobody pauses longer each time
	ben = w.start(ben.dir, "Ben")
	if s := ben.status().Groups[0]; !s.Removed {
		t.Fatalf("Ben's phone says %+v", s)
	}
	refused(t, ben, api.CodeRemoved, api.CommandPost, announcement("trop tard"))
	if l := call[api.Left](t, ben, api.CommandLeave, nil); !l.Told || len(ben.status().Groups) != 0 {
		t.Fatalf("Ben left: %+v", l)
	}
	w.until("Ana to know", func() bool { return ana.memberOf("Ben") == "" })
}

// While nobody is there to renew the keys, the status says why what is written
// waits.
func TestStatusSaysWhyMessagesWait(t *testing.T) {
	w := newWorld(t)
	ana, ben, chi := w.phone("Ana"), w.phone("Ben"), w.phone("Chi")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben, chi)
	w.until("names", func() bool { return chi.memberOf("Ben") != "" && ben.memberOf("Chi") != "" })
	for _, p := range []*phone{ben, chi} {
		w.until("links", func() bool { return p.status().Peers == 2 })
	}
	ana.stop()
	w.until("Ana to be gone", func() bool { return chi.status().Peers == 1 && ben.status().Peers == 1 })
	if s := chi.status().Groups[0]; s.Waiting || s.Because != nil {
		t.Fatalf("nothing waits yet: %+v", s)
	}
	if l := call[api.Left](t, ben, api.CommandLeave, nil); !l.Told {
		t.Fatalf("Ben left: %+v", l)
	}
	w.until("Chi to wait", func() bool { return chi.status().Groups[0].Waiting })
	if s := chi.status().Groups[0]; s.Because == nil || s.Because.What != api.ChangeLeft || s.Because.By.Name != "Ben" || s.Alarm {
		t.Fatalf("Chi waits: %+v", s)
	}
	if id := post1(t, chi, "patience"); id != "" {
		t.Errorf("what waits has the id %s", id)
	}
	ana = w.start(ana.dir, "Ana")
	w.until("Ana to know", func() bool { return ana.memberOf("Ben") == "" })
	ana.later(time.Minute)
	w.until("the keys to be renewed", func() bool { s := chi.status().Groups[0]; return !s.Waiting && s.Because == nil })
	w.shows([]string{"patience"}, ana, chi)
}
