package store

import (
	"crypto/rand"

	"github.com/palabre-app/palabre/protocol/engine"
)

// shred destroys the day keys up to day and the rows under them. A row has a
// shred day only together with a day key, so without keys there is nothing to
// look for.
func (d *DB) shred(s Space, id int64, day uint32) (bool, error) {
	n, err := d.dropDays(s, id, day)
	if err != nil || n == 0 {
		return false, err
	}
	return true, d.erase(s, id, 1, day)
}

// erase deletes the rows of a space with a shred day in [from, to], a few
// hundred at a time.
func (d *DB) erase(s Space, id int64, from, to uint32) error {
	at := entry{key: []byte{}}
	for {
		var found []entry
		err := rows(d.q.due, func() error {
			q := d.q.due
			found = append(found, entry{engine.Table(q.ColumnInt64(0)), q.ColumnBlob(1, nil),
				uint32(q.ColumnInt64(2)), q.ColumnBlob(3, nil), q.ColumnInt64(4)})
			return nil
		}, id, int64(at.tbl), at.key, int64(from), int64(to))
		if err != nil || len(found) == 0 {
			return err
		}
		for i := range found {
			if err := d.removeEntry(s, id, &found[i]); err != nil {
				return err
			}
		}
		at = found[len(found)-1]
	}
}

// dropDays deletes the day keys of a space up to day and says how many.
func (d *DB) dropDays(s Space, id int64, day uint32) (int, error) {
	var gone []uint32
	err := rows(d.q.days, func() error {
		n := uint32(d.q.days.ColumnInt64(0))
		d.sum.sub(d.k.dayElement(s, n, d.q.days.ColumnRawBlob(1)))
		gone = append(gone, n)
		return nil
	}, id, int64(day))
	if err != nil {
		return 0, err
	}
	for _, n := range gone {
		if k := d.days[dayRef{id, n}]; k != nil {
			k.wipe()
			delete(d.days, dayRef{id, n})
		}
		if err := run(d.q.dayDel, id, int64(n)); err != nil {
			return 0, err
		}
	}
	return len(gone), nil
}

// rowKey is the key that seals the rows of a shred day; day 0 has the key of the
// store. create makes a missing day key.
func (d *DB) rowKey(s Space, id int64, day uint32, create bool) (*secret, error) {
	if day == 0 {
		return &d.k.row, nil
	}
	at := dayRef{id, day}
	if k := d.days[at]; k != nil {
		return k, nil
	}
	k, err := d.loadDay(s, at)
	if err != nil {
		return nil, err
	}
	if k == nil {
		if !create {
			return nil, ErrDamaged // a row without its key
		}
		fresh := newSecret(nil)
		rand.Read(fresh.bytes())
		k = &fresh
		sealed := seal(&d.k.day, k.bytes(), dayAD(s, day))
		if err := run(d.q.dayPut, id, int64(day), sealed); err != nil {
			return nil, err
		}
		d.sum.add(d.k.dayElement(s, day, sealed))
	}
	d.days[at] = k
	return k, nil
}

func (d *DB) loadDay(s Space, at dayRef) (k *secret, err error) {
	err = rows(d.q.dayGet, func() error {
		plain, err := open(&d.k.day, d.q.dayGet.ColumnRawBlob(0), dayAD(s, at.day))
		if err != nil || len(plain) != KeySize {
			return ErrDamaged
		}
		loaded := newSecret(plain)
		clear(plain)
		k = &loaded
		return nil
	}, at.space, int64(at.day))
	return k, err
}
