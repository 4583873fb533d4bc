package ferry

import (
	"bytes"
	"fmt"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Types of messages (spec 75 section 3).
const (
	TypeHello      = 1
	TypeTicket     = 2
	TypeOpen       = 3
	TypeOpened     = 4
	TypeRecon      = 5
	TypeWant       = 6
	TypeGive       = 7
	TypeGiveSigned = 8
	TypeLack       = 9
	TypePut        = 10
	TypeKept       = 11
	TypeDone       = 12
	TypePad        = 13
)

// Bounds of messages (spec 75 section 3).
const (
	MaxOpen     = 64              // mailboxes in an open
	MaxOpens    = 64              // opens in a session
	MaxWanted   = 2_048           // wanted and not given yet
	MaxPending  = 64              // put and not answered yet
	MaxSet      = 32_768          // envelopes that are compared at once
	PrefixSize  = 8               // bytes of an id that a want has
	padTo       = 2_048           // what a session's answers are a multiple of
	messageHead = 4               // bytes of length before each message on the link
	maxOpenSize = MaxOpen*141 + 2 // bytes of an open's body
)

// Hello begins a session.
type Hello struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Nonce   [32]byte
	Closed  bool // only holders of tickets are served
}

// ShowTicket is the body of a ticket message.
type ShowTicket struct {
	_   struct{} `cbor:",toarray"`
	Key TicketKey
	Sig Signature
}

// Door is one mailbox of an open message.
type Door struct {
	_           struct{} `cbor:",toarray"`
	Write, Read [32]byte
	Get         Signature
	Rank        uint32
	Signed      bool // its envelopes are given with their Put signatures
}

// KeptOne is one answer of a kept message.
type KeptOne struct {
	_       struct{} `cbor:",toarray"`
	ID      protocol.EnvelopeID
	Outcome Outcome
}

// ParseHello decodes the body of a hello. The error wraps wire.ErrEncoding.
func ParseHello(b []byte) (h Hello, err error) {
	if err = wire.Unmarshal(b, 64, &h); err == nil && h.Version != protocol.Version {
		err = fmt.Errorf("%w: a ferry of version %d", wire.ErrEncoding, h.Version)
	}
	return h, err
}

// ParseKept decodes the body of a kept message. The error wraps wire.ErrEncoding.
func ParseKept(b []byte) (list []KeptOne, err error) {
	if err = wire.Unmarshal(b, MaxPending*36+2, &list); err == nil && (len(list) == 0 || len(list) > MaxPending) {
		err = fmt.Errorf("%w: %d outcomes", wire.ErrEncoding, len(list))
	}
	return list, err
}

// ParseOpened decodes the body of an opened message. The error wraps
// wire.ErrEncoding.
func ParseOpened(b []byte) (int, error) {
	var body struct {
		_ struct{} `cbor:",toarray"`
		N uint8
	}
	if err := wire.Unmarshal(b, 8, &body); err != nil {
		return 0, err
	}
	if body.N == 0 || body.N > MaxOpen {
		return 0, fmt.Errorf("%w: %d mailboxes", wire.ErrEncoding, body.N)
	}
	return int(body.N), nil
}

func opened(n int) []byte {
	return message(TypeOpened, wire.Marshal(struct {
		_ struct{} `cbor:",toarray"`
		N uint8
	}{N: uint8(n)}))
}

func parseTicket(b []byte) (t ShowTicket, err error) {
	return t, wire.Unmarshal(b, 128, &t)
}

func parseOpen(b []byte) (list []Door, err error) {
	if err = wire.Unmarshal(b, maxOpenSize, &list); err == nil && (len(list) == 0 || len(list) > MaxOpen) {
		err = fmt.Errorf("%w: %d mailboxes", wire.ErrEncoding, len(list))
	}
	return list, err
}

// ParsePrefixes splits the body of a want or a lack. The error wraps
// wire.ErrEncoding.
func ParsePrefixes(b []byte) ([][PrefixSize]byte, error) {
	if len(b) == 0 || len(b)%PrefixSize != 0 || len(b) > MaxWanted*PrefixSize {
		return nil, fmt.Errorf("%w: %d bytes of ids", wire.ErrEncoding, len(b))
	}
	out := make([][PrefixSize]byte, 0, len(b)/PrefixSize)
	for ; len(b) > 0; b = b[PrefixSize:] {
		out = append(out, [PrefixSize]byte(b))
	}
	return out, nil
}

// OpenMessage is what a client sends to open mailboxes, at most MaxOpen.
func OpenMessage(doors []Door) []byte { return message(TypeOpen, wire.Marshal(doors)) }

// TicketMessage is what a client sends to show a ticket.
func TicketMessage(t ShowTicket) []byte { return message(TypeTicket, wire.Marshal(t)) }

// WantMessage is what a client sends to be given envelopes, at most MaxWanted.
func WantMessage(ids []protocol.EnvelopeID) []byte {
	out := make([]byte, 1, 1+len(ids)*PrefixSize)
	out[0] = TypeWant
	for _, id := range ids {
		out = append(out, id[:PrefixSize]...)
	}
	return out
}

// PutMessage is what a client sends to have an envelope kept.
func PutMessage(d Deposit) []byte { return message(TypePut, d.Marshal()) }

func message(kind byte, parts ...[]byte) []byte {
	return append([]byte{kind}, bytes.Join(parts, nil)...)
}
