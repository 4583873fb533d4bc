package engine

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/recon"
)

// This file is the client of a ferry (spec 75 section 8): on each connection it
// compares what it holds with what lies there, fetches and brings, and ends the
// session. Nothing of what a ferry says is taken on trust.

// FerryUp says that a connection to a ferry is there. What is received on it are
// messages of spec 75. The engine ends it.
type FerryUp struct {
	Peer Peer
	// Ferry and Client are the peer ids of both sides, as the connection
	// authenticated them. The engine keeps them.
	Ferry, Client []byte
	// Ticket is the seed of the ticket for a closed ferry (spec 75 section 2), or nil.
	// The engine keeps it while the connection lasts.
	Ticket *[32]byte
}

func (FerryUp) input() {}

// Ferries lists the ferries that the policy of the group names, as it has them (spec
// 75 section 10), before the group was joined those of the link. The caller owns it.
func (e *Engine) Ferries() []string {
	if e.join != nil {
		return slices.Clone(e.join.link.Ferries)
	}
	return e.policy().FerryList()
}

// Bounds of a session.
const (
	maxFerryRounds = 32 // times that further mailboxes are opened
	maxFerryKept   = 8_192
)

// ferryPatience is how long a ferry may say nothing.
var ferryPatience = Seconds(60)

// FerryFaults counts what a ferry did that an honest one does not.
type FerryFaults struct {
	False    int // gave what was not asked for, or broke the form of a session
	Withheld int // named an envelope and did not give it
	Lost     int // said that it kept an envelope, and does not name it any more
}

// carrier is what is known of a ferry.
type carrier struct {
	met    met                          // what is known to lie there for meetings, while the program runs
	asked  bool                         // to be let in, while the program runs
	whole  protocol.Day                 // the last day on which all mailboxes were compared to the end
	kept   map[protocol.EnvelopeID]bool // what it said that it keeps, while the program runs
	faults FerryFaults
}

// ferryLink is one session.
type ferryLink struct {
	id            Peer
	ferry, client []byte
	ticket        *[32]byte
	nonce         [32]byte
	greeted       bool
	whole         bool
	rounds        int
	seen          map[protocol.MailboxID]bool // opened in this session
	offered, open []door
	run           *recon.Initiator
	need          []protocol.EnvelopeID // still to be asked for, in order
	asked         map[protocol.EnvelopeID]bool
	put           []protocol.EnvelopeID // still to be brought
	pending       map[protocol.EnvelopeID]bool
	letters       map[protocol.EnvelopeID]ferry.Deposit // of meetings, among put
	met           bool                                  // meetings were opened
	told          bool                                  // inbox items were brought
	done          bool
	heard         Time // when it said something last
}

func (e *Engine) ferryUp(in FerryUp) {
	e.ferries[in.Peer] = &ferryLink{id: in.Peer, ferry: in.Ferry, client: in.Client, ticket: in.Ticket, seen: map[protocol.MailboxID]bool{},
		asked: map[protocol.EnvelopeID]bool{}, pending: map[protocol.EnvelopeID]bool{}, heard: e.now}
}

// carrierOf is what is known of the ferry of a session.
func (e *Engine) carrierOf(l *ferryLink) *carrier {
	c := e.carriers[string(l.ferry)]
	if c == nil {
		c = &carrier{kept: map[protocol.EnvelopeID]bool{}, met: met{}}
		e.carriers[string(l.ferry)] = c
	}
	return c
}

// Faults lists the faults of ferries by their peer ids.
func (e *Engine) Faults() map[string]FerryFaults {
	out := map[string]FerryFaults{}
	for id, c := range e.carriers {
		if c.faults != (FerryFaults{}) {
			out[id] = c.faults
		}
	}
	return out
}

// fromFerry takes a message of a ferry. One that does not keep to the form is left.
func (e *Engine) fromFerry(l *ferryLink, data []byte) {
	l.heard = e.now
	if len(data) == 0 || !e.hear(l, data[0], data[1:]) {
		e.carrierOf(l).faults.False++
		e.endFerry(l)
	}
}

func (e *Engine) endFerry(l *ferryLink) {
	delete(e.ferries, l.id)
	e.ready.Close = append(e.ready.Close, l.id)
}

// hear is false if the message is one that no honest ferry sends.
func (e *Engine) hear(l *ferryLink, kind byte, body []byte) bool {
	if l.greeted == (kind == ferry.TypeHello) {
		return false
	}
	switch kind {
	case ferry.TypeHello:
		h, err := ferry.ParseHello(body)
		if err != nil {
			return false
		}
		l.greeted, l.nonce = true, h.Nonce
		l.whole = e.carrierOf(l).whole != e.now.Day() && e.join == nil
		switch {
		case l.ticket != nil:
			e.toFerry(l, ferry.SignTicket(*l.ticket, h.Nonce, l.ferry, l.client))
		case h.Closed:
			e.endFerry(l) // it says so before anything is asked of it: no fault
		}
		return true
	case ferry.TypeOpened:
		n, err := ferry.ParseOpened(body)
		if err != nil || n > len(l.offered) {
			return false
		}
		return e.doorsOpened(l, n)
	case ferry.TypeRecon:
		return e.ferryCompared(l, body)
	case ferry.TypeGive:
		return e.ferryGave(l, body)
	case ferry.TypeLack:
		return e.ferryLacks(l, body)
	case ferry.TypeKept:
		return e.ferryKept(l, body)
	case ferry.TypePad:
		return l.done
	}
	return false
}

// tendFerries goes on with each session as far as it can.
func (e *Engine) tendFerries() error {
	for _, id := range e.sortedFerries() {
		l := e.ferries[id]
		if e.now >= l.heard+ferryPatience {
			e.carrierOf(l).faults.Withheld += len(l.asked)
			e.endFerry(l)
			continue
		}
		if !l.greeted || l.done || len(l.offered) > 0 {
			continue
		}
		e.askFerry(l) // also while it is compared: what comes first is what matters most
		if l.run != nil {
			continue
		}
		if err := e.bring(l); err != nil {
			return err
		}
		if len(l.need)+len(l.asked)+len(l.put)+len(l.pending) > 0 {
			continue
		}
		if err := e.openMore(l); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) sortedFerries() []Peer {
	var ids []Peer
	for id := range e.ferries {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// openMore opens the next mailboxes, or ends the session: what came may have brought
// an epoch with mailboxes of its own.
func (e *Engine) openMore(l *ferryLink) error {
	e.meetingsOver(l)
	switch {
	case len(l.put) > 0:
		return e.bring(l)
	case len(l.offered) > 0 || l.run != nil || l.done:
		return nil // with the Welcome it went on as a member's
	}
	var next []door
	wanted, own := e.pageDoors(e.carrierOf(l))
	for _, d := range slices.Concat(wanted, e.doorsFor(l.whole), own) {
		if !l.seen[d.id] && len(next) < ferry.MaxOpen {
			d.rank = uint32(len(next))
			next = append(next, d)
		}
	}
	if !l.met && len(next) == 0 {
		l.met = true
		for i, d := range e.meetings(e.carrierOf(l)) {
			if len(next) < ferry.MaxOpen {
				d.rank = uint32(i)
				next = append(next, d)
			}
		}
	}
	if !l.told && len(next) == 0 && e.join == nil {
		l.told = true
		if err := e.bringInbox(l); err != nil || len(l.pending) > 0 {
			return err
		}
	}
	if l.rounds++; len(next) == 0 || l.rounds > maxFerryRounds {
		if c := e.carrierOf(l); l.whole && len(next) == 0 && c.whole != e.now.Day() {
			c.whole = e.now.Day()
			e.put(tableFerries, l.ferry, binary.BigEndian.AppendUint32(nil, c.whole), 0)
			if err := e.askForMissed(); err != nil {
				return err
			}
		}
		l.done = true
		e.toFerry(l, []byte{ferry.TypeDone})
		return nil
	}
	doors := make([]ferry.Door, len(next))
	for i, d := range next {
		var err error
		if doors[i], err = e.unlock(d, l.nonce, l.ferry); err != nil {
			return err
		}
	}
	l.offered, l.open = next, nil
	e.toFerry(l, ferry.OpenMessage(doors))
	return nil
}

func (e *Engine) toFerry(l *ferryLink, msg []byte) {
	e.ready.Send = append(e.ready.Send, Outgoing{Peer: l.id, Data: msg})
}

// doorsOpened compares the first n of the mailboxes that were offered.
func (e *Engine) doorsOpened(l *ferryLink, n int) bool {
	l.open, l.offered = l.offered[:n], nil
	for _, d := range l.open {
		l.seen[d.id] = true
	}
	set, err := e.heldIn(l.open)
	if err != nil {
		return true // of the disk: the next poll compares again
	}
	run, first, err := recon.NewInitiator(set, recon.DefaultFrame)
	if err != nil {
		panic("engine: " + err.Error())
	}
	l.run = run
	e.toFerry(l, append([]byte{ferry.TypeRecon}, first...))
	return true
}

func (e *Engine) ferryCompared(l *ferryLink, msg []byte) bool {
	if l.run == nil {
		return false
	}
	next, have, need, done, err := l.run.Step(msg)
	if err != nil && !errors.Is(err, recon.ErrSessionLimit) {
		return false
	}
	c := e.carrierOf(l)
	for _, id := range asEnvelopeIDs(have) {
		if l.lacks(c, id) {
			continue
		}
		if c.kept[id] {
			c.faults.Lost++
			delete(c.kept, id)
		}
		l.put = append(l.put, id)
	}
	for _, id := range asEnvelopeIDs(need) {
		if e.lacks(id) {
			l.need = append(l.need, id)
		}
	}
	if done || err != nil {
		l.run = nil
		return true
	}
	e.toFerry(l, append([]byte{ferry.TypeRecon}, next...))
	return true
}

// askFerry asks for what is needed, as much as a session lets wait.
func (e *Engine) askFerry(l *ferryLink) {
	if len(l.asked) > ferry.MaxWanted/2 {
		return
	}
	var ids []protocol.EnvelopeID
	for len(l.need) > 0 && len(l.asked) < ferry.MaxWanted {
		id := l.need[0]
		l.need = l.need[1:]
		if !e.held.has(id) && !l.asked[id] {
			ids = append(ids, id)
			l.asked[id] = true
		}
	}
	if len(ids) > 0 {
		e.toFerry(l, ferry.WantMessage(ids))
	}
}

// ferryGave takes an envelope that was asked for. One that does not open is no fault
// of the ferry, which cannot tell: somebody with the write key made it.
func (e *Engine) ferryGave(l *ferryLink, envelope []byte) bool {
	id := protocol.IDOf(envelope)
	if !l.asked[id] {
		return false
	}
	delete(l.asked, id)
	if env, err := protocol.ParseEnvelope(envelope); err == nil {
		if k, ok := e.pages.known[env.Mailbox]; ok {
			if !e.importPage(k, envelope) {
				e.refuse(id)
			}
			return true
		}
		for _, d := range l.open {
			if d.meet != nil && d.id == env.Mailbox {
				e.metAt(l, d.meet, envelope)
				return true
			}
		}
	}
	if e.join != nil || e.take(envelope) != protocol.Accept {
		e.refuse(id)
	}
	return true
}

func (e *Engine) ferryLacks(l *ferryLink, body []byte) bool {
	list, err := ferry.ParsePrefixes(body)
	if err != nil {
		return false
	}
	for _, p := range list {
		found := false
		for id := range l.asked {
			if [ferry.PrefixSize]byte(id[:ferry.PrefixSize]) == p {
				delete(l.asked, id)
				found = true
				e.carrierOf(l).faults.Withheld++
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func (e *Engine) loadFerry(key, value []byte) error {
	if len(key) == 0 || len(key) > MaxKeySize || len(value) != 4 {
		return errors.New("malformed row of a ferry")
	}
	e.carriers[string(key)] = &carrier{whole: binary.BigEndian.Uint32(value), kept: map[protocol.EnvelopeID]bool{}, met: met{}}
	return nil
}
