package feed

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/palabre-app/palabre/protocol"
)

// Spec 50 section 3. Times are unix seconds.
func TestClockRows(t *testing.T) {
	const y2038, y2099 = int64(math.MaxInt32), int64(4_070_908_800)
	year0 := int64(-62_167_219_200)
	for _, c := range []struct {
		name             string
		created, expires int64
		now              int64
		listed, all      int
		next             int64 // 0: none
	}{
		{"plain", t0, t0 + day, t0, 1, 1, t0 + day},
		{"the last second", t0, t0 + day, t0 + day - 1, 1, 1, t0 + day},
		{"expired", t0, t0 + day, t0 + day, 0, 1, 0},
		{"cap at 90 d", t0, t0 + 1000*day, t0 + 90*day, 0, 1, 0},
		{"just within the cap", t0, t0 + 1000*day, t0 + 90*day - 1, 1, 1, t0 + 90*day},
		{"600 s ahead", t0 + 600, t0 + day, t0, 1, 1, t0 + day},
		{"601 s ahead is held", t0 + 601, t0 + day, t0, 0, 0, t0 + 1},
		{"2099 is held", y2099, y2099 + day, t0, 0, 0, y2099 - 600},
		{"2099 in 2099", y2099, y2099 + day, y2099, 1, 1, y2099 + day},
		{"over 2038", y2038 - 5, y2038 + 5, y2038, 1, 1, y2038 + 5},
		{"after 2038", y2038 + 1, y2038 + day, y2038 + 2, 1, 1, y2038 + day},
		{"1970", 0, 0, t0, 0, 1, 0},
		{"clock at year 0", t0, t0 + day, year0, 0, 0, t0 - 600},
		{"end of time", math.MaxInt64, math.MaxInt64, t0, 0, 0, math.MaxInt64 - 600},
		{"clock at the end of time", math.MaxInt64, math.MaxInt64, math.MaxInt64 - 1, 1, 1, math.MaxInt64},
		{"clock at the start of time", t0, t0 + day, math.MinInt64, 0, 0, t0 - 600},
	} {
		it := created(t, "n", amina, announcement("x"))
		it.Content.CreatedAt, it.Content.ExpiresAt = c.created, c.expires
		s := holding(t, it)
		next, ok := s.NextChange(c.now)
		if got, all := len(s.List(c.now, nil, false)), len(s.List(c.now, nil, true)); got != c.listed || all != c.all || next != c.next || ok != (c.next != 0) {
			t.Errorf("%s: %d listed, %d of all, next %d %v", c.name, got, all, next, ok)
		}
		gone := s.Expire(c.now)
		if (len(gone) == 1) != (c.all == 1 && c.listed == 0) {
			t.Errorf("%s: %d shredded", c.name, len(gone))
		}
		if len(gone) == 1 && (len(s.List(c.now-day*365, nil, true)) != 0 || len(s.Expire(c.now)) != 0) {
			t.Errorf("%s: what was shredded reappears when the clock runs back", c.name)
		}
	}
}

func TestEditsMoveTheExpiry(t *testing.T) {
	for _, moved := range []int64{day, 60 * day} {
		e := edited(t, "e", amina, amends(2, "n", "n"), announcement("y"))
		e.Content.ExpiresAt = t0 + moved
		s := holding(t, created(t, "n", amina, announcement("x")), e)
		if v := only(t, s); v.Expires != t0+moved {
			t.Errorf("expires after %d s", v.Expires-t0)
		}
		if got := s.Expire(t0 + moved - 1); len(got) != 0 {
			t.Error("shredded early")
		}
		if got := s.Expire(t0 + moved); !reflect.DeepEqual(got, protocol.SortIDs([]protocol.ContentID{idOf("n"), idOf("e")})) {
			t.Errorf("%d shredded", len(got))
		}
	}
}

// A notice is not shredded while an edit that prolongs it waits for a version.
func TestMissingVersionKeepsTheTexts(t *testing.T) {
	e := edited(t, "e2", amina, amends(3, "n", "e1"), announcement("z"))
	e.Content.ExpiresAt = t0 + 60*day
	s := holding(t, created(t, "n", amina, announcement("x")), e)
	if got := s.Expire(t0 + 31*day); len(got) != 0 || len(s.List(t0+31*day, nil, false)) != 0 {
		t.Fatalf("%d shredded", len(got))
	}
	if _, err := s.Apply(edited(t, "e1", amina, amends(2, "n", "n"), announcement("y"))); err != nil {
		t.Fatal(err)
	}
	if l := s.List(t0+31*day, nil, false); len(l) != 1 || l[0].Title != "z" {
		t.Fatalf("%+v", l)
	}
}

// However often it is prolonged, a notice goes 90 d after its first version.
func TestProlongingHasALimit(t *testing.T) {
	n := created(t, "n", amina, announcement("x"))
	n.Content.ExpiresAt = t0 + 80*day
	s := holding(t, n)
	same := func(n Notice) Notice { return n }
	if _, err := s.NewEdit(idOf("n"), t0+70*day, t0+90*day+1, same, anyZone); CodeOf(err) != ExpiryFar {
		t.Fatal(err)
	}
	d, err := s.NewEdit(idOf("n"), t0+70*day, t0+90*day, same, anyZone)
	if err != nil {
		t.Fatal(err)
	}
	post(t, s, "e", amina, d)
	far := edited(t, "far", bashir, amends(3, "n", "e"), announcement("y"))
	far.Content.CreatedAt, far.Content.ExpiresAt = t0+80*day, t0+160*day
	pending := edited(t, "pending", bashir, amends(4, "n", "lost"), announcement("z"))
	pending.Content.CreatedAt, pending.Content.ExpiresAt = t0+80*day, t0+160*day
	for _, it := range []Item{far, pending} {
		if _, err := s.Apply(it); err != nil {
			t.Fatal(err)
		}
	}
	l := s.List(t0+90*day-1, nil, false)
	if len(l) != 1 || l[0].Title != "y" || l[0].Expires != t0+90*day || len(s.Expire(t0+90*day-1)) != 0 || len(s.Expire(t0+90*day)) != 4 {
		t.Fatalf("%+v", l)
	}
}

func TestHeldEditIsReleased(t *testing.T) {
	e := edited(t, "e", amina, amends(2, "n", "n"), announcement("y"))
	e.Content.CreatedAt += 3600
	s := holding(t, created(t, "n", amina, announcement("x")), e)
	next, _ := s.NextChange(t0)
	if only(t, s).Title != "x" || next != t0+3000 || s.List(next-1, nil, false)[0].Title != "x" || s.List(next, nil, false)[0].Title != "y" {
		t.Fatal(next - t0)
	}
}

func TestListOrderAndGet(t *testing.T) {
	s := New()
	for i := range 20 {
		it := created(t, fmt.Sprint("n", i), amina, announcement(fmt.Sprint(i)))
		it.Content.CreatedAt -= int64(i / 2)
		if _, err := s.Apply(it); err != nil {
			t.Fatal(err)
		}
	}
	l := s.List(t0, nil, false)
	for i := 1; i < len(l); i++ {
		if a, b := l[i-1], l[i]; a.Posted < b.Posted || a.Posted == b.Posted && a.Notice.String() >= b.Notice.String() {
			t.Fatal("out of order at", i)
		}
	}
	id := idOf("n3").String()
	for _, p := range []string{id, id[:6], id[:7]} {
		if v, err := s.Get(p, t0, nil); err != nil || v.Notice != idOf("n3") {
			t.Error(p, err)
		}
	}
	for p, want := range map[string]error{"": ErrPrefix, id[:5]: ErrPrefix, id + "0": ErrPrefix, "zzzzzz": ErrPrefix, "00000g": ErrPrefix, "0000000000": ErrNotFound} {
		if _, err := s.Get(p, t0, nil); !errors.Is(err, want) {
			t.Errorf("%q: %v", p, err)
		}
	}
	twin := created(t, "n3", amina, announcement("twin"))
	twin.ID[31] ^= 1
	if _, err := s.Apply(twin); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(id[:10], t0, nil); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
}

// A group can shorten what authors wish: by the age of the first version, with
// all that hangs on it. Names stay.
func TestExpireOlder(t *testing.T) {
	root := created(t, "n", amina, announcement("x"))
	late := edited(t, "e", amina, amends(2, "n", "n"), announcement("y"))
	late.Content.CreatedAt += 20 * day
	waits := edited(t, "w", amina, amends(2, "m", "m"), announcement("z"))
	waits.Content.CreatedAt += 10 * day
	young := created(t, "k", amina, announcement("k"))
	young.Content.CreatedAt += 25 * day
	name := item(t, "p", protocol.TypeProfile, amina, Profile{Name: "Amina", Version: 1})
	s := holding(t, root, late, waits, young, name)
	at := root.Content.CreatedAt
	for _, c := range []struct {
		made int64
		want []string
	}{{at - 1, nil}, {at, []string{"n", "e"}}, {at + 10*day - 1, nil}, {at + 10*day, []string{"w"}}, {at + 25*day - 1, nil}} {
		want := []protocol.ContentID{}
		for _, n := range c.want {
			want = append(want, idOf(n))
		}
		if got := s.ExpireOlder(c.made); !reflect.DeepEqual(append([]protocol.ContentID{}, got...), protocol.SortIDs(want)) {
			t.Errorf("made at %d: %d gone, not %v", c.made-at, len(got), c.want)
		}
	}
	if list := s.List(young.Content.CreatedAt, nil, true); len(list) != 1 || list[0].Notice != idOf("k") {
		t.Errorf("what is young is gone: %v", list)
	}
	if _, ok := s.Name(amina); !ok {
		t.Error("a name is gone")
	}
}
