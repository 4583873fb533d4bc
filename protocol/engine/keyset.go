package engine

import (
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/recon"
	"github.com/palabre-app/palabre/protocol/wire"
)

// This file brings what is for organisers' devices to them and not to everybody
// (spec 65 section 10). Where an epoch's boxes travel in pages, key packages, key
// updates and inbox items are in no mailbox that all carry: operating devices ask
// for them on each link, in a reconciliation of their own over item ids.

// keysTag names that reconciliation: no epoch has this tag.
var keysTag [16]byte

// Bounds of the messages of this exchange.
const (
	maxKeysAsked  = 256    // ids in one message
	maxKeysGiven  = 32     // frames in one message
	maxGivenBytes = 60_000 // of them, beyond the first
	maxGiven      = protocol.RoomLarge + 64
	maxUseless    = 8_192 // items that were given and do not count, not to be asked for again
)

// Pauses between such reconciliations on one link.
var (
	keysFirst = Seconds(300)
	keysLast  = Seconds(3_600)
)

// keyset is the exchange of what is for organisers' devices.
type keyset struct {
	at      uint64 // version of which set, order and frames are
	set     recon.Set
	order   []recon.ID // packages before the updates that build on them
	frames  map[recon.ID]protocol.Frame
	useless map[recon.ID]bool
	// lackingSince is when this device had an epoch to issue and lacked keys.
	lackingSince Time
	courier      courier
	acked        map[protocol.ItemID]bool              // keys that this device acknowledged since it was opened
	heals        map[protocol.ItemID]identity.DeviceID // of updates that were told to all: see toldHeal
}

// keyID is an item id as the exchange names it.
func keyID(id protocol.ItemID) (k recon.ID) {
	copy(k[:16], id[:])
	return k
}

// apart says whether keys and inbox items are now for organisers' devices alone:
// in an epoch whose boxes travel in pages, that is in a large group.
func (e *Engine) apart() bool {
	s := e.epochs[e.lastOps]
	return s != nil && !s.header.Core.Inline()
}

// collects says whether this device asks others for keys and inbox items.
func (e *Engine) collects() bool { return e.organises() && e.apart() }

// reconciled says whether an envelope is in its epoch's own reconciliation.
func (s *epochState) reconciled(n entry) bool {
	return n.kind != protocol.KindInbox || s.header.Core.Inline()
}

// keys gives what this device has of the exchange: an operating device everybody's
// keys, others their own and what they carry.
func (e *Engine) keys() *keyset {
	k := &e.keyset
	if k.frames != nil && k.at == e.version {
		return k
	}
	k.at, k.order, k.frames = e.version, nil, map[recon.ID]protocol.Frame{}
	var items []recon.Item
	add := func(f protocol.Frame) {
		id := keyID(f.ID(e.id))
		if _, in := k.frames[id]; !in {
			k.frames[id] = f
			k.order = append(k.order, id)
			items = append(items, recon.Item{ID: id})
		}
	}
	own := e.ring.Frames(e.self.deviceID)
	if e.organises() {
		own = e.allKeyFrames()
	}
	for _, f := range own {
		add(f)
	}
	for _, s := range e.keptEpochs() {
		for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool { return !s.reconciled(n) }) {
			if f, _, err := e.frameOf(n); err == nil {
				add(f)
			}
		}
	}
	for _, id := range k.courier.order {
		add(k.courier.frames[id].frame)
	}
	set, err := recon.NewSet(items)
	if err != nil {
		panic("engine: " + err.Error())
	}
	k.set = set
	return k
}

// keyLink says whether keys may be asked for and given on a link: by whoever is
// in the group, also by who catches up.
func (p *peer) keyLink() bool {
	return p.class == ClassMember || p.class == ClassCatchUp && p.rescue == nil
}

// collectKeys asks on each link for the keys and items that are lacking, when it
// comes up and then ever more rarely.
func (e *Engine) collectKeys() {
	if !e.collects() {
		return
	}
	for _, p := range e.sortedPeers() {
		if !p.keyLink() || e.now < p.nextKeys || p.recon[keysTag] != nil {
			continue
		}
		p.keysEach = min(max(p.keysEach*2, keysFirst), keysLast)
		p.nextKeys = e.now + p.keysEach
		run, first, err := recon.NewInitiator(e.keys().set, recon.DefaultFrame)
		if err != nil {
			panic("engine: " + err.Error())
		}
		p.recon[keysTag] = &session{run: run}
		e.sendRecon(p, keysTag, true, first)
	}
}

// onKeysRecon takes a message of that reconciliation. Whoever opens one asks, and
// is told of what comes later as well.
func (e *Engine) onKeysRecon(p *peer, m reconBody) bool {
	if !p.keyLink() {
		e.send(p, msgNone, wire.Marshal(m.Tag))
		return true
	}
	if m.Opening {
		p.collects = true
		reply, err := recon.Respond(e.keys().set, recon.DefaultFrame, m.Message)
		if err != nil {
			return false
		}
		e.sendRecon(p, m.Tag, false, reply)
		return true
	}
	ses := p.recon[keysTag]
	if ses == nil {
		return true
	}
	next, _, need, done, err := ses.run.Step(m.Message)
	if err != nil && !errors.Is(err, recon.ErrSessionLimit) {
		delete(p.recon, keysTag)
		return false
	}
	need = slices.DeleteFunc(need, func(id recon.ID) bool { return e.keyset.useless[id] })
	for list := range slices.Chunk(need, maxKeysAsked) {
		e.send(p, msgKeysWanted, wire.Marshal(list))
	}
	if !done && err == nil {
		e.sendRecon(p, keysTag, true, next)
		return true
	}
	delete(p.recon, keysTag)
	return true
}

func parseKeysWanted(body []byte) ([]recon.ID, bool) {
	var ids []recon.ID
	err := wire.Unmarshal(body, maxKeysAsked*34+8, &ids)
	return ids, err == nil && len(ids) > 0 && len(ids) <= maxKeysAsked
}

// onKeysWanted gives what was asked for and is held.
func (e *Engine) onKeysWanted(p *peer, body []byte) bool {
	ids, ok := parseKeysWanted(body)
	if !ok {
		return false
	}
	if e.join != nil || !p.keyLink() {
		return true
	}
	wanted := map[recon.ID]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	k := e.keys()
	var list []protocol.Frame
	for _, id := range k.order {
		if wanted[id] {
			list = append(list, k.frames[id])
		}
	}
	e.giveKeys(p, list)
	for _, id := range ids {
		if p.collects {
			e.delivered(id)
		}
	}
	return true
}

// giveKeys sends frames on a link, as many in a message as fit.
func (e *Engine) giveKeys(p *peer, list []protocol.Frame) {
	var part [][]byte
	size := 0
	flush := func() {
		if len(part) > 0 {
			e.send(p, msgKeys, wire.Marshal(part))
		}
		part, size = nil, 0
	}
	for _, f := range list {
		b := f.Marshal()
		if size+len(b) > maxGivenBytes || len(part) == maxKeysGiven {
			flush()
		}
		part, size = append(part, b), size+len(b)
	}
	flush()
}

func parseKeysGiven(body []byte) ([]protocol.Frame, bool) {
	var raw [][]byte
	if err := wire.Unmarshal(body, maxGiven, &raw); err != nil || len(raw) == 0 || len(raw) > maxKeysGiven {
		return nil, false
	}
	frames := make([]protocol.Frame, len(raw))
	for i, b := range raw {
		f, err := protocol.ParseFrame(b)
		if err != nil || len(f.Marshal()) != len(b) {
			return nil, false
		}
		switch f.Kind {
		case protocol.KindKeyPackage, protocol.KindKeyUpdate, protocol.KindInbox:
		default:
			return nil, false
		}
		frames[i] = f
	}
	return frames, true
}

// onKeys takes frames that were asked for, that are new, or that are to be
// carried to an organiser's device.
func (e *Engine) onKeys(p *peer, body []byte) bool {
	frames, ok := parseKeysGiven(body)
	if !ok {
		return false
	}
	if e.join != nil || !p.keyLink() {
		return true
	}
	for _, f := range frames {
		e.checkOwn(f, &entry{day: e.now.Day()})
		switch {
		case f.Device == e.self.deviceID:
		case !e.collects():
			ok = e.carry(p, f) && ok
		default:
			ok = e.takeKeys(p, f) && ok
		}
	}
	return ok
}

// outcome is what became of a frame at an operating device.
type outcome uint8

const (
	keyNew     outcome = iota
	keyKnown           // or to be judged later: it may be asked for again
	keyUseless         // older than what counts, or of an epoch that is gone
	keyFalse           // malformed or falsely signed
)

// takeKeys gives a frame its effect at an operating device, and tells the other
// ones of it. False: it is malformed or falsely signed.
func (e *Engine) takeKeys(p *peer, f protocol.Frame) bool {
	take := e.takeKeyFrame
	if f.Kind == protocol.KindInbox {
		take = e.takeInbox
	}
	switch take(f) {
	case keyFalse:
		return false
	case keyNew:
		e.toCollectors(p, f)
	case keyUseless:
		k := &e.keyset
		if len(k.useless) >= maxUseless || k.useless == nil {
			k.useless = map[recon.ID]bool{}
		}
		k.useless[keyID(f.ID(e.id))] = true
	}
	return true
}

// takeKeyFrame takes a key package or update that no envelope carried.
func (e *Engine) takeKeyFrame(f protocol.Frame) outcome {
	id := f.ID(e.id)
	if slices.ContainsFunc(e.ring.Frames(f.Device), func(g protocol.Frame) bool { return g.ID(e.id) == id }) {
		if !e.keyset.acked[id] {
			e.acknowledgeKey(f, id) // its device goes on until it hears that: a plan to say so ends with the program
		}
		return keyKnown
	}
	if !e.fits(e.lastOps, f, protocol.BucketSmall) {
		return keyUseless
	}
	before := e.version
	v, err := e.applyKeyFrame(f, nil)
	switch {
	case v == protocol.Reject:
		return keyFalse
	case err != nil:
		return keyKnown // the operation that adds its device, or its package, is on its way
	case e.version == before:
		return keyUseless
	}
	e.charge(e.lastOps, f, protocol.BucketSmall)
	return keyNew
}

// takeInbox takes an inbox item that no envelope carried, and puts it where
// those of small groups lie.
func (e *Engine) takeInbox(f protocol.Frame) outcome {
	at, err := epoch.InboxItemEpoch(f)
	if err != nil {
		return keyFalse
	}
	s := e.epochs[at]
	if s == nil || s.keys == nil || s.header.Core.Inline() {
		return keyUseless
	}
	if e.held.hasItem(at, f.ID(e.id), false) {
		return keyKnown
	}
	envelope, err := e.inbox(s, e.now.Day()).Seal(f.Marshal())
	if err != nil || !e.fits(at, f, len(envelope)) {
		return keyUseless
	}
	v, err := e.applyInbox(f)
	switch {
	case v != protocol.Accept:
		return keyFalse
	case err != nil:
		return keyKnown
	}
	e.charge(at, f, len(envelope))
	e.keepInbox(s, f, envelope)
	return keyNew
}

// keepInbox stores an item in the inbox mailbox of an epoch and of today.
func (e *Engine) keepInbox(s *epochState, f protocol.Frame, envelope []byte) entry {
	id, day := f.ID(e.id), e.now.Day()
	n := entry{epoch: s.header.ID(), day: day, id: protocol.IDOf(envelope), kind: f.Kind, item: [16]byte(id[:16]), shred: day + inboxDays}
	e.keep(n, envelope)
	e.keyset.frames = nil
	return n
}

// tellKey tells a key package or key update: to all in a small group, to the
// organisers' devices in a large one.
func (e *Engine) tellKey(f protocol.Frame) error {
	if !e.apart() {
		return e.sealFrame(e.lastOps, e.now.Day(), f, 0)
	}
	e.tellCollectors(f)
	return nil
}

// keyFramesToGive lists what who comes, or comes back, is given of others' keys:
// in a large group nothing. An operating device asks for them itself, and nobody
// else needs them.
func (e *Engine) keyFramesToGive() []protocol.Frame {
	if e.apart() {
		return nil
	}
	return e.allKeyFrames()
}

// keyWaitFor is how long an operating device that lacks somebody's keys waits for
// them before it issues an epoch without him.
var keyWaitFor = Seconds(600)

// waitsForKeys says whether this device puts off the next epoch until it has
// everybody's keys, and until when.
func (e *Engine) waitsForKeys() bool {
	if !e.collects() || !e.lacksKeys() {
		e.keyset.lackingSince = 0
		return false
	}
	if e.keyset.lackingSince == 0 {
		e.keyset.lackingSince = e.now
	}
	return e.now < e.keyset.lackingSince+keyWaitFor
}

// lacksKeys says whether this device knows no key of somebody who is in: it was
// made an operating device a moment ago, say.
func (e *Engine) lacksKeys() bool {
	return slices.ContainsFunc(e.log.Resolve().Boxed(), func(d identity.DeviceID) bool {
		_, ok := e.ring.Newest(d)
		return !ok && !e.ring.Flagged(d)
	})
}
