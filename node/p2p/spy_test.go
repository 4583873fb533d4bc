package p2p

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
)

// tracer passes on what pubsub receives.
type tracer struct {
	pubsub.RawTracer
	got func(*pubsub.RPC)
}

func (tracer) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (tracer) OnClosedOutboundStream(peer.ID)                       {}
func (tracer) Join(string)                                          {}
func (tracer) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (tracer) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (tracer) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (tracer) Graft(peer.ID, string)                                {}
func (tracer) Prune(peer.ID, string)                                {}
func (t tracer) RecvRPC(r *pubsub.RPC)                              { t.got(r) }

// sight is what a spy saw.
type sight struct {
	protocols, agent, answered int
	topics, opened             int
	bytes                      int64
}

// spy dials the victim with a stock libp2p host that subscribes to many topics,
// lets identify run, and asks for every protocol by name. It returns when the
// victim has closed the connection or has shown all that it has.
func spy(t *testing.T, victim peer.ID, addr ma.Multiaddr) (saw sight) {
	var m meter
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.BandwidthReporter(&m))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var mu sync.Mutex
	told := make(chan struct{}, 1) // topics were told
	gone := make(chan struct{})
	h.Network().Notify(&network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) { close(gone) }})
	sw := h.Network().(*swarm.Swarm)
	handler := sw.StreamHandler()
	sw.SetStreamHandler(func(s network.Stream) {
		mu.Lock()
		saw.opened++
		mu.Unlock()
		handler(s)
	})
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithRawTracer(tracer{got: func(r *pubsub.RPC) {
		mu.Lock()
		saw.topics += len(r.GetSubscriptions())
		mu.Unlock()
		if len(r.GetSubscriptions()) > 0 {
			signal(told)
		}
	}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{hintTopic, "2", "3", "4"} {
		topic, err := ps.Join(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topic.Relay(); err != nil {
			t.Fatal(err)
		}
	}
	identified, err := h.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		t.Fatal(err)
	}
	defer identified.Close()
	h.Peerstore().AddAddr(victim, addr, time.Hour)
	if _, err := sw.DialPeer(ctx, victim); err == nil { // identify starts by itself
		for _, name := range []protocol.ID{identify.ID, identify.IDPush, "/ipfs/ping/1.0.0", "/meshsub/1.3.0", "/meshsub/1.2.0", "/meshsub/1.1.0", "/floodsub/1.0.0", "/libp2p/circuit/relay/0.2.0/hop"} {
			s, err := sw.NewStream(network.WithNoDial(ctx, "probe"), victim)
			if err != nil {
				break
			}
			s.SetDeadline(time.Now().Add(patience))
			if msmux.SelectProtoOrFail(name, s) == nil {
				saw.answered++
			}
			s.Reset()
		}
		select {
		case <-identified.Out():
			<-told
		case <-gone:
		case <-ctx.Done():
			t.Fatal("the victim neither answered nor closed")
		}
	}
	known, _ := h.Peerstore().GetProtocols(victim)
	saw.protocols = len(known)
	if _, err := h.Peerstore().Get(victim, "AgentVersion"); err == nil {
		saw.agent = 1
	}
	mu.Lock()
	defer mu.Unlock()
	saw.bytes = m.in.Load()
	return saw
}

// Without a key there is nothing to see; the same spy sees all of a plain host.
func TestSpySeesNothing(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			v := start(t, keys(key("k", Member)))
			if saw := spy(t, v.self, ma.StringCast(v.addr(kind))); saw != (sight{}) {
				t.Errorf("the spy saw %+v", saw)
			}
			v.silent()
			if in, out := v.Counters(); out != 0 {
				t.Errorf("%d bytes in, %d out", in, out)
			}
			plain := plainHost(t)
			for _, a := range plain.Network().ListenAddresses() {
				if isQUIC(a) != (kind == "quic") {
					continue
				}
				saw := spy(t, plain.ID(), a)
				if saw.protocols == 0 || saw.agent == 0 || saw.answered == 0 || saw.topics == 0 || saw.opened == 0 || saw.bytes == 0 {
					t.Errorf("the spy is blind: %+v", saw)
				}
			}
		})
	}
}

func plainHost(t *testing.T) host.Host {
	h, err := libp2p.New(libp2p.ListenAddrStrings(listenAll()...), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := ps.Join(hintTopic)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.Relay(); err != nil {
		t.Fatal(err)
	}
	return h
}
