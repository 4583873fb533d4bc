package ferry

import (
	"encoding/binary"
	"errors"

	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// Tables of a ferry's store, in the store's zero space (spec 75 section 9). Numbers are
// part of the disk format.
const (
	tableKept    engine.Table = 1 // mailbox, envelope id, size -> signature, until, envelope
	tableShares  engine.Table = 2 // ticket, until -> bytes that came with it
	tableTickets engine.Table = 3 // ticket -> nothing: given out, and not taken back
)

// Database is what a ferry's store is kept in: a *store.DB, or a *store.Memory in tests.
type Database interface {
	Commit(store.Space, engine.Batch) error
	Space(store.Space) engine.Storage
}

// Store is a ferry's rules.Storage in a database. What is over goes with the key of
// its day, so that nobody who takes the disk later finds it. It is not safe for
// concurrent use: Server owns it.
type Store struct {
	db    Database
	total int64
}

var errRow = errors.New("a row of the ferry's store is damaged")

// OpenStore looks up how much is stored. Errors are the database's.
func OpenStore(db Database) (*Store, error) {
	s := &Store{db: db}
	return s, s.count()
}

func (s *Store) rows() engine.Storage { return s.db.Space(store.Space{}) }

// count adds up the sizes, which are in the keys: no envelope is read.
func (s *Store) count() error {
	s.total = 0
	return s.rows().Keys(tableKept, nil, func(key []byte) error {
		_, size, err := parseKey(key)
		s.total += int64(size)
		return err
	})
}

const keySize = 32 + 32 + 4

func rowKey(r rules.Row) []byte {
	key := append(r.Mailbox[:], r.ID[:]...)
	return binary.BigEndian.AppendUint32(key, uint32(len(r.Envelope)))
}

func parseKey(key []byte) (id protocol.EnvelopeID, size int, err error) {
	if len(key) != keySize {
		return id, 0, errRow
	}
	return protocol.EnvelopeID(key[32:64]), int(binary.BigEndian.Uint32(key[64:])), nil
}

// Mailbox is rules.Storage.Mailbox.
func (s *Store) Mailbox(m protocol.MailboxID, f func(protocol.EnvelopeID, int)) error {
	return s.rows().Keys(tableKept, m[:], func(key []byte) error {
		id, size, err := parseKey(key)
		if err == nil {
			f(id, size)
		}
		return err
	})
}

// Envelope is rules.Storage.Envelope.
func (s *Store) Envelope(m protocol.MailboxID, id protocol.EnvelopeID) (row rules.Row, ok bool, err error) {
	row = rules.Row{Mailbox: m, ID: id}
	err = s.rows().Scan(tableKept, append(m[:], id[:]...), func(_, value []byte) error {
		if len(value) < len(row.Put)+4 {
			return errRow
		}
		n := copy(row.Put[:], value)
		row.Until = protocol.Day(binary.BigEndian.Uint32(value[n:]))
		row.Envelope, ok = append([]byte(nil), value[n+4:]...), true
		return nil
	})
	return row, ok, err
}

// Total is rules.Storage.Total.
func (s *Store) Total() (int64, error) { return s.total, nil }

// Shares is rules.Storage.Shares.
func (s *Store) Shares(t rules.TicketKey, f func(rules.Share)) error {
	return s.rows().Scan(tableShares, t[:], func(key, value []byte) error {
		if len(key) != 36 || len(value) != 8 {
			return errRow
		}
		f(rules.Share{Ticket: t, Until: protocol.Day(binary.BigEndian.Uint32(key[32:])), Bytes: int64(binary.BigEndian.Uint64(value))})
		return nil
	})
}

// Ticket is rules.Storage.Ticket.
func (s *Store) Ticket(t rules.TicketKey) (bool, error) {
	value, err := s.rows().Get(tableTickets, t[:])
	return value != nil, err
}

// Tickets lists the tickets that were given out, ascending.
func (s *Store) Tickets() (list []rules.TicketKey, err error) {
	err = s.rows().Keys(tableTickets, nil, func(key []byte) error {
		if len(key) != 32 {
			return errRow
		}
		list = append(list, rules.TicketKey(key))
		return nil
	})
	return list, err
}

// GiveTicket makes durable that a ticket counts. TakeBack ends that; what came with it stays.
func (s *Store) GiveTicket(t rules.TicketKey) error {
	return s.db.Commit(store.Space{}, engine.Batch{Puts: []engine.Record{{Table: tableTickets, Key: t[:], Value: []byte{1}}}})
}

// TakeBack is said at GiveTicket.
func (s *Store) TakeBack(t rules.TicketKey) error {
	return s.db.Commit(store.Space{}, engine.Batch{Deletes: []engine.Ref{{Table: tableTickets, Key: t[:]}}})
}

// Commit makes durable what is ready, all of it or nothing.
func (s *Store) Commit(r rules.Ready) error {
	var b engine.Batch
	added := int64(0)
	for _, row := range r.Keep {
		value := binary.BigEndian.AppendUint32(append([]byte(nil), row.Put[:]...), uint32(row.Until))
		b.Puts = append(b.Puts, engine.Record{Table: tableKept, Key: rowKey(row), Value: append(value, row.Envelope...), Shred: uint32(row.Until)})
		added += int64(len(row.Envelope))
	}
	for _, x := range r.Shares {
		b.Puts = append(b.Puts, engine.Record{Table: tableShares, Key: binary.BigEndian.AppendUint32(append([]byte(nil), x.Ticket[:]...), uint32(x.Until)),
			Value: binary.BigEndian.AppendUint64(nil, uint64(x.Bytes)), Shred: uint32(x.Until)})
	}
	b.ShredBefore = uint32(r.Expire)
	if err := s.db.Commit(store.Space{}, b); err != nil {
		return err
	}
	if s.total += added; r.Expire != 0 {
		return s.count()
	}
	return nil
}
