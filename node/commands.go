package node

import (
	"context"
	"encoding/json"

	"github.com/palabre-app/palabre/node/api"
)

// command carries one command out where the engines may be touched.
type command func(n *Node, ctx context.Context, args json.RawMessage) (any, error)

// commands by name. All but four return at once: join waits for its
// Welcome, leave until somebody knows, and the two of bundles for their file.
var commands = map[string]command{
	api.CommandStatus:      reading(status),
	api.CommandConnect:     changing(connect),
	api.CommandData:        reading(dataUse),
	api.CommandDataSet:     changing(setData),
	api.CommandFetch:       changing(fetch),
	api.CommandGroupCreate: changing(createGroup),
	api.CommandInvite:      changing(invite),
	api.CommandJoin:        join,
	api.CommandRequests:    reading(requests),
	api.CommandApprove:     changing(approve),
	api.CommandMembers:     reading(members),
	api.CommandRemove:      changing(remove),
	api.CommandGrant:       changing(grant),
	api.CommandLeave:       leave,
	api.CommandPost:        changing(post),
	api.CommandEdit:        changing(edit),
	api.CommandCancel:      changing(cancel),
	api.CommandPin:         changing(pin),
	api.CommandHeld:        reading(held),
	api.CommandSendNow:     changing(sendNow),
	api.CommandNotices:     reading(notices),
	api.CommandShow:        reading(show),

	api.CommandOrganisers:    reading(organisers),
	api.CommandConfirm:       changing(confirm),
	api.CommandSuspend:       changing(suspend),
	api.CommandReinstate:     changing(reinstate),
	api.CommandExpel:         changing(expel),
	api.CommandVote:          changing(vote),
	api.CommandDevices:       reading(devices),
	api.CommandDevicesRemove: changing(removeDevice),
	api.CommandDevicesSet:    changing(setDevices),
	api.CommandPolicy:        reading(policy),
	api.CommandPolicySet:     changing(setPolicy),
	api.CommandRecovery:      reading(recovery),
	api.CommandRecoverySet:   changing(setRecovery),
	api.CommandRecoveryUse:   changing(useRecovery),
	api.CommandChanges:       reading(changes),

	api.CommandBundleExport: exportBundle,
	api.CommandBundleImport: importBundle,
}

// changing makes a command of a function that changes at most one group, and
// says which also when it fails.
func changing[A any](f func(n *Node, a A) (*groupState, any, error)) command {
	return func(n *Node, ctx context.Context, raw json.RawMessage) (result any, err error) {
		var args A
		if err := api.DecodeArgs(raw, &args); err != nil {
			return nil, err
		}
		err = n.change(ctx, func() (g *groupState, err error) {
			g, result, err = f(n, args)
			return g, err
		})
		if err != nil {
			return nil, err
		}
		return result, nil
	}
}

// reading makes a command of a function that changes nothing.
func reading[A any](f func(n *Node, a A) (any, error)) command {
	return func(n *Node, ctx context.Context, raw json.RawMessage) (result any, err error) {
		var args A
		if err := api.DecodeArgs(raw, &args); err != nil {
			return nil, err
		}
		err = n.read(ctx, func() (err error) {
			result, err = f(n, args)
			return err
		})
		if err != nil {
			return nil, err
		}
		return result, nil
	}
}

// Do carries out a command: see package api. What is wrong with it is told as an
// *api.Error. It may be called from any goroutine.
func (n *Node) Do(ctx context.Context, name string, args json.RawMessage) (any, error) {
	c := commands[name]
	if c == nil {
		return nil, code(api.CodeUnknownCommand)
	}
	result, err := c(n, ctx, args)
	if err != nil {
		return nil, problem(err)
	}
	return result, nil
}

func status(n *Node, _ api.NoArgs) (any, error) {
	data := n.dataView()
	s := api.Status{Running: n.online, Groups: []api.GroupStatus{}, Saver: n.online && n.cfg.Saver, Data: &data}
	for _, g := range n.sortedGroups() {
		st := g.engine.Status()
		s.Peers += st.Peers
		told := api.GroupStatus{ID: st.ID.String(), Name: st.Name, Members: st.Members, Epoch: st.Epoch, Unsent: st.Unsent,
			Missing: st.Missing}
		g.standing(&told)
		if n.online {
			told.Carriers = g.carrierStatus()
		}
		s.Groups = append(s.Groups, told)
	}
	return s, nil
}
