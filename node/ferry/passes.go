package ferry

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/palabre-app/palabre/protocol/ferry"
)

// Bounds of passes (spec 75 section 11).
const (
	passFor       = 30 * time.Hour // more than a phone keeps a peer ID
	maxPasses     = 1_024
	ticketsPasses = 128 // of one ticket; then the oldest of that ticket ends
)

// passes are the peers that have shown a ticket and may use circuits, in memory alone. It
// is safe for concurrent use.
type passes struct {
	mu  sync.Mutex
	all map[string]pass // by peer ID
}

type pass struct {
	ticket ferry.TicketKey
	until  time.Time
}

// give gives a peer a pass for a ticket; where all of them are given it has none.
func (p *passes) give(peer string, t ferry.TicketKey, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.all, func(_ string, x pass) bool { return !now.Before(x.until) })
	delete(p.all, peer)
	var same []string
	for id, x := range p.all {
		if x.ticket == t {
			same = append(same, id)
		}
	}
	if len(same) >= ticketsPasses {
		delete(p.all, slices.MinFunc(same, func(a, b string) int {
			return cmp.Or(p.all[a].until.Compare(p.all[b].until), cmp.Compare(a, b))
		}))
	}
	if len(p.all) >= maxPasses {
		return
	}
	if p.all == nil {
		p.all = map[string]pass{}
	}
	p.all[peer] = pass{ticket: t, until: now.Add(passFor)}
}

// has says whether a peer has a pass.
func (p *passes) has(peer string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x, ok := p.all[peer]
	return ok && now.Before(x.until)
}

// Holder says whether a peer has shown a ticket and may use circuits: a peer whose
// session did nothing else, in the last 30 hours, while the program runs.
func (s *Server) Holder(peer []byte) bool { return s.passes.has(string(peer), s.now()) }
