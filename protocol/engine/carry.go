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

// untold says whether the sending epoch lacks operations.
func (e *Engine) untold() bool {
	s := e.epochs[e.sending]
	if s == nil {
		return false
	}
	ops, err := e.log.Between(s.header.Core.GovHeads, e.log.Heads())
	if err != nil {
		return false
	}
	for _, f := range ops {
		if !e.held.hasItem(e.sending, f.ID(e.id), false) {
			return true
		}
	}
	return false
}

// carryIfDue has an organiser's device tell in the sending epoch what was told in
// others beside it: up to a minute later, unless others did meanwhile.
func (e *Engine) carryIfDue() (bool, error) {
	c := &e.carrying
	if e.frozen || e.asOrganiser() != nil || c.at == e.version && (c.due == 0 || e.now < c.due) {
		return false, nil
	}
	c.at = e.version
	switch {
	case !e.untold():
		c.due = 0
	case c.due == 0:
		wait, err := e.randomBelow(int64(issueWait))
		if err != nil {
			return false, err
		}
		c.due = e.now + Time(wait)
	case e.now >= c.due:
		c.due = 0
		return true, e.sealOps(e.epochs[e.sending])
	}
	return false, nil
}
