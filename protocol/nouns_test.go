package protocol

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSortedIDs(t *testing.T) {
	for _, tt := range []struct {
		ids  []OpID
		want bool
	}{
		{nil, true}, {[]OpID{{9}}, true}, {[]OpID{{1}, {2}, {3}}, true}, {[]OpID{{1}, {1}}, false}, {[]OpID{{2}, {1}}, false},
		{[]OpID{{1}, {3}, {2}}, false}, {[]OpID{{0, 255}, {1, 0}}, true}, {[]OpID{{1, 0}, {0, 255}}, false}, {[]OpID{{31: 2}, {31: 1}}, false},
	} {
		if got := SortedIDs(tt.ids); got != tt.want {
			t.Errorf("%v: %v", tt.ids, got)
		}
	}
}

func TestSortIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ids []EpochID
		for _, n := range rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "ids") {
			ids = append(ids, EpochID{31: n})
		}
		before := slices.Clone(ids)
		sorted := SortIDs(ids)
		if !SortedIDs(sorted) {
			t.Fatal("not sorted")
		}
		for _, id := range before {
			if !slices.Contains(sorted, id) {
				t.Fatal("an id is lost")
			}
		}
		for _, id := range sorted {
			if !slices.Contains(before, id) {
				t.Fatal("an id was added")
			}
		}
		shuffled := slices.Clone(before)
		rand.New(rand.NewPCG(1, uint64(len(before)))).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		if !slices.Equal(SortIDs(shuffled), sorted) {
			t.Fatal("the order of arrival decides")
		}
	})
}

func TestDayOf(t *testing.T) {
	for unix, want := range map[int64]Day{-1: 0, 0: 0, 86_399: 0, 86_400: 1, 1_800_000_000: 20_833} {
		if got := DayOf(unix); got != want {
			t.Errorf("day of %d is %d, want %d", unix, got, want)
		}
	}
}

func TestIDsAreShortInLogs(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("m", "group", GroupID{0xab, 0xcd, 0xef, 0x12}, "epoch", EpochID{0xab, 0xcd, 0xef, 0x12}, "envelope", EnvelopeID{0xab, 0xcd, 0xef, 0x12},
		"item", ItemID{0xab, 0xcd, 0xef, 0x12}, "op", OpID{0xab, 0xcd, 0xef, 0x12}, "content", ContentID{0xab, 0xcd, 0xef, 0x12},
		"mailbox", MailboxID{0xab, 0xcd, 0xef, 0x12}, "invite", InviteID{0xab, 0xcd, 0xef, 0x12})
	if strings.Contains(out.String(), "ef12") || strings.Contains(out.String(), "239 18") || strings.Count(out.String(), "=abcdef") != 8 {
		t.Errorf("logged: %s", out.String())
	}
}
