package engine

import (
	"bytes"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// effect is how an operation stands: of a proposal that is not decided, how many
// voices it has.
type effect struct {
	open   bool
	voices int
}

// ledger is every operation that has effect, and every open proposal.
func (e *Engine) ledger() map[protocol.OpID]effect {
	r := e.log.Resolve()
	out := map[protocol.OpID]effect{}
	for id := range r.Effects() {
		out[id] = effect{}
	}
	for _, o := range e.open() {
		out[o.ID] = effect{open: true, voices: voices(r, o)}
	}
	return out
}

// voices is how many an open proposal has, of those that decide.
func voices(r *group.Roster, o group.OpenProposal) int {
	need, _ := r.Majority()
	return need - o.Missing
}

// tellAuthority raises one event for each operation that got, lost or changed
// its effect: nothing about who governs, and who is in, changes silently.
func (e *Engine) tellAuthority() {
	r, a := e.log.Resolve(), &e.authority
	if a.told == r {
		return
	}
	a.told = r
	before, after := a.ledger, e.ledger()
	a.ledger = after
	if before == nil {
		return // this device has just come
	}
	either := maps.Clone(before)
	maps.Copy(either, after)
	for _, id := range protocol.SortIDs(slices.Collect(maps.Keys(either))) {
		was, had := before[id]
		if is, has := after[id]; has == had && is == was {
			continue
		}
		o, _, _ := e.log.Op(id)
		e.deliver(Event{Kind: EventAuthority, ID: id.String(), Own: o.Member == e.self.memberID})
	}
}

// OrganiserView is one organiser.
type OrganiserView struct {
	ID          identity.MemberID
	Name        string // empty until the profile came
	Self        bool
	SuspendedBy []identity.MemberID // sorted; none: not suspended
	Devices     []identity.DeviceID // that vote and act, sorted
	Returns     []Change            // what counts again if a Reinstate is proposed now and decided
}

// ProposalView is one open proposal.
type ProposalView struct {
	ID        protocol.OpID
	By        identity.MemberID
	Decision  group.Decision
	Voters    []identity.MemberID // sorted
	Voted     bool                // by this member
	Have      int                 // voices, the paper's among them
	Need      int                 // voices that decide
	Of        int                 // organisers
	Paper     bool                // the recovery paper voted
	PaperMay  bool                // it has a voice in this
	CreatedAt int64               // unix seconds, as its author says
	Returns   []Change            // a Reinstate: what counts again if it is decided, oldest first
}

// Authority is who governs the group, and what is open.
type Authority struct {
	Organisers []OrganiserView // sorted by id
	Open       []ProposalView  // by the order in which they can have been made
	Need, Of   int             // how many of how many organisers decide
	Paper      bool            // there is a recovery paper
	Policy     group.Policy
}

// Authority returns who governs the group. It is empty while joining.
func (e *Engine) Authority() Authority {
	if e.join != nil {
		return Authority{}
	}
	r := e.log.Resolve()
	a := Authority{Paper: r.Recovery() != group.RecoveryPublic{}, Policy: r.Policy()}
	a.Need, a.Of = r.Majority()
	by := map[identity.MemberID][]identity.MemberID{}
	for _, s := range r.Suspensions() {
		if !s.Lifted && !slices.Contains(by[s.Target], s.By) {
			by[s.Target] = append(by[s.Target], s.By)
		}
	}
	for _, m := range r.Members() {
		if m.Role != group.Organiser {
			continue
		}
		v := OrganiserView{ID: m.ID, Name: e.MemberName(m.ID), Self: m.ID == e.self.memberID, SuspendedBy: by[m.ID]}
		if m.Suspended {
			v.Returns = e.returning(m.ID, protocol.OpID{})
		}
		slices.SortFunc(v.SuspendedBy, func(a, b identity.MemberID) int { return bytes.Compare(a[:], b[:]) })
		for _, d := range m.Devices {
			if d.Operating {
				v.Devices = append(v.Devices, d.ID)
			}
		}
		a.Organisers = append(a.Organisers, v)
	}
	for _, o := range e.open() {
		op, _, _ := e.log.Op(o.ID)
		var returns []Change
		if d, ok := o.Decision.(group.Reinstate); ok {
			returns = e.returning(d.Target, o.ID)
		}
		a.Open = append(a.Open, ProposalView{Returns: returns, ID: o.ID, By: o.By, Decision: o.Decision, Voters: o.Voters,
			Voted: slices.Contains(o.Voters, e.self.memberID), Have: voices(r, o), Need: a.Need, Of: a.Of,
			Paper: o.Paper, PaperMay: o.PaperMay, CreatedAt: op.CreatedAt})
	}
	return a
}

// DeviceView is one device of a member.
type DeviceView struct {
	ID        identity.DeviceID
	Member    identity.MemberID
	Self      bool  // this device
	Operating bool  // votes and acts for an organiser
	Effective bool  // in the group; else it was removed
	AddedAt   int64 // unix seconds, as who added it says; 0: at the founding
}

// Devices lists a member's devices, those that were removed last; "" lists this
// member's own.
func (e *Engine) Devices(member string) ([]DeviceView, error) {
	if e.join != nil {
		return nil, ErrNotJoined
	}
	m, in := e.log.Resolve().Member(e.self.memberID)
	switch {
	case member != "":
		var err error
		if m, err = e.findMember(member); err != nil {
			return nil, err
		}
	case !in:
		return nil, ErrNotMember
	}
	added := e.addedAt()
	var list []DeviceView
	for _, d := range slices.Concat(m.Devices, m.Former) {
		list = append(list, DeviceView{ID: d.ID, Member: m.ID, Self: d.ID == e.self.deviceID, Operating: d.Operating,
			Effective: d.Effective, AddedAt: added[d.ID]})
	}
	return list, nil
}

// addedAt is when each device was last added.
func (e *Engine) addedAt() map[identity.DeviceID]int64 {
	effects := e.log.Resolve().Effects()
	at := map[identity.DeviceID]int64{}
	for _, id := range e.log.ByPast() {
		o, p, _ := e.log.Op(id)
		if d, _ := e.concerns(id, p); d != (identity.DeviceID{}) && effects[id] && p.Kind() != group.KindRemoveDevice {
			at[d] = o.CreatedAt
		}
	}
	return at
}

// Change is one operation that changed, or was to change, who is in the group,
// who governs it or how: who did what to whom.
type Change struct {
	ID        protocol.OpID
	Kind      group.OpKind
	Decision  group.DecisionKind // of a proposal; 0: it is none
	By        identity.MemberID
	Target    identity.MemberID // zero: nobody
	Device    identity.DeviceID // zero: none
	At        int64             // unix seconds, as its author says
	Effective bool              // a proposal: it is decided
	Ends      bool              // a decision that there be no recovery paper any more
	Twice     bool              // a suspension: the target's device signed two things under one number
}

// Changes lists what changed the group, newest first, at most limit (0: all).
// What never had effect is listed if somebody who organised signed it.
func (e *Engine) Changes(limit int) []Change {
	if e.join != nil {
		return nil
	}
	r := e.log.Resolve()
	effects := r.Effects()
	order := e.log.ByPast()
	slices.Reverse(order)
	var list []Change
	for _, id := range order {
		if limit > 0 && len(list) == limit {
			break
		}
		o, p, _ := e.log.Op(id)
		if !changes(p) || !effects[id] && !r.Organised(o.Member) {
			continue
		}
		list = append(list, e.change(id, effects[id]))
	}
	return list
}

// change describes one operation.
func (e *Engine) change(id protocol.OpID, effective bool) Change {
	o, p, _ := e.log.Op(id)
	c := Change{ID: id, Kind: o.Kind, By: o.Member, At: o.CreatedAt, Effective: effective}
	c.Device, c.Target = e.concerns(id, p)
	if p, ok := p.(group.Proposal); ok {
		c.Decision = p.Decision.Decides()
		paper, ok := p.Decision.(group.SetRecovery)
		c.Ends = ok && len(paper.Key) == 0
	}
	c.Twice = c.Kind == group.KindSuspend && e.inTwoHands()[c.Target]
	if c.Kind == group.KindLeave {
		c.Target = o.Member
	}
	return c
}

// returning lists what a suspended organiser did that counts again once a Reinstate
// is decided, as if it did.
func (e *Engine) returning(m identity.MemberID, proposal protocol.OpID) (list []Change) {
	for _, id := range e.log.Resolve().Returning(m, proposal) {
		list = append(list, e.change(id, true))
	}
	return list
}

// changes says whether an operation is one that can change the group by itself.
func changes(p group.Payload) bool {
	switch p.(type) {
	case nil, group.Merge, group.Vote, group.RecoveryVote, group.RejectEpoch:
		return false
	}
	return true
}

// concerns says which device and whom an operation is about.
func (e *Engine) concerns(id protocol.OpID, p group.Payload) (d identity.DeviceID, m identity.MemberID) {
	ofCert := func() {
		if c, ok := e.log.Cert(id); ok {
			d, m = c.Device.ID(), c.Member.ID()
		}
	}
	var what any = p
	if p, ok := p.(group.Proposal); ok {
		what = p.Decision
	}
	switch x := what.(type) {
	case group.AddMember, group.AddDevice:
		ofCert()
	case group.RemoveDevice:
		d = x.Device
		m, _ = e.log.Resolve().MemberOfCert(d)
	case group.RemoveMember:
		m = x.Target
	case group.GrantAuthor:
		m = x.Target
	case group.RevokeAuthor:
		m = x.Target
	case group.Suspend:
		m = x.Target
	case group.Expel:
		m = x.Target
	case group.Reinstate:
		m = x.Target
	case group.GrantOrganiser:
		m = x.Target
	case group.SetDevices:
		m = x.Target
	}
	return d, m
}
