package engine

import (
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// What devices tell the organisers travels like everything else, in mailboxes
// that all members carry, sealed so that operating devices alone open it (spec 30
// section 12).

// inboxDays is for how long an inbox item is carried, in days.
const inboxDays = 90

// inbox returns the organisers' mailbox of an epoch and a day.
func (e *Engine) inbox(s *epochState, day protocol.Day) *epoch.Mailbox {
	return epoch.InboxMailbox(s.keys.Net(), day, s.header.Core.InboxRead)
}

// tellOrganisers seals an item to the operating devices of the last epoch that was
// sent in, which is the sending one if there is one, and announces it.
func (e *Engine) tellOrganisers(item epoch.InboxItem) error {
	s, day := e.epochs[e.lastOps], e.now.Day()
	f, err := epoch.SealInbox(e.id, e.self.device, s.header, item)
	if err != nil {
		return err
	}
	envelope, err := e.inbox(s, day).Seal(f.Marshal())
	if err != nil {
		return err
	}
	id := f.ID(e.id)
	n := entry{epoch: e.lastOps, day: day, id: protocol.IDOf(envelope), kind: f.Kind, item: [16]byte(id[:16]), shred: day + inboxDays}
	e.charge(e.lastOps, f, len(envelope))
	e.keep(n, envelope)
	e.announce(n)
	return nil
}

// applyInbox takes note of what a device tells the organisers. Whoever cannot
// open it, and a version that does not know what it is, carries it.
func (e *Engine) applyInbox(f protocol.Frame) (protocol.Verdict, error) {
	if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
		return v, err
	}
	id, err := epoch.InboxItemEpoch(f)
	if err != nil {
		return protocol.Reject, nil
	}
	s := e.epochs[id]
	if s == nil || s.keys == nil || !s.keys.Organiser() || f.Device == e.self.deviceID {
		return protocol.Accept, nil
	}
	item, err := s.keys.OpenInbox(e.id, f, e.devicePublic)
	if err != nil {
		return protocol.Accept, nil // of no use to anybody, and nobody else can tell
	}
	switch x := item.(type) {
	case epoch.RescueItem:
		e.takeSeed(f.Device, x)
	case epoch.RequestItem:
		e.noteRequest(f.Device, x.Newest)
	}
	return protocol.Accept, nil
}
