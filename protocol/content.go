package protocol

import (
	"errors"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

// ContentType says what the payload of a message is (spec 50 section 1).
// Types that are not listed are kept and shown as "needs a newer version".
type ContentType uint16

// Content types. Numbers are part of the wire format.
const (
	TypeAnnouncement ContentType = 1
	TypeMeeting      ContentType = 2
	TypeEdit         ContentType = 16
	TypeCancel       ContentType = 17
	TypePin          ContentType = 18
	TypeGroupCard    ContentType = 32
	TypeProfile      ContentType = 33
)

// ErrContent says that a content is malformed or its signature does not hold.
var ErrContent = errors.New("malformed content")

// Content is what a message says, and its place in its device's chain.
type Content struct {
	_         struct{} `cbor:",toarray"`
	Type      ContentType
	GovHeads  []OpID // sorted; the operations that the author had seen
	DevSeq    uint64 // 1 for the device's first message in the group
	PrevMsg   ContentID
	CreatedAt int64 // unix seconds; shown, never decides
	ExpiresAt int64 // unix seconds; the text is shredded then
	Payload   []byte
}

// Original is a content with all that its signature covers, so that it can be
// checked apart from the epoch key that carried it (group keys section 5.4).
type Original struct {
	_          struct{} `cbor:",toarray"`
	Epoch      EpochID
	Device     identity.DeviceID
	Generation uint32
	Guard      [4]byte
	Content    []byte // encoded Content
	Sig        identity.Signature
}

// SignOriginal signs a content for its place in an epoch.
func SignOriginal(g GroupID, e EpochID, d identity.DeviceKey, generation uint32, guard [4]byte, c Content) Original {
	o := Original{Epoch: e, Device: d.Public().ID(), Generation: generation, Guard: guard, Content: wire.Marshal(c)}
	o.Sig = d.Sign(label.Content, o.transcript(g))
	return o
}

// Verify says whether the original was signed in group g by the device of key
// pub, and names that device.
func (o Original) Verify(g GroupID, pub identity.DevicePublic) bool {
	return o.Device == pub.ID() && pub.Verify(label.Content, o.transcript(g), o.Sig)
}

// ID returns the content id.
func (o Original) ID(g GroupID) ContentID { return label.Ref(label.Content, o.transcript(g)) }

// Parse decodes the content inside.
func (o Original) Parse() (Content, error) { return ParseContent(o.Content) }

func (o Original) transcript(g GroupID) []byte {
	return wire.Marshal(struct {
		_          struct{} `cbor:",toarray"`
		Group      GroupID
		Epoch      EpochID
		Device     identity.DeviceID
		Generation uint32
		Guard      [4]byte
		Content    []byte
	}{Group: g, Epoch: o.Epoch, Device: o.Device, Generation: o.Generation, Guard: o.Guard, Content: o.Content})
}

// ParseContent decodes a content. The error wraps ErrContent.
func ParseContent(b []byte) (Content, error) {
	var c Content
	if err := wire.Unmarshal(b, MaxRoom, &c); err != nil {
		return Content{}, errors.Join(ErrContent, err)
	}
	if c.Type == 0 || c.DevSeq == 0 || len(c.GovHeads) > MaxHeads || !SortedIDs(c.GovHeads) ||
		c.CreatedAt < 0 || c.ExpiresAt < c.CreatedAt {
		return Content{}, ErrContent
	}
	return c, nil
}

// ParseOriginal decodes an original and the content inside. The error wraps
// ErrContent. The signature is not checked.
func ParseOriginal(b []byte) (Original, Content, error) {
	var o Original
	if err := wire.Unmarshal(b, MaxRoom, &o); err != nil {
		return Original{}, Content{}, errors.Join(ErrContent, err)
	}
	c, err := o.Parse()
	return o, c, err
}

// Marshal returns the encoded original.
func (o Original) Marshal() []byte { return wire.Marshal(o) }
