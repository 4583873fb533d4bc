package enginetest

import (
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/recon"
)

// Ferry is a carrier in the world: the real rules, a storage in memory, and sessions
// over the virtual network.
type Ferry struct {
	Name string
	Off  bool // it answers nobody
	// Lie, if not nil, sees each message of the ferry before it is sent, and returns
	// what is sent in its place.
	Lie func(msg []byte) [][]byte
	// Tickets has the seeds of those who hold one.
	Tickets map[*Node]*[32]byte

	w       *World
	store   *ferryStore
	carrier *ferry.Carrier
}

// AddFerry adds a ferry with the limits.
func (w *World) AddFerry(name string, limits ferry.Limits) (*Ferry, error) {
	f := &Ferry{Name: name, w: w, store: &ferryStore{rows: map[protocol.MailboxID]map[protocol.EnvelopeID]ferry.Row{}}}
	c, err := ferry.New(limits, f.store, func() ferry.Set { return &ferrySet{} })
	f.carrier = c
	return f, err
}

// Bytes is how much the ferry holds.
func (f *Ferry) Bytes() int64 {
	n, _ := f.store.Total()
	return n
}

// visit is one session of a node with a ferry.
type visit struct {
	f        *Ferry
	n        *Node
	id       engine.Peer
	s        *ferry.Session
	up       bool
	toFerry  engine.Time // what was sent earlier arrives earlier
	toNode   engine.Time
	bytes    int // of all messages both ways, with their lengths
	messages int
}

// Poll lets a node visit a ferry; the session ends by itself.
func (n *Node) Poll(f *Ferry) *visit {
	if !n.live() || f.Off {
		return nil
	}
	w := n.w
	w.links++
	v := &visit{f: f, n: n, id: engine.Peer(w.links), up: true}
	peer := []byte("a peer id of " + n.Name + " for this connection alone")
	nonce := [32]byte{byte(w.links), byte(w.links >> 8), byte(w.links >> 16)}
	v.s = f.carrier.Begin(ferry.Who{Ferry: []byte("ferry " + f.Name), Client: peer, Network: n.Name, Nonce: nonce})
	n.visits = append(n.visits, v)
	n.step(engine.FerryUp{Peer: v.id, Ferry: []byte("ferry " + f.Name), Client: peer, Ticket: f.Tickets[n]})
	v.answer()
	return v
}

// send carries a message of the node to the ferry.
func (v *visit) send(data []byte) {
	v.toFerry = max(v.toFerry, v.n.w.Now+v.n.w.delay(v.n.w.Faults.DelayMax))
	data = slices.Clone(data)
	v.bytes, v.messages = v.bytes+4+len(data), v.messages+1
	v.n.w.at(v.toFerry, func() {
		if !v.up || v.f.Off {
			v.end()
			return
		}
		if err := v.s.Take(v.n.w.Now.Unix(), data); err != nil {
			v.n.w.violate("%s: the ferry refuses a message of type %d of %s: %v", v.f.Name, data[0], v.n.Name, err)
			v.end()
			return
		}
		v.f.commit()
		v.answer()
	})
}

// answer sends what the ferry has to say.
func (v *visit) answer() {
	for _, msg := range v.s.Answers() {
		v.deliver(msg)
	}
	for {
		msg, over, err := v.s.Give()
		if err != nil || over {
			v.n.w.at(v.toNode+1, v.end)
			return
		}
		if msg == nil {
			return
		}
		v.deliver(msg)
	}
}

func (v *visit) deliver(msg []byte) {
	if v.f.Lie == nil {
		v.carry(msg)
		return
	}
	for _, msg := range v.f.Lie(slices.Clone(msg)) {
		v.carry(msg)
	}
}

func (v *visit) carry(msg []byte) {
	v.toNode = max(v.toNode, v.n.w.Now+v.n.w.delay(v.n.w.Faults.DelayMax))
	v.bytes, v.messages = v.bytes+4+len(msg), v.messages+1
	v.n.w.at(v.toNode, func() {
		if v.up {
			v.n.step(engine.Received{Peer: v.id, Data: msg})
		}
	})
}

func (v *visit) end() {
	if !v.up {
		return
	}
	v.up = false
	v.n.visits = slices.DeleteFunc(v.n.visits, func(x *visit) bool { return x == v })
	v.n.step(engine.PeerDown{Peer: v.id})
}

// commit makes durable what the carrier keeps.
func (f *Ferry) commit() {
	f.store.commit(f.carrier.Ready())
	if err := f.carrier.Advance(); err != nil {
		f.w.violate("%s: %v", f.Name, err)
	}
}

// ferryStore is a storage of a ferry in memory.
type ferryStore struct {
	rows    map[protocol.MailboxID]map[protocol.EnvelopeID]ferry.Row
	tickets map[ferry.TicketKey]bool // that were given out
}

func (s *ferryStore) Mailbox(m protocol.MailboxID, f func(protocol.EnvelopeID, int)) error {
	var ids []protocol.EnvelopeID
	for id := range s.rows[m] {
		ids = append(ids, id)
	}
	for _, id := range protocol.SortIDs(ids) {
		f(id, len(s.rows[m][id].Envelope))
	}
	return nil
}

func (s *ferryStore) Envelope(m protocol.MailboxID, id protocol.EnvelopeID) (ferry.Row, bool, error) {
	r, ok := s.rows[m][id]
	return r, ok, nil
}

func (s *ferryStore) Total() (n int64, err error) {
	for _, rows := range s.rows {
		for _, r := range rows {
			n += int64(len(r.Envelope))
		}
	}
	return n, nil
}

func (s *ferryStore) Shares(ferry.TicketKey, func(ferry.Share)) error { return nil }
func (s *ferryStore) Ticket(t ferry.TicketKey) (bool, error)          { return s.tickets[t], nil }

func (s *ferryStore) commit(r ferry.Ready) {
	for _, row := range r.Keep {
		if s.rows[row.Mailbox] == nil {
			s.rows[row.Mailbox] = map[protocol.EnvelopeID]ferry.Row{}
		}
		s.rows[row.Mailbox][row.ID] = row
	}
}

// ferrySet is package recon as a ferry has it.
type ferrySet struct{ recon.Set }

func (s *ferrySet) Add(rank uint32, id protocol.EnvelopeID) error {
	_, err := s.Set.Add(recon.Item{Time: uint64(rank), ID: id})
	return err
}

func (s *ferrySet) Respond(msg []byte) ([]byte, error) { return recon.Respond(s.Set, 0, msg) }
