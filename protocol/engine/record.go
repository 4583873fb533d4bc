package engine

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// chainState is where this device's own chains stand.
type chainState struct {
	_        struct{} `cbor:",toarray"`
	Seq      uint64   // of its messages
	Last     protocol.ContentID
	EpochSeq uint64 // of its headers
}

// selfRecord is the stored form of self.
type selfRecord struct {
	_      struct{} `cbor:",toarray"`
	Member [32]byte
	Device [32]byte
	Rescue [32]byte
	Name   string
}

func (e *Engine) putChainState() { e.put(tableMeta, keyChain, wire.Marshal(e.self.state), 0) }

func (e *Engine) putSelf() {
	e.put(tableMeta, keySelf, wire.Marshal(selfRecord{Member: e.self.member.Seed(), Device: e.self.device.Seed(),
		Rescue: e.self.rescue, Name: e.self.name}), 0)
}

func (e *Engine) loadSelf(value []byte) error {
	var r selfRecord
	if err := wire.Unmarshal(value, 1024, &r); err != nil {
		return err
	}
	e.setSelf(identity.MemberKeyFromSeed(r.Member), identity.DeviceKeyFromSeed(r.Device), r.Rescue, r.Name)
	return nil
}

func (e *Engine) setSelf(m identity.MemberKey, d identity.DeviceKey, rescue [32]byte, name string) {
	e.self = self{member: m, device: d, memberID: m.Public().ID(), deviceID: d.Public().ID(), rescue: rescue, name: name}
}

// senderKey names the chain of one sender in one epoch.
type senderKey struct {
	epoch  protocol.EpochID
	device identity.DeviceID
}

// dirty notes that a sender's chain changed: it is stored once with the Ready,
// however many messages moved it.
func (e *Engine) dirty(id protocol.EpochID, d identity.DeviceID) {
	e.senders[senderKey{id, d}] = true
}

func (e *Engine) storeSenders() {
	if len(e.senders) == 0 {
		return
	}
	keys := make([]senderKey, 0, len(e.senders))
	for k := range e.senders {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b senderKey) int {
		return bytes.Compare(chainKey(a.epoch, a.device), chainKey(b.epoch, b.device))
	})
	clear(e.senders)
	for _, k := range keys {
		s := e.epochs[k.epoch]
		if s == nil || s.keys == nil {
			continue
		}
		if record, ok := s.keys.MarshalChain(k.device); ok {
			e.put(tableChains, chainKey(k.epoch, k.device), record, 0)
		}
		if n := len(s.keys.Senders()); n != s.stored {
			s.stored = n
			e.put(tableSecrets, s.id(), s.keys.MarshalBase(), 0)
		}
	}
}
