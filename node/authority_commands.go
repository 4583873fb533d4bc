package node

import (
	"encoding/hex"
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// joined finds the group that a command means, which this device must be in.
func (n *Node) joined(prefix string) (*groupState, error) {
	g, err := n.group(prefix)
	if err != nil {
		return nil, err
	}
	if !g.engine.Joined() {
		return nil, engine.ErrNotJoined
	}
	return g, nil
}

// propose carries out a command of one engine that asks for a decision.
func (n *Node) propose(prefix string, f func(*engine.Engine) (engine.Proposed, error)) (*groupState, any, error) {
	g, err := n.joined(prefix)
	if err != nil {
		return nil, nil, err
	}
	p, err := f(g.engine)
	if err != nil {
		return g, nil, err
	}
	return g, proposed(p), nil
}

func organisers(n *Node, a api.GroupArgs) (any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, err
	}
	return g.organisers(), nil
}

func confirm(n *Node, a api.GroupArgs) (*groupState, any, error) {
	return n.alter(a.Group, func(g *groupState) error {
		err := g.engine.ConfirmAuthority(n.now())
		if errors.Is(err, engine.ErrAlready) {
			return code(api.CodeNoAlarm)
		}
		return err
	})
}

func suspend(n *Node, a api.MemberArgs) (*groupState, any, error) {
	return n.alter(a.Group, func(g *groupState) error { return g.engine.Suspend(n.now(), a.Member) })
}

func reinstate(n *Node, a api.MemberArgs) (*groupState, any, error) {
	return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) { return e.Reinstate(n.now(), a.Member) })
}

func expel(n *Node, a api.ExpelArgs) (*groupState, any, error) {
	if len(a.Undo) > group.MaxRepudiate {
		return nil, nil, code(api.CodeTooLarge)
	}
	return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) { return e.Expel(n.now(), a.Member, a.Undo) })
}

func vote(n *Node, a api.VoteArgs) (*groupState, any, error) {
	return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) { return e.Vote(n.now(), a.Proposal) })
}

func grant(n *Node, a api.GrantArgs) (*groupState, any, error) {
	switch a.Role {
	case api.RoleAuthor:
		return n.alter(a.Group, func(g *groupState) error { return g.engine.GrantAuthor(n.now(), a.Member) })
	case api.RoleOrganiser:
		return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) { return e.GrantOrganiser(n.now(), a.Member) })
	}
	return nil, nil, code(api.CodeUnknownRole)
}

func devices(n *Node, a api.DevicesArgs) (any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, err
	}
	views, err := g.engine.Devices(a.Member)
	if err != nil {
		return nil, err
	}
	list := []api.Device{}
	for _, v := range views {
		d := api.Device{ID: v.ID.String(), Member: v.Member.String(), Self: v.Self, Operating: v.Operating, Removed: !v.Effective}
		if v.AddedAt != 0 {
			d.Added = stamp(v.AddedAt)
		}
		list = append(list, d)
	}
	return list, nil
}

func removeDevice(n *Node, a api.DeviceArgs) (*groupState, any, error) {
	return n.alter(a.Group, func(g *groupState) error {
		err := g.engine.RemoveDevice(n.now(), a.Device)
		if errors.Is(err, engine.ErrOrganiser) {
			return code(api.CodeOperatingDevice)
		}
		return err
	})
}

func setDevices(n *Node, a api.DevicesSetArgs) (*groupState, any, error) {
	if len(a.Devices) == 0 || len(a.Devices) > group.MaxOperating {
		return nil, nil, code(api.CodeDevicesBounds)
	}
	return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) {
		return e.SetDevices(n.now(), a.Member, a.Devices)
	})
}

func policy(n *Node, a api.GroupArgs) (any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, err
	}
	return policyOf(g.engine.Authority().Policy), nil
}

func setPolicy(n *Node, a api.PolicySetArgs) (*groupState, any, error) {
	change, err := policyChange(a)
	if err != nil {
		return nil, nil, err
	}
	return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) { return e.SetPolicy(n.now(), change) })
}

// policyChange reads what a person wants to have changed.
func policyChange(a api.PolicySetArgs) (func(group.Policy) group.Policy, error) {
	var posting group.Posting
	var history group.History
	if a.Posting != nil {
		var err error
		if posting, err = group.ParsePosting(*a.Posting); err != nil {
			return nil, code(api.CodeUnknownPosting)
		}
	}
	if a.History != nil {
		switch *a.History {
		case api.HistoryNone:
			history = group.HistoryNone
		case api.HistoryPinned:
			history = group.HistoryPinned
		default:
			return nil, &api.Error{Code: api.CodeBadRequest, Text: "the history is none or pinned"}
		}
	}
	within := func(days *int, most int) bool { return days == nil || *days >= 1 && *days <= most }
	if !within(a.PeriodDays, group.MaxPeriodDays) || !within(a.KeepDays, group.MaxRetentionDays) {
		return nil, code(api.CodePolicyBounds)
	}
	carriers, err := carriersGiven(a.Carriers)
	if err != nil {
		return nil, err
	}
	return func(p group.Policy) group.Policy {
		if a.Carriers != nil {
			p = nameCarriers(p, carriers)
		}
		if a.Posting != nil {
			p.Posting = posting
		}
		if a.PeriodDays != nil {
			p.PeriodDays = uint8(*a.PeriodDays)
		}
		if a.KeepDays != nil {
			p.RetentionDays = uint8(*a.KeepDays)
		}
		if a.History != nil {
			p.History = history
		}
		if a.HighRisk != nil {
			p.HighRisk = *a.HighRisk
		}
		if a.AlertsWhileRenewing != nil {
			p.AlertOverride = *a.AlertsWhileRenewing
		}
		return p
	}, nil
}

func recovery(n *Node, a api.GroupArgs) (any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, err
	}
	return api.Recovery{Exists: g.engine.Authority().Paper}, nil
}

func setRecovery(n *Node, a api.RecoverySetArgs) (*groupState, any, error) {
	var key group.RecoveryPublic
	if a.Key != "" {
		b, err := hex.DecodeString(a.Key)
		if err != nil || len(b) != len(key) || group.RecoveryPublic(b) == (group.RecoveryPublic{}) {
			return nil, nil, &api.Error{Code: api.CodeBadRequest, Text: "the key of a recovery paper is 64 digits"}
		}
		key = group.RecoveryPublic(b)
	}
	return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) {
		if key == (group.RecoveryPublic{}) && !e.Authority().Paper {
			return engine.Proposed{}, code(api.CodeNoRecovery)
		}
		return e.SetRecovery(n.now(), key)
	})
}

func useRecovery(n *Node, a api.RecoveryUseArgs) (*groupState, any, error) {
	paper, err := identity.ParsePaper(a.Words)
	if err != nil {
		return nil, nil, err
	}
	return n.propose(a.Group, func(e *engine.Engine) (engine.Proposed, error) {
		return e.RecoveryVote(n.now(), a.Proposal, paper)
	})
}

func changes(n *Node, a api.ChangesArgs) (any, error) {
	g, err := n.joined(a.Group)
	if err != nil {
		return nil, err
	}
	list := []api.Change{}
	p := g.people()
	for _, c := range g.engine.Changes(max(0, a.Limit)) {
		list = append(list, p.change(c))
	}
	return list, nil
}
