package ferry

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/recon"
)

const dayOne = 20_000 * protocol.DaySeconds

// memory is a Storage in memory.
type memory struct {
	rows    map[protocol.MailboxID]map[protocol.EnvelopeID]Row
	shares  map[TicketKey]map[protocol.Day]int64
	tickets map[TicketKey]bool
	commits int
}

func newMemory() *memory {
	return &memory{rows: map[protocol.MailboxID]map[protocol.EnvelopeID]Row{}, shares: map[TicketKey]map[protocol.Day]int64{}, tickets: map[TicketKey]bool{}}
}

func (m *memory) Mailbox(id protocol.MailboxID, f func(protocol.EnvelopeID, int)) error {
	for e, r := range m.rows[id] {
		f(e, len(r.Envelope))
	}
	return nil
}

func (m *memory) Envelope(id protocol.MailboxID, e protocol.EnvelopeID) (Row, bool, error) {
	r, ok := m.rows[id][e]
	return r, ok, nil
}

func (m *memory) Total() (n int64, err error) {
	for _, rows := range m.rows {
		for _, r := range rows {
			n += int64(len(r.Envelope))
		}
	}
	return n, nil
}

func (m *memory) Shares(t TicketKey, f func(Share)) error {
	for day, n := range m.shares[t] {
		f(Share{Ticket: t, Until: day, Bytes: n})
	}
	return nil
}

func (m *memory) Ticket(t TicketKey) (bool, error) { return m.tickets[t], nil }

func (m *memory) commit(r Ready) {
	m.commits++
	for _, row := range r.Keep {
		if m.rows[row.Mailbox] == nil {
			m.rows[row.Mailbox] = map[protocol.EnvelopeID]Row{}
		}
		m.rows[row.Mailbox][row.ID] = row
	}
	for _, s := range r.Shares {
		if m.shares[s.Ticket] == nil {
			m.shares[s.Ticket] = map[protocol.Day]int64{}
		}
		m.shares[s.Ticket][s.Until] = s.Bytes
	}
	for _, rows := range m.rows {
		for id, row := range rows {
			if row.Until <= r.Expire {
				delete(rows, id)
			}
		}
	}
}

// reconSet is package recon behind Set, as a ferry has it.
type reconSet struct{ recon.Set }

func (s *reconSet) Add(rank uint32, id protocol.EnvelopeID) error {
	_, err := s.Set.Add(recon.Item{Time: uint64(rank), ID: id})
	return err
}

func (s *reconSet) Respond(msg []byte) ([]byte, error) { return recon.Respond(s.Set, 0, msg) }

// world is a ferry and its storage.
type world struct {
	t      testing.TB
	store  *memory
	limits Limits
	c      *Carrier
	now    int64
	nonces byte
}

func newWorld(t testing.TB, limits Limits) *world {
	w := &world{t: t, store: newMemory(), limits: limits, now: dayOne}
	w.restart()
	return w
}

// restart is a ferry that stopped and comes back with what is durable.
func (w *world) restart() {
	c, err := New(w.limits, w.store, func() Set { return &reconSet{} })
	must(w.t, err)
	w.c = c
}

// commit makes durable what is ready.
func (w *world) commit() {
	if r := w.c.Ready(); !r.Empty() {
		w.store.commit(r)
	}
	must(w.t, w.c.Advance())
}

// client is a session and who speaks.
type client struct {
	w     *world
	s     *Session
	nonce [32]byte
	got   [][]byte // all messages from the ferry
}

var (
	ferryID  = []byte("the ferry's peer id")
	clientID = []byte("a client's peer id")
)

func (w *world) begin(network string) *client {
	w.nonces++
	c := &client{w: w, nonce: [32]byte{w.nonces}}
	c.s = w.c.Begin(Who{Ferry: ferryID, Client: clientID, Network: network, Nonce: c.nonce})
	c.read()
	h, err := ParseHello(c.got[0][1:])
	if must(w.t, err); c.got[0][0] != TypeHello || h.Nonce != c.nonce || h.Closed != w.limits.Closed {
		w.t.Fatalf("hello is %x", c.got[0])
	}
	return c
}

// read takes what the ferry says now.
func (c *client) read() {
	c.w.commit()
	c.got = append(c.got, c.s.Answers()...)
	for {
		msg, _, err := c.s.Give()
		must(c.w.t, err)
		if msg == nil {
			return
		}
		c.got = append(c.got, msg)
	}
}

// say sends a message and returns what came in answer.
func (c *client) say(msg []byte) ([][]byte, error) {
	n := len(c.got)
	err := c.s.Take(c.w.now, msg)
	if err != nil && !errors.Is(err, ErrClient) {
		c.w.t.Fatal(err)
	}
	c.read()
	return c.got[n:], err
}

// ask is say of a message that must be taken.
func (c *client) ask(msg []byte) [][]byte {
	c.w.t.Helper()
	answers, err := c.say(msg)
	must(c.w.t, err)
	return answers
}

// door opens a mailbox with its read key.
func (c *client) door(m *epoch.Mailbox, rank uint32, signed bool) Door {
	sig, err := m.SignGet(c.nonce, ferryID)
	must(c.w.t, err)
	return Door{Write: m.WriteKey(), Read: m.ReadKey(), Get: Signature(sig), Rank: rank, Signed: signed}
}

func (c *client) open(boxes ...*epoch.Mailbox) {
	c.w.t.Helper()
	var doors []Door
	for i, m := range boxes {
		doors = append(doors, c.door(m, uint32(i), false))
	}
	if n, err := ParseOpened(c.ask(OpenMessage(doors))[0][1:]); err != nil || n != len(boxes) {
		c.w.t.Fatalf("%d opened of %d: %v", n, len(boxes), err)
	}
}

func (c *client) put(d Deposit) Outcome {
	c.w.t.Helper()
	answers := c.ask(PutMessage(d))
	list, err := ParseKept(answers[0][1:])
	must(c.w.t, err)
	if len(answers) != 1 || len(list) != 1 || list[0].ID != d.ID() {
		c.w.t.Fatalf("answered by %x", answers)
	}
	return list[0].Outcome
}

// compare runs a reconciliation against what the client holds, all of rank 0.
func (c *client) compare(held ...protocol.EnvelopeID) (have, need []recon.ID) {
	c.w.t.Helper()
	var set recon.Set
	for _, id := range held {
		_, err := set.Add(recon.Item{ID: id})
		must(c.w.t, err)
	}
	s, msg, err := recon.NewInitiator(set, 0)
	must(c.w.t, err)
	for done := false; !done; {
		answers := c.ask(append([]byte{TypeRecon}, msg...))
		var h, n []recon.ID
		msg, h, n, done, err = s.Step(answers[0][1:])
		must(c.w.t, err)
		have, need = append(have, h...), append(need, n...)
	}
	return have, need
}

// want asks for envelopes, and returns those that are given by id.
func (c *client) want(ids ...protocol.EnvelopeID) map[protocol.EnvelopeID]bool {
	out := map[protocol.EnvelopeID]bool{}
	for _, msg := range c.ask(WantMessage(ids)) {
		if msg[0] == TypeGive {
			out[protocol.IDOf(msg[1:])] = true
		}
	}
	return out
}

// box is a common mailbox of a made up epoch.
func box(n byte, day protocol.Day) *epoch.Mailbox {
	return epoch.CommonMailbox(epoch.NetKeyFromBytes([32]byte{n}), day)
}

// deposit is what a member puts: nobody but members can tell that nothing is in it.
func deposit(t testing.TB, m *epoch.Mailbox, n int, bucket int) Deposit {
	t.Helper()
	e := protocol.Envelope{Version: protocol.Version, Mailbox: m.Address(), Nonce: [24]byte{byte(n), byte(n >> 8), byte(n >> 16)}}
	e.Ciphertext = make([]byte, bucket-65)
	b := e.Marshal()
	if len(b) != bucket {
		t.Fatalf("envelope of %d bytes", len(b))
	}
	sig, err := m.SignPut(protocol.IDOf(b))
	must(t, err)
	return Deposit{Envelope: b, Write: m.WriteKey(), Read: m.ReadKey(), Put: Signature(sig)}
}

// ticket makes a ticket of a seed.
func ticket(n byte) (TicketKey, [32]byte) {
	seed := [32]byte(bytes.Repeat([]byte{n}, 32))
	return TicketOf(seed), seed
}

func (c *client) show(n byte) ([][]byte, error) {
	_, seed := ticket(n)
	return c.say(SignTicket(seed, c.nonce, ferryID, clientID))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kinds(msgs [][]byte) (out []byte) {
	for _, m := range msgs {
		out = append(out, m[0])
	}
	slices.Sort(out)
	return out
}
