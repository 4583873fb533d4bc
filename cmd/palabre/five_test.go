package main

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// phrase is what the five people post, in one of their languages.
type phrase struct{ lang, title, body, place string }

var phrases = []phrase{
	{"fr", "Distribution de repas n° %d", "Demain à 18 h, place de l'église.\nApportez un sac.", "Salle des fêtes"},
	{"ar", "توزيع الطعام %d", "غدا في الساعة السادسة مساء، في ساحة الكنيسة.\nأحضروا كيسا.", "قاعة البلدية"},
	{"ti", "ምዕዳል ምግቢ %d", "ጽባሕ ሰዓት ሸሞንተ ኣብ ቅድሚ ቤተ ክርስትያን።\nሳንኬሎ ሒዝኩም ምጹ።", "ኣዳራሽ ከተማ"},
	{"es", "Reparto de comida n.º %d", "Mañana a las 18 h, en la plaza.\n¡Traed una bolsa, por favor!", "Salón parroquial"},
}

// posting is one notice that somebody is about to post: a meeting each sixth.
type posting struct {
	kind, lang, title, body string
	meeting                 *api.Meeting
}

func postingOf(i int, day time.Time) posting {
	w := phrases[i%len(phrases)]
	d := posting{kind: api.KindAnnouncement, lang: w.lang, title: fmt.Sprintf(w.title, i), body: w.body}
	if i%6 == 5 {
		start := day.Add(time.Duration(i) * time.Hour)
		d.kind = api.KindMeeting
		d.meeting = &api.Meeting{Start: start.Format(time.RFC3339), End: start.Add(2 * time.Hour).Format(time.RFC3339),
			TZ: []string{"Europe/Paris", "Asia/Beirut", "Africa/Asmara", "America/Bogota"}[i/6%4], Place: w.place}
	}
	return d
}

func (d posting) args() []string {
	a := []string{"post", d.kind, "--title", d.title, "--body", d.body, "--lang", d.lang}
	if d.meeting != nil {
		a = append(a, "--start", d.meeting.Start, "--end", d.meeting.End, "--tz", d.meeting.TZ, "--place", d.meeting.Place)
	}
	return a
}

// Five people: 100 announcements and 20 meetings in four languages from two
// authors reach everybody, whoever was killed or away; who is removed gets none
// of what comes later.
func TestFivePeopleMissNothing(t *testing.T) {
	t.Parallel()
	dir := place(t)
	var all []*person
	for _, name := range []string{"Awa", "Bilal", "Clara", "Dawit", "Elena"} {
		p := someone(t, dir, name)
		must(t, p.on(onQUIC, onTCP))
		all = append(all, p)
	}
	awa, bilal, clara, dawit, elena := all[0], all[1], all[2], all[3], all[4]
	newGroup(t, api.PostingAuthors, awa, all[1:]...)
	ids := memberIDs(t, awa, len(all))

	// A reader may not post until an organiser says so.
	if e := bilal.try(t, postingOf(0, time.Now().UTC()).args()...).fault(t); e.Code != api.CodeMayNotPost {
		t.Errorf("a reader posts: %+v", e)
	}
	must(t, awa.do(nil, "grant", ids["Bilal"], "author"))
	must(t, bilal.until("the role", func() (bool, error) {
		var list []api.Member
		err := bilal.do(&list, "members")
		return slices.ContainsFunc(list, func(m api.Member) bool { return m.ID == ids["Bilal"] && m.Role == api.RoleAuthor }), err
	}))

	const count = 120
	day := time.Now().UTC().Truncate(time.Hour).Add(24 * time.Hour)
	want := map[string]posting{} // by id
	authors := map[string]string{}
	post := func(from, to int) {
		t.Helper()
		var both sync.WaitGroup
		var mu sync.Mutex
		for k, author := range []*person{awa, bilal} {
			both.Go(func() {
				for i := from + k; i < to; i += 2 {
					d := postingOf(i, day)
					var posted api.Posted
					if err := author.do(&posted, d.args()...); err != nil {
						t.Errorf("notice %d: %v", i, err)
						return
					}
					mu.Lock()
					want[posted.ID], authors[posted.ID] = d, ids[author.name]
					mu.Unlock()
				}
			})
		}
		both.Wait()
	}
	post(0, 40)
	clara.kill()
	post(40, 60)
	must(t, clara.on(onQUIC, onTCP))
	must(t, dawit.off())
	post(60, count)
	must(t, dawit.on(onQUIC, onTCP))
	if len(want) != count {
		t.Fatalf("%d notices were posted", len(want))
	}

	var first []api.Notice
	for _, p := range all {
		var list []api.Notice
		err := p.until("all notices", func() (bool, error) {
			var err error
			list, err = p.notices(false)
			return len(list) >= count, err
		})
		if err != nil {
			t.Fatalf("%v: has %d", err, len(list))
		}
		if first == nil {
			first = list
			checkPosted(t, list, want, authors)
		}
		same(t, "the list of "+p.name+" against that of Awa", first, list)
	}
	for _, p := range all {
		must(t, p.until("nothing unsent and nothing missing", func() (bool, error) {
			var s api.Status
			err := p.do(&s, "status")
			return err == nil && len(s.Groups) == 1 && s.Groups[0].Unsent == 0 && s.Groups[0].Missing == 0, err
		}))
	}

	must(t, awa.do(nil, "remove", ids["Elena"]))
	var later []string
	for i, author := range []*person{awa, bilal, awa} {
		if author == bilal {
			memberIDs(t, bilal, len(all)-1) // he knows of the removal
		}
		later = append(later, says(t, author, fmt.Sprintf("Nouveau lieu %d", i), "Rue des Lilas, au 4."))
	}
	for _, p := range []*person{bilal, clara, dawit, awa} {
		for _, id := range later {
			if _, err := p.reads(id, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone, err := elena.notices(false)
	must(t, err)
	same(t, "what the removed member has", first, gone)
	// Nor does she get it when she starts anew and dials everybody again.
	must(t, elena.off())
	must(t, elena.on(onQUIC, onTCP))
	id := says(t, awa, "Encore un", "Le soir.")
	for _, p := range []*person{bilal, clara, dawit} {
		if _, err := p.reads(id, 1); err != nil {
			t.Fatal(err)
		}
	}
	gone, err = elena.notices(false)
	must(t, err)
	same(t, "what the removed member has after a restart", first, gone)
}

// memberIDs waits until somebody sees so many members with their names.
func memberIDs(t *testing.T, p *person, count int) map[string]string {
	t.Helper()
	ids := map[string]string{}
	must(t, p.until("the members", func() (bool, error) {
		var list []api.Member
		err := p.do(&list, "members")
		clear(ids)
		for _, m := range list {
			if m.Name != "" {
				ids[m.Name] = m.ID
			}
		}
		return len(list) == count && len(ids) == count, err
	}))
	return ids
}

// checkPosted compares a list with what was posted.
func checkPosted(t *testing.T, list []api.Notice, want map[string]posting, authors map[string]string) {
	t.Helper()
	if len(list) != len(want) {
		t.Errorf("%d notices are listed, %d were posted", len(list), len(want))
	}
	for i, n := range list {
		d, ok := want[n.ID]
		if !ok {
			t.Errorf("nobody posted %s", n.ID)
			continue
		}
		got := posting{n.Kind, n.Lang, n.Title, n.Body, n.Meeting}
		same(t, "notice "+n.ID, d, got)
		if n.Author != authors[n.ID] || n.Status != api.StatusActive || n.Version != 1 {
			t.Errorf("notice %s is by %s, %s, version %d", n.ID, n.Author, n.Status, n.Version)
		}
		if i > 0 && n.Created > list[i-1].Created {
			t.Errorf("notice %s is newer than the one before it", n.ID)
		}
	}
}
