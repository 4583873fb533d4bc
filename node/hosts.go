package node

import (
	"slices"
	"sync/atomic"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// signer answers the gate's questions from the newest snapshot of an engine. The
// gate asks from goroutines of its own.
type signer struct{ gate atomic.Pointer[engine.Gate] }

// SignGate signs as this device.
func (s *signer) SignGate(transcript []byte) (device [16]byte, sig [64]byte, ok bool) {
	g := s.gate.Load()
	if g == nil || g.Device.IsZero() {
		return device, sig, false
	}
	return g.Device.Public().ID(), g.Device.Sign(label.GateSign, transcript), true
}

// AdmitGate says whether the roster knows the device, and the signature holds.
func (s *signer) AdmitGate(transcript []byte, device [16]byte, sig [64]byte) bool {
	g := s.gate.Load()
	if g == nil {
		return false
	}
	pub, ok := g.Devices[identity.DeviceID(device)]
	return ok && pub.Verify(label.GateSign, transcript, identity.Signature(sig))
}

func gateKeys(g *engine.Gate) p2p.Keys {
	convert := func(list []engine.GateKey) []p2p.Key {
		out := make([]p2p.Key, len(list))
		for i, k := range list {
			out[i] = p2p.Key{Secret: p2p.NewSecret(k.Secret), Class: p2p.Class(k.Class), Tag: k.Tag, Device: k.Device}
		}
		return out
	}
	return p2p.Keys{Accept: convert(g.Accept), Dial: convert(g.Dial)}
}

// wantsHost says whether a host should be open and is not. A group without keys
// is one that this person was removed from: there is nobody to talk to.
func (g *groupState) wantsHost() bool {
	return g.host == nil && !g.closing && g.gate != nil && len(g.gate.Accept)+len(g.gate.Dial) > 0
}

// dials says whether places of the group can be dialled now.
func (g *groupState) dials() bool {
	return g.host != nil && g.gate != nil && len(g.gate.Dial) > 0
}

// tendHosts closes hosts of the wrong kind and opens those that are due. It
// says whether the engines were given something.
func (n *Node) tendHosts() (did bool) {
	for _, g := range n.sortedGroups() {
		if g.host != nil && g.road != n.road(g) {
			g.reopen = g.reopen || g.road == standing || n.road(g) == standing
			g.road = n.road(g)
		}
		if g.reopen {
			g.reopen = false
			n.closeHost(g)
			did = true
		}
		if !g.wantsHost() || g.retryAt > n.now() {
			continue
		}
		g.trouble = n.openHost(g)
		if g.trouble != nil {
			n.holdBack(g)
		}
		did = true
	}
	return did
}

// renewEvery is about how long a host has one peer ID. The moment is drawn, so that
// devices do not change at one hour, which would be a signal and a storm.
const renewEvery = engine.Time(24 * 3600 * 1000)

// openHost starts the group's host with a fresh peer ID: a listening one for a
// member, one that only dials for somebody who has not joined yet.
func (n *Node) openHost(g *groupState) error {
	generation := g.hostGeneration + 1
	s := &signer{}
	s.gate.Store(g.gate)
	cfg := p2p.Config{Keys: gateKeys(g.gate), Signer: s, Proxy: n.cfg.Proxy, Traffic: &n.data.traffic, Sort: purposeOf,
		OnEvent: func(ev p2p.Event) { n.post(func() { n.onNetwork(g, generation, ev) }) }}
	g.road = n.road(g)
	if g.engine.Joined() && g.road == standing {
		cfg.Listen = n.listen(g, g.record.Port)
	}
	host, err := p2p.New(cfg)
	if err != nil && len(cfg.Listen) > 0 {
		// Somebody else has the group's port today: any other will do for this run,
		// and members are told. What the user fixed stays fixed.
		cfg.Listen = n.listen(g, 0)
		if host, err = p2p.New(cfg); err != nil {
			err = whyNot(cfg.Listen, err)
		}
	}
	if err != nil {
		return err
	}
	g.host, g.signer, g.hostGeneration, g.listening = host, s, generation, cfg.Listen
	g.renewAt = n.now() + around(renewEvery)
	g.seesRisk()
	g.reach = reach{asked: !n.asksForPlace(g)}
	g.book.restart(n.now())
	for _, a := range g.worked {
		g.book.add(n.now(), []string{a}, true)
	}
	for _, a := range n.given {
		g.book.add(n.now(), []string{a}, true)
	}
	g.book.add(n.now(), g.engine.LinkAddresses(), true)
	g.book.sync(n.now(), g.engine.PeerAddresses())
	g.carriers.soon(n.now(), visitFirst)
	g.poll.soon(n.now(), visitFirst, false)
	n.tellAddrs(g)
	return nil
}

// tellAddrs tells the group where this device can be dialled, if that changed, and says
// whether the network did. It waits for what letter carriers answer at the start: what
// is told costs everybody a letter.
func (n *Node) tellAddrs(g *groupState) (moved bool) {
	if g.host == nil || !g.engine.Joined() {
		return false
	}
	own := quicFirst(g.host.Addrs())
	moved = !slices.Equal(own, g.own)
	g.own = own
	if !g.reach.asked {
		return moved
	}
	told := spread(own, maxTold)
	if g.reach.addr != "" {
		told = append(spread(own, maxTold-1), g.reach.addr)
	}
	if len(told) > 0 && !slices.Equal(told, g.told) {
		g.told = told
		n.step(g, engine.Addresses{List: told})
	}
	return moved
}

// compareAddrs notices that the machine moved to another network.
func (n *Node) compareAddrs() {
	for _, g := range n.sortedGroups() {
		if g.seesRisk(); n.tellAddrs(g) {
			g.book.hurry(n.now())
			g.carriers.soon(n.now(), visitFirst)
		}
	}
}

// closeHost ends the group's host and its links. The host is closed beside the
// owner's goroutine, since it has events to hand over first; the next one is
// opened when the sockets are free again.
func (n *Node) closeHost(g *groupState) {
	host := g.host
	if host == nil {
		return
	}
	n.endVisit(g)
	g.poll.on = false
	links := g.links
	g.host, g.signer, g.own, g.told, g.listening, g.links = nil, nil, nil, nil, nil, map[p2p.LinkID]bool{}
	clear(g.through)
	g.nearPort, g.reach = 0, reach{}
	g.hostGeneration++
	g.closing = true
	g.book.allDown(n.now())
	for id := range links {
		n.step(g, engine.PeerDown{Peer: engine.Peer(id)})
	}
	n.closing.Go(func() {
		host.Close()
		n.post(func() { g.closing = false })
	})
}

// onNetwork gives what a host reported to the engine. Events of a host that was
// replaced meanwhile are dropped, and so are those of links that the engine was
// loaded anew without.
func (n *Node) onNetwork(g *groupState, generation int, ev p2p.Event) {
	if g.hostGeneration != generation || n.groups[g.id] != g {
		return
	}
	switch ev := ev.(type) {
	case p2p.LinkUp:
		g.links[ev.Link] = true
		if ev.Circuit {
			g.through[ev.Link] = true
		}
		n.step(g, engine.PeerUp{Peer: engine.Peer(ev.Link), Class: engine.Class(ev.Class), Tag: ev.Tag, Dialled: ev.Dialled, Limit: g.limitOf(ev)})
		n.linkUp(g, ev.Link)
		n.pollUp(g, ev)
	case p2p.LinkDown:
		if g.links[ev.Link] {
			delete(g.links, ev.Link)
			delete(g.through, ev.Link)
			if len(g.links) == len(g.through) {
				g.carriers.alone(n.now())
			}
			g.book.down(n.now(), ev.Link)
			n.step(g, engine.PeerDown{Peer: engine.Peer(ev.Link)})
			n.pollDown(g)
		}
	case p2p.Message:
		if g.links[ev.Link] {
			g.poll.told(n.now())
			n.step(g, engine.Received{Peer: engine.Peer(ev.Link), Data: ev.Data})
		}
	case p2p.Hints:
		if !g.links[ev.Link] {
			return
		}
		ids := make([]protocol.EnvelopeID, len(ev.IDs))
		for i, id := range ev.IDs {
			ids[i] = id
		}
		n.step(g, engine.Hinted{Peer: engine.Peer(ev.Link), IDs: ids})
	}
}
