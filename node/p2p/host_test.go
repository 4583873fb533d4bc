package p2p

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func TestMembersMeet(t *testing.T) {
	noLeaks(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			k := keys(key("k", Member))
			a, b := start(t, k), start(t, k, func(c *Config, _ *bounds, _ *node) { c.Listen = nil })
			lb := b.mustDial(a.addr(kind))
			up := find(a, anyUp)
			if up.Dialled || up.Class != Member || up.Tag != key("k", 0).Tag || up.Device != [16]byte{} {
				t.Fatalf("%+v", up)
			}
			if got := find(b, anyUp); got.Link != lb || !got.Dialled || got.Addr != a.addr(kind) {
				t.Fatalf("%+v", got)
			}
			// Both directions, in order, up to the longest.
			for i, size := range []int{1, 4096, MaxMessage} {
				x := bytes.Repeat([]byte{byte(i)}, size)
				if err := errors.Join(a.Send(up.Link, x), b.Send(lb, x)); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range []*node{a, b} {
				n.until("three messages", func(events []Event) bool {
					var sizes []int
					for _, e := range events {
						if m, ok := e.(Message); ok {
							sizes = append(sizes, len(m.Data))
						}
					}
					return slices.Equal(sizes, []int{1, 4096, MaxMessage})
				})
			}
			for _, bad := range [][]byte{nil, make([]byte, MaxMessage+1)} {
				if a.Send(up.Link, bad) == nil {
					t.Error("a message out of bounds was sent")
				}
			}
			a.untilHints(b)
			b.untilHints(a)
			ids := make([][32]byte, MaxHints+1)
			for i := range ids {
				ids[i] = [32]byte{byte(i), byte(i >> 8), 1}
			}
			if err := a.Announce(ids); err != nil {
				t.Fatal(err)
			}
			b.until("all ids", func(events []Event) bool {
				var got [][32]byte
				for _, e := range events {
					if h, ok := e.(Hints); ok {
						if h.Link != lb {
							t.Fatal("hints of another link")
						}
						got = append(got, h.IDs...)
					}
				}
				return len(got) == len(ids) && slices.Contains(got, ids[MaxHints])
			})
			if in, out := a.Counters(); in < MaxMessage || out < MaxMessage {
				t.Errorf("counters: %d in, %d out", in, out)
			}
			// What is queued goes out before the close.
			if err := b.Send(lb, []byte("last")); err != nil {
				t.Fatal(err)
			}
			b.CloseLink(lb)
			find(a, func(m Message) bool { return string(m.Data) == "last" })
			find(a, func(d LinkDown) bool { return d.Link == up.Link })
			find(b, func(d LinkDown) bool { return d.Link == lb })
			for _, n := range []*node{a, b} {
				n.until("up first, down last", func(events []Event) bool {
					_, first := events[0].(LinkUp)
					_, last := events[len(events)-1].(LinkDown)
					return first && last
				})
			}
			if err := b.Send(lb, []byte("x")); !errors.Is(err, ErrNoLink) {
				t.Fatal(err)
			}
		})
	}
}

// Traps of the gate's timing: the listener shows first, the dialler holds.
func TestManyMeetings(t *testing.T) {
	k := keys(key("k", Member))
	for i := range 60 {
		func() {
			a, b := start(t, k), start(t, k)
			defer a.Close()
			defer b.Close()
			l := b.mustDial(a.addr(kinds[i%2]))
			if err := b.Send(l, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			find(a, func(Message) bool { return true })
			a.untilHints(b)
			b.untilHints(a)
		}()
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	for _, kind := range kinds {
		a, b := start(t, keys(key("k", Member))), start(t, keys(key("x", Member)))
		if _, err := b.dial(a.addr(kind)); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
		a.silent()
		b.silent()
	}
}

// On silence the dialler tries its older keys, newest first, seven in all.
func TestOlderKeysAreTried(t *testing.T) {
	signs := func(id byte, admits ...byte) func(*Config, *bounds, *node) {
		m := map[byte]bool{}
		for _, x := range admits {
			m[x] = true
		}
		return func(c *Config, _ *bounds, _ *node) { c.Signer = device{id: id, admits: m} }
	}
	var list []Key
	for i := range 9 {
		list = append(list, key(fmt.Sprint("k", i), CatchUp))
	}
	list[0].Class = Member
	for _, kind := range kinds {
		for i := range list {
			b := start(t, Keys{Dial: list}, signs(2, 1))
			a := start(t, Keys{Accept: []Key{key(fmt.Sprint("k", i), Member)}}, signs(1))
			_, err := b.dial(a.addr(kind))
			if i >= MaxDial {
				if !errors.Is(err, ErrRefused) {
					t.Fatal(i, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(i, err)
			}
			want := CatchUp
			var dev [16]byte
			if i == 0 {
				want = Member
			} else {
				dev[0] = 1
			}
			if up := find(b, anyUp); up.Class != want || up.Device != dev || up.Tag != list[i].Tag {
				t.Fatalf("%d: %+v", i, up)
			}
			find(a, func(u LinkUp) bool { return u.Class == want })
		}
	}
}

// A removed member with an old key: the listener's side stays silent, and the
// dialler sees its link end.
func TestRemovedDevice(t *testing.T) {
	for _, kind := range kinds {
		a := start(t, Keys{Accept: []Key{key("new", Member), key("old", CatchUp)}},
			func(c *Config, _ *bounds, _ *node) { c.Signer = device{id: 1, admits: map[byte]bool{2: true}} })
		removed := start(t, keys(key("old", Member)), func(c *Config, _ *bounds, _ *node) { c.Signer = device{id: 9} })
		if l, err := removed.dial(a.addr(kind)); err == nil {
			find(removed, func(d LinkDown) bool { return d.Link == l })
		}
		a.silent()
		absent := start(t, keys(key("old", Member)), func(c *Config, _ *bounds, _ *node) { c.Signer = device{id: 2} })
		absent.mustDial(a.addr(kind))
		if up := find(a, anyUp); up.Device != [16]byte{2} || up.Class != CatchUp {
			t.Fatalf("%+v", up)
		}
	}
}

// Catch-up and invite connections carry messages and nothing of the host above.
func TestOnlyMembersAreShown(t *testing.T) {
	for _, class := range []Class{CatchUp, Invite, Member} {
		sign := func(c *Config, _ *bounds, _ *node) { c.Signer = device{id: 1, admits: map[byte]bool{1: true}} }
		a := start(t, keys(key("k", class)), sign)
		s := newStranger(t, nil)
		st, err := s.knock(a, "quic", key("k", class), device{id: 1, admits: map[byte]bool{1: true}})
		if err != nil {
			t.Fatal(err)
		}
		up := find(a, anyUp)
		if err := a.Send(up.Link, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFrame(st); err != nil || string(got) != "hello" {
			t.Fatal(got, err)
		}
		shown := len(a.net.Conns()) == 1
		if shown != (class == Member) {
			t.Fatalf("class %d shown: %v", class, shown)
		}
		if class == Member {
			<-s.opened // identify: shows that the test can see it
			continue
		}
		// Another stream ends it all, and the host opened none itself.
		other, err := st.Conn().NewStream(context.Background())
		if err == nil {
			other.Write([]byte("\x13/multistream/1.0.0\n"))
		}
		find(a, func(d LinkDown) bool { return d.Link == up.Link })
		select {
		case <-s.opened:
			t.Fatal("the host opened a stream")
		default:
		}
	}
}

func TestSelfDial(t *testing.T) {
	a := start(t, keys(key("k", Member)))
	for _, kind := range kinds {
		if _, err := a.dial(a.addr(kind)); !errors.Is(err, ErrSelf) {
			t.Fatal(kind, err)
		}
	}
	a.silent()
}

// Two hosts that dial each other at the same moment end with one link.
func TestSimultaneousDial(t *testing.T) {
	k := keys(key("k", Member))
	for i := range 100 {
		func() {
			a, b := start(t, k), start(t, k)
			defer a.Close()
			defer b.Close()
			var wg sync.WaitGroup
			for _, pair := range [][2]*node{{a, b}, {b, a}} {
				addr := pair[1].addr(kinds[i/2%2])
				wg.Go(func() {
					if _, err := pair[0].dial(addr); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			la, lb := a.linkTo(b.self), b.linkTo(a.self)
			if la == nil || lb == nil {
				t.Fatal("no link is left")
			}
			// It is the same one on both sides, it carries messages, and hints work.
			if err := a.Send(la.id, []byte("same")); err != nil {
				t.Fatal(err)
			}
			find(b, func(m Message) bool { return string(m.Data) == "same" && m.Link == lb.id })
			for _, n := range []*node{a, b} {
				n.until("one link", func(events []Event) bool { return up(events) == 1 })
			}
			a.untilHints(b)
			b.untilHints(a)
			if la != a.linkTo(b.self) || lb != b.linkTo(a.self) {
				t.Fatal("the links changed")
			}
		}()
	}
}

func up(events []Event) (n int) {
	for _, e := range events {
		switch e.(type) {
		case LinkUp:
			n++
		case LinkDown:
			n--
		}
	}
	return n
}

func TestSecondDialFindsTheLink(t *testing.T) {
	k := keys(key("k", Member))
	a, b := start(t, k), start(t, k)
	l := b.mustDial(a.addr("quic"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := b.dial(a.addr("tcp")); err != nil || got != l {
				t.Error(got, err)
			}
		})
	}
	wg.Wait()
}

func TestSlowReaderLosesTheLink(t *testing.T) {
	k := keys(key("k", Member))
	release := make(chan struct{})
	a := start(t, k, func(_ *Config, _ *bounds, n *node) {
		n.hold = func(e Event) {
			if _, ok := e.(Message); ok {
				<-release
			}
		}
	})
	b := start(t, k)
	l := b.mustDial(a.addr("quic"))
	other := start(t, k)
	var err error
	for i := 0; i < 4000 && err == nil; i++ {
		err = b.Send(l, make([]byte, MaxMessage))
	}
	if !errors.Is(err, ErrBehind) {
		t.Fatal(err)
	}
	find(b, func(d LinkDown) bool { return d.Link == l })
	// The slow one's other links are not held up.
	lo := other.mustDial(a.addr("tcp"))
	find(a, func(u LinkUp) bool { return u.Link == 2 })
	if err := a.Send(2, []byte("x")); err != nil {
		t.Fatal(err)
	}
	find(other, func(m Message) bool { return m.Link == lo })
	close(release)
}

// A change of keys leaves links up; after close and redial the new key is used.
func TestSetKeys(t *testing.T) {
	for _, kind := range kinds {
		k := keys(key("old", Member))
		a, b := start(t, k), start(t, k)
		l := b.mustDial(a.addr(kind))
		ua := find(a, anyUp)
		next := Keys{Accept: []Key{key("new", Member), key("old", CatchUp)}, Dial: []Key{key("new", Member), key("old", CatchUp)}}
		for _, n := range []*node{a, b} {
			if err := n.SetKeys(next); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Send(ua.Link, []byte("still")); err != nil {
			t.Fatal(err)
		}
		find(b, func(Message) bool { return true })
		b.CloseLink(l)
		l2 := b.mustDial(a.addr(kind))
		if l2 == l {
			t.Fatal("the closing link was returned")
		}
		find(b, func(u LinkUp) bool { return u.Link == l2 && u.Tag == key("new", 0).Tag && u.Class == Member })
		stale := start(t, k)
		if _, err := stale.dial(a.addr(kind)); err == nil { // cannot sign
			t.Fatal("an old key was enough")
		}
		for _, bad := range []Keys{{Accept: make([]Key, MaxAccept+1)}, {Dial: make([]Key, 1)}, {Accept: []Key{key("k", 9)}}} {
			if a.SetKeys(bad) == nil {
				t.Fatal("bad keys were taken")
			}
		}
	}
}

func TestBadAddresses(t *testing.T) {
	a := start(t, keys(key("k", Member)))
	for _, s := range []string{"", "/", "127.0.0.1:1", "/dns4/example.org/tcp/1", "/ip4/127.0.0.1/tcp/1/ws", "/ip4/127.0.0.1/udp/1",
		"/ip4/127.0.0.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp", string(make([]byte, 1<<20))} {
		if _, err := a.dial(s); !errors.Is(err, errNotDialable) {
			t.Errorf("%.40q: %v", s, err)
		}
		if _, err := New(Config{Listen: []string{s}, OnEvent: func(Event) {}}); err == nil {
			t.Errorf("listens on %.40q", s)
		}
	}
	for _, s := range []string{"/ip4/127.0.0.1/tcp/1"} {
		if _, err := a.dial(s); err == nil {
			t.Errorf("%s answered", s)
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	noLeaks(t)
	k := keys(key("k", Member))
	a, b := start(t, k), start(t, k)
	l := b.mustDial(a.addr("quic"))
	find(a, anyUp)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := b.events[len(b.events)-1]; got != (LinkDown{Link: l}) {
		t.Fatal(got)
	}
	find(a, func(LinkDown) bool { return true })
	if _, err := b.dial(a.addr("quic")); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := b.Announce([][32]byte{{}}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFreshPeerIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 10 {
		h := start(t, Keys{})
		seen[string(h.self)] = true
		h.Close()
	}
	if len(seen) != 10 {
		t.Fatal("a peer id came twice")
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	// A listener that takes the connection and never answers the proof.
	s := newStranger(t, nil)
	if err := s.Listen(ma.StringCast("/ip4/127.0.0.1/udp/0/quic-v1")); err != nil {
		t.Fatal(err)
	}
	a := start(t, keys(key("k", Member)), func(_ *Config, b *bounds, _ *node) { b.proof = patience })
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-s.opened; cancel() }()
	began := time.Now()
	if _, err := a.Dial(ctx, s.ListenAddresses()[0].String()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if time.Since(began) > patience/2 {
		t.Fatal("the dial outlived its context")
	}
}

// A device whose network changed dials again while the other side still holds
// the old connection: the new one takes its place, and hints go both ways.
func TestRedialOverAnOldConnection(t *testing.T) {
	for _, kind := range kinds {
		for range 10 {
			func() {
				k := keys(key("k", Member))
				sk, _, err := crypto.GenerateEd25519Key(rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				same := func(_ *Config, b *bounds, _ *node) { b.peerKey = sk }
				a, before, b := start(t, k), start(t, k, same), start(t, k, same)
				defer a.Close()
				defer before.Close()
				defer b.Close()
				before.mustDial(a.addr(kind))
				a.untilHints(before)
				before.untilHints(a)
				first := find(a, anyUp).Link
				b.mustDial(a.addr(kind))
				second := find(a, func(u LinkUp) bool { return u.Link != first }).Link
				find(a, func(d LinkDown) bool { return d.Link == first })
				a.untilHints(b)
				b.untilHints(a)
				if err := errors.Join(a.Announce([][32]byte{{1}}), b.Announce([][32]byte{{2}})); err != nil {
					t.Fatal(err)
				}
				find(a, func(h Hints) bool { return h.IDs[0] == [32]byte{2} && h.Link == second })
				find(b, func(h Hints) bool { return h.IDs[0] == [32]byte{1} })
			}()
		}
	}
}

// The side with the smaller ID holds a connection that it dialled itself and
// that is dead; when the other side dials, which it would not do with a link, the
// new connection is kept. Within the time of a simultaneous dial the old one is.
func TestDeadConnectionGivesWay(t *testing.T) {
	small, large := twoKeys(t)
	k := keys(key("k", Member))
	for settled, replaced := range map[time.Duration]bool{0: true, time.Hour: false} {
		as := func(sk crypto.PrivKey) func(*Config, *bounds, *node) {
			return func(_ *Config, b *bounds, _ *node) { b.peerKey, b.settled = sk, settled }
		}
		a, before, b := start(t, k, as(small)), start(t, k, as(large)), start(t, k, as(large))
		first := a.mustDial(before.addr("quic"))
		if _, err := b.dial(a.addr("quic")); (err == nil) != replaced {
			t.Fatal(err)
		}
		if got := a.linkTo(b.self).id != first; got != replaced {
			t.Fatalf("replaced: %v", got)
		}
	}
}

// twoKeys returns peer keys in the order of their IDs.
func twoKeys(t *testing.T) (small, large crypto.PrivKey) {
	t.Helper()
	var ids [2]peer.ID
	var sks [2]crypto.PrivKey
	for i := range sks {
		var err error
		if sks[i], _, err = crypto.GenerateEd25519Key(rand.Reader); err != nil {
			t.Fatal(err)
		}
		if ids[i], err = peer.IDFromPrivateKey(sks[i]); err != nil {
			t.Fatal(err)
		}
	}
	if ids[0] > ids[1] {
		return sks[1], sks[0]
	}
	return sks[0], sks[1]
}

// Hosts that dial in pairs at once, over and over, while links come and go.
func TestCrowd(t *testing.T) {
	k := keys(key("k", Member))
	nodes := make([]*node, 5)
	for i := range nodes {
		nodes[i] = start(t, k)
	}
	var wg sync.WaitGroup
	for i, a := range nodes {
		for j, b := range nodes {
			if i == j {
				continue
			}
			addr := b.addr(kinds[(i+j)%2])
			wg.Go(func() {
				if _, err := a.dial(addr); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for i, a := range nodes {
		others := slices.Delete(slices.Clone(nodes), i, i+1)
		a.untilHints(others...)
		a.until("a link to each", func(events []Event) bool { return up(events) == len(others) })
	}
	// All announce; each hears each other one once. The bytes are worth knowing.
	in0 := total(nodes)
	const each = 64
	for i, a := range nodes {
		ids := make([][32]byte, each)
		for j := range ids {
			ids[j] = [32]byte{byte(i), byte(j), 1}
		}
		if err := a.Announce(ids); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range nodes {
		a.until("all ids", func(events []Event) bool { return heard(events) == each*(len(nodes)-1) })
	}
	received := each * len(nodes) * (len(nodes) - 1)
	t.Logf("%.1f stream bytes per announced id and receiver, in batches of %d", float64(total(nodes)-in0)/float64(received), each)
	in0 = total(nodes)
	for j := range each {
		if err := nodes[0].Announce([][32]byte{{9, byte(j)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range nodes[1:] {
		a.until("single ids", func(events []Event) bool { return heard(events) == each*len(nodes) })
	}
	t.Logf("%.1f one by one", float64(total(nodes)-in0)/float64(each*(len(nodes)-1)))
}

func heard(events []Event) (n int) {
	for _, e := range events {
		if h, ok := e.(Hints); ok {
			n += len(h.IDs)
		}
	}
	return n
}

func total(nodes []*node) (n int64) {
	for _, a := range nodes {
		in, _ := a.Counters()
		n += in
	}
	return n
}
