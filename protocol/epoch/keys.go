package epoch

import (
	"bytes"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

// Keys are the secrets of one epoch as a device holds them: what followed from
// the epoch secret, which itself is gone. They change when messages are sealed
// or committed. Not safe for concurrent use.
type Keys struct {
	hidden
	epoch      protocol.EpochID
	net        NetKey
	senderData [32]byte
	pad        [32]byte
	confirm    [32]byte
	org        [32]byte
	hasOrg     bool
	tree       *tree
	chains     map[identity.DeviceID]*chain
}

// newKeys is the key schedule (spec 30 section 3). org is nil without the
// organisers' secret.
func newKeys(e protocol.EpochID, secret [32]byte, org *[32]byte) *Keys {
	k := &Keys{
		epoch:      e,
		net:        NetKeyFromBytes(label.Derive(secret[:], label.Net)),
		senderData: label.Derive(secret[:], label.SenderData),
		pad:        label.Derive(secret[:], label.Pad),
		confirm:    label.Derive(secret[:], label.Confirm),
		tree:       newTree(label.Expand, treeDepth, label.Derive(secret[:], label.Encryption)),
		chains:     map[identity.DeviceID]*chain{},
	}
	if org != nil {
		k.org, k.hasOrg = *org, true
	}
	return k
}

// Epoch returns the id of the epoch.
func (k *Keys) Epoch() protocol.EpochID { return k.epoch }

// Net returns the net key.
func (k *Keys) Net() NetKey { return k.net }

// Organiser says whether the organisers' secret is held.
func (k *Keys) Organiser() bool { return k.hasOrg }

// Inbox returns the private keys of the organisers' inbox: the one that opens
// what is sealed to it, and the one that reads its mailboxes. False without the
// organisers' secret.
func (k *Keys) Inbox() (KEMPrivate, MailKey, bool) {
	if !k.hasOrg {
		return KEMPrivate{}, MailKey{}, false
	}
	open, read := inboxKeys(k.org)
	return open, read, true
}

// HasChain says whether a message of the device was sealed or committed. The
// first one changes the base record as well as the chain's.
func (k *Keys) HasChain(d identity.DeviceID) bool { return k.chains[d] != nil }

// Senders lists, in ascending order, the devices that have a chain.
func (k *Keys) Senders() []identity.DeviceID {
	return slices.SortedFunc(maps.Keys(k.chains), func(a, b identity.DeviceID) int { return bytes.Compare(a[:], b[:]) })
}

// Sent returns how many generations of the device are used or passed over, of
// MaxGenerations.
func (k *Keys) Sent(d identity.DeviceID) uint32 {
	if c := k.chains[d]; c != nil {
		return c.next
	}
	return 0
}

// chain returns the chain of a device, and whether it is already in k. A new
// one is not added and the tree not changed.
func (k *Keys) chain(d identity.DeviceID) (c *chain, held bool, err error) {
	if c := k.chains[d]; c != nil {
		return c, true, nil
	}
	leaf, ok := k.tree.leaf(slotOf(k.epoch, d))
	if !ok {
		return nil, false, ErrSlot
	}
	return newChain(label.Expand, leaf, d), false, nil
}

// use erases the key of a generation, and starts the chain where it is new.
func (k *Keys) use(d identity.DeviceID, g uint32) error {
	c, held, err := k.chain(d)
	if err != nil {
		return err
	}
	if err := c.use(label.Expand, g); err != nil {
		return err
	}
	if !held {
		k.tree.puncture(slotOf(k.epoch, d))
		k.chains[d] = c
	}
	return nil
}
