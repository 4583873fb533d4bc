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
// envelopes (spec 65 section 3). Keys, headers and operations have shares of their
// own, with far more room than any honest device needs: a full share must not
// stand in the way of a removal.
const (
	// maxShare has room for all the messages of a chain in the smallest bucket,
	// and 1 MiB for the rest.
	maxShare = 4_096*protocol.BucketSmall + 1<<20
	// maxKeyShare is of KeyPackages and KeyUpdates, of which an epoch sees one or two.
	maxKeyShare = 1 << 20
	// maxHeaderShare is what a lane holds, and the hint copies.
	maxHeaderShare = 2 << 20
	// maxOpShare is of operations, one by one.
	maxOpShare = 32 << 20
	// ownShare is where this device stops writing in an epoch. It is lower, so that
	// what it has to say beside messages is not refused by others.
	ownShare = maxShare - 1<<19
	// healShare is where this device asks for the next epoch, before it has to stop.
	healShare = maxShare - 3<<19
	// maxWaitingBytes bounds what is held without being judged.
	maxWaitingBytes = 64 << 20
	// Of devices that nobody here has let in yet so much is taken in an hour, and
	// held together, of all of them: anybody can invent a device.
	strangersPerHour = 1 << 20
	maxStrangers     = 4 << 20
)

// share is what counts together: a device's envelopes of one kind in an epoch.
type share struct {
	senderKey
	class shareClass
}

type shareClass byte

const (
	shareRest shareClass = iota // messages and all that is not below
	shareKeys
	shareHeaders
	shareOps
)

// classOf says in which share a kind of frame counts, and how much there is of it.
func classOf(k protocol.FrameKind) (shareClass, int) {
	switch k {
	case protocol.KindKeyPackage, protocol.KindKeyUpdate:
		return shareKeys, maxKeyShare
	case protocol.KindEpoch, protocol.KindPage:
		return shareHeaders, maxHeaderShare
	case protocol.KindOp:
		return shareOps, maxOpShare
	}
	return shareRest, maxShare
}

// strangers is what is held of devices that nobody here has let in.
type strangers struct {
	hour  int64
	taken int // bytes in that hour
	held  map[protocol.EnvelopeID]int
	bytes int // of held
}

// hasRoom says whether a stranger's envelope still has room.
func (e *Engine) hasRoom(size int) bool {
	x := &e.strangers
	if hour := e.now.Unix() / 3600; hour != x.hour {
		x.hour, x.taken = hour, 0
	}
	return x.taken+size <= strangersPerHour && x.bytes+size <= maxStrangers
}

func (e *Engine) noteStranger(id protocol.EnvelopeID, size int) {
	x := &e.strangers
	if x.held == nil {
		x.held = map[protocol.EnvelopeID]int{}
	}
	if _, known := x.held[id]; !known {
		x.held[id] = size
		x.bytes += size
	}
}

// errShare says that this device has written as much in an epoch as others take.
var errShare = errors.New("this device has written as much as one epoch takes")

// fits says whether an envelope of size bytes still has room in the share of the
// frame's device. It may be asked before the signature was checked: who forges a
// name is refused, or ignored.
func (e *Engine) fits(id protocol.EpochID, f protocol.Frame, size int) bool {
	class, limit := classOf(f.Kind)
	return e.shares[share{senderKey{id, f.Device}, class}]+size <= limit
}

// charge counts an envelope of a frame whose signature holds.
func (e *Engine) charge(id protocol.EpochID, f protocol.Frame, size int) {
	class, _ := classOf(f.Kind)
	k := share{senderKey{id, f.Device}, class}
	e.shares[k] += size
	e.charged[k] = true
}

// written is what this device has sealed in an epoch so far.
func (e *Engine) written(id protocol.EpochID) int {
	return e.shares[share{senderKey{id, e.self.deviceID}, shareRest}]
}

// storeShares stores the shares that changed, once with the Ready.
func (e *Engine) storeShares() {
	for _, k := range sortedShares(maps.Keys(e.charged)) {
		if n, ok := e.shares[k]; ok {
			e.put(tableShares, k.row(), binary.BigEndian.AppendUint32(nil, uint32(n)), 0)
		}
	}
	clear(e.charged)
}

// row is the key under which a share is stored: a class of its own has one byte more.
func (k share) row() []byte {
	b := chainKey(k.epoch, k.device)
	if k.class != shareRest {
		b = append(b, byte(k.class))
	}
	return b
}

func (e *Engine) loadShare(key, value []byte) error {
	if len(key) != 48 && (len(key) != 49 || key[48] == byte(shareRest) || key[48] > byte(shareOps)) || len(value) != 4 {
		return errors.New("malformed row of a share")
	}
	k := share{senderKey: senderKey{protocol.EpochID(key[:32]), [16]byte(key[32:48])}}
	if len(key) == 49 {
		k.class = shareClass(key[48])
	}
	e.shares[k] = int(binary.BigEndian.Uint32(value))
	return nil
}

// dropShares forgets the shares of an epoch that was erased.
func (e *Engine) dropShares(id protocol.EpochID) {
	for _, k := range sortedShares(maps.Keys(e.shares)) {
		if k.epoch == id {
			delete(e.shares, k)
			e.erase(tableShares, k.row())
		}
	}
}

func sortedShares(keys func(func(share) bool)) []share {
	return slices.SortedFunc(keys, func(a, b share) int { return bytes.Compare(a.row(), b.row()) })
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
	if n, ok := e.strangers.held[id]; ok {
		e.strangers.bytes -= n
		delete(e.strangers.held, id)
	}
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
