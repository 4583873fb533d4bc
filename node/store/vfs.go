package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/ncruces/go-sqlite3/vfs/adiantum"
	lukeadiantum "lukechampine.com/adiantum"
	"lukechampine.com/adiantum/hbsh"
)

var vfsCount atomic.Uint64

// registerVFS makes the file layer of one store known to SQLite and returns its
// name: page checksums (inside of SQLite's own layer), over Adiantum, over the
// wiping of the log, over base. Adiantum turns a changed block into noise, and a
// checksum over noise fails: the two together authenticate pages, which neither
// does alone.
func registerVFS(base vfs.VFS, key *secret) string {
	name := fmt.Sprintf("palabre-%d", vfsCount.Add(1))
	vfs.Register(name, adiantum.Wrap(wipeVFS{base}, fileKey{key}))
	return name
}

// fileKey hands the key to Adiantum without it passing through a URI or SQL
// text, from where it could reach an error message.
type fileKey struct{ key *secret }

// KDF returns the key for any text, and a random key for a temporary file.
func (k fileKey) KDF(text string) []byte {
	if text == "" {
		b := make([]byte, KeySize)
		rand.Read(b)
		return b
	}
	return k.key.bytes()
}

// HBSH returns the cipher of a key.
func (fileKey) HBSH(key []byte) *hbsh.HBSH {
	if len(key) != KeySize {
		return nil
	}
	return lukeadiantum.New(key)
}

// wipeVFS overwrites what is cut off the log, so that the blocks that the file
// system takes back do not hold pages with keys that were shredded.
type wipeVFS struct{ vfs.VFS }

func (v wipeVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err == nil && flags&vfs.OPEN_WAL != 0 {
		f = &wipeFile{f}
	}
	return f, out, err
}

type wipeFile struct{ vfs.File }

// Size leaves out a part of a block at the end. Adiantum writes whole blocks, so
// that is an unfinished write, and SQLite would take the short read for a fault
// of the disk instead of the end of the log.
func (f *wipeFile) Size() (int64, error) {
	n, err := f.File.Size()
	return n &^ 4095, err
}

// Truncate is called on a log after all of it was copied and synced into the
// database, so that a crash between the zeros and the cut loses nothing. A full
// disk, where overwriting takes new blocks, does not keep the log from being cut.
func (f *wipeFile) Truncate(size int64) error {
	end, err := f.File.Size()
	if err != nil {
		return err
	}
	zero := make([]byte, 64<<10)
	for off := size; off < end; off += int64(len(zero)) {
		n := min(int64(len(zero)), end-off)
		if _, err := f.WriteAt(zero[:n], off); err != nil {
			break
		}
	}
	return errors.Join(f.Sync(vfs.SYNC_NORMAL), f.File.Truncate(size))
}
