package store

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol/engine"
)

var flipStep = flag.Int("flipstep", 509, "distance in bytes of the changed bytes of the damage tests")

// image is the content of the folder of a store.
type image map[string][]byte

func snapshot(t testing.TB, dir string) image {
	t.Helper()
	im := image{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		im[e.Name()] = b
	}
	return im
}

func (im image) restore(t testing.TB, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range im {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// dump is everything that a reader can see, as one string.
func dump(s anyStore) (string, error) {
	spaces, err := s.Spaces()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, sp := range spaces {
		for table := range engine.Table(4) {
			err := s.Space(sp).Scan(table, nil, func(k, v []byte) error {
				fmt.Fprintf(&b, "%x/%d/%q=%q\n", sp[:1], table, k, v)
				return nil
			})
			if err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

// openAndDump opens what lies in dir and reads all of it.
func openAndDump(dir string) (string, error) {
	d, err := Open(dir, testKey)
	if err != nil {
		return "", err
	}
	defer d.Close()
	return dump(d)
}

// populate commits rows of several sizes, a few of them replaced and shredded.
func populate(t testing.TB, s anyStore) string {
	t.Helper()
	for i := range 12 {
		commit(t, s, Space{byte(i % 3)}, puts(
			put(1, fmt.Sprintf("small-%02d", i), strings.Repeat("s", i*9), 0),
			put(2, fmt.Sprintf("page-%02d", i), strings.Repeat(string(rune('a'+i)), 2500), uint32(i%4)),
			put(3, "replaced", strings.Repeat("r", 300*i), 0)))
	}
	commit(t, s, Space{1}, puts(put(1, "large", strings.Repeat("L", 20_000), 9)))
	commit(t, s, Space{2}, engine.Batch{ShredBefore: 1})
	out, err := dump(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// closedAndOpen returns a populated store as it lies on the disk after Close, and
// as a killed process leaves it: with its last commits in the log.
func closedAndOpen(t *testing.T) (closed, killed image, whole, wholeKilled string) {
	t.Helper()
	dir := t.TempDir()
	d := mustOpen(t, dir)
	whole = populate(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	closed = snapshot(t, dir)
	d = mustOpen(t, dir)
	for i := range 4 {
		commit(t, d, spaceA, puts(put(1, fmt.Sprintf("in-log-%d", i), strings.Repeat("w", 700), 0)))
	}
	wholeKilled, err := dump(d)
	if err != nil {
		t.Fatal(err)
	}
	killed = snapshot(t, dir)
	if len(killed[fileDB+"-wal"]) < 8*4096 {
		t.Fatalf("the log has only %d bytes", len(killed[fileDB+"-wal"]))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return closed, killed, whole, wholeKilled
}

// tryAll opens im once per change and expects the whole content or ErrDamaged. It
// returns how many changes were noticed.
func tryAll(t *testing.T, im image, name, whole string, changes int, change func(i int, b []byte) []byte) (noticed int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "p")
	for i := range changes {
		broken := image{}
		for n, b := range im {
			broken[n] = b
		}
		broken[name] = change(i, bytes.Clone(im[name]))
		broken.restore(t, dir)
		got, err := openAndDump(dir)
		switch {
		case err == nil && got != whole:
			t.Fatalf("%s, change %d: altered or missing data without an error", name, i)
		case err != nil && !errors.Is(err, ErrDamaged):
			t.Fatalf("%s, change %d: want ErrDamaged, got %v", name, i, err)
		case err != nil:
			noticed++
		}
	}
	return noticed
}

func TestOneChangedByte(t *testing.T) {
	closed, killed, whole, wholeKilled := closedAndOpen(t)
	for _, c := range []struct {
		what  string
		im    image
		name  string
		whole string
		min   float64 // share that must be noticed
	}{
		{"closed", closed, fileDB, whole, 0.9},
		{"killed", killed, fileDB, wholeKilled, 0.5}, // pages that the log replaces do not matter
		{"killed", killed, fileDB + "-wal", wholeKilled, 0.9},
		{"closed", closed, fileMark, whole, 0},
	} {
		t.Run(c.what+" "+c.name, func(t *testing.T) {
			n := (len(c.im[c.name]) + *flipStep - 1) / *flipStep
			noticed := tryAll(t, c.im, c.name, c.whole, n, func(i int, b []byte) []byte {
				b[i**flipStep] ^= 1 << (i % 8)
				return b
			})
			t.Logf("%d of %d changes noticed, the others did no harm", noticed, n)
			if float64(noticed) < c.min*float64(n) {
				t.Fatal("too few changes were noticed: the test does not reach the data")
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	closed, killed, whole, wholeKilled := closedAndOpen(t)
	for _, c := range []struct {
		im          image
		name, whole string
	}{{closed, fileDB, whole}, {closed, fileMark, whole}, {killed, fileDB + "-wal", wholeKilled}} {
		full := len(c.im[c.name])
		noticed := tryAll(t, c.im, c.name, c.whole, 24, func(i int, b []byte) []byte { return b[:full*i/24] })
		if noticed < 23 { // the log may end in padding
			t.Errorf("%s: only %d of 24 truncations noticed", c.name, noticed)
		}
	}
}

func TestMissingFiles(t *testing.T) {
	closed, killed, _, _ := closedAndOpen(t)
	for name, im := range map[string]image{fileDB: closed, fileMark: closed, fileDB + "-wal": killed} {
		dir := filepath.Join(t.TempDir(), "p")
		im.restore(t, dir)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := openAndDump(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("without %s: want ErrDamaged, got %v", name, err)
		}
	}
}

// TestOldPagePutBack puts each page of an older state of the file into the
// newer one. The page is authentic, so only the sum can notice it.
func TestOldPagePutBack(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	populate(t, d)
	d.Close()
	old := snapshot(t, dir)[fileDB]
	d = mustOpen(t, dir)
	commit(t, d, spaceA, puts(put(1, "newer", "n", 4)))
	commit(t, d, Space{1}, engine.Batch{Puts: []engine.Record{put(3, "replaced", "again", 0)},
		Deletes: []engine.Ref{{Table: 1, Key: []byte("small-04")}}, ShredBefore: 2})
	whole, err := dump(d)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	im := snapshot(t, dir)
	noticed := tryAll(t, im, fileDB, whole, len(old)/4096, func(i int, b []byte) []byte {
		copy(b[i*4096:(i+1)*4096], old[i*4096:])
		return b
	})
	if noticed < 4 {
		t.Fatalf("only %d old pages noticed", noticed)
	}
	// All pages at once are the whole old file: the mark notices that.
	tryAll(t, im, fileDB, whole, 1, func(int, []byte) []byte { return old })
}

// TestDamageWhileOpen changes the file under an open store, past its cache.
func TestDamageWhileOpen(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	var b engine.Batch
	for i := range 900 {
		b.Puts = append(b.Puts, put(1, fmt.Sprintf("%04d", i), strings.Repeat(fmt.Sprint(i%10), 6000), 0))
	}
	commit(t, d, spaceA, b)
	whole, err := dump(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = mustOpen(t, dir)
	defer d.Close()
	f, err := os.OpenFile(filepath.Join(dir, fileDB), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	one := []byte{0}
	for off := info.Size() / 2; off < info.Size(); off += 40 * 4096 {
		f.ReadAt(one, off)
		one[0] ^= 0x10
		f.WriteAt(one, off)
	}
	if got, err := dump(d); !errors.Is(err, ErrDamaged) || got == whole {
		t.Fatalf("want ErrDamaged, got %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	closed, killed, _, wholeKilled := closedAndOpen(t)
	for i, im := range []image{closed, killed} {
		dir := filepath.Join(t.TempDir(), "p")
		im.restore(t, dir)
		wrong := testKey
		wrong[31] ^= 1
		if _, err := Open(dir, wrong); !errors.Is(err, ErrDamaged) {
			t.Fatal("want ErrDamaged, got", err)
		}
		after := snapshot(t, dir)
		for name, b := range im {
			if !bytes.Equal(b, after[name]) {
				t.Errorf("a wrong key changed %s", name)
			}
		}
		got, err := openAndDump(dir)
		if err != nil || (i == 1 && got != wholeKilled) {
			t.Fatal("the right key must still open:", err)
		}
	}
}

// TestDamagedStoreIsLeftAlone: what was found damaged may still be of use to a
// rescuer, so Open must not tidy it up.
func TestDamagedStoreIsLeftAlone(t *testing.T) {
	_, killed, _, _ := closedAndOpen(t)
	wal := killed[fileDB+"-wal"]
	wal[len(wal)/2] ^= 1
	dir := filepath.Join(t.TempDir(), "p")
	killed.restore(t, dir)
	if _, err := Open(dir, testKey); !errors.Is(err, ErrDamaged) {
		t.Fatal("want ErrDamaged, got", err)
	}
	after := snapshot(t, dir)
	for name, b := range killed {
		if !bytes.Equal(b, after[name]) {
			t.Errorf("Open changed %s", name)
		}
	}
}

// TestSumNoticesEachChange changes the tables with the right keys in hand, as no
// page checksum and no seal can notice: only the sum does.
func TestSumNoticesEachChange(t *testing.T) {
	closed, _, _, _ := closedAndOpen(t)
	for _, sql := range []string{
		"DELETE FROM dir WHERE key = CAST('small-03' AS BLOB)",
		"DELETE FROM dir",
		"DELETE FROM day WHERE day = 3",
		"UPDATE dir SET tbl = 9 WHERE key = CAST('small-03' AS BLOB)",
		"UPDATE dir SET key = CAST('small-99' AS BLOB) WHERE key = CAST('small-03' AS BLOB)",
		"UPDATE dir SET shred = 0 WHERE shred = 3",
		"UPDATE space SET name = randomblob(33) WHERE id = 1",
		"UPDATE space SET name = randomblob(32) WHERE id = 2",
		"DELETE FROM space WHERE id = 1",
		"DELETE FROM meta WHERE id = 2",
		"DROP TABLE val",
	} {
		dir := filepath.Join(t.TempDir(), "p")
		closed.restore(t, dir)
		d := mustOpen(t, dir)
		if sql == "DROP TABLE val" { // which its statements hold
			d.disconnect(false)
			if err := d.connect(d.path, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.c.Exec(sql); err != nil {
			t.Fatal(sql, err)
		}
		if sql != "DELETE FROM meta WHERE id = 2" && d.c.TotalChanges() == 0 && sql != "DROP TABLE val" {
			t.Fatal(sql, "changes nothing")
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, testKey); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: want ErrDamaged, got %v", sql, err)
		}
	}
}
