package engine

import (
	"fmt"
	"io"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// CreateParams says what a new group is.
type CreateParams struct {
	GroupName string
	Name      string // the founder's pseudonym in the group
	Policy    group.Policy
}

// Create founds a group with this device's member as its only organiser. The
// storage for it is asked of open once the group's id is known.
func Create(cfg Config, now Time, p CreateParams, open func(protocol.GroupID) Storage) (*Engine, error) {
	if err := feed.CheckName(p.GroupName); err != nil {
		return nil, err
	}
	if err := feed.CheckName(p.Name); err != nil {
		return nil, err
	}
	e := newEngine(cfg, protocol.GroupID{}, now)
	if err := e.newSelf(p.Name); err != nil {
		return nil, err
	}
	kem, err := newKEM(cfg.Random, 0)
	if err != nil {
		return nil, err
	}
	genesis, err := group.NewGenesis(cfg.Random, []group.Founder{{Member: e.self.member, Device: e.self.device,
		KEM: kem.kem.Public(), Lane: kem.lane.Public()}}, group.RecoveryPublic{}, p.Policy)
	if err != nil {
		return nil, err
	}
	e.id = genesis.ID()
	kem.frame = protocol.ItemID(e.id) // what the first key update builds on
	e.cfg.Storage = open(e.id)
	e.setLog(group.NewLog(genesis), genesis.Marshal())
	e.private = append(e.private, kem)
	e.putKEM(&kem)
	e.version++
	if _, err := e.issue(); err != nil {
		return nil, err
	}
	if err := e.settle(); err != nil {
		return nil, err
	}
	card, err := e.feed.NewGroupCard(p.GroupName, now.Unix())
	if err != nil {
		return nil, err
	}
	profile, err := e.feed.NewProfile(e.self.memberID, p.Name, now.Unix())
	if err != nil {
		return nil, err
	}
	for _, d := range []feed.Draft{card, profile} {
		if _, sent, err := e.write(d); err != nil || !sent {
			return nil, fmt.Errorf("engine: a new group cannot be written to: %w", err)
		}
	}
	return e, e.settle()
}

func newEngine(cfg Config, id protocol.GroupID, now Time) *Engine {
	return &Engine{cfg: cfg, id: id, now: now, feed: feed.New(), shredded: now.Day(),
		epochs: map[protocol.EpochID]*epochState{}, mailboxes: map[protocol.MailboxID]place{},
		held: newEnvelopes(), items: map[protocol.ContentID]*item{},
		amended: map[protocol.ContentID]bool{}, late: map[protocol.ContentID]lateItem{}, chains: map[identity.DeviceID]*chain{},
		twice:   map[identity.DeviceID]protocol.Day{},
		waiting: map[protocol.EnvelopeID]int{}, shares: map[share]int{}, charged: map[share]bool{}, invites: map[protocol.InviteID]*invite{},
		requests: map[requestID]*request{}, rescue: map[protocol.MailboxID][][]byte{},
		peers: map[Peer]*peer{}, ferries: map[Peer]*ferryLink{}, carriers: map[string]*carrier{}, wants: map[protocol.EnvelopeID]*want{}, refused: map[protocol.EnvelopeID]bool{}, closed: map[protocol.EnvelopeID]entry{},
		seeds: map[identity.DeviceID][]*seed{}, rescued: map[identity.DeviceID]rescued{}, unsentOf: map[protocol.EnvelopeID]untaken{}, seedsFor: seedWatch{operated: true},
		senders: map[senderKey]bool{}, authority: authority{decided: map[protocol.OpID]Time{}}, pages: newPages()}
}

// newSelf draws the keys of this device's member in the group.
func (e *Engine) newSelf(name string) error {
	m, err := identity.NewMemberKey(e.cfg.Random)
	if err != nil {
		return err
	}
	d, err := identity.NewDeviceKey(e.cfg.Random)
	if err != nil {
		return err
	}
	var rescue [32]byte
	if _, err := io.ReadFull(e.cfg.Random, rescue[:]); err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	e.setSelf(m, d, rescue, name)
	e.putSelf()
	return nil
}

// setLog takes the authority of the group into use.
func (e *Engine) setLog(log *group.Log, genesis []byte) {
	e.log, e.genesis = log, genesis
	e.ring = group.NewKeyRing(log.Genesis())
	e.put(tableMeta, keyGenesis, genesis, 0)
}
