package feed

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

func pinned(t *testing.T, name string, author identity.MemberID, notice string, version uint64, on bool) Item {
	t.Helper()
	return item(t, name, protocol.TypePin, author, Pin{Notice: idOf(notice), Version: version, Pinned: on})
}

// Spec 50 section 5: the highest version of an organiser's pins holds, in any
// order, also when the notice comes last.
func TestPins(t *testing.T) {
	set := []Item{
		created(t, "n", amina, announcement("Un")),
		created(t, "m", amina, announcement("Deux")),
		pinned(t, "p1", bashir, "n", 1, true),
		pinned(t, "p2", bashir, "n", 2, false),
		pinned(t, "p3", bashir, "n", 3, true),
		pinned(t, "p4", amina, "n", 9, false), // no organiser
		pinned(t, "q1", bashir, "m", 1, true),
		pinned(t, "q2", bashir, "m", 2, false),
		edited(t, "e", amina, amends(2, "n", "n"), announcement("Un bis")),
	}
	folded := pinned(t, "p5", bashir, "n", 10, false)
	folded.Standing = Folded
	set = append(set, folded)
	for turn := range len(set) {
		s := New()
		for i := range set {
			if _, err := s.Apply(set[(i+turn)%len(set)]); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range map[string]bool{"n": true, "m": false} {
			if v, err := s.Get(idOf(name).String(), t0, nil); err != nil || v.Pinned != want {
				t.Errorf("turn %d: %s pinned %t, %v", turn, name, v.Pinned, err)
			}
		}
		want := protocol.SortIDs([]protocol.ContentID{idOf("n"), idOf("e"), idOf("p3")})
		if got := s.Pinned(t0); len(got) != 1 || !slices.Equal(got[0], want) {
			t.Errorf("turn %d: %v", turn, got)
		}
		// Pins go with their notice; those of notices that never came by themselves.
		if _, err := s.Apply(pinned(t, "lost", bashir, "never", 1, true)); err != nil {
			t.Fatal(err)
		}
		if gone := s.Expire(t0 + 30*day); len(gone) != len(set)+1 || len(s.items) != 0 || len(s.pins) != 0 {
			t.Errorf("turn %d: %d of %d went", turn, len(gone), len(set)+1)
		}
	}
	s := holding(t, set...)
	if gone := s.ExpireOlder(t0); len(gone) != len(set) {
		t.Errorf("by age %d of %d went", len(gone), len(set))
	}
}

func TestPinCancelledAndBounds(t *testing.T) {
	s := holding(t, created(t, "n", amina, announcement("Un")), pinned(t, "p", bashir, "n", 1, true))
	d, err := s.NewPin(idOf("n"), false, t0)
	if err != nil || d.ExpiresAt != t0+protocol.MaxNoticeSeconds {
		t.Fatal(d, err)
	}
	if p, err := DecodePin(d.Payload); err != nil || p.Version != 2 || p.Pinned || p.Notice != idOf("n") {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := s.NewPin(idOf("x"), true, t0); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Apply(cancelled(t, "c", amina, amends(2, "n", "n"), "")); err != nil {
		t.Fatal(err)
	}
	if got := s.Pinned(t0); len(got) != 0 {
		t.Error("a cancelled notice is given to newcomers")
	}
	full := 0
	for i := range uint64(40) {
		for _, who := range []identity.MemberID{bashir, amina} {
			if _, err := s.Apply(pinned(t, string(rune('A'+i))+string(who[:1]), who, "n", i+2, true)); errors.Is(err, ErrFull) {
				full++
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := 80 - (MaxPins - 1) - 1; full != want {
		t.Errorf("%d were refused, not %d", full, want)
	}
	if _, err := s.NewEdit(idOf("p"), t0, 0, func(n Notice) Notice { return n }, anyZone); !errors.Is(err, ErrNotFound) {
		t.Error("a pin can be edited: ", err)
	}
}
