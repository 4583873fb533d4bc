package ferry

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// content is what the files of a folder hold, by name.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		all[f.Name()] = string(b)
	}
	return all
}

// What is not a ferry's folder is left as it is.
func TestKeyFileFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(dir string) error
		create bool
		want   error
	}{
		"no folder":              {func(dir string) error { return os.RemoveAll(dir) }, false, ErrMissing},
		"an empty folder":        {func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) }, false, ErrMissing},
		"a store without a key":  {func(dir string) error { return os.Remove(filepath.Join(dir, "key")) }, true, ErrKey},
		"and nobody makes one":   {func(dir string) error { return os.Remove(filepath.Join(dir, "key")) }, false, ErrKey},
		"a key that is cut off":  {func(dir string) error { return os.Truncate(filepath.Join(dir, "key"), 63) }, true, ErrKey},
		"a key that is too long": {func(dir string) error { return os.Truncate(filepath.Join(dir, "key"), 65) }, true, ErrKey},
		"an empty key":           {func(dir string) error { return os.Truncate(filepath.Join(dir, "key"), 0) }, true, ErrKey},
		"a profile":              {func(dir string) error { return os.WriteFile(filepath.Join(dir, "key"), make([]byte, 288), 0o600) }, true, ErrKey},
	} {
		dir := filepath.Join(t.TempDir(), "ferry")
		f, err := Open(Config{Dir: dir}, true)
		must(t, err)
		must(t, f.Close())
		must(t, c.spoil(dir))
		before := content(t, dir)
		if _, err := Open(Config{Dir: dir}, c.create); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		after := content(t, dir)
		if len(before) != len(after) {
			t.Errorf("%s: %d files became %d", name, len(before), len(after))
		}
		for file, b := range before {
			if after[file] != b {
				t.Errorf("%s: %s was changed", name, file)
			}
		}
		if _, err := os.Lstat(dir); name == "no folder" && err == nil {
			t.Error("the folder was made")
		}
	}
}

// Of ferries that are started at once in a new folder all have the same keys, and no
// draft of a key is left.
func TestKeysAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var all sync.WaitGroup
	got, errs := make([]keys, 16), make([]error, 16)
	for i := range got {
		all.Go(func() { got[i], errs[i] = loadKeys(dir, true) })
	}
	all.Wait()
	for i := range got {
		if errs[i] != nil || got[i] != got[0] {
			t.Errorf("%d: other keys, %v", i, errs[i])
		}
	}
	if got[0].seed == ([32]byte{}) || bytes.Equal(got[0].seed[:], got[0].store[:]) {
		t.Error("the keys were not drawn")
	}
	if files := content(t, dir); len(files) != 1 || len(files["key"]) != 64 {
		t.Errorf("%d files", len(files))
	}
}
