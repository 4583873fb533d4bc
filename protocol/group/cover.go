package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// holders lists, sorted, the devices that may hold an epoch with these gov_heads:
// those to which it was to be boxed, and those added since, who got it with their
// Welcome. Of adds without effect those count whose signer was, or is, an
// operating device: nobody else could have handed a Welcome out in good faith, and
// whoever is out of the epoch cannot make it look unsafe by adding.
func (l *Log) holders(heads []protocol.OpID) []identity.DeviceID {
	return l.holdersAt(heads, l.Resolve(), func(int) bool { return true })
}

// holdersAt is holders by the operations that are known, of which now is the roster.
func (l *Log) holdersAt(heads []protocol.OpID, now *Roster, known func(int) bool) []identity.DeviceID {
	then, _ := l.At(heads)
	if then == now {
		return now.Boxed()
	}
	list := slices.Clone(then.Boxed())
	before := l.closure(heads)
	operators := slices.Concat(then.Operators(), now.Operators())
	for i := range l.nodes {
		n := &l.nodes[i]
		if before.has(i) || !known(i) {
			continue
		}
		switch n.payload.(type) {
		case AddMember:
			d := n.cert.Device.ID()
			if slices.Contains(operators, n.frame.Device) || slices.Contains(now.resolver.addsOf[d], i) {
				list = append(list, d)
			}
		case AddDevice:
			d := n.cert.Device.ID()
			if slices.Contains(now.resolver.addsOf[d], i) {
				list = append(list, d)
			}
		}
	}
	slices.SortFunc(list, compareDevices)
	return slices.Compact(list)
}

// Holders returns the devices that may hold an epoch with these gov_heads, sorted
// (spec 40 section 6.8). False: the log lacks a head.
func (l *Log) Holders(heads []protocol.OpID) ([]identity.DeviceID, bool) {
	if !l.hasAll(heads) {
		return nil, false
	}
	return l.holders(heads), true
}

// Adds returns the operations that certify a device, whether they have effect or
// not: an AddMember's newest epochs are those that its signer could hand over.
func (l *Log) Adds(d identity.DeviceID) []Op {
	var out []Op
	for _, c := range l.certs[d] {
		if c.at >= 0 {
			out = append(out, l.nodes[c.at].op)
		}
	}
	return out
}

// Uncovered returns the devices that may hold an epoch with these gov_heads and
// are out by all operations, sorted: who could read, without being in the group,
// what is sent in the epoch. None: the epoch covers every removal known (spec 40
// section 6.8). False: the log lacks a head.
func (l *Log) Uncovered(heads []protocol.OpID) ([]identity.DeviceID, bool) {
	if !l.hasAll(heads) {
		return nil, false
	}
	return without(l.holders(heads), l.Resolve().Boxed()), true
}

// Answers says whether an epoch with these gov_heads does what one with the
// parent's does not: it leaves out a device that is out, or takes in an operating
// device (spec 40 section 6.8). It is judged by the heads and their past alone, so
// what somebody says later changes nothing. False where the log lacks heads, or where
// the parent's are not among these and their past.
func (l *Log) Answers(heads, parent []protocol.OpID) bool {
	if l.LeavesOut(heads, parent) {
		return true
	}
	if !l.coversAll(heads, parent) {
		return false
	}
	mine, _ := l.At(heads)
	before, _ := l.At(parent)
	return len(without(mine.Operators(), before.Operators())) > 0
}

// LeavesOut says whether an epoch with these gov_heads has no box for a device that
// may hold one with the parent's: whether it covers a removal, or a suspension, that
// the parent does not (spec 40 section 6.8). It is judged as by Answers.
func (l *Log) LeavesOut(heads, parent []protocol.OpID) bool {
	if !l.coversAll(heads, parent) {
		return false
	}
	mine, _ := l.At(heads)
	return len(without(l.holdersAt(parent, mine, l.closure(heads).has), mine.Boxed())) > 0
}

// coversAll says whether operations are all among the heads and their past.
func (l *Log) coversAll(heads, ops []protocol.OpID) bool {
	if !l.hasAll(heads) || !l.hasAll(ops) {
		return false
	}
	past := l.closure(heads)
	return !slices.ContainsFunc(ops, func(id protocol.OpID) bool { return !past.has(l.index[id]) })
}

// without returns what of sorted a is not in sorted b.
func without(a, b []identity.DeviceID) []identity.DeviceID {
	var out []identity.DeviceID
	for _, d := range a {
		if _, in := slices.BinarySearchFunc(b, d, compareDevices); !in {
			out = append(out, d)
		}
	}
	return out
}

// IssuedEpoch is what authority asks of an epoch.
type IssuedEpoch struct {
	ID       protocol.EpochID
	Issuer   identity.MemberID
	Device   identity.DeviceID
	ByAuthor bool // issued by somebody who may post, not as an organiser
	GovHeads []protocol.OpID
	// In says whether the epoch is the given one or among its ancestors.
	In func(head protocol.EpochID) bool
}

// EpochVoid says whether an epoch may not be chosen for sending because its
// issuer had not, or lost, the right: it is judged like an operation of its
// issuer that had seen its gov_heads (spec 40 section 6.8). It stays readable.
// Heads that the log lacks give true.
func (l *Log) EpochVoid(e IssuedEpoch) bool {
	if !l.hasAll(e.GovHeads) {
		return true
	}
	a := l.Resolve().resolver.auth
	saw := l.closure(e.GovHeads)
	o := deed{
		id: protocol.ItemID(e.ID), member: e.Issuer, device: e.Device, saw: saw.has,
		seenBy: func(op int) bool { return slices.ContainsFunc(l.nodes[op].op.EpochHeads, e.In) },
	}
	if !e.ByAuthor {
		return !a.valid(o)
	}
	then, _ := l.At(e.GovHeads)
	m, ok := then.MemberOfDevice(e.Device)
	return a.repudiated[o.id] || a.stopped(o) || !ok || m.ID != e.Issuer || !then.MayPost(m.ID)
}
