package ferry

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/recon"
)

// Bounds of what clients may have of a server (spec 75 section 9).
const (
	maxSessions = 128              // in all
	maxNetwork  = 16               // of one network: many phones stand behind one address
	patience    = 60 * time.Second // for a client that says nothing, or does not read
	farewell    = 10 * time.Second // for one that has been given all, to have read it
	maxBatch    = 16               // messages that are taken and made durable together
)

var (
	// ErrBusy says that there is no room for another session.
	ErrBusy = errors.New("ferry: too many sessions")
	// ErrBroken says that the store failed: it has to be opened again.
	ErrBroken = errors.New("ferry: the store failed")
)

// Stream is a byte stream to a client whose peer id the connection has proven.
type Stream interface {
	io.Reader
	io.Writer
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	CloseWrite() error
	Close() error
}

// Server serves sessions of one ferry. It is safe for concurrent use.
type Server struct {
	id  []byte
	now func() time.Time

	mu       sync.Mutex
	store    *Store
	carrier  *ferry.Carrier
	broken   error         // wraps ErrBroken and what the store said first
	failed   chan struct{} // closed then
	salt     [32]byte      // networks are counted under names that nobody can look up
	day      int64         // of salt
	networks map[string]int
	counts   Counts

	passes   passes
	circuits atomic.Pointer[p2p.FerryHost] // nil: there is no host yet
}

// NewServer makes the server of a ferry whose peer id is given. Errors are the store's.
func NewServer(id []byte, s *Store, limits ferry.Limits, now func() time.Time) (*Server, error) {
	c, err := ferry.New(limits, s, func() ferry.Set { return &set{} })
	if err != nil {
		return nil, err
	}
	return &Server{id: id, now: now, store: s, carrier: c, failed: make(chan struct{}), networks: map[string]int{}}, nil
}

// set is package recon behind ferry.Set.
type set struct{ items recon.Set }

func (s *set) Add(rank uint32, id protocol.EnvelopeID) error {
	_, err := s.items.Add(recon.Item{Time: uint64(rank), ID: id})
	return err
}

func (s *set) Respond(msg []byte) ([]byte, error) { return recon.Respond(s.items, 0, msg) }

// Tick drops what is over. It is called when the ferry starts, and once an hour.
func (s *Server) Tick() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carrier.Tick(s.now().Unix())
	return s.commit()
}

// commit makes durable what is ready, and has the answers said. s.mu is held.
func (s *Server) commit() error {
	if s.broken != nil {
		return s.broken
	}
	if r := s.carrier.Ready(); !r.Empty() {
		if err := s.store.Commit(r); err != nil {
			return s.fail(err)
		}
		s.counts.Kept += uint64(len(r.Keep))
	}
	if err := s.carrier.Advance(); err != nil {
		return s.fail(err)
	}
	return nil
}

// fail notes an error of the store: nothing is served any more. s.mu is held.
func (s *Server) fail(err error) error {
	s.counts.Failures++
	if s.broken == nil {
		s.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		close(s.failed)
	}
	return s.broken
}

// Failed is closed when the store has failed; Err says how. The server does nothing
// more then.
func (s *Server) Failed() <-chan struct{} { return s.failed }

// Err returns what ended the server: an error that wraps ErrBroken, or nil.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// network names the network of an address for as long as a day lasts and the program
// runs; s.mu is held. Who looks into the memory later does not find the address.
func (s *Server) network(from netip.Addr) string {
	if day := s.now().Unix() / 86_400; s.day != day {
		s.day = day
		rand.Read(s.salt[:])
	}
	bits := 24
	if from = from.Unmap(); from.Is6() {
		bits = 56
	}
	p, err := from.Prefix(bits)
	if err != nil || !p.IsValid() {
		return "unknown" // all of them are one network
	}
	b, _ := p.MarshalBinary()
	sum := sha256.Sum256(append(s.salt[:], b...))
	return string(sum[:16])
}

// enter takes a place for a client's session.
func (s *Server) enter(client []byte, from netip.Addr) (*ferry.Session, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.network(from)
	switch {
	case s.broken != nil:
		return nil, "", s.broken
	case s.counts.Sessions >= maxSessions, s.networks[n] >= maxNetwork:
		s.counts.Busy++
		return nil, "", ErrBusy
	}
	s.counts.Sessions++
	s.counts.Begun++
	s.networks[n]++
	who := ferry.Who{Ferry: s.id, Client: client, Network: n}
	rand.Read(who.Nonce[:])
	return s.carrier.Begin(who), n, nil
}

func (s *Server) leave(n string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Sessions--
	if s.networks[n]--; s.networks[n] == 0 {
		delete(s.networks, n)
	}
}

// Serve serves one session, and closes the stream. An error that wraps
// ferry.ErrClient is the client's fault, io.EOF its going away without an end; one that wraps
// ErrBroken ends the whole server.
func (s *Server) Serve(st Stream, client []byte, from netip.Addr) error {
	defer st.Close()
	ses, n, err := s.enter(client, from)
	if err != nil {
		return err
	}
	defer s.leave(n)
	over := make(chan struct{})
	var reading sync.WaitGroup
	defer reading.Wait()
	defer st.Close() // ends the reading
	leave := sync.OnceFunc(func() { close(over) })
	defer leave()
	messages, failed := make(chan []byte), make(chan error, 1)
	reading.Go(func() { failed <- read(st, messages, over) })
	for {
		done, err := s.answer(st, ses)
		if err != nil {
			return err
		}
		if done {
			// Who closes a connection takes back what is still under way on it: the
			// client closes first.
			st.CloseWrite()
			leave()
			st.SetReadDeadline(time.Now().Add(farewell))
			<-failed
			return nil
		}
		select {
		case m := <-messages:
			if err := s.take(ses, client, m, messages); err != nil {
				s.answer(st, ses) // what was answered before stands
				return err
			}
		case err := <-failed:
			return err
		}
	}
}

// read brings the client's messages until the stream fails.
func read(st Stream, to chan<- []byte, over <-chan struct{}) error {
	for {
		if err := st.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		m, err := p2p.ReadFrame(st)
		if err != nil {
			return err
		}
		select {
		case to <- m:
		case <-over:
			return nil
		}
	}
}

// take takes a message, and those that wait behind it, and makes durable what they
// ask for in one go.
func (s *Server) take(ses *ferry.Session, client, m []byte, more <-chan []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for i := 0; i < maxBatch && err == nil; i++ {
		if err = ses.Take(s.now().Unix(), m); err != nil {
			break
		}
		select {
		case m = <-more:
			continue
		default:
		}
		break
	}
	if err != nil && !errors.Is(err, ferry.ErrClient) {
		return s.fail(err)
	}
	if t, ok := ses.TicketAlone(); ok {
		s.passes.give(string(client), t, s.now())
	}
	return errors.Join(s.commit(), err)
}

// answer sends what there is to be said; done: that was all of the session.
func (s *Server) answer(st Stream, ses *ferry.Session) (done bool, err error) {
	for {
		s.mu.Lock()
		list := ses.Answers()
		var give []byte
		if len(list) == 0 {
			if give, done, err = ses.Give(); err != nil {
				err = s.fail(err)
			}
		}
		s.counts.answered(list, give)
		s.mu.Unlock()
		if err != nil {
			return false, err
		}
		if give != nil {
			list = append(list, give)
		}
		if len(list) == 0 {
			return done, nil
		}
		for _, m := range list {
			if err := st.SetWriteDeadline(time.Now().Add(patience)); err != nil {
				return false, err
			}
			if _, err := st.Write(p2p.Frame(m)); err != nil {
				return false, err
			}
		}
	}
}
