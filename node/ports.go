package node

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/palabre-app/palabre/protocol"
)

// address is a place in the network as this project writes it: an IP address,
// then TCP, or UDP with QUIC.
type address struct {
	ip   netip.Addr
	udp  bool
	port uint16
}

// parseAddress reads /ip4/A/tcp/P, /ip4/A/udp/P/quic-v1 or the same with ip6. A
// name is refused: a resolver would learn whom we look for.
func parseAddress(s string) (address, bool) {
	p := strings.Split(s, "/")
	if len(s) > protocol.MaxAddress || len(p) < 5 || p[0] != "" {
		return address{}, false
	}
	ip, err := netip.ParseAddr(p[2])
	if err != nil || ip.Zone() != "" || ip.Is4In6() || ip.Is4() != (p[1] == "ip4") || ip.Is6() != (p[1] == "ip6") {
		return address{}, false
	}
	port, err := strconv.ParseUint(p[4], 10, 16)
	if err != nil || strconv.FormatUint(port, 10) != p[4] {
		return address{}, false
	}
	a := address{ip: ip, udp: p[3] == "udp", port: uint16(port)}
	if a.udp && len(p) == 6 && p[5] == "quic-v1" || p[3] == "tcp" && len(p) == 5 {
		return a, true
	}
	return address{}, false
}

// String writes the address as parseAddress reads it.
func (a address) String() string {
	family := "/ip6/"
	if a.ip.Is4() {
		family = "/ip4/"
	}
	if a.udp {
		return family + a.ip.String() + "/udp/" + strconv.Itoa(int(a.port)) + "/quic-v1"
	}
	return family + a.ip.String() + "/tcp/" + strconv.Itoa(int(a.port))
}

// everywhere is where a node listens that was told nothing.
func everywhere() []string {
	list := []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"}
	interfaces, _ := net.InterfaceAddrs()
	if slices.ContainsFunc(interfaces, func(i net.Addr) bool {
		ip, ok := i.(*net.IPNet)
		return ok && ip.IP.To4() == nil
	}) {
		list = append(list, "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0")
	}
	return list
}

// withPort puts a port in the place of 0.
func withPort(addrs []string, port uint16) []string {
	out := slices.Clone(addrs)
	for i, s := range out {
		if a, ok := parseAddress(s); ok && a.port == 0 {
			a.port = port
			out[i] = a.String()
		}
	}
	return out
}

// listen returns where a group listens: on port where the user said 0, and where
// another group of this profile has taken the port that he fixed.
func (n *Node) listen(g *groupState, port uint16) []string {
	if n.cfg.Saver {
		return nil
	}
	given := n.cfg.Listen
	if len(given) == 0 && !n.hides() {
		given = everywhere()
	}
	out := withPort(given, port)
	for i, s := range out {
		for _, other := range n.groups {
			if other != g && slices.Contains(other.listening, s) {
				a, _ := parseAddress(s)
				a.port = port
				out[i] = a.String()
			}
		}
	}
	return out
}

// whyNot finds the system's reason why nothing can listen on addrs, since libp2p
// hands on only its words.
func whyNot(addrs []string, err error) error {
	for _, s := range addrs {
		a, ok := parseAddress(s)
		if !ok {
			continue
		}
		at := netip.AddrPortFrom(a.ip, a.port)
		if a.udp {
			c, refused := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			if refused != nil {
				return errors.Join(err, refused)
			}
			c.Close()
			continue
		}
		l, refused := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if refused != nil {
			return errors.Join(err, refused)
		}
		l.Close()
	}
	return err
}

// freePort finds a port that is free for UDP and TCP now and that taken does not
// hold for its own.
func freePort(taken func(uint16) bool) (uint16, error) {
	for range 64 {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			return 0, err
		}
		port := uint16(l.Addr().(*net.TCPAddr).Port)
		u, err := net.ListenPacket("udp", ":"+strconv.Itoa(int(port)))
		l.Close()
		if err != nil {
			continue
		}
		u.Close()
		if !taken(port) {
			return port, nil
		}
	}
	return 0, errors.New("no free port was found")
}
