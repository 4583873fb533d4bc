package epoch

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
)

var errNoMailKey = errors.New("the key of this side of the mailbox is not held")

// Mailbox is a place for envelopes: a root key that seals them, and two Ed25519
// keys of which a carrier learns the public halves, one to write and one to read
// (spec 30 section 7). Making one is cheap: keys and address are worked out when
// they are first asked for, and kept. Not safe for concurrent use.
type Mailbox struct {
	hidden
	root        [32]byte
	write, read half

	id                *protocol.MailboxID
	sealKey, nonceKey *[32]byte
}

// half is one side of a mailbox: its public key, and the private one if held.
type half struct {
	key    MailKey
	held   bool // key is set
	public *[32]byte
}

func private(seed [32]byte) half     { return half{key: MailKeyFromSeed(seed), held: true} }
func publicOnly(pub [32]byte) half   { return half{public: &pub} }
func dayBytes(d protocol.Day) []byte { return binary.BigEndian.AppendUint32(nil, d) }

// CommonMailbox is where all members of an epoch write and read on one day.
func CommonMailbox(n NetKey, day protocol.Day) *Mailbox {
	k := n.Derive(label.Day)
	return &Mailbox{
		root:  n.Seed(),
		write: private([32]byte(label.Expand(k[:], label.CommonWrite, dayBytes(day), 32))),
		read:  private([32]byte(label.Expand(k[:], label.CommonRead, dayBytes(day), 32))),
	}
}

// InboxMailbox is where members write to the organisers on one day. reader is
// the header's InboxRead; organisers add the private half by WithRead.
func InboxMailbox(n NetKey, day protocol.Day, reader [32]byte) *Mailbox {
	k := n.Derive(label.Day)
	return &Mailbox{
		root:  n.Seed(),
		write: private([32]byte(label.Expand(k[:], label.InboxWrite, dayBytes(day), 32))),
		read:  publicOnly(reader),
	}
}

// LaneMailbox is where one device puts the headers of the epoch's children. The
// device itself adds its lane key by WithWrite.
func LaneMailbox(n NetKey, lane protocol.LanePublic) *Mailbox {
	return &Mailbox{root: n.Seed(), write: publicOnly(lane), read: private(n.Derive(label.LaneRead))}
}

// PageMailbox holds page index of a header.
func PageMailbox(h *Header, index uint16) *Mailbox {
	root := label.Expand(h.Core.Random[:], label.PagesRoot, h.coreHash[:], 32)
	read := label.Expand(root, label.Read, binary.BigEndian.AppendUint16(nil, index), 32)
	return &Mailbox{root: [32]byte(root), write: publicOnly(h.Core.PageKey), read: private([32]byte(read))}
}

// RescueMailbox is where organisers reach one device that is cut off or joining.
func RescueMailbox(seed RescueSeed) *Mailbox {
	return &Mailbox{
		root:  seed.Seed(),
		write: private(label.Derive(seed.slice(), label.Write)),
		read:  private(label.Derive(seed.slice(), label.Read)),
	}
}

// CardMailbox holds the card of an invite. The inviter adds the card key by WithWrite.
func CardMailbox(r Rendezvous, card [32]byte) *Mailbox {
	return &Mailbox{root: r.Seed(), write: publicOnly(card), read: private(r.Derive(label.Read))}
}

// RequestMailbox takes the join requests of an invite. The inviter adds the card
// key by WithRead.
func RequestMailbox(r Rendezvous, card [32]byte) *Mailbox {
	return &Mailbox{root: r.Seed(), write: private(r.Derive(label.Write)), read: publicOnly(card)}
}

// WithWrite returns the mailbox with the private half of its write key, or an
// error if the key is another's.
func (m *Mailbox) WithWrite(k MailKey) (*Mailbox, error) {
	return with(m, k, func(m *Mailbox) *half { return &m.write })
}

// WithRead is WithWrite for the read key.
func (m *Mailbox) WithRead(k MailKey) (*Mailbox, error) {
	return with(m, k, func(m *Mailbox) *half { return &m.read })
}

func with(m *Mailbox, k MailKey, side func(*Mailbox) *half) (*Mailbox, error) {
	pub := k.Public()
	if side(m).pub() != pub {
		return nil, errNoMailKey
	}
	out := *m
	*side(&out) = half{key: k, held: true, public: &pub}
	return &out, nil
}

// WriteKey returns the public key that checks what is put.
func (m *Mailbox) WriteKey() [32]byte { return m.write.pub() }

// ReadKey returns the public key that checks who fetches.
func (m *Mailbox) ReadKey() [32]byte { return m.read.pub() }

// Address returns Ref("Mailbox", CBOR [write key, read key]).
func (m *Mailbox) Address() protocol.MailboxID {
	if m.id == nil {
		id := protocol.MailboxOf(m.WriteKey(), m.ReadKey())
		m.id = &id
	}
	return *m.id
}

// SignPut signs, with the write key, that an envelope belongs here.
func (m *Mailbox) SignPut(id protocol.EnvelopeID) (identity.Signature, error) {
	return m.write.sign(label.Put, id[:])
}

// SignGet signs, with the read key, a request to the carrier that gave nonce
// and has the peer id: "Get" over nonce || peer id || address. The peer id is
// raw bytes and of any length, between two values of fixed length.
func (m *Mailbox) SignGet(nonce [32]byte, peer []byte) (identity.Signature, error) {
	id := m.Address()
	return m.read.sign(label.Get, slices.Concat(nonce[:], peer, id[:]))
}

func (h *half) pub() [32]byte {
	if h.public == nil {
		pub := h.key.Public()
		h.public = &pub
	}
	return *h.public
}

func (h *half) sign(l label.Label, x []byte) (identity.Signature, error) {
	if !h.held {
		return identity.Signature{}, errNoMailKey
	}
	return h.key.sign(l, x), nil
}
