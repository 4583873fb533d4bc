package ferry

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// bundle is a file with n deposits of a mailbox and one envelope for members alone.
func bundle(t *testing.T, n int) []byte {
	t.Helper()
	var file bytes.Buffer
	w := ferry.NewBundleWriter(&file)
	for i := range n {
		d := deposit(t, box(3), i)
		must(t, w.Add(ferry.Parcel{Envelope: d.Envelope, Deposit: &d}))
	}
	must(t, w.Add(ferry.Parcel{Envelope: deposit(t, box(4), 0).Envelope}))
	must(t, w.Close())
	return file.Bytes()
}

// A file that somebody brings is kept as far as there is room, and fetched as if
// members had brought it.
func TestFileIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := ferry.DefaultLimits()
		limits.Mailbox, limits.Network = 2_500*protocol.BucketSmall, 0 // whoever runs the ferry has no share
		db := &failing{Memory: store.OpenMemory()}
		x := open(t, db, limits)
		db.commits = 0
		file := bundle(t, 2_600)
		for range 2 { // what is held already is kept
			got, err := x.s.Import(bytes.NewReader(file))
			if want := (Imported{Kept: 2_500, NoRoom: 100, Members: 1}); err != nil || got != want {
				t.Errorf("%+v, want %+v: %v", got, want, err)
			}
		}
		if db.commits < 2 || db.largest > maxImport+maxImport/8 {
			t.Errorf("%d commits, the largest of %d bytes", db.commits, db.largest)
		}
		if n, _ := x.s.store.Total(); n != limits.Mailbox {
			t.Errorf("%d bytes in all, want %d", n, limits.Mailbox)
		}
		x = open(t, store.OpenMemory(), ferry.DefaultLimits())
		got, err := x.s.Import(bytes.NewReader(bundle(t, 12)))
		if err != nil || got.Kept != 12 {
			t.Fatalf("%+v: %v", got, err)
		}
		c := x.visit(home)
		if n := len(c.fetch(box(3))); n != 12 {
			t.Errorf("%d of 12 are given", n)
		}
		if n := len(c.fetch(box(4))); n != 0 {
			t.Errorf("%d are given of which nobody signed", n)
		}
		c.end()
	})
}

// A file that was cut off gives what it holds up to there; one that is none changes
// nothing, and a disk that fails has nothing counted as kept.
func TestFilesThatEndBadly(t *testing.T) {
	db := &failing{Memory: store.OpenMemory()}
	x := open(t, db, ferry.DefaultLimits())
	file := bundle(t, 20)
	got, err := x.s.Import(bytes.NewReader(file[:len(file)/4]))
	if n, _ := x.s.store.Total(); !errors.Is(err, ferry.ErrCutOff) || got.Kept == 0 || got.Kept >= 20 || n != int64(got.Kept)*protocol.BucketSmall {
		t.Errorf("cut off: %+v, %d bytes, %v", got, n, err)
	}
	before, _ := x.s.store.Total()
	if got, err := x.s.Import(bytes.NewReader([]byte("PK\x03\x04 no bundle"))); !errors.Is(err, ferry.ErrNotBundle) || got != (Imported{}) {
		t.Errorf("no bundle: %+v, %v", got, err)
	}
	if n, _ := x.s.store.Total(); n != before {
		t.Errorf("no bundle made %d bytes of %d", n, before)
	}
	db.fails = true
	if got, err := x.s.Import(bytes.NewReader(file)); !errors.Is(err, errDisk) || got != (Imported{}) {
		t.Errorf("a disk that fails: %+v, %v", got, err)
	}
	if _, err := x.s.Import(bytes.NewReader(file)); !errors.Is(err, ErrBroken) {
		t.Errorf("after that: %v", err)
	}
}
