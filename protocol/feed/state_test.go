package feed

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// permute calls f with every order of items.
func permute(items []Item, f func([]Item)) {
	var rec func(int)
	rec = func(k int) {
		if k == len(items) {
			f(items)
			return
		}
		for i := k; i < len(items); i++ {
			items[k], items[i] = items[i], items[k]
			rec(k + 1)
			items[k], items[i] = items[i], items[k]
		}
	}
	rec(0)
}

// Spec 50 section 2: "the meaning of a set of items is a function of the set".
func TestEveryOrderGivesTheSame(t *testing.T) {
	stories := map[string][]Item{
		"resolved conflict": {
			created(t, "n", amina, meetingAt("Salle A")),
			edited(t, "e1", amina, amends(2, "n", "n"), meetingAt("Salle B")),
			edited(t, "e2", bashir, amends(2, "n", "n"), meetingAt("Salle C")),
			edited(t, "e3", bashir, amends(3, "n", "e1", "e2"), meetingAt("Salle D")),
			edited(t, "x", carlos, amends(4, "n", "e3"), meetingAt("Piège")),
		},
		"cancel beside an edit": {
			created(t, "n", amina, meetingAt("Salle A")),
			edited(t, "e1", amina, amends(2, "n", "n"), meetingAt("Salle B")),
			cancelled(t, "c1", bashir, amends(2, "n", "n"), "police"),
			edited(t, "e2", amina, amends(3, "n", "e1"), meetingAt("Salle C")),
			cancelled(t, "c2", amina, amends(4, "n", "e2"), "reporté"),
		},
		"open conflict": {
			created(t, "n", amina, meetingAt("Salle A")),
			edited(t, "e1", amina, amends(2, "n", "n"), meetingAt("Salle B")),
			edited(t, "e2", bashir, amends(2, "n", "n"), meetingAt("Salle C")),
			item(t, "p", protocol.TypeProfile, amina, Profile{Name: "Amina", Version: 1}),
			item(t, "g", protocol.TypeGroupCard, bashir, GroupCard{Name: "Collectif", Version: 1}),
		},
	}
	want := map[string]func(View) bool{
		"resolved conflict": func(v View) bool {
			return v.Status == Active && v.Meeting.Place == "Salle D" && v.Number == 3 && v.Editor == bashir && len(v.Conflicts) == 0
		},
		"cancel beside an edit": func(v View) bool {
			return v.Status == Cancelled && v.CancelReason == "reporté" && v.Meeting.Place == "Salle C" && len(v.Conflicts) == 0
		},
		"open conflict": func(v View) bool {
			return v.Status == Conflict && len(v.Conflicts) == 1 && v.Meeting.Place != v.Conflicts[0].Meeting.Place && !v.Missing
		},
	}
	for name, items := range stories {
		var first []View
		orders := 0
		permute(items, func(order []Item) {
			orders++
			s := holding(t, order...)
			for _, it := range order[:3] { // again, as duplicates
				if _, err := s.Apply(it); err != nil {
					t.Fatal(err)
				}
			}
			got := s.List(t0, []string{"fr"}, false)
			if first == nil {
				first = got
			}
			if !reflect.DeepEqual(got, first) || len(got) != 1 || !want[name](got[0]) {
				t.Fatalf("%s: order %d: %+v", name, orders, got)
			}
			if len(s.waiting) != 0 || s.waitingAll != 0 {
				t.Fatalf("%s: %d still counted as waiting", name, s.waitingAll)
			}
		})
		if orders != 120 {
			t.Fatalf("%d orders", orders)
		}
	}
}

// Random graphs of versions, some not allowed, some with missing or wrong
// parents, some folded or dated ahead, in two orders.
func TestRandomSetsAreOrderFree(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		items := []Item{created(t, "v0", amina, meetingAt("p0"))}
		n := rapid.IntRange(1, 12).Draw(r, "n")
		numbers := []uint64{1}
		for i := 1; i <= n; i++ {
			author := rapid.SampledFrom([]identity.MemberID{amina, bashir, carlos}).Draw(r, "author")
			prev := []string{}
			version := uint64(2)
			for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(0, i-1), 1, min(i, 3), func(x int) int { return x }).Draw(r, "prev") {
				prev = append(prev, fmt.Sprint("v", p))
				version = max(version, numbers[p]+1)
			}
			if rapid.IntRange(0, 7).Draw(r, "off") == 0 {
				version++
			}
			numbers = append(numbers, version)
			a := amends(version, "v0", prev...)
			it := edited(t, fmt.Sprint("v", i), author, a, meetingAt(fmt.Sprint("p", i)))
			if rapid.IntRange(0, 9).Draw(r, "kind") == 0 {
				it = cancelled(t, fmt.Sprint("v", i), author, a, fmt.Sprint("r", i))
			}
			if rapid.IntRange(0, 4).Draw(r, "fold") == 0 {
				it.Standing = Folded
			}
			it.Content.CreatedAt += int64(rapid.IntRange(0, 3).Draw(r, "ahead")) * 400
			if rapid.IntRange(0, 9).Draw(r, "lost") != 0 {
				items = append(items, it)
			}
		}
		a, b := New(), New()
		for _, it := range items {
			if _, err := a.Apply(it); err != nil {
				r.Fatal(err)
			}
		}
		for _, i := range rapid.Permutation(indexes(len(items))).Draw(r, "order") {
			if _, err := b.Apply(items[i]); err != nil {
				r.Fatal(err)
			}
		}
		for _, now := range []int64{t0 - 700, t0, t0 + 1000, t0 + 40*day} {
			if x, y := a.List(now, nil, true), b.List(now, nil, true); !reflect.DeepEqual(x, y) {
				r.Fatalf("at %d:\n%+v\n%+v", now, x, y)
			}
			nx, okx := a.NextChange(now)
			ny, oky := b.NextChange(now)
			if nx != ny || okx != oky {
				r.Fatalf("next change %d %v, %d %v", nx, okx, ny, oky)
			}
			if okx && !reflect.DeepEqual(a.List(now, nil, true), a.List(nx-1, nil, true)) {
				r.Fatalf("changed before %d", nx)
			}
		}
		if x, y := a.Expire(t0+200*day), b.Expire(t0+200*day); !reflect.DeepEqual(x, y) || len(x) != len(items) {
			r.Fatalf("%d and %d of %d shredded", len(x), len(y), len(items))
		}
		if len(a.items)+len(a.threads)+len(a.waiting)+a.waitingAll != 0 {
			r.Fatal("something is left after all expired")
		}
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Spec 50 section 2 rule 5.
func TestCancelHoldsAtOnceAndForGood(t *testing.T) {
	notice := created(t, "n", amina, meetingAt("Salle A"))
	ahead := cancelled(t, "c", amina, amends(2, "n", "n"), "descente de police")
	ahead.Content.CreatedAt, ahead.Content.ExpiresAt = t0+400*day, t0+401*day
	short := cancelled(t, "c", amina, amends(2, "n", "n"), "descente de police")
	short.Content.ExpiresAt = t0
	for name, c := range map[string]Item{
		"plain":                 cancelled(t, "c", amina, amends(2, "n", "n"), "descente de police"),
		"names what never came": cancelled(t, "c", amina, amends(9, "n", "lost"), "descente de police"),
		"dated ahead":           ahead, "expires at once": short,
	} {
		s := New()
		if _, err := s.Apply(c); err != nil {
			t.Fatal(err)
		}
		if got := s.Expire(t0 + 1); len(got) != 0 {
			t.Errorf("%s: a waiting cancel was shredded before its notice came", name)
		}
		if _, err := s.Apply(notice); err != nil {
			t.Fatal(err)
		}
		v := only(t, s)
		if v.Status != Cancelled || v.CancelReason != "descente de police" || v.CancelledBy != amina || v.Meeting.Place != "Salle A" {
			t.Errorf("%s: %+v", name, v)
		}
		if v.Missing != (name == "names what never came") {
			t.Errorf("%s: missing is %v", name, v.Missing)
		}
		if _, err := s.Apply(edited(t, "lift", bashir, amends(3, "n", "c"), meetingAt("Salle A"))); err != nil {
			t.Fatal(err)
		}
		if v := only(t, s); v.Status != Cancelled {
			t.Errorf("%s: an edit lifted the cancel", name)
		}
		if _, err := s.NewEdit(idOf("n"), t0, 0, func(n Notice) Notice { return n }, anyZone); CodeOf(err) != NoticeCancelled {
			t.Errorf("%s: edit of a cancelled notice: %v", name, err)
		}
	}
}

func TestEditBesideCancelIsFlagged(t *testing.T) {
	s := holding(t, created(t, "n", amina, meetingAt("Salle A")),
		cancelled(t, "c", bashir, amends(2, "n", "n"), "pluie"),
		edited(t, "e", amina, amends(2, "n", "n"), meetingAt("Salle B")))
	v := only(t, s)
	if v.Status != Cancelled || len(v.Conflicts) != 1 || v.Conflicts[0].Meeting.Place != "Salle B" {
		t.Fatalf("%+v", v)
	}
	d, err := s.NewCancel(idOf("n"), t0, "pluie, toujours", "fr")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(Item{ID: idOf("c2"), Author: bashir, Organiser: true, Standing: Normal,
		Content: protocol.Content{Type: d.Type, DevSeq: 2, CreatedAt: d.CreatedAt, ExpiresAt: d.ExpiresAt, Payload: d.Payload}}); err != nil {
		t.Fatal(err)
	}
	if v := only(t, s); v.Status != Cancelled || len(v.Conflicts) != 0 || v.CancelReason != "pluie, toujours" {
		t.Fatalf("%+v", v)
	}
}

func TestWhoMayAmend(t *testing.T) {
	for _, c := range []struct {
		name   string
		change Item
		effect Effect
		place  string
	}{
		{"author", edited(t, "e", amina, amends(2, "n", "n"), meetingAt("B")), Applied, "B"},
		{"organiser", edited(t, "e", bashir, amends(2, "n", "n"), meetingAt("B")), Applied, "B"},
		{"member", edited(t, "e", carlos, amends(2, "n", "n"), meetingAt("B")), NoEffect, "A"},
		{"member cancels", cancelled(t, "e", carlos, amends(2, "n", "n"), ""), NoEffect, "A"},
		{"wrong number", edited(t, "e", amina, amends(3, "n", "n"), meetingAt("B")), NoEffect, "A"},
		{"another type", edited(t, "e", amina, amends(2, "n", "n"), announcement("B")), NoEffect, "A"},
		{"version missing", edited(t, "e", amina, amends(3, "n", "lost"), meetingAt("B")), Waiting, "A"},
		{"covers itself", edited(t, "e", amina, amends(2, "n", "e"), meetingAt("B")), NoEffect, "A"},
	} {
		s := holding(t, created(t, "n", amina, meetingAt("A")))
		got, err := s.Apply(c.change)
		v := only(t, s)
		if err != nil || got.Effect != c.effect || got.Notice != idOf("n") || v.Meeting.Place != c.place || v.Status != Active {
			t.Errorf("%s: %v %v, %s %s", c.name, got, err, v.Meeting.Place, v.Status)
		}
		if v.Missing != (c.effect == Waiting) {
			t.Errorf("%s: missing is %v", c.name, v.Missing)
		}
	}
}

// Spec 50 section 2 rule 2: folded versions are never shown and cover nothing,
// and what covers them stays.
func TestFolded(t *testing.T) {
	fold := func(it Item) Item { it.Standing = Folded; return it }
	n := created(t, "n", amina, meetingAt("A"))
	bad := edited(t, "bad", amina, amends(2, "n", "n"), meetingAt("Piège"))
	good := edited(t, "good", bashir, amends(3, "n", "bad"), meetingAt("B"))
	s := holding(t, n, fold(bad))
	if v := only(t, s); v.Meeting.Place != "A" {
		t.Fatalf("a folded edit superseded: %+v", v)
	}
	s = holding(t, n, bad, good, fold(bad))
	if v := only(t, s); v.Meeting.Place != "B" || v.Status != Active {
		t.Fatalf("folding took away what covers: %+v", v)
	}
	if s.items[idOf("bad")].notice.Texts != nil {
		t.Error("the text of a folded version is kept")
	}
	if s = holding(t, fold(n)); len(s.List(t0, nil, true)) != 0 {
		t.Error("a folded notice is shown")
	}
	if _, err := s.Get(idOf("n").String(), t0, nil); !errors.Is(err, ErrNotFound) {
		t.Error("a folded notice is found")
	}
	if s = holding(t, fold(n), n); only(t, s).Meeting.Place != "A" {
		t.Error("a reinstated notice is not shown")
	}
	if s = holding(t, n, fold(cancelled(t, "c", amina, amends(2, "n", "n"), ""))); only(t, s).Status != Active {
		t.Error("a folded cancel holds")
	}
}

func TestUnknownTypesAreListed(t *testing.T) {
	s := New()
	it := Item{ID: idOf("u"), Author: amina, Standing: Normal, Content: protocol.Content{Type: 9, DevSeq: 1, CreatedAt: t0, ExpiresAt: t0 + day, Payload: []byte("anything")}}
	if c, err := s.Apply(it); err != nil || c.Effect != Unknown {
		t.Fatal(c, err)
	}
	v := only(t, s)
	if !v.NeedsNewer() || v.Kind != 9 || v.Title != "" {
		t.Fatalf("%+v", v)
	}
	if _, err := s.Apply(cancelled(t, "c", amina, amends(2, "u", "u"), "")); err != nil || only(t, s).Status != Cancelled {
		t.Fatal("a notice of an unknown type cannot be cancelled")
	}
}

func TestBadItemsChangeNothing(t *testing.T) {
	s := holding(t, created(t, "n", amina, meetingAt("A")))
	before := s.List(t0, nil, true)
	ok := created(t, "m", amina, announcement("x"))
	for name, spoil := range map[string]func(*Item){
		"no id":          func(i *Item) { i.ID = protocol.ContentID{} },
		"no author":      func(i *Item) { i.Author = identity.MemberID{} },
		"no standing":    func(i *Item) { i.Standing = 0 },
		"no type":        func(i *Item) { i.Content.Type = 0 },
		"bad payload":    func(i *Item) { i.Content.Payload = i.Content.Payload[1:] },
		"other author":   func(i *Item) { i.ID = idOf("n"); i.Content.Type = protocol.TypeMeeting; i.Author = carlos },
		"type too small": func(i *Item) { i.Content.Type = protocol.TypeMeeting },
	} {
		bad := ok
		spoil(&bad)
		if _, err := s.Apply(bad); !errors.Is(err, ErrItem) && !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(s.List(t0, nil, true), before) || len(s.items) != 1 {
			t.Errorf("%s: the state changed", name)
		}
	}
}

// Spec 50 section 2 rule 7: one member cannot crowd out another's cancel.
func TestWaitingIsBounded(t *testing.T) {
	s := New()
	for i := range MaxWaiting {
		if _, err := s.Apply(cancelled(t, fmt.Sprint("x", i), carlos, amends(2, fmt.Sprint("no", i), "v"), "")); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := s.Apply(cancelled(t, "more", carlos, amends(2, "no", "v"), "")); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	for m := byte(10); s.waitingAll < MaxWaitingAll; m++ {
		for i := range MaxWaiting {
			if _, err := s.Apply(cancelled(t, fmt.Sprint(m, "x", i), identity.MemberID{m}, amends(2, fmt.Sprint("no", i), "v"), "")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.Apply(cancelled(t, "other", amina, amends(2, "n", "n"), "")); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if _, err := s.Apply(cancelled(t, "c", bashir, amends(2, "n", "n"), "")); err != nil {
		t.Fatal("an organiser's cancel was crowded out:", err)
	}
	if _, err := s.Apply(created(t, "n", amina, meetingAt("A"))); err != nil || only(t, s).Status != Cancelled {
		t.Fatal(err)
	}
	for i := range MaxEdits {
		if _, err := s.Apply(edited(t, fmt.Sprint("e", i), amina, amends(2, "n", "n"), meetingAt("B"))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Apply(edited(t, "e", amina, amends(2, "n", "n"), meetingAt("B"))); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if _, err := s.Apply(cancelled(t, "own", amina, amends(3, "n", "e0"), "")); err != nil {
		t.Fatal("edits bar a cancel:", err)
	}
	if got := s.Expire(t0 + 100*day); len(got) != MaxWaitingAll+MaxEdits+3 || s.waitingAll != 0 || len(s.threads) != 0 {
		t.Fatalf("%d shredded, %d waiting, %d threads", len(got), s.waitingAll, len(s.threads))
	}
}

// The text of who may not amend is forgotten, before the notice or after it.
func TestForeignTextsAreNotKept(t *testing.T) {
	n := created(t, "n", amina, meetingAt("A"))
	x := edited(t, "x", carlos, amends(2, "n", "n"), meetingAt("Piège"))
	for _, order := range [][]Item{{n, x}, {x, n}} {
		if s := holding(t, order...); s.items[idOf("x")].notice.Texts != nil || s.items[idOf("n")].notice.Texts == nil {
			t.Error("wrong texts are kept")
		}
	}
}

// A judgement that takes a right away is taken even when nothing has room.
func TestNewJudgement(t *testing.T) {
	full := New()
	c := cancelled(t, "c", bashir, amends(2, "n", "n"), "")
	for i := range MaxCancels {
		it := c
		it.ID = idOf(fmt.Sprint("c", i))
		if _, err := full.Apply(it); err != nil {
			t.Fatal(err)
		}
	}
	for i := range MaxCancels {
		it := c
		it.ID, it.Standing = idOf(fmt.Sprint("c", i)), Folded
		if _, err := full.Apply(it); err != nil {
			t.Fatal(err)
		}
	}
	for i := range MaxWaiting - MaxCancels {
		if _, err := full.Apply(cancelled(t, fmt.Sprint("w", i), bashir, amends(2, fmt.Sprint("m", i), "v"), "")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := full.Apply(cancelled(t, "one more", bashir, amends(2, "m", "v"), "")); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	full.items[idOf("c0")].Organiser = true
	c.ID, c.Standing, c.Organiser = idOf("c0"), Normal, false
	full.waitingAll = MaxWaitingAll // as others would fill it
	if _, err := full.Apply(c); err != nil {
		t.Fatal("a judgement was refused:", err)
	}
	full.waitingAll -= MaxWaitingAll
	if _, err := full.Apply(created(t, "n", amina, meetingAt("A"))); err != nil || only(t, full).Status != Active {
		t.Fatal("the old judgement holds")
	}
	e := edited(t, "e", bashir, amends(2, "n", "n"), meetingAt("B"))
	s := holding(t, created(t, "n", amina, meetingAt("A")), e)
	e.Organiser = false
	if c, err := s.Apply(e); err != nil || c.Effect != NoEffect || only(t, s).Meeting.Place != "A" {
		t.Fatal(c, err)
	}
	e.Organiser = true
	if c, err := s.Apply(e); err != nil || c.Effect != Applied || only(t, s).Meeting.Place != "B" {
		t.Fatal(c, err)
	}
}
