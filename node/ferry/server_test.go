package ferry

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// What one client brings another one fetches; both polls have the length of whole 2 KiB.
func TestServedFromOneToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t, store.OpenMemory(), ferry.DefaultLimits())
		a := x.visit(home)
		sent := map[string]bool{}
		for i := range 40 {
			d := deposit(t, box(1), i)
			sent[string(d.Envelope)] = true
			if got := a.put(d); got != ferry.Kept {
				t.Fatalf("outcome %d", got)
			}
		}
		if got := a.put(deposit(t, box(1), 0)); got != ferry.Kept {
			t.Errorf("what is held already: outcome %d", got)
		}
		if n := a.end(); n%2_048 != 0 {
			t.Errorf("%d bytes came", n)
		}
		if n, _ := x.s.store.Total(); n != 40*protocol.BucketSmall {
			t.Errorf("%d bytes in all", n)
		}
		b := x.visit(home)
		for _, e := range b.fetch(box(1)) {
			if !sent[string(e)] {
				t.Error("given what nobody brought")
			}
			delete(sent, string(e))
		}
		if len(sent) != 0 {
			t.Errorf("%d were not given", len(sent))
		}
		if got := b.fetch(box(2)); got != nil {
			t.Errorf("%d in a mailbox that nobody wrote into", len(got))
		}
		if n := b.end(); n%2_048 != 0 {
			t.Errorf("%d bytes came", n)
		}
	})
}

// What is said to be kept is there after the power was cut then and there, and its
// total, share and day with it. After 92 days it is gone from the disk.
func TestKeptOutlivesThePower(t *testing.T) {
	dir, key := t.TempDir(), [32]byte{5}
	db, err := store.Open(filepath.Join(dir, "a"), key)
	must(t, err)
	ticket := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	pub := ferry.TicketKey(ticket.Public().(ed25519.PublicKey))
	x := open(t, db, ferry.DefaultLimits())
	must(t, x.s.store.GiveTicket(pub))
	c := x.visit(home)
	sig := ed25519.Sign(ticket, label.Transcript(label.Ticket, ferry.TicketContext(c.nonce, ferryID, clientID)))
	c.say(ferry.TicketMessage(ferry.ShowTicket{Key: pub, Sig: ferry.Signature(sig)}))
	for i := range 3 {
		c.put(deposit(t, box(1), i))
	}
	must(t, os.CopyFS(filepath.Join(dir, "b"), os.DirFS(filepath.Join(dir, "a")))) // as the disk is now
	c.end()
	must(t, db.Close())

	db, err = store.Open(filepath.Join(dir, "b"), key)
	must(t, err)
	defer db.Close()
	y := open(t, db, ferry.DefaultLimits())
	c = y.visit(home)
	if got := c.fetch(box(1)); len(got) != 3 {
		t.Errorf("%d of 3 are there", len(got))
	}
	c.end()
	if n, _ := y.s.store.Total(); n != 3*protocol.BucketSmall {
		t.Errorf("%d bytes in all", n)
	}
	share := int64(0)
	must(t, y.s.store.Shares(pub, func(s ferry.Share) { share += s.Bytes }))
	if list, err := y.s.store.Tickets(); err != nil || share != 3*protocol.BucketSmall || len(list) != 1 || list[0] != pub {
		t.Errorf("share %d, tickets %v, %v", share, list, err)
	}
	y.now = y.now.Add((ferry.KeepDays - 1) * 24 * time.Hour)
	must(t, y.s.Tick())
	if n, _ := y.s.store.Total(); n != 3*protocol.BucketSmall {
		t.Errorf("a day too early %d bytes are left", n)
	}
	y.now = y.now.Add(24 * time.Hour)
	must(t, y.s.Tick())
	c = y.visit(home)
	if got := c.fetch(box(1)); got != nil {
		t.Errorf("%d are there after %d days", len(got), ferry.KeepDays)
	}
	c.end()
	share = 0
	must(t, y.s.store.Shares(pub, func(s ferry.Share) { share += s.Bytes }))
	if n, _ := y.s.store.Total(); n != 0 || share != 0 {
		t.Errorf("%d bytes in all, %d of the ticket", n, share)
	}
	must(t, y.s.store.TakeBack(pub))
	if ok, err := y.s.store.Ticket(pub); ok || err != nil {
		t.Errorf("a ticket that was taken back counts: %v", err)
	}
}

// A disk that fails has nothing said to be kept, and ends the whole server.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &failing{Memory: store.OpenMemory()}
		x := open(t, db, ferry.DefaultLimits())
		c := x.visit(home)
		db.fails = true
		c.say(ferry.PutMessage(deposit(t, box(1), 1)))
		if m := c.next(); m != nil {
			t.Errorf("answered by %.20x", m)
		}
		if err := <-c.served; !errors.Is(err, errDisk) {
			t.Errorf("the session ended with %v", err)
		}
		db.fails = false
		if err := <-x.visit(home).served; !errors.Is(err, ErrBroken) {
			t.Errorf("the next one ended with %v", err)
		}
		if err := x.s.Tick(); !errors.Is(err, ErrBroken) {
			t.Errorf("a tick ended with %v", err)
		}
	})
}

// Many phones stand behind one address, but not all that there are; who is elsewhere
// finds room.
func TestPlacesOfANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t, store.OpenMemory(), ferry.DefaultLimits())
		var list []*client
		for i := range maxNetwork {
			list = append(list, x.visit(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})))
		}
		for name, c := range map[string]struct {
			from netip.Addr
			want error
		}{
			"the same network":       {netip.MustParseAddr("192.0.2.200"), ErrBusy},
			"the same, as version 6": {netip.MustParseAddr("::ffff:192.0.2.9"), ErrBusy},
			"another network":        {netip.MustParseAddr("192.0.3.1"), nil},
			"another of version 6":   {netip.MustParseAddr("2001:db8::1"), nil},
		} {
			v := x.visit(c.from)
			if c.want != nil {
				if err := <-v.served; !errors.Is(err, c.want) {
					t.Errorf("%s: %v", name, err)
				}
			} else if v.nonce == ([32]byte{}) {
				t.Errorf("%s: no room", name)
			} else {
				v.end()
			}
		}
		list[0].end()
		if v := x.visit(home); v.nonce == ([32]byte{}) {
			t.Error("no room after one has gone")
		} else {
			v.end()
		}
		for i := range maxSessions - maxNetwork + 1 {
			list = append(list, x.visit(netip.AddrFrom4([4]byte{198, 51, byte(i), 1})))
		}
		if err := <-x.visit(netip.MustParseAddr("203.0.113.1")).served; !errors.Is(err, ErrBusy) {
			t.Errorf("one more than all: %v", err)
		}
		for _, c := range list[1:] {
			c.end()
		}
		if len(x.s.networks) != 0 || x.s.counts.Sessions != 0 {
			t.Errorf("%d sessions of %d networks are left", x.s.counts.Sessions, len(x.s.networks))
		}
	})
}

// Who says nothing, breaks off, or speaks falsely has his place taken away.
func TestSessionsThatEndBadly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t, store.OpenMemory(), ferry.DefaultLimits())
		c := x.visit(home)
		start := time.Now()
		if err := <-c.served; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != patience {
			t.Errorf("who says nothing: %v after %v", err, time.Since(start))
		}
		_, there := pipes() // and nobody reads
		start = time.Now()
		if err := x.s.Serve(there, clientID, home); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != patience {
			t.Errorf("who does not read: %v after %v", err, time.Since(start))
		}
		c = x.visit(home)
		synctest.Wait()
		c.conn.Close()
		if err := <-c.served; !errors.Is(err, io.EOF) {
			t.Errorf("who breaks off: %v", err)
		}
		c = x.visit(home)
		c.put(deposit(t, box(1), 1))
		c.say([]byte{ferry.TypeGive})
		if err := <-c.served; !errors.Is(err, ferry.ErrClient) {
			t.Errorf("who speaks falsely: %v", err)
		}
		c = x.visit(home)
		if _, err := c.conn.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
			t.Error(err)
		}
		if err := <-c.served; err == nil {
			t.Error("a frame of 4 GiB is waited for")
		}
		// Who was given all is to close first, but is not waited for as long.
		here, there := pipes()
		served := make(chan error, 1)
		go func() { served <- x.s.Serve(there, clientID, home) }()
		_, err := p2p.ReadFrame(here)
		must(t, err)
		_, err = here.Write(p2p.Frame([]byte{ferry.TypeDone}))
		must(t, err)
		for err == nil {
			_, err = p2p.ReadFrame(here)
		}
		start = time.Now()
		if err := <-served; err != nil || time.Since(start) != farewell {
			t.Errorf("who does not close: %v after %v", err, time.Since(start))
		}
		if c = x.visit(home); len(c.fetch(box(1))) != 1 {
			t.Error("what was kept before is not there")
		}
		c.end()
		if x.s.counts.Sessions != 0 {
			t.Errorf("%d places are not free", x.s.counts.Sessions)
		}
	})
}

// The names of networks are of one day and one run, and show no address.
func TestNetworksHaveNoAddress(t *testing.T) {
	x, y := open(t, store.OpenMemory(), ferry.DefaultLimits()), open(t, store.OpenMemory(), ferry.DefaultLimits())
	n := x.s.network(home)
	if strings.Contains(n, string(home.AsSlice()[:3])) || n == "unknown" || len(n) != 16 {
		t.Errorf("the network is named %x", n)
	}
	if x.s.network(home.Next()) != n {
		t.Error("a neighbour is in another network")
	}
	if y.s.network(home) == n {
		t.Error("another ferry has the same name for it")
	}
	six := netip.MustParseAddr("2001:db8:1:200::1")
	if x.s.network(six) != x.s.network(netip.MustParseAddr("2001:db8:1:2ff::9")) || x.s.network(six) == x.s.network(netip.MustParseAddr("2001:db8:1:300::1")) {
		t.Error("networks of version 6 are not of 56 bits")
	}
	if x.s.network(netip.Addr{}) != "unknown" {
		t.Error("who has no address has a network")
	}
	x.now = x.now.Add(24 * time.Hour)
	if x.s.network(home) == n {
		t.Error("the next day it has the same name")
	}
}
