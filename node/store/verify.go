package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ncruces/go-sqlite3"

	"github.com/palabre-app/palabre/protocol/engine"
)

const stateSize = 8 + sumSize

// stateAD binds the state to the format version, so that a version row that was
// set back does not go unnoticed.
func stateAD(format int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(format))
}

func (d *DB) sealState(seq uint64) []byte {
	plain := binary.BigEndian.AppendUint64(nil, seq)
	return seal(&d.k.state, append(plain, d.sum.bytes()...), stateAD(formatNewest))
}

// verify reads the state and holds it against the commit mark and against
// every row of the directory and every day key.
func (d *DB) verify() error {
	format, err := d.loadFormat()
	if err != nil {
		return err
	}
	if format > formatNewest {
		return ErrNewer
	}
	if format != formatFirst {
		return ErrDamaged
	}
	seq, stated, err := d.loadState(format)
	if err != nil {
		return err
	}
	if seq < d.mark.seq {
		return ErrDamaged // the log lost commits that were acknowledged
	}
	if err := d.mend(); err != nil {
		return err
	}
	if err := d.verifySettings(); err != nil {
		return err
	}
	names, err := d.loadSpaces()
	if err != nil {
		return err
	}
	var found sum
	if err := d.sumRows(names, &found); err != nil {
		return err
	}
	if err := d.sumDays(names, &found); err != nil {
		return err
	}
	if !found.equal(&stated) {
		return ErrDamaged
	}
	d.seq, d.sum = seq, stated
	return nil
}

// mend finishes a checkpoint that a crash cut off while it wrote the first page:
// Adiantum turns a torn block into noise, from which the page checksums cannot
// see that they are on. The log still has the page. It is used only after the
// state in it has proven to be whole and no older than the mark.
func (d *DB) mend() error {
	on := ""
	err := d.once("PRAGMA checksum_verification", func(s *sqlite3.Stmt) error {
		on = s.ColumnText(0)
		return nil
	})
	if err != nil || on == "1" {
		return err
	}
	return d.checkpoint()
}

// verifySettings makes sure of what SQLite may decline without an error.
func (d *DB) verifySettings() error {
	for _, p := range [][2]string{
		{"journal_mode", "wal"},
		{"locking_mode", "exclusive"},
		{"synchronous", "2"}, // FULL
		{"secure_delete", "1"},
		// Without page checksums, damage that happens while the file is open
		// could pass. A file without them was not made by this package.
		{"checksum_verification", "1"},
	} {
		got := ""
		err := d.once("PRAGMA "+p[0], func(s *sqlite3.Stmt) error {
			got = s.ColumnText(0)
			return nil
		})
		if err != nil {
			return err
		}
		if got != p[1] {
			return fmt.Errorf("%w: %s is off", ErrDamaged, p[0])
		}
	}
	return nil
}

// once prepares sql, calls f for each row and drops the statement.
func (d *DB) once(sql string, f func(s *sqlite3.Stmt) error) error {
	s, err := prep(d.c, sql)
	if err != nil {
		return err
	}
	defer s.Close()
	return rows(s, func() error { return f(s) })
}

func (d *DB) loadFormat() (format int64, err error) {
	err = d.once(`SELECT v FROM meta WHERE id = 1`, func(s *sqlite3.Stmt) error {
		format = s.ColumnInt64(0)
		return nil
	})
	return format, err
}

func (d *DB) loadState(format int64) (seq uint64, stated sum, err error) {
	found := false
	err = d.once(`SELECT v FROM meta WHERE id = 2`, func(s *sqlite3.Stmt) error {
		plain, err := open(&d.k.state, s.ColumnRawBlob(0), stateAD(format))
		if err != nil || len(plain) != stateSize {
			return ErrDamaged
		}
		seq, stated, found = binary.BigEndian.Uint64(plain), sumFrom(plain[8:]), true
		return nil
	})
	if err == nil && !found {
		err = ErrDamaged
	}
	return seq, stated, err
}

func (d *DB) loadSpaces() (map[int64]Space, error) {
	names := map[int64]Space{}
	err := d.once(`SELECT id, name FROM space`, func(s *sqlite3.Stmt) error {
		b := s.ColumnRawBlob(1)
		if len(b) != len(Space{}) {
			return ErrDamaged
		}
		names[s.ColumnInt64(0)] = Space(b)
		d.spaces[Space(b)] = s.ColumnInt64(0)
		return nil
	})
	if len(d.spaces) != len(names) {
		return nil, ErrDamaged
	}
	return names, err
}

func (d *DB) sumRows(names map[int64]Space, out *sum) error {
	return d.once(`SELECT space, tbl, key, shred, stamp FROM dir`, func(s *sqlite3.Stmt) error {
		name, ok := names[s.ColumnInt64(0)]
		tbl, key, shred, stamp := s.ColumnInt64(1), s.ColumnRawBlob(2), s.ColumnInt64(3), s.ColumnRawBlob(4)
		if !ok || tbl < 0 || tbl > math.MaxUint8 || len(key) > engine.MaxKeySize ||
			shred < 0 || shred > math.MaxUint32 || len(stamp) != stampSize {
			return ErrDamaged
		}
		out.add(d.k.rowElement(name, engine.Table(tbl), uint32(shred), key, stamp))
		return nil
	})
}

func (d *DB) sumDays(names map[int64]Space, out *sum) error {
	return d.once(`SELECT space, day, sealed FROM day`, func(s *sqlite3.Stmt) error {
		name, ok := names[s.ColumnInt64(0)]
		day, sealed := s.ColumnInt64(1), s.ColumnRawBlob(2)
		if !ok || day <= 0 || day > math.MaxUint32 || len(sealed) != sealedKeySize {
			return ErrDamaged
		}
		out.add(d.k.dayElement(name, uint32(day), sealed))
		return nil
	})
}
