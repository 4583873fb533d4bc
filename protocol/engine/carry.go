package engine

import (
	"errors"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file brings operations into epochs that they were not told in: whoever has
// such an epoch only would not hear of them (spec 46 section 2).

// carrying is what this device means to tell again.
type carrying struct {
	due Time // when it does, unless others did meanwhile; 0: there is nothing
	at  uint64
}

// carryOps seals into an epoch the operations that its own heads do not cover
// and that came by an older one: of an organiser who is suspended, say. Whoever
// has this epoch only could not judge what builds on them.
func (e *Engine) carryOps(id protocol.EpochID) error {
	s, at := e.epochs[id], carried{id, e.log.Len()}
	if s == nil || e.authority.carried == at {
		return nil
	}
	e.authority.carried = at
	return e.sealOps(s)
}

// sealOps seals into an epoch all operations that its own heads do not cover and
// that are not in it.
func (e *Engine) sealOps(s *epochState) error {
	ops, err := e.log.Between(s.header.Core.GovHeads, e.log.Heads())
	if errors.Is(err, group.ErrUnknownHead) {
		return nil
	}
	for _, f := range ops {
		if err := e.sealOp(s, f); err != nil {
			return err
		}
	}
	return err
}

// carried is up to where operations were sealed into an epoch.
type carried struct {
	epoch protocol.EpochID
	ops   int
}

// untold says whether an epoch lacks operations, or keys of whom they add.
func (e *Engine) untold(s *epochState) bool {
	if s == nil {
		return false
	}
	ops, err := e.log.Between(s.header.Core.GovHeads, e.log.Heads())
	if err != nil {
		return false
	}
	for _, op := range ops {
		for _, f := range e.withKeys(s, op) {
			if !e.held.hasItem(s.header.ID(), f.ID(e.id), false) {
				return true
			}
		}
	}
	return false
}

// carryIfDue has a device tell in the sending epoch what was told in others beside it:
// up to a minute later, a reader's not before half of it, unless others did. Where
// such an operation takes the sending epoch away, an organiser's tells it in it at once:
// others go on sending there until they hear of it.
func (e *Engine) carryIfDue() (bool, error) {
	c := &e.carrying
	waits, organises := e.sending == (protocol.EpochID{}), e.asOrganiser() == nil
	if e.frozen || !organises && (waits || !e.isBoxed() || !e.epochs[e.sending].header.Core.Inline()) {
		c.due = 0 // or it would be woken for in vain
		return false, nil
	}
	if c.at == e.version && (c.due == 0 || e.now < c.due) {
		return false, nil
	}
	c.at = e.version
	if organises {
		if did, err := e.tellAside(); did || err != nil {
			return did, err
		}
	}
	in := e.epochs[e.sending]
	if waits {
		in = e.epochs[e.lastOps]
	}
	switch {
	case !e.untold(in):
		c.due = 0
	case waits:
		c.due = 0
		return true, e.sealOps(in)
	case c.due == 0:
		wait, err := e.randomBelow(int64(issueWait))
		if err != nil {
			return false, err
		}
		if c.due = e.now + Time(wait); !organises {
			c.due = e.now + issueWait/2 + Time(wait/2)
		}
	case e.now >= c.due:
		c.due = 0
		return true, e.sealOps(in)
	}
	return false, nil
}

// maxToldAside is how many operations are told in an epoch that others may send in.
const maxToldAside = 16

// tellAside tells at once in epochs beside the sending one what takes them away: whoever
// was given such an epoch alone goes on sending there to somebody who is out.
func (e *Engine) tellAside() (bool, error) {
	for _, s := range e.tipsHeld() {
		if id := s.header.ID(); id == e.sending || id == e.lastOps || e.covers(s) || !e.untold(s) {
			continue
		}
		ops, err := e.log.Between(s.header.Core.GovHeads, e.log.Heads())
		if err == nil && len(ops) <= maxToldAside {
			return true, e.sealOps(s)
		}
	}
	return false, nil
}
