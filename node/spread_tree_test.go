package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// treeRouter runs the tree as a PubSubRouter. The interface can be implemented outside of the
// package, and nothing that it is given can send: the queues of the peers are not exported. So
// the host that pubsub is made with is this router, too, and keeps the streams that pubsub opens
// by it. Duplicates are told to tracers alone, so there is one of these as well.
type treeRouter struct {
	host.Host
	ctx   context.Context // ends with the test
	began time.Time

	mu     sync.Mutex
	tree   *tree
	lines  map[peer.ID]*line
	bodies map[treeID]*pb.Message
	timer  *time.Timer
}

const treeProtocol = protocol.ID("/tree/1")

// line is the stream to one peer. What is to be sent waits here, so that a slow peer does
// not hold up the others.
type line struct {
	network.Stream
	mu    sync.Mutex // of writing: pubsub writes its greeting itself
	out   []byte
	due   chan struct{}
	ended chan struct{}
}

func (l *line) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Stream.Write(b)
}

// SetWriteDeadline does nothing: pubsub sets one for its greeting and would leave it there.
func (l *line) SetWriteDeadline(time.Time) error { return nil }

// NewStream is what pubsub opens its streams with.
func (r *treeRouter) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	s, err := r.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	l := &line{Stream: s, due: make(chan struct{}, 1), ended: make(chan struct{})}
	r.mu.Lock()
	r.lines[p] = l
	r.mu.Unlock()
	go r.send(l)
	return l, nil
}

func (r *treeRouter) send(l *line) {
	for {
		select {
		case <-l.due:
		case <-l.ended:
			return
		case <-r.ctx.Done():
			return
		}
		r.mu.Lock()
		out := l.out
		l.out = nil
		r.mu.Unlock()
		if _, err := l.Write(out); err != nil {
			return
		}
	}
}

func (r *treeRouter) Protocols() []protocol.ID { return []protocol.ID{treeProtocol} }
func (r *treeRouter) Attach(*pubsub.PubSub)    {}

func (r *treeRouter) OnNewOutboundStream(p peer.ID, _ protocol.ID, hello *pubsub.RPC) *pubsub.RPC {
	r.do(func(time.Duration) { r.tree.up(string(p)) })
	return hello
}

func (r *treeRouter) OnClosedOutboundStream(p peer.ID) {
	r.do(func(time.Duration) {
		r.tree.down(string(p))
		if l := r.lines[p]; l != nil {
			close(l.ended)
			delete(r.lines, p)
		}
	})
}

func (r *treeRouter) OnNewIncomingStream(peer.ID, protocol.ID)      {}
func (r *treeRouter) OnClosedIncomingStream(peer.ID, protocol.ID)   {}
func (r *treeRouter) EnoughPeers(string, int) bool                  { return true }
func (r *treeRouter) AcceptFrom(peer.ID) pubsub.AcceptStatus        { return pubsub.AcceptAll }
func (r *treeRouter) Join(string)                                   {}
func (r *treeRouter) Leave(string)                                  {}
func (r *treeRouter) Preprocess(from peer.ID, ms []*pubsub.Message) {}

// Publish is told of a body that the validator has stored, an own one or another's.
func (r *treeRouter) Publish(m *pubsub.Message) {
	id := treeID(sha256.Sum256(m.GetData()))
	r.do(func(now time.Duration) {
		r.bodies[id] = m.Message
		r.tree.stored(now, id)
	})
}

func (r *treeRouter) HandleRPC(rpc *pubsub.RPC) {
	c, from := rpc.GetControl(), string(rpc.From())
	if c == nil {
		return
	}
	r.do(func(now time.Duration) {
		for _, x := range c.GetIhave() {
			r.tree.told(now, from, treeIDs(x.GetMessageIDs()))
		}
		for _, x := range c.GetIwant() {
			r.tree.asked(from, treeIDs(x.GetMessageIDs()))
		}
		for range c.GetPrune() {
			r.tree.prunedBy(from)
		}
	})
}

func treeIDs(list []string) (ids []treeID) {
	for _, s := range list {
		if len(s) == 32 {
			ids = append(ids, treeID([]byte(s)))
		}
	}
	return ids
}

// do gives the tree something, and carries out what follows.
func (r *treeRouter) do(f func(now time.Duration)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.began)
	f(now)
	for _, a := range r.tree.take() {
		r.carryOut(a)
	}
	if at := r.tree.next(); at != 0 {
		r.timer.Reset(max(0, at-now))
	}
}

func (r *treeRouter) carryOut(a treeAct) {
	l := r.lines[peer.ID(a.to)]
	if l == nil {
		return
	}
	rpc := &pb.RPC{}
	list := func(ids []treeID) (out []string) {
		for _, id := range ids {
			out = append(out, string(id[:]))
		}
		return out
	}
	for _, id := range a.give {
		rpc.Publish = append(rpc.Publish, r.bodies[id])
	}
	switch {
	case a.tell != nil:
		rpc.Control = &pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: proto.String(bareTopic), MessageIDs: list(a.tell)}}}
	case a.ask != nil:
		rpc.Control = &pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: list(a.ask)}}}
	case a.prune:
		rpc.Control = &pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: proto.String(bareTopic)}}}
	}
	l.out = binary.AppendUvarint(l.out, uint64(proto.Size(rpc)))
	l.out, _ = proto.MarshalOptions{}.MarshalAppend(l.out, rpc)
	select {
	case l.due <- struct{}{}:
	default:
	}
}

// newTreeSpread is the tree on bare hosts; each body is durable before it goes on.
func newTreeSpread(t *testing.T, graph []edge, n int) *spreader {
	t.Helper()
	s := &spreader{name: "tree", tape: newTape(n)}
	all := make([]*bare, n)
	for i := range all {
		ctx, cancel := context.WithCancel(context.Background())
		r := &treeRouter{Host: bareHost(t), ctx: ctx, began: time.Now(), tree: newTree(), lines: map[peer.ID]*line{}, bodies: map[treeID]*pb.Message{}}
		r.timer = time.AfterFunc(time.Hour, func() { r.do(r.tree.tick) })
		t.Cleanup(func() { r.timer.Stop() })
		b := &bare{Host: r, db: openStore(t)}
		all[i] = b
		t.Cleanup(cancel)
		var err error
		b.ps, err = pubsub.NewPubSub(ctx, b, r, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
			pubsub.WithMessageIdFn(bodyID), pubsub.WithRawTracer(treeTracer{r: r}), pubsub.WithValidateQueueSize(2048), pubsub.WithValidateThrottle(1<<16))
		must(t, err)
		must(t, b.ps.RegisterTopicValidator(bareTopic, func(_ context.Context, _ peer.ID, m *pubsub.Message) bool {
			id := sha256.Sum256(m.GetData())
			if b.keep(id, m.GetData()) != nil {
				return false
			}
			s.tape.note(i, string(id[:]))
			return true
		}, pubsub.WithValidatorConcurrency(1<<16)))
		b.topic, err = b.ps.Join(bareTopic)
		must(t, err)
		_, err = b.topic.Relay()
		must(t, err)
	}
	connectBare(t, graph, all)
	s.post = func(from int) string {
		body := newBody()
		id := sha256.Sum256(body)
		must(t, all[from].topic.Publish(context.Background(), body))
		return string(id[:])
	}
	return s
}

// treeTracer tells the router what pubsub tells tracers alone.
type treeTracer struct {
	untold
	r *treeRouter
}

// ValidateMessage is told of a body that came for the first time, before it is stored.
func (x treeTracer) ValidateMessage(m *pubsub.Message) {
	if !m.Local {
		x.DuplicateMessage(m)
	}
}

// DuplicateMessage is told of one that came again.
func (x treeTracer) DuplicateMessage(m *pubsub.Message) {
	x.r.do(func(time.Duration) { x.r.tree.given(string(m.ReceivedFrom), sha256.Sum256(m.GetData())) })
}

// untold is the rest of a tracer.
type untold struct{}

func (untold) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (untold) OnClosedOutboundStream(peer.ID)                       {}
func (untold) Join(string)                                          {}
func (untold) Leave(string)                                         {}
func (untold) Graft(peer.ID, string)                                {}
func (untold) Prune(peer.ID, string)                                {}
func (untold) DeliverMessage(*pubsub.Message)                       {}
func (untold) RejectMessage(*pubsub.Message, string)                {}
func (untold) ThrottlePeer(peer.ID)                                 {}
func (untold) RecvRPC(*pubsub.RPC)                                  {}
func (untold) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (untold) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (untold) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (untold) UndeliverableMessage(*pubsub.Message)                 {}
