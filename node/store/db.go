package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Names of the files in the folder (spec 80 section 1). While a store is open
// there is also fileDB with "-wal" behind it.
const (
	fileDB   = "store.db"
	fileNew  = "store.new" // a database that is being made
	fileMark = "store.mark"
)

// walLimit is the number of 4 KiB pages after which the log is copied into the
// database and cut.
const walLimit = 1024

// DB is the encrypted store of one profile. It is safe for concurrent use.
type DB struct {
	mu     sync.Mutex
	c      *sqlite3.Conn
	q      *queries
	k      *keys
	mark   mark
	vfs    string
	path   string // of the database
	quota  int    // pages, 0 for none
	closed bool
	broken error // set when the state of the files is not known

	seq    uint64 // commits, the making of the file included
	sum    sum
	spaces map[Space]int64    // a cache
	days   map[dayRef]*secret // a cache of open day keys
	wal    int                // pages in the log
	due    bool               // something was shredded that the file still holds
	reset  bool               // the log must be started anew before a commit
}

type dayRef struct {
	space int64
	day   uint32
}

// Open opens the store in dir, and makes both if they do not exist. The key is
// 32 bytes of full entropy; whoever holds it reads everything. All rows are
// checked against the sum before Open returns (about 0.1 s for 100,000).
//
// Errors: ErrInUse, ErrDamaged, ErrNewer, ErrFull, or one of the file system. A store
// that does not open is left as it was found.
func Open(dir string, key [KeySize]byte) (*DB, error) {
	return openOn(dir, key, vfs.Find(""))
}

func openOn(dir string, key [KeySize]byte, base vfs.VFS) (_ *DB, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	f, err := openMark(filepath.Join(dir, fileMark))
	if err != nil {
		return nil, err
	}
	k := deriveKeys(key)
	d := &DB{k: k, path: filepath.Join(dir, fileDB), mark: mark{f: f, key: k.mark}, vfs: registerVFS(base, &k.file),
		spaces: map[Space]int64{}, days: map[dayRef]*secret{}}
	defer func() {
		if err != nil {
			d.release()
		}
	}()
	if err := d.ensure(dir); err != nil {
		return nil, err
	}
	if err := d.connect(d.path, false); err != nil {
		return nil, err
	}
	if err := d.verify(); err != nil {
		return nil, err
	}
	if d.q, err = prepare(d.c); err != nil {
		return nil, err
	}
	if d.seq > d.mark.seq {
		if err := d.mark.settle(d.seq); err != nil {
			return nil, err
		}
	}
	// A process that died may have left a log with shredded keys in it, and
	// with an end that must not be written behind (see reconnect).
	d.reset = true
	if err := d.checkpoint(); err != nil && !errors.Is(err, ErrFull) {
		return nil, err
	}
	return d, nil
}

// makeDir makes the folder for this user alone. A folder that is there keeps its
// rights: it may be anything, and the files in it are this user's alone anyway.
func makeDir(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("store: make folder: %w", err)
		}
		if err := SyncFolder(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// ensure makes the database if there is none. It is made under another name and
// gets its own only when it and the mark are on the disk: so a database without
// a mark, or a mark without a database, is damage and never a crash.
func (d *DB) ensure(dir string) error {
	db, tmp := d.path, filepath.Join(dir, fileNew)
	hasDB, err := exists(db)
	if err != nil {
		return err
	}
	if hasDB {
		return d.mark.read()
	}
	hasNew, err := exists(tmp)
	if err != nil {
		return err
	}
	info, err := d.mark.f.Stat()
	if err != nil {
		return fmt.Errorf("store: read mark: %w", err)
	}
	readable := info.Size() > 0 && d.mark.read() == nil
	if info.Size() > 0 && !hasNew {
		return ErrDamaged // there was a database, and it is gone
	}
	if readable && d.mark.seq != 1 {
		return ErrDamaged
	}
	if !readable {
		if err := d.build(dir, tmp); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, db); err != nil {
		return fmt.Errorf("store: name the database: %w", err)
	}
	return SyncFolder(dir)
}

// build makes a new database at path and then the mark.
func (d *DB) build(dir, path string) error {
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("store: make the database: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store: make the database: %w", err)
	}
	f.Close()
	if err := d.connect(path, true); err != nil {
		return err
	}
	d.seq, d.sum = 1, sum{}
	if err := d.create(); err != nil {
		return err
	}
	if err := d.checkpoint(); err != nil {
		return err
	}
	if err := d.disconnect(true); err != nil {
		return err
	}
	if err := SyncFolder(dir); err != nil {
		return err
	}
	return d.mark.settle(1)
}

func (d *DB) create() error {
	// Not one transaction: the file has no name yet.
	if err := d.c.Exec(schema); err != nil {
		return fault("make the tables", err)
	}
	s, err := prep(d.c, `INSERT INTO meta (id, v) VALUES (1, ?), (2, ?)`)
	if err != nil {
		return err
	}
	return run(s, int64(formatNewest), d.sealState(d.seq))
}

func exists(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("store: %w", err)
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("store: %s is not a plain file", filepath.Base(path))
	}
	return true, nil
}

// settings: a log needs one fsync per commit where a rollback journal needs
// three or four, and the exclusive mode keeps its index in this process's
// memory, so that there is no shared-memory file.
const settings = `
PRAGMA temp_store = MEMORY;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA mmap_size = 0;
PRAGMA cache_size = -2048;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA cell_size_check = ON;
PRAGMA trusted_schema = OFF;
PRAGMA wal_autocheckpoint = 0;
`

func (d *DB) connect(path string, fresh bool) error {
	// textkey is no key: fileKey answers any text with the key. It has to be there
	// from the first read of the header on, which turns on the page checksums.
	// modeof makes the log as private as the database.
	query := url.Values{"vfs": {d.vfs}, "textkey": {"store"}, "modeof": {path}}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path),
		RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")}
	c, err := sqlite3.OpenFlags(u.String(), sqlite3.OPEN_READWRITE|sqlite3.OPEN_URI|sqlite3.OPEN_NOFOLLOW)
	if err != nil {
		return fault("open", err)
	}
	d.c = c
	// Closing must not tidy up what a failed check wants to leave as it was.
	if _, err := c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true); err != nil {
		return fault("set up", err)
	}
	if err := c.Exec(settings); err != nil {
		return fault("set up", err)
	}
	if fresh {
		if err := c.EnableChecksums("main"); err != nil {
			return fault("turn on page checksums", err)
		}
	}
	if err := c.Exec(`PRAGMA journal_mode = WAL`); err != nil {
		return fault("turn on the log", err)
	}
	if d.quota > 0 {
		if err := d.limitPages(d.quota); err != nil {
			return err
		}
	}
	c.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
		d.wal = pages
		return nil
	})
	return nil
}

// checkpoint copies the log into the database, syncs, and wipes the log.
func (d *DB) checkpoint() error {
	if _, _, err := d.c.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE); err != nil {
		return fault("checkpoint", err)
	}
	d.wal, d.due, d.reset = 0, false, false
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("%w: sync: %w", errDisk, err)
	}
	return nil
}

func (d *DB) disconnect(tidy bool) error {
	if d.c == nil {
		return nil
	}
	// Collected first: closing changes what Stmts walks over.
	for _, s := range slices.Collect(d.c.Stmts()) {
		s.Close()
	}
	if tidy {
		d.c.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, false)
	}
	err := d.c.Close()
	d.c, d.wal = nil, 0
	return fault("close", err)
}

// release lets go of everything without changing a file.
func (d *DB) release() {
	d.disconnect(false)
	vfs.Unregister(d.vfs)
	d.mark.f.Close()
	d.dropCaches()
	d.k.wipe()
	d.closed = true
}

func (d *DB) dropCaches() {
	clear(d.spaces)
	for _, s := range d.days {
		s.wipe()
	}
	clear(d.days)
}

// usable is the first check of every call. The caller holds mu.
func (d *DB) usable() error {
	if d.closed {
		return ErrClosed
	}
	return d.broken
}

// Close carries the log into the database, removes it and releases the lock.
// After an error the store is closed too, and nothing committed is lost: the log
// is still there, and the next Open finishes the work. A second Close is ErrClosed.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	err := d.broken
	if err == nil {
		err = d.checkpoint()
	}
	if err == nil {
		err = errors.Join(d.mark.settle(d.seq), d.disconnect(true))
	}
	d.release()
	return err
}

// limitPages is the quota of the database in pages of 4 KiB.
func (d *DB) limitPages(n int) error {
	if n <= 0 || n > math.MaxInt32 {
		return errors.New("store: bad quota")
	}
	d.quota = n
	return fault("set the quota", d.c.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n)))
}
