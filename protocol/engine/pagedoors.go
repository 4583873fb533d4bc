package engine

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// This file has ferries hold the pages of epochs (spec 75 section 8): who issued one
// leaves them there, who was away fetches the one that can hold his box.

// maxPageDoors bounds the mailboxes of pages that are looked for in a session, and those of
// own ones. These are offered until the epoch was succeeded for pageDays.
const (
	maxPageDoors = 128
	pageDays     = 7
)

const pagePutSize = 32 + len(identity.Signature{})

// storePages stores the pages of an epoch of this device's making, and signs for their
// places at ferries: the key for that is not kept.
func (e *Engine) storePages(s *epochState, made epoch.Issued) error {
	for i, f := range made.Pages {
		box, err := epoch.PageMailbox(s.header, uint16(i)).WithWrite(made.PageKey)
		if err != nil {
			return err
		}
		envelope, err := box.Seal(f.Marshal())
		if err != nil {
			return err
		}
		id := protocol.IDOf(envelope)
		put, err := box.SignPut(id)
		if err != nil {
			return err
		}
		k := pageKey{s.header.ID(), i}
		e.pages.own[k] = id
		e.put(tablePagePuts, k.row(), append(id[:], put[:]...), 0)
		e.putPage(k, envelope)
	}
	return nil
}

func (e *Engine) loadPagePut(key, value []byte) error {
	if len(key) != 34 || len(value) != pagePutSize {
		return errors.New("malformed row of a page's signature")
	}
	k := pageKey{protocol.EpochID(key[:32]), int(binary.BigEndian.Uint16(key[32:]))}
	if !e.pages.held[k] {
		return errors.New("a signature of a page that is not stored")
	}
	e.pages.own[k] = protocol.EnvelopeID(value[:32])
	return nil
}

// pageDoors lists the mailboxes of pages to compare with a ferry: those of pages that are
// looked for, and those of own ones that it is not known to keep, the newest epoch's first.
func (e *Engine) pageDoors(c *carrier) (wanted, own []door) {
	at := func(k pageKey, id protocol.EnvelopeID) door {
		box := epoch.PageMailbox(e.epochs[k.epoch].header, uint16(k.index))
		return door{id: box.Address(), place: place{epoch: k.epoch, box: box}, page: &pageAt{key: k, id: id}}
	}
	newest := func(a, b pageKey) int {
		return cmp.Or(cmp.Compare(e.epochs[b.epoch].header.Core.Gen, e.epochs[a.epoch].header.Core.Gen), comparePages(a, b))
	}
	for _, k := range slices.SortedFunc(maps.Keys(e.pages.wants), newest) {
		if len(wanted) < maxPageDoors {
			wanted = append(wanted, at(k, protocol.EnvelopeID{}))
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(e.pages.own), newest) {
		s, id := e.epochs[k.epoch], e.pages.own[k]
		over := s.covered != 0 && e.now >= s.covered+days(pageDays) && !e.inUse(s)
		if !over && !c.kept[id] && len(own) < maxPageDoors {
			own = append(own, at(k, id))
		}
	}
	return wanted, own
}

// pageAt is the page of a door.
type pageAt struct {
	key pageKey
	id  protocol.EnvelopeID // zero: it is looked for
}

// pageDeposit is an own page as it is put in its mailbox. False: it is none of an open
// mailbox of the session, or it is gone.
func (e *Engine) pageDeposit(l *ferryLink, id protocol.EnvelopeID) (ferry.Deposit, bool, error) {
	at := slices.IndexFunc(l.open, func(d door) bool { return d.page != nil && d.page.id == id })
	if at < 0 {
		return ferry.Deposit{}, false, nil
	}
	box, row := l.open[at].box, l.open[at].page.key.row()
	envelope, err := e.row(tablePages, row)
	if err != nil {
		return ferry.Deposit{}, false, err
	}
	put, err := e.row(tablePagePuts, row)
	if err != nil || envelope == nil || len(put) != pagePutSize {
		return ferry.Deposit{}, false, err
	}
	return ferry.Deposit{Envelope: envelope, Write: box.WriteKey(), Read: box.ReadKey(), Put: ferry.Signature(put[32:])}, true, nil
}
