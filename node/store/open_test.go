package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity/label"
)

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	if _, err := Open(dir, testKey); err != ErrInUse {
		t.Fatal("want ErrInUse, got", err)
	}
	commit(t, d, spaceA, puts(put(1, "k", "v", 0)))
	d.Close()
	d = mustOpen(t, dir)
	want(t, get(t, d, spaceA, 1, "k"), "v")
	d.Close()
}

func TestModesAndFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "profile")
	d := mustOpen(t, dir)
	commit(t, d, spaceA, puts(put(1, "k", "v", 0)))
	check := func(wanted ...string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
			if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
		}
		if fmt.Sprint(names) != fmt.Sprint(wanted) {
			t.Fatalf("files %v, want %v", names, wanted)
		}
	}
	check(fileDB, fileDB+"-wal", fileMark)
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v", info.Mode())
	}
	d.Close()
	check(fileDB, fileMark)
}

// TestInterruptedCreation: a crash at any point of making the store leaves
// something that the next Open completes.
func TestInterruptedCreation(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir).Close()
	done := snapshot(t, dir)
	for name, im := range map[string]image{
		"mark only":           {fileMark: {}},
		"half a database":     {fileMark: {}, fileNew: done[fileDB][:5000]},
		"with journal":        {fileMark: {}, fileNew: done[fileDB], fileNew + "-wal": {1, 2, 3}},
		"no mark yet":         {fileMark: {}, fileNew: done[fileDB]},
		"half a mark":         {fileMark: done[fileMark][:30], fileNew: done[fileDB]},
		"before the renaming": {fileMark: done[fileMark], fileNew: done[fileDB]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "p")
			im.restore(t, dir)
			d := mustOpen(t, dir)
			commit(t, d, spaceA, puts(put(1, "k", "v", 0)))
			d.Close()
			d = mustOpen(t, dir)
			defer d.Close()
			want(t, get(t, d, spaceA, 1, "k"), "v")
		})
	}
}

func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	if err := d.c.Exec("UPDATE meta SET v = 2 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := Open(dir, testKey); err != ErrNewer {
		t.Fatal("want ErrNewer, got", err)
	}
}

func TestNotAPlainFile(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "elsewhere")
	os.WriteFile(target, nil, 0o600)
	if err := os.Symlink(target, filepath.Join(dir, fileDB)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, testKey); err == nil {
		t.Fatal("opened through a link")
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	k := deriveKeys(testKey)
	hexed := fmt.Sprintf("%x", k.row.bytes()[:4])
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, x := range []any{k.row, &k.row, *k, k, &DB{k: k, mark: mark{key: k.row}}} {
			out := fmt.Sprintf(verb, x)
			if strings.Contains(strings.ToLower(out), hexed) || strings.Contains(out, fmt.Sprint(k.row.bytes()[:4])[1:9]) {
				t.Errorf("%s of %T shows key bytes", verb, x)
			}
		}
	}
}

// TestEachInputChangesTheResult: one case per input of each derivation.
func TestEachInputChangesTheResult(t *testing.T) {
	other := testKey
	other[0] ^= 1
	seen := map[[KeySize]byte]string{}
	for name, s := range map[string]secret{
		"base":    derive(testKey[:], label.StoreSum, "row"),
		"key":     derive(other[:], label.StoreSum, "row"),
		"label":   derive(testKey[:], label.StoreRow, "row"),
		"purpose": derive(testKey[:], label.StoreSum, "day"),
	} {
		if with, ok := seen[[KeySize]byte(s.bytes())]; ok {
			t.Errorf("derive: %s and %s are equal", name, with)
		}
		seen[[KeySize]byte(s.bytes())] = name
	}
	k := deriveKeys(testKey)
	sums := map[sum]string{}
	for name, e := range map[string]sum{
		"base":       k.rowElement(spaceA, 1, 2, []byte("k"), make([]byte, stampSize)),
		"space":      k.rowElement(spaceB, 1, 2, []byte("k"), make([]byte, stampSize)),
		"table":      k.rowElement(spaceA, 2, 2, []byte("k"), make([]byte, stampSize)),
		"shred":      k.rowElement(spaceA, 1, 3, []byte("k"), make([]byte, stampSize)),
		"key":        k.rowElement(spaceA, 1, 2, []byte("l"), make([]byte, stampSize)),
		"stamp":      k.rowElement(spaceA, 1, 2, []byte("k"), append(make([]byte, stampSize-1), 1)),
		"day":        k.dayElement(spaceA, 1, make([]byte, sealedKeySize)),
		"day space":  k.dayElement(spaceB, 1, make([]byte, sealedKeySize)),
		"day day":    k.dayElement(spaceA, 2, make([]byte, sealedKeySize)),
		"day sealed": k.dayElement(spaceA, 1, append(make([]byte, sealedKeySize-1), 1)),
	} {
		if with, ok := sums[e]; ok {
			t.Errorf("sum: %s and %s are equal", name, with)
		}
		sums[e] = name
	}
	stamp, text := sealRow(&k.row, []byte("value"), rowAD(spaceA, 1, 2, []byte("k")))
	for name, ad := range map[string][]byte{
		"space": rowAD(spaceB, 1, 2, []byte("k")), "table": rowAD(spaceA, 2, 2, []byte("k")),
		"shred": rowAD(spaceA, 1, 3, []byte("k")), "key": rowAD(spaceA, 1, 2, []byte("kk")),
	} {
		if _, err := openRow(&k.row, stamp[:], text, ad); err != ErrDamaged {
			t.Errorf("a value opens in the place of another: %s", name)
		}
	}
	if v, err := openRow(&k.row, stamp[:], text, rowAD(spaceA, 1, 2, []byte("k"))); err != nil || string(v) != "value" {
		t.Fatal(err)
	}
}

func TestSumIsASetHash(t *testing.T) {
	k := deriveKeys(testKey)
	a := k.dayElement(spaceA, 1, nil)
	b := k.dayElement(spaceA, 2, nil)
	var x, y sum
	x.add(a)
	x.add(b)
	y.add(b)
	y.add(a)
	if !x.equal(&y) {
		t.Fatal("the order must not matter")
	}
	x.sub(a)
	x.sub(b)
	if zero := (sum{}); !x.equal(&zero) || y.equal(&zero) {
		t.Fatal("adding and taking away must cancel")
	}
	if back := sumFrom(y.bytes()); !back.equal(&y) {
		t.Fatal("bytes and sumFrom are no inverses")
	}
}

// FuzzMark: a mark that reads gives the newest count whose slot is whole.
func FuzzMark(f *testing.F) {
	f.Add(uint64(5), uint16(3), byte(0))
	f.Add(uint64(5), uint16(3), byte(1))
	f.Add(uint64(4), uint16(3), byte(1))
	f.Add(uint64(5), uint16(markStride+3), byte(1))
	f.Add(uint64(4), uint16(100), byte(1))
	f.Add(uint64(1), uint16(markStride+7), byte(0x80))
	f.Fuzz(func(t *testing.T, seq uint64, at uint16, flip byte) {
		file, err := os.CreateTemp(t.TempDir(), "mark")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		seq = seq%1_000_000 + 1
		m := mark{f: file, key: derive(testKey[:], label.StoreSum, "mark")}
		if err := errors.Join(m.settle(seq), m.write(seq+1)); err != nil {
			t.Fatal(err)
		}
		b := []byte{0}
		off := int64(at) % markSize
		file.ReadAt(b, off)
		b[0] ^= flip
		file.WriteAt(b, off)
		m.seq = 0
		wanted := seq + 1
		if slot := (seq + 1) & 1; flip != 0 && off >= int64(slot)*markStride && off < int64(slot)*markStride+markSlotSize {
			wanted = seq // the slot of the newest count is spoiled
		}
		if err := m.read(); err != nil || m.seq != wanted {
			t.Fatalf("read %d, want %d: %v", m.seq, wanted, err)
		}
	})
}
