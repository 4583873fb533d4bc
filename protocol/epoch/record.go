package epoch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Sizes of records in bytes. The base grows by at most 2 KiB for each device
// that has sent.
const (
	MaxBaseRecord  = 512 + protocol.MaxDevices*(8+treeDepth*32)
	MaxChainRecord = 160 + MaxGenerations*skippedSize
	MaxExport      = MaxBaseRecord + protocol.MaxDevices*160 + 16

	skippedSize = 4 + 32 + 12 // generation, key, nonce
)

type baseRecord struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Epoch      protocol.EpochID
	Net        [32]byte
	SenderData [32]byte
	Pad        [32]byte
	Confirm    [32]byte
	Org        []byte // 32 or empty
	Taken      []byte // slots in ascending order, 8 bytes each
	Nodes      []byte // secrets of the frontier from left to right, 32 bytes each
}

type chainRecord struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Epoch   protocol.EpochID
	Device  identity.DeviceID
	Next    uint32
	Secret  [32]byte
	Skipped []byte // in ascending order, skippedSize bytes each
}

type exportRecord struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Base    []byte
	Chains  [][]byte // in ascending order of device
}

// MarshalBase returns the record of all but the chains. It changes with the
// first message of each device. For the sealed store only.
func (k *Keys) MarshalBase() []byte { return k.base(k.hasOrg) }

func (k *Keys) base(withOrg bool) []byte {
	r := baseRecord{
		Version: protocol.Version, Epoch: k.epoch, Net: k.net.Seed(),
		SenderData: k.senderData, Pad: k.pad, Confirm: k.confirm,
	}
	if withOrg {
		r.Org = k.org[:]
	}
	for _, s := range k.tree.taken {
		r.Taken = binary.BigEndian.AppendUint64(r.Taken, s)
	}
	for _, n := range frontier(treeDepth, k.tree.taken) {
		secret := k.tree.nodes[n]
		r.Nodes = append(r.Nodes, secret[:]...)
	}
	return wire.Marshal(r)
}

// ParseKeys reads a base record; the chains follow by AddChain. The error wraps
// ErrRecord and repeats nothing of the record.
func ParseKeys(b []byte) (*Keys, error) {
	var r baseRecord
	if err := wire.Unmarshal(b, MaxBaseRecord, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if r.Version != protocol.Version || (len(r.Org) != 0 && len(r.Org) != 32) ||
		len(r.Taken)%8 != 0 || len(r.Taken)/8 > protocol.MaxDevices || len(r.Nodes)%32 != 0 {
		return nil, ErrRecord
	}
	k := &Keys{
		epoch: r.Epoch, net: NetKeyFromBytes(r.Net),
		senderData: r.SenderData, pad: r.Pad, confirm: r.Confirm,
		tree:   &tree{expand: label.Expand, depth: treeDepth, nodes: map[node][32]byte{}},
		chains: map[identity.DeviceID]*chain{},
	}
	if len(r.Org) == 32 {
		k.org, k.hasOrg = [32]byte(r.Org), true
	}
	for s := range slices.Chunk(r.Taken, 8) {
		slot := binary.BigEndian.Uint64(s)
		if n := len(k.tree.taken); n > 0 && k.tree.taken[n-1] >= slot {
			return nil, ErrRecord
		}
		k.tree.taken = append(k.tree.taken, slot)
	}
	nodes := frontier(treeDepth, k.tree.taken)
	if len(nodes)*32 != len(r.Nodes) {
		return nil, ErrRecord
	}
	for i, n := range nodes {
		k.tree.nodes[n] = [32]byte(r.Nodes[i*32:])
	}
	return k, nil
}

// MarshalChain returns the record of one device's chain, false if it has none.
// For the sealed store only.
func (k *Keys) MarshalChain(d identity.DeviceID) ([]byte, bool) {
	c := k.chains[d]
	if c == nil {
		return nil, false
	}
	return k.marshalChain(d, c, true), true
}

func (k *Keys) marshalChain(d identity.DeviceID, c *chain, skipped bool) []byte {
	r := chainRecord{Version: protocol.Version, Epoch: k.epoch, Device: d, Next: c.next, Secret: c.secret}
	if skipped {
		for _, g := range slices.Sorted(maps.Keys(c.skipped)) {
			m := c.skipped[g]
			r.Skipped = binary.BigEndian.AppendUint32(r.Skipped, g)
			r.Skipped = append(r.Skipped, m.key[:]...)
			r.Skipped = append(r.Skipped, m.nonce[:]...)
		}
	}
	return wire.Marshal(r)
}

// AddChain reads a chain record of this epoch into the keys, in place of the
// chain that the device has. The error wraps ErrRecord, and nothing changed.
func (k *Keys) AddChain(b []byte) error {
	d, c, err := k.parseChain(b)
	if err != nil {
		return err
	}
	k.chains[d] = c
	return nil
}

func (k *Keys) parseChain(b []byte) (identity.DeviceID, *chain, error) {
	var r chainRecord
	if err := wire.Unmarshal(b, MaxChainRecord, &r); err != nil {
		return identity.DeviceID{}, nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	_, taken := slices.BinarySearch(k.tree.taken, slotOf(k.epoch, r.Device))
	if r.Version != protocol.Version || r.Epoch != k.epoch || !taken ||
		r.Next == 0 || r.Next > MaxGenerations ||
		(r.Next == MaxGenerations) != (r.Secret == [32]byte{}) || len(r.Skipped)%skippedSize != 0 {
		return identity.DeviceID{}, nil, ErrRecord
	}
	c := &chain{next: r.Next, secret: r.Secret}
	last := int64(-1)
	for s := range slices.Chunk(r.Skipped, skippedSize) {
		g := binary.BigEndian.Uint32(s)
		if int64(g) <= last || g >= r.Next {
			return identity.DeviceID{}, nil, ErrRecord
		}
		if c.skipped == nil {
			c.skipped = map[uint32]messageKey{}
		}
		c.skipped[g] = messageKey{key: [32]byte(s[4:36]), nonce: [12]byte(s[36:])}
		last = int64(g)
	}
	return r.Device, c, nil
}

// Export returns the keys for a Welcome: tree and chain heads, without the keys
// that were passed over, so that a new member gets none for what its adder had
// read or skipped. The organisers' secret goes along only if operator says that
// the receiver is an operating device of an organiser.
func (k *Keys) Export(operator bool) ([]byte, error) {
	if len(k.chains) != len(k.tree.taken) {
		return nil, errors.New("not all chains of the epoch are loaded")
	}
	r := exportRecord{Version: protocol.Version, Base: k.base(operator && k.hasOrg)}
	devices := slices.SortedFunc(maps.Keys(k.chains), func(a, b identity.DeviceID) int {
		return bytes.Compare(a[:], b[:])
	})
	for _, d := range devices {
		r.Chains = append(r.Chains, k.marshalChain(d, k.chains[d], false))
	}
	return wire.Marshal(r), nil
}

// ParseExport reads what Export wrote. The caller asks Header.Confirm whether it
// belongs to the epoch. The error wraps ErrRecord.
func ParseExport(b []byte) (*Keys, error) {
	var r exportRecord
	if err := wire.Unmarshal(b, MaxExport, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if r.Version != protocol.Version || len(r.Chains) > protocol.MaxDevices {
		return nil, ErrRecord
	}
	k, err := ParseKeys(r.Base)
	if err != nil {
		return nil, err
	}
	var last identity.DeviceID
	for i, b := range r.Chains {
		d, c, err := k.parseChain(b)
		if err != nil {
			return nil, err
		}
		if (i > 0 && bytes.Compare(last[:], d[:]) >= 0) || len(c.skipped) != 0 {
			return nil, ErrRecord
		}
		k.chains[d], last = c, d
	}
	if len(k.chains) != len(k.tree.taken) {
		return nil, ErrRecord
	}
	return k, nil
}
