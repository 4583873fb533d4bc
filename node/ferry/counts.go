package ferry

import (
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// Counts is what a server did since it was made. It names nobody: not a mailbox, not an
// address, not a ticket.
type Counts struct {
	Sessions int    // that are open now
	Begun    uint64 // sessions
	Busy     uint64 // clients for whom there was no place
	Kept     uint64 // envelopes that were not held before
	// Refused counts envelopes by the outcome that their client was told; those of
	// ferry.Kept are not counted here.
	Refused  [ferry.NoTicket + 1]uint64
	Given    uint64 // envelopes that were handed to a connection
	Held     int64  // bytes of envelopes
	Circuits p2p.Circuits
	Failures uint64 // of the store
}

// Counts returns what was counted so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Held, _ = s.store.Total()
	if h := s.circuits.Load(); h != nil {
		c.Circuits = h.Circuits()
	}
	return c
}

// answered counts what a session says.
func (c *Counts) answered(list [][]byte, give []byte) {
	for _, m := range list {
		if m[0] != ferry.TypeKept {
			continue
		}
		all, _ := ferry.ParseKept(m[1:]) // the carrier wrote it
		for _, k := range all {
			if k.Outcome != ferry.Kept {
				c.Refused[k.Outcome]++
			}
		}
	}
	if len(give) > 0 && (give[0] == ferry.TypeGive || give[0] == ferry.TypeGiveSigned) {
		c.Given++
	}
}
