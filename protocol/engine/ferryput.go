package engine

import (
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// This file brings to a ferry what it lacks (spec 75 section 8).

// bring puts what the ferry lacks, as much as a session lets wait.
func (e *Engine) bring(l *ferryLink) error {
	for len(l.put) > 0 && len(l.pending) < ferry.MaxPending {
		id := l.put[0]
		l.put = l.put[1:]
		if d, ok := l.letters[id]; ok {
			l.pending[id] = true
			e.toFerry(l, ferry.PutMessage(d))
			continue
		}
		d, ok, err := e.pageDeposit(l, id)
		if err != nil {
			return err
		}
		if n, held := e.held.get(id); held && !ok {
			envelope, err := e.row(tableEnvelopes, n.key())
			if err != nil {
				return err
			}
			d, ok = e.depositOf(envelope)
		}
		if !ok {
			continue
		}
		l.pending[id] = true
		e.toFerry(l, ferry.PutMessage(d))
	}
	return nil
}

func (e *Engine) ferryKept(l *ferryLink, body []byte) bool {
	list, err := ferry.ParseKept(body)
	if err != nil {
		return false
	}
	c := e.carrierOf(l)
	for _, k := range list {
		if !l.pending[k.ID] {
			return false
		}
		delete(l.pending, k.ID)
		if k.Outcome == ferry.Kept && len(c.kept) < maxFerryKept {
			c.kept[k.ID] = true
		}
	}
	return true
}

// bringInbox puts what this device told the organisers where it cannot compare: the
// inbox is read by operating devices alone.
func (e *Engine) bringInbox(l *ferryLink) error {
	c := e.carrierOf(l)
	for _, n := range e.held.byID {
		s := e.epochs[n.epoch]
		if n.kind != protocol.KindInbox || c.kept[n.id] || s == nil || s.keys == nil || !l.whole && n.day+shortPollDays < e.now.Day() {
			continue
		}
		if _, _, operator := s.keys.Inbox(); !operator {
			l.put = append(l.put, n.id)
		}
	}
	l.put = protocol.SortIDs(l.put)
	return e.bring(l)
}
