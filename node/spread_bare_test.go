package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	mrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	quictransport "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"

	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// edge is a link: a dialled.
type edge struct{ a, b int }

// spreadGraph links each of n, but the first, to at most k drawn earlier ones.
func spreadGraph(seed uint64, n, k int) (list []edge) {
	r := mrand.New(mrand.NewPCG(seed, 1))
	for i := 1; i < n; i++ {
		for _, j := range r.Perm(i)[:min(i, k)] {
			list = append(list, edge{i, j})
		}
	}
	return list
}

// bare is a libp2p host with pubsub and a store, and nothing of ours in between.
type bare struct {
	host.Host
	ps    *pubsub.PubSub
	topic *pubsub.Topic
	db    *store.DB
}

// bareTopic is as short as that of hints.
const bareTopic = "1"

// bareHost is over QUIC, as links of phones are, with the settings of package p2p: they
// are those of the process.
func bareHost(t *testing.T) host.Host {
	t.Helper()
	sk, _, err := crypto.GenerateEd25519Key(rand.Reader)
	must(t, err)
	id, err := peer.IDFromPrivateKey(sk)
	must(t, err)
	ps, err := pstoremem.NewPeerstore()
	must(t, err)
	must(t, ps.AddPubKey(id, sk.GetPublic()))
	must(t, ps.AddPrivKey(id, sk))
	bus := eventbus.NewBus()
	sw, err := swarm.NewSwarm(id, ps, bus)
	must(t, err)
	cm, err := quicreuse.NewConnManager(quic.StatelessResetKey{}, quic.TokenGeneratorKey{})
	must(t, err)
	q, err := quictransport.NewTransport(sk, cm, nil, nil, nil)
	must(t, err)
	must(t, sw.AddTransport(q))
	must(t, sw.Listen(ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")))
	h, err := basichost.NewHost(sw, &basichost.HostOpts{EventBus: bus, DisableSignedPeerRecord: true})
	must(t, err)
	h.Start()
	t.Cleanup(func() {
		must(t, h.Close())
		must(t, cm.Close())
	})
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keep makes a body durable as an engine does an envelope, in the same kind of store.
func (b *bare) keep(id [32]byte, body []byte) error {
	return b.db.Commit(store.Space{1}, engine.Batch{Puts: []engine.Record{{Table: 7, Key: id[:], Value: body}}})
}

func openStore(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.TempDir(), [store.KeySize]byte{1})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

// connectBare links bare hosts by a graph, and waits until all know of all their neighbours
// that they listen to the topic.
func connectBare(t *testing.T, graph []edge, all []*bare) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	degree := make([]int, len(all))
	events := make([]*pubsub.TopicEventHandler, len(all))
	for i, b := range all {
		h, err := b.topic.EventHandler()
		must(t, err)
		defer h.Cancel()
		events[i] = h
	}
	for _, e := range graph {
		degree[e.a]++
		degree[e.b]++
		must(t, all[e.a].Connect(ctx, peer.AddrInfo{ID: all[e.b].ID(), Addrs: all[e.b].Addrs()}))
	}
	for i, h := range events {
		for joined := 0; joined < degree[i]; {
			ev, err := h.NextPeerEvent(ctx)
			must(t, err)
			if ev.Type == pubsub.PeerJoin {
				joined++
			}
		}
	}
}

// commits says when a receiver of the floor stores what came.
type commits int

const (
	noCommits   commits = iota
	thenCounted         // before it counts; meanwhile it was passed on already
	thenPassed          // before it counts and before it is passed on, which is the rule of spec 65 section 6
)

func (c commits) String() string {
	return [...]string{"no commits", "committed, then counted", "committed, then passed on"}[c]
}

// spreader is one way for bodies to spread, with all its nodes.
type spreader struct {
	name string
	// post lets a node write something, and returns the name under which the others
	// take note of it.
	post func(from int) string
	tape *tape
}

// tape takes note of who has what, and when.
type tape struct {
	nodes   int
	mu      sync.Mutex
	at      map[string]map[int]time.Time
	full    int // how many things all nodes have
	changed chan struct{}
}

func newTape(nodes int) *tape {
	return &tape{nodes: nodes, at: map[string]map[int]time.Time{}, changed: make(chan struct{})}
}

func (p *tape) note(node int, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at[what] == nil {
		p.at[what] = map[int]time.Time{}
	}
	if _, twice := p.at[what][node]; twice {
		return
	}
	p.at[what][node] = time.Now()
	if len(p.at[what]) == p.nodes {
		p.full++
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// until waits until all nodes have so many things, and says how many they have.
func (p *tape) until(full int, patience time.Duration) int {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		p.mu.Lock()
		got, changed := p.full, p.changed
		p.mu.Unlock()
		if got >= full {
			return got
		}
		select {
		case <-changed:
		case <-late.C:
			return got
		}
	}
}

// clear forgets what was taken note of.
func (p *tape) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.at)
	p.full = 0
}

// newFloor is gossipsub that floods whole bodies to everybody, as it comes: the fastest
// that a body can be everywhere on these links.
func newFloor(t *testing.T, graph []edge, n int, c commits) *spreader {
	t.Helper()
	s := &spreader{name: "floor, " + c.String(), tape: newTape(n)}
	all := make([]*bare, n)
	for i := range all {
		b := &bare{Host: bareHost(t)}
		all[i] = b
		if c != noCommits {
			b.db = openStore(t)
		}
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		ps, err := pubsub.NewGossipSub(ctx, b, pubsub.WithFloodPublish(true), pubsub.WithPeerOutboundQueueSize(256),
			pubsub.WithValidateQueueSize(256), pubsub.WithMessageIdFn(bodyID))
		must(t, err)
		if c == thenPassed {
			must(t, ps.RegisterTopicValidator(bareTopic, func(_ context.Context, _ peer.ID, m *pubsub.Message) bool {
				return b.keep(sha256.Sum256(m.GetData()), m.GetData()) == nil
			}))
		}
		b.topic, err = ps.Join(bareTopic)
		must(t, err)
		sub, err := b.topic.Subscribe(pubsub.WithBufferSize(4096))
		must(t, err)
		go func() {
			for {
				m, err := sub.Next(ctx)
				if err != nil {
					return
				}
				id := sha256.Sum256(m.GetData())
				if c == thenCounted && b.keep(id, m.GetData()) != nil {
					return
				}
				s.tape.note(i, string(id[:]))
			}
		}()
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

func newBody() []byte {
	body := make([]byte, protocol.BucketSmall)
	rand.Read(body)
	return body
}

func bodyID(m *pb.Message) string {
	id := sha256.Sum256(m.GetData())
	return string(id[:])
}
