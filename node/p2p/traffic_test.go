package p2p

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

func counted(t *Traffic) func(*Config, *bounds, *node) {
	return func(c *Config, _ *bounds, _ *node) {
		c.Traffic = t
		c.Sort = func(m []byte) Purpose {
			if m[0] == 'c' {
				return Comparing
			}
			return Letters
		}
	}
}

// said waits until a message has come, which is when it is counted on that side.
func (n *node) said(what []byte) {
	n.t.Helper()
	find(n, func(m Message) bool { return bytes.Equal(m.Data, what) })
}

// Each message counts once, for its purpose, on both sides; what it cost beside that
// is of connections; what others counted before is not touched.
func TestTrafficByPurpose(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			noLeaks(t)
			var ta, tb Traffic
			a, b := start(t, keys(key("k", Member)), counted(&ta)), start(t, keys(key("k", Member)), counted(&tb))
			lb := b.mustDial(a.addr(kind))
			la := find(a, anyUp).Link
			a.untilHints(b)
			b.untilHints(a)
			before := [2]Totals{ta.Totals(), tb.Totals()}
			for _, x := range []Totals{before[0], before[1]} {
				if x[Comparing] != (Volume{}) || x[Carriers] != (Volume{}) || x[Connections].In < 1_000 || x[Connections].Out < 1_000 {
					t.Errorf("a link came up: %+v", x)
				}
			}
			letter, compare := bytes.Repeat([]byte("l"), 10_000), bytes.Repeat([]byte("c"), 3_000)
			for _, m := range [][]byte{letter, compare} {
				if err := b.Send(lb, m); err != nil {
					t.Fatal(err)
				}
				a.said(m)
			}
			answer := append([]byte("c"), "end"...)
			if err := a.Send(la, answer); err != nil {
				t.Fatal(err)
			}
			b.said(answer)
			after := [2]Totals{ta.Totals(), tb.Totals()}
			grew := func(i int, p Purpose) Volume {
				return Volume{after[i][p].In - before[i][p].In, after[i][p].Out - before[i][p].Out}
			}
			if x := grew(0, Comparing); x != (Volume{In: 3_004, Out: 8}) {
				t.Errorf("who was called compared %+v", x)
			}
			if x := grew(1, Comparing); x != (Volume{In: 8, Out: 3_004}) {
				t.Errorf("who called compared %+v", x)
			}
			if x := grew(0, Letters); x.In < 10_004 || x.In > 10_304 || x.Out > 300 {
				t.Errorf("letters are %+v", x) // gossip says a little
			}
			// Packets of 10,000 bytes have headers.
			if x := grew(0, Connections); x.In <= 10*udpHeader || x.In > 4_000 {
				t.Errorf("around them came %+v", x)
			}
			if err := a.Announce([][32]byte{{1}}); err != nil {
				t.Fatal(err)
			}
			find(b, func(h Hints) bool { return true })
			if x := tb.Totals(); x[Letters].In < after[1][Letters].In+40 {
				t.Errorf("a hint is not counted: %+v, before %+v", x, after[1])
			}
			for _, x := range []struct{ now, then Totals }{{ta.Totals(), after[0]}, {tb.Totals(), after[1]}} {
				for p := range x.now {
					if x.now[p].In < x.then[p].In || x.now[p].Out < x.then[p].Out {
						t.Errorf("%d went down: %+v, %+v", p, x.then, x.now)
					}
				}
			}
		})
	}
}

// A visit counts as that, whole, and not as links.
func TestTrafficOfVisits(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			noLeaks(t)
			x := open(t)
			var traffic Traffic
			v, err := VisitFerry(soon(t), x.at(kind), "", &traffic)
			if err != nil {
				t.Fatal(err)
			}
			over := make(chan bool)
			v.Start(func([]byte) {}, func() { close(over) })
			v.Close()
			<-over
			got := traffic.Totals()
			if got[Carriers].In < 500 || got[Carriers].Out < 500 || got[Letters] != (Volume{}) || got[Comparing] != (Volume{}) || got[Connections] != (Volume{}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Part of a message may be counted before its packets are: nothing is negative then,
// and nothing is lost.
func TestTrafficAddsUp(t *testing.T) {
	var x Traffic
	x.links.add(100, 100)
	x.message(Letters, 0, 500)
	if got := x.Totals(); got[Connections] != (Volume{In: 100, Out: 0}) || got[Letters] != (Volume{Out: 500}) {
		t.Errorf("%+v", got)
	}
	x.links.add(0, 600)
	if got := x.Totals(); got[Connections] != (Volume{In: 100, Out: 200}) {
		t.Errorf("%+v", got)
	}
	var none *Traffic
	none.message(Letters, 1, 1)
	none.gossip("/meshsub/1.2.0", 1, 1)
	none.ofHosts().add(1, 1)
	none.ofVisits().add(1, 1)
	x.message(Carriers, 1, 1) // those are counted at their sockets
	if got := x.Totals(); got[Carriers] != (Volume{}) {
		t.Errorf("%+v", got)
	}
}

// Each way in which a UDP socket is read and written counts, with its headers.
func TestEachUseOfAUDPSocketCounts(t *testing.T) {
	for network, header := range map[string]int64{"udp4": 28, "udp6": 48} {
		t.Run(network, func(t *testing.T) {
			ip := map[string]net.IP{"udp4": net.IPv4(127, 0, 0, 1), "udp6": net.IPv6loopback}[network]
			pair := [2]*udp{}
			for i := range pair {
				c, err := net.ListenUDP(network, &net.UDPAddr{IP: ip})
				if err != nil && network == "udp6" {
					t.Skipf("no %s here: %v", network, err)
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				pair[i] = &udp{UDPConn: c, batch: ipv4.NewPacketConn(c), count: new(tally)}
			}
			from, to := pair[0], pair[1]
			at := to.LocalAddr().(*net.UDPAddr)
			b := make([]byte, 100)
			want := int64(0)
			for i, read := range []func() error{
				func() error { _, _, err := to.ReadFrom(b); return err },
				func() error { _, _, _, _, err := to.ReadMsgUDP(b, nil); return err },
				func() error { _, err := to.ReadBatch([]ipv4.Message{{Buffers: [][]byte{b}}}, 0); return err },
			} {
				var err error
				if i == 0 {
					_, err = from.WriteTo(b[:40], at)
				} else {
					_, _, err = from.WriteMsgUDP(b[:40], nil, at)
				}
				if err == nil {
					err = read()
				}
				if err != nil {
					t.Fatal(err)
				}
				want += 40 + header
				if got := to.count.volume(); got != (Volume{In: want}) {
					t.Errorf("%s, reading %d: %+v", network, i, got)
				}
				if got := from.count.volume(); got != (Volume{Out: want}) {
					t.Errorf("%s, writing %d: %+v", network, i, got)
				}
			}
		})
	}
	if n := datagrams(packets(2*udpLength+1, udpLength), 2*udpLength+1, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); n != 2*udpLength+1+3*28 {
		t.Errorf("three datagrams that are handed over together cost %d", n)
	}
}
