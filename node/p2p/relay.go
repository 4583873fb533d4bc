package p2p

import (
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// Bounds of circuits (spec 75 section 11), each way. They hold for all circuits of a
// ferry alike, so a ferry that gives more to some gives nothing to the others.
const (
	openCircuitBytes   = 128 << 10
	openCircuitTime    = 2 * time.Minute
	closedCircuitBytes = 32 << 20
	closedCircuitTime  = 10 * time.Minute
	openCircuits       = 16 // of one peer
	closedCircuits     = 4
	maxReserved        = 128
	// maxReservedIP is of one IPv4 address, or of one IPv6 operator: many phones stand
	// behind one carrier's address.
	maxReservedIP = 64
	reservedFor   = time.Hour
)

// relayBounds are those of an open ferry, or of one that is closed.
func relayBounds(closed bool) relay.Resources {
	r := relay.Resources{
		Limit:          &relay.RelayLimit{Duration: openCircuitTime, Data: openCircuitBytes},
		ReservationTTL: reservedFor, MaxReservations: maxReserved, MaxCircuits: openCircuits, BufferSize: 2 << 10,
		MaxReservationsPerPeer: 1, MaxReservationsPerIP: maxReservedIP, MaxReservationsPerASN: maxReservedIP,
	}
	if closed {
		r.Limit = &relay.RelayLimit{Duration: closedCircuitTime, Data: closedCircuitBytes}
		r.MaxCircuits = closedCircuits
	}
	return r
}

// startRelay lets phones reach one another through a ferry. The two sides of a circuit
// authenticate each other inside it, and prove what they hold there: the ferry passes on
// bytes that it cannot read.
func startRelay(h host.Host, holder func([]byte) bool, bounds relay.Resources, c *circuitCounts) (*relay.Relay, error) {
	options := []relay.Option{relay.WithResources(bounds), relay.WithMetricsTracer(c)}
	if holder != nil {
		options = append(options, relay.WithACL(holders(holder)))
	}
	return relay.New(h, options...)
}

// holders lets who has shown a ticket reserve a place and call, and nobody else.
type holders func([]byte) bool

func (a holders) AllowReserve(p peer.ID, _ ma.Multiaddr) bool { return a([]byte(p)) }

func (a holders) AllowConnect(src peer.ID, _ ma.Multiaddr, dst peer.ID) bool {
	return a([]byte(src)) && a([]byte(dst))
}

// Circuits is what a ferry did between phones since it was made. It names nobody.
type Circuits struct {
	Reserved int64  // places that are reserved now
	Open     int64  // circuits that are open now
	Begun    uint64 // circuits
	Refused  uint64 // places and circuits that were asked for and not given
	Bytes    uint64 // that went through circuits
}

// Circuits returns what was counted so far.
func (f *FerryHost) Circuits() Circuits {
	c := &f.circuits
	return Circuits{Reserved: c.reserved.Load(), Open: c.open.Load(), Begun: c.begun.Load(),
		Refused: c.refused.Load(), Bytes: c.bytes.Load()}
}

// circuitCounts is libp2p's tracer of a relay.
type circuitCounts struct {
	reserved, open        atomic.Int64
	begun, refused, bytes atomic.Uint64
}

func (c *circuitCounts) RelayStatus(bool) {}

func (c *circuitCounts) ConnectionOpened() {
	c.open.Add(1)
	c.begun.Add(1)
}

func (c *circuitCounts) ConnectionClosed(time.Duration) { c.open.Add(-1) }

func (c *circuitCounts) ConnectionRequestHandled(s pb.Status) { c.answered(s) }

func (c *circuitCounts) ReservationAllowed(again bool) {
	if !again {
		c.reserved.Add(1)
	}
}

func (c *circuitCounts) ReservationClosed(n int) { c.reserved.Add(int64(-n)) }

func (c *circuitCounts) ReservationRequestHandled(s pb.Status) { c.answered(s) }

func (c *circuitCounts) BytesTransferred(n int) { c.bytes.Add(uint64(n)) }

func (c *circuitCounts) answered(s pb.Status) {
	if s != pb.Status_OK {
		c.refused.Add(1)
	}
}
