package engine

import (
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// Bounds of what a Welcome carries of earlier times.
const (
	maxHistory      = 32      // notices
	maxHistoryBytes = 1 << 20 // of their originals
)

// Pin puts a notice on top for everybody, or takes it down again. Only organisers
// can. Where the policy says so, pinned notices are the history that newcomers are
// given.
func (e *Engine) Pin(now Time, id string, pinned bool) (Posted, error) {
	e.now = now
	if err := e.asOrganiser(); err != nil {
		return Posted{}, err
	}
	v, err := e.Notice(now, id, nil)
	if err != nil {
		return Posted{}, err
	}
	if v.Pinned == pinned {
		return Posted{}, ErrAlready
	}
	d, err := e.feed.NewPin(v.Notice, pinned, now.Unix())
	if err != nil {
		return Posted{}, err
	}
	return e.amend(v.Notice, d)
}

// history lists the signed originals for a newcomer: of each pinned notice that
// holds all of it, newest first, as long as there is room. No key goes with them.
func (e *Engine) history() ([][]byte, error) {
	if e.policy().History != group.HistoryPinned {
		return nil, nil
	}
	var list [][]byte
	size := 0
	for i, ids := range e.feed.Pinned(e.now.Unix()) {
		if i == maxHistory {
			break
		}
		var whole [][]byte
		for _, id := range ids {
			b, err := e.row(tableItems, id[:])
			if err != nil {
				return nil, err
			}
			if b == nil {
				continue
			}
			whole = append(whole, b)
			size += len(b)
		}
		if size > maxHistoryBytes {
			break
		}
		list = append(list, whole...)
	}
	return list, nil
}

// takeOriginal takes in a content apart from the message that carried it: names,
// and notices where the policy lets newcomers have any. Signature and role are
// judged at the operations that its author had seen, as of any message.
func (e *Engine) takeOriginal(b []byte) {
	o, c, err := protocol.ParseOriginal(b)
	if err != nil || c.ExpiresAt > c.CreatedAt+protocol.MaxNoticeSeconds {
		return
	}
	if !isName(c.Type) && (e.policy().History != group.HistoryPinned || c.CreatedAt+protocol.MaxNoticeSeconds <= e.now.Unix()) {
		return
	}
	e.takeSigned(o, b, c)
}

// maxUnjudged bounds the originals that wait for operations, in bytes.
const maxUnjudged = 4 * maxMissed

// takeMissed takes in an original that a ReBox brought: something said since
// this member came, whatever the policy gives to newcomers. What cannot be judged yet
// waits in memory for the operations that its author had seen.
func (e *Engine) takeMissed(b []byte) {
	o, c, err := protocol.ParseOriginal(b)
	if err != nil || c.ExpiresAt > c.CreatedAt+protocol.MaxNoticeSeconds || c.ExpiresAt <= e.now.Unix() && !isName(c.Type) {
		return
	}
	id := o.ID(e.id)
	if e.items[id] != nil {
		return
	}
	ch := e.chainOf(o.Device)
	if l, ok := ch.links[c.DevSeq]; ok && l.id != id {
		if pub, known := e.log.DeviceKey(o.Device); known && o.Verify(e.id, pub) {
			e.noteTwice(o.Device, protocol.DayOf(c.CreatedAt))
		}
		return // the first stands
	}
	if _, known := e.log.At(c.GovHeads); !known {
		if e.repair.unjudgedBytes += len(b); e.repair.unjudgedBytes <= maxUnjudged {
			e.repair.unjudged = append(e.repair.unjudged, b)
		}
		return
	}
	if e.takeSigned(o, b, c) { // also before the start: a cut-off of its author asks for it
		e.link(o, c, id, [16]byte{})
	}
}

// retryMissed takes in what waited for operations, once there are more.
func (e *Engine) retryMissed() bool {
	r := &e.repair
	if r.retriedAt == e.log.Len() || len(r.unjudged) == 0 {
		return false
	}
	list := r.unjudged
	r.retriedAt, r.unjudged, r.unjudgedBytes = e.log.Len(), nil, 0
	for _, b := range list {
		e.takeMissed(b)
	}
	return len(r.unjudged) < len(list)
}

func (e *Engine) takeSigned(o protocol.Original, b []byte, c protocol.Content) bool {
	pub, ok := e.log.DeviceKey(o.Device)
	if !ok || !o.Verify(e.id, pub) {
		return false
	}
	author, v, err := e.judge(o.Device, c)
	if v != protocol.Accept || err != nil {
		return false
	}
	e.storeOriginal(o.ID(e.id), b, c, author)
	return true
}
