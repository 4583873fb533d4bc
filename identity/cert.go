package identity

import (
	"errors"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

// CertSize is the length in bytes of an encoded DeviceCert.
const CertSize = 202

// ErrCert says that a certificate is malformed or not signed by both keys.
var ErrCert = errors.New("device certificate does not hold")

// DeviceCert says that a device belongs to a member: each key signs both
// (spec 20 section 3).
type DeviceCert struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Member    MemberPublic
	Device    DevicePublic
	SigMember Signature
	SigDevice Signature
}

// Certify signs a certificate for one group. The context is the group id, or
// for the founders the nonce of the Genesis, which cannot sign its own id.
func Certify(context [32]byte, m MemberKey, d DeviceKey) DeviceCert {
	c := DeviceCert{Version: 1, Member: m.Public(), Device: d.Public()}
	x := c.transcript(context)
	c.SigMember = m.Sign(label.DeviceCert, x)
	c.SigDevice = d.Sign(label.DeviceCert, x)
	return c
}

// ParseCert decodes and verifies a certificate for one group.
func ParseCert(b []byte, context [32]byte) (DeviceCert, error) {
	var c DeviceCert
	if err := wire.Unmarshal(b, CertSize, &c); err != nil {
		return DeviceCert{}, ErrCert
	}
	x := c.transcript(context)
	if c.Version != 1 || !c.Member.Verify(label.DeviceCert, x, c.SigMember) ||
		!c.Device.Verify(label.DeviceCert, x, c.SigDevice) {
		return DeviceCert{}, ErrCert
	}
	return c, nil
}

// Marshal returns the CertSize bytes of the certificate.
func (c DeviceCert) Marshal() []byte { return wire.Marshal(c) }

func (c DeviceCert) transcript(context [32]byte) []byte {
	return wire.Marshal(struct {
		_       struct{} `cbor:",toarray"`
		Context [32]byte
		Member  MemberPublic
		Device  DevicePublic
	}{Context: context, Member: c.Member, Device: c.Device})
}
