package p2p

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/palabre-app/palabre/identity/label"
	"golang.org/x/crypto/chacha20poly1305"
)

// gateSize is the length in bytes of each of the three gate messages:
//
//	M1, M2   hint 32 || nonce 32 || mac 32
//	M3       ChaCha20-Poly1305(device 16 || signature 64) with its 16-byte tag
//
// Spec 60 section 2.
const gateSize = 96

// Role bytes: who speaks, and whether the speaker wants a device signature.
const (
	roleDialler      = 1
	roleDiallerAsks  = 2
	roleListener     = 3
	roleListenerAsks = 4
)

var errGate = errors.New("p2p: the gate stays shut")

type nonce [32]byte

// ends are the two peer IDs of a message, from the speaker's point of view.
type ends struct{ from, to peer.ID }

func (e ends) flip() ends { return ends{from: e.to, to: e.from} }

// appendEnds appends both IDs, each after its length in two bytes, so that no
// two pairs give the same bytes. A peer ID from a handshake is far below 64 KiB.
func (e ends) appendTo(b []byte) []byte {
	for _, id := range []peer.ID{e.from, e.to} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(id)))
		b = append(b, id...)
	}
	return b
}

func mac(key [32]byte, x []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write(x)
	return h.Sum(nil)
}

// proofMAC covers role, both IDs and the nonces so far, the speaker's last.
func proofMAC(s Secret, role byte, e ends, nonces ...nonce) []byte {
	x := e.appendTo([]byte{role})
	for _, n := range nonces {
		x = append(x, n[:]...)
	}
	return mac(label.Derive(s.reveal(), label.Gate), x)
}

func hint(s Secret, n nonce) []byte {
	return mac(label.Derive(s.reveal(), label.GateHint), n[:])
}

// proof builds M1 (one nonce) or M2 (two).
func proof(s Secret, role byte, e ends, nonces ...nonce) (m [gateSize]byte) {
	own := nonces[len(nonces)-1]
	copy(m[:32], hint(s, own))
	copy(m[32:64], own[:])
	copy(m[64:], proofMAC(s, role, e, nonces...))
	return m
}

// match finds the key and the role under which m is a proof of e, with prior
// the nonces of earlier messages. Every key costs the same, whatever m holds.
func match(keys []Key, roles [2]byte, e ends, m *[gateSize]byte, prior ...nonce) (k Key, role byte, n nonce, ok bool) {
	n = nonce(m[32:64])
	nonces := append(prior[:len(prior):len(prior)], n)
	for _, candidate := range keys {
		hinted := hmac.Equal(hint(candidate.Secret, n), m[:32])
		for _, r := range roles {
			if hmac.Equal(proofMAC(candidate.Secret, r, e, nonces...), m[64:]) && hinted && !ok {
				k, role, ok = candidate, r, true
			}
		}
	}
	return k, role, n, ok
}

// transcript is what a device signs: its role byte as sent in M1 or M2, both
// IDs with its own first, and both nonces, the dialler's first.
func transcript(role byte, e ends, a, b nonce) []byte {
	x := e.appendTo([]byte{role})
	x = append(x, a[:]...)
	return append(x, b[:]...)
}

// sealKey is the key of one M3. Role and both nonces are in its context, and
// the sealer made one of those nonces freshly for this connection, so a key
// seals one message in its life: that is what makes the zero nonce safe.
func sealKey(s Secret, role byte, a, b nonce) []byte {
	x := append([]byte{role}, a[:]...)
	return label.Expand(s.reveal(), label.GateSeal, append(x, b[:]...), chacha20poly1305.KeySize)
}

func sealDevice(s Secret, role byte, a, b nonce, device [16]byte, sig [64]byte) (m [gateSize]byte) {
	aead, err := chacha20poly1305.New(sealKey(s, role, a, b))
	if err != nil {
		panic("p2p: " + err.Error())
	}
	var zero [chacha20poly1305.NonceSize]byte
	aead.Seal(m[:0], zero[:], append(device[:], sig[:]...), nil)
	return m
}

func openDevice(s Secret, role byte, a, b nonce, m *[gateSize]byte) (device [16]byte, sig [64]byte, err error) {
	aead, err := chacha20poly1305.New(sealKey(s, role, a, b))
	if err != nil {
		panic("p2p: " + err.Error())
	}
	var zero [chacha20poly1305.NonceSize]byte
	x, err := aead.Open(nil, zero[:], m[:], nil)
	if err != nil {
		return device, sig, errGate
	}
	return [16]byte(x[:16]), [64]byte(x[16:]), nil
}
