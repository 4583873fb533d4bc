package p2p

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	identifypb "github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	ma "github.com/multiformats/go-multiaddr"
	msmux "github.com/multiformats/go-multistream"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const gossipProtocol = "/meshsub/1.1.0"

// gossiper is a proven hostile member that gossips by hand: it says what it likes, and
// keeps what it is told.
type gossiper struct {
	t     *testing.T
	up    LinkUp
	out   network.Stream
	heard chan *pb.RPC
}

func gossip(t *testing.T, v *node) *gossiper {
	t.Helper()
	s := newStranger(t, nil)
	g := &gossiper{t: t, heard: make(chan *pb.RPC, 1<<14)}
	mux := msmux.NewMultistreamMuxer[string]()
	mux.AddHandler(identify.ID, nil)
	mux.AddHandler(gossipProtocol, nil)
	s.SetStreamHandler(func(x network.Stream) {
		switch name, _, err := mux.Negotiate(x); {
		case err != nil:
			x.Reset()
		case name == identify.ID:
			b, _ := proto.Marshal(&identifypb.Identify{Protocols: []string{gossipProtocol}})
			x.Write(protowire.AppendBytes(nil, b))
			x.Close()
		default:
			g.read(x)
		}
	})
	st, err := s.knock(v, "quic", key("k", Member), nil)
	if err != nil {
		t.Fatal(err)
	}
	g.up = find(v, anyUp)
	g.out = s.stream(st.Conn(), gossipProtocol)
	// From then on both sides know each other's wishes.
	g.say(&pb.RPC{Subscriptions: []*pb.RPC_SubOpts{{Subscribe: proto.Bool(true), Topicid: proto.String(hintTopic)}}})
	g.until(func(r *pb.RPC) bool { return len(r.GetSubscriptions()) > 0 })
	g.mark(v, 0xee)
	return g
}

func (g *gossiper) read(x io.Reader) {
	r := bufio.NewReader(x)
	for {
		n, err := binary.ReadUvarint(r)
		if err != nil || n > 1<<20 {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		rpc := new(pb.RPC)
		if proto.Unmarshal(b, rpc) != nil {
			return
		}
		g.heard <- rpc
	}
}

func (g *gossiper) say(rpc *pb.RPC) {
	g.t.Helper()
	if err := writeRPC(g.out, rpc); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gossiper) control(c *pb.ControlMessage) { g.t.Helper(); g.say(&pb.RPC{Control: c}) }

// mark waits until v has taken in all that was said before.
func (g *gossiper) mark(v *node, id byte) {
	g.t.Helper()
	g.say(publish(encodeHint(newSalt(), [][32]byte{{id}})))
	find(v, func(h Hints) bool { return h.Link == g.up.Link && h.IDs[0] == [32]byte{id} })
}

// until reads to the message that ok wants, and returns all up to it.
func (g *gossiper) until(ok func(*pb.RPC) bool) (list []*pb.RPC) {
	g.t.Helper()
	for {
		rpc := within(g.t, g.heard)
		if list = append(list, rpc); ok(rpc) {
			return list
		}
	}
}

// answers are what v says until a hint of its own that comes after all of it.
func (g *gossiper) answers(v *node, id byte) []*pb.RPC {
	g.t.Helper()
	g.mark(v, id)
	if err := v.Announce([][32]byte{{id}}); err != nil {
		g.t.Fatal(err)
	}
	return g.until(func(r *pb.RPC) bool {
		return slices.ContainsFunc(r.GetPublish(), func(m *pb.Message) bool { return hintOf(m) == [32]byte{id} })
	})
}

func hintOf(m *pb.Message) (id [32]byte) {
	if _, ids, err := decodeHint(m.GetData()); err == nil {
		id = ids[0]
	}
	return id
}

// Row 5 of spec 95: whoever asks ten thousand times for one hint gets it three times.
func TestAskingAgainAndAgain(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	g := gossip(t, v)
	if err := v.Announce([][32]byte{{5}}); err != nil {
		t.Fatal(err)
	}
	var data []byte
	g.until(func(r *pb.RPC) bool {
		for _, m := range r.GetPublish() {
			if hintOf(m) == [32]byte{5} {
				data = m.GetData()
			}
		}
		return data != nil
	})
	id := sha256.Sum256(data)
	ask := func(times int) {
		g.control(&pb.ControlMessage{Iwant: []*pb.ControlIWant{{MessageIDs: slices.Repeat([]string{string(id[:])}, times)}}})
	}
	for range 20 {
		ask(1)
	}
	for range 100 {
		ask(100) // as many as a message has room for
	}
	copies := 0
	for _, r := range g.answers(v, 1) {
		for _, m := range r.GetPublish() {
			if bytes.Equal(m.GetData(), data) {
				copies++
			}
		}
	}
	if copies < 1 || copies > 3 {
		t.Errorf("it was sent %d times", copies)
	}
}

// Row 5: whoever names ten thousand hints that nobody has is asked for 500 in a second.
func TestNamingHintsWithoutEnd(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	g := gossip(t, v)
	began := time.Now()
	for round := range 100 {
		ids := make([]string, 115) // as many as a message has room for
		for i := range ids {
			ids[i] = fmt.Sprintf("%032d", round*len(ids)+i)
		}
		g.control(&pb.ControlMessage{Ihave: []*pb.ControlIHave{{TopicID: proto.String(hintTopic), MessageIDs: ids}}})
	}
	asked := 0
	for _, r := range g.answers(v, 2) {
		for _, w := range r.GetControl().GetIwant() {
			asked += len(w.GetMessageIDs())
		}
	}
	// The count begins anew each second.
	if most := maxControlIDs * (2 + int(time.Since(began)/time.Second)); asked == 0 || asked > most {
		t.Errorf("%d were asked for, %d may be", asked, most)
	}
}

// Row 6: grafts in the time of a prune are answered with a prune that names nobody, and
// change nothing for others.
func TestGraftFlood(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	g := gossip(t, v)
	friend := start(t, keys(key("k", Member)))
	friend.mustDial(v.addr("tcp"))
	friend.untilHints(v)
	v.untilHints(friend)
	topic := proto.String(hintTopic)
	g.control(&pb.ControlMessage{Prune: []*pb.ControlPrune{{TopicID: topic, Backoff: proto.Uint64(maxBackoff)}}})
	g.answers(v, 3) // before it was pruned it may have been grafted
	for range 100 {
		g.control(&pb.ControlMessage{Graft: []*pb.ControlGraft{{TopicID: topic}}})
	}
	prunes := 0
	for _, r := range g.answers(v, 1) {
		for _, p := range r.GetControl().GetPrune() {
			if prunes++; len(p.GetPeers()) > 0 {
				t.Errorf("%d peers are named", len(p.GetPeers()))
			}
		}
		if len(r.GetControl().GetGraft()) > 0 {
			t.Error("it was grafted")
		}
	}
	if prunes == 0 || prunes > 100 {
		t.Errorf("%d prunes", prunes)
	}
	find(friend, func(h Hints) bool { return h.IDs[0] == [32]byte{1} })
	if err := friend.Announce([][32]byte{{9}}); err != nil {
		t.Fatal(err)
	}
	find(v, func(h Hints) bool { return h.IDs[0] == [32]byte{9} })
}

// Row 11: whoever names others to meet, with true records of them, is thrown out, and
// nobody is dialled.
func TestNamedPeersAreNotDialled(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	g := gossip(t, v)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialled atomic.Int64
	met := make(chan struct{}, 64)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			dialled.Add(1)
			c.Close()
			met <- struct{}{}
		}
	}()
	prune := &pb.ControlPrune{TopicID: proto.String(hintTopic), Backoff: proto.Uint64(1)}
	for range 16 {
		sk, pk, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := peer.IDFromPublicKey(pk)
		at := ma.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port))
		sealed, err := record.Seal(peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{at}}), sk)
		if err != nil {
			t.Fatal(err)
		}
		b, err := sealed.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		prune.Peers = append(prune.Peers, &pb.PeerInfo{PeerID: []byte(id), SignedPeerRecord: b})
	}
	g.control(&pb.ControlMessage{Prune: []*pb.ControlPrune{prune}})
	find(v, func(d LinkDown) bool { return d.Link == g.up.Link })
	// What gossip dials it dials in the order in which it was named: by the time that
	// another member is linked and heard it would have come.
	friend := start(t, keys(key("k", Member)))
	v.mustDial(friend.addr("tcp"))
	v.untilHints(friend)
	if n := dialled.Load(); n != 0 {
		t.Errorf("%d were dialled", n)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	within(t, met) // the listener counts
}

// Row 8: three members send hints that do not parse, come again each time that they are
// thrown out, and never stop. What an honest one sends comes all the while.
func TestFloodOfBadHints(t *testing.T) {
	v := start(t, keys(key("k", Member)))
	friend := start(t, keys(key("k", Member)))
	l := friend.mustDial(v.addr("quic"))
	end := make(chan struct{})
	var sent, thrownOut atomic.Int64
	over := make(chan struct{}, 3)
	bad := publish(make([]byte, saltSize+hintSize-1))
	for range 16 - 1 {
		bad.Publish = append(bad.Publish, publish(make([]byte, saltSize)).Publish...)
	}
	for i := range 3 {
		s := newStranger(t, nil)
		go func() {
			defer func() { over <- struct{}{} }()
			for {
				select {
				case <-end:
					return
				default:
				}
				s.Backoff().Clear(v.self)
				st, err := s.knock(v, kinds[i%2], key("k", Member), nil)
				if err != nil {
					continue
				}
				x, err := st.Conn().NewStream(t.Context())
				if err == nil {
					err = msmux.SelectProtoOrFail(gossipProtocol, x)
				}
				for n := 0; err == nil && n < 10_000; n++ {
					if err = writeRPC(x, bad); err == nil {
						sent.Add(int64(len(bad.Publish)))
					}
				}
				if err != nil {
					thrownOut.Add(1)
				}
				st.Conn().Close()
			}
		}()
	}
	var took []time.Duration
	late := time.Now().Add(patience)
	for n := 0; n < 100 || sent.Load() < 2_000 || thrownOut.Load() < 20; n++ {
		if time.Now().After(late) {
			t.Fatalf("%d bad hints, %d times thrown out: this is no flood", sent.Load(), thrownOut.Load())
		}
		data, began := []byte(strings.Repeat("x", n%7)+fmt.Sprint(n)), time.Now()
		if err := friend.Send(l, data); err != nil {
			t.Fatal(err)
		}
		find(v, func(m Message) bool { return bytes.Equal(m.Data, data) })
		took = append(took, time.Since(began))
	}
	close(end)
	for range 3 {
		within(t, over)
	}
	slices.Sort(took)
	t.Logf("%d bad hints, %d times thrown out; of %d messages half came within %s, 99 in 100 within %s",
		sent.Load(), thrownOut.Load(), len(took), took[len(took)/2], took[len(took)*99/100])
	// And a hint of the honest one, whose link has stayed, is heard.
	friend.untilHints(v)
	if err := friend.Announce([][32]byte{{9}}); err != nil {
		t.Fatal(err)
	}
	find(v, func(h Hints) bool { return h.IDs[0] == [32]byte{9} })
}
