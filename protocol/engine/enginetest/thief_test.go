package enginetest

import (
	"bytes"
	"maps"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Tables that the thief reads beside those of the other attackers.
const (
	tableOfEpochs   = 4
	tableOfItems    = 8
	tableOfKEM      = 12
	tableOfInvites  = 13
	tableOfRequests = 14
	tableOfRescue   = 15
	tableOfSeeds    = 19
)

type kemRow struct {
	_         struct{} `cbor:",toarray"`
	Counter   uint64
	KEM, Lane [32]byte
	Frame     protocol.ItemID
	Used      int64
	Gone      bool
}

// spy keeps what passed on any link of a world.
type spy struct {
	envelopes map[protocol.EnvelopeID][]byte
	devices   map[identity.DeviceID]identity.DevicePublic
}

func (w *World) spied() *spy {
	s := &spy{envelopes: map[protocol.EnvelopeID][]byte{}, devices: map[identity.DeviceID]identity.DevicePublic{}}
	w.tap = func(_, _ *Node, data []byte) bool {
		if data[0] == messageGive {
			s.see(data[1:])
		}
		return true
	}
	return s
}

func (s *spy) see(envelope []byte) { s.envelopes[protocol.IDOf(envelope)] = bytes.Clone(envelope) }

// know tells the spy the signing keys of nodes: they are in every roster.
func (s *spy) know(nodes ...*Node) {
	for _, n := range nodes {
		pub := n.gate.Device.Public()
		s.devices[pub.ID()] = pub
	}
}

// loot is what the thief of a phone wins from its storage and from all traffic.
type loot struct {
	t        *testing.T
	group    protocol.GroupID
	now      engine.Time
	devices  map[identity.DeviceID]identity.DevicePublic
	pool     map[protocol.EnvelopeID][]byte
	kem      map[[32]byte]epoch.KEMPrivate
	joins    map[protocol.InviteID]epoch.KEMPrivate
	roots    map[protocol.InviteID]epoch.Rendezvous
	keys     map[protocol.EpochID]map[string]*epoch.Keys // by where they come from
	headers  map[protocol.EpochID]*epoch.Header
	boxes    map[protocol.MailboxID]*epoch.Mailbox
	boxed    map[string]bool // whose mailboxes are in boxes
	frames   map[protocol.ItemID]protocol.Frame
	places   map[protocol.ItemID]protocol.MailboxID
	packages map[protocol.ItemID]bool // hashes of key packages
	tried    map[string]bool

	stored    map[string]bool // titles of notices whose text lies in the storage
	opened    map[string]bool // titles of notices that opened with keys
	addresses map[string]bool // of presence in the storage
	heard     map[string]bool // of presence in opened envelopes
}

// steal takes all that a storage and the traffic give, until nothing new comes.
func steal(t *testing.T, id protocol.GroupID, store *Memory, s *spy, now engine.Time) *loot {
	t.Helper()
	l := &loot{t: t, group: id, now: now, devices: s.devices, pool: maps.Clone(s.envelopes),
		kem: map[[32]byte]epoch.KEMPrivate{}, joins: map[protocol.InviteID]epoch.KEMPrivate{}, roots: map[protocol.InviteID]epoch.Rendezvous{},
		keys: map[protocol.EpochID]map[string]*epoch.Keys{}, headers: map[protocol.EpochID]*epoch.Header{},
		boxes: map[protocol.MailboxID]*epoch.Mailbox{}, boxed: map[string]bool{}, frames: map[protocol.ItemID]protocol.Frame{},
		places: map[protocol.ItemID]protocol.MailboxID{}, packages: map[protocol.ItemID]bool{}, tried: map[string]bool{},
		stored: map[string]bool{}, opened: map[string]bool{}, addresses: map[string]bool{}, heard: map[string]bool{}}
	l.readRows(store)
	for before := -1; before != l.size(); {
		before = l.size()
		l.openHeaders()
		l.openMailboxes()
		l.openEnvelopes()
		l.openWelcomes()
		l.openRequests()
		l.openMessages()
	}
	return l
}

func (l *loot) size() int {
	n := len(l.headers) + len(l.frames) + len(l.boxes) + len(l.opened) + len(l.kem)
	for _, k := range l.keys {
		n += len(k)
	}
	return n
}

func (l *loot) readRows(m *Memory) {
	each := func(table engine.Table, f func(key string, value []byte)) {
		for _, k := range m.keys(table) {
			f(k, bytes.Clone(m.rows[table][k].value))
		}
	}
	each(tableOfMeta, func(k string, v []byte) {
		switch k {
		case "self":
			var self struct {
				_                      struct{} `cbor:",toarray"`
				Member, Device, Rescue [32]byte
				Name                   string
			}
			must(l.t, wire.Unmarshal(v, 1024, &self))
			l.box(epoch.RescueMailbox(epoch.RescueSeedFromBytes(self.Rescue)))
		case "join":
			var r struct {
				_             struct{} `cbor:",toarray"`
				Link, Package []byte
			}
			must(l.t, wire.Unmarshal(v, engine.MaxValueSize, &r))
			l.take(r.Package)
		case "addresses":
			var p struct {
				_       struct{} `cbor:",toarray"`
				Version uint8
				Addrs   []string
				Expires int64
			}
			must(l.t, wire.Unmarshal(v, 2048, &p))
			for _, a := range p.Addrs {
				l.addresses[a] = true
			}
		}
	})
	each(3, func(_ string, v []byte) { l.take(v) })
	each(tableOfEpochs, func(_ string, v []byte) {
		var r struct {
			_               struct{} `cbor:",toarray"`
			Frame           []byte
			Accepted, Exact bool
			Covered         int64
			Arrived         int64
			Erased          bool
			Asked           uint32
		}
		must(l.t, wire.Unmarshal(v, engine.MaxValueSize, &r))
		l.take(r.Frame)
	})
	each(tableOfSecrets, func(_ string, v []byte) {
		k, err := epoch.ParseKeys(v)
		must(l.t, err)
		l.gain("stored", k)
	})
	each(tableOfChains, func(k string, v []byte) {
		if keys := l.keys[protocol.EpochID([]byte(k[:32]))]["stored"]; keys != nil {
			must(l.t, keys.AddChain(v))
		}
	})
	each(tableOfEnvelopes, func(_ string, v []byte) { l.pool[protocol.IDOf(v)] = v })
	each(tableOfSeeds, func(_ string, v []byte) {
		r := seedOf(v)
		l.box(epoch.RescueMailbox(epoch.RescueSeedFromBytes(r)))
	})
	each(tableOfRescue, func(_ string, v []byte) { l.pool[protocol.IDOf(v)] = v })
	each(tableOfItems, func(_ string, v []byte) {
		_, c, err := protocol.ParseOriginal(v)
		must(l.t, err)
		if title := noticeTitle(c); title != "" {
			l.stored[title] = true
		}
	})
	each(tableOfKEM, func(_ string, v []byte) {
		var r kemRow
		must(l.t, wire.Unmarshal(v, 256, &r))
		if r.KEM != [32]byte{} {
			l.kem[r.KEM] = epoch.KEMPrivateFromSeed(r.KEM)
		}
	})
	each(tableOfInvites, func(k string, v []byte) {
		var r struct {
			_          struct{} `cbor:",toarray"`
			Link       []byte
			Card, Join [32]byte
			Auto       bool
			Created    int64
			Used, Seen uint16
		}
		must(l.t, wire.Unmarshal(v, engine.MaxValueSize, &r))
		var link protocol.Link
		must(l.t, wire.Unmarshal(r.Link, protocol.MaxLink, &link))
		root := epoch.RendezvousOf(link.Secret, link.ID())
		l.joins[link.ID()], l.roots[link.ID()] = epoch.KEMPrivateFromSeed(r.Join), root
		l.box(epoch.CardMailbox(root, link.Card))
		l.box(epoch.RequestMailbox(root, link.Card))
	})
	each(tableOfRequests, func(_ string, v []byte) {
		var r struct {
			_          struct{} `cbor:",toarray"`
			Invite     protocol.InviteID
			KeyPackage []byte
			Name       string
			Rescue     [32]byte
			Created    int64
		}
		must(l.t, wire.Unmarshal(v, engine.MaxValueSize, &r))
		l.take(r.KeyPackage)
		l.box(epoch.RescueMailbox(epoch.RescueSeedFromBytes(r.Rescue)))
	})
	for id, b := range l.pool {
		if id != protocol.IDOf(b) {
			l.t.Fatal("an envelope changed in the hands of the spy")
		}
	}
	for _, e := range m.keys(tableOfEnvelopes) {
		l.presenceOf(m.rows[tableOfEnvelopes][e].value)
	}
}

// presenceOf notes addresses of stored presence whose epoch's keys are stored.
func (l *loot) presenceOf(envelope []byte) {
	l.openMailboxes()
	env, err := protocol.ParseEnvelope(envelope)
	must(l.t, err)
	if box := l.boxes[env.Mailbox]; box != nil {
		plain, err := box.Open(envelope)
		must(l.t, err)
		f, err := protocol.ParseFrame(plain)
		must(l.t, err)
		l.presence(f, l.addresses)
	}
}

func (l *loot) presence(f protocol.Frame, into map[string]bool) {
	var p struct {
		_       struct{} `cbor:",toarray"`
		Version uint8
		Addrs   []string
		Told    int64
	}
	if f.Kind == protocol.KindPresence && wire.Unmarshal(f.Body, 2048, &p) == nil {
		for _, a := range p.Addrs {
			into[a] = true
		}
	}
}

func noticeTitle(c protocol.Content) string {
	if c.Type != protocol.TypeAnnouncement {
		return ""
	}
	n, err := feed.DecodeNotice(c.Type, c.Payload)
	if err != nil {
		return ""
	}
	return n.Texts[0].Title
}

func (l *loot) box(m *epoch.Mailbox) { l.boxes[m.Address()] = m }

// take looks at a whole frame.
func (l *loot) take(b []byte) {
	f, err := protocol.ParseFrame(b)
	if err != nil {
		return
	}
	id := f.ID(l.group)
	l.frames[id] = f
	switch f.Kind {
	case protocol.KindEpoch:
		h, err := epoch.ParseHeader(l.group, f)
		must(l.t, err)
		l.headers[h.ID()] = h
	case protocol.KindKeyPackage:
		l.packages[id] = true
	}
}

func (l *loot) gain(from string, k *epoch.Keys) {
	if l.keys[k.Epoch()] == nil {
		l.keys[k.Epoch()] = map[string]*epoch.Keys{}
	}
	if l.keys[k.Epoch()][from] == nil {
		l.keys[k.Epoch()][from] = k
	}
}

// reads says whether a notice is readable, from where it lies or with a key.
func (l *loot) reads(title string) bool { return l.stored[title] || l.opened[title] }
