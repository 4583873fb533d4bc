package enginetest

import (
	"maps"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Memory is a storage that keeps what was committed.
type Memory struct {
	rows map[engine.Table]map[string]row
}

type row struct {
	value []byte
	shred protocol.Day
}

// NewMemory returns an empty storage.
func NewMemory() *Memory { return &Memory{rows: map[engine.Table]map[string]row{}} }

// Commit applies a batch.
func (m *Memory) Commit(b engine.Batch) {
	for _, r := range b.Deletes {
		delete(m.rows[r.Table], string(r.Key))
	}
	for _, r := range b.Puts {
		if m.rows[r.Table] == nil {
			m.rows[r.Table] = map[string]row{}
		}
		m.rows[r.Table][string(r.Key)] = row{value: slices.Clone(r.Value), shred: r.Shred}
	}
	if b.ShredBefore == 0 {
		return
	}
	for _, t := range m.rows {
		for k, r := range t {
			if r.shred != 0 && r.shred <= b.ShredBefore {
				delete(t, k)
			}
		}
	}
}

// Clone returns a copy, as a seizure makes one.
func (m *Memory) Clone() *Memory {
	c := NewMemory()
	for t, rows := range m.rows {
		c.rows[t] = map[string]row{}
		for k, r := range rows {
			c.rows[t][k] = r
		}
	}
	return c
}

// Get implements engine.Storage.
func (m *Memory) Get(t engine.Table, key []byte) ([]byte, error) {
	r, ok := m.rows[t][string(key)]
	if !ok {
		return nil, nil
	}
	return slices.Clone(r.value), nil
}

// Scan implements engine.Storage.
func (m *Memory) Scan(t engine.Table, prefix []byte, f func(key, value []byte) error) error {
	return m.Keys(t, prefix, func(key []byte) error { return f(key, m.rows[t][string(key)].value) })
}

// Keys implements engine.Storage.
func (m *Memory) Keys(t engine.Table, prefix []byte, f func(key []byte) error) error {
	for _, k := range m.keys(t) {
		if !strings.HasPrefix(k, string(prefix)) {
			continue
		}
		if err := f([]byte(k)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) keys(t engine.Table) []string {
	return slices.Sorted(maps.Keys(m.rows[t]))
}
