package group

import (
	"crypto/ecdh"
	"crypto/hpke"

	"github.com/palabre-app/palabre/protocol"
)

// probe is a fixed X25519 key. It protects nothing: agreeing with it shows a
// point of small order, for which every agreement gives zero (RFC 7748 section 6.1).
var probe = mustProbe()

func mustProbe() *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey([]byte("palabre: finds small-order keys!"))
	if err != nil {
		panic("group: " + err.Error())
	}
	return k
}

// validKEM says whether a key can be sealed to: ML-KEM-768 coefficients in
// range (FIPS 203 section 7.2) and an X25519 point that is not of small order.
// One bad key in a roster would otherwise stop the issuer of an epoch.
func validKEM(k protocol.KEMPublic) bool {
	if _, err := hpke.MLKEM768X25519().NewPublicKey(k[:]); err != nil {
		return false
	}
	point, err := ecdh.X25519().NewPublicKey(k[len(k)-32:])
	if err != nil {
		return false
	}
	_, err = probe.ECDH(point)
	return err == nil
}
