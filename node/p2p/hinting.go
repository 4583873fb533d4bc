package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// hintTopic is the one topic. Only members' connections carry it, so it need
	// not be hidden, and it names nothing.
	hintTopic = "1"

	maxRPC        = 20 << 10 // the longest hint and what goes around it
	maxControl    = 4 << 10
	maxSubs       = 64
	maxPublish    = 16
	maxControlIDs = 500
	maxBackoff    = 3600 // seconds; gossipsub keeps an entry for as long as it is told
	queueLength   = 256  // messages; the default of 32 drops in a burst
)

// hinting is gossipsub used as a loudspeaker: what a member announces goes to
// all its members at once, and nobody passes it on.
type hinting struct {
	ctx    context.Context
	pubsub *pubsub.PubSub
	topic  *pubsub.Topic
	host   *Host
}

func startHints(ctx context.Context, bh host.Host, h *Host) (*hinting, error) {
	g := &hinting{ctx: ctx, host: h}
	params := pubsub.DefaultGossipSubParams()
	// Nobody passes hints on, and reconciliation finds what is missed: no IHAVE,
	// no IDONTWANT.
	params.Dlazy, params.GossipFactor = 0, 0
	params.IDontWantMessageThreshold = maxRPC
	params.MaxIHaveLength = maxControlIDs
	ps, err := pubsub.NewGossipSub(ctx, bh,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			id := sha256.Sum256(m.GetData())
			return string(id[:])
		}),
		pubsub.WithGossipSubParams(params),
		pubsub.WithFloodPublish(true), pubsub.WithPeerExchange(false),
		pubsub.WithMaxMessageSize(maxRPC), pubsub.WithMaxControlMessageSize(maxControl),
		pubsub.WithPeerOutboundQueueSize(queueLength), pubsub.WithValidateQueueSize(queueLength),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(
			pubsub.NewAllowlistSubscriptionFilter(hintTopic), maxSubs)),
		pubsub.WithAppSpecificRpcInspector(g.inspect),
	)
	if err != nil {
		return nil, fmt.Errorf("p2p: start gossip: %w", err)
	}
	g.pubsub = ps
	// Inline: a validator never waits here, and the others would be throttled.
	if err := ps.RegisterTopicValidator(hintTopic, g.validate, pubsub.WithValidatorInline(true)); err != nil {
		return nil, fmt.Errorf("p2p: start gossip: %w", err)
	}
	if g.topic, err = ps.Join(hintTopic); err != nil {
		return nil, fmt.Errorf("p2p: start gossip: %w", err)
	}
	// A relay is subscribed for others to see, without a queue of messages here.
	if _, err := g.topic.Relay(); err != nil {
		return nil, fmt.Errorf("p2p: start gossip: %w", err)
	}
	return g, nil
}

// validate takes a hint. It answers Ignore so that it goes no further: whoever
// has pulled the item announces it.
func (g *hinting) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == g.host.self {
		return pubsub.ValidationAccept
	}
	_, ids, err := decodeHint(m.GetData())
	if err != nil {
		return pubsub.ValidationReject // inspect let it pass: it never comes to this
	}
	if l := g.host.linkTo(from); l != nil && l.proven.class == Member {
		l.hint(ids)
	}
	return pubsub.ValidationIgnore
}

// part waits, for at most a second, until gossip has noticed that the connection
// to p, already closed, is gone.
func (g *hinting) part(p peer.ID) {
	const steps = 200
	pause := time.NewTicker(time.Second / steps)
	defer pause.Stop()
	for range steps {
		if !slices.Contains(g.pubsub.ListPeers(""), p) {
			return
		}
		select {
		case <-pause.C:
		case <-g.ctx.Done():
			return
		}
	}
}

var errRPC = errors.New("p2p: a gossip message is out of bounds")

// inspect sees each gossip message before gossipsub acts on it. A member whose
// program is ours never fails here, so who fails loses the connection. Hints are looked
// at here, since gossipsub validates none a second time: what one member was thrown out
// for, another one could repeat for ever.
func (g *hinting) inspect(from peer.ID, rpc *pubsub.RPC) error {
	if len(rpc.GetSubscriptions()) > maxSubs || len(rpc.GetPublish()) > maxPublish || !controlFits(rpc.GetControl()) ||
		slices.ContainsFunc(rpc.GetPublish(), badHint) {
		g.host.expel(from)
		return errRPC
	}
	return nil
}

func badHint(m *pb.Message) bool { return m.GetTopic() == hintTopic && !hintFits(m.GetData()) }

func controlFits(c *pb.ControlMessage) bool {
	ids := 0
	for _, x := range c.GetIhave() {
		ids += 1 + len(x.GetMessageIDs())
	}
	for _, x := range c.GetIwant() {
		ids += 1 + len(x.GetMessageIDs())
	}
	for _, x := range c.GetIdontwant() {
		ids += 1 + len(x.GetMessageIDs())
	}
	for _, x := range c.GetPrune() {
		if x.GetBackoff() > maxBackoff || len(x.GetPeers()) > 0 {
			return false
		}
	}
	return ids <= maxControlIDs && len(c.GetGraft()) <= maxSubs && len(c.GetPrune()) <= maxSubs
}

// expel ends the link to a peer that broke a rule of gossip.
func (h *Host) expel(p peer.ID) {
	h.mu.Lock()
	l := h.byPeer[p]
	h.mu.Unlock()
	if l != nil {
		l.stop()
	}
}

// Announce tells all members that are linked now that we hold these ids. Any
// number: more than MaxHints go in several messages. What a busy link drops is
// not repeated; reconciliation finds it. ErrClosed after Close.
func (h *Host) Announce(ids [][32]byte) error {
	if !h.enter() {
		return ErrClosed
	}
	defer h.work.Done()
	for len(ids) > 0 {
		n := min(len(ids), MaxHints)
		if err := h.hints.topic.Publish(h.ctx, encodeHint(newSalt(), ids[:n])); err != nil {
			return h.dialError(h.ctx, fmt.Errorf("p2p: announce: %w", err))
		}
		ids = ids[n:]
	}
	return nil
}
