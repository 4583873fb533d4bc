package ferry

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/recon"
)

var (
	ferryID  = []byte("the ferry's peer id")
	clientID = []byte("a client's peer id")
	home     = netip.MustParseAddr("192.0.2.7")
)

// shore is a running server, and its time.
type shore struct {
	t   testing.TB
	s   *Server
	now time.Time
}

func open(t testing.TB, db Database, limits ferry.Limits) *shore {
	t.Helper()
	x := &shore{t: t, now: time.Unix(20_000*protocol.DaySeconds, 0)}
	st, err := OpenStore(db)
	must(t, err)
	x.s, err = NewServer(ferryID, st, limits, func() time.Time { return x.now })
	must(t, err)
	must(t, x.s.Tick())
	return x
}

// client is a client's end of a session.
type client struct {
	t      testing.TB
	ferry  []byte // its peer id
	conn   pipe
	send   func(msg []byte) error
	nonce  [32]byte
	bytes  int           // that came
	came   chan []byte   // closed when the server has closed
	served chan error    // what Serve returned
	gone   chan struct{} // closed then
}

// pipe is one end of a stream whose directions end by themselves.
type pipe struct {
	net.Conn // that is read
	to       net.Conn
}

func pipes() (a, b pipe) {
	a.Conn, b.to = net.Pipe()
	b.Conn, a.to = net.Pipe()
	return a, b
}

func (p pipe) Write(b []byte) (int, error)         { return p.to.Write(b) }
func (p pipe) SetWriteDeadline(at time.Time) error { return p.to.SetWriteDeadline(at) }
func (p pipe) CloseWrite() error                   { return p.to.Close() }
func (p pipe) Close() error                        { return errors.Join(p.Conn.Close(), p.to.Close()) }

// visit begins a session from an address.
func (x *shore) visit(from netip.Addr) *client {
	x.t.Helper()
	here, there := pipes()
	c := &client{t: x.t, ferry: ferryID, conn: here, came: make(chan []byte, 4_096), served: make(chan error, 1), gone: make(chan struct{})}
	c.send = func(msg []byte) error {
		_, err := here.Write(p2p.Frame(msg))
		return err
	}
	go func() {
		c.served <- x.s.Serve(there, clientID, from)
		close(c.gone)
	}()
	go func() {
		defer close(c.came)
		for {
			m, err := p2p.ReadFrame(here)
			if err != nil {
				here.Close() // as a phone does: the ferry waits for it
				return
			}
			c.bytes += 4 + len(m)
			c.came <- m
		}
	}()
	c.hello()
	return c
}

// hello takes the ferry's, unless the session has ended already.
func (c *client) hello() {
	c.t.Helper()
	if m := c.next(); m != nil {
		h, err := ferry.ParseHello(m[1:])
		must(c.t, err)
		c.nonce = h.Nonce
	}
}

// next is the next message of the ferry, or nil at the end.
func (c *client) next() []byte {
	c.t.Helper()
	select {
	case m := <-c.came:
		return m
	case <-time.After(deadline):
		c.t.Fatal("the ferry says nothing")
	}
	return nil
}

// deadline is how long a test waits for what is to come.
const deadline = 30 * time.Second

func (c *client) say(msg []byte) {
	c.t.Helper()
	must(c.t, c.send(msg))
}

// ask says something and returns the body of the answer, which is to be of a type.
func (c *client) ask(msg []byte, kind byte) []byte {
	c.t.Helper()
	c.say(msg)
	m := c.next()
	if len(m) == 0 || m[0] != kind {
		c.t.Fatalf("answered by %.20x, want type %d", m, kind)
	}
	return m[1:]
}

func (c *client) put(d ferry.Deposit) ferry.Outcome {
	c.t.Helper()
	list, err := ferry.ParseKept(c.ask(ferry.PutMessage(d), ferry.TypeKept))
	must(c.t, err)
	if len(list) != 1 || list[0].ID != d.ID() {
		c.t.Fatalf("answered for %v", list)
	}
	return list[0].Outcome
}

// fetch opens a mailbox and fetches all that is in it.
func (c *client) fetch(m *epoch.Mailbox) (got [][]byte) {
	c.t.Helper()
	sig, err := m.SignGet(c.nonce, c.ferry)
	must(c.t, err)
	door := ferry.Door{Write: m.WriteKey(), Read: m.ReadKey(), Get: ferry.Signature(sig)}
	if n, err := ferry.ParseOpened(c.ask(ferry.OpenMessage([]ferry.Door{door}), ferry.TypeOpened)); err != nil || n != 1 {
		c.t.Fatalf("%d opened: %v", n, err)
	}
	run, msg, err := recon.NewInitiator(recon.Set{}, 0)
	must(c.t, err)
	var ids []protocol.EnvelopeID
	for done := false; !done; {
		var need [][32]byte
		msg, _, need, done, err = run.Step(c.ask(append([]byte{ferry.TypeRecon}, msg...), ferry.TypeRecon))
		must(c.t, err)
		for _, id := range need {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	c.say(ferry.WantMessage(ids))
	for range ids {
		m := c.next()
		if len(m) == 0 || m[0] != ferry.TypeGive {
			c.t.Fatalf("given %.20x", m)
		}
		got = append(got, m[1:])
	}
	return got
}

// end ends the session as a client does, and returns how many bytes came in all.
func (c *client) end() int {
	c.t.Helper()
	c.say([]byte{ferry.TypeDone})
	for c.next() != nil {
	}
	if err := <-c.served; err != nil {
		c.t.Errorf("a session that was ended: %v", err)
	}
	return c.bytes
}

// box is a common mailbox of a made up epoch.
func box(n byte) *epoch.Mailbox {
	return epoch.CommonMailbox(epoch.NetKeyFromBytes([32]byte{n}), 20_000)
}

// deposit is what a member puts: nobody but members can tell that nothing is in it.
func deposit(t testing.TB, m *epoch.Mailbox, n int) ferry.Deposit {
	t.Helper()
	e := protocol.Envelope{Version: protocol.Version, Mailbox: m.Address(), Nonce: [24]byte{byte(n), byte(n >> 8)},
		Ciphertext: make([]byte, protocol.BucketSmall-65)}
	b := e.Marshal()
	sig, err := m.SignPut(protocol.IDOf(b))
	must(t, err)
	return ferry.Deposit{Envelope: b, Write: m.WriteKey(), Read: m.ReadKey(), Put: ferry.Signature(sig)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failing is a database whose commits are counted, and fail once it is told so.
type failing struct {
	*store.Memory
	fails   bool
	commits int
	largest int // bytes of values in one
}

var errDisk = errors.New("the disk is gone")

func (f *failing) Commit(s store.Space, b engine.Batch) error {
	if f.fails {
		return errDisk
	}
	f.commits++
	size := 0
	for _, p := range b.Puts {
		size += len(p.Value)
	}
	f.largest = max(f.largest, size)
	return f.Memory.Commit(s, b)
}
