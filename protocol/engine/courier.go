package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/recon"
)

// This file carries keys and inbox items across a large group in which few have a
// link to an organiser's device (spec 65 section 10). Who has something for the
// organisers and meets none hands it on to one member at a time, and these
// likewise, until one of them meets an organiser's device.

// Bounds of what a device carries for others. It is in memory only: whose it is
// hands it on again.
const (
	maxCarried      = 256 // frames, of all devices
	maxCarriedEach  = 4   // of one device
	maxCarriedBytes = 1 << 20
	maxHands        = 3 // to so many a frame of another device is handed on, and an own inbox item
)

// Pauses between handing on, and for how long something is carried.
var (
	handFirst = Seconds(20)
	handLast  = Seconds(3_600)
	// ackPatience is how long a key that an organiser's device was given may go
	// unacknowledged before it is handed on.
	ackPatience = Seconds(900)
	carryFor    = Seconds(7 * protocol.DaySeconds)
)

// courier is what waits for an organiser's device.
type courier struct {
	frames map[recon.ID]*parcel
	order  []recon.ID // as they came
	bytes  int
}

// parcel is one frame on its way.
type parcel struct {
	frame protocol.Frame
	since Time
	hands int // to how many it may still be handed on; negative: to any number
	at    Time
	pause Time
	went  map[Peer]bool // who got it since all had
}

// tellCollectors starts an own frame on its way to the organisers' devices. A key
// goes on until one of them acknowledges it, and takes the package with it that
// it builds on, which only the one who let this device in may have.
func (e *Engine) tellCollectors(f protocol.Frame) {
	e.keyset.frames = nil
	met := e.toCollectors(nil, f)
	switch {
	case f.Device != e.self.deviceID:
		// Of somebody let in here: it is asked for, and its device has it as well.
	case !e.othersOperate():
		// There is nobody for whom it would be.
	case f.Kind == protocol.KindInbox:
		if !met {
			e.takeUp(f, maxHands)
		}
	default:
		for _, own := range e.untakenKeys() {
			e.takeUp(own, -1)
			if met {
				e.delivered(keyID(own.ID(e.id)))
			}
		}
	}
}

// untakenKeys lists the own key frames that are newer than what an organiser's
// device has said that it holds: all of them, with the package, if none has.
func (e *Engine) untakenKeys() []protocol.Frame {
	last := int64(-1)
	for _, k := range e.private {
		if len(k.ackedBy) > 0 {
			last = int64(k.counter)
		}
	}
	return slices.DeleteFunc(e.ring.Frames(e.self.deviceID), func(f protocol.Frame) bool { return int64(counterOf(f)) <= last })
}

// othersOperate says whether there is an operating device beside this one.
func (e *Engine) othersOperate() bool {
	return slices.ContainsFunc(e.log.Resolve().Operators(), func(d identity.DeviceID) bool { return d != e.self.deviceID })
}

// toCollectors gives a frame to the links that asked for keys, but for the one
// that it came from. False: there is none.
func (e *Engine) toCollectors(from *peer, f protocol.Frame) (met bool) {
	for _, p := range e.sortedPeers() {
		if p.collects && p.keyLink() && p != from {
			e.giveKeys(p, []protocol.Frame{f})
			met = true
		}
	}
	return met
}

// takeUp puts a frame among those that are to be handed on.
func (e *Engine) takeUp(f protocol.Frame, hands int) {
	c := &e.keyset.courier
	id := keyID(f.ID(e.id))
	if c.frames[id] != nil {
		return
	}
	if c.frames == nil {
		c.frames = map[recon.ID]*parcel{}
	}
	c.frames[id] = &parcel{frame: f, since: e.now, hands: hands, at: e.now + handFirst, pause: handFirst, went: map[Peer]bool{}}
	c.order = append(c.order, id)
	c.bytes += len(f.Body)
	e.keyset.frames = nil
}

// carry takes a frame of another device up that is to be carried. False: it is
// falsely signed.
func (e *Engine) carry(p *peer, f protocol.Frame) bool {
	pub, ok := e.devicePublic(f.Device)
	if _, in := e.log.Resolve().MemberOfDevice(f.Device); !ok || !in {
		return true // nobody known here
	}
	if !f.Verify(e.id, pub) {
		return false
	}
	c := &e.keyset.courier
	each := 0
	for _, x := range c.frames {
		if x.frame.Device == f.Device {
			each++
		}
	}
	if c.frames[keyID(f.ID(e.id))] != nil || e.toCollectors(p, f) || each >= maxCarriedEach || len(c.order) >= maxCarried || c.bytes+len(f.Body) > maxCarriedBytes {
		return true
	}
	e.takeUp(f, maxHands)
	c.frames[keyID(f.ID(e.id))].went[p.id] = true // who gave it has it
	return true
}

// delivered notes that an organiser's device has asked for a frame. An own key
// goes on, more slowly, until it is acknowledged: the link may have ended.
func (e *Engine) delivered(id recon.ID) {
	c := &e.keyset.courier
	switch x := c.frames[id]; {
	case x == nil:
	case x.hands < 0:
		x.at = max(x.at, e.now+ackPatience)
	default:
		e.putDown(id)
	}
}

func (e *Engine) putDown(id recon.ID) {
	c := &e.keyset.courier
	c.bytes -= len(c.frames[id].frame.Body)
	delete(c.frames, id)
	c.order = slices.DeleteFunc(c.order, func(o recon.ID) bool { return o == id })
	e.keyset.frames = nil
}

// acknowledged puts down the keys that an organiser's device names, and those of
// the same device that they build on.
func (e *Engine) acknowledged(prefixes []group.AckID) {
	c := &e.keyset.courier
	upTo := map[identity.DeviceID]uint64{}
	for _, x := range c.frames {
		if slices.Contains(prefixes, group.AckPrefix(x.frame.ID(e.id))) {
			upTo[x.frame.Device] = max(upTo[x.frame.Device], counterOf(x.frame))
		}
	}
	for _, id := range slices.Clone(c.order) {
		f := c.frames[id].frame
		if last, ok := upTo[f.Device]; ok && f.Kind != protocol.KindInbox && counterOf(f) <= last {
			e.putDown(id)
		}
	}
}

// counterOf is the place of a key frame in the row of its device.
func counterOf(f protocol.Frame) uint64 {
	if u, err := group.ParseKeyUpdate(f); err == nil {
		return u.Counter
	}
	return 0
}

// handOn gives what is due to one member more. Who meets an organiser's device
// gives it there, when that one asks.
func (e *Engine) handOn() {
	c := &e.keyset.courier
	if len(c.order) == 0 || !e.apart() {
		return
	}
	var members []*peer
	for _, p := range e.sortedPeers() {
		if p.class == ClassMember && !p.old {
			members = append(members, p)
		}
	}
	give := map[*peer][]protocol.Frame{}
	for _, id := range slices.Clone(c.order) {
		x := c.frames[id]
		if x.hands == 0 || e.now < x.at {
			if x.hands >= 0 && e.now >= x.since+carryFor {
				e.putDown(id)
			}
			continue
		}
		x.at = e.now + x.pause
		x.pause = min(x.pause*2, handLast)
		next := slices.IndexFunc(members, func(p *peer) bool { return !x.went[p.id] })
		if next < 0 {
			clear(x.went) // once around: who got it first may have met others meanwhile
			continue
		}
		p := members[next]
		x.went[p.id] = true
		if x.hands > 0 {
			x.hands--
		}
		give[p] = append(give[p], x.frame)
	}
	for _, p := range members {
		e.giveKeys(p, give[p])
	}
}

// nextHand is when something is handed on. 0: nothing is.
func (e *Engine) nextHand() (next Time) {
	if len(e.peers) == 0 || !e.apart() {
		return 0
	}
	for _, x := range e.keyset.courier.frames {
		if x.hands != 0 && (next == 0 || x.at < next) {
			next = x.at
		}
	}
	return next
}

// loadCourier takes up again what no organiser's device is known to have.
func (e *Engine) loadCourier() {
	if !e.apart() || !e.othersOperate() {
		return
	}
	for _, f := range e.untakenKeys() {
		e.takeUp(f, -1)
	}
	for _, s := range e.keptEpochs() {
		for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool { return !s.reconciled(n) }) {
			if f, _, err := e.frameOf(n); err == nil && f.Device == e.self.deviceID {
				e.takeUp(f, maxHands)
			}
		}
	}
}
