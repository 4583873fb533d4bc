// Package ferry is what a carrier does that cannot read: which envelopes it keeps,
// for whom and for how long, what it gives, and the bundle, a file of the same
// (spec 75). It works on ciphertext and holds no keys but those of tickets, which
// are public.
//
// Start with New and Carrier.Begin; a file is read by NewBundleReader. The carrier
// is a function of its inputs: the caller brings messages, the time and what is
// stored, makes durable what Ready says, calls Advance, and only then sends the
// answers. So nothing is said to be kept that is not.
//
//	message   type (1 byte), body
//	 1 hello        ferry   [1, nonce 32, closed]
//	 2 ticket       client  [ticket key 32, signature 64]
//	 3 open         client  list of [write key 32, read key 32, signature 64, rank, signed]
//	 4 opened       ferry   [how many]
//	 5 recon        both    a message of spec 70, as it is
//	 6 want         client  8 bytes each, as they are
//	 7 give         ferry   an envelope, as it is
//	 8 give signed  ferry   signature 64, envelope, as they are
//	 9 lack         ferry   8 bytes each, as they are
//	10 put          client  [envelope, write key 32, read key 32, signature 64]
//	11 kept         ferry   list of [envelope id 32, outcome]
//	12 done         client  nothing
//	13 pad          ferry   zero bytes
//
// What is promised, whatever a client sends: an error that wraps ErrClient and a
// session that is over, no panic, and no more memory than spec 75 section 5 says.
package ferry

import (
	"errors"

	"github.com/palabre-app/palabre/protocol"
)

// ErrClient is wrapped by each error that the client alone can have caused. Its
// session is over; nothing of its message counts.
var ErrClient = errors.New("message to the ferry refused")

// KeepDays is how many days an envelope is kept, from the day on which it came.
const KeepDays = 92

// Limits are in bytes of envelopes.
type Limits struct {
	Mailbox int64 // in one mailbox
	Ticket  int64 // that came with one ticket, of what is held
	Network int64 // from one network in one day, without a ticket
	Total   int64 // in all

	// Closed: only holders of tickets are served.
	Closed bool
}

// DefaultLimits are those of spec 75 section 2.
func DefaultLimits() Limits {
	return Limits{Mailbox: 4 << 20, Ticket: 64 << 20, Network: 64 << 20, Total: 10 << 30}
}

// Outcome says what became of a deposit.
type Outcome uint8

// The outcomes of spec 75 section 3.
const (
	Kept Outcome = iota
	MailboxFull
	ShareUsedUp
	FerryFull
	NoTicket
)

// TicketKey is the public half of a ticket, an Ed25519 key.
type TicketKey [32]byte

// Row is an envelope as it is kept.
type Row struct {
	Mailbox protocol.MailboxID
	ID      protocol.EnvelopeID
	Put     Signature
	// Envelope is encoded; Storage keeps what it was given.
	Envelope []byte
	// Until is the first day on which it is not kept any more.
	Until protocol.Day
}

// Share is how many bytes came with a ticket on a day.
type Share struct {
	Ticket TicketKey
	Until  protocol.Day // the first day on which they do not count any more
	Bytes  int64
}

// Storage is what is durable. All of it reads what was committed last. Errors are
// of the disk: whoever gets one throws the Carrier away.
type Storage interface {
	// Mailbox calls f with the id and the size in bytes of each envelope in a
	// mailbox, in any order.
	Mailbox(m protocol.MailboxID, f func(id protocol.EnvelopeID, size int)) error
	// Envelope returns what is held under an id in a mailbox; its Envelope is the
	// caller's. It returns false if nothing is.
	Envelope(m protocol.MailboxID, id protocol.EnvelopeID) (Row, bool, error)
	// Total returns the bytes of all envelopes.
	Total() (int64, error)
	// Shares calls f with each share of a ticket.
	Shares(t TicketKey, f func(Share)) error
	// Ticket says whether a ticket was given out and not taken back.
	Ticket(t TicketKey) (bool, error)
}

// Ready is what is to be made durable, all of it or nothing, before answers are
// sent.
type Ready struct {
	Keep []Row
	// Shares replace those of the same ticket and day.
	Shares []Share
	// Expire: everything whose Until is this day or before is dropped. 0: nothing.
	Expire protocol.Day
}

// Empty says that there is nothing to make durable.
func (r Ready) Empty() bool { return len(r.Keep) == 0 && len(r.Shares) == 0 && r.Expire == 0 }

// Set is the set of spec 70 that a session compares: package recon's, which this
// package does not know.
type Set interface {
	// Add puts in an item that is not there yet.
	Add(rank uint32, id protocol.EnvelopeID) error
	// Respond answers a message. An error is the client's fault.
	Respond(msg []byte) ([]byte, error)
}
