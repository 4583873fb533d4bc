package node

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
)

func TestLANAndProxy(t *testing.T) {
	if _, err := Open(Config{Dir: t.TempDir(), LAN: true, Proxy: "127.0.0.1:9050"}); api.CodeOf(err) != api.CodeLANWouldTell {
		t.Error(err)
	}
}

func await(t *testing.T, called chan net.Conn) net.Conn {
	t.Helper()
	select {
	case c := <-called:
		return c
	case <-time.After(patience):
		t.Fatal("nobody dials")
		return nil
	}
}

// However many neighbours are made up, 32 are remembered. One is dialled at a time, and
// those who say nothing are given up, one after the other. The book of what members
// named stays as it was.
func TestNeighboursAreBounded(t *testing.T) {
	w := newWorld(t)
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	called := make(chan net.Conn)
	over := make(chan bool)
	defer close(over)
	var listeners []netip.AddrPort
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		listeners = append(listeners, l.Addr().(*net.TCPAddr).AddrPort())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				select {
				case called <- c:
				case <-over:
					c.Close()
				}
			}
		}()
	}
	ana.inside(func() {
		for _, at := range listeners {
			ana.near.found(ana.now(), at)
		}
	})
	post1(t, ana, "un") // the owner looks at what is due
	first := await(t, called)
	ana.inside(func() {
		if p, _, _ := ana.nearNext(); p != nil || !ana.near.dialing {
			t.Error("two are dialled at a time")
		}
	})
	first.Close()
	second := await(t, called)
	second.Close()
	if first.LocalAddr().String() == second.LocalAddr().String() {
		t.Error("the same one is dialled again before the other")
	}
	w.until("both to be given up for a while", func() (yes bool) {
		ana.inside(func() {
			yes = len(ana.near.places) == 2
			for _, p := range ana.near.places {
				for _, try := range p.tries {
					yes = yes && try.pause == nearFirst && try.next > ana.now()
				}
			}
		})
		return yes
	})
	ana.inside(func() {
		for port := range 1000 {
			ana.near.found(ana.now(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), uint16(50000+port)))
		}
		if len(ana.near.places) != maxNear {
			t.Errorf("%d are remembered", len(ana.near.places))
		}
		for _, g := range ana.groups {
			if len(g.book.places) != 0 || len(g.worked) != 0 {
				t.Errorf("the book has %d places", len(g.book.places))
			}
		}
		ana.near.found(ana.now()+nearForget+1, listeners[0]) // heard again
		late := netip.MustParseAddrPort("127.0.0.9:60000")
		if ana.near.found(ana.now()+nearForget+2, late); len(ana.near.places) != 2 {
			t.Errorf("%d are remembered when all but one are silent", len(ana.near.places))
		}
		ana.near.places = nil
	})
}

// A neighbour that leads to a phone of the group is a link, at most 4 to a group, and is
// not dialled while that is up.
func TestNeighbourBecomesALink(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	id := ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	var port uint16
	ana.inside(func() {
		for _, g := range ana.groups {
			var err error
			if port, err = g.host.ListenNear(); err != nil {
				t.Error(err)
			}
		}
	})
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	ben.inside(func() { ben.near.found(ben.now(), at) })
	post1(t, ben, "un")
	linked := func() (yes bool) {
		ben.inside(func() {
			for _, g := range ben.groups {
				yes = g.id.String() == id && ben.nearLinks(g) == 1
			}
		})
		return yes
	}
	w.until("a link to the neighbour", linked)
	ben.inside(func() {
		for _, g := range ben.groups {
			if p, _, _ := ben.nearNext(); p != nil {
				t.Error("it is dialled although linked")
			}
			up := g.links
			g.links = map[p2p.LinkID]bool{}
			if p, _, _ := ben.nearNext(); p == nil {
				t.Error("it is not dialled after its end")
			}
			g.links = map[p2p.LinkID]bool{91: true, 92: true, 93: true, 94: true}
			for i := range maxNearLink {
				ben.near.found(ben.now(), netip.AddrPortFrom(at.Addr(), uint16(60000+i)))
				ben.nearNext()
				ben.near.places[i+1].tries[g.id].link = p2p.LinkID(91 + i)
			}
			if p, _, _ := ben.nearNext(); p != nil {
				t.Error("more than 4 links")
			}
			g.links = up
		}
		ben.near.places = ben.near.places[:1]
		for _, g := range ben.groups {
			try := ben.near.places[0].tries[g.id]
			try.next, try.pause = 1<<40, engine.Seconds(5)
			ben.near.hurry(g.id)
			if try.next != 0 || try.pause != 0 {
				t.Error("new keys do not hurry it")
			}
		}
	})
}
