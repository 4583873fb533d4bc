package group

import (
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// ErrUnknownHead says that heads name an operation that the log does not have
// (yet): the question can be asked again once it has.
var ErrUnknownHead = errors.New("heads name an operation that is not held")

// Heads returns the operations that no other names as a parent, sorted. There
// may be more than MaxHeads; NewMerge then brings them down.
func (l *Log) Heads() []protocol.OpID {
	out := make([]protocol.OpID, 0, len(l.heads))
	for i := range l.heads {
		out = append(out, l.nodes[i].id)
	}
	return protocol.SortIDs(out)
}

// Frame returns the frame of an operation. The body is the log's.
func (l *Log) Frame(id protocol.OpID) (protocol.Frame, bool) {
	i, ok := l.index[id]
	if !ok {
		return protocol.Frame{}, false
	}
	return l.nodes[i].frame, true
}

// Op returns an operation and its payload, which is nil for carried kinds.
func (l *Log) Op(id protocol.OpID) (Op, Payload, bool) {
	i, ok := l.index[id]
	if !ok {
		return Op{}, nil, false
	}
	return l.nodes[i].op, l.nodes[i].payload, true
}

// Cert returns the certificate of an AddMember or AddDevice, which was checked when
// the operation was taken. False: the log lacks it, or it adds nobody.
func (l *Log) Cert(id protocol.OpID) (identity.DeviceCert, bool) {
	i, ok := l.index[id]
	if !ok {
		return identity.DeviceCert{}, false
	}
	switch l.nodes[i].payload.(type) {
	case AddMember, AddDevice:
		return l.nodes[i].cert, true
	}
	return identity.DeviceCert{}, false
}

// Frames returns all frames so that each comes after what it builds on: the
// order in which another log takes them without holding any. Bodies are the log's.
func (l *Log) Frames() []protocol.Frame {
	out := make([]protocol.Frame, len(l.nodes))
	for i := range l.nodes {
		out[i] = l.nodes[i].frame
	}
	return out
}

// Between returns, in the order of Frames, the frames of new heads and their
// past that are not among the old heads and theirs. It fails with ErrUnknownHead.
func (l *Log) Between(old, new []protocol.OpID) ([]protocol.Frame, error) {
	if !l.hasAll(old) || !l.hasAll(new) {
		return nil, ErrUnknownHead
	}
	before := l.closure(old)
	var out []protocol.Frame
	l.closure(new).each(func(i int) {
		if !before.has(i) {
			out = append(out, l.nodes[i].frame)
		}
	})
	return out, nil
}

// Covers says whether op is among heads or in their past: whether who named
// these heads had seen it. Heads or an op that the log lacks give false.
func (l *Log) Covers(heads []protocol.OpID, op protocol.OpID) bool {
	i, ok := l.index[op]
	if !ok || !l.hasAll(heads) {
		return false
	}
	for _, h := range heads {
		if at := l.index[h]; at == i || l.nodes[at].past.has(i) {
			return true
		}
	}
	return false
}

// Has says whether the operation is in the log; held ones are not.
func (l *Log) Has(id protocol.OpID) bool {
	_, ok := l.index[id]
	return ok
}

// Equivocation is two operations that one device signed for one place in its
// row: evidence against it, which decides nothing by itself.
type Equivocation struct {
	Device identity.DeviceID
	Seq    uint64
	Frames [2]protocol.Frame // the two with the smallest ids, in that order
}

// Evidence returns every equivocation in the log, by device and seq. A device
// that was restored from a copy equivocates without malice.
func (l *Log) Evidence() []Equivocation {
	var out []Equivocation
	for at, list := range l.byPlace {
		if len(list) < 2 {
			continue
		}
		list = slices.Clone(list)
		slices.SortFunc(list, func(a, b int) int { return compareOps(l.nodes[a].id, l.nodes[b].id) })
		out = append(out, Equivocation{
			Device: at.device, Seq: at.seq,
			Frames: [2]protocol.Frame{l.nodes[list[0]].frame, l.nodes[list[1]].frame},
		})
	}
	slices.SortFunc(out, func(a, b Equivocation) int {
		if c := compareDevices(a.Device, b.Device); c != 0 {
			return c
		}
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	return out
}

func (l *Log) hasAll(ids []protocol.OpID) bool {
	for _, id := range ids {
		if _, ok := l.index[id]; !ok {
			return false
		}
	}
	return true
}

// closure is the given operations, which the log must have, and their pasts.
func (l *Log) closure(ids []protocol.OpID) set {
	var s set
	for _, id := range ids {
		s = union(s, l.nodes[l.index[id]].past)
	}
	for _, id := range ids {
		s = s.with(l.index[id])
	}
	return s
}
