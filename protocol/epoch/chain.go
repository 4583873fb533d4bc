package epoch

import (
	"encoding/binary"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

// MaxGenerations is the number of messages that a device can send in one epoch.
const MaxGenerations = 4_096

// messageKey seals one message.
type messageKey struct {
	key   [32]byte
	nonce [12]byte
}

// chain is the ratchet of one device in one epoch (RFC 9420 section 9.1). All
// keys that were passed over are kept until the epoch is erased: dropping them
// would lose messages that come late.
type chain struct {
	next    uint32   // generation of secret; MaxGenerations when used up
	secret  [32]byte // zero when used up
	skipped map[uint32]messageKey
}

// slotOf is the place of a device in the tree: the first 64 bits of
// Ref("Slot", epoch id || device id).
func slotOf(e protocol.EpochID, d identity.DeviceID) uint64 {
	ref := label.Ref(label.Slot, append(e[:], d[:]...))
	return binary.BigEndian.Uint64(ref[:8])
}

// newChain starts the chain of a device from its leaf. The device id is mixed
// in so that two devices on one slot do not share keys.
func newChain(expand expander, leaf [32]byte, d identity.DeviceID) *chain {
	s := expand(leaf[:], label.Sender, d[:], 32)
	return &chain{secret: [32]byte(expand(s, label.Application, nil, 32))}
}

func ratchet(expand expander, secret [32]byte, g uint32) (messageKey, [32]byte) {
	at := binary.BigEndian.AppendUint32(nil, g)
	return messageKey{
			key:   [32]byte(expand(secret[:], label.Key, at, 32)),
			nonce: [12]byte(expand(secret[:], label.Nonce, at, 12)),
		},
		[32]byte(expand(secret[:], label.Secret, at, 32))
}

// key gives the key of generation g and changes nothing.
func (c *chain) key(expand expander, g uint32) (messageKey, error) {
	if g >= MaxGenerations {
		return messageKey{}, ErrMessage
	}
	if g < c.next {
		k, ok := c.skipped[g]
		if !ok {
			return messageKey{}, ErrReplay
		}
		return k, nil
	}
	s := c.secret
	for at := c.next; at < g; at++ {
		s = [32]byte(expand(s[:], label.Secret, binary.BigEndian.AppendUint32(nil, at), 32))
	}
	k, _ := ratchet(expand, s, g)
	return k, nil
}

// use erases the key of generation g and keeps those that it passes over.
func (c *chain) use(expand expander, g uint32) error {
	if g >= MaxGenerations {
		return ErrMessage
	}
	if g < c.next {
		if _, ok := c.skipped[g]; !ok {
			return ErrReplay
		}
		delete(c.skipped, g)
		return nil
	}
	for c.next <= g {
		k, secret := ratchet(expand, c.secret, c.next)
		if c.next < g {
			if c.skipped == nil {
				c.skipped = map[uint32]messageKey{}
			}
			c.skipped[c.next] = k
		}
		c.next, c.secret = c.next+1, secret
	}
	if c.next == MaxGenerations {
		c.secret = [32]byte{}
	}
	return nil
}
