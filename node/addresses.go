package node

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Bounds of addresses.
const (
	maxTold  = 8  // own addresses that members are told
	maxGiven = 32 // addresses given with connect
)

// connect keeps an address and dials it for every group, now and later.
func connect(n *Node, a api.ConnectArgs) (*groupState, any, error) {
	if !n.online {
		return nil, nil, code(api.CodeNotRunning)
	}
	if n.cfg.Careful {
		return nil, nil, code(api.CodeCareful)
	}
	addr, ok := dialable(a.Addr)
	if !ok {
		return nil, nil, code(api.CodeInvalidAddress)
	}
	if !slices.Contains(n.given, addr) {
		if len(n.given) >= maxGiven {
			return nil, nil, code(api.CodeTooMany)
		}
		if err := n.commitOwn(engine.Batch{Puts: []engine.Record{{Table: tableGiven, Key: []byte(addr), Value: []byte{1}}}}); err != nil {
			return nil, nil, err
		}
		n.given = append(n.given, addr)
	}
	for _, g := range n.groups {
		g.book.add(n.now(), []string{addr}, true)
		g.poll.soon(n.now(), visitSoon, true)
	}
	return nil, api.Done{Done: true}, nil
}

// dialable reads an address as people hand it on. A peer ID at its end is cut
// off: IDs change, addresses are dialled.
func dialable(s string) (string, bool) {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "/p2p/")
	if p2p.OnionAddr(s) {
		return s, true
	}
	a, ok := parseAddress(s)
	if !ok || a.port == 0 || a.ip.IsUnspecified() || a.ip.IsMulticast() {
		return "", false
	}
	return a.String(), true
}

// linkAddrs returns what to put into an invite: where this device can be
// dialled, or could if it ran, and while it does, where through a letter carrier.
func (n *Node) linkAddrs(g *groupState) []string {
	addrs := g.own
	if len(addrs) == 0 && !n.hides() {
		addrs = expand(n.listen(g, g.record.Port), interfaceIPs())
	}
	if g.reach.addr == "" {
		return spread(addrs, protocol.MaxLinkAddresses)
	}
	return append(spread(addrs, protocol.MaxLinkAddresses-1), g.reach.addr)
}

// readyAddrs lists where all groups can be dialled; with no group yet, the
// address that is reserved for the first one.
func (n *Node) readyAddrs() []string {
	addrs := []string{}
	for _, g := range n.sortedGroups() {
		addrs = append(addrs, g.own...)
	}
	if len(n.groups) == 0 && !n.hides() {
		addrs = append(addrs, expand(n.listen(nil, n.reserved), interfaceIPs())...)
	}
	return addrs
}

func interfaceIPs() (ips []netip.Addr) {
	interfaces, _ := net.InterfaceAddrs()
	for _, i := range interfaces {
		if p, ok := i.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(p.IP); ok {
				ips = append(ips, ip.Unmap())
			}
		}
	}
	return ips
}

// expand replaces addresses that stand for all interfaces by those of the
// interfaces: loopback only if there is nothing else.
func expand(listen []string, interfaces []netip.Addr) []string {
	var outside, inside []string
	put := func(a address) {
		if a.ip.IsLoopback() {
			inside = append(inside, a.String())
		} else {
			outside = append(outside, a.String())
		}
	}
	for _, s := range listen {
		a, ok := parseAddress(s)
		if !ok {
			continue
		}
		if !a.ip.IsUnspecified() {
			put(a)
			continue
		}
		for _, ip := range interfaces {
			if ip.Is4() == a.ip.Is4() && !ip.IsLinkLocalUnicast() {
				put(address{ip: ip, udp: a.udp, port: a.port})
			}
		}
	}
	if len(outside) == 0 {
		return inside
	}
	return outside
}

// spread picks at most limit addresses, so that each kind has its share: a device
// with many interfaces would otherwise tell QUIC addresses alone.
func spread(addrs []string, limit int) []string {
	kinds := map[[2]bool][]string{}
	var order [][2]bool
	for _, s := range addrs {
		a, ok := parseAddress(s)
		if !ok {
			continue
		}
		kind := [2]bool{a.ip.Is4(), a.udp}
		if kinds[kind] == nil {
			order = append(order, kind)
		}
		kinds[kind] = append(kinds[kind], s)
	}
	var out []string
	for i := 0; len(out) < limit; i++ {
		before := len(out)
		for _, k := range order {
			if i < len(kinds[k]) && len(out) < limit {
				out = append(out, kinds[k][i])
			}
		}
		if len(out) == before {
			break
		}
	}
	return out
}

// quicFirst sorts addresses, for they come in any order: those for QUIC, which
// costs less, before those for TCP.
func quicFirst(addrs []string) []string {
	slices.SortFunc(addrs, func(a, b string) int {
		x, _ := parseAddress(a)
		y, _ := parseAddress(b)
		if x.udp != y.udp {
			if x.udp {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	return addrs
}
