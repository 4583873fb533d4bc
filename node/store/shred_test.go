package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3/vfs"
	lukeadiantum "lukechampine.com/adiantum"

	"github.com/palabre-app/palabre/protocol/engine"
)

// plainFiles are the files of a folder as someone sees them who has the key of
// the store: every block decrypted.
func plainFiles(t *testing.T, dir string) image {
	t.Helper()
	k := deriveKeys(testKey)
	c := lukeadiantum.New(k.file.bytes())
	im := snapshot(t, dir)
	for name, b := range im {
		if !strings.HasPrefix(name, fileDB) {
			continue
		}
		var tweak [8]byte
		for off := 0; off+4096 <= len(b); off += 4096 {
			binary.LittleEndian.PutUint64(tweak[:], uint64(off))
			c.Decrypt(b[off:off+4096], tweak[:])
		}
	}
	return im
}

func (im image) holds(word []byte) (in []string) {
	for name, b := range im {
		if bytes.Contains(b, word) {
			in = append(in, name)
		}
	}
	return in
}

// remains are the bytes that must be gone when the rows of a day are shredded:
// the sealed day key, and key, stamp and ciphertext of each row.
func remains(t *testing.T, d *DB, s Space, day uint32) (out [][]byte) {
	t.Helper()
	id, ok, err := d.spaceID(s)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	err = rows(d.q.dayGet, func() error {
		out = append(out, d.q.dayGet.ColumnBlob(0, nil))
		return nil
	}, id, int64(day))
	if err != nil {
		t.Fatal(err)
	}
	q, err := prep(d.c, `SELECT d.key, d.stamp, substr(v.text, 1, 32) FROM dir d JOIN val v ON v.id = d.val WHERE space = ? AND shred = ?`)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	err = rows(q, func() error {
		out = append(out, q.ColumnBlob(0, nil), q.ColumnBlob(1, nil), q.ColumnBlob(2, nil))
		return nil
	}, id, int64(day))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestShreddedIsGoneFromTheFiles(t *testing.T) {
	for name, erase := range map[string]func(d *DB) error{
		"ShredBefore": func(d *DB) error { return d.Commit(spaceA, engine.Batch{ShredBefore: 5}) },
		"DropSpace":   func(d *DB) error { return d.DropSpace(spaceA) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := mustOpen(t, dir)
			for i := range 20 {
				commit(t, d, spaceA, puts(put(1, fmt.Sprintf("to-be-shredded-%02d", i), strings.Repeat("secret text ", 1+i*40), 5),
					put(1, fmt.Sprintf("kept-%02d", i), "kept", 6)))
				if i == 10 { // half of it in the database, half in the log
					if err := d.Close(); err != nil {
						t.Fatal(err)
					}
					d = mustOpen(t, dir)
				}
			}
			words := remains(t, d, spaceA, 5)
			if len(words) != 61 {
				t.Fatalf("%d words", len(words))
			}
			before := plainFiles(t, dir)
			found := 0
			for _, w := range words {
				if before.holds(w) != nil {
					found++
				}
			}
			if found < 50 { // some lie across the blocks of the log
				t.Fatalf("the scan finds only %d of %d words before the shredding", found, len(words))
			}
			if err := erase(d); err != nil {
				t.Fatal(err)
			}
			gone := func(when string) {
				t.Helper()
				im := plainFiles(t, dir)
				for _, w := range words {
					if in := im.holds(w); in != nil {
						t.Fatalf("%s: %q remains in %v", when, w, in)
					}
				}
				if n := len(im[fileDB+"-wal"]); when == "at once" && n != 0 {
					t.Fatalf("the log still has %d bytes", n)
				}
			}
			gone("at once")
			commit(t, d, spaceB, puts(put(1, "more", "m", 0)))
			gone("after another commit")
			d.Close()
			gone("after Close")
		})
	}
}

// TestReplacedIsGoneAfterClose: a value that was replaced or deleted leaves the
// files when the log is cut.
func TestReplacedIsGoneAfterClose(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	commit(t, d, spaceA, puts(put(1, "replaced", strings.Repeat("old", 900), 7), put(1, "deleted-row", strings.Repeat("d", 5000), 7)))
	words := remains(t, d, spaceA, 7)[1:]
	commit(t, d, spaceA, engine.Batch{Puts: []engine.Record{put(1, "replaced", "new", 0)}, Deletes: []engine.Ref{{Table: 1, Key: []byte("deleted-row")}}})
	d.Close()
	im := plainFiles(t, dir)
	if im.holds([]byte("replaced")) == nil {
		t.Fatal("the scan is blind")
	}
	for i, w := range words {
		if in := im.holds(w); in != nil && string(w) != "replaced" {
			t.Errorf("word %d (%q) remains in %v", i, w, in)
		}
	}
}

// wipeProbe remembers what the file held when it was cut.
type wipeProbe struct {
	vfs.File
	data, atCut []byte
	synced      bool
}

func (p *wipeProbe) Size() (int64, error)    { return int64(len(p.data)), nil }
func (p *wipeProbe) Sync(vfs.SyncFlag) error { p.synced = true; return nil }
func (p *wipeProbe) Truncate(size int64) error {
	p.atCut, p.data = bytes.Clone(p.data), p.data[:size]
	return nil
}
func (p *wipeProbe) WriteAt(b []byte, off int64) (int, error) {
	p.synced = false
	return copy(p.data[off:], b), nil
}

func TestLogIsOverwrittenBeforeItIsCut(t *testing.T) {
	p := &wipeProbe{data: bytes.Repeat([]byte("x"), 150_000)}
	if err := (&wipeFile{p}).Truncate(100); err != nil {
		t.Fatal(err)
	}
	if !p.synced || len(p.atCut) != 150_000 || bytes.Contains(p.atCut[100:], []byte("x")) || len(p.data) != 100 || p.data[99] != 'x' {
		t.Fatal("the part that is cut off must be zero on the disk first, and no more")
	}
}

// TestConcurrent is for the race detector: readers never see half a batch of
// CommitAll within one Get, and nothing is lost.
func TestConcurrent(t *testing.T) {
	both(t, func(t *testing.T, s anyStore, _ func() anyStore) {
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for w := range 4 {
			wg.Go(func() {
				sp := Space{byte(w + 1)}
				for i := range 30 {
					key := fmt.Sprint(i)
					if err := s.Commit(sp, puts(put(1, key, key, uint32(i%3)))); err != nil {
						errs <- err
						return
					}
					if v, err := s.Space(sp).Get(1, []byte(key)); err != nil || string(v) != key {
						errs <- fmt.Errorf("read %q: %v", v, err)
						return
					}
				}
				errs <- s.Space(sp).Scan(1, nil, func(_, _ []byte) error { _, err := s.Spaces(); return err })
			})
		}
		wg.Wait()
		for range 4 {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	})
}
