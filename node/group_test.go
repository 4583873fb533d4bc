package node

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
)

// Five people form a group by link, and each hears the others; whoever was away,
// or fell over, has everything after; who comes late has what comes later; and
// the one who invited them is not needed any more.
func TestFivePhones(t *testing.T) {
	w := newWorld(t)
	ana, ben, chi, dia, eli := w.phone("Ana"), w.phone("Ben"), w.phone("Chi"), w.phone("Dia"), w.phone("Eli")
	id := ana.found(api.GroupCreateArgs{})
	ana.admit("", ben, chi, dia, eli)
	all := []*phone{ana, ben, chi, dia, eli}
	var want []string
	say := func(p *phone) {
		t.Helper()
		title := fmt.Sprintf("%s %d", p.name, len(want))
		post1(t, p, title)
		want = append(want, title)
	}
	for range 3 {
		for _, p := range all {
			say(p)
		}
	}
	w.shows(want, all...)
	for _, p := range all {
		w.until("the names of all", func() bool {
			for _, q := range all {
				if p.memberOf(q.name) == "" {
					return false
				}
			}
			return true
		})
	}

	// They dial one another by what they told of themselves, not Ana alone.
	for _, p := range all {
		w.until(p.name+" to be linked to all", func() bool { return p.status().Peers == len(all)-1 })
	}

	// Ben is away; Chi falls over: what is left of her is her folder as it was.
	ben.stop()
	crashed := copyFolder(t, chi.dir)
	chi.stop()
	say(ana)
	say(dia)
	ben, chi = w.start(ben.dir, "Ben"), w.start(crashed, "Chi")
	all = []*phone{ana, ben, chi, dia, eli}
	say(ben)
	say(chi)
	w.shows(want, all...)

	// Fay comes late: she is in, and has what is posted from then on.
	fay := w.phone("Fay")
	ana.admit(id[:6], fay)
	w.until("Fay to be linked", func() bool { return fay.status().Peers > 0 })
	say(eli)
	w.shows(want, all...)
	w.shows(want[len(want)-1:], fay)

	// Without Ana and after a new start, the others find each other by what they
	// told each other of themselves.
	for _, p := range all {
		w.until("to know the others' addresses", func() bool {
			known := 0
			p.inside(func() {
				for _, g := range p.groups {
					known = len(g.engine.PeerAddresses())
				}
			})
			return known == 5
		})
	}
	ana.stop()
	eli.stop()
	dia.stop()
	dia, eli = w.start(dia.dir, "Dia"), w.start(eli.dir, "Eli")
	say(dia)
	say(eli)
	w.shows(want, ben, chi, dia, eli)
}

// A person lets somebody in; until then the joiner is told to wait, and asking
// again by the same link changes nothing.
func TestApproveByHand(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	id := ana.found(api.GroupCreateArgs{})
	link := call[api.Invite](t, ana, api.CommandInvite, api.InviteArgs{}).Link
	for range 2 {
		if j := call[api.Joined](t, ben, api.CommandJoin, api.JoinArgs{Link: link}); j.State != api.StateWaiting || j.Group != id {
			t.Fatalf("joined without anybody's word: %+v", j)
		}
	}
	refused(t, ben, api.CodeNotJoined, api.CommandMembers, nil)
	refused(t, ben, api.CodeNotJoined, api.CommandNotices, nil)
	refused(t, ben, api.CodeNotJoined, api.CommandPost, announcement("trop tôt"))
	var list []api.Request
	w.until("the request", func() bool {
		list = call[[]api.Request](t, ana, api.CommandRequests, nil)
		return len(list) > 0
	})
	if len(list) != 1 || list[0].Name != "Ben" || list[0].Group != id || list[0].Words == "" {
		t.Fatalf("the requests are %+v", list)
	}
	refused(t, ben, api.CodeNotJoined, api.CommandApprove, api.ApproveArgs{ID: list[0].ID})
	refused(t, ana, api.CodeUnknownID, api.CommandApprove, api.ApproveArgs{ID: "00000000"})
	call[api.Done](t, ana, api.CommandApprove, api.ApproveArgs{ID: list[0].ID[:8]})
	w.until("Ben to be in", func() bool {
		in := false
		ben.inside(func() { in = ben.groups[groupID(t, id)].engine.Joined() })
		return in
	})
	refused(t, ben, api.CodeAlreadyInGroup, api.CommandJoin, api.JoinArgs{Link: link})
	if left := call[[]api.Request](t, ana, api.CommandRequests, api.GroupArgs{Group: id}); len(left) > 0 {
		t.Errorf("the request is still open: %+v", left)
	}
}

// With --posting authors a reader is refused until somebody makes an author of
// her; the words that people compare are the same on both sides.
func TestPostingAuthors(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{Posting: api.PostingAuthors})
	ana.admit("", ben)
	w.until("Ben's name", func() bool { return ana.memberOf("Ben") != "" && ben.memberOf("Ana") != "" })
	refused(t, ben, api.CodeMayNotPost, api.CommandPost, announcement("non"))
	if got := titles(t, ben); len(got) > 0 {
		t.Fatalf("a refused post is listed: %q", got)
	}
	refused(t, ben, api.CodeNotOrganiser, api.CommandGrant, api.GrantArgs{Member: ben.memberOf("Ben"), Role: api.RoleAuthor})
	refused(t, ana, api.CodeUnknownRole, api.CommandGrant, api.GrantArgs{Member: ana.memberOf("Ben"), Role: api.RoleReader})
	call[api.Done](t, ana, api.CommandGrant, api.GrantArgs{Member: ana.memberOf("Ben")[:6], Role: api.RoleAuthor})
	refused(t, ana, api.CodeAlreadySo, api.CommandGrant, api.GrantArgs{Member: ana.memberOf("Ben"), Role: api.RoleAuthor})
	role := func(p *phone) (role string) {
		for _, m := range call[[]api.Member](t, p, api.CommandMembers, nil) {
			if m.Name == "Ben" {
				role = m.Role
			}
		}
		return role
	}
	w.until("Ben to be an author", func() bool { return role(ben) == api.RoleAuthor })
	post1(t, ben, "oui")
	w.shows([]string{"oui"}, ana, ben)
	a, b := call[[]api.Member](t, ana, api.CommandMembers, nil), call[[]api.Member](t, ben, api.CommandMembers, nil)
	if !slices.Equal(a, b) {
		t.Errorf("two devices see the members differently:\n%+v\n%+v", a, b)
	}
	refused(t, ana, api.CodeCannotRemoveOrganiser, api.CommandRemove, api.RemoveArgs{Member: ana.memberOf("Ana")})
	refused(t, ana, api.CodeLastOrganiser, api.CommandLeave, nil)
}

// What is posted without a running node goes out when it next runs, and is
// counted as unsent until somebody else holds it, also across starts.
func TestOfflinePost(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	unsent := func(b api.Backend) int {
		return call[api.Status](t, b, api.CommandStatus, nil).Groups[0].Unsent
	}
	w.until("all to be taken", func() bool { return unsent(ben) == 0 })
	ben.stop()
	for i := range 2 {
		n := w.offline(ben.dir)
		if s := call[api.Status](t, n, api.CommandStatus, nil); s.Running || s.Groups[0].Unsent != i {
			t.Fatalf("offline, after %d posts: %+v", i, s)
		}
		post1(t, n, fmt.Sprint("hors ligne ", i))
		refused(t, n, api.CodeNotRunning, api.CommandConnect, api.ConnectArgs{Addr: "/ip4/192.0.2.1/tcp/1"})
		refused(t, n, api.CodeNotRunning, api.CommandJoin, api.JoinArgs{})
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ben = w.start(ben.dir, "Ben")
	w.shows([]string{"hors ligne 0", "hors ligne 1"}, ana, ben)
	w.until("Ben to know that it was taken", func() bool { return unsent(ben) == 0 })
	ana.stop()
	ben.stop()
	if n := w.offline(ben.dir); unsent(n) != 0 {
		t.Errorf("after a new start %d are unsent again", unsent(n))
	}
}

// Two groups of one profile have nothing in common that others see.
func TestTwoGroups(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	reserved := ana.addrs
	one := ana.found(api.GroupCreateArgs{})
	two := ana.found(api.GroupCreateArgs{})
	refused(t, ana, api.CodeWhichGroup, api.CommandPost, announcement("où ?"))
	refused(t, ana, api.CodeWhichGroup, api.CommandNotices, nil)
	refused(t, ana, api.CodeUnknownGroup, api.CommandMembers, api.GroupArgs{Group: "00000000"})
	refused(t, ana, api.CodeBadID, api.CommandMembers, api.GroupArgs{Group: one[:5]})
	refused(t, ana, api.CodeBadID, api.CommandMembers, api.GroupArgs{Group: "jardin"})
	ana.admit(two, ben)
	args := announcement("dans la deuxième")
	args.Group = two[:8]
	call[api.Posted](t, ana, api.CommandPost, args)
	w.shows([]string{"dans la deuxième"}, ben)
	if got := call[[]api.Notice](t, ana, api.CommandNotices, api.NoticesArgs{Group: one}); len(got) != 0 {
		t.Errorf("the other group lists %d notices", len(got))
	}
	ana.inside(func() {
		g := ana.sortedGroups()
		if !slices.Equal(ana.groups[groupID(t, one)].own, reserved) {
			t.Errorf("the first group is at %q, reserved was %q", ana.groups[groupID(t, one)].own, reserved)
		}
		for _, a := range g[0].own {
			if slices.Contains(g[1].own, a) {
				t.Errorf("both groups are at %s", a)
			}
		}
		if g[0].record.Port == g[1].record.Port || ana.reserved == g[0].record.Port || ana.reserved == g[1].record.Port {
			t.Errorf("ports %d and %d, reserved %d", g[0].record.Port, g[1].record.Port, ana.reserved)
		}
		if g[0].host == g[1].host {
			t.Error("both groups have one host")
		}
		a, b := g[0].engine.Members()[0], g[1].engine.Members()[0]
		for _, m := range g[1].engine.Members() {
			if m.Self {
				b = m
			}
		}
		for _, m := range g[0].engine.Members() {
			if m.Self {
				a = m
			}
		}
		if a.ID == b.ID {
			t.Error("one person has one id in both groups")
		}
	})
	// Her port stays hers; the group that she leaves is gone from the disk.
	var port uint16
	ana.inside(func() { port = ana.groups[groupID(t, two)].record.Port })
	call[api.Left](t, ana, api.CommandLeave, api.GroupArgs{Group: one})
	refused(t, ana, api.CodeUnknownGroup, api.CommandMembers, api.GroupArgs{Group: one})
	ana.stop()
	ana = w.start(ana.dir, "Ana")
	ana.inside(func() {
		if len(ana.groups) != 1 || ana.sortedGroups()[0].record.Port != port {
			t.Errorf("after a new start there are %d groups", len(ana.groups))
		}
		spaces, err := ana.db.Spaces()
		if err != nil || slices.Contains(spaces, store.Space(groupID(t, one))) {
			t.Errorf("the store still holds %x, %v", spaces, err)
		}
	})
}

func groupID(t *testing.T, s string) protocol.GroupID {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q is no group id", s)
	}
	return protocol.GroupID(b)
}
