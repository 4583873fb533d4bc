// Package store keeps what a device must not lose: the records of one profile,
// in one encrypted database in one folder. Start with Open; OpenMemory gives the
// same behaviour without a disk, and is the reference of the conformance suite.
//
// What is promised:
//
//   - Durable: when Commit returns nil the batch survives the death of the
//     process and, if the disk honours fsync, the loss of power. A batch is there
//     whole or not at all.
//   - Right or an error: a changed, lost or swapped byte in any of the files
//     gives ErrDamaged, never an altered value and never a missing row. That
//     includes the loss of committed batches from the log.
//   - Sealed: without the key, the files show only their sizes, and which pages
//     changed between two copies of them.
//   - Shredded: after ShredBefore or DropSpace has been carried to the file, the
//     key and the files together no longer give the text.
//   - Exclusive: one opener at a time. The kernel releases the lock of a process
//     that dies.
//
// Spec 80 is the format and its reasons.
//
// BUG: known holes. An older copy of the whole folder, put back, opens: nothing
// outside of the folder remembers the newest commit. After a loss of power (not
// a kill), the commit mark may be older than the database by the commits since
// the last checkpoint, and damage to the log that takes away only those is
// then taken for a torn tail. Flash memory and copy-on-write file systems keep old
// versions of blocks out of reach of the program; whoever reads those and holds
// the key can find a day key that was shredded. The file does not shrink when
// rows are deleted; the space is used again.
package store

import (
	"errors"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Space is the group whose records are meant: the group's id, or the zero Space
// for the profile's own records.
type Space [32]byte

// Part is what CommitAll makes durable in one space.
type Part struct {
	Space Space
	Batch engine.Batch
}

// Errors on which a caller branches.
var (
	// ErrInUse is returned by Open when another opener holds the store.
	ErrInUse = errors.New("store: in use by another process or by this one")
	// ErrDamaged says that the key is wrong or that the files were changed. It
	// cannot be told which of both: the key proves itself through the data.
	ErrDamaged = errors.New("store: wrong key, or the files are damaged")
	// ErrFull says that the disk or the quota is full. Nothing of the batch was
	// kept, and the store goes on working.
	ErrFull = errors.New("store: no space left")
	// ErrNewer is returned by Open for a format of a later version.
	ErrNewer = errors.New("store: written by a newer version of palabre")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("store: closed")
	// ErrTooLarge says that a key or a value of a batch exceeds engine.MaxKeySize
	// or engine.MaxValueSize. Nothing of the batch was kept.
	ErrTooLarge = errors.New("store: key or value too large")
)

// check refuses what exceeds the limits, before anything is changed.
func check(parts []Part) error {
	for _, p := range parts {
		for _, r := range p.Batch.Deletes {
			if len(r.Key) > engine.MaxKeySize {
				return ErrTooLarge
			}
		}
		for _, r := range p.Batch.Puts {
			if len(r.Key) > engine.MaxKeySize || len(r.Value) > engine.MaxValueSize {
				return ErrTooLarge
			}
		}
	}
	return nil
}

// empty says that parts change nothing, so that no commit is spent on them.
func empty(parts []Part) bool {
	for i := range parts {
		if !parts[i].Batch.Empty() {
			return false
		}
	}
	return true
}
