package group

import (
	"errors"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// ErrSigner says that no certificate for the signing device and member is in
// the operation's past, or that the signature does not hold.
var ErrSigner = fmt.Errorf("%w: not signed by a device certified in its past", ErrOp)

// Outcome is what became of a frame that was not refused.
type Outcome uint8

// What became of a frame.
const (
	Added     Outcome = iota + 1 // new, and everything that it builds on is there
	Duplicate                    // known already; nothing changed
	Held                         // kept aside until what it builds on arrives
)

// Result is the outcome of Log.Add.
type Result struct {
	Outcome Outcome
	// Added holds the operation and those that it released, in causal order.
	Added []protocol.OpID
}

// Log is the set of operations of one group. It is owned by one goroutine.
type Log struct {
	genesis Genesis
	id      protocol.GroupID
	first   map[identity.MemberID]founder // who founded the group
	nodes   []node
	index   map[protocol.OpID]int
	heads   map[int]bool
	certs   map[identity.DeviceID][]certified
	byPlace map[place][]int              // by device and seq
	newest  map[identity.DeviceID]uint64 // highest seq
	held    holding
	rosters rosterCache
}

// node is one operation whose parents are all in the log.
type node struct {
	id      protocol.OpID
	frame   protocol.Frame
	op      Op
	payload Payload // nil: without effect
	cert    identity.DeviceCert
	past    set // strict causal past
	size    int // of past
}

// certified is a certificate and the operation that brought it, -1 for the Genesis.
type certified struct {
	at     int
	member identity.MemberPublic
	key    identity.DevicePublic
}

// founder is an organiser of the Genesis and the certified device.
type founder struct {
	Founding
	device identity.DeviceID
}

type place struct {
	device identity.DeviceID
	seq    uint64
}

// NewLog starts the log of a group.
func NewLog(g Genesis) *Log {
	l := &Log{
		genesis: g, id: g.ID(), first: map[identity.MemberID]founder{},
		index: map[protocol.OpID]int{}, heads: map[int]bool{},
		certs: map[identity.DeviceID][]certified{}, byPlace: map[place][]int{},
		newest: map[identity.DeviceID]uint64{}, held: newHolding(),
	}
	for _, o := range g.Organisers {
		l.certify(-1, o.Cert)
		l.first[o.Cert.Member.ID()] = founder{o, o.Cert.Device.ID()}
	}
	return l
}

// Genesis returns what founded the group.
func (l *Log) Genesis() Genesis { return l.genesis }

// Len returns the number of operations, held ones not counted.
func (l *Log) Len() int { return len(l.nodes) }

// Add takes an op frame. An error that wraps ErrOp is final; ErrHeldFull says
// that the frame may be offered again once more of the graph is there. The log
// keeps f with its body, which must not be changed afterwards.
func (l *Log) Add(f protocol.Frame) (Result, error) {
	n := node{frame: f, id: protocol.OpID(f.ID(l.id))}
	if l.Has(n.id) { // the id binds kind and body, so nothing is left to check
		return Result{Outcome: Duplicate}, nil
	}
	var err error
	if n.op, n.payload, n.cert, err = parseOp(f, l.id); err != nil {
		return Result{}, err
	}
	if missing := l.missingOf(n.op); len(missing) > 0 {
		return l.hold(n, missing)
	}
	if err := l.link(&n); err != nil {
		return Result{}, err
	}
	return Result{Outcome: Added, Added: l.insert(n)}, nil
}

// missingOf lists what op builds on that the log lacks.
func (l *Log) missingOf(op Op) []protocol.OpID {
	var out []protocol.OpID
	for _, p := range op.Parents {
		if _, ok := l.index[p]; !ok {
			out = append(out, p)
		}
	}
	if _, ok := l.index[op.PrevOwn]; !ok && op.Seq > 1 && !slices.Contains(out, op.PrevOwn) {
		out = append(out, op.PrevOwn)
	}
	return out
}

// link checks all that depends on what came before and fills in the past.
func (l *Log) link(n *node) error {
	if n.op.Seq > 1 {
		prev := &l.nodes[l.index[n.op.PrevOwn]]
		if prev.frame.Device != n.frame.Device || prev.op.Seq+1 != n.op.Seq {
			return fmt.Errorf("%w: does not follow the device's previous one", ErrOp)
		}
	}
	n.past = l.closure(n.op.Parents)
	n.size = n.past.count()
	if err := l.checkSigner(n); err != nil {
		return err
	}
	if !l.fits(n) {
		n.payload = nil
	}
	return nil
}

// checkSigner verifies the frame with a certificate of its past. The past is
// fixed by the parents, so the answer is the same for ever and everywhere.
func (l *Log) checkSigner(n *node) error {
	var tried []identity.DevicePublic
	for _, c := range l.certs[n.frame.Device] {
		if c.at >= 0 && !n.past.has(c.at) || c.member.ID() != n.op.Member || slices.Contains(tried, c.key) {
			continue
		}
		if n.frame.Verify(l.id, c.key) {
			return nil
		}
		tried = append(tried, c.key)
	}
	return ErrSigner
}

// insert adds a checked node and whatever it releases, and returns the new ids.
func (l *Log) insert(n node) []protocol.OpID {
	var added []protocol.OpID
	for queue := []node{n}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		if _, ok := l.index[n.id]; ok {
			continue // one operation was held with two signatures
		}
		i := len(l.nodes)
		l.nodes = append(l.nodes, n)
		l.index[n.id] = i
		for _, p := range n.op.Parents {
			delete(l.heads, l.index[p])
		}
		l.heads[i] = true
		at := place{n.frame.Device, n.op.Seq}
		l.byPlace[at] = append(l.byPlace[at], i)
		l.newest[at.device] = max(l.newest[at.device], at.seq)
		switch n.payload.(type) {
		case AddMember, AddDevice:
			l.certify(i, n.cert)
		}
		l.rosters.now = nil
		added = append(added, n.id)
		for _, w := range l.held.release(n.id) {
			if len(l.missingOf(w.op)) > 0 {
				continue
			}
			l.held.drop(w)
			// One that does not hold is gone without a word: whoever offers it
			// again is told.
			if l.link(&w) == nil {
				queue = append(queue, w)
			}
		}
	}
	return added
}

func (l *Log) certify(at int, c identity.DeviceCert) {
	d := c.Device.ID()
	l.certs[d] = append(l.certs[d], certified{at: at, member: c.Member, key: c.Device})
}

// DeviceKey returns the key certified for a device by the Genesis or by any
// AddMember or AddDevice of the log, whether it has effect or not. It is for checking
// signatures: the roster says what the device may do.
func (l *Log) DeviceKey(d identity.DeviceID) (identity.DevicePublic, bool) {
	if list := l.certs[d]; len(list) > 0 {
		return list[0].key, true
	}
	return identity.DevicePublic{}, false
}

// hold keeps n until the missing operations arrive.
func (l *Log) hold(n node, missing []protocol.OpID) (Result, error) {
	known := false
	if list := l.certs[n.frame.Device]; len(list) > 0 {
		known = slices.ContainsFunc(list, func(c certified) bool { return n.frame.Verify(l.id, c.key) })
		if !known {
			return Result{}, ErrSigner
		}
	}
	return l.held.put(n, missing, known)
}

// ErrHeldFull says that too many operations wait for others; nothing changed.
var ErrHeldFull = errors.New("too many operations wait for others")
