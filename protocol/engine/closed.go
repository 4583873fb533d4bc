package engine

import (
	"errors"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/recon"
)

// Some messages never open here: they were sent before this device came, or their key was
// used. They are not held, and yet known: not asked for again, neither tomorrow nor after a
// start, and comparing with somebody who holds them does not begin anew in each round
// (spec 65 section 2).

// maxClosed bounds how many are known: 8,192, with a row of 89 bytes each.
const maxClosed = 8_192

// noteClosed notes an envelope whose message never opens here.
func (e *Engine) noteClosed(n *entry) {
	if len(e.closed) >= maxClosed {
		return // then it is asked for again one day
	}
	c := *n
	// That of who can read it (applyMessage): it was written on the day of its mailbox, or before.
	c.shred = c.day + protocol.MaxNoticeSeconds/protocol.DaySeconds + 1
	e.closed[c.id] = c
	e.epochs[c.epoch].closed.Add(reconItem(c))
	e.put(tableClosed, c.key(), []byte{1}, c.shred)
}

// dropClosed forgets one: it is held, or its time is over.
func (e *Engine) dropClosed(id protocol.EnvelopeID) {
	c, ok := e.closed[id]
	if !ok {
		return
	}
	delete(e.closed, id)
	if s := e.epochs[c.epoch]; s != nil {
		s.closed.Remove(reconItem(c))
	}
	e.erase(tableClosed, c.key())
}

func (e *Engine) loadClosed(key []byte) error {
	c, err := parseEntry(key)
	if err != nil {
		return err
	}
	s := e.epochs[c.epoch]
	if s == nil {
		return errors.New("a closed envelope of an epoch that is not stored")
	}
	e.closed[c.id] = c
	_, err = s.closed.Add(reconItem(c))
	return err
}

// unwanted says whether an envelope that is not held need not be asked for.
func (e *Engine) unwanted(id protocol.EnvelopeID) bool {
	_, closed := e.closed[id]
	return closed || e.refused[id]
}

// lacks says whether an envelope is to be asked for, or is already.
func (e *Engine) lacks(id protocol.EnvelopeID) bool { return !e.held.has(id) && !e.unwanted(id) }

// fingerprint is that of all envelopes of an epoch that are held or closed.
func (s *epochState) fingerprint() [recon.FingerprintSize]byte {
	return s.recon.Fingerprint(s.closed)
}
