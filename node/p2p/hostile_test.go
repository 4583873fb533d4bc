package p2p

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
	"google.golang.org/protobuf/proto"
)

func quick(proof time.Duration) func(*Config, *bounds, *node) {
	return func(_ *Config, b *bounds, _ *node) { b.proof = proof }
}

// ended waits for the other side to end s and returns how many bytes it sent.
func ended(t *testing.T, s network.Stream) int {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(s)
	if err != nil && err.Error() == "i/o timeout" {
		t.Fatal("the victim never closed")
	}
	return len(got)
}

// Garbage of every length on the first stream: not one byte comes back, and a
// member gets in afterwards.
func TestGarbageIsMetWithSilence(t *testing.T) {
	for _, kind := range kinds {
		v := start(t, keys(key("k", Member)), quick(2*time.Second))
		s := newStranger(t, nil)
		inputs := [][]byte{bytes.Repeat([]byte{0xff}, 64<<10)}
		for n := range 2 * gateSize {
			x := make([]byte, n)
			rand.Read(x)
			inputs = append(inputs, x)
		}
		for _, x := range inputs {
			c, err := s.connect(v, kind)
			if err != nil {
				t.Fatal(err)
			}
			st, err := c.NewStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			st.Write(x)
			st.CloseWrite() // so that a short one ends before the deadline
			if n := ended(t, st); n != 0 {
				t.Fatalf("%d bytes of garbage got %d bytes", len(x), n)
			}
			c.Close()
		}
		v.silent()
		start(t, keys(key("k", Member))).mustDial(v.addr(kind))
	}
}

func TestUnprovenConnectionsDie(t *testing.T) {
	for _, kind := range kinds {
		v := start(t, keys(key("k", Member)), quick(50*time.Millisecond))
		s := newStranger(t, nil)
		for _, sends := range []int{-1, 0, 50} { // no stream, an empty one, half a proof
			c, err := s.connect(v, kind)
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan struct{})
			watch := &network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) { close(closed) }}
			s.Notify(watch)
			if sends >= 0 {
				if st, err := c.NewStream(t.Context()); err == nil {
					st.Write(make([]byte, sends))
				}
			}
			select {
			case <-closed:
			case <-t.Context().Done():
			case <-time.After(patience):
				t.Fatal("the connection lives on")
			}
			s.StopNotify(watch)
		}
		v.silent()
	}
}

// An M1 taken from one connection opens nothing on another peer's.
func TestReplayOnAnotherConnection(t *testing.T) {
	for _, kind := range kinds {
		k := key("k", Member)
		v := start(t, keys(k))
		first, second := newStranger(t, nil), newStranger(t, nil)
		m1 := proof(k.Secret, roleDialler, ends{from: first.LocalPeer(), to: v.self}, nonce{1})
		send := func(s *stranger) network.Stream {
			c, err := s.connect(v, kind)
			if err != nil {
				t.Fatal(err)
			}
			st, err := c.NewStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			st.Write(m1[:])
			return st
		}
		if n := ended(t, send(second)); n != 0 {
			t.Fatalf("the replay got %d bytes", n)
		}
		v.silent()
		var m2 [gateSize]byte
		if _, err := io.ReadFull(send(first), m2[:]); err != nil {
			t.Fatal("its owner was refused: ", err)
		}
	}
}

func TestOnlyEd25519Identities(t *testing.T) {
	for _, kind := range kinds {
		v := start(t, keys(key("k", Member)))
		for name, make := range map[string]func() (crypto.PrivKey, crypto.PubKey, error){
			"rsa":     func() (crypto.PrivKey, crypto.PubKey, error) { return crypto.GenerateRSAKeyPair(2048, rand.Reader) },
			"ecdsa":   func() (crypto.PrivKey, crypto.PubKey, error) { return crypto.GenerateECDSAKeyPair(rand.Reader) },
			"ed25519": func() (crypto.PrivKey, crypto.PubKey, error) { return crypto.GenerateEd25519Key(rand.Reader) },
		} {
			sk, _, err := make()
			if err != nil {
				t.Fatal(err)
			}
			_, err = newStranger(t, sk).knock(v, kind, key("k", Member), nil)
			if (err == nil) != (name == "ed25519") {
				t.Errorf("%s over %s: %v", name, kind, err)
			}
			// The dialler does not want them either.
			s := newStranger(t, sk)
			for _, a := range listenAll() {
				if err := s.Listen(ma.StringCast(a)); err != nil {
					t.Fatal(err)
				}
			}
			if name == "ed25519" {
				continue
			}
			for _, a := range s.ListenAddresses() {
				if _, err := v.dial(a.String()); err == nil {
					t.Errorf("dialled %s", name)
				}
			}
		}
	}
}

func TestUnprovenAreCounted(t *testing.T) {
	v := start(t, keys(key("k", Member)), quick(patience))
	s := make([]*stranger, 0, 17)
	for range v.bounds.unproven {
		x := newStranger(t, nil)
		c, err := x.connect(v, "quic")
		if err != nil {
			t.Fatal(err)
		}
		st, err := c.NewStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st.Write([]byte{1})
		s = append(s, x)
	}
	for { // the last ones may still be on their way to the swarm
		v.net.waiting.mu.Lock()
		n := v.net.waiting.all
		v.net.waiting.mu.Unlock()
		if n == v.bounds.unproven {
			break
		}
		runtime.Gosched()
	}
	if _, err := newStranger(t, nil).knock(v, "quic", key("k", Member), nil); err == nil {
		t.Fatal("one too many was let in")
	}
	s[0].Close()
	for v.net.waiting.room(ma.StringCast("/ip4/127.0.0.1/tcp/1")) == false {
		runtime.Gosched()
	}
	if _, err := newStranger(t, nil).knock(v, "quic", key("k", Member), nil); err != nil {
		t.Fatal(err)
	}
}

func TestUnprovenPerNetwork(t *testing.T) {
	w := newWaiting(defaultBounds())
	at := func(s string) func() { return w.enter(ma.StringCast(s)) }
	for _, group := range [][]string{
		{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.200/udp/1/quic-v1", "/ip6/::ffff:192.0.2.3/tcp/1", "/ip4/192.0.3.1/tcp/1"},
		{"/ip6/2001:db8:0:1::1/tcp/1", "/ip6/2001:db8:0:ff::1/tcp/1", "/ip6/2001:db8:0:2::1/tcp/1", "/ip6/2001:db8:0:100::1/tcp/1"},
	} {
		first, second := at(group[0]), at(group[1])
		if first == nil || second == nil || at(group[2]) != nil || at(group[3]) == nil {
			t.Fatal(group)
		}
		first()
		first()
		if at(group[2]) == nil || at(group[2]) != nil {
			t.Fatal("a place was given back twice or not at all")
		}
	}
	for w.all < w.limit.unproven {
		if at("/ip4/127.0.0.1/tcp/1") == nil {
			t.Fatal("loopback counts against its network")
		}
	}
	if at("/ip4/198.51.100.1/tcp/1") != nil || w.room(ma.StringCast("/ip4/198.51.100.1/tcp/1")) {
		t.Fatal("no limit in all")
	}
}

// A frame's declared length is checked before anything is allocated for it.
func TestDeclaredLength(t *testing.T) {
	for _, n := range []uint32{0, MaxMessage + 1, 1 << 31, 1<<32 - 1} {
		x := binary.BigEndian.AppendUint32(nil, n)
		x = append(x, make([]byte, 10)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			ReadFrame(bytes.NewReader(x))
		}
		runtime.ReadMemStats(&after)
		bytesPer := (after.TotalAlloc - before.TotalAlloc) / 100
		if _, err := ReadFrame(bytes.NewReader(x)); err != errFrame || bytesPer > 1024 {
			t.Errorf("length %d: %v, %d bytes", n, err, bytesPer)
		}
	}
	v := start(t, keys(key("k", Invite)))
	st, err := newStranger(t, nil).knock(v, "tcp", key("k", Invite), nil)
	if err != nil {
		t.Fatal(err)
	}
	st.Write([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3})
	find(v, func(LinkDown) bool { return true })
}

// mesh is a proven hostile member's gossip stream.
func mesh(t *testing.T, v *node) network.Stream {
	t.Helper()
	st, err := newStranger(t, nil).knock(v, "quic", key("k", Member), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := st.Conn().NewStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := msmux.SelectProtoOrFail("/meshsub/1.1.0", s); err != nil {
		t.Fatal(err)
	}
	return s
}

func writeRPC(s io.Writer, rpc *pb.RPC) error {
	x, err := proto.Marshal(rpc)
	if err != nil {
		return err
	}
	_, err = s.Write(append(binary.AppendUvarint(nil, uint64(len(x))), x...))
	return err
}

func subscribe(n, from int) *pb.RPC {
	r := new(pb.RPC)
	for i := range n {
		r.Subscriptions = append(r.Subscriptions, &pb.RPC_SubOpts{Subscribe: proto.Bool(true), Topicid: proto.String(fmt.Sprint("topic ", from+i))})
	}
	return r
}

func publish(data []byte) *pb.RPC {
	return &pb.RPC{Publish: []*pb.Message{{Data: data, Topic: proto.String(hintTopic)}}}
}

// Rows of the threat list: what a proven member cannot do with gossip. Each is
// thrown out, where a decent one stays.
func TestGossipRules(t *testing.T) {
	prune := func(p *pb.ControlPrune) *pb.RPC {
		return &pb.RPC{Control: &pb.ControlMessage{Prune: []*pb.ControlPrune{p}}}
	}
	ids := make([]string, maxControlIDs+1)
	for name, rpc := range map[string]*pb.RPC{
		"too many subscriptions": subscribe(maxSubs+1, 0),
		"a long backoff":         prune(&pb.ControlPrune{TopicID: proto.String(hintTopic), Backoff: proto.Uint64(1 << 62)}),
		"peer exchange":          prune(&pb.ControlPrune{TopicID: proto.String(hintTopic), Peers: []*pb.PeerInfo{{PeerID: []byte("x")}}}),
		"too many ids":           {Control: &pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: ids}}}},
		"too many ids to have":   {Control: &pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: proto.String(hintTopic), MessageIDs: ids}}}},
		"too many ids to spare":  {Control: &pb.ControlMessage{Idontwant: []*pb.ControlIDontWant{{MessageIDs: ids}}}},
		"too many grafts":        {Control: &pb.ControlMessage{Graft: slices.Repeat([]*pb.ControlGraft{{TopicID: proto.String(hintTopic)}}, maxSubs+1)}},
		"too many prunes":        {Control: &pb.ControlMessage{Prune: slices.Repeat([]*pb.ControlPrune{{TopicID: proto.String(hintTopic)}}, maxSubs+1)}},
		"too many messages":      {Publish: make17()},
		"a hint without ids":     publish(make([]byte, saltSize)),
		"a hint cut short":       publish(make([]byte, saltSize+hintSize-1)),
		"a hint too long":        publish(make([]byte, maxHint+hintSize)),
	} {
		v := start(t, keys(key("k", Member)))
		s := mesh(t, v)
		up := find(v, anyUp)
		if err := writeRPC(s, publish(encodeHint(salt{1}, [][32]byte{{7}}))); err != nil {
			t.Fatal(err)
		}
		find(v, func(h Hints) bool { return h.Link == up.Link && h.IDs[0] == [32]byte{7} })
		if err := writeRPC(s, rpc); err != nil {
			t.Fatal(name, err)
		}
		find(v, func(d LinkDown) bool { return d.Link == up.Link })
	}
}

func make17() (out []*pb.Message) {
	for i := range maxPublish + 1 {
		out = append(out, &pb.Message{Data: []byte{byte(i)}, Topic: proto.String("x")})
	}
	return out
}

// 200,000 subscriptions in small messages leave no trace, and hints go on.
func TestSubscriptionFlood(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	s := mesh(t, v)
	find(v, anyUp)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 200_000 / maxSubs {
		if err := writeRPC(s, subscribe(maxSubs, i*maxSubs)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeRPC(s, publish(encodeHint(salt{1}, [][32]byte{{7}}))); err != nil {
		t.Fatal(err)
	}
	find(v, func(Hints) bool { return true }) // all before it was read
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	// One message with them all is too long, and only its stream ends.
	if err := writeRPC(s, subscribe(200_000, 0)); err == nil {
		ended(t, s)
	}
	other := start(t, keys(key("k", Member)))
	other.mustDial(v.addr("tcp"))
	other.untilHints(v)
	v.untilHints(other)
	if err := other.Announce([][32]byte{{9}}); err != nil {
		t.Fatal(err)
	}
	find(v, func(h Hints) bool { return h.IDs[0] == [32]byte{9} })
}

// A flood of streams from a proven member is bounded, and others still get in.
func TestStreamFlood(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	st, err := newStranger(t, nil).knock(v, "quic", key("k", Member), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		s, err := st.Conn().NewStream(t.Context())
		if err != nil {
			break
		}
		s.Write([]byte{1})
		s.Reset()
	}
	var open []network.Stream
	for range 64 { // these stay open, as far as they may
		if s, err := st.Conn().NewStream(t.Context()); err == nil {
			s.Write([]byte{1})
			open = append(open, s)
		}
	}
	start(t, keys(key("k", Member))).mustDial(v.addr("tcp"))
	if n := len(v.net.Swarm.ConnsToPeer(peer.ID(st.Conn().LocalPeer()))); n > 0 {
		if got := v.net.Swarm.ConnsToPeer(st.Conn().LocalPeer())[0].Stat().NumStreams; got > 64 {
			t.Errorf("%d streams are open", got)
		}
	}
	runtime.KeepAlive(open)
}
