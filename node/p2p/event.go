package p2p

// LinkID names a link of one Host; it is never used again by that Host.
type LinkID uint64

// Event is LinkUp, LinkDown, Message or Hints.
type Event interface{ event() }

// LinkUp says that a connection is proven and its link can carry messages. It
// comes before every other event of the link. For the dialler of a connection on
// which the listener asked for a signature it does not yet mean that the
// listener was content: a refusal shows as LinkDown.
type LinkUp struct {
	Link    LinkID
	Class   Class    // CatchUp if either side asked for a signature, else the key's
	Tag     [32]byte // our tag of the key that was proven
	Dialled bool     // we dialled
	Addr    string   // the remote multiaddr, for redialling if Dialled and not Circuit
	Circuit bool     // the link goes through a ferry, which ends it after a while
	Device  [16]byte // the device whose signature was admitted, else zero
}

// LinkDown says that the link is gone. It is the last event of the link.
type LinkDown struct{ Link LinkID }

// Message is one message of a link, 1 to MaxMessage bytes. The receiver owns Data.
type Message struct {
	Link LinkID
	Data []byte
}

// Hints are ids that the member at the other end of the link announced. The
// receiver owns IDs. They are no truth: they may be missing, repeated, invented.
type Hints struct {
	Link LinkID
	IDs  [][32]byte
}

func (LinkUp) event()   {}
func (LinkDown) event() {}
func (Message) event()  {}
func (Hints) event()    {}
