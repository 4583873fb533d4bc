package ferry

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/palabre-app/palabre/node/store"
)

// fileKey holds the two keys of a ferry, and lies beside its store (spec 75 section 9).
const fileKey = "key"

var (
	// ErrMissing says that no ferry was started in a folder.
	ErrMissing = errors.New("ferry: nobody has started a ferry in this folder")
	// ErrKey says that the key file is not one of a ferry, or that there is a store
	// without it. Nothing was changed.
	ErrKey = errors.New("ferry: the key file is missing, or not that of a ferry")
)

// keys are drawn when a ferry is first started.
type keys struct {
	store [store.KeySize]byte
	seed  [32]byte // of the peer id
}

// loadKeys reads the key file, and with create makes the folder and the file if there
// is no ferry yet. Errors are ErrMissing, ErrKey, and the file system's.
func loadKeys(dir string, create bool) (keys, error) {
	k, err := readKeys(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return keys{}, err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "store.") {
			return keys{}, ErrKey // it would be lost if another key took its place
		}
	}
	if !create {
		return keys{}, ErrMissing
	}
	if err := makeKeys(dir); err != nil {
		return keys{}, fmt.Errorf("make the key file: %w", err)
	}
	return readKeys(dir)
}

func readKeys(dir string) (k keys, err error) {
	f, err := os.Open(filepath.Join(dir, fileKey))
	if err != nil {
		return k, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(len(k.store)+len(k.seed))+1))
	switch {
	case err != nil:
		return k, err
	case len(b) != len(k.store)+len(k.seed):
		return k, ErrKey
	}
	copy(k.seed[:], b[copy(k.store[:], b):])
	return k, nil
}

// makeKeys makes the key file durable. It gets its name last, and only if nothing has
// that name: of two ferries that are started at once, both go by the same keys.
func makeKeys(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := store.SyncFolder(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	var b [store.KeySize + 32 + 8]byte
	rand.Read(b[:])
	draft := filepath.Join(dir, fileKey+"."+hex.EncodeToString(b[store.KeySize+32:])+".new")
	defer os.Remove(draft)
	if err := store.WriteFile(draft, b[:store.KeySize+32]); err != nil {
		return err
	}
	if err := os.Link(draft, filepath.Join(dir, fileKey)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return store.SyncFolder(dir)
}
