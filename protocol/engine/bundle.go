package engine

import (
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// This file writes and reads what goes by hand where no network does: the
// envelopes of a bundle (spec 75 section 7).

// soonHours is within how many hours a meeting is urgent.
const soonHours = 48

// Classes of what a bundle carries, in their order: what leads to the newest epoch,
// what says who is in the group, and then what was said, the urgent first.
const (
	carryHeaders = iota
	carryPages
	carryGroup
	carryUrgent
	carrySaid
	carryRest
)

// bundled is one envelope that a bundle is to carry: stored under a key of a table.
type bundled struct {
	table Table
	key   []byte
	class int
	day   protocol.Day
	gen   uint32
}

// Bundle is what a bundle is to carry, in its order. It is good until the engine
// changes; what is gone then is passed over.
type Bundle struct {
	list []bundled
}

// Len is how many envelopes there are.
func (b *Bundle) Len() int { return len(b.list) }

// Bundle lists what somebody who was away needs: all that leads to the newest epoch
// and says who is in the group, and what was said since a time, in unix seconds.
// Addresses are left out.
func (e *Engine) Bundle(now Time, since int64) (*Bundle, error) {
	e.now = now
	if e.join != nil {
		return nil, ErrNotJoined
	}
	urgent := e.urgentFrames()
	b := &Bundle{}
	for _, n := range e.held.byID {
		s := e.epochs[n.epoch]
		if s == nil || n.kind == protocol.KindPresence || e.now.Day() >= n.shred && n.shred != 0 {
			continue
		}
		x := bundled{table: tableEnvelopes, key: n.key(), class: carryRest, day: n.day, gen: s.header.Core.Gen}
		switch n.kind {
		case protocol.KindEpoch:
			x.class = carryHeaders
		case protocol.KindOp, protocol.KindBatch, protocol.KindKeyPackage, protocol.KindKeyUpdate:
			x.class = carryGroup
		case protocol.KindMessage, protocol.KindOriginal:
			x.class = carrySaid
			if urgent[n.item] {
				x.class = carryUrgent
			}
		}
		if x.class >= carryUrgent && n.day < protocol.DayOf(since) {
			continue
		}
		b.list = append(b.list, x)
	}
	for k := range e.pages.held {
		s := e.epochs[k.epoch]
		b.list = append(b.list, bundled{table: tablePages, key: k.row(), class: carryPages, gen: s.header.Core.Gen})
	}
	slices.SortFunc(b.list, func(x, y bundled) int {
		order := cmp.Compare(y.day, x.day) // newest first
		if x.class == carryHeaders {
			order = cmp.Compare(x.gen, y.gen) // each opens the mailboxes of the next
		}
		return cmp.Or(cmp.Compare(x.class, y.class), order, slices.Compare(x.key, y.key))
	})
	return b, nil
}

// urgentFrames finds the messages of alerts and of meetings that begin soon, with
// what was changed in them: by the first halves of their item ids.
func (e *Engine) urgentFrames() map[[16]byte]bool {
	notices := map[protocol.ContentID]bool{}
	for _, v := range e.feed.List(e.now.Unix(), nil, true) {
		soon := v.Meeting != nil && v.Meeting.Start <= e.now.Unix()+soonHours*3_600 && max(v.Meeting.Start, v.Meeting.End) >= e.now.Unix()
		if v.Urgency == feed.Alert || soon {
			notices[v.Notice] = true
		}
	}
	out := map[[16]byte]bool{}
	for _, c := range e.chains {
		for _, l := range c.links {
			if it := e.items[l.id]; it != nil && notices[it.notice] && l.frame != ([16]byte{}) {
				out[l.frame] = true
			}
		}
	}
	return out
}

// Parcels reads n envelopes of a bundle from the i-th on, as parcels: with the proof
// that carriers ask for, where this device can make it.
func (e *Engine) Parcels(b *Bundle, i, n int) ([]ferry.Parcel, error) {
	var out []ferry.Parcel
	for _, x := range b.list[min(i, len(b.list)):min(i+n, len(b.list))] {
		envelope, err := e.row(x.table, x.key)
		if err != nil {
			return nil, err
		}
		if envelope == nil {
			continue
		}
		p := ferry.Parcel{Envelope: envelope}
		if d, ok := e.depositOf(envelope); ok {
			p.Deposit = &d
		}
		out = append(out, p)
	}
	return out, nil
}

// Imported counts what became of the envelopes of a bundle.
type Imported struct {
	New   int // taken in
	Known int // held already, or of no use any more
	Other int // of no mailbox that is known here
}

// Import takes envelopes of a bundle in, as from a member who was met. What is of an
// epoch that this device could not open yet is Other: a bundle is read again as long
// as anything in it is new.
func (e *Engine) Import(now Time, envelopes [][]byte) (Imported, error) {
	e.now = now
	if e.join != nil {
		return Imported{}, ErrNotJoined
	}
	var done Imported
	for _, b := range envelopes {
		env, err := protocol.ParseEnvelope(b)
		if err != nil {
			continue
		}
		k, page := e.pages.known[env.Mailbox]
		at, known := e.mailboxes[env.Mailbox]
		switch {
		case page:
			if e.importPage(k, b) {
				done.New++
			} else {
				done.Known++
			}
		case !known:
			done.Other++
		case e.held.has(protocol.IDOf(b)):
			done.Known++
		case e.take(b) == protocol.Accept:
			done.New++
			if at.day == 0 { // a header: what follows in the file is of its epoch
				if err := e.settle(); err != nil {
					return done, err
				}
			}
		default:
			done.Known++
		}
	}
	return done, e.settle()
}

// importPage takes a page in that is looked for.
func (e *Engine) importPage(k pageKey, envelope []byte) bool {
	if e.pages.wants[k] == nil {
		return false
	}
	if _, err := e.parsePage(e.epochs[k.epoch], k.index, envelope); err != nil {
		return false
	}
	e.putPage(k, envelope)
	return true
}
