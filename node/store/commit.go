package store

import (
	"math"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Commit makes b durable in space s, all of it or nothing: deletes, then puts,
// then shredding. When it returns nil the batch is on the disk. It keeps no
// slice of b.
//
// Errors: ErrTooLarge, ErrFull (both leave the store usable), ErrDamaged,
// ErrClosed, or one of the disk, after which the store has to be opened again
// and the batch may or may not be there. Shredded rows are gone for every reader
// when Commit returns; if the file itself could not be cleaned yet, that is tried again
// at each commit, at Close and at Open.
func (d *DB) Commit(s Space, b engine.Batch) error {
	return d.CommitAll([]Part{{s, b}})
}

// CommitAll is Commit over several spaces in one transaction, in the order of
// parts.
func (d *DB) CommitAll(parts []Part) error {
	if err := check(parts); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if empty(parts) {
		return nil
	}
	return d.transact(func() (shredded bool, err error) {
		for i := range parts {
			done, err := d.apply(parts[i].Space, &parts[i].Batch)
			if err != nil {
				return false, err
			}
			shredded = shredded || done
		}
		return shredded, nil
	})
}

// DropSpace erases every record and every day key of s, and that s existed.
// Errors are those of Commit.
func (d *DB) DropSpace(s Space) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	return d.transact(func() (bool, error) {
		id, ok, err := d.spaceID(s)
		if err != nil || !ok {
			return false, err
		}
		if err := d.erase(s, id, 0, math.MaxUint32); err != nil {
			return false, err
		}
		if _, err := d.dropDays(s, id, math.MaxUint32); err != nil {
			return false, err
		}
		delete(d.spaces, s)
		return true, run(d.q.delSpace, id)
	})
}

// transact runs f in a transaction. f says whether it destroyed something that
// must leave the files at once.
func (d *DB) transact(f func() (shredded bool, err error)) error {
	if d.reset {
		if d.tidy(); d.broken != nil {
			return d.broken
		} else if d.reset {
			return ErrFull
		}
	}
	before := d.sum
	shredded := false
	err := run(d.q.begin)
	if err == nil {
		shredded, err = f()
	}
	if err == nil {
		err = run(d.q.setState, d.sealState(d.seq+1))
	}
	if err == nil {
		err = run(d.q.commit)
	}
	if err != nil {
		after := d.sum
		d.sum = before
		if err := d.undo(err, after); err != nil {
			return err
		}
		d.sum = after
	}
	d.seq++
	d.due = d.due || shredded
	// The batch is durable without the mark, which then stays behind and
	// promises less: an error here must not be told as a lost commit.
	_ = d.mark.write(d.seq)
	if d.due || d.wal >= walLimit {
		d.tidy()
	}
	return nil
}

func (d *DB) apply(s Space, b *engine.Batch) (shredded bool, err error) {
	if b.Empty() {
		return false, nil
	}
	id, ok, err := d.spaceID(s)
	if err != nil {
		return false, err
	}
	if ok {
		for _, r := range b.Deletes {
			if err := d.remove(s, id, r.Table, r.Key); err != nil {
				return false, err
			}
		}
	}
	if !ok && len(b.Puts) > 0 {
		if err := run(d.q.addSpace, s[:]); err != nil {
			return false, err
		}
		id, ok = d.c.LastInsertRowID(), true
		d.spaces[s] = id
	}
	for i := range b.Puts {
		if err := d.put(s, id, &b.Puts[i]); err != nil {
			return false, err
		}
	}
	if !ok || b.ShredBefore == 0 {
		return false, nil
	}
	return d.shred(s, id, b.ShredBefore)
}

// entry is a row of the directory.
type entry struct {
	tbl   engine.Table
	key   []byte
	shred uint32
	stamp []byte
	val   int64
}

func (d *DB) find(id int64, t engine.Table, key []byte) (e entry, ok bool, err error) {
	err = rows(d.q.find, func() error {
		e, ok = entry{tbl: t, key: key, shred: uint32(d.q.find.ColumnInt64(0)),
			stamp: d.q.find.ColumnBlob(1, nil), val: d.q.find.ColumnInt64(2)}, true
		return nil
	}, id, int64(t), key)
	return e, ok, err
}

func (d *DB) put(s Space, id int64, r *engine.Record) error {
	k, err := d.rowKey(s, id, r.Shred, true)
	if err != nil {
		return err
	}
	stamp, text := sealRow(k, r.Value, rowAD(s, r.Table, r.Shred, r.Key))
	old, had, err := d.find(id, r.Table, r.Key)
	if err != nil {
		return err
	}
	if had {
		d.sum.sub(d.k.rowElement(s, r.Table, old.shred, r.Key, old.stamp))
		err = run(d.q.valSet, old.val, text)
	} else {
		err = run(d.q.valAdd, text)
		old.val = d.c.LastInsertRowID()
	}
	if err != nil {
		return err
	}
	d.sum.add(d.k.rowElement(s, r.Table, r.Shred, r.Key, stamp[:]))
	return run(d.q.dirPut, id, int64(r.Table), r.Key, int64(r.Shred), stamp[:], old.val)
}

func (d *DB) remove(s Space, id int64, t engine.Table, key []byte) error {
	e, ok, err := d.find(id, t, key)
	if err != nil || !ok {
		return err
	}
	return d.removeEntry(s, id, &e)
}

func (d *DB) removeEntry(s Space, id int64, e *entry) error {
	d.sum.sub(d.k.rowElement(s, e.tbl, e.shred, e.key, e.stamp))
	if err := run(d.q.dirDel, id, int64(e.tbl), e.key); err != nil {
		return err
	}
	return run(d.q.valDel, e.val)
}

// spaceID is the number of a space, if it has one.
func (d *DB) spaceID(s Space) (id int64, ok bool, err error) {
	if id, ok = d.spaces[s]; ok {
		return id, true, nil
	}
	err = rows(d.q.spaceID, func() error {
		id, ok = d.q.spaceID.ColumnInt64(0), true
		return nil
	}, s[:])
	if ok {
		d.spaces[s] = id
	}
	return id, ok, err
}
