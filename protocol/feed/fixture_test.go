package feed

import (
	"crypto/sha256"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

const day = protocol.DaySeconds

// t0 is a time of no meaning: 2026-01-01.
const t0 = int64(1_767_225_600)

var (
	amina  = identity.MemberID{1} // an author
	bashir = identity.MemberID{2} // an organiser
	carlos = identity.MemberID{3} // a member
)

func anyZone(string) bool { return true }

func idOf(name string) protocol.ContentID { return sha256.Sum256([]byte(name)) }

func announcement(title string) Notice {
	return Notice{Type: protocol.TypeAnnouncement, Urgency: Info, Texts: []Text{{Tag: "fr", Title: title, Body: "corps"}}}
}

func meetingAt(place string) Notice {
	return Notice{Type: protocol.TypeMeeting, Urgency: Important,
		Texts:   []Text{{Tag: "fr", Title: "Réunion", Body: ""}},
		Meeting: &Meeting{Start: t0 + 2*day, End: t0 + 2*day + 7200, Zone: "Europe/Paris", Place: place}}
}

func encoded(t testing.TB, e interface{ Encode() ([]byte, error) }) []byte {
	t.Helper()
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// item makes a normal item by author, dated t0 for 30 days.
func item(t testing.TB, name string, typ protocol.ContentType, author identity.MemberID, e interface{ Encode() ([]byte, error) }) Item {
	t.Helper()
	return Item{ID: idOf(name), Author: author, Standing: Normal, Organiser: author == bashir,
		Content: protocol.Content{Type: typ, DevSeq: 1, CreatedAt: t0, ExpiresAt: t0 + 30*day, Payload: encoded(t, e)}}
}

func created(t testing.TB, name string, author identity.MemberID, n Notice) Item {
	return item(t, name, n.Type, author, n)
}

func amends(version uint64, notice string, prev ...string) Amends {
	a := Amends{Notice: idOf(notice), Version: version}
	for _, p := range prev {
		a.Prev = append(a.Prev, idOf(p))
	}
	protocol.SortIDs(a.Prev)
	return a
}

func edited(t testing.TB, name string, author identity.MemberID, a Amends, n Notice) Item {
	return item(t, name, protocol.TypeEdit, author, Edit{Amends: a, Next: n})
}

func cancelled(t testing.TB, name string, author identity.MemberID, a Amends, reason string) Item {
	return item(t, name, protocol.TypeCancel, author, Cancel{Amends: a, Reason: reason})
}

// holding is a state that all items were applied to; errors fail the test.
func holding(t testing.TB, items ...Item) *State {
	t.Helper()
	s := New()
	for _, it := range items {
		if _, err := s.Apply(it); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func only(t testing.TB, s *State) View {
	t.Helper()
	l := s.List(t0, nil, false)
	if len(l) != 1 {
		t.Fatalf("%d notices listed, want 1", len(l))
	}
	return l[0]
}
