package p2p

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// harbour is a ferry whose sessions send back what they are told, and its log of who
// came.
type harbour struct {
	*FerryHost
	t    *testing.T
	mu   sync.Mutex
	came []caller
	over chan error // one for each session that ended
}

type caller struct {
	client []byte
	from   netip.Addr
}

func open(t *testing.T, change ...func(*FerryConfig)) *harbour {
	t.Helper()
	x := &harbour{t: t, over: make(chan error, 16)}
	cfg := FerryConfig{Seed: [32]byte{7}, Listen: listenAll(), OnSession: x.serve}
	for _, f := range change {
		f(&cfg)
	}
	f, err := NewFerry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	x.FerryHost = f
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func (x *harbour) serve(st Stream, client []byte, from netip.Addr) {
	x.mu.Lock()
	x.came = append(x.came, caller{client, from})
	x.mu.Unlock()
	_, err := io.Copy(st, st)
	st.Close()
	x.over <- err
}

// at returns the ferry's address of a kind.
func (x *harbour) at(kind string) string {
	x.t.Helper()
	for _, a := range x.Addrs() {
		if strings.Contains(a, "/quic-v1") == (kind == "quic") {
			return a
		}
	}
	x.t.Fatalf("no address for %s in %v", kind, x.Addrs())
	return ""
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

func TestVisits(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			x := open(t)
			var clients [][]byte
			for range 2 {
				v, err := VisitFerry(soon(t), x.at(kind), "", nil)
				if err != nil {
					t.Fatal(err)
				}
				got, ended := make(chan []byte, 16), make(chan bool)
				v.Start(func(b []byte) { got <- b }, func() { close(ended) })
				for n := 1; n <= MaxMessage; n = n*9 + 1 {
					if err := v.Send(bytes.Repeat([]byte{byte(n)}, n)); err != nil {
						t.Fatal(err)
					}
				}
				for n := 1; n <= MaxMessage; n = n*9 + 1 {
					if b := within(t, got); len(b) != n || b[0] != byte(n) {
						t.Errorf("%d bytes came back, want %d", len(b), n)
					}
				}
				if err := v.Send(make([]byte, MaxMessage+1)); err == nil {
					t.Error("a message that is too long was taken")
				}
				v.Close()
				within(t, ended)
				within(t, x.over)
				if err := v.Send([]byte{1}); err != ErrNoLink {
					t.Errorf("after the end: %v", err)
				}
				if !bytes.Equal(v.Ferry(), x.ID()) {
					t.Error("another ferry's id")
				}
				clients = append(clients, v.Client())
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			for i, c := range x.came {
				if !bytes.Equal(c.client, clients[i]) || c.from != netip.MustParseAddr("127.0.0.1") {
					t.Errorf("the ferry took the client for %x from %s", c.client, c.from)
				}
			}
			if len(x.came) != 2 || bytes.Equal(clients[0], clients[1]) {
				t.Errorf("%d came, the same one twice: %t", len(x.came), bytes.Equal(clients[0], clients[1]))
			}
		})
	}
}

// A visit that is closed before it was started is over at once.
func TestVisitThatNeverStarted(t *testing.T) {
	noLeaks(t)
	x := open(t)
	v, err := VisitFerry(soon(t), x.at("quic"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	within(t, v.gone)
	within(t, x.over)
}

// TestVisitReachesNobodyElse: whoever answers at the address must have the name.
func TestVisitReachesNobodyElse(t *testing.T) {
	x := open(t)
	other, err := NewFerry(FerryConfig{Seed: [32]byte{8}, Listen: listenAll(), OnSession: x.serve})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	phone := start(t, keys(key("group", Member)), func(_ *Config, b *bounds, _ *node) { b.proof = 100 * time.Millisecond })
	for _, kind := range kinds {
		at, _, _ := strings.Cut(x.at(kind), "/p2p/")
		if _, err := VisitFerry(soon(t), at+"/p2p/"+other.id, "", nil); err == nil {
			t.Errorf("%s: another ferry was taken for the one that was named", kind)
		}
	}
	// A phone is no ferry, and its gate answers nothing.
	for _, a := range phone.Addrs() {
		if _, err := VisitFerry(soon(t), a+"/p2p/"+phone.self.String(), "", nil); err == nil {
			t.Errorf("a phone was taken for a ferry at %s", a)
		}
	}
	for _, bad := range []string{"", "/ip4/127.0.0.1/tcp/1", "/dns4/ferry.example/tcp/443/p2p/" + x.id, "/ip4/127.0.0.1/tcp/1/p2p/", "/ip4/127.0.0.1/tcp/1/p2p/Qm",
		"/ip4/127.0.0.1/tcp/1/p2p/" + x.id + "/p2p-circuit", "/p2p/" + x.id, "/ip4/127.0.0.1/tcp/1/p2p/" + strings.Repeat("1", 200)} {
		if _, _, err := FerryAddr(bad); err == nil {
			t.Errorf("%q is taken for a ferry's address", bad)
		}
	}
	a, id, err := FerryAddr(x.at("tcp"))
	if err != nil || !strings.HasPrefix(x.at("tcp"), a+"/p2p/") || !bytes.Equal(id, x.ID()) {
		t.Errorf("%s %x %v", a, id, err)
	}
}

// TestFerryCloses: whoever stops a ferry waits for its sessions, and they end.
func TestFerryCloses(t *testing.T) {
	x := open(t)
	v, err := VisitFerry(soon(t), x.at("tcp"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	served, ended := make(chan bool, 1), make(chan bool)
	v.Start(func([]byte) { served <- true }, func() { close(ended) })
	if err := v.Send([]byte{1}); err != nil {
		t.Fatal(err)
	}
	within(t, served) // a session that has not begun need not end
	if err := x.FerryHost.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, ended)
	within(t, x.over)
	if _, err := VisitFerry(soon(t), x.at("tcp"), "", nil); err == nil {
		t.Error("a closed ferry answers")
	}
}

// TestFerryKeepsItsName: the peer id is a function of the seed, also for who dials
// from another program.
func TestFerryKeepsItsName(t *testing.T) {
	sk, err := ferryKey([32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(sk)
	if err != nil || id.String() != open(t).id {
		t.Errorf("%s: %v", id, err)
	}
}
