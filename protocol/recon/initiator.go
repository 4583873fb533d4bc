package recon

import (
	"errors"
	"slices"
)

var errOver = errors.New("reconciliation session is over")

// minWindow is the least number of ranges that an initiator asks about at once.
const minWindow = buckets

// Initiator is the asking side of one session. It is not for use by several
// goroutines at once.
//
// It keeps the ranges that are still open, asks about the first of them in each
// message, and leaves the others out: what a message leaves out is skipped, and
// comes in a later one. So a range that is settled is never opened again.
type Initiator struct {
	set    Set
	limit  int
	rounds int
	window int    // ranges to ask about at once
	asked  []span // the ranges of the last message, in order
	open   []span // ranges for later messages, in order, after those asked
	over   bool
}

// span is a range that is not settled.
type span struct {
	from, to Bound
	// differs says that the fingerprints of just this range differ, so that it
	// is to be divided.
	differs bool
	// listed says that the range was asked about with a list, which is due again
	// if it got no answer. To list the others too would cost far more than their
	// fingerprints, which mostly agree.
	listed bool
}

// NewInitiator begins a session over set as it is now and returns its first
// message. Messages are at most frameSize bytes: 0 for DefaultFrame, else
// MinFrame to MaxMessage.
func NewInitiator(set Set, frameSize int) (*Initiator, []byte, error) {
	limit, err := frameLimit(frameSize)
	if err != nil {
		return nil, nil, err
	}
	s := &Initiator{set: set, limit: limit, window: MaxRanges}
	s.open = []span{{to: Infinity(), differs: true}}
	return s, s.ask(), nil
}

// Step takes the answer to the last message. It returns the next message, and
// what the answer settled: have are ids that the set holds and the other party
// lacks, need the reverse, in order of the ranges; all are the caller's own.
// done says that all is settled and there is no next message.
//
// With ErrSessionLimit, have and need are as good as ever and the session is
// over. With any other error nothing is returned and nothing changes; if it
// wraps ErrPeer the caller should end the session.
//
// An id in need may have come to the caller by another way meanwhile, and a
// hostile party may repeat one: look it up before fetching it.
func (s *Initiator) Step(msg []byte) (next []byte, have, need []ID, done bool, err error) {
	if s.over {
		return nil, nil, nil, false, errOver
	}
	m, err := Parse(msg)
	if err != nil {
		return nil, nil, nil, false, err
	}
	found, err := s.read(m)
	if err != nil {
		return nil, nil, nil, false, err
	}
	s.pace(found.again)
	s.open = slices.Concat(found.again, s.open)
	s.asked = nil
	switch {
	case len(s.open) == 0:
		s.end()
		return nil, found.have, found.need, true, nil
	case s.rounds == MaxRounds || len(s.open) > MaxOpen:
		s.end()
		return nil, found.have, found.need, false, ErrSessionLimit
	}
	return s.ask(), found.have, found.need, false, nil
}

func (s *Initiator) end() {
	*s = Initiator{over: true} // lets go of the set
}

// pace sets how much to ask at once. A full frame of answers leaves the last
// ranges unanswered; asking about them again and again would cost as much as the
// answers.
func (s *Initiator) pace(again []span) {
	unanswered := 0
	for i := range again {
		if !again[i].differs {
			unanswered++
		}
	}
	if unanswered == 0 {
		s.window = min(2*s.window, MaxRanges)
		return
	}
	s.window = max(2*(len(s.asked)-unanswered), minWindow)
}

// ask makes the next message from the first open ranges.
func (s *Initiator) ask() []byte {
	f := frame{encoder: newEncoder(), limit: s.limit, ranges: MaxRanges}
	n := 0
	for ; n < len(s.open) && len(s.asked) < s.window; n++ {
		sp := s.open[n]
		var out []Range
		if f.rules.last.before(sp.from) {
			out = []Range{{Upper: sp.from, Mode: Skip}}
		}
		skipped := len(out)
		out = append(out, s.question(sp)...)
		if !f.put(out...) {
			break
		}
		from := sp.from
		for _, r := range out[skipped:] {
			s.asked = append(s.asked, span{from: from, to: r.Upper, listed: r.Mode == IDList})
			from = r.Upper
		}
	}
	s.open = slices.Clone(s.open[n:])
	s.rounds++
	return f.b
}

func (s *Initiator) question(sp span) []Range {
	lower, upper := s.set.rank(sp.from), s.set.rank(sp.to)
	if sp.differs || sp.listed {
		return s.set.divide(lower, upper, sp.to)
	}
	return []Range{{Upper: sp.to, Mode: Fingerprint, Fingerprint: s.set.fingerprint(lower, upper)}}
}

// findings is what an answer says.
type findings struct {
	have, need []ID
	again      []span // parts of asked that are still open, in order
}

// read compares an answer with the set. Only what was asked counts, so that a
// settled range cannot be opened again, by an honest party whose frame was full
// or by a hostile one.
func (s *Initiator) read(m Message) (findings, error) {
	var f findings
	var from Bound
	lower := 0
	asked := s.asked
	for i := range m.Ranges {
		r := &m.Ranges[i]
		upper := s.set.rank(r.Upper)
		for len(asked) > 0 && !from.before(asked[0].to) {
			asked = asked[1:]
		}
		switch r.Mode {
		case IDList:
			if len(asked) == 0 || from.before(asked[0].from) || asked[0].to.before(r.Upper) {
				return findings{}, peerError("range %d: ids outside the ranges asked about", i)
			}
			s.compare(&f, lower, upper, r.IDs)
		case Fingerprint:
			if len(asked) > 0 && asked[0].from.before(r.Upper) &&
				r.Fingerprint != s.set.fingerprint(lower, upper) {
				f.again = reopen(f.again, asked, from, r.Upper)
			}
		}
		from, lower = r.Upper, upper
	}
	return f, nil
}

// compare finds the differences between a list and items number lower to before
// number upper.
func (s *Initiator) compare(f *findings, lower, upper int, theirs []ID) {
	common := make(map[ID]bool, len(theirs)) // true once seen here too
	for _, id := range theirs {
		common[id] = false
	}
	s.set.walk(lower, upper, func(it Item) bool {
		if _, ok := common[it.ID]; ok {
			common[it.ID] = true
		} else {
			f.have = append(f.have, it.ID)
		}
		return true
	})
	for _, id := range theirs {
		if !common[id] {
			f.need = append(f.need, id)
		}
	}
}

// reopen appends to open the parts of asked between from and to, whose
// fingerprints differ. If that is within one range asked about, the answer has
// gone into it and it can be divided; else it is one that the other party's
// frame had no room for.
func reopen(open, asked []span, from, to Bound) []span {
	for _, sp := range asked {
		if !sp.from.before(to) {
			break
		}
		part := sp
		if sp.from.before(from) {
			part.from = from
		}
		if to.before(sp.to) {
			part.to = to
		}
		part.differs = !from.before(part.from) && !part.to.before(to)
		open = append(open, part)
	}
	return open
}
