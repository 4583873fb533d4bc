package node

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

func TestPortsOfAddresses(t *testing.T) {
	given := []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0", "/ip6/::/udp/0/quic-v1", "/ip6/::1/tcp/0",
		"/ip4/127.0.0.1/tcp/4001", "/ip4/10.0.0.1/udp/4001/quic-v1"}
	want := []string{"/ip4/0.0.0.0/udp/777/quic-v1", "/ip4/127.0.0.1/tcp/777", "/ip6/::/udp/777/quic-v1", "/ip6/::1/tcp/777",
		"/ip4/127.0.0.1/tcp/4001", "/ip4/10.0.0.1/udp/4001/quic-v1"}
	got := withPort(given, 777)
	if !slices.Equal(got, want) {
		t.Errorf("withPort gives %q", got)
	}
}

func TestDialable(t *testing.T) {
	for s, want := range map[string]string{
		"/ip4/192.0.2.1/tcp/4001":                         "/ip4/192.0.2.1/tcp/4001",
		" /ip4/192.0.2.1/udp/4001/quic-v1\n":              "/ip4/192.0.2.1/udp/4001/quic-v1",
		"/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWabc":         "/ip4/192.0.2.1/tcp/4001",
		"/ip6/2001:DB8:0::1/udp/4001/quic-v1":             "/ip6/2001:db8::1/udp/4001/quic-v1",
		"/dns4/example.org/tcp/4001":                      "",
		"/ip4/example.org/tcp/4001":                       "",
		"/ip4/192.0.2.1/tcp/0":                            "",
		"/ip4/192.0.2.1/tcp/04001":                        "",
		"/ip4/192.0.2.1/tcp/65536":                        "",
		"/ip4/0.0.0.0/tcp/1":                              "",
		"/ip6/::/tcp/1":                                   "",
		"/ip6/fe80::1%eth0/tcp/1":                         "",
		"/ip6/192.0.2.1/tcp/1":                            "",
		"/ip4/2001:db8::1/tcp/1":                          "",
		"/ip6/::ffff:192.0.2.1/tcp/1":                     "",
		"/ip4/224.0.0.1/udp/1/quic-v1":                    "",
		"/ip4/192.0.2.1/udp/4001":                         "",
		"/ip4/192.0.2.1/udp/4001/quic":                    "",
		"/ip4/192.0.2.1/tcp/4001/ws":                      "",
		"192.0.2.1:4001":                                  "",
		"":                                                "",
		"/ip4/192.0.2.1/tcp/1" + strings.Repeat("0", 200): "",
	} {
		if got, ok := dialable(s); got != want || ok != (want != "") {
			t.Errorf("%q gives %q, %v", s, got, ok)
		}
	}
}

// What is read as an address is written so that it is read as the same.
func FuzzAddress(f *testing.F) {
	f.Add("/ip4/192.0.2.1/tcp/4001")
	f.Add("/ip6/2001:DB8::0001/udp/1/quic-v1")
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := parseAddress(s)
		if !ok {
			return
		}
		if b, ok := parseAddress(a.String()); !ok || a != b {
			t.Errorf("%q is read as %v, written as %q and read as %v, %v", s, a, a.String(), b, ok)
		}
	})
}

// Loopback is told only if there is nothing else, and each kind of address gets
// its share of the room.
func TestExpandAndSpread(t *testing.T) {
	ip := func(list ...string) (out []netip.Addr) {
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	all := withPort([]string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"}, 9)
	if got := expand(all, ip("127.0.0.1", "::1")); !slices.Equal(got, []string{"/ip4/127.0.0.1/udp/9/quic-v1", "/ip4/127.0.0.1/tcp/9", "/ip6/::1/tcp/9"}) {
		t.Errorf("alone: %q", got)
	}
	wide := expand(all, ip("127.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "fe80::1", "2001:db8::1"))
	if len(wide) != 11 || strings.Contains(strings.Join(wide, " "), "127.") || strings.Contains(strings.Join(wide, " "), "fe80") {
		t.Errorf("with interfaces: %q", wide)
	}
	if got := spread(wide, 4); !slices.Equal(got, []string{"/ip4/10.0.0.1/udp/9/quic-v1", "/ip4/10.0.0.1/tcp/9", "/ip6/2001:db8::1/tcp/9", "/ip4/10.0.0.2/udp/9/quic-v1"}) {
		t.Errorf("spread: %q", got)
	}
	if got := spread(wide, 100); len(got) != len(wide) {
		t.Errorf("spread drops: %q", got)
	}
}

// A group keeps its port; when somebody else has it, the node runs on another
// one and goes back later. A port that the user fixed is an error instead, and
// serves the first group only.
func TestPortTaken(t *testing.T) {
	w := newWorld(t)
	ana := w.phone("Ana")
	ana.found(api.GroupCreateArgs{})
	var port uint16
	var own []string
	ana.inside(func() { port, own = ana.sortedGroups()[0].record.Port, ana.sortedGroups()[0].own })
	if !slices.Equal(own, withPort(loopback, port)) {
		t.Fatalf("the group is at %q, its port is %d", own, port)
	}
	ana.stop()

	other, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	ana = w.start(ana.dir, "Ana")
	if len(ana.addrs) != 2 || slices.Contains(ana.addrs, own[1]) {
		t.Errorf("with its port taken, the group is at %q", ana.addrs)
	}
	ana.stop()
	n, err := Open(Config{Dir: ana.dir, Passphrase: passphrase, Listen: own})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Run(context.Background(), func([]string) { t.Error("ready") }); api.CodeOf(err) != api.CodeAddressInUse {
		t.Errorf("with a fixed port that is taken: %v (%s)", err, api.CodeOf(err))
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	other.Close()
	ana = w.start(ana.dir, "Ana")
	if !slices.Equal(ana.addrs, own) {
		t.Errorf("later it is at %q, not %q", ana.addrs, own)
	}
	ana.stop()

	fixed := w.startWith(Config{Dir: ana.dir, Listen: own}, "Ana", nil)
	call[api.GroupCreated](t, fixed, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Deux"})
	fixed.inside(func() {
		for _, g := range fixed.groups {
			if g.record.Port == port && !slices.Equal(g.own, own) || g.record.Port != port && (len(g.own) != 2 || slices.Equal(g.own, own)) {
				t.Errorf("the group with port %d is at %q", g.record.Port, g.own)
			}
		}
	})
}
