package p2p

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/util"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	pb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// maxObserved is the longest answer of a ferry that is read.
const maxObserved = 4 << 10

// observe asks a ferry from which address it sees this host come: the one that a router
// gave it. It is the one question of libp2p's identify that a host asks; it answers none,
// and of the answer only the address is read. nil: the ferry does not say.
func observe(ctx context.Context, c *conn) ma.Multiaddr {
	s, err := openStream(ctx, c, identify.ID)
	if err != nil {
		return nil
	}
	defer s.Reset()
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	s.SetDeadline(time.Now().Add(negotiation))
	r := util.NewDelimitedReader(s, maxObserved)
	defer r.Close()
	var m pb.Identify
	if r.ReadMsg(&m) != nil {
		return nil
	}
	a, ok := punchable(m.GetObservedAddr())
	if !ok {
		return nil
	}
	return a
}

// punchable reads an address at which somebody behind a router may answer by QUIC.
func punchable(b []byte) (ma.Multiaddr, bool) {
	if len(b) > maxAddr {
		return nil, false
	}
	a, err := ma.NewMultiaddrBytes(b)
	if err != nil {
		return nil, false
	}
	if _, err := parseAddr(a.String()); err != nil || !isQUIC(a) || manet.IsIPUnspecified(a) {
		return nil, false
	}
	ip, err := manet.ToIP(a)
	return a, err == nil && !ip.IsMulticast() && !ip.IsLinkLocalUnicast()
}
