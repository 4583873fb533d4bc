// Package epoch is the key epoch: its header, boxes and pages, the secrets that
// follow from it, the messages sealed under them, the mailboxes and envelopes that
// carry everything, the three objects of joining (card, request, Welcome), and the
// two of repair: the ReBox for a device that was left out, and the inbox items by
// which devices tell the organisers. All of it is functions over values; who may
// issue, write or join is asked of the caller.
//
// Start with IssueEpoch, which makes an epoch for a list of recipients, and
// ParseHeader with Header.Open on the other side; both give Keys, which seal and
// open messages and derive mailboxes.
//
// What is promised: what is parsed re-encodes to the same bytes; every list has
// a Max; bad input changes nothing and uses up no key; no message key is given
// out twice, also not by keys restored from their newest records; one frame is one
// envelope per mailbox, whoever seals it; secrets cannot be printed, compared with
// == or encoded by accident. Nothing here reads a clock; randomness is an argument,
// except that crypto/hpke takes its own for each box. The values are not safe for
// concurrent use. Spec 30 is the byte table.
//
// Known holes: secrets are dropped, not wiped: the runtime may have copied them,
// and memory that was freed can be read until it is reused. Who holds an epoch's
// organisers' secret is not known from outside, so that an organiser's device left
// out of it by mistake shows only when it opens. The tree and chains of a Welcome
// or a ReBox are not bound to the header: an organiser who hands out wrong ones is
// found when messages do not open.
package epoch

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/palabre-app/palabre/identity/label"
)

// Errors that callers branch on. All other errors of a parser wrap the one that
// names the parsed thing.
var (
	// ErrHeader says that an epoch header or a page is malformed.
	ErrHeader = errors.New("malformed epoch header")
	// ErrNoBox says that no box of the header is for the key.
	ErrNoBox = errors.New("the epoch holds no box for this key")
	// ErrPageMissing says that a page must be fetched and added first.
	ErrPageMissing = errors.New("a page of the epoch is not held")
	// ErrConfirm says that box and header contradict each other: the issuer
	// handed out more than one secret, or the box is of another epoch.
	ErrConfirm = errors.New("the secret in the box does not confirm the epoch")
	// ErrOrgSecret says the same of the organisers' secret or of the inbox keys.
	ErrOrgSecret = errors.New("the organisers' secret does not confirm the epoch")
	// ErrAuthor says that an epoch of an author is not what one may be.
	ErrAuthor = errors.New("an author cannot issue such an epoch")
	// ErrRecord says that a stored or handed-over record of keys is malformed.
	ErrRecord = errors.New("malformed key record")
	// ErrMessage says that a message is malformed or does not open.
	ErrMessage = errors.New("message does not open")
	// ErrOtherEpoch says that a message belongs to another epoch.
	ErrOtherEpoch = errors.New("message of another epoch")
	// ErrUnknownDevice says that the caller does not know the sending device
	// yet: the message can be held and tried again.
	ErrUnknownDevice = errors.New("message of a device that is not known")
	// ErrReplay says that the key of this generation was used or never held.
	ErrReplay = errors.New("the message key was used or never held")
	// ErrSlot says that another device has used up the tree slot: the device
	// cannot send in this epoch.
	ErrSlot = errors.New("the slot of the device in this epoch is used up")
	// ErrExhausted says that the device has sent MaxGenerations messages in
	// this epoch.
	ErrExhausted = errors.New("the device has used all its message keys of this epoch")
	// ErrTooLarge says that a content, a Welcome, a ReBox or an inbox item does not fit.
	ErrTooLarge = errors.New("too large to send")
	// ErrEnvelope says that an envelope does not open in this mailbox.
	ErrEnvelope = errors.New("envelope does not open")
	// ErrCard says that an invite card is malformed or not signed by the card key.
	ErrCard = errors.New("malformed invite card")
	// ErrRequest says that a join request does not open or does not prove the invite.
	ErrRequest = errors.New("join request does not open")
	// ErrWelcome says that a Welcome does not open, is incomplete or is not
	// signed by who must sign it.
	ErrWelcome = errors.New("welcome does not open")
	// ErrReBox says the same of a ReBox.
	ErrReBox = errors.New("rebox does not open")
	// ErrInbox says that an inbox item is malformed, or does not open.
	ErrInbox = errors.New("inbox item does not open")
)

// expander is the one function from which tree and chains are built:
// ExpandWithLabel of RFC 9420 section 8. It is a parameter so that the published
// vectors, which have another prefix, run through the same code.
type expander func(secret []byte, l label.Label, context []byte, n int) []byte

// mac is HMAC-SHA256 over the parts in order, each of fixed length but the last.
func mac(key [32]byte, parts ...[]byte) [32]byte {
	h := hmac.New(sha256.New, key[:])
	for _, p := range parts {
		h.Write(p)
	}
	return [32]byte(h.Sum(nil))
}

func sameMAC(a, b [32]byte) bool { return hmac.Equal(a[:], b[:]) }
