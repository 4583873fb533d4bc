package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

// groupRecord is what the profile remembers of a group beside the group's own
// rows (spec 90 section 6).
type groupRecord struct {
	_    struct{}          `cbor:",toarray"`
	Port uint16            // its own
	Link protocol.InviteID // that it was joined by; zero for a group made here
}

// errGroupRows says that the rows of a group do not make a group.
var errGroupRows = errors.New("the rows of a group do not fit together")

// groupState is one group at work. The owner of the engines owns it.
type groupState struct {
	id     protocol.GroupID
	engine *engine.Engine
	record groupRecord
	wake   engine.Time

	gate *engine.Gate // the newest
	host *p2p.Host    // nil: closed
	// hostGeneration tells events of this host from those of its predecessors.
	hostGeneration int
	signer         *signer
	links          map[p2p.LinkID]bool // up
	through        map[p2p.LinkID]bool // of those, the ones that go through a carrier
	listening      []string            // as told to the host
	own            []string            // where the host can be dialled
	told           []string            // what the engine was given of that, and of the place
	reach          reach
	risky          bool        // at high risk, as far as it is looked at
	closing        bool        // the last host still has its sockets
	nearPort       uint16      // where neighbours reach it; 0: none
	reopen         bool        // the host is of the wrong kind now
	renewAt        engine.Time // when it makes way for one with another peer ID

	carriers carriers
	book     book
	poll     poll
	road     road     // of the host that is open
	worked   []string // addresses that worked, newest first

	// After a failure the group is not tried before retryAt; pause grows.
	retryAt, pause engine.Time
	trouble        error // why the host could not be opened last

	joined chan struct{} // closed once this device is in the group
	usedUp chan struct{} // closed once the link that it joins by is known to be used up
	gone   chan struct{} // closed once the group is no longer in the profile
	// leaving is nil unless this person leaves, and closed once somebody knows.
	leaving chan struct{}
}

func (n *Node) engineConfig(id protocol.GroupID) engine.Config {
	return engine.Config{Storage: n.db.Space(store.Space(id)), Random: rand.Reader, Zone: knownZone}
}

// knownZone says whether the zone data holds a zone. "Local" names no place.
func knownZone(name string) bool {
	if name == "" || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

// load reads the profile's own records and opens an engine for each group.
func (n *Node) load() error {
	own := n.db.Space(store.Space{})
	name, err := own.Get(tableProfile, keyName)
	if err != nil {
		return err
	}
	if name == nil {
		return errNoProfile
	}
	n.name = string(name)
	if port, err := own.Get(tableProfile, keyPort); err != nil {
		return err
	} else if port != nil {
		if err := wire.Unmarshal(port, 8, &n.reserved); err != nil {
			return err
		}
	}
	err = own.Scan(tableGiven, nil, func(key, _ []byte) error {
		n.given = append(n.given, string(key))
		return nil
	})
	if err != nil {
		return err
	}
	if err := n.data.load(own); err != nil {
		return err
	}
	records := map[protocol.GroupID]groupRecord{}
	err = own.Scan(tableGroups, nil, func(key, value []byte) error {
		if len(key) != 32 {
			return errors.New("malformed row of a group")
		}
		var r groupRecord
		err := wire.Unmarshal(value, 64, &r)
		records[protocol.GroupID(key)] = r
		return err
	})
	if err != nil {
		return err
	}
	if err := n.dropUnlisted(records); err != nil {
		return err
	}
	for id, r := range records {
		e, err := engine.Load(n.engineConfig(id), id, n.now())
		if err != nil {
			return errors.Join(errGroupRows, err)
		}
		g := n.addGroup(e, r)
		worked, err := own.Get(tableWorked, id[:])
		if err != nil {
			return err
		}
		if worked != nil {
			if err := wire.Unmarshal(worked, 4096, &g.worked); err != nil {
				return err
			}
		}
	}
	// A full disk is no reason not to read what is there.
	n.settle()
	return n.fatal
}

// dropUnlisted erases groups that the profile does not list any more: leaving
// one was cut short.
func (n *Node) dropUnlisted(listed map[protocol.GroupID]groupRecord) error {
	spaces, err := n.db.Spaces()
	if err != nil {
		return err
	}
	for _, s := range spaces {
		if _, ok := listed[protocol.GroupID(s)]; ok || s == (store.Space{}) {
			continue
		}
		if err := n.db.DropSpace(s); err != nil {
			return err
		}
	}
	return nil
}

// addGroup puts an engine to work.
func (n *Node) addGroup(e *engine.Engine, r groupRecord) *groupState {
	g := &groupState{id: e.ID(), engine: e, record: r, links: map[p2p.LinkID]bool{}, through: map[p2p.LinkID]bool{},
		joined: make(chan struct{}), usedUp: make(chan struct{}), gone: make(chan struct{})}
	if e.Joined() {
		close(g.joined)
	}
	n.groups[g.id] = g
	return g
}

// hasJoined tells those who wait for it, once.
func (g *groupState) hasJoined() {
	select {
	case <-g.joined:
	default:
		close(g.joined)
	}
}

func (n *Node) sortedGroups() []*groupState {
	list := make([]*groupState, 0, len(n.groups))
	for _, g := range n.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *groupState) int { return bytes.Compare(a.id[:], b.id[:]) })
	return list
}

// commitOwn makes rows of the profile itself durable.
func (n *Node) commitOwn(b engine.Batch) error { return n.db.Commit(store.Space{}, b) }
