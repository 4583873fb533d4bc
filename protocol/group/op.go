package group

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// ErrOp is wrapped by every error about an operation that can never hold.
var ErrOp = errors.New("operation does not hold")

// Op is the body of an op frame (spec 40 section 3).
type Op struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Kind       OpKind
	Member     identity.MemberID  // whose device signs
	Seq        uint64             // 1 for the device's first op, then one more than PrevOwn's
	PrevOwn    protocol.OpID      // the device's previous op, zero for the first; not causal
	Parents    []protocol.OpID    // sorted, at most MaxParents; none: only the Genesis was seen
	EpochHeads []protocol.EpochID // sorted, at most MaxHeads; newest accepted epochs held
	CreatedAt  int64              // unix seconds; shown, never decides
	Payload    []byte             // encoded payload of the kind
}

// ParseOp decodes the body of an op frame of group g and its payload, which is
// nil where the operation can have no effect. It does not check the frame's
// signature, nor that parents exist. The error wraps ErrOp.
func ParseOp(f protocol.Frame, g protocol.GroupID) (Op, Payload, error) {
	o, p, _, err := parseOp(f, g)
	return o, p, err
}

func parseOp(f protocol.Frame, g protocol.GroupID) (Op, Payload, identity.DeviceCert, error) {
	fail := func(err error) (Op, Payload, identity.DeviceCert, error) {
		return Op{}, nil, identity.DeviceCert{}, errors.Join(ErrOp, err)
	}
	if f.Kind != protocol.KindOp || len(f.Marshal()) > f.Kind.Max() {
		return fail(nil)
	}
	var o Op
	if err := wire.Unmarshal(f.Body, protocol.RoomMedium, &o); err != nil {
		return fail(err)
	}
	if o.Version != protocol.Version || o.CreatedAt < 0 || o.Seq == 0 ||
		(o.Seq == 1) != (o.PrevOwn == protocol.OpID{}) ||
		len(o.Parents) > protocol.MaxParents || !protocol.SortedIDs(o.Parents) ||
		len(o.EpochHeads) > protocol.MaxHeads || !protocol.SortedIDs(o.EpochHeads) {
		return fail(nil)
	}
	p, cert, err := parsePayload(&o, g)
	if err != nil {
		return fail(err)
	}
	return o, p, cert, nil
}
