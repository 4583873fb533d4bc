package recon

// Respond answers a message of an initiator from set. The answer is at most
// frameSize bytes (0 for DefaultFrame, else MinFrame to MaxMessage) and the
// caller's own. A message of another version of Negentropy is answered with the
// version byte alone. Each error about msg wraps ErrPeer.
//
// The responder remembers nothing, so any number of sessions may run over one
// set, and the set may change between two messages of a session.
func Respond(set Set, frameSize int, msg []byte) ([]byte, error) {
	limit, err := frameLimit(frameSize)
	if err != nil {
		return nil, err
	}
	if len(msg) > 0 && len(msg) <= MaxMessage && msg[0] != Version && msg[0]&0xf0 == Version&0xf0 {
		return []byte{Version}, nil
	}
	m, err := Parse(msg)
	if err != nil {
		return nil, err
	}
	a := answer{set: set, frame: frame{
		encoder: newEncoder(),
		limit:   limit - maxSkip - restSize,
		ranges:  MaxRanges - 2,
	}}
	for i := range m.Ranges {
		if !a.take(&m.Ranges[i]) {
			a.rest()
			break
		}
	}
	return a.b, nil
}

// answer is a reply in the making.
type answer struct {
	set Set
	frame
	from  Bound // where the next range begins
	lower int   // number of items before it
	skip  bool  // a range up to from is still to be skipped
}

// take answers a range, and returns false if the frame has no room for it: then
// lower is where the answer ends.
func (a *answer) take(r *Range) bool {
	upper := a.set.rank(r.Upper)
	var out []Range
	switch r.Mode {
	case Fingerprint:
		if r.Fingerprint != a.set.fingerprint(a.lower, upper) {
			out = a.set.divide(a.lower, upper, r.Upper)
		}
	case IDList:
		// The ids of the list are of no use here: the initiator compares.
		room := (a.limit - len(a.b) - maxSkip - listHead) / IDSize
		if room < upper-a.lower {
			a.part(room)
			return false
		}
		out = []Range{{Upper: r.Upper, Mode: IDList, IDs: a.set.ids(a.lower, upper)}}
	}
	if out == nil {
		a.skip = true
	} else if !a.say(out) {
		return false
	}
	a.from, a.lower = r.Upper, upper
	return true
}

// part lists the next n ids of a range that has more.
func (a *answer) part(n int) {
	if n < 1 {
		return
	}
	cut := a.lower + n
	end := between(a.set.item(cut-1), a.set.item(cut))
	if a.say([]Range{{Upper: end, Mode: IDList, IDs: a.set.ids(a.lower, cut)}}) {
		a.lower = cut
	}
}

// say puts out behind the skipped range that may be due.
func (a *answer) say(out []Range) bool {
	if a.skip {
		out = append([]Range{{Upper: a.from, Mode: Skip}}, out...)
	}
	if !a.put(out...) {
		return false
	}
	a.skip = false
	return true
}

// rest ends a full frame with the fingerprint of all that it leaves out.
func (a *answer) rest() {
	a.limit += maxSkip + restSize
	a.ranges += 2
	n := a.set.Len()
	a.say([]Range{{Upper: Infinity(), Mode: Fingerprint, Fingerprint: a.set.fingerprint(a.lower, n)}})
}
