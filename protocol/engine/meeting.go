package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/recon"
)

// This file lets somebody join who is never online together with an organiser: by
// mailboxes at a ferry that belong to no epoch (spec 75 section 8). In the one of the
// card the inviter leaves the key for requests, in the second the joiner asks, in the
// third, which is its own, it finds the Welcome.

// meeting is such a mailbox in a session.
type meeting struct {
	box    *epoch.Mailbox
	kind   meetingKind
	invite protocol.InviteID            // of card and requests
	bring  [][]byte                     // what is to lie there
	known  []protocol.EnvelopeID        // what lies there and was taken before
	there  map[protocol.EnvelopeID]bool // what lies there, as far as the session showed
}

type meetingKind uint8

const (
	meetCard meetingKind = iota
	meetRequests
	meetWelcome
)

// maxMet bounds what is remembered of a ferry's meetings, while the program runs.
const maxMet = 1_024

// met is what is known to lie at a ferry in mailboxes of meetings.
type met map[protocol.EnvelopeID]protocol.MailboxID

func (m met) add(id protocol.EnvelopeID, box protocol.MailboxID) {
	if len(m) >= maxMet {
		clear(m)
	}
	m[id] = box
}

// in lists what is known of one mailbox, sorted.
func (m met) in(box protocol.MailboxID) (list []protocol.EnvelopeID) {
	for id, b := range m {
		if b == box {
			list = append(list, id)
		}
	}
	return protocol.SortIDs(list)
}

// meetings lists the mailboxes of this device that belong to no epoch, as doors.
func (e *Engine) meetings(c *carrier) (list []door) {
	add := func(m *meeting) {
		id := m.box.Address()
		m.known, m.there = c.met.in(id), map[protocol.EnvelopeID]bool{}
		list = append(list, door{id: id, meet: m})
	}
	if e.join != nil {
		add(&meeting{box: e.rescueBox(), kind: meetWelcome})
		add(&meeting{box: epoch.CardMailbox(e.join.root, e.join.link.Card), kind: meetCard})
		return list
	}
	if e.frozen || e.asOrganiser() != nil {
		return nil
	}
	for _, id := range e.sortedInvites() {
		v := e.invites[id]
		l := v.link()
		if l.Expires <= e.now.Unix() || v.Used >= l.Uses {
			continue
		}
		root, key := epoch.RendezvousOf(l.Secret, id), epoch.MailKeyFromSeed(v.Card)
		if box, err := epoch.CardMailbox(root, l.Card).WithWrite(key); err == nil {
			add(&meeting{box: box, kind: meetCard, invite: id})
		}
		if box, err := epoch.RequestMailbox(root, l.Card).WithRead(key); err == nil {
			add(&meeting{box: box, kind: meetRequests, invite: id})
		}
	}
	for _, d := range e.awaited() {
		box := epoch.RescueMailbox(e.newestSeed(d).secret)
		add(&meeting{box: box, kind: meetWelcome, bring: e.rescue[box.Address()]})
	}
	return list
}

// awaited lists the devices that were let in here and have said nothing yet, sorted.
func (e *Engine) awaited() (list []identity.DeviceID) {
	for d := range e.seeds {
		k, ok := e.ring.Newest(d)
		s := e.newestSeed(d)
		if ok && k.Counter == 0 && s.counter == 1 && len(e.rescue[epoch.RescueMailbox(s.secret).Address()]) > 0 {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, compareDevices)
	return list
}

// itemsOf is what a meeting adds to the set that is compared.
func (m *meeting) itemsOf(rank uint32) (items []recon.Item) {
	for _, b := range m.bring {
		items = append(items, recon.Item{Time: uint64(rank), ID: protocol.IDOf(b)})
	}
	for _, id := range m.known {
		if !slices.ContainsFunc(m.bring, func(b []byte) bool { return protocol.IDOf(b) == id }) {
			items = append(items, recon.Item{Time: uint64(rank), ID: id})
		}
	}
	return items
}

// lacks notes that a ferry has not what is to lie in a meeting's mailbox.
func (l *ferryLink) lacks(c *carrier, id protocol.EnvelopeID) bool {
	for _, d := range l.open {
		if d.meet == nil {
			continue
		}
		for _, b := range d.meet.bring {
			if protocol.IDOf(b) == id {
				l.letter(d.meet.box, b)
				return true
			}
		}
		if slices.Contains(d.meet.known, id) {
			delete(c.met, id)
			d.meet.known = slices.DeleteFunc(d.meet.known, func(x protocol.EnvelopeID) bool { return x == id })
			return true
		}
	}
	return false
}

// letter makes an envelope of a meeting one of those that are brought.
func (l *ferryLink) letter(box *epoch.Mailbox, envelope []byte) {
	id := protocol.IDOf(envelope)
	sig, err := box.SignPut(id)
	if err != nil {
		return // the mailbox is one to read
	}
	if l.letters == nil {
		l.letters = map[protocol.EnvelopeID]ferry.Deposit{}
	}
	l.letters[id] = ferry.Deposit{Envelope: envelope, Write: box.WriteKey(), Read: box.ReadKey(), Put: ferry.Signature(sig)}
	l.put = append(l.put, id)
}

// metAt takes an envelope of a meeting's mailbox.
func (e *Engine) metAt(l *ferryLink, m *meeting, envelope []byte) {
	id := protocol.IDOf(envelope)
	m.there[id] = true
	if len(m.bring) == 0 && e.join == nil {
		e.carrierOf(l).met.add(id, m.box.Address())
	}
	switch {
	case e.join != nil:
		e.joinEnvelope(nil, envelope)
	case m.kind == meetRequests:
		if v := e.invites[m.invite]; v != nil {
			e.requestAt(nil, m.invite, v, envelope)
		}
	}
}

// meetingsOver brings what the meetings' mailboxes turned out to lack.
func (e *Engine) meetingsOver(l *ferryLink) {
	for _, d := range l.open {
		m := d.meet
		if m == nil || m.kind != meetCard || e.join != nil || len(m.there)+len(m.known) > 0 {
			continue
		}
		if v := e.invites[m.invite]; v != nil {
			if card := e.sealCard(m.invite, v); card != nil {
				l.letter(m.box, card)
				m.there[protocol.IDOf(card)] = true
				e.carrierOf(l).met.add(protocol.IDOf(card), m.box.Address())
			}
		}
	}
	if e.join == nil {
		e.bringWelcomes(l)
		return
	}
	if len(e.join.welcome) > 0 && e.enter() {
		return
	}
	if request := e.join.request; request != nil && !e.carrierOf(l).asked {
		e.carrierOf(l).asked = true
		l.letter(epoch.RequestMailbox(e.join.root, e.join.link.Card), request)
	}
}

// bringWelcomes brings what was made for who was let in during this session.
func (e *Engine) bringWelcomes(l *ferryLink) {
	if !l.met {
		return
	}
	for _, d := range e.awaited() {
		box := epoch.RescueMailbox(e.newestSeed(d).secret)
		if id := box.Address(); !l.seen[id] {
			l.seen[id] = true
			for _, b := range e.rescue[id] {
				l.letter(box, b)
			}
		}
	}
}
