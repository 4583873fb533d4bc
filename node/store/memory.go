package store

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/palabre-app/palabre/protocol/engine"
)

// Memory is a store without a disk, for tests and simulation. It keeps every
// promise of DB except those about files. It is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	closed bool
	spaces map[Space]map[ref]row
}

type ref struct {
	table engine.Table
	key   string
}

// row is never changed in place, so that a Scan may hold it without the lock.
type row struct {
	value []byte
	shred uint32
}

// OpenMemory returns an empty store.
func OpenMemory() *Memory {
	return &Memory{spaces: map[Space]map[ref]row{}}
}

// Commit is DB.Commit.
func (m *Memory) Commit(s Space, b engine.Batch) error {
	return m.CommitAll([]Part{{s, b}})
}

// CommitAll is DB.CommitAll.
func (m *Memory) CommitAll(parts []Part) error {
	if err := check(parts); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for _, p := range parts {
		m.apply(p)
	}
	return nil
}

func (m *Memory) apply(p Part) {
	rows := m.spaces[p.Space]
	if rows == nil {
		rows = map[ref]row{}
		m.spaces[p.Space] = rows
	}
	for _, d := range p.Batch.Deletes {
		delete(rows, ref{d.Table, string(d.Key)})
	}
	for _, r := range p.Batch.Puts {
		rows[ref{r.Table, string(r.Key)}] = row{append([]byte{}, r.Value...), r.Shred}
	}
	for k, r := range rows {
		if r.shred != 0 && r.shred <= p.Batch.ShredBefore {
			delete(rows, k)
		}
	}
	if len(rows) == 0 {
		delete(m.spaces, p.Space)
	}
}

// DropSpace is DB.DropSpace.
func (m *Memory) DropSpace(s Space) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	delete(m.spaces, s)
	return nil
}

// Spaces is DB.Spaces.
func (m *Memory) Spaces() ([]Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	var out []Space
	for s := range m.spaces {
		out = append(out, s)
	}
	sortSpaces(out)
	return out, nil
}

func sortSpaces(s []Space) {
	slices.SortFunc(s, func(a, b Space) int { return bytes.Compare(a[:], b[:]) })
}

// Close forgets everything.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.spaces = true, nil
	return nil
}

// Space is DB.Space.
func (m *Memory) Space(s Space) engine.Storage { return memorySpace{m, s} }

type memorySpace struct {
	m *Memory
	s Space
}

func (v memorySpace) Get(t engine.Table, key []byte) ([]byte, error) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	if v.m.closed {
		return nil, ErrClosed
	}
	r, ok := v.m.spaces[v.s][ref{t, string(key)}]
	if !ok {
		return nil, nil
	}
	return append([]byte{}, r.value...), nil
}

func (v memorySpace) Scan(t engine.Table, prefix []byte, f func(key, value []byte) error) error {
	type pair struct {
		key   string
		value []byte
	}
	v.m.mu.Lock()
	if v.m.closed {
		v.m.mu.Unlock()
		return ErrClosed
	}
	var found []pair
	for k, r := range v.m.spaces[v.s] {
		if k.table == t && strings.HasPrefix(k.key, string(prefix)) {
			found = append(found, pair{k.key, r.value})
		}
	}
	v.m.mu.Unlock()
	slices.SortFunc(found, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	for _, p := range found {
		// Copies: f may write to what it is handed.
		if err := f([]byte(p.key), append([]byte{}, p.value...)); err != nil {
			return err
		}
	}
	return nil
}

func (v memorySpace) Keys(t engine.Table, prefix []byte, f func(key []byte) error) error {
	return v.Scan(t, prefix, func(key, _ []byte) error { return f(key) })
}
