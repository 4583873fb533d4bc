package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The commit mark (spec 80 section 5) remembers, outside of the database, how
// many commits were acknowledged. SQLite takes damage in its log for the torn
// tail of a crash and ends the log there: without the mark, one changed byte
// would silently take back what was promised. It is written after each commit
// and fsynced at checkpoints only, so it costs no second fsync; a loss of power may
// leave it behind the database, never ahead.
//
// The same file carries the lock, because it is never replaced.
type mark struct {
	f   *os.File
	key secret
	seq uint64
}

const (
	markVersion = 1
	// Two slots, in blocks of their own: a torn write spoils one at most.
	markStride   = 4096
	markPlain    = 4 + 8 // version, count
	markSlotSize = nonceSize + markPlain + tagSize
	markSize     = markStride + markSlotSize
)

// openMark opens and locks the file, and creates it empty if there is none.
func openMark(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: open mark: %w", err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (m *mark) slotAD(i uint64) []byte { return []byte{byte(i)} }

// read sets seq to the higher of the slots that open.
func (m *mark) read() error {
	b := make([]byte, markSize+1)
	n, err := m.f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("store: read mark: %w", err)
	}
	if n != markSize {
		return ErrDamaged
	}
	found := false
	for i := range uint64(2) {
		plain, err := open(&m.key, b[i*markStride:][:markSlotSize], m.slotAD(i))
		if err != nil || len(plain) != markPlain {
			continue
		}
		if binary.BigEndian.Uint32(plain) > markVersion {
			return ErrNewer
		}
		found = true
		m.seq = max(m.seq, binary.BigEndian.Uint64(plain[4:]))
	}
	if !found {
		return ErrDamaged
	}
	return nil
}

// write puts seq into the slot of its parity, so that the other slot holds the
// commit before it.
func (m *mark) write(seq uint64) error { return m.writeSlot(seq&1, seq) }

func (m *mark) writeSlot(slot, seq uint64) error {
	plain := binary.BigEndian.AppendUint32(nil, markVersion)
	plain = binary.BigEndian.AppendUint64(plain, seq)
	if _, err := m.f.WriteAt(seal(&m.key, plain, m.slotAD(slot)), int64(slot)*markStride); err != nil {
		return fmt.Errorf("store: write mark: %w", err)
	}
	m.seq = seq
	return nil
}

// settle writes both slots and forces them to the disk.
func (m *mark) settle(seq uint64) error {
	for i := range uint64(2) {
		if err := m.writeSlot(i, seq); err != nil {
			return err
		}
		// One at a time, so that a torn write cannot take both.
		if err := m.f.Sync(); err != nil {
			return fmt.Errorf("store: sync mark: %w", err)
		}
	}
	return nil
}
