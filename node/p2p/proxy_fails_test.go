package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	tpt "github.com/libp2p/go-libp2p/core/transport"
	manet "github.com/multiformats/go-multiaddr/net"
)

// TestProxyFails: a proxy that is none, refuses, or breaks off gives one error.
func TestProxyFails(t *testing.T) {
	yes := []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, x := range []struct {
		name string
		say  [][]byte
		want error
	}{
		{"closes", [][]byte{}, ErrProxy},
		{"wants no user name", [][]byte{{5, 0}, yes}, ErrProxy},
		{"takes no way to sign on", [][]byte{{5, 255}}, ErrProxy},
		{"is of version 4", [][]byte{{4, 2}}, ErrProxy},
		{"is a web server", [][]byte{[]byte("HTTP/1.0 400 Bad Request\r\n\r\n")}, ErrProxy},
		{"breaks off in the greeting", [][]byte{{5}}, ErrProxy},
		{"refuses the user name", [][]byte{{5, 2}, {1, 1}}, ErrProxy},
		{"closes before the answer", [][]byte{{5, 2}, {1, 0}}, errNoAnswer},
		{"refuses", [][]byte{{5, 2}, {1, 0}, {5, 5, 0, 1, 0, 0, 0, 0, 0, 0}}, errNoAnswer},
		{"breaks off in the answer", [][]byte{{5, 2}, {1, 0}, yes[:7]}, errNoAnswer},
		{"answers with nonsense", [][]byte{{5, 2}, {1, 0}, {5, 0, 0, 9, 0, 0, 0, 0, 0, 0}}, errNoAnswer},
		{"closes the way", [][]byte{{5, 2}, {1, 0}, yes}, ErrRefused},
		{"closes the way midway", [][]byte{{5, 2}, {1, 0}, yes, []byte("\x13/multistream/1.0.0\n\x07/noise\n")}, ErrRefused},
	} {
		t.Run(x.name, func(t *testing.T) {
			noLeaks(t)
			tor := newTor(t, func(p *tor) { p.say = x.say })
			a := by(t, tor, keys(key("group", Member)))
			for _, to := range []string{"/ip4/127.0.0.1/tcp/1", "/onion3/" + onion + ":1"} {
				if _, err := a.dial(to); err != x.want {
					t.Errorf("%s: %v, want %v", to, err, x.want)
				}
				_, err := VisitFerry(soon(t), to+"/p2p/"+a.self.String(), tor.at(), nil)
				if err == nil || (err == ErrProxy) != (x.want == ErrProxy) || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a visit to %s: %v", to, err)
				}
			}
			a.silent()
		})
	}
	gone := newTor(t)
	gone.stop()
	a := by(t, gone, keys(key("group", Member)))
	if _, err := a.dial("/ip4/127.0.0.1/tcp/1"); err != ErrProxy {
		t.Errorf("nobody is there: %v", err)
	}
	if _, err := VisitFerry(soon(t), "/ip4/127.0.0.1/tcp/1/p2p/"+a.self.String(), gone.at(), nil); err != ErrProxy {
		t.Errorf("nobody is there, a visit: %v", err)
	}
}

// TestProxyIsSilent: a dial ends with its context, wherever the proxy stops.
func TestProxyIsSilent(t *testing.T) {
	yes := []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for n, say := range [][][]byte{{}, {{5}}, {{5, 2}}, {{5, 2}, {1, 0}}, {{5, 2}, {1, 0}, yes}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			noLeaks(t)
			tor := newTor(t, func(p *tor) { p.say, p.hold = say, true })
			a := by(t, tor, keys(key("group", Member)))
			to := "/onion3/" + onion + ":1"
			for _, dial := range []func(context.Context) error{
				func(ctx context.Context) error { _, err := a.Dial(ctx, to); return err },
				func(ctx context.Context) error {
					_, err := VisitFerry(ctx, to+"/p2p/"+a.self.String(), tor.at(), nil)
					return err
				},
			} {
				ctx, cancel := context.WithCancel(t.Context())
				end := make(chan error, 1)
				go func() { end <- dial(ctx) }()
				within(t, tor.came)
				select {
				case err := <-end:
					t.Errorf("it ended of its own: %v", err)
				default:
				}
				cancel()
				if err := within(t, end); err != context.Canceled {
					t.Errorf("it ended with %v", err)
				}
			}
			a.silent()
		})
	}
}

// deadlines is an upgrader that notes how long the dial may last.
type deadlines struct {
	tpt.Upgrader
	left chan time.Duration
}

func (d deadlines) Upgrade(ctx context.Context, t tpt.Transport, c manet.Conn, dir network.Direction, p peer.ID, s network.ConnManagementScope) (tpt.CapableConn, error) {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(24 * time.Hour)
	}
	d.left <- time.Until(end)
	return d.Upgrader.Upgrade(ctx, t, c, dir, p, s)
}

// TestProxyIsPatient: libp2p's limits on a dial, 5 s to loopback and 60 s to all, do
// not end one through a proxy.
func TestProxyIsPatient(t *testing.T) {
	tor, b := newTor(t), start(t, keys(key("group", Member)), tcpOnly)
	a := by(t, tor, keys(key("newer", Member), key("group", Member))) // the second key is tried on a connection of libp2p's
	way := a.tcp.Transport.(*byProxy)
	left := make(chan time.Duration, 1)
	way.upgrader = deadlines{way.upgrader, left}
	all := network.DialPeerTimeout
	network.DialPeerTimeout = time.Nanosecond
	defer func() { network.DialPeerTimeout = all }()
	if _, err := a.Dial(t.Context(), b.addr("tcp")); err != nil {
		t.Fatal(err)
	}
	if d := within(t, left); d < proxyPatience/2 {
		t.Errorf("a dial may last %s", d)
	}
}

// TestFailedDialsTakeNoPlace: a proxy that lets the first connection through, on which
// the other side does not know our key, and not the second, does so as often as it likes.
func TestFailedDialsTakeNoPlace(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	tor := newTor(t, func(p *tor) { p.refuses = func(n int) bool { return broken.Load() && n%2 == 0 } })
	a := by(t, tor, keys(key("newer", Member), key("group", Member)))
	b := start(t, keys(key("group", Member)), tcpOnly)
	for range 40 { // more than libp2p lets us have of one peer, and in all before the proof
		if _, err := a.dial(b.addr("tcp")); err == nil || err == ErrProxy {
			t.Fatalf("it was not broken: %v", err)
		}
	}
	broken.Store(false)
	a.mustDial(b.addr("tcp"))
}

// TestProxyEnds: a proxy that goes ends the links through it.
func TestProxyEnds(t *testing.T) {
	k := keys(key("group", Member))
	tor, b := newTor(t), start(t, k, tcpOnly)
	a := by(t, tor, k)
	l := a.mustDial(b.addr("tcp"))
	find(b, anyUp)
	tor.stop()
	find(a, func(e LinkDown) bool { return e.Link == l })
	find(b, func(LinkDown) bool { return true })
	if _, err := a.dial(b.addr("tcp")); err != ErrProxy {
		t.Errorf("without the proxy: %v", err)
	}
}
