package label

import "strconv"

// Labels of frames: the label under which a frame of a kind is signed and its
// id is hashed (spec 20 section 1).
const (
	Op          Label = "Op"
	Epoch       Label = "Epoch"
	Page        Label = "Page"
	Message     Label = "Message"
	KeyPackage  Label = "KeyPackage"
	KeyUpdate   Label = "KeyUpdate"
	Presence    Label = "Presence"
	Inbox       Label = "Inbox"
	Welcome     Label = "Welcome"
	ReBox       Label = "ReBox"
	Batch       Label = "Batch"
	Chunk       Label = "Chunk"
	Card        Label = "Card"
	JoinRequest Label = "JoinRequest"
	Ack         Label = "Ack"
)

// Frame is the label of a frame kind that this version does not know: "Frame n".
// A later version that gives the kind a meaning keeps this label, so that today's
// devices can check the signature of what they carry without opening it.
func Frame(kind uint8) Label {
	return Label("Frame " + strconv.Itoa(int(kind)))
}

// Labels of identities and of what is compared by people (spec 20 section 2).
const (
	Member     Label = "Member"
	Device     Label = "Device"
	DeviceCert Label = "DeviceCert"
	Genesis    Label = "Genesis"
	Recovery   Label = "Recovery"
	Words      Label = "Words"
	Link       Label = "Link"
	Invite     Label = "Invite"
)

// Labels of the key epoch (spec 30).
const (
	EpochSecret Label = "epoch"
	OrgSecret   Label = "org"
	Box         Label = "box"
	BoxTag      Label = "BoxTag"
	KemKey      Label = "KemKey"
	EpochCore   Label = "EpochCore"
	Roster      Label = "Roster"
	Pages       Label = "Pages"
	Pad         Label = "pad"
	PadTag      Label = "pad tag"
	PadBox      Label = "pad box"
	Confirm     Label = "confirm"
	Net         Label = "net"
	SenderData  Label = "sender data"
	Encryption  Label = "encryption"
	InboxKey    Label = "inbox"
	InboxRead   Label = "inbox read"
	Tree        Label = "tree"
	Slot        Label = "Slot"
	Sender      Label = "sender"
	Application Label = "application"
	Handshake   Label = "handshake"
	Key         Label = "key"
	Nonce       Label = "nonce"
	Secret      Label = "secret"
	Content     Label = "Content"
	WelcomeBox  Label = "welcome"
	JoinBox     Label = "join"
	ReBoxLock   Label = "rebox"
	ReBoxKey    Label = "rebox key"
	InboxBox    Label = "inbox item"
	HedgeKey    Label = "hedge"
)

// Labels of envelopes and mailboxes (spec 30 section 6).
const (
	Envelope      Label = "envelope"
	EnvelopeNonce Label = "envelope nonce"
	Mailbox       Label = "Mailbox"
	Put           Label = "Put"
	Get           Label = "Get"
	Day           Label = "day"
	CommonWrite   Label = "common write"
	CommonRead    Label = "common read"
	InboxWrite    Label = "inbox write"
	LaneRead      Label = "lane read"
	PagesRoot     Label = "pages"
	Write         Label = "write"
	Read          Label = "read"
	Rendezvous    Label = "rendezvous"
	Mac           Label = "mac"
	Ticket        Label = "Ticket"
)

// Labels of the gate and of the links between peers (spec 60).
const (
	GateHint   Label = "gate hint"
	Gate       Label = "gate"
	GateSign   Label = "GateSign"
	GateSeal   Label = "gate seal"
	GateRescue Label = "gate rescue"
	Recon      Label = "recon"
)

// Labels of the device's own disk (spec 80, spec 85).
const (
	SlotWrap   Label = "slot wrap"
	SlotCommit Label = "slot commit"
	KeyFileSum Label = "key file sum"
	StoreFile  Label = "store file"
	StoreRow   Label = "store row"
	StoreDay   Label = "store day"
	StoreSum   Label = "store sum"
)
