package node

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// people gives ids the names that their owners chose.
type people struct {
	engine *engine.Engine
	alike  map[identity.MemberID]bool
	open   map[protocol.OpID]engine.ProposalView
}

func (g *groupState) people() *people {
	p := &people{engine: g.engine, alike: map[identity.MemberID]bool{}, open: map[protocol.OpID]engine.ProposalView{}}
	for _, m := range g.engine.Members() {
		p.alike[m.ID] = len(m.Alike) > 0
	}
	for _, o := range g.engine.Authority().Open {
		p.open[o.ID] = o
	}
	return p
}

func (p *people) person(id identity.MemberID) api.Person {
	return api.Person{ID: id.String(), Name: p.engine.MemberName(id), Alike: p.alike[id]}
}

// somebody is a person, or nil for the zero id.
func (p *people) somebody(id identity.MemberID) *api.Person {
	if id == (identity.MemberID{}) {
		return nil
	}
	who := p.person(id)
	return &who
}

func (p *people) persons(ids []identity.MemberID) []api.Person {
	list := []api.Person{}
	for _, id := range ids {
		list = append(list, p.person(id))
	}
	return list
}

func proposed(p engine.Proposed) api.Proposed {
	return api.Proposed{ID: p.ID.String(), Effective: p.Effective, Have: p.Have, Need: p.Need, Of: p.Of,
		PaperMay: p.PaperMay && !p.Effective}
}

func policyOf(p group.Policy) api.Policy {
	out := api.Policy{Posting: p.Posting.String(), PeriodDays: int(p.PeriodDays), KeepDays: int(p.RetentionDays),
		History: api.HistoryNone, HighRisk: p.HighRisk, AlertsWhileRenewing: p.AlertOverride}
	if p.History == group.HistoryPinned {
		out.History = api.HistoryPinned
	}
	out.Carriers = []string{}
	for _, named := range p.FerryList() {
		out.Carriers = append(out.Carriers, withoutTicket(named))
	}
	return out
}

// organisers is who organises the group, and what is open.
func (g *groupState) organisers() api.Organisers {
	a, p := g.engine.Authority(), g.people()
	out := api.Organisers{Organisers: []api.Organiser{}, Open: []api.Proposal{}, Need: a.Need, Of: a.Of, Paper: a.Paper,
		Alarm: g.engine.Status().AuthorityAlarm}
	for _, o := range a.Organisers {
		out.Organisers = append(out.Organisers, api.Organiser{Person: p.person(o.ID), Self: o.Self,
			SuspendedBy: p.persons(o.SuspendedBy), Devices: texts(o.Devices), Returns: p.changes(o.Returns)})
	}
	for _, o := range a.Open {
		out.Open = append(out.Open, p.proposal(o))
	}
	return out
}

func texts(ids []identity.DeviceID) []string {
	list := []string{}
	for _, id := range ids {
		list = append(list, id.String())
	}
	return list
}

func (p *people) proposal(v engine.ProposalView) api.Proposal {
	out := api.Proposal{ID: v.ID.String(), Decision: byDecision[v.Decision.Decides()], By: p.person(v.By), Voters: p.persons(v.Voters),
		Voted: v.Voted, Have: v.Have, Need: v.Need, Of: v.Of, PaperVoted: v.Paper, PaperMay: v.PaperMay, Created: stamp(v.CreatedAt)}
	switch d := v.Decision.(type) {
	case group.Expel:
		out.Target, out.Undo = p.somebody(d.Target), len(d.Repudiate)
	case group.Reinstate:
		out.Target, out.Returns = p.somebody(d.Target), p.changes(v.Returns)
	case group.GrantOrganiser:
		out.Target, out.Devices = p.somebody(d.Target), texts(d.Devices)
	case group.SetDevices:
		out.Target, out.Devices = p.somebody(d.Target), texts(d.Devices)
	case group.SetRecovery:
		if len(d.Key) == 0 {
			out.Decision = api.DecisionRecoveryEnd
		}
	case group.SetPolicy:
		policy := policyOf(d.Policy)
		out.Policy = &policy
	}
	return out
}

var byDecision = map[group.DecisionKind]string{
	group.DecideExpel: api.DecisionExpel, group.DecideReinstate: api.DecisionReinstate, group.DecideGrantOrganiser: api.DecisionOrganiser,
	group.DecideSetDevices: api.DecisionDevices, group.DecideSetRecovery: api.DecisionRecovery, group.DecideSetPolicy: api.DecisionPolicy,
}

var byKind = map[group.OpKind]string{
	group.KindProposal: api.ChangeProposed, group.KindVote: api.ChangeVoted, group.KindRecoveryVote: api.ChangePaperVoted,
	group.KindSuspend: api.ChangeSuspended, group.KindAddMember: api.ChangeAdded, group.KindRemoveMember: api.ChangeRemoved,
	group.KindGrantAuthor: api.ChangeAuthor, group.KindRevokeAuthor: api.ChangeNoAuthor, group.KindRemoveDevice: api.ChangeDeviceRemoved,
	group.KindAddDevice: api.ChangeDeviceAdded, group.KindRejectEpoch: api.ChangeKeysRejected, group.KindLeave: api.ChangeLeft,
	group.KindMerge: api.ChangeMerged,
}

func (p *people) change(c engine.Change) api.Change {
	out := api.Change{ID: c.ID.String(), What: byKind[c.Kind], Decision: byDecision[c.Decision], By: p.person(c.By),
		Target: p.somebody(c.Target), At: stamp(c.At), Effective: c.Effective, Twice: c.Twice}
	if c.Ends {
		out.Decision = api.DecisionRecoveryEnd
	}
	if c.Device != (identity.DeviceID{}) {
		out.Device = c.Device.String()
	}
	if o, ok := p.open[c.ID]; ok {
		out.Open, out.Decision = true, p.proposal(o).Decision
	}
	return out
}

func (p *people) changes(list []engine.Change) (out []api.Change) {
	for _, c := range list {
		out = append(out, p.change(c))
	}
	return out
}

// tell adds to an event which change it is about, in the words of people.
func (g *groupState) tell(ev *api.Event) {
	p := g.people()
	for _, c := range g.engine.Changes(0) {
		if c.ID.String() != ev.ID {
			continue
		}
		change := p.change(c)
		ev.Change = &change
		if o, ok := p.open[c.ID]; ok {
			ev.Stands = &api.Proposed{ID: ev.ID, Have: o.Have, Need: o.Need, Of: o.Of, PaperMay: o.PaperMay && !o.Paper}
		}
		return
	}
}

// takesOut says whether a change is one that keys are renewed for.
func takesOut(c engine.Change) bool {
	switch c.Kind {
	case group.KindSuspend, group.KindRemoveMember, group.KindRemoveDevice, group.KindLeave:
		return c.Effective
	case group.KindProposal:
		return c.Effective && (c.Decision == group.DecideExpel || c.Decision == group.DecideSetDevices)
	}
	return false
}

// standing adds to the status of a group what keeps it from being as it should.
func (g *groupState) standing(s *api.GroupStatus) {
	st := g.engine.Status()
	if s.Removed = st.Removed; st.Removed || !st.Joined {
		return
	}
	s.Alarm, s.Waiting = st.AuthorityAlarm, g.engine.Waiting()
	p := g.people()
	s.Held = len(g.engine.Held())
	var renew []api.Person
	for _, o := range g.engine.Authority().Organisers {
		if len(o.SuspendedBy) > 0 {
			s.Suspended = append(s.Suspended, p.person(o.ID))
		} else {
			renew = append(renew, p.person(o.ID))
		}
	}
	if !s.Waiting || s.Alarm {
		return
	}
	s.RenewedBy, s.OthersRenew = renew, g.engine.OthersRenew()
	if c, ok := g.notCovered(); ok {
		change := p.change(c)
		s.Because = &change
	}
}

// notCovered is the newest change for which keys are being renewed.
func (g *groupState) notCovered() (engine.Change, bool) {
	r, _ := g.engine.Readers()
	var last *engine.Change
	for _, c := range g.engine.Changes(0) {
		if !takesOut(c) {
			continue
		}
		if slices.Contains(r.Removed, c.Target) {
			return c, true
		}
		if last == nil {
			last = &c
		}
	}
	if last == nil {
		return engine.Change{}, false
	}
	return *last, true
}
