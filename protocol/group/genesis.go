package group

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of a Genesis.
const (
	MaxGenesis = 27_000 // bytes, with MaxOrganisers organisers
	// MaxOperating is how many devices of one organiser may organise.
	MaxOperating = 4
)

// ErrGenesis says that a Genesis is malformed or not signed by every founder.
var ErrGenesis = errors.New("genesis does not hold")

// RecoveryPublic is the public half of the recovery key on paper; zero is none.
type RecoveryPublic = identity.RecoveryPublic

// Founder is what one organiser brings to the founding. It holds private keys.
type Founder struct {
	Member identity.MemberKey
	Device identity.DeviceKey
	KEM    protocol.KEMPublic
	Lane   protocol.LanePublic
}

// Founding is one founder as the Genesis names them.
type Founding struct {
	Cert identity.DeviceCert // signs the nonce of the Genesis in place of the group id
	KEM  protocol.KEMPublic  // counts as the device's key update 0
	Lane protocol.LanePublic
	// Devices that may organise, sorted; the certified one is among them. The
	// others act once they are certified.
	Devices []identity.DeviceID
}

// Genesis founds a group. A value comes from NewGenesis or ParseGenesis only and
// is not changed afterwards.
type Genesis struct {
	Nonce      [32]byte
	Organisers []Founding // sorted by member id
	Recovery   RecoveryPublic
	Policy     Policy

	encoded []byte
	id      protocol.GroupID
}

type genesisCore struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Suite      uint16
	Nonce      [32]byte
	Organisers []organiserWire
	Recovery   []byte
	Policy     policyWire
}

type genesisWire struct {
	_          struct{} `cbor:",toarray"`
	Version    uint8
	Suite      uint16
	Nonce      [32]byte
	Organisers []organiserWire
	Recovery   []byte
	Policy     policyWire
	Sigs       []identity.Signature
}

type organiserWire struct {
	_       struct{} `cbor:",toarray"`
	Cert    []byte
	KEM     protocol.KEMPublic
	Lane    protocol.LanePublic
	Devices []identity.DeviceID
}

// NewGenesis founds a group with one to MaxOrganisers founders, each with one
// device. It takes 32 bytes of random; recovery may be zero.
func NewGenesis(random io.Reader, founders []Founder, recovery RecoveryPublic, p Policy) (Genesis, error) {
	w := genesisWire{Version: protocol.Version, Suite: protocol.Suite, Policy: p.wire()}
	if _, err := io.ReadFull(random, w.Nonce[:]); err != nil {
		return Genesis{}, fmt.Errorf("founding a group: %w", err)
	}
	if recovery != (RecoveryPublic{}) {
		w.Recovery = recovery[:]
	}
	founders = slices.Clone(founders)
	slices.SortFunc(founders, func(a, b Founder) int { return compareMembers(a.Member.Public().ID(), b.Member.Public().ID()) })
	for _, f := range founders {
		w.Organisers = append(w.Organisers, organiserWire{
			Cert: identity.Certify(w.Nonce, f.Member, f.Device).Marshal(),
			KEM:  f.KEM, Lane: f.Lane, Devices: []identity.DeviceID{f.Device.Public().ID()},
		})
	}
	core := wire.Marshal(w.core())
	for _, f := range founders {
		w.Sigs = append(w.Sigs, f.Device.Sign(label.Genesis, core))
	}
	return ParseGenesis(wire.Marshal(w))
}

// ParseGenesis decodes a Genesis and checks every certificate, key and
// signature. The error wraps ErrGenesis. The result does not alias b.
func ParseGenesis(b []byte) (Genesis, error) {
	var w genesisWire
	if err := wire.Unmarshal(b, MaxGenesis, &w); err != nil {
		return Genesis{}, errors.Join(ErrGenesis, err)
	}
	n := len(w.Organisers)
	if w.Version != protocol.Version || w.Suite != protocol.Suite ||
		n == 0 || n > protocol.MaxOrganisers || len(w.Sigs) != n {
		return Genesis{}, ErrGenesis
	}
	g := Genesis{Nonce: w.Nonce, encoded: bytes.Clone(b)}
	var err error
	if g.Policy, err = w.Policy.policy(); err != nil {
		return Genesis{}, errors.Join(ErrGenesis, err)
	}
	switch len(w.Recovery) {
	case 0:
	case len(g.Recovery):
		g.Recovery = RecoveryPublic(w.Recovery)
		if g.Recovery == (RecoveryPublic{}) {
			return Genesis{}, ErrGenesis
		}
	default:
		return Genesis{}, ErrGenesis
	}
	core := wire.Marshal(w.core())
	g.id = label.Ref(label.Genesis, core)
	devices := map[identity.DeviceID]bool{}
	for i, o := range w.Organisers {
		cert, err := identity.ParseCert(o.Cert, w.Nonce)
		if err != nil || !validKEM(o.KEM) || !cert.Device.Verify(label.Genesis, core, w.Sigs[i]) {
			return Genesis{}, ErrGenesis
		}
		if i > 0 && compareMembers(g.Organisers[i-1].Cert.Member.ID(), cert.Member.ID()) >= 0 {
			return Genesis{}, ErrGenesis
		}
		if len(o.Devices) > MaxOperating || !slices.Contains(o.Devices, cert.Device.ID()) {
			return Genesis{}, ErrGenesis
		}
		for k, d := range o.Devices {
			if devices[d] || k > 0 && compareDevices(o.Devices[k-1], d) >= 0 {
				return Genesis{}, ErrGenesis
			}
			devices[d] = true
		}
		g.Organisers = append(g.Organisers, Founding{Cert: cert, KEM: o.KEM, Lane: o.Lane, Devices: o.Devices})
	}
	return g, nil
}

// Marshal returns a copy of the encoded Genesis.
func (g Genesis) Marshal() []byte { return bytes.Clone(g.encoded) }

// ID returns the group id: Ref("Genesis", all but the signatures).
func (g Genesis) ID() protocol.GroupID { return g.id }

func (w genesisWire) core() genesisCore {
	return genesisCore{
		Version: w.Version, Suite: w.Suite, Nonce: w.Nonce,
		Organisers: w.Organisers, Recovery: w.Recovery, Policy: w.Policy,
	}
}

func compareMembers(a, b identity.MemberID) int { return bytes.Compare(a[:], b[:]) }

func compareDevices(a, b identity.DeviceID) int { return bytes.Compare(a[:], b[:]) }

func compareOps(a, b protocol.OpID) int { return bytes.Compare(a[:], b[:]) }
