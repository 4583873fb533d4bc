package engine

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// Errors of changing who is in a group.
var (
	// ErrOrganiser says that what was asked takes a decision of the organisers:
	// Suspend, Expel or SetDevices.
	ErrOrganiser = errors.New("an organiser is not removed by one alone: suspend, or propose to expel")
	// ErrAlready says that it is so already.
	ErrAlready = errors.New("it is so already")
)

// applyOp takes an operation in. What it changes takes effect in settle.
func (e *Engine) applyOp(f protocol.Frame) (protocol.Verdict, error) {
	before := e.log.Resolve()
	r, err := e.log.Add(f)
	switch {
	case errors.Is(err, group.ErrHeldFull):
		return protocol.Ignore, nil
	case errors.Is(err, group.ErrSigner):
		return protocol.Ignore, nil // nobody whose operations count; not the carrier's fault
	case err != nil:
		return protocol.Reject, nil
	}
	if r.Outcome == group.Duplicate {
		return protocol.Accept, nil
	}
	id := protocol.OpID(f.ID(e.id))
	e.put(tableOps, id[:], f.Marshal(), 0)
	if r.Outcome == group.Held {
		return protocol.Accept, nil
	}
	e.version++
	clear(e.refused) // what had no room, or nobody to answer for it, may be asked for again
	e.rejudge, e.retry, e.gateStale, e.repair.pass = true, true, true, true
	if started := e.ring.Follow(e.log.Resolve()); len(started) > 0 {
		op, _, _ := e.log.Op(id)
		e.revive = e.revive || op.Kind != group.KindAddMember && op.Kind != group.KindAddDevice
	}
	e.tellMembers(before, e.log.Resolve())
	return protocol.Accept, nil
}

// tellMembers raises an event for every change of who is in the group or what
// they may do, and of their devices: nobody comes, goes or rises silently.
func (e *Engine) tellMembers(before, after *group.Roster) {
	if before == after {
		return
	}
	was := map[identity.MemberID]group.Member{}
	for _, m := range before.Members() {
		was[m.ID] = m
	}
	for _, m := range after.Members() {
		old, in := was[m.ID]
		delete(was, m.ID)
		if m.Suspended && !old.Suspended {
			e.closeLinks()
		}
		if !in || old.Role != m.Role || old.Suspended != m.Suspended || !sameDevices(old.Devices, m.Devices) {
			e.deliver(Event{Kind: EventMembers, ID: m.ID.String()})
		}
	}
	for _, m := range before.Members() {
		if _, gone := was[m.ID]; !gone {
			continue
		}
		e.closeLinks()
		e.deliver(Event{Kind: EventMembers, ID: m.ID.String()})
		if m.ID == e.self.memberID {
			e.deliver(Event{Kind: EventRemoved, ID: e.id.String()})
		}
	}
}

func sameDevices(a, b []group.Device) bool {
	return slices.EqualFunc(a, b, func(x, y group.Device) bool { return x.ID == y.ID && x.Operating == y.Operating })
}

// Remove takes a member out of the group, named by id or a prefix of at least 6
// characters, and renews the group's keys so that nothing later can be read.
func (e *Engine) Remove(now Time, member string) error {
	e.now = now
	if err := e.asOrganiser(); err != nil {
		return err
	}
	m, err := e.findMember(member)
	if err != nil {
		return err
	}
	if m.Role == group.Organiser {
		return ErrOrganiser
	}
	op := group.RemoveMember{Target: m.ID, Cutoffs: e.cutoffs(m)}
	if _, err := e.sign(op); err != nil {
		return err
	}
	e.planned.now = true
	return e.settle()
}

// GrantAuthor lets a member post where the policy asks for authors.
func (e *Engine) GrantAuthor(now Time, member string) error {
	e.now = now
	if err := e.asOrganiser(); err != nil {
		return err
	}
	m, err := e.findMember(member)
	if err != nil {
		return err
	}
	if m.Role != group.Reader {
		return ErrAlready
	}
	if _, err := e.sign(group.GrantAuthor{Target: m.ID}); err != nil {
		return err
	}
	return e.settle()
}

func (e *Engine) findMember(prefix string) (group.Member, error) {
	var found []group.Member
	if len(prefix) < minPrefix {
		return group.Member{}, ErrPrefix
	}
	prefix = strings.ToLower(prefix)
	for _, m := range e.log.Resolve().Members() {
		if strings.HasPrefix(hex.EncodeToString(m.ID[:]), prefix) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return group.Member{}, ErrUnknown
	case 1:
		return found[0], nil
	}
	return group.Member{}, ErrAmbiguous
}
