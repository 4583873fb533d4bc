package group

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// MaxRepudiate is how many operations and epochs one Expel takes back.
const MaxRepudiate = 256

// DecisionKind says what a quorum decides. Numbers are part of the wire format.
type DecisionKind uint8

// Kinds of decisions (spec 40 section 4).
const (
	DecideExpel          DecisionKind = 1
	DecideReinstate      DecisionKind = 2
	DecideGrantOrganiser DecisionKind = 3
	DecideSetDevices     DecisionKind = 4
	DecideSetRecovery    DecisionKind = 5
	DecideSetPolicy      DecisionKind = 6
)

// Decision is what a Proposal asks for: Expel, Reinstate, GrantOrganiser,
// SetDevices, SetRecovery or SetPolicy.
type Decision interface {
	Decides() DecisionKind
	body() []byte
}

// Proposal asks the organisers for one decision. Its operation id is the
// decision's id, and nothing about it changes when votes come.
type Proposal struct {
	Prev     protocol.OpID // the decision that it follows; the group id: the first
	Decision Decision
}

type proposalWire struct {
	_    struct{} `cbor:",toarray"`
	Prev protocol.OpID
	Kind DecisionKind
	Body []byte
}

// Vote is one organiser's voice for a Proposal.
type Vote struct {
	_        struct{} `cbor:",toarray"`
	Proposal protocol.OpID
	Seq      uint64        // 1 for the member's first vote, then one more than Prev's
	Prev     protocol.OpID // a vote of the same member; zero for the first
}

// RecoveryVote is the voice of the recovery paper. Anybody may carry it.
type RecoveryVote struct {
	_         struct{} `cbor:",toarray"`
	Proposal  protocol.OpID
	Signature identity.Signature // by the recovery key, label "Recovery", over the proposal's id
}

// Expel ends a member's being organiser and member, and may take back what it did.
type Expel struct {
	_         struct{} `cbor:",toarray"`
	Target    identity.MemberID
	Cutoffs   []Cutoff          // sorted by device, at most MaxCutoffs
	Repudiate []protocol.ItemID // operations and epochs without effect; sorted, at most MaxRepudiate
}

// Reinstate lifts the suspensions of the target that it had seen.
type Reinstate struct {
	_      struct{} `cbor:",toarray"`
	Target identity.MemberID
}

// GrantOrganiser makes a member an organiser.
type GrantOrganiser struct {
	_       struct{} `cbor:",toarray"`
	Target  identity.MemberID
	Devices []identity.DeviceID // that vote and act, sorted, 1 to MaxOperating
}

// SetDevices replaces the operating devices of an organiser. Those left out are
// removed from the group.
type SetDevices struct {
	_       struct{} `cbor:",toarray"`
	Target  identity.MemberID
	Devices []identity.DeviceID // sorted, 1 to MaxOperating
	Cutoffs []Cutoff            // of those left out; sorted by device, at most MaxCutoffs
}

// SetRecovery replaces the recovery key.
type SetRecovery struct {
	_   struct{} `cbor:",toarray"`
	Key []byte   // 32 bytes, or none: the paper ends
}

// SetPolicy replaces the policy.
type SetPolicy struct{ Policy Policy }

// Kind returns KindProposal.
func (Proposal) Kind() OpKind { return KindProposal }

// Kind returns KindVote.
func (Vote) Kind() OpKind { return KindVote }

// Kind returns KindRecoveryVote.
func (RecoveryVote) Kind() OpKind { return KindRecoveryVote }

// Decides returns DecideExpel.
func (Expel) Decides() DecisionKind { return DecideExpel }

// Decides returns DecideReinstate.
func (Reinstate) Decides() DecisionKind { return DecideReinstate }

// Decides returns DecideGrantOrganiser.
func (GrantOrganiser) Decides() DecisionKind { return DecideGrantOrganiser }

// Decides returns DecideSetDevices.
func (SetDevices) Decides() DecisionKind { return DecideSetDevices }

// Decides returns DecideSetRecovery.
func (SetRecovery) Decides() DecisionKind { return DecideSetRecovery }

// Decides returns DecideSetPolicy.
func (SetPolicy) Decides() DecisionKind { return DecideSetPolicy }

func (p Proposal) marshal() []byte {
	return wire.Marshal(proposalWire{Prev: p.Prev, Kind: p.Decision.Decides(), Body: p.Decision.body()})
}
func (p Vote) marshal() []byte         { return wire.Marshal(p) }
func (p RecoveryVote) marshal() []byte { return wire.Marshal(p) }

func (d Expel) body() []byte          { return wire.Marshal(d) }
func (d Reinstate) body() []byte      { return wire.Marshal(d) }
func (d GrantOrganiser) body() []byte { return wire.Marshal(d) }
func (d SetDevices) body() []byte     { return wire.Marshal(d) }
func (d SetRecovery) body() []byte    { return wire.Marshal(d) }
func (d SetPolicy) body() []byte      { return d.Policy.Marshal() }

func parseProposal(b []byte) (Payload, error) {
	w, err := decode[proposalWire](b)
	if err != nil {
		return nil, err
	}
	d, err := parseDecision(w.Kind, w.Body)
	if err != nil {
		return nil, err
	}
	return Proposal{Prev: w.Prev, Decision: d}, nil
}

func parseDecision(k DecisionKind, b []byte) (Decision, error) {
	switch k {
	case DecideExpel:
		d, err := decode[Expel](b)
		if len(d.Repudiate) > MaxRepudiate || !protocol.SortedIDs(d.Repudiate) {
			return nil, errPayload
		}
		return d, errors.Join(err, checkCutoffs(d.Cutoffs))
	case DecideReinstate:
		return decode[Reinstate](b)
	case DecideGrantOrganiser:
		d, err := decode[GrantOrganiser](b)
		return d, errors.Join(err, deviceList(d.Devices))
	case DecideSetDevices:
		d, err := decode[SetDevices](b)
		return d, errors.Join(err, deviceList(d.Devices), checkCutoffs(d.Cutoffs))
	case DecideSetRecovery:
		d, err := decode[SetRecovery](b)
		if len(d.Key) != 0 && (len(d.Key) != 32 || RecoveryPublic(d.Key) == RecoveryPublic{}) {
			return nil, errPayload
		}
		return d, err
	case DecideSetPolicy:
		p, err := ParsePolicy(b)
		return SetPolicy{p}, err
	}
	return nil, errPayload
}
