package p2p

import (
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
)

// door is libp2p's connection gater: it turns away who comes while too many
// wait, and every identity that is not Ed25519 (RSA keys cost us, and no device
// of ours has one).
type door struct{ waiting *waiting } // nil: as many as there are may wait

func (d door) InterceptPeerDial(peer.ID) bool               { return true }
func (d door) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

func (d door) InterceptAccept(c network.ConnMultiaddrs) bool {
	return d.waiting == nil || d.waiting.room(c.RemoteMultiaddr())
}

// An outbound connection by address alone has no ID yet; the dialler checks it.
func (d door) InterceptSecured(dir network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return isEd25519(p) || dir == network.DirOutbound && p == ""
}

func (d door) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// isEd25519 reports whether p carries an Ed25519 key in itself.
func isEd25519(p peer.ID) bool {
	k, err := p.ExtractPublicKey()
	return err == nil && k.Type() == crypto.Ed25519
}

// meter counts the bytes of all streams, and tells the traffic of those of hints. It
// keeps no peer and no protocol.
type meter struct {
	in, out atomic.Int64
	traffic *Traffic // nil: none
}

func (m *meter) LogSentMessage(int64) {}
func (m *meter) LogRecvMessage(int64) {}
func (m *meter) LogSentMessageStream(n int64, id protocol.ID, _ peer.ID) {
	m.out.Add(n)
	m.traffic.gossip(id, 0, int(n))
}
func (m *meter) LogRecvMessageStream(n int64, id protocol.ID, _ peer.ID) {
	m.in.Add(n)
	m.traffic.gossip(id, int(n), 0)
}

func (m *meter) GetBandwidthForPeer(peer.ID) (s metrics.Stats)         { return s }
func (m *meter) GetBandwidthForProtocol(protocol.ID) (s metrics.Stats) { return s }
func (m *meter) GetBandwidthTotals() metrics.Stats {
	return metrics.Stats{TotalIn: m.in.Load(), TotalOut: m.out.Load()}
}
func (m *meter) GetBandwidthByPeer() map[peer.ID]metrics.Stats         { return nil }
func (m *meter) GetBandwidthByProtocol() map[protocol.ID]metrics.Stats { return nil }
func (m *meter) Reset()                                                {}
func (m *meter) TrimIdle(time.Time)                                    {}
