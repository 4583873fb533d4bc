package protocol

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of an invite link (spec 20 section 6).
const (
	MaxLink          = 1_433 // characters, prefix included: a link with the longest lists
	MaxLinkAddresses = 4
	MaxLinkFerries   = 2
	MaxAddress       = 128 // bytes of a multiaddr in text form
	MaxFerry         = 200 // bytes of a ferry's address, with its ticket (spec 75 section 10)
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
func (Link) String() string { return hiddenLink }

// GoString hides the link.
func (Link) GoString() string { return hiddenLink }

// Format hides the link from every verb of package fmt. A struct that holds a
// Link in an unexported field must hide itself: fmt does not ask there.
func (Link) Format(f fmt.State, _ rune) { io.WriteString(f, hiddenLink) }

// LogValue hides the link.
func (Link) LogValue() slog.Value { return slog.StringValue(hiddenLink) }

// MarshalJSON refuses: a link leaves the program as Text, on purpose.
func (Link) MarshalJSON() ([]byte, error) {
	return nil, errors.New("a link is not encoded as JSON")
}

const hiddenLink = "[invite link]"

// ParseLink reads a link. The error is ErrLink and never repeats the text.
func ParseLink(text string) (Link, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), linkPrefix)
	if !ok || len(rest) > MaxLink-len(linkPrefix) {
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
	for most, list := range map[int][]string{MaxAddress: l.Addresses, MaxFerry: l.Ferries} {
		for _, a := range list {
			if a == "" || len(a) > most {
				return false
			}
		}
	}
	return true
}
