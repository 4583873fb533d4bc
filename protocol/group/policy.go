package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// ErrPolicy says that a policy is malformed or out of its bounds.
var ErrPolicy = errors.New("malformed policy")

// Posting says who may post.
type Posting uint8

// Who may post (spec 40 section 2).
const (
	PostOrganisers Posting = 1
	PostAuthors    Posting = 2 // organisers too
	PostAll        Posting = 3
)

// String returns the word of the command line: organisers, authors or all.
func (p Posting) String() string {
	switch p {
	case PostOrganisers:
		return "organisers"
	case PostAuthors:
		return "authors"
	case PostAll:
		return "all"
	}
	return fmt.Sprintf("posting %d", uint8(p))
}

// ParsePosting reads the word of the command line.
func ParsePosting(word string) (Posting, error) {
	for _, p := range []Posting{PostOrganisers, PostAuthors, PostAll} {
		if p.String() == word {
			return p, nil
		}
	}
	return 0, errors.New("posting is organisers, authors or all")
}

// History says what a new member is given of earlier times.
type History uint8

// What a Welcome carries beside the newest group card and profiles.
const (
	HistoryNone   History = 0
	HistoryPinned History = 1
)

// Bounds of a policy, and the size of group for which all post by default.
const (
	MaxPeriodDays    = 7
	MaxRetentionDays = 30
	MaxFerries       = 4
	MaxFerry         = protocol.MaxFerry            // bytes of its address
	MaxPolicy        = 16 + MaxFerries*(2+MaxFerry) // bytes
	AllPostUpTo      = 32                           // people
)

// Policy is what the founders settled (spec 40 section 2).
type Policy struct {
	Posting       Posting
	PeriodDays    uint8 // 1 to 7: days after which keys are renewed
	RetentionDays uint8 // 1 to 30: days for which a superseded epoch is kept
	History       History
	HighRisk      bool // shorter caps everywhere
	AlertOverride bool // an alert may be sent while keys are being renewed
	// Ferries are the addresses of carriers at which members leave and fetch what is
	// sent, ascending, then empty ones: 1 to MaxFerry characters of printable ASCII
	// without spaces. What they mean is for who dials them.
	Ferries [MaxFerries]string
}

// FerryList returns the ferries that are named. The caller owns it.
func (p Policy) FerryList() []string {
	n := 0
	for n < MaxFerries && p.Ferries[n] != "" {
		n++
	}
	return append([]string{}, p.Ferries[:n]...)
}

// WithFerries returns p with other ferries, in any order and named once or twice. The
// error wraps ErrPolicy.
func (p Policy) WithFerries(list []string) (Policy, error) {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	if err := checkFerries(list); err != nil {
		return Policy{}, err
	}
	p.Ferries = [MaxFerries]string{}
	copy(p.Ferries[:], list)
	return p, nil
}

func checkFerries(list []string) error {
	if len(list) > MaxFerries {
		return ErrPolicy
	}
	for i, f := range list {
		if f == "" || len(f) > MaxFerry || i > 0 && list[i-1] >= f ||
			strings.ContainsFunc(f, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return ErrPolicy
		}
	}
	return nil
}

// DefaultPolicy is the policy of a group founded for so many people: all post
// up to AllPostUpTo, organisers beyond; weekly renewal, 30 days, no history.
func DefaultPolicy(people int) Policy {
	p := Policy{Posting: PostOrganisers, PeriodDays: MaxPeriodDays, RetentionDays: MaxRetentionDays}
	if people <= AllPostUpTo {
		p.Posting = PostAll
	}
	return p
}

// policyWire is the encoded form.
type policyWire struct {
	_             struct{} `cbor:",toarray"`
	Posting       Posting
	PeriodDays    uint8
	RetentionDays uint8
	History       History
	HighRisk      uint8
	AlertOverride uint8
	Ferries       []string
}

// Marshal returns the encoded policy.
func (p Policy) Marshal() []byte { return wire.Marshal(p.wire()) }

// ParsePolicy decodes a policy. The error wraps ErrPolicy.
func ParsePolicy(b []byte) (Policy, error) {
	var w policyWire
	if err := wire.Unmarshal(b, MaxPolicy, &w); err != nil {
		return Policy{}, errors.Join(ErrPolicy, err)
	}
	return w.policy()
}

func (p Policy) wire() policyWire {
	return policyWire{
		Posting: p.Posting, PeriodDays: p.PeriodDays, RetentionDays: p.RetentionDays,
		History: p.History, HighRisk: bit(p.HighRisk), AlertOverride: bit(p.AlertOverride), Ferries: p.FerryList(),
	}
}

func (w policyWire) policy() (Policy, error) {
	if w.Posting < PostOrganisers || w.Posting > PostAll || w.History > HistoryPinned ||
		w.PeriodDays < 1 || w.PeriodDays > MaxPeriodDays ||
		w.RetentionDays < 1 || w.RetentionDays > MaxRetentionDays ||
		w.HighRisk > 1 || w.AlertOverride > 1 {
		return Policy{}, ErrPolicy
	}
	if err := checkFerries(w.Ferries); err != nil {
		return Policy{}, err
	}
	p := Policy{
		Posting: w.Posting, PeriodDays: w.PeriodDays, RetentionDays: w.RetentionDays,
		History: w.History, HighRisk: w.HighRisk == 1, AlertOverride: w.AlertOverride == 1,
	}
	copy(p.Ferries[:], w.Ferries)
	return p, nil
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
