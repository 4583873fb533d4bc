package enginetest

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Tables with what a phone signs and opens with (spec 65 section 7).
const (
	rowsOfMeta      = 1
	rowsOfKeyFrames = 3
	rowsOfSecrets   = 5
)

// spare is a second device of somebody, which is in nobody's hand.
type spare struct {
	owner *Node
	key   identity.DeviceKey
	pack  protocol.ItemID
	asked bool // it asked for new keys
}

// own reads the keys that a phone signs with.
func (n *Node) own() (identity.MemberKey, identity.DeviceKey, error) {
	var self struct {
		_                      struct{} `cbor:",toarray"`
		Member, Device, Rescue [32]byte
		Name                   string
	}
	err := wire.Unmarshal(n.Store.rows[rowsOfMeta]["self"].value, 1024, &self)
	return identity.MemberKeyFromSeed(self.Member), identity.DeviceKeyFromSeed(self.Device), err
}

// log is the authority of a node as its storage has it.
func (n *Node) log() (*group.Log, error) {
	g, err := group.ParseGenesis(n.Store.rows[rowsOfMeta]["genesis"].value)
	if err != nil {
		return nil, err
	}
	l := group.NewLog(g)
	for range 2 {
		err = n.Store.Scan(tableOfOperations, nil, func(_, v []byte) error {
			f, err := protocol.ParseFrame(v)
			if err == nil {
				_, err = l.Add(f)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// newestKeys are those under which a node meets others.
func (n *Node) newestKeys() (*epoch.Keys, error) {
	for _, k := range n.Store.keys(rowsOfSecrets) {
		keys, err := epoch.ParseKeys(bytes.Clone(n.Store.rows[rowsOfSecrets][k].value))
		if err != nil {
			return nil, err
		}
		if len(n.gate.Accept) > 0 && keys.Epoch() == protocol.EpochID(n.gate.Accept[0].Tag) {
			return keys, nil
		}
	}
	return nil, errNoOne
}

// hand gives a node frames on a link of its own, in the mailbox of the day.
func (n *Node) hand(frames ...protocol.Frame) error {
	keys, err := n.newestKeys()
	if err != nil {
		return err
	}
	n.w.hands++
	peer := engine.Peer(1<<41 + n.w.hands)
	n.step(engine.PeerUp{Peer: peer, Class: engine.ClassMember, Tag: keys.Epoch()})
	for _, f := range frames {
		envelope, err := epoch.CommonMailbox(keys.Net(), n.Now().Day()).Seal(f.Marshal())
		if err != nil {
			return err
		}
		n.step(engine.Received{Peer: peer, Data: append([]byte{1}, wire.Marshal([]protocol.EnvelopeID{protocol.IDOf(envelope)})...)})
		n.step(engine.Received{Peer: peer, Data: append([]byte{messageGive}, envelope...)})
	}
	n.step(engine.PeerDown{Peer: peer})
	return nil
}

// addSpare lets x add a device, which n is told first. Nil: it did not come to it.
func (w *World) addSpare(n, x *Node) (*spare, error) {
	if !n.live() || !x.live() || n.joined == 0 || x.joined == 0 || n.waits() || x.Engine.Frozen() {
		return nil, nil
	}
	l, err := x.log()
	if err != nil || !l.Resolve().IsMember(x.member) {
		return nil, err
	}
	member, device, err := x.own()
	if err != nil {
		return nil, err
	}
	w.hands++
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], w.hands)
	s := &spare{owner: x, key: identity.DeviceKeyFromSeed(seed)}
	cert := identity.Certify(x.id, member, s.key)
	kem, err := epoch.NewKEMPrivate(x.random)
	if err != nil {
		return nil, err
	}
	pack := group.NewKeyPackage(x.id, s.key, group.KeyPackage{Cert: cert, KEM: kem.Public(),
		Lane: epoch.MailKeyFromSeed(seed).Public(), Expires: x.Now().Unix() + protocol.DaySeconds})
	s.pack = pack.ID(x.id)
	op, err := l.NewOp(device, x.member, group.AddDevice{Cert: cert.Marshal(), KeyPackage: s.pack}, nil, x.Now().Unix())
	if err != nil {
		return nil, err
	}
	id := op.ID(x.id)
	if err := n.hand(pack, op); err != nil && !errors.Is(err, errNoOne) {
		return nil, err
	}
	if row, err := n.Store.Get(tableOfOperations, id[:]); row == nil {
		return nil, err // it died before it had it, or lacks what it builds on
	}
	// x's phone has it, or would take it for the work of a copy.
	x.Stop()
	x.Store.Commit(engine.Batch{Puts: []engine.Record{{Table: tableOfOperations, Key: id[:], Value: op.Marshal()},
		{Table: rowsOfKeyFrames, Key: s.pack[:], Value: pack.Marshal()}}})
	return s, x.Start()
}

// askForKeys has a spare device ask n for the next epoch.
func (w *World) askForKeys(n *Node, s *spare) error {
	kem, err := epoch.NewKEMPrivate(n.random)
	if err != nil {
		return err
	}
	u := group.NewKeyUpdate(n.id, s.key, group.KeyUpdate{Counter: 1, Prev: s.pack, KEM: kem.Public(),
		Lane: epoch.MailKeyFromSeed([32]byte(s.key.Seed())).Public(), Heal: true})
	if err := n.hand(u); err != nil {
		return err
	}
	id := u.ID(n.id)
	row, err := n.Store.Get(rowsOfKeyFrames, id[:])
	s.asked = row != nil
	return err
}
