package store

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/palabre-app/palabre/protocol/engine"
)

var faultStep = flag.Int("faultstep", 7, "of the operations that can fail, every n-th does; 1 for all")

// faultVFS fails the at-th operation that changes a file, and with sticky every
// later one. A full disk fails writes only, and leaves half of each.
type faultVFS struct {
	vfs.VFS
	at, count int
	sticky    bool
	err       error
	syncs     int
}

func (v *faultVFS) fail(write bool) error {
	v.count++
	if !write && v.err == sqlite3.FULL {
		return nil
	}
	if v.at > 0 && (v.count == v.at || v.sticky && v.count > v.at) {
		return v.err
	}
	return nil
}

func (v *faultVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err != nil {
		return nil, out, err
	}
	return &faultFile{f, v}, out, nil
}

type faultFile struct {
	vfs.File
	v *faultVFS
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.v.fail(true); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off) // torn
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultFile) Sync(flags vfs.SyncFlag) error {
	f.v.syncs++
	if err := f.v.fail(false); err != nil {
		return err
	}
	return f.File.Sync(flags)
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.v.fail(false); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// steps is the script that the faults are put into.
var steps = []func(s anyStore) error{
	func(s anyStore) error { return s.Commit(spaceA, puts(put(1, "a", "1", 0), put(1, "b", "2", 3))) },
	func(s anyStore) error {
		return s.CommitAll([]Part{{spaceB, puts(put(2, "big", strings.Repeat("B", 30_000), 0))}, {spaceA, puts(put(1, "a", "3", 0))}})
	},
	func(s anyStore) error { return s.Commit(spaceA, engine.Batch{ShredBefore: 3}) },
	func(s anyStore) error { return s.Commit(Space{}, puts(put(3, "own", "o", 8))) },
	func(s anyStore) error { return s.DropSpace(spaceB) },
	func(s anyStore) error { return s.Commit(spaceA, puts(put(1, "last", "l", 0))) },
}

// states are the contents before the first step and after each.
func states(t *testing.T) (out []string) {
	m := OpenMemory()
	for i := 0; ; i++ {
		s, err := dump(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
		if i == len(steps) {
			return out
		}
		if err := steps[i](m); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEachOperationFails runs the script once per operation on the files (every
// n-th, by flag), with
// that one and all later ones failing, and opens what is left on a sound disk.
func TestEachOperationFails(t *testing.T) {
	all := states(t)
	for _, c := range []struct {
		name   string
		err    error
		sticky bool
	}{{"dead disk", sqlite3.IOERR_WRITE, true}, {"one failed sync", sqlite3.IOERR_FSYNC, false}, {"full for good", sqlite3.FULL, true}} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			for at := 1; ; at += *faultStep {
				dir := filepath.Join(t.TempDir(), "p")
				disk := &faultVFS{VFS: vfs.Find(""), at: at, sticky: c.sticky, err: c.err}
				acked := 0
				d, err := openOn(dir, testKey, disk)
				if err == nil {
					for _, step := range steps {
						if err := step(d); err != nil {
							break
						}
						acked++
					}
					d.Close()
				}
				if disk.count < at {
					n = at
					break
				}
				got, err := openAndDump(dir)
				if err != nil {
					t.Fatalf("operation %d: %v", at, err)
				}
				if got != all[acked] && (acked == len(steps) || got != all[acked+1]) {
					t.Fatalf("operation %d: after %d acknowledged steps the store holds\n%s", at, acked, got)
				}
			}
			t.Logf("%d operations", n)
			if n < 40 {
				t.Fatal("the script touches too little")
			}
		})
	}
}

// TestFullOnceThenGoesOn: a full disk refuses one step with ErrFull, keeps nothing
// of it, and the same step works when there is room again.
func TestFullOnceThenGoesOn(t *testing.T) {
	all := states(t)
	refused, landed := 0, 0
	// Every write of the first steps, where frames of two commits share a block.
	step := func(at int) int {
		if at < 40 {
			return 1
		}
		return *faultStep
	}
	for at := 1; ; at += step(at) {
		dir := filepath.Join(t.TempDir(), "p")
		disk := &faultVFS{VFS: vfs.Find(""), err: sqlite3.FULL}
		d, err := openOn(dir, testKey, disk)
		if err != nil {
			t.Fatal(err)
		}
		disk.count, disk.at = 0, at
		for i, step := range steps {
			before := disk.count
			err := step(d)
			if err == nil && disk.at > before && disk.at <= disk.count && i < 2 {
				landed++ // these steps have no checkpoint that could have been refused
			}
			if err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatalf("operation %d, step %d: want ErrFull, got %v", at, i, err)
				}
				refused++
				if got, err := dump(d); err != nil || got != all[i] {
					t.Fatalf("operation %d: step %d was refused, and left traces: %v", at, i, err)
				}
				if err := step(d); err != nil {
					t.Fatalf("operation %d: the store does not go on: %v", at, err)
				}
			}
			if got, err := dump(d); err != nil || got != all[i+1] {
				t.Fatalf("operation %d, step %d: wrong content: %v", at, i, err)
			}
		}
		if disk.count < at {
			d.Close()
			break
		}
		d.Close() // may be refused too: the log stays
		if got, err := openAndDump(dir); err != nil || got != all[len(steps)] {
			t.Fatalf("operation %d: wrong content after opening again: %v", at, err)
		}
	}
	if refused < 15 || landed == 0 {
		t.Fatalf("%d refusals, %d after which the commit was found on the disk", refused, landed)
	}
}

func TestQuota(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	defer func() { d.Close() }()
	commit(t, d, spaceA, puts(put(1, "k", "v", 0)))
	if err := d.limitPages(40); err != nil {
		t.Fatal(err)
	}
	big := puts(put(1, "k", "changed", 2), put(1, "big", strings.Repeat("b", 300_000), 0))
	if err := d.Commit(spaceA, big); err != ErrFull {
		t.Fatal("want ErrFull, got", err)
	}
	want(t, scan(t, d, spaceA, 1, ""), "k=v")
	commit(t, d, spaceA, puts(put(1, "small", "s", 2)))
	d.Close()
	d = mustOpen(t, dir)
	want(t, scan(t, d, spaceA, 1, ""), "k=v small=s")
	commit(t, d, spaceA, big) // room again
}

// TestCommitSyncs: a commit is one fsync of the log at least.
func TestCommitSyncs(t *testing.T) {
	disk := &faultVFS{VFS: vfs.Find("")}
	d, err := openOn(t.TempDir(), testKey, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range 5 {
		before := disk.syncs
		commit(t, d, spaceA, puts(put(1, fmt.Sprint(i), "v", 0)))
		if disk.syncs == before {
			t.Fatalf("commit %d returned without an fsync", i)
		}
	}
	before := disk.count
	commit(t, d, spaceA, engine.Batch{})
	if disk.count != before {
		t.Fatal("an empty batch must cost nothing")
	}
}

// TestLogIsBounded: the log is cut when it has grown past its limit.
func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	defer d.Close()
	for i := range 40 {
		commit(t, d, spaceA, puts(put(1, fmt.Sprint(i), strings.Repeat("x", 200_000), 0)))
		if n := len(snapshotIfAny(dir)[fileDB+"-wal"]); n > (walLimit+100)*4200 {
			t.Fatalf("the log has %d bytes", n)
		}
	}
}
