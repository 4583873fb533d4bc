package engine

import (
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// What devices tell the organisers is sealed so that operating devices alone open
// it (spec 30 section 12). In a small group it travels like everything else, in
// mailboxes that all members carry; in a large one see keyset.go.

// inboxDays is for how long an inbox item is carried, in days.
const inboxDays = 90

// inbox returns the organisers' mailbox of an epoch and a day.
func (e *Engine) inbox(s *epochState, day protocol.Day) *epoch.Mailbox {
	return epoch.InboxMailbox(s.keys.Net(), day, s.header.Core.InboxRead)
}

// tellOrganisers seals an item to the operating devices of the last epoch that was
// sent in, which is the sending one if there is one, and announces it, or sends it on
// its way to them.
func (e *Engine) tellOrganisers(item epoch.InboxItem) error {
	return e.tellOrganisersIn(e.epochs[e.lastOps], item)
}

// tellOrganisersIn is tellOrganisers for the operating devices of another epoch.
func (e *Engine) tellOrganisersIn(s *epochState, item epoch.InboxItem) error {
	f, err := epoch.SealInbox(e.id, e.self.device, s.header, item)
	if err != nil {
		return err
	}
	envelope, err := e.inbox(s, e.now.Day()).Seal(f.Marshal())
	if err != nil {
		return err
	}
	e.charge(s.header.ID(), f, len(envelope))
	n := e.keepInbox(s, f, envelope)
	if s.reconciled(n) {
		e.announce(n)
	} else {
		e.tellCollectors(f)
	}
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
		e.noteRequest(f.Device, x)
	case epoch.HandedItem:
		e.noteHanded(f.Device, x)
	case epoch.MissedItem:
		e.noteMissed(f.Device, x)
	}
	return protocol.Accept, nil
}
