package store

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ncruces/go-sqlite3"
)

// Format versions of the database (spec 80 section 4). Never renumber.
const (
	// formatFirst: tables meta, space, day, dir, val as in schema; keys and
	// sealed forms as in spec 80.
	formatFirst = 1

	formatNewest = formatFirst
)

// Rows of meta. Row 1 stays what it is in every later version, so that an older
// program can say why it does not open the file.
const (
	metaFormat = 1 // integer: the format version
	metaState  = 2 // blob: sealed commit count and sum
)

// schema is format 1. Values lie apart from the directory, so that checking the
// whole directory at Open reads about a hundred bytes per row.
const schema = `
CREATE TABLE meta (id INTEGER PRIMARY KEY, v ANY) STRICT;
CREATE TABLE space (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE day (space INTEGER NOT NULL, day INTEGER NOT NULL, sealed BLOB NOT NULL,
	PRIMARY KEY (space, day)) STRICT, WITHOUT ROWID;
CREATE TABLE dir (space INTEGER NOT NULL, tbl INTEGER NOT NULL, key BLOB NOT NULL,
	shred INTEGER NOT NULL, stamp BLOB NOT NULL, val INTEGER NOT NULL,
	PRIMARY KEY (space, tbl, key)) STRICT, WITHOUT ROWID;
CREATE TABLE val (id INTEGER PRIMARY KEY, text BLOB NOT NULL) STRICT;
`

// queries are the prepared statements.
type queries struct {
	begin, commit, rollback             *sqlite3.Stmt
	setState                            *sqlite3.Stmt
	spaces, spaceID, addSpace, delSpace *sqlite3.Stmt
	dayGet, dayPut, dayDel, days        *sqlite3.Stmt
	find, get, scan, keys, due          *sqlite3.Stmt
	dirPut, dirDel                      *sqlite3.Stmt
	valAdd, valSet, valDel              *sqlite3.Stmt
}

func prepare(c *sqlite3.Conn) (*queries, error) {
	q := &queries{}
	for _, p := range []struct {
		to  **sqlite3.Stmt
		sql string
	}{
		{&q.begin, `BEGIN IMMEDIATE`},
		{&q.commit, `COMMIT`},
		{&q.rollback, `ROLLBACK`},
		{&q.setState, `REPLACE INTO meta (id, v) VALUES (2, ?)`},
		{&q.spaces, `SELECT name FROM space WHERE EXISTS (SELECT 1 FROM dir WHERE dir.space = space.id)`},
		{&q.spaceID, `SELECT id FROM space WHERE name = ?`},
		{&q.addSpace, `INSERT INTO space (name) VALUES (?)`},
		{&q.delSpace, `DELETE FROM space WHERE id = ?`},
		{&q.dayGet, `SELECT sealed FROM day WHERE space = ? AND day = ?`},
		{&q.dayPut, `INSERT INTO day (space, day, sealed) VALUES (?, ?, ?)`},
		{&q.dayDel, `DELETE FROM day WHERE space = ? AND day = ?`},
		{&q.days, `SELECT day, sealed FROM day WHERE space = ? AND day <= ?`},
		{&q.find, `SELECT shred, stamp, val FROM dir WHERE space = ? AND tbl = ? AND key = ?`},
		{&q.get, `SELECT d.shred, d.stamp, v.text FROM dir d LEFT JOIN val v ON v.id = d.val
			WHERE d.space = ? AND d.tbl = ? AND d.key = ?`},
		{&q.scan, `SELECT d.key, d.shred, d.stamp, v.text FROM dir d LEFT JOIN val v ON v.id = d.val
			WHERE d.space = ? AND d.tbl = ? AND d.key >= ? ORDER BY d.key`},
		{&q.keys, `SELECT key FROM dir WHERE space = ? AND tbl = ? AND key >= ? ORDER BY key`},
		{&q.due, `SELECT tbl, key, shred, stamp, val FROM dir
			WHERE space = ? AND (tbl, key) >= (?, ?) AND shred BETWEEN ? AND ? ORDER BY tbl, key LIMIT 256`},
		{&q.dirPut, `REPLACE INTO dir (space, tbl, key, shred, stamp, val) VALUES (?, ?, ?, ?, ?, ?)`},
		{&q.dirDel, `DELETE FROM dir WHERE space = ? AND tbl = ? AND key = ?`},
		{&q.valAdd, `INSERT INTO val (text) VALUES (?)`},
		{&q.valSet, `REPLACE INTO val (id, text) VALUES (?, ?)`},
		{&q.valDel, `DELETE FROM val WHERE id = ?`},
	} {
		s, err := prep(c, p.sql)
		if err != nil {
			return nil, err
		}
		*p.to = s
	}
	return q, nil
}

// prep compiles sql. The text is the program's own, so an error that is not one
// of the disk is a table that is missing or not as made.
func prep(c *sqlite3.Conn, sql string) (*sqlite3.Stmt, error) {
	s, _, err := c.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
	if errors.Is(err, sqlite3.ERROR) {
		return nil, ErrDamaged
	}
	return s, fault("prepare", err)
}

// errStop is returned by a function of rows that has seen enough.
var errStop = errors.New("store: enough")

// rows binds args to s and calls f for each row. Blobs are valid in f only.
func rows(s *sqlite3.Stmt, f func() error, args ...any) (err error) {
	defer func() {
		if e := s.Reset(); err == nil && e != nil {
			err = fault("query", e)
		}
	}()
	for i, a := range args {
		switch a := a.(type) {
		case int64:
			err = s.BindInt64(i+1, a)
		case []byte:
			if a == nil {
				a = []byte{} // nil would bind NULL, which equals nothing
			}
			err = s.BindBlob(i+1, a)
		}
		if err != nil {
			return fault("bind", err)
		}
	}
	for s.Step() {
		if err := f(); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fault("query", err)
	}
	return nil
}

func run(s *sqlite3.Stmt, args ...any) error {
	return rows(s, func() error { return nil }, args...)
}

// errDisk marks faults after which the state of the files is not known.
var errDisk = errors.New("store: the disk failed, open the store again")

// fault turns an error of SQLite into one of this package. Nothing that was
// bound to a statement is in the text.
func fault(act string, err error) error {
	if err == nil {
		return nil
	}
	var code sqlite3.ExtendedErrorCode
	if !errors.As(err, &code) {
		return fmt.Errorf("store: %s: %w", act, err)
	}
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	switch {
	case code.Code() == sqlite3.FULL, full && code != sqlite3.IOERR_FSYNC:
		return ErrFull
	case code.Code() == sqlite3.CORRUPT, code.Code() == sqlite3.NOTADB,
		code == sqlite3.IOERR_DATA, code == sqlite3.IOERR_CORRUPTFS, code == sqlite3.IOERR_SHORT_READ:
		return ErrDamaged
	case code.Code() == sqlite3.IOERR:
		return fmt.Errorf("%w: %s: %w", errDisk, act, err)
	}
	return fmt.Errorf("store: %s: %w", act, err)
}
