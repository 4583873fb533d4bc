package main

import (
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// A person is told what waits, and that an alert can go now, although how many
// removed people can read it.
func TestPeopleReadWhatWaits(t *testing.T) {
	at := "2026-11-24T10:00:00Z"
	id := strings.Repeat("4", 16)
	r, dir := record(t, map[string]any{
		api.CommandPost: api.Posted{Waiting: true, Held: id, MaySendNow: true, Readers: []api.Person{dawit, double}},
		api.CommandHeld: api.Held{MaySendNow: true, Readers: []api.Person{dawit}, Held: []api.HeldNotice{
			{ID: strings.Repeat("3", 16), Kind: api.KindAnnouncement, Title: "Calm", Created: at},
			{ID: id, Kind: api.KindAnnouncement, Title: "Run\x1b[2J", Alert: true, Created: at}}},
		api.CommandSendNow: &api.Error{Code: api.CodeMoreReaders, Text: "3"},
		api.CommandPin:     api.Posted{ID: "ddeeff"},
		api.CommandNotices: []api.Notice{{ID: "aabbcc", Title: "New", Created: at, Status: api.StatusActive, Kind: api.KindAnnouncement},
			{ID: "ddeeff", Title: "Old", Created: at, Status: api.StatusActive, Kind: api.KindAnnouncement, Pinned: true}},
	})
	offer := "To send it now, although people who were removed can read it, "
	prints(t, dir, "Saved. It goes out when the keys of the group have been renewed; it gets its id then. Look with: palabre held\n"+
		offer+"2 of them (Dawit, Awa eeeeeeee): palabre send-now 44444444 --readers 2\n", "post", "announcement", "--title", "T", "--urgency", "alert")
	prints(t, dir, "33333333  2026-11-24 10:00  announcement  Calm\n44444444  2026-11-24 10:00  ALERT         Run\ufffd[2J\n\n"+
		offer+"1 of them (Dawit): palabre send-now 44444444 --readers 1\n", "held")
	p := palabre(t, dir, "send-now", "444444", "--readers", "2")
	if code := p.exit(t); code != exitFailed || !strings.HasPrefix(p.err.String(), "palabre: nothing was sent: the removed people who could read it are 3\n") {
		t.Errorf("exit %d, %s", code, p.err.String())
	}
	prints(t, dir, "Saved: notice ddeeff is on top for everybody.\n", "pin", "ddeeff")
	prints(t, dir, "Saved: notice ddeeff is no longer on top.\n", "pin", "ddeeff", "--off")
	prints(t, dir, "ddeeff  2026-11-24 10:00  PINNED        Old\naabbcc  2026-11-24 10:00  announcement  New\n", "notices")
	for range 6 {
		<-r.asked
	}

	_, dir = record(t, map[string]any{
		api.CommandPost: api.Posted{ID: "ddeeff", Expires: at},
		api.CommandHeld: api.Held{Held: []api.HeldNotice{{ID: id, Kind: api.KindMeeting, Title: "Run", Alert: true, Created: at}}},
	})
	prints(t, dir, "Saved. It goes out as soon as another phone of the group can be reached. Its id is ddeeff\nIt is kept until 2026-11-24 10:00.\n",
		"post", "announcement", "--title", "T")
	prints(t, dir, "44444444  2026-11-24 10:00  ALERT  Run\n\nThe rules of the group keep alerts waiting, too: palabre policy\n", "held")
}
