package lan

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/net/ipv4"
)

// network is one interface of this machine to a local network.
type network struct {
	index    int
	name     string
	prefixes []netip.Prefix // own address and length, private IPv4 alone
}

func (n network) equal(m network) bool {
	return n.index == m.index && n.name == m.name && slices.Equal(n.prefixes, m.prefixes)
}

// networks lists the local networks that this machine is in: none that is a tunnel,
// and none where its address is a public one.
func networks() (list []network) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0 || i.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		n := network{index: i.Index, name: i.Name}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && local(p.Addr()) {
				n.prefixes = append(n.prefixes, p)
			}
		}
		if len(n.prefixes) > 0 {
			slices.SortFunc(n.prefixes, func(a, b netip.Prefix) int { return cmp.Compare(a.String(), b.String()) })
			list = append(list, n)
		}
	}
	return list
}

func local(ip netip.Addr) bool { return ip.Is4() && (ip.IsPrivate() || ip.IsLinkLocalUnicast()) }

// socket hears and speaks in one network.
type socket struct {
	network
	conn *net.UDPConn
}

func open(n network) (*socket, error) {
	i, err := net.InterfaceByIndex(n.index)
	if err != nil {
		return nil, err
	}
	c, err := net.ListenMulticastUDP("udp4", i, group) // shared with others on this machine
	if err != nil {
		return nil, err
	}
	p := ipv4.NewPacketConn(c)
	// Others on this machine hear it too, and routers pass nothing on.
	if err = p.SetMulticastLoopback(true); err == nil {
		err = p.SetMulticastTTL(255) // RFC 6762 section 11
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &socket{n, c}, nil
}
