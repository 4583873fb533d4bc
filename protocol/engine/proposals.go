package engine

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// Proposed is how a proposal stands after a command.
type Proposed struct {
	ID        protocol.OpID
	Have      int  // voices for it, the paper's among them
	Need      int  // voices that decide
	Of        int  // organisers
	Effective bool // it is decided
	PaperMay  bool // the recovery paper has a voice in it
}

// Expel proposes to end a member's being organiser and member, and to take back
// what repudiate names: operations and epochs of the target, by prefixes of
// their ids. It is decided at once where one voice is enough.
func (e *Engine) Expel(now Time, member string, repudiate []string) (Proposed, error) {
	m, err := e.asProposer(now, member)
	if err != nil {
		return Proposed{}, err
	}
	own := e.deedsOf(m.ID)
	back, err := pick(own, repudiate)
	if err != nil {
		return Proposed{}, err
	}
	d := group.Expel{Target: m.ID, Cutoffs: e.cutoffs(m), Repudiate: back}
	return e.propose(d, func(o group.Decision) bool {
		x, ok := o.(group.Expel)
		if !ok || x.Target != m.ID {
			return false
		}
		// What it takes back beyond this is the target's too: nobody else's work is
		// undone by joining.
		for _, id := range back {
			if !slices.Contains(x.Repudiate, id) {
				return false
			}
		}
		for _, id := range x.Repudiate {
			if !slices.Contains(own, id) {
				return false
			}
		}
		return true
	})
}

// deedsOf lists the ids of a member's operations and epochs.
func (e *Engine) deedsOf(m identity.MemberID) []protocol.ItemID {
	var ids []protocol.ItemID
	for _, f := range e.log.Frames() {
		id := protocol.OpID(f.ID(e.id))
		if o, _, ok := e.log.Op(id); ok && o.Member == m {
			ids = append(ids, protocol.ItemID(id))
		}
	}
	for id, s := range e.epochs {
		if s.header.Core.Issuer == m {
			ids = append(ids, protocol.ItemID(id))
		}
	}
	return protocol.SortIDs(ids)
}

// pick finds ids by their prefixes.
func pick(among []protocol.ItemID, prefixes []string) ([]protocol.ItemID, error) {
	var out []protocol.ItemID
	for _, p := range prefixes {
		if len(p) < minPrefix {
			return nil, ErrPrefix
		}
		n := len(out)
		for _, id := range among {
			if startsWith(id[:], p) {
				out = append(out, id)
			}
		}
		switch len(out) - n {
		case 0:
			return nil, ErrUnknown
		case 1:
		default:
			return nil, ErrAmbiguous
		}
	}
	out = slices.Compact(protocol.SortIDs(out))
	if len(out) > group.MaxRepudiate {
		return nil, ErrTooMany
	}
	return out, nil
}

// Reinstate proposes to give a suspended organiser back.
func (e *Engine) Reinstate(now Time, member string) (Proposed, error) {
	m, err := e.asProposer(now, member)
	if err != nil {
		return Proposed{}, err
	}
	switch {
	case m.Role != group.Organiser:
		return Proposed{}, ErrNoOrganiser
	case !m.Suspended:
		return Proposed{}, ErrNotSuspended
	}
	return e.propose(group.Reinstate{Target: m.ID}, func(o group.Decision) bool {
		x, ok := o.(group.Reinstate)
		return ok && x.Target == m.ID
	})
}

// GrantOrganiser proposes to make a member an organiser, with the devices that
// the member has now.
func (e *Engine) GrantOrganiser(now Time, member string) (Proposed, error) {
	m, err := e.asProposer(now, member)
	if err != nil {
		return Proposed{}, err
	}
	if m.Role == group.Organiser {
		return Proposed{}, ErrAlready
	}
	devices := deviceIDs(m.Devices)
	if len(devices) == 0 {
		return Proposed{}, ErrImpossible // nothing that could vote
	}
	d := group.GrantOrganiser{Target: m.ID, Devices: devices[:min(len(devices), group.MaxOperating)]}
	return e.propose(d, func(o group.Decision) bool {
		x, ok := o.(group.GrantOrganiser)
		if !ok || x.Target != m.ID {
			return false
		}
		for _, d := range x.Devices {
			if !slices.Contains(devices, d) {
				return false // a device that the member does not have any more
			}
		}
		return true
	})
}

func deviceIDs(list []group.Device) []identity.DeviceID {
	var ids []identity.DeviceID
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	slices.SortFunc(ids, func(a, b identity.DeviceID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

// SetDevices proposes which devices of an organiser vote and act, by prefixes of
// their ids. Those that did and are left out leave the group.
func (e *Engine) SetDevices(now Time, member string, devices []string) (Proposed, error) {
	m, err := e.asProposer(now, member)
	if err != nil {
		return Proposed{}, err
	}
	if m.Role != group.Organiser {
		return Proposed{}, ErrNoOrganiser
	}
	if len(devices) == 0 || len(devices) > group.MaxOperating {
		return Proposed{}, ErrOutOfBounds
	}
	var set []group.Device
	for _, p := range devices {
		d, err := e.findDevice(p, []group.Member{m})
		if err != nil {
			return Proposed{}, err
		}
		set = append(set, d)
	}
	ids := slices.Compact(deviceIDs(set))
	operating := slices.DeleteFunc(slices.Clone(m.Devices), func(d group.Device) bool { return !d.Operating })
	if slices.Equal(ids, deviceIDs(operating)) {
		return Proposed{}, ErrAlready
	}
	d := group.SetDevices{Target: m.ID, Devices: ids}
	dropped := slices.DeleteFunc(deviceIDs(operating), func(x identity.DeviceID) bool { return slices.Contains(ids, x) })
	if len(dropped) > 0 {
		d.Cutoffs = e.cutoffs(m, dropped...)
	}
	return e.propose(d, func(o group.Decision) bool {
		x, ok := o.(group.SetDevices)
		return ok && x.Target == m.ID && slices.Equal(x.Devices, ids)
	})
}

// SetPolicy proposes another policy: the one in force as change returns it.
func (e *Engine) SetPolicy(now Time, change func(group.Policy) group.Policy) (Proposed, error) {
	e.now = now
	if err := e.asVoter(); err != nil {
		return Proposed{}, err
	}
	p := change(e.policy())
	if _, err := group.ParsePolicy(p.Marshal()); err != nil {
		return Proposed{}, err
	}
	if p == e.policy() {
		return Proposed{}, ErrAlready
	}
	return e.propose(group.SetPolicy{Policy: p}, func(o group.Decision) bool {
		x, ok := o.(group.SetPolicy)
		return ok && x.Policy == p
	})
}

// SetRecovery proposes another recovery paper, by its public key; zero: none.
func (e *Engine) SetRecovery(now Time, key group.RecoveryPublic) (Proposed, error) {
	e.now = now
	if err := e.asVoter(); err != nil {
		return Proposed{}, err
	}
	if key == e.log.Resolve().Recovery() {
		return Proposed{}, ErrAlready
	}
	var d group.SetRecovery
	if key != (group.RecoveryPublic{}) {
		d.Key = bytes.Clone(key[:])
	}
	return e.propose(d, func(o group.Decision) bool {
		x, ok := o.(group.SetRecovery)
		return ok && bytes.Equal(x.Key, d.Key)
	})
}

func (e *Engine) asProposer(now Time, member string) (group.Member, error) {
	e.now = now
	if err := e.asVoter(); err != nil {
		return group.Member{}, err
	}
	return e.findMember(member)
}

// propose votes for an open proposal that says the same, or makes one and votes
// for it. Both operations of a new one are in one Ready.
func (e *Engine) propose(d group.Decision, same func(group.Decision) bool) (Proposed, error) {
	r := e.log.Resolve()
	for _, o := range e.open() {
		if same(o.Decision) {
			return e.voteFor(o.ID)
		}
	}
	id, err := e.sign(group.Proposal{Prev: r.LastDecision(), Decision: d})
	if err != nil {
		return Proposed{}, plain(err)
	}
	return e.voteFor(id)
}

// open lists the proposals that somebody with a voice has voted for. Anybody can
// sign others, and they are nobody's business.
func (e *Engine) open() []group.OpenProposal {
	return slices.DeleteFunc(e.log.Resolve().Open(), func(o group.OpenProposal) bool {
		return len(o.Voters) == 0 && !o.Paper
	})
}

// Vote votes for an open proposal, named by a prefix of its id.
func (e *Engine) Vote(now Time, proposal string) (Proposed, error) {
	e.now = now
	if err := e.asVoter(); err != nil {
		return Proposed{}, err
	}
	o, err := e.findProposal(proposal)
	if err != nil {
		return Proposed{}, err
	}
	return e.voteFor(o.ID)
}

// findProposal finds an open proposal. Of one that was open once it says so.
func (e *Engine) findProposal(prefix string) (group.OpenProposal, error) {
	if len(prefix) < minPrefix {
		return group.OpenProposal{}, ErrPrefix
	}
	var found []group.OpenProposal
	for _, o := range e.open() {
		if startsWith(o.ID[:], prefix) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		for _, f := range e.log.Frames() {
			id := protocol.OpID(f.ID(e.id))
			if _, p, ok := e.log.Op(id); ok && startsWith(id[:], prefix) {
				if _, ok := p.(group.Proposal); ok {
					return group.OpenProposal{}, ErrDecided
				}
			}
		}
		return group.OpenProposal{}, ErrUnknown
	case 1:
		return found[0], nil
	}
	return group.OpenProposal{}, ErrAmbiguous
}

// voteFor signs this member's vote. What it decides takes effect at once, with
// the keys renewed by this device if it may.
func (e *Engine) voteFor(id protocol.OpID) (Proposed, error) {
	for _, o := range e.log.Resolve().Open() {
		if o.ID == id && slices.Contains(o.Voters, e.self.memberID) {
			return e.proposed(id), ErrAlready
		}
	}
	before := e.proposed(id)
	if _, err := e.sign(e.log.NextVote(e.self.memberID, id)); err != nil {
		return Proposed{}, plain(err)
	}
	return e.decided(before)
}

// decided settles what a further voice for a proposal brought about.
func (e *Engine) decided(before Proposed) (Proposed, error) {
	p := e.proposed(before.ID)
	if p.Effective { // what it needed is said by the standing before it
		p.Have, p.Need, p.Of, p.PaperMay = before.Have+1, before.Need, before.Of, before.PaperMay
	}
	e.planned.now = e.planned.now || p.Effective && e.organises()
	return p, e.settle()
}

// proposed says how a proposal stands.
func (e *Engine) proposed(id protocol.OpID) Proposed {
	r := e.log.Resolve()
	p := Proposed{ID: id}
	p.Need, p.Of = r.Majority()
	for _, o := range r.Open() {
		if o.ID == id {
			p.Have, p.PaperMay = voices(r, o), o.PaperMay
			return p
		}
	}
	for _, d := range r.Decisions() {
		p.Effective = p.Effective || d.ID == id
	}
	return p
}

// RecoveryVote gives the recovery paper's voice to an open proposal. Any member
// can carry it.
func (e *Engine) RecoveryVote(now Time, proposal string, paper identity.RecoveryKey) (Proposed, error) {
	e.now = now
	if err := e.asMember(); err != nil {
		return Proposed{}, err
	}
	o, err := e.findProposal(proposal)
	if err != nil {
		return Proposed{}, err
	}
	switch {
	case !o.PaperMay:
		return Proposed{}, ErrPaperMayNot
	case paper.Public() != e.log.Resolve().Recovery():
		return Proposed{}, ErrPaper
	case o.Paper:
		return e.proposed(o.ID), ErrAlready
	}
	before := e.proposed(o.ID)
	if _, err := e.sign(group.RecoveryVote{Proposal: o.ID, Signature: paper.Vote(o.ID)}); err != nil {
		return Proposed{}, plain(err)
	}
	return e.decided(before)
}
