package engine

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/recon"
)

// This file says which mailboxes a device compares with a ferry, and what it may
// put there (spec 75 section 8).

// shortPollDays is how many days before today a poll goes back. The first poll of a
// day goes back as far as mailboxes are known: what somebody wrote while offline
// lies in the mailbox of the day on which it was written.
const shortPollDays = 2

// door is a mailbox that is compared with a ferry.
type door struct {
	id protocol.MailboxID
	place
	rank uint32   // its place in the set that is compared
	meet *meeting // nil: it is a mailbox of an epoch
	page *pageAt  // nil: it is that of no page
}

// doorsFor lists the mailboxes to compare, in their order: lanes, by which all the
// others become known, then the days, the newest first. whole: all of them, and else
// those of the last days and of the epochs in use.
func (e *Engine) doorsFor(whole bool) []door {
	var list []door
	for id, at := range e.mailboxes {
		s := e.epochs[at.epoch]
		switch {
		case s == nil || s.keys == nil || at.day > e.now.Day()+1 || e.toRead(door{place: at}) == nil:
			continue
		case whole:
		case at.day == 0 && at.epoch != e.sending && at.epoch != e.lastOps && s.covered != 0:
			continue
		case at.day != 0 && at.day+shortPollDays < e.now.Day():
			continue
		}
		list = append(list, door{id: id, place: at})
	}
	slices.SortFunc(list, func(a, b door) int {
		lanes := func(d door) int {
			if d.day == 0 {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(lanes(a), lanes(b)), cmp.Compare(b.day, a.day),
			cmp.Compare(e.epochs[b.epoch].header.Core.Gen, e.epochs[a.epoch].header.Core.Gen), bytes.Compare(a.id[:], b.id[:]))
	})
	return list
}

// heldIn is what this device holds in doors that are open, as the set to compare.
// Addresses never go to a ferry, and what is due to be shredded goes nowhere.
func (e *Engine) heldIn(doors []door) (recon.Set, error) {
	type where struct {
		epoch protocol.EpochID
		day   protocol.Day
		inbox bool
	}
	dated, lanes, epochs := map[where]uint32{}, map[protocol.MailboxID]uint32{}, map[protocol.EpochID]bool{}
	var items []recon.Item
	for _, d := range doors {
		if d.meet != nil {
			items = append(items, d.meet.itemsOf(d.rank)...)
		} else if d.page != nil {
			if d.page.id != (protocol.EnvelopeID{}) {
				items = append(items, recon.Item{Time: uint64(d.rank), ID: d.page.id})
			}
		} else if epochs[d.epoch] = true; d.day == 0 {
			lanes[d.id] = d.rank
		} else {
			dated[where{d.epoch, d.day, d.inbox}] = d.rank
		}
	}
	for _, n := range e.held.byID {
		if !epochs[n.epoch] || n.kind == protocol.KindPresence || n.shred != 0 && n.shred <= e.now.Day() {
			continue
		}
		rank, ok := dated[where{n.epoch, n.day, n.kind == protocol.KindInbox}]
		if n.day == 0 {
			envelope, err := e.row(tableEnvelopes, n.key())
			if err != nil {
				return recon.Set{}, err
			}
			env, err := protocol.ParseEnvelope(envelope)
			if err != nil {
				continue
			}
			rank, ok = lanes[env.Mailbox]
		}
		if ok {
			items = append(items, recon.Item{Time: uint64(rank), ID: n.id})
		}
	}
	return recon.NewSet(items)
}

// depositOf makes the proof that an envelope may be put in its mailbox. False: this
// device cannot, or the envelope is gone.
func (e *Engine) depositOf(envelope []byte) (ferry.Deposit, bool) {
	env, err := protocol.ParseEnvelope(envelope)
	if err != nil {
		return ferry.Deposit{}, false
	}
	at, ok := e.mailboxes[env.Mailbox]
	if !ok {
		return ferry.Deposit{}, false
	}
	box, id := at.box, protocol.IDOf(envelope)
	if at.day == 0 {
		box = e.ownLaneBox(box)
	}
	sig, err := box.SignPut(id)
	if err != nil {
		return ferry.Deposit{}, false
	}
	return ferry.Deposit{Envelope: envelope, Write: box.WriteKey(), Read: box.ReadKey(), Put: ferry.Signature(sig)}, true
}

// ownLaneBox is a lane with its write key, if it is one of this device's.
func (e *Engine) ownLaneBox(box *epoch.Mailbox) *epoch.Mailbox {
	for i := range e.private {
		if e.private[i].public == protocol.LanePublic(box.WriteKey()) {
			if own, err := box.WithWrite(e.private[i].lane); err == nil {
				return own
			}
		}
	}
	return box
}

// toRead is the mailbox of a door with its read key; nil: it is for others. Inboxes
// are for operating devices.
func (e *Engine) toRead(d door) *epoch.Mailbox {
	if !d.inbox {
		return d.box
	}
	_, key, ok := e.epochs[d.epoch].keys.Inbox()
	if !ok {
		return nil
	}
	box, err := d.box.WithRead(key)
	if err != nil {
		return nil // another organiser's secret: the epoch is an author's
	}
	return box
}

// unlock signs for a door in one session.
func (e *Engine) unlock(d door, nonce [32]byte, peer []byte) (ferry.Door, error) {
	box := e.toRead(d)
	if d.meet != nil {
		box = d.meet.box
	}
	sig, err := box.SignGet(nonce, peer)
	return ferry.Door{Write: box.WriteKey(), Read: box.ReadKey(), Get: ferry.Signature(sig), Rank: d.rank}, err
}
