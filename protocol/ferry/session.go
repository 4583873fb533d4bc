package ferry

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Who is at both ends of a session.
type Who struct {
	Ferry, Client []byte   // peer ids, as the connection authenticated them
	Network       string   // From.Network of what the client puts
	Nonce         [32]byte // random, of this session alone
}

// Session is one client's. Its answers are sent in order.
type Session struct {
	c       *Carrier
	who     Who
	ticket  *TicketKey
	opens   int
	doors   []door
	where   map[[PrefixSize]byte][]place // of what is in the set and was not wanted yet
	set     Set
	wanted  []place
	pending []KeptOne // outcomes that wait for Advance
	answers [][]byte
	sent    int // bytes of all answers with their lengths
	brought bool
	done    bool
}

type door struct {
	id     protocol.MailboxID
	signed bool
}

// place is where an envelope is held.
type place struct {
	door door
	id   protocol.EnvelopeID
}

// Begin begins a session. Its first answer is the hello.
func (c *Carrier) Begin(who Who) *Session {
	s := &Session{c: c, who: who}
	s.say(message(TypeHello, wire.Marshal(Hello{Version: protocol.Version, Nonce: who.Nonce, Closed: c.limits.Closed})))
	return s
}

func (s *Session) say(msg []byte) {
	s.answers = append(s.answers, msg)
	s.sent += messageHead + len(msg)
}

// Take takes a message of the client. An error that wraps ErrClient ends the
// session, after its answers; any other is the storage's.
func (s *Session) Take(now int64, msg []byte) error {
	if len(msg) == 0 || s.done {
		return fmt.Errorf("%w: nothing is expected", ErrClient)
	}
	var err error
	switch body := msg[1:]; msg[0] {
	case TypeTicket:
		err = s.takeTicket(body)
	case TypeOpen:
		err = s.takeOpen(body)
	case TypeRecon:
		err = s.takeRecon(body)
	case TypeWant:
		err = s.takeWant(body)
	case TypePut:
		err = s.takePut(now, body)
	case TypeDone:
		if len(body) != 0 {
			return fmt.Errorf("%w: an end with a body", ErrClient)
		}
		s.done = true
	default:
		return fmt.Errorf("%w: type %d", ErrClient, msg[0])
	}
	return err
}

func fault(err error) error { return fmt.Errorf("%w: %w", ErrClient, err) }

func (s *Session) takeTicket(b []byte) error {
	t, err := parseTicket(b)
	if err != nil {
		return fault(err)
	}
	if !verify(t.Key, label.Ticket, TicketContext(s.who.Nonce, s.who.Ferry, s.who.Client), t.Sig) {
		return fmt.Errorf("%w: the ticket is not signed", ErrClient)
	}
	known, err := s.c.store.Ticket(t.Key)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("%w: a ticket that was not given out", ErrClient)
	}
	s.ticket = &t.Key
	return nil
}

// TicketAlone returns the ticket of a session that its client has ended, and in which
// nothing was done but to show it (spec 75 section 11).
func (s *Session) TicketAlone() (TicketKey, bool) {
	if !s.done || s.ticket == nil || s.opens > 0 || s.brought {
		return TicketKey{}, false
	}
	return *s.ticket, true
}

// TicketContext is what the holder of a ticket signs under the label Ticket.
func TicketContext(nonce [32]byte, ferry, client []byte) []byte {
	out := nonce[:]
	for _, id := range [][]byte{ferry, client} {
		out = append(out, byte(len(id)>>8), byte(len(id)))
		out = append(out, id...)
	}
	return out
}

// SignTicket is the message that shows a ticket of a seed in one session.
func SignTicket(seed, nonce [32]byte, ferry, client []byte) []byte {
	k := ed25519.NewKeyFromSeed(seed[:])
	sig := ed25519.Sign(k, label.Transcript(label.Ticket, TicketContext(nonce, ferry, client)))
	return TicketMessage(ShowTicket{Key: TicketOf(seed), Sig: Signature(sig)})
}

// TicketOf returns the public half of a ticket of a seed (RFC 8032 section 5.1.5), by
// which a ferry knows it.
func TicketOf(seed [32]byte) TicketKey {
	return TicketKey(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
}

// GetContext is what a reader of a mailbox signs under the label Get.
func GetContext(nonce [32]byte, ferry []byte, m protocol.MailboxID) []byte {
	return slices.Concat(nonce[:], ferry, m[:])
}

func (s *Session) takeOpen(b []byte) error {
	list, err := parseOpen(b)
	if err != nil {
		return fault(err)
	}
	if s.opens++; s.opens > MaxOpens {
		return fmt.Errorf("%w: too many opens", ErrClient)
	}
	doors := make([]door, 0, len(list))
	for _, d := range list {
		m := protocol.MailboxOf(d.Write, d.Read)
		if !verify(d.Read, label.Get, GetContext(s.who.Nonce, s.who.Ferry, m), d.Get) {
			return fmt.Errorf("%w: a mailbox is not opened by who may read", ErrClient)
		}
		if slices.ContainsFunc(doors, func(o door) bool { return o.id == m }) {
			return fmt.Errorf("%w: a mailbox is opened twice", ErrClient)
		}
		doors = append(doors, door{id: m, signed: d.Signed})
	}
	if s.c.limits.Closed && s.ticket == nil {
		return fmt.Errorf("%w: no ticket", ErrClient)
	}
	s.doors, s.where, s.set = nil, map[[PrefixSize]byte][]place{}, s.c.newSet()
	n := 0
	for i, d := range doors {
		var ids []protocol.EnvelopeID
		err := s.c.store.Mailbox(d.id, func(id protocol.EnvelopeID, _ int) { ids = append(ids, id) })
		if err != nil {
			return err
		}
		if n += len(ids); n > MaxSet && i > 0 {
			break
		}
		for _, id := range ids {
			if err := s.set.Add(list[i].Rank, id); err != nil {
				return err
			}
			p := [PrefixSize]byte(id[:])
			s.where[p] = append(s.where[p], place{door: d, id: id})
		}
		s.doors = append(s.doors, d)
	}
	s.say(opened(len(s.doors)))
	return nil
}

func (s *Session) takeRecon(b []byte) error {
	if s.set == nil {
		return fmt.Errorf("%w: nothing is open", ErrClient)
	}
	answer, err := s.set.Respond(b)
	if err != nil {
		return fault(err)
	}
	s.say(message(TypeRecon, answer))
	return nil
}

func (s *Session) takeWant(b []byte) error {
	list, err := ParsePrefixes(b)
	if err != nil {
		return fault(err)
	}
	if len(s.wanted)+len(list) > MaxWanted {
		return fmt.Errorf("%w: too much is wanted at once", ErrClient)
	}
	var lack []byte
	for _, p := range list {
		if places := s.where[p]; len(places) > 0 {
			s.wanted = append(s.wanted, places...)
			delete(s.where, p) // once for each open: what it costs a client to ask is little
		} else {
			lack = append(lack, p[:]...)
		}
	}
	if len(lack) > 0 {
		s.say(message(TypeLack, lack))
	}
	return nil
}

func (s *Session) takePut(now int64, b []byte) error {
	s.brought = true
	d, err := ParseDeposit(b)
	if err != nil {
		return err
	}
	if len(s.pending) == MaxPending {
		return fmt.Errorf("%w: too much is put at once", ErrClient)
	}
	outcome, err := s.c.Keep(now, d, From{Network: s.who.Network, Ticket: s.ticket})
	if err != nil {
		return err
	}
	if len(s.pending) == 0 {
		s.c.waiting = append(s.c.waiting, s)
	}
	s.pending = append(s.pending, KeptOne{ID: d.ID(), Outcome: outcome})
	return nil
}

// settle answers what was put: it is durable now.
func (s *Session) settle() {
	s.say(message(TypeKept, wire.Marshal(s.pending)))
	s.pending = nil
}

// Answers returns what is to be sent now; it is the caller's. It is called once
// Ready is durable and Advance was called.
func (s *Session) Answers() [][]byte {
	out := s.answers
	s.answers = nil
	return out
}

// Give returns the next envelope that was wanted, to be sent when the link has
// room, and nil when there is none; after the last one of a session that is done,
// the padding and then over. An error is the storage's.
func (s *Session) Give() (msg []byte, over bool, err error) {
	for len(s.wanted) > 0 {
		p := s.wanted[0]
		s.wanted = s.wanted[1:]
		row, ok, err := s.c.store.Envelope(p.door.id, p.id)
		if err != nil {
			return nil, false, err
		}
		switch {
		case !ok: // it expired meanwhile
			msg = message(TypeLack, p.id[:PrefixSize])
		case p.door.signed:
			msg = message(TypeGiveSigned, row.Put[:], row.Envelope)
		default:
			msg = message(TypeGive, row.Envelope)
		}
		s.sent += messageHead + len(msg)
		return msg, false, nil
	}
	if !s.done || len(s.pending) > 0 || len(s.answers) > 0 {
		return nil, false, nil
	}
	if rest := (padTo - (s.sent+messageHead+1)%padTo) % padTo; s.sent%padTo != 0 {
		msg = message(TypePad, make([]byte, rest))
		s.sent += messageHead + len(msg)
		return msg, false, nil
	}
	return nil, true, nil
}
