package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

type anyStore interface {
	Space(Space) engine.Storage
	Spaces() ([]Space, error)
	Commit(Space, engine.Batch) error
	CommitAll([]Part) error
	DropSpace(Space) error
	Close() error
}

var (
	_ anyStore = (*DB)(nil)
	_ anyStore = (*Memory)(nil)
)

var testKey = [KeySize]byte{1, 2, 3}

var spaceA, spaceB = Space{0xA}, Space{0xB}

func mustOpen(t testing.TB, dir string) *DB {
	t.Helper()
	d, err := Open(dir, testKey)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// both runs f on a store of each kind. reopen closes and opens the one on the
// disk again and does nothing to the other.
func both(t *testing.T, f func(t *testing.T, s anyStore, reopen func() anyStore)) {
	t.Run("memory", func(t *testing.T) {
		m := OpenMemory()
		f(t, m, func() anyStore { return m })
	})
	t.Run("disk", func(t *testing.T) {
		dir := t.TempDir()
		d := mustOpen(t, dir)
		defer func() { d.Close() }()
		f(t, d, func() anyStore {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = mustOpen(t, dir)
			return d
		})
	})
}

func put(table engine.Table, key, value string, shred uint32) engine.Record {
	return engine.Record{Table: table, Key: []byte(key), Value: []byte(value), Shred: shred}
}

func puts(r ...engine.Record) engine.Batch { return engine.Batch{Puts: r} }

func commit(t testing.TB, s anyStore, sp Space, b engine.Batch) {
	t.Helper()
	if err := s.Commit(sp, b); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s anyStore, sp Space, table engine.Table, key string) string {
	t.Helper()
	v, err := s.Space(sp).Get(table, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if v == nil {
		return "<none>"
	}
	return string(v)
}

func scan(t testing.TB, s anyStore, sp Space, table engine.Table, prefix string) string {
	t.Helper()
	var out []string
	err := s.Space(sp).Scan(table, []byte(prefix), func(k, v []byte) error {
		out = append(out, fmt.Sprintf("%s=%s", k, v))
		clear(k) // the store must not depend on what f does to its slices
		clear(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	err = s.Space(sp).Keys(table, []byte(prefix), func(k []byte) error {
		keys = append(keys, string(k))
		return nil
	})
	if err != nil || len(keys) != len(out) {
		t.Fatalf("Scan gives %d rows, Keys %d: %v", len(out), len(keys), err)
	}
	for i, k := range keys {
		if !strings.HasPrefix(out[i], k+"=") {
			t.Fatalf("row %d: Keys gives %q, Scan another key", i, k)
		}
	}
	return strings.Join(out, " ")
}

func want(t testing.TB, got, wanted string) {
	t.Helper()
	if got != wanted {
		t.Fatalf("got %q, want %q", got, wanted)
	}
}

func TestGetPutDelete(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, reopen func() anyStore) {
		want(t, get(t, s, spaceA, 1, "k"), "<none>")
		commit(t, s, spaceA, puts(put(1, "k", "v", 0), put(1, "empty", "", 0), put(2, "", "no key", 0)))
		s = reopen()
		want(t, get(t, s, spaceA, 1, "k"), "v")
		want(t, get(t, s, spaceA, 1, "empty"), "")
		want(t, get(t, s, spaceA, 2, ""), "no key")
		want(t, get(t, s, spaceB, 1, "k"), "<none>")
		want(t, get(t, s, spaceA, 2, "k"), "<none>")
		// Deletes come before puts, and the last put of a key wins.
		commit(t, s, spaceA, engine.Batch{
			Deletes: []engine.Ref{{Table: 1, Key: []byte("k")}, {Table: 1, Key: []byte("empty")}, {Table: 9, Key: []byte("absent")}},
			Puts:    []engine.Record{put(1, "k", "first", 7), put(1, "k", "last", 0)},
		})
		s = reopen()
		want(t, get(t, s, spaceA, 1, "k"), "last")
		want(t, get(t, s, spaceA, 1, "empty"), "<none>")
	})
}

func TestScanOrderAndPrefix(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, reopen func() anyStore) {
		commit(t, s, spaceA, puts(put(1, "b\xff", "3", 0), put(1, "a", "1", 0), put(1, "b", "2", 0),
			put(1, "\xff\xff", "5", 0), put(1, "c", "4", 0), put(2, "b", "other", 0), put(1, "", "0", 0)))
		s = reopen()
		want(t, scan(t, s, spaceA, 1, "b"), "b=2 b\xff=3")
		want(t, scan(t, s, spaceA, 1, "\xff"), "\xff\xff=5")
		want(t, scan(t, s, spaceA, 1, ""), "=0 a=1 b=2 b\xff=3 c=4 \xff\xff=5")
		want(t, scan(t, s, spaceA, 3, ""), "")
		want(t, scan(t, s, spaceB, 1, ""), "")
		stop := errors.New("stop")
		n := 0
		if err := s.Space(spaceA).Scan(1, nil, func(_, _ []byte) error { n++; return stop }); err != stop || n != 1 {
			t.Fatalf("a scan must stop with the error of its function: %v after %d", err, n)
		}
		if err := s.Space(spaceA).Keys(1, nil, func(_ []byte) error { n++; return stop }); err != stop || n != 2 {
			t.Fatalf("Keys must stop with the error of its function: %v after %d", err, n)
		}
	})
}

// rowsOfLongScan is enough for several steps of Scan and two of Keys.
const rowsOfLongScan = scanBytes/rowCost + 100

func TestLongScanMayUseTheStore(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, _ func() anyStore) {
		var b engine.Batch
		for i := range rowsOfLongScan {
			b.Puts = append(b.Puts, put(1, fmt.Sprintf("%04d", i), strings.Repeat("x", 3000), uint32(i%3)))
		}
		commit(t, s, spaceA, b)
		n := 0
		err := s.Space(spaceA).Scan(1, nil, func(k, v []byte) error {
			if string(k) != fmt.Sprintf("%04d", n) {
				return fmt.Errorf("row %d is %q", n, k)
			}
			n++
			again, err := s.Space(spaceA).Get(1, k)
			if err == nil && !bytes.Equal(again, v) {
				err = errors.New("get differs from scan")
			}
			return err
		})
		if err != nil || n != rowsOfLongScan {
			t.Fatalf("%d rows: %v", n, err)
		}
		n = 0
		err = s.Space(spaceA).Keys(1, nil, func(k []byte) error {
			if string(k) != fmt.Sprintf("%04d", n) {
				return fmt.Errorf("key %d is %q", n, k)
			}
			n++
			clear(k)
			return nil
		})
		if err != nil || n != rowsOfLongScan {
			t.Fatalf("%d keys: %v", n, err)
		}
	})
}

func TestShred(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, reopen func() anyStore) {
		commit(t, s, spaceA, puts(put(1, "keep", "k", 0), put(1, "d10", "x", 10), put(1, "d11", "y", 11), put(1, "d12", "z", 12)))
		commit(t, s, spaceB, puts(put(1, "d10", "other group", 10)))
		commit(t, s, spaceA, puts(put(1, "d10", "changed", 10), put(1, "moved", "a", 10)))
		commit(t, s, spaceA, puts(put(1, "moved", "b", 12)))
		commit(t, s, spaceA, engine.Batch{ShredBefore: 11})
		s = reopen()
		want(t, scan(t, s, spaceA, 1, ""), "d12=z keep=k moved=b")
		want(t, scan(t, s, spaceB, 1, ""), "d10=other group")
		// A put of the same batch is shredded too: the order is delete, put, shred.
		commit(t, s, spaceA, engine.Batch{Puts: []engine.Record{put(1, "late", "l", 11)}, ShredBefore: 11})
		want(t, get(t, s, spaceA, 1, "late"), "<none>")
		// A day can be used again, under a new key.
		commit(t, s, spaceA, puts(put(1, "again", "a", 11)))
		s = reopen()
		want(t, get(t, s, spaceA, 1, "again"), "a")
		commit(t, s, Space{0xC}, engine.Batch{ShredBefore: 11}) // a space that is not there
	})
}

func TestSpacesAndDrop(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, reopen func() anyStore) {
		if err := s.CommitAll([]Part{{spaceB, puts(put(1, "k", "b", 5))}, {spaceA, puts(put(1, "k", "a", 0))},
			{Space{}, puts(put(1, "k", "own", 0))}, {spaceA, puts(put(1, "k2", "a", 0))}}); err != nil {
			t.Fatal(err)
		}
		s = reopen()
		got, err := s.Spaces()
		if err != nil || !slices.Equal(got, []Space{{}, spaceA, spaceB}) {
			t.Fatal(got, err)
		}
		if err := s.DropSpace(spaceB); err != nil {
			t.Fatal(err)
		}
		if err := s.DropSpace(Space{9}); err != nil {
			t.Fatal("dropping what is not there:", err)
		}
		commit(t, s, spaceA, engine.Batch{Deletes: []engine.Ref{{Table: 1, Key: []byte("k")}, {Table: 1, Key: []byte("k2")}}})
		s = reopen()
		if got, _ = s.Spaces(); !slices.Equal(got, []Space{{}}) {
			t.Fatal(got)
		}
		want(t, get(t, s, spaceB, 1, "k"), "<none>")
		commit(t, s, spaceB, puts(put(1, "k", "back", 5)))
		want(t, get(t, reopen(), spaceB, 1, "k"), "back")
	})
}

func TestLimitsRefuseTheWholeBatch(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, _ func() anyStore) {
		long := strings.Repeat("k", engine.MaxKeySize)
		big := strings.Repeat("v", engine.MaxValueSize)
		commit(t, s, spaceA, puts(put(1, long, big, 3)))
		want(t, get(t, s, spaceA, 1, long), big)
		want(t, scan(t, s, spaceA, 1, long), long+"="+big)
		for _, b := range []engine.Batch{
			puts(put(1, "ok", "v", 0), put(1, long+"k", "v", 0)),
			puts(put(1, "ok", "v", 0), put(1, "k", big+"v", 0)),
			{Puts: []engine.Record{put(1, "ok", "v", 0)}, Deletes: []engine.Ref{{Key: []byte(long + "k")}}},
		} {
			if err := s.Commit(spaceA, b); err != ErrTooLarge {
				t.Fatal("want ErrTooLarge, got", err)
			}
			if err := s.CommitAll([]Part{{spaceB, puts(put(1, "ok", "v", 0))}, {spaceA, b}}); err != ErrTooLarge {
				t.Fatal("want ErrTooLarge, got", err)
			}
		}
		want(t, get(t, s, spaceA, 1, "ok"), "<none>")
		want(t, get(t, s, spaceB, 1, "ok"), "<none>")
		if v, err := s.Space(spaceA).Get(1, []byte(long+"k")); v != nil || err != nil {
			t.Fatal("a key that cannot exist is absent:", err)
		}
	})
}

func TestClosed(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, _ func() anyStore) {
		sp := s.Space(spaceA)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, getErr := sp.Get(1, nil)
		_, spacesErr := s.Spaces()
		for i, err := range []error{getErr, spacesErr, s.Commit(spaceA, puts(put(1, "k", "v", 0))),
			s.DropSpace(spaceA), sp.Scan(1, nil, func(_, _ []byte) error { return nil }),
			sp.Keys(1, nil, func(_ []byte) error { return nil })} {
			if err != ErrClosed {
				t.Errorf("call %d: %v", i, err)
			}
		}
	})
}

// TestAgainstModel runs random batches on both stores and holds each
// against a plain map.
func TestAgainstModel(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, reopen func() anyStore) {
		type cell struct {
			value string
			shred uint32
		}
		model := map[Space]map[ref]cell{spaceA: {}, spaceB: {}}
		r := rand.New(rand.NewPCG(1, 2))
		for step := range 150 {
			var parts []Part
			for range 1 + r.IntN(2) {
				sp := Space{0xA + byte(r.IntN(2))}
				var b engine.Batch
				for range r.IntN(4) {
					k := fmt.Sprint(r.IntN(30))
					b.Deletes = append(b.Deletes, engine.Ref{Table: 1, Key: []byte(k)})
					delete(model[sp], ref{1, k})
				}
				for range r.IntN(6) {
					p := put(1, fmt.Sprint(r.IntN(30)), strings.Repeat(fmt.Sprint(step), r.IntN(900)), uint32(r.IntN(8)))
					b.Puts = append(b.Puts, p)
					model[sp][ref{1, string(p.Key)}] = cell{string(p.Value), p.Shred}
				}
				if r.IntN(10) == 0 {
					b.ShredBefore = uint32(1 + r.IntN(5))
					maps.DeleteFunc(model[sp], func(_ ref, c cell) bool { return c.shred > 0 && c.shred <= b.ShredBefore })
				}
				parts = append(parts, Part{sp, b})
			}
			if err := s.CommitAll(parts); err != nil {
				t.Fatal(step, err)
			}
			if step%40 == 39 {
				if err := s.DropSpace(spaceB); err != nil {
					t.Fatal(err)
				}
				clear(model[spaceB])
				s = reopen()
			}
			for sp, rows := range model {
				var lines []string
				for k, c := range rows {
					lines = append(lines, k.key+"="+c.value)
				}
				slices.SortFunc(lines, func(a, b string) int {
					ka, _, _ := strings.Cut(a, "=")
					kb, _, _ := strings.Cut(b, "=")
					return strings.Compare(ka, kb)
				})
				if got := scan(t, s, sp, 1, ""); got != strings.Join(lines, " ") {
					t.Fatalf("step %d: the store differs from the model", step)
				}
			}
		}
	})
}
