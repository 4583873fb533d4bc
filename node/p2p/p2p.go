// Package p2p is one libp2p host for one group, with a gate below it. It is the
// only importer of libp2p and knows nothing of groups or notices: bytes in,
// bytes out.
//
// Start with New. A Host listens, dials by address alone, and reports what
// happens through Config.OnEvent. What is promised:
//
//   - Until both ends of a connection have proven, by its first stream, that
//     they hold one same key, the host answers nothing: no protocol, no topic,
//     no agent string, not one byte (spec 60 section 2).
//   - A proven connection has exactly one link, an ordered channel of messages.
//     Two hosts that dial each other at the same moment keep one connection.
//   - Only connections of class Member reach the libp2p host above the gate, and
//     with it the hints of other members.
//   - For each link LinkUp comes first and LinkDown last.
//   - With a proxy nothing is dialled but through it, and no UDP socket is opened
//     (spec 60 section 8).
//
// Peer IDs are fresh for every New and never stored. To renew one, Close the
// host and call New again: open links end, as they would for an observer.
//
// Importing this package silences the process-wide log output of libp2p, which
// would print peer IDs and addresses, and changes its QUIC settings (quic.go).
//
// Known holes, spec 60 section 7 has them in full: that libp2p is spoken is visible to
// anyone who connects; a holder of an old key learns that this address still
// knows that key; a link whose other end vanished without a word lives until the
// transport notices, about a minute, or that end dials again.
package p2p

import (
	"errors"
	"fmt"
	"log/slog"
)

// Class says what a key opens (spec 60 section 1).
type Class uint8

const (
	// Member is a current key of the group: link, and hints.
	Member Class = 1
	// CatchUp is an older key of the group: link, after a device signature.
	CatchUp Class = 2
	// Invite is the secret of an invitation: link, and nothing else.
	Invite Class = 3
)

// rank orders classes for the choice between two connections to one peer.
func (c Class) rank() int { return -int(c) }

func (c Class) valid() bool { return c >= Member && c <= Invite }

// Limits on keys (spec 60 section 1).
const (
	// MaxAccept is the most keys that a host accepts at a time.
	MaxAccept = 64
	// MaxDial is the most keys that one Dial tries, one connection each.
	MaxDial = 7
)

// Secret is a 32-byte secret that cannot be printed or compared with ==. The
// zero Secret is not usable.
//
// The bytes are behind a func because fmt, when it reaches a Secret through an
// unexported field, calls none of its methods and prints what it finds.
type Secret struct{ reveal func() []byte }

// NewSecret makes a Secret of a copy of b.
func NewSecret(b [32]byte) Secret { return Secret{reveal: func() []byte { return b[:] }} }

// Format prints the same fixed text for every verb, and nothing of the secret.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte("secret")) }

// LogValue is that fixed text in logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("secret") }

// Key is one secret that opens the gate.
type Key struct {
	Secret Secret
	Class  Class
	Tag    [32]byte // the caller's name for the key, such as an epoch or invite id; it never travels
	// Device, if not zero, is the only device whose signature proves the key; for
	// CatchUp only.
	Device [16]byte
}

// Keys is what a host knows at a time. If two keys hold the same secret the
// first one counts.
type Keys struct {
	Accept []Key // for those who dial us, at most MaxAccept
	Dial   []Key // for dialling, newest first; beyond MaxDial they are left out
}

// checked returns a copy of k that the caller cannot change any more.
func (k Keys) checked() (Keys, error) {
	if len(k.Accept) > MaxAccept {
		return Keys{}, errors.New("p2p: too many keys to accept")
	}
	out := Keys{Accept: append([]Key(nil), k.Accept...), Dial: append([]Key(nil), k.Dial[:min(len(k.Dial), MaxDial)]...)}
	for _, list := range [][]Key{out.Accept, out.Dial} {
		for _, key := range list {
			if key.Secret.reveal == nil {
				return Keys{}, errors.New("p2p: a key has no secret")
			}
			if !key.Class.valid() {
				return Keys{}, errors.New("p2p: a key has no known class")
			}
		}
	}
	return out, nil
}

// Signer signs and judges device signatures at the gate. Both methods are
// called from goroutines of the host, may block for seconds, and must not keep
// the slices. The signature is over label.Transcript(label.GateSign, transcript).
type Signer interface {
	// SignGate signs as this device; ok is false if it cannot.
	SignGate(transcript []byte) (device [16]byte, sig [64]byte, ok bool)
	// AdmitGate reports whether sig is of a device that may catch up.
	AdmitGate(transcript []byte, device [16]byte, sig [64]byte) bool
}

// Config is all that New needs.
type Config struct {
	// Listen holds addresses of the form /ip4/<a>/tcp/<port> and
	// /ip4/<a>/udp/<port>/quic-v1 or the same with ip6; port 0 picks one. With
	// none the host only dials.
	Listen []string
	// Proxy is the address of a SOCKS5 proxy, such as Tor's, an IP address and a
	// port: 127.0.0.1:9050. What goes to it is not sealed from whoever sits between,
	// so it belongs on this machine. Then everything is dialled through it by TCP,
	// each connection with a random user name and password (Tor's IsolateSOCKSAuth:
	// a circuit each), nothing else leaves the machine, no UDP socket is opened,
	// Listen takes loopback and TCP only (an onion service forwards there), and
	// Addrs is empty. Empty means directly. Spec 60 section 8.
	Proxy string
	// Keys are the first keys; SetKeys replaces them.
	Keys Keys
	// Signer may be nil: then nothing is signed and no signature is admitted.
	Signer Signer
	// Traffic counts what goes over the host's sockets. It may be nil, and may be that
	// of other hosts too.
	Traffic *Traffic
	// Sort says for which purpose a message of a link is, Letters or Comparing. It must
	// not keep the slice, and may be called from several goroutines. Nil: Letters.
	Sort func(message []byte) Purpose
	// OnEvent receives events, in order for each link, from one goroutine per
	// link. While it blocks, nothing more is read from that link. It must not
	// call Close.
	OnEvent func(Event)
}

// Errors that a caller branches on.
var (
	// ErrSelf says that the dialled address is this host's own.
	ErrSelf = errors.New("p2p: the address is our own")
	// ErrRefused says that whoever answered there took none of our keys.
	ErrRefused = errors.New("p2p: no key was answered")
	// ErrNotByProxy says that the address is for QUIC, which no proxy carries.
	ErrNotByProxy = errors.New("p2p: the address cannot be reached through a proxy")
	// ErrNeedsProxy says that the address is an onion name and there is no proxy.
	ErrNeedsProxy = errors.New("p2p: the address can be reached through a proxy only")
	// ErrProxy says that no SOCKS5 proxy that takes user names answers at Proxy.
	ErrProxy = errors.New("p2p: the proxy did not answer, or takes no user names")
	// ErrNoLink says that the link is not up, or is being closed.
	ErrNoLink = errors.New("p2p: no such link")
	// ErrBehind says that the other side reads too slowly; the link is closed.
	ErrBehind = errors.New("p2p: the link's queue is full")
	// ErrClosed says that the host is closed.
	ErrClosed = errors.New("p2p: the host is closed")
)
