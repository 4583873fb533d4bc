package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/protocol"
)

// Bounds of what one device can make others keep in one epoch, in bytes of whole
// envelopes (spec 65 section 3). Operations, headers and keys never count and are
// never refused for it: a full share must not stand in the way of a removal.
const (
	// maxShare has room for all the messages of a chain in the smallest bucket,
	// and 1 MiB for the rest.
	maxShare = 4_096*protocol.BucketSmall + 1<<20
	// ownShare is where this device stops writing in an epoch. It is lower, so that
	// what it has to say beside messages is not refused by others.
	ownShare = maxShare - 1<<19
	// healShare is where this device asks for the next epoch, before it has to stop.
	healShare = maxShare - 3<<19
	// maxWaitingBytes bounds what is held without being judged.
	maxWaitingBytes = 64 << 20
)

// errShare says that this device has written as much in an epoch as others take.
var errShare = errors.New("this device has written as much as one epoch takes")

// shared says whether envelopes with a frame of the kind count.
func shared(k protocol.FrameKind) bool {
	switch k {
	case protocol.KindOp, protocol.KindEpoch, protocol.KindPage, protocol.KindKeyPackage, protocol.KindKeyUpdate:
		return false
	}
	return true
}

// fits says whether an envelope of size bytes still has room in the share of the
// frame's device. It may be asked before the signature was checked: who forges a
// name is refused, or ignored.
func (e *Engine) fits(id protocol.EpochID, f protocol.Frame, size int) bool {
	return !shared(f.Kind) || e.shares[senderKey{id, f.Device}]+size <= maxShare
}

// charge counts an envelope of a frame whose signature holds.
func (e *Engine) charge(id protocol.EpochID, f protocol.Frame, size int) {
	if shared(f.Kind) {
		k := senderKey{id, f.Device}
		e.shares[k] += size
		e.charged[k] = true
	}
}

// written is what this device has sealed in an epoch so far.
func (e *Engine) written(id protocol.EpochID) int { return e.shares[senderKey{id, e.self.deviceID}] }

// storeShares stores the shares that changed, once with the Ready.
func (e *Engine) storeShares() {
	for _, k := range sortedSenders(maps.Keys(e.charged)) {
		if n, ok := e.shares[k]; ok {
			e.put(tableShares, chainKey(k.epoch, k.device), binary.BigEndian.AppendUint32(nil, uint32(n)), 0)
		}
	}
	clear(e.charged)
}

func (e *Engine) loadShare(key, value []byte) error {
	if len(key) != 48 || len(value) != 4 {
		return errors.New("malformed row of a share")
	}
	e.shares[senderKey{protocol.EpochID(key[:32]), [16]byte(key[32:])}] = int(binary.BigEndian.Uint32(value))
	return nil
}

// dropShares forgets the shares of an epoch that was erased.
func (e *Engine) dropShares(id protocol.EpochID) {
	for _, k := range sortedSenders(maps.Keys(e.shares)) {
		if k.epoch == id {
			delete(e.shares, k)
			e.erase(tableShares, chainKey(k.epoch, k.device))
		}
	}
}

func sortedSenders(keys func(func(senderKey) bool)) []senderKey {
	return slices.SortedFunc(keys, func(a, b senderKey) int {
		return bytes.Compare(chainKey(a.epoch, a.device), chainKey(b.epoch, b.device))
	})
}

// hold keeps an envelope of size bytes for later judgement, if there is room.
func (e *Engine) hold(n entry, size int) bool {
	if len(e.waiting) >= maxWaiting || e.waitingBytes+size > maxWaitingBytes {
		return false
	}
	e.waiting[n.id] = size
	e.waitingBytes += size
	e.put(tableWaiting, n.id[:], binary.BigEndian.AppendUint32(nil, uint32(size)), n.shred)
	return true
}

// unhold takes an envelope out of those that wait.
func (e *Engine) unhold(id protocol.EnvelopeID) {
	e.waitingBytes -= e.waiting[id]
	delete(e.waiting, id)
}

func (e *Engine) loadWaiting(key, value []byte) error {
	if len(key) != 32 || len(value) != 4 {
		return errors.New("malformed row of an envelope that waits")
	}
	size := int(binary.BigEndian.Uint32(value))
	e.waiting[protocol.EnvelopeID(key)] = size
	e.waitingBytes += size
	return nil
}
