package protocol

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of an invite link (spec 20 section 6).
const (
	MaxLink          = 900 // characters, prefix included
	MaxLinkAddresses = 4
	MaxLinkFerries   = 2
	MaxAddress       = 128 // bytes of a multiaddr in text form
	linkPrefix       = "palabre://join#"
	linkCheck        = 4
)

// ErrLink says that a text is no invite link, or was altered or cut short.
var ErrLink = errors.New("not a whole invite link")

// Link is an invitation. It holds a secret: whoever reads it can ask to join.
type Link struct {
	_         struct{} `cbor:",toarray"`
	Version   uint8
	Group     GroupID
	Inviter   [32]byte // Ref("Member", inviter's member key)
	Card      [32]byte // public key that signs the invite card
	Secret    [16]byte
	Expires   int64 // unix seconds
	Uses      uint16
	Addresses []string // multiaddrs without a peer ID
	Ferries   []string
}

// ID returns the invite id.
func (l Link) ID() InviteID {
	ref := label.Ref(label.Invite, l.Card[:])
	return InviteID(ref[:16])
}

// Text returns the link as it is shown to people: the prefix, then unpadded
// base64url of the encoding and a four-byte check. It is not called String, so
// that no log line prints the secret by accident.
func (l Link) Text() string {
	b := wire.Marshal(l)
	ref := label.Ref(label.Link, b)
	return linkPrefix + base64.RawURLEncoding.EncodeToString(append(b, ref[:linkCheck]...))
}

// String hides the link.
func (Link) String() string { return "[invite link]" }

// GoString hides the link.
func (Link) GoString() string { return "[invite link]" }

// ParseLink reads a link. The error is ErrLink and never repeats the text.
func ParseLink(text string) (Link, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), linkPrefix)
	if !ok || len(text) > MaxLink {
		return Link{}, ErrLink
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) < linkCheck {
		return Link{}, ErrLink
	}
	b, check := b[:len(b)-linkCheck], b[len(b)-linkCheck:]
	if ref := label.Ref(label.Link, b); string(ref[:linkCheck]) != string(check) {
		return Link{}, ErrLink
	}
	var l Link
	if err := wire.Unmarshal(b, MaxLink, &l); err != nil || l.Version != Version || !l.bounded() {
		return Link{}, ErrLink
	}
	return l, nil
}

func (l Link) bounded() bool {
	if l.Uses == 0 || l.Expires <= 0 || len(l.Addresses) > MaxLinkAddresses || len(l.Ferries) > MaxLinkFerries {
		return false
	}
	for _, list := range [][]string{l.Addresses, l.Ferries} {
		for _, a := range list {
			if a == "" || len(a) > MaxAddress {
				return false
			}
		}
	}
	return true
}
