package store

import "errors"

// undo ends a failed transaction, which would have led to the sum after. It
// returns nil if it finds that the transaction did reach the disk.
func (d *DB) undo(cause error, after sum) error {
	d.dropCaches() // they may hold what the transaction made
	if !d.c.GetAutocommit() {
		if err := run(d.q.rollback); err != nil && !d.c.GetAutocommit() {
			cause = errDisk
		}
	}
	switch {
	case errors.Is(cause, errDisk):
		d.broken = errDisk
	case errors.Is(cause, ErrFull):
		landed, err := d.reconnect(after)
		if err != nil {
			d.broken = err
			return err
		}
		if landed {
			return nil
		}
	}
	return cause
}

// reconnect opens the files anew after a write was refused. The blocks of the log
// are encrypted whole and frames share them, so the refused write may have
// spoiled the end of the frame before it, of which SQLite keeps a second copy
// that it finds only when it reads the log from the start. And the refusal may
// have come after the transaction was complete in the log: landed says so.
//
// The first copy then has a new frame directly behind it, in the same block, so
// nothing may be written to this log any more: it is started anew first.
func (d *DB) reconnect(after sum) (landed bool, err error) {
	d.reset = true
	if err := d.disconnect(false); err != nil {
		return false, err
	}
	if err := d.connect(d.path, false); err != nil {
		return false, err
	}
	seq, stated, err := d.loadState(formatNewest)
	if err != nil {
		return false, err
	}
	if err := d.mend(); err != nil {
		return false, err
	}
	if err := d.verifySettings(); err != nil {
		return false, err
	}
	if d.q, err = prepare(d.c); err != nil {
		return false, err
	}
	switch {
	case seq == d.seq && stated.equal(&d.sum):
		return false, nil
	case seq == d.seq+1 && stated.equal(&after):
		return true, syncFile(d.path + "-wal")
	}
	return false, ErrDamaged
}

// tidy is a checkpoint after a commit. A full disk only puts it off; after a
// failed write or sync nobody knows what the file holds, so no further commit
// is acknowledged.
func (d *DB) tidy() {
	if err := d.checkpoint(); err != nil {
		if !errors.Is(err, ErrFull) {
			d.broken = err
		}
		return
	}
	_ = d.mark.f.Sync()
}
