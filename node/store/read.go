package store

import (
	"bytes"

	"github.com/ncruces/go-sqlite3"

	"github.com/palabre-app/palabre/protocol/engine"
)

// One step of a scan reads about scanBytes, of which each row costs rowCost and
// its value. Between the steps the store is not locked, so that the caller's
// function may use it.
const (
	scanBytes = 256 << 10
	rowCost   = 512
)

// Space is the read side of s, which need not exist. Its calls return ErrDamaged
// for a row that is not what was written.
//
// The function that is handed to Scan or Keys may call the store. A row that is
// committed while it runs may or may not be seen by it; each key is seen at
// most once.
func (d *DB) Space(s Space) engine.Storage { return dbSpace{d, s} }

// Spaces lists the spaces that hold a record, in ascending order.
func (d *DB) Spaces() ([]Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return nil, err
	}
	var out []Space
	err := rows(d.q.spaces, func() error {
		b := d.q.spaces.ColumnRawBlob(0)
		if len(b) != len(Space{}) {
			return ErrDamaged
		}
		out = append(out, Space(b))
		return nil
	})
	if err != nil {
		return nil, err
	}
	sortSpaces(out)
	return out, nil
}

type dbSpace struct {
	d *DB
	s Space
}

func (v dbSpace) Get(t engine.Table, key []byte) (value []byte, err error) {
	d := v.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return nil, err
	}
	id, ok, err := d.spaceID(v.s)
	if err != nil || !ok || len(key) > engine.MaxKeySize {
		return nil, err
	}
	err = rows(d.q.get, func() (err error) {
		value, err = v.value(d.q.get, 0, id, t, key)
		return err
	}, id, int64(t), key)
	if err != nil {
		return nil, err
	}
	return value, nil
}

// value opens the value of the row at which q stands, from the columns shred,
// stamp and text that begin at column at. A text that is missing does not open
// under its stamp.
func (v dbSpace) value(q *sqlite3.Stmt, at int, id int64, t engine.Table, key []byte) ([]byte, error) {
	shred := uint32(q.ColumnInt64(at))
	k, err := v.d.rowKey(v.s, id, shred, false)
	if err != nil {
		return nil, err
	}
	return openRow(k, q.ColumnRawBlob(at+1), q.ColumnRawBlob(at+2), rowAD(v.s, t, shred, key))
}

type pair struct{ key, value []byte }

func (v dbSpace) Scan(t engine.Table, prefix []byte, f func(key, value []byte) error) error {
	return v.walk(t, prefix, true, f)
}

// Keys reads the directory alone, which holds no values.
func (v dbSpace) Keys(t engine.Table, prefix []byte, f func(key []byte) error) error {
	return v.walk(t, prefix, false, func(key, _ []byte) error { return f(key) })
}

func (v dbSpace) walk(t engine.Table, prefix []byte, values bool, f func(key, value []byte) error) error {
	prefix = bytes.Clone(prefix) // the caller may use its own for the next one in f
	from := prefix
	for {
		found, more, err := v.step(t, prefix, from, values)
		if err != nil {
			return err
		}
		for _, p := range found {
			// f may write to its key, from which the next step goes on.
			if err := f(bytes.Clone(p.key), p.value); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		// The key and a zero byte: the next key in the order.
		from = append(found[len(found)-1].key, 0)
	}
}

// step reads some rows with the prefix at or behind from.
func (v dbSpace) step(t engine.Table, prefix, from []byte, values bool) (found []pair, more bool, err error) {
	d := v.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return nil, false, err
	}
	id, ok, err := d.spaceID(v.s)
	if err != nil || !ok {
		return nil, false, err
	}
	q, size := d.q.keys, 0
	if values {
		q = d.q.scan
	}
	err = rows(q, func() error {
		p := pair{key: q.ColumnBlob(0, []byte{})}
		if !bytes.HasPrefix(p.key, prefix) {
			return errStop
		}
		if values {
			if p.value, err = v.value(q, 1, id, t, p.key); err != nil {
				return err
			}
		}
		found = append(found, p)
		if size += rowCost + len(p.value); size >= scanBytes {
			more = true
			return errStop
		}
		return nil
	}, id, int64(t), from)
	if err != nil && err != errStop {
		return nil, false, err
	}
	return found, more, nil
}
