package epoch

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Recipient is a device that gets a box.
type Recipient struct {
	Member   identity.MemberID
	Device   identity.DeviceID
	Key      *protocol.KEMPublic // its newest accepted one; read only
	Operator bool                // an operating device of an organiser, which gets the organisers' secret
}

// Parent is an epoch that the new one succeeds.
type Parent struct {
	ID  protocol.EpochID
	Gen uint32
}

// Draft is what a device says of the epoch that it issues. Lists are copied and
// may be in any order.
type Draft struct {
	Group      protocol.GroupID
	Issuer     identity.MemberID
	Device     identity.DeviceKey
	Hedge      HedgeKey
	Seq        uint64 // of this device's headers, from 1
	CreatedAt  int64  // unix seconds
	Parents    []Parent
	GovHeads   []protocol.OpID
	Lanes      []protocol.LanePublic
	Heals      []protocol.ItemID
	Recipients []Recipient // the issuer's own device is one of them or cannot open it

	// Inbox is nil when an organiser issues. An author, who must not know the
	// organisers' secret, gives the header whose inbox the epoch keeps: the newest
	// ancestor that an organiser issued, or an author's epoch that kept that one's.
	Inbox *Header
}

// Issued is a new epoch. Everything must be stored before the first byte leaves.
type Issued struct {
	Header  protocol.Frame
	Pages   []protocol.Frame // by index; none where the boxes travel in the header
	PageKey MailKey          // writes the page mailboxes
	Keys    *Keys
}

var errTagTwice = errors.New("two boxes have one tag")

// Issue is IssueEpoch for at most SmallGroup recipients, whose boxes travel in the
// header; more are ErrTooLarge here.
func Issue(d Draft, random io.Reader) (protocol.Frame, *Keys, error) {
	if len(d.Recipients) > protocol.SmallGroup {
		return protocol.Frame{}, nil, fmt.Errorf("issuing an epoch: %w", ErrTooLarge)
	}
	i, err := IssueEpoch(d, random)
	return i.Header, i.Keys, err
}

// IssueEpoch makes an epoch: a fresh secret boxed to every recipient, of which there
// may be MaxDevices (spec 30 sections 2 and 3). It reads 128 bytes of random and
// 32 for each recipient that does not get the organisers' secret. Who tries again
// sends the same bytes or calls IssueEpoch anew. ErrAuthor: an author's epoch without
// parent, or for more than SmallGroup devices.
func IssueEpoch(d Draft, random io.Reader) (Issued, error) {
	core, err := d.core()
	if err != nil {
		return Issued{}, fmt.Errorf("issuing an epoch: %w", err)
	}
	for range 4 { // a tag of 8 bytes repeats once in 2^44 epochs of 1,008 boxes
		i, err := d.issue(core, random)
		if !errors.Is(err, errTagTwice) {
			return i, err
		}
	}
	return Issued{}, errTagTwice
}

// core fills all of the core but what is drawn.
func (d *Draft) core() (Core, error) {
	c := Core{Version: protocol.Version, Suite: protocol.Suite, Issuer: d.Issuer, Seq: d.Seq, CreatedAt: d.CreatedAt}
	for _, p := range d.Parents {
		if p.Gen == math.MaxUint32 {
			return Core{}, errors.New("the generations of the group are used up")
		}
		c.Gen = max(c.Gen, p.Gen+1)
		c.Parents = append(c.Parents, p.ID)
	}
	c.Parents = protocol.SortIDs(c.Parents)
	c.GovHeads = protocol.SortIDs(append(c.GovHeads, d.GovHeads...))
	c.Lanes = protocol.SortIDs(append(c.Lanes, d.Lanes...))
	c.Heals = protocol.SortIDs(append(c.Heals, d.Heals...))
	if len(d.Recipients) == 0 {
		return Core{}, errors.New("an epoch needs a recipient")
	}
	if len(d.Recipients) > protocol.MaxDevices {
		return Core{}, ErrTooLarge
	}
	if d.Inbox != nil {
		if len(d.Parents) == 0 || len(d.Recipients) > protocol.SmallGroup {
			return Core{}, ErrAuthor
		}
		from := d.Inbox.InboxEpoch()
		c.OrgEpoch, c.InboxKey, c.InboxRead = from[:], d.Inbox.Core.InboxKey, d.Inbox.Core.InboxRead
	}
	c.Boxes = uint16(paddedBoxes(len(d.Recipients)))
	boxed := make([]Boxed, len(d.Recipients))
	devices, keys := map[identity.DeviceID]bool{}, map[[32]byte]bool{}
	for i, r := range d.Recipients {
		ref := r.Key.Ref()
		if devices[r.Device] || keys[ref] {
			return Core{}, errors.New("a device or a key is among the recipients twice")
		}
		devices[r.Device], keys[ref] = true, true
		boxed[i] = Boxed{Member: r.Member, Device: r.Device, Key: r.Key.Ref()}
	}
	c.Roster = RosterHash(boxed)
	return c, nil
}

func (d *Draft) issue(c Core, random io.Reader) (Issued, error) {
	fail := func(err error) (Issued, error) { return Issued{}, fmt.Errorf("issuing an epoch: %w", err) }
	var drawn [4][32]byte
	for i := range drawn {
		if _, err := io.ReadFull(random, drawn[i][:]); err != nil {
			return fail(err)
		}
	}
	c.Random = drawn[0]
	pageKey := MailKeyFromSeed(hedged(d.Hedge, drawn[3], label.Page, c.Random[:]))
	c.PageKey = pageKey.Public()
	var org *[32]byte // nil: every part is random, nobody has the secret
	if d.Inbox == nil {
		secret := hedged(d.Hedge, drawn[1], label.OrgSecret, c.Random[:])
		inbox, reader := inboxKeys(secret)
		c.InboxKey, c.InboxRead, org = inbox.Public(), reader.Public(), &secret
	}
	if err := c.check(); err != nil {
		return fail(err)
	}

	core := wire.Marshal(c)
	coreHash := label.Ref(label.EpochCore, core)
	secret := hedged(d.Hedge, drawn[2], label.EpochSecret, coreHash[:])
	boxes, err := d.boxes(coreHash, secret, org, int(c.Boxes), random)
	if err != nil {
		return fail(err)
	}
	bodies, refs := cutPages(coreHash, boxes)
	pagesHash := hashPages(refs)
	body := headerBody{Core: core, ConfTag: confirm(secret, coreHash, pagesHash)}
	if org != nil {
		body.OrgTag = confirm(*org, coreHash, pagesHash)
	}
	out := Issued{PageKey: pageKey}
	for i, b := range bodies {
		if c.Inline() {
			body.Pages = append(body.Pages, wire.Marshal(b))
			continue
		}
		body.Pages = append(body.Pages, wire.Marshal(refs[i]))
		out.Pages = append(out.Pages, protocol.SignFrame(d.Group, protocol.KindPage, d.Device, b))
	}
	out.Header = protocol.SignFrame(d.Group, protocol.KindEpoch, d.Device, wire.Marshal(body))
	if len(out.Header.Marshal()) > out.Header.Kind.Max() {
		return fail(ErrTooLarge)
	}
	out.Keys = newKeys(protocol.EpochID(out.Header.ID(d.Group)), secret, org)
	return out, nil
}

// boxes seals the secrets to the recipients and fills up with computed padding.
func (d *Draft) boxes(coreHash, secret [32]byte, org *[32]byte, count int, random io.Reader) ([]box, error) {
	var boxes []box
	for _, r := range d.Recipients {
		// All boxes are alike: who is no operator gets as many random bytes.
		var part [32]byte
		if r.Operator && org != nil {
			part = *org
		} else {
			if _, err := io.ReadFull(random, part[:]); err != nil {
				return nil, err
			}
		}
		ct, err := SealTo(r.Key, label.Box, coreHash[:], append(secret[:], part[:]...))
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, box{Tag: tagOf(coreHash, r.Key.Ref()), Ciphertext: ct})
	}
	pad := label.Derive(secret[:], label.Pad)
	for i := range count - len(boxes) {
		boxes = append(boxes, padBox(pad, uint32(i)))
	}
	seen := map[Tag]bool{}
	for _, b := range boxes {
		if seen[b.Tag] {
			return nil, errTagTwice
		}
		seen[b.Tag] = true
	}
	return boxes, nil
}

func hedged(h HedgeKey, drawn [32]byte, l label.Label, context []byte) [32]byte {
	prk := label.Extract(h.slice(), drawn[:])
	return [32]byte(label.Expand(prk[:], l, context, 32))
}

// confirm is the tag that ties a secret to core and boxes.
func confirm(secret, coreHash, pagesHash [32]byte) [32]byte {
	return mac(label.Derive(secret[:], label.Confirm), coreHash[:], pagesHash[:])
}

// inboxKeys derives the organisers' inbox keys from their secret.
func inboxKeys(org [32]byte) (KEMPrivate, MailKey) {
	return deriveKEM(label.Derive(org[:], label.InboxKey)), MailKeyFromSeed(label.Derive(org[:], label.InboxRead))
}
