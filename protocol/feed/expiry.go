package feed

import "github.com/palabre-app/palabre/protocol"

// Expire takes out all that expired at now, in unix seconds, and returns the
// ids of the contents whose text is to be shredded, in ascending order. The
// items must not be applied again. Now must never run back below an earlier
// call's: what keeps the clock from jumping is the caller's.
func (s *State) Expire(now int64) []protocol.ContentID {
	var gone []protocol.ContentID
	for _, t := range s.threads {
		if t.root != nil {
			if now >= t.graph(s, now).shred {
				gone = append(gone, t.root.ID)
				for id := range t.amends {
					gone = append(gone, id)
				}
			}
			continue
		}
		for id, e := range t.amends {
			if now >= e.alone() {
				gone = append(gone, id)
			}
		}
	}
	inForce := s.namesInForce()
	for id, e := range s.items {
		if e.isName() && !inForce[id] && now >= e.expires() {
			gone = append(gone, id)
		}
	}
	gone = s.withPins(gone, func(e *entry) bool { return now >= e.expires() })
	for _, id := range gone {
		s.remove(s.items[id])
	}
	return protocol.SortIDs(gone)
}

// ExpireOlder takes out the notices whose first version was made at or before
// the given time, in unix seconds, with all that amends them, and amendments that
// old of notices that are not here. It returns the ids of their contents, in
// ascending order. Names are not touched. It is for groups that shorten what
// authors wish; as after Expire, the items must not be applied again.
func (s *State) ExpireOlder(made int64) []protocol.ContentID {
	var gone []protocol.ContentID
	for _, t := range s.threads {
		if t.root != nil && t.root.Content.CreatedAt <= made {
			gone = append(gone, t.root.ID)
			for id := range t.amends {
				gone = append(gone, id)
			}
		}
		if t.root == nil {
			for id, e := range t.amends {
				if e.Content.CreatedAt <= made {
					gone = append(gone, id)
				}
			}
		}
	}
	gone = s.withPins(gone, func(e *entry) bool { return e.Content.CreatedAt <= made })
	for _, id := range gone {
		s.remove(s.items[id])
	}
	return protocol.SortIDs(gone)
}

// NextChange returns the next time after now, in unix seconds, at which List or
// Expire may give something else than at now; until then they give the same if
// nothing is applied. The second result is false if there is none.
func (s *State) NextChange(now int64) (int64, bool) {
	var next int64
	found := false
	at := func(t int64) {
		if t > now && (!found || t < next) {
			next, found = t, true
		}
	}
	inForce := s.namesInForce()
	for id, e := range s.items {
		switch {
		case e.isName():
			if !inForce[id] {
				at(e.expires())
			}
		case e.pin != nil:
			if !s.here(e.pin.Notice) {
				at(e.expires())
			}
		case e.held(now):
			at(e.Content.CreatedAt - protocol.MaxAheadSeconds)
		}
	}
	for _, t := range s.threads {
		if t.root == nil {
			for _, e := range t.amends {
				at(e.alone())
			}
			continue
		}
		g := t.graph(s, now)
		at(g.shred)
		if len(g.heads) > 0 {
			at(g.expires)
		}
	}
	return next, found
}
