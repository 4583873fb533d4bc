package engine

import (
	"cmp"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// This file brings devices back that hold no epoch that anybody still keeps: they
// were away, or suspended, for too long (spec 46 section 5). Such a device proves
// its rescue key and signs; an organiser's device answers with the operations, the
// headers and a ReBox, each sealed for the device's rescue mailbox.

// rescueFor is for how long a link of a rescue key lasts.
var rescueFor = Seconds(180)

// maxRescueKeys is how many frames of keys one rescue link brings.
const maxRescueKeys = 4 * protocol.MaxDevices

// rescueLink is what a link of a rescue key is about.
type rescueLink struct {
	seed   *seed
	device identity.DeviceID // whose it is
	done   bool              // this device, whose it is, got all
	heads  []protocol.OpID   // that the other side named
	keys   []protocol.Frame  // of others, until all are here
	parts  []protocol.Frame  // of ReBoxes
	newest protocol.EpochID  // whose header came first; zero: none did
}

// rescued is what was done for a device that came with a rescue key: the ReBox that was
// sealed for it last, and which of its keys this device told the others.
type rescued struct {
	epoch   protocol.EpochID // the sending epoch then
	key     protocol.KEMPublic
	frames  []protocol.Frame
	carried uint64 // counter of the newest of those keys
}

// opened says whether it is sure that a device has won the secrets of an epoch:
// it issued it, wrote in it, or a key that is newer than the one in its box was told in
// it. In a large group, where keys are not told in epochs, that it has one is enough.
func (e *Engine) opened(s *epochState, d identity.DeviceID) bool {
	if s.header.Device == d || s.keys.HasChain(d) {
		return true
	}
	if !e.given(s, d) {
		return false
	}
	newer := e.ring.All(d) // newest first
	for i, k := range newer {
		if s.header.Boxes(k.KEM.Ref()) {
			newer = newer[:i]
			break
		}
	}
	return slices.ContainsFunc(newer, func(k group.DeviceKeys) bool {
		return k.Counter > e.rescued[d].carried && (!s.header.Core.Inline() || e.held.hasItem(s.header.ID(), k.ID, false))
	})
}

// cutOff says whether a device may hold no epoch that is still kept.
func (e *Engine) cutOff(d identity.DeviceID) bool {
	return !slices.ContainsFunc(e.keptEpochs(), func(s *epochState) bool { return s.accepted && e.opened(s, d) })
}

// rescueKeys lists the rescue keys that are accepted: of devices of the group that
// may be cut off, those first that were heard last. Only the device itself proves
// one, and only an organiser's device accepts any.
func (e *Engine) rescueKeys() (list []GateKey) {
	if !e.organises() || e.frozen {
		return nil
	}
	var devices []identity.DeviceID
	for _, m := range e.log.Resolve().Members() {
		for _, d := range m.Devices {
			if d.ID != e.self.deviceID && len(e.seeds[d.ID]) > 0 && e.cutOff(d.ID) {
				devices = append(devices, d.ID)
			}
		}
	}
	heard := func(d identity.DeviceID) int64 { return max(e.active.seen[d], e.clock.dates[d]) }
	slices.SortFunc(devices, func(a, b identity.DeviceID) int {
		return cmp.Or(cmp.Compare(heard(b), heard(a)), compareDevices(a, b))
	})
	// The newest seed of each before an older one of any: who draws seed after seed
	// takes nobody's place.
	for i := range maxSeeds {
		for _, d := range devices {
			if n := len(e.seeds[d]); i < n {
				s := e.seeds[d][n-1-i]
				list = append(list, GateKey{Secret: s.key(), Class: ClassCatchUp, Tag: s.tag(), Device: d})
			}
		}
	}
	return list
}

// ownRescueKeys lists the keys that this device tries when nobody takes its net
// keys: the two newest and the oldest that is kept. The organisers may not have heard
// of the newest, and some of none but the oldest.
func (e *Engine) ownRescueKeys() (list []GateKey) {
	own := e.seeds[e.self.deviceID]
	for i, s := range slices.Backward(own) {
		if i == 0 || i >= len(own)-maxDialRescue {
			list = append(list, GateKey{Secret: s.key(), Class: ClassCatchUp, Tag: s.tag()})
		}
	}
	return list
}

// rescueUp begins a link that was proven under a rescue key: whose it is says what
// it has. False: it is another link.
func (e *Engine) rescueUp(p *peer) bool {
	d, s := e.seedOf(p.tag)
	if s == nil {
		return false
	}
	p.rescue = &rescueLink{seed: s, device: d}
	p.until = e.now + rescueFor
	if d == e.self.deviceID {
		e.sendHeads(p)
	}
	return true
}

func (e *Engine) sendHeads(p *peer) {
	heads := e.log.Heads()
	e.send(p, msgHeads, wire.Marshal(heads[:min(len(heads), protocol.MaxHeads)]))
}

func parseHeads(body []byte) ([]protocol.OpID, error) {
	var heads []protocol.OpID
	if err := wire.Unmarshal(body, protocol.MaxHeads*34+8, &heads); err != nil {
		return nil, err
	}
	if len(heads) > protocol.MaxHeads {
		return nil, errors.New("too many heads")
	}
	return heads, nil
}

// onHeads learns what the other side of a rescue link knows. An organiser's
// device answers with all that brings the other one back.
func (e *Engine) onHeads(p *peer, body []byte) bool {
	heads, err := parseHeads(body)
	if err != nil {
		return false
	}
	if p.rescue == nil {
		return true
	}
	p.rescue.heads = heads
	if p.rescue.device == e.self.deviceID {
		return true // what is to be said to it follows at the end
	}
	if _, in := e.log.Resolve().MemberOfDevice(p.rescue.device); !in || !e.organises() || e.frozen {
		return false
	}
	for _, f := range e.since(heads) {
		e.giveRescued(p, f)
	}
	e.sendHeads(p)
	if _, boxed := slices.BinarySearchFunc(e.log.Resolve().Boxed(), p.rescue.device, compareDevices); boxed {
		for _, f := range e.bringBack(p.rescue.device) {
			e.giveRescued(p, f)
		}
	}
	e.send(p, msgEnd, wire.Marshal(p.rescue.seed.box.Address()))
	return true
}

// since lists the operations that whoever named the heads may lack.
func (e *Engine) since(heads []protocol.OpID) []protocol.Frame {
	known := slices.DeleteFunc(slices.Clone(heads), func(id protocol.OpID) bool { return !e.log.Has(id) })
	ops, err := e.log.Between(known, e.log.Heads())
	if err != nil {
		panic("engine: a head that is held is not known")
	}
	return ops
}

func (e *Engine) giveRescued(p *peer, f protocol.Frame) {
	envelope, err := p.rescue.seed.box.Seal(f.Marshal())
	if err != nil {
		return // larger than any envelope: nothing of ours is
	}
	e.send(p, msgGive, envelope)
}

// bringBack lists the frames by which a device enters the epochs in force: all
// devices' keys, the headers in which it has a box, newest first so that it sends
// in none of the older, and a ReBox with the rest.
func (e *Engine) bringBack(d identity.DeviceID) []protocol.Frame {
	list := e.keyFramesToGive()
	for _, s := range e.keptEpochs() {
		then, ok := e.log.At(s.header.Core.GovHeads)
		if !ok || !s.accepted {
			continue
		}
		if _, boxed := slices.BinarySearchFunc(then.Boxed(), d, compareDevices); !boxed {
			continue
		}
		if f, err := protocol.ParseFrame(s.frame); err == nil {
			list = append(list, f)
		}
	}
	return append(list, e.reboxFor(d)...)
}

// reboxFor seals a ReBox to a device, once for each sending epoch and key of the
// device: who comes again gets the same.
func (e *Engine) reboxFor(d identity.DeviceID) []protocol.Frame {
	key, ok := e.ring.Newest(d)
	if !ok || e.sending == (protocol.EpochID{}) {
		return nil
	}
	was := e.rescued[d]
	if was.epoch == e.sending && was.key == key.KEM {
		return was.frames
	}
	r, err := e.handOverEpochs(d)
	if err != nil {
		return nil
	}
	frames, err := epoch.SealReBox(e.id, e.self.device, d, &key.KEM, r, e.cfg.Random)
	if err != nil {
		return nil
	}
	e.rescued[d] = rescued{e.sending, key.KEM, frames, was.carried}
	return frames
}

// onRescued takes an envelope of a rescue mailbox.
func (e *Engine) onRescued(p *peer, envelope []byte) bool {
	f, err := open(p.rescue.seed.box, envelope)
	if err != nil {
		return false
	}
	e.checkOwn(f, &entry{day: e.now.Day()})
	if p.rescue.device != e.self.deviceID {
		return e.takeFromRescued(p.rescue.device, f, len(envelope)) != protocol.Reject
	}
	v := protocol.Accept
	switch f.Kind {
	case protocol.KindOp:
		v, _ = e.takeRescued(f, len(envelope))
	case protocol.KindKeyPackage, protocol.KindKeyUpdate:
		if len(p.rescue.keys) < maxRescueKeys {
			p.rescue.keys = append(p.rescue.keys, f)
		}
	case protocol.KindEpoch:
		if e.takeRescueKeys(p.rescue) != nil {
			return false
		}
		v, _ = e.takeRescued(f, len(envelope))
		if h, err := epoch.ParseHeader(e.id, f); err == nil && p.rescue.newest == (protocol.EpochID{}) {
			p.rescue.newest = h.ID()
		}
	case protocol.KindReBox, protocol.KindChunk:
		if len(p.rescue.parts) <= epoch.MaxChunks {
			p.rescue.parts = append(p.rescue.parts, f)
		}
	}
	return v != protocol.Reject
}

// takeRescueKeys takes the keys of others in once all came, since each builds on
// the one before.
func (e *Engine) takeRescueKeys(r *rescueLink) error {
	keys := r.keys
	r.keys = nil
	return e.restoreKeys(keys)
}

// takeRescued takes an operation, header or key in that came by a rescue mailbox, within
// the shares of its signer in the last epoch: such a mailbox is open to who was an
// organiser and knows an old seed, and to each device of the group that says that
// it is cut off.
func (e *Engine) takeRescued(f protocol.Frame, size int) (protocol.Verdict, error) {
	take, table := func(f protocol.Frame) (protocol.Verdict, error) { return e.applyKeyFrame(f, nil) }, tableKeyFrames
	switch f.Kind {
	case protocol.KindOp:
		take, table = e.applyOp, tableOps
	case protocol.KindEpoch:
		take, table = e.applyHeader, tableEpochs
	}
	if e.isStored(table, f.ID(e.id)) {
		return take(f)
	}
	_, known := e.devicePublic(f.Device)
	if !e.fits(e.lastOps, f, size) || !known && !e.hasRoom(size) {
		return protocol.Ignore, nil
	}
	v, err := take(f)
	if v != protocol.Accept || err != nil {
		return v, err
	}
	if known {
		e.charge(e.lastOps, f, size)
	} else {
		e.strangers.taken += size
	}
	return v, nil
}

// isStored says whether a frame is stored, or will be with this Ready.
func (e *Engine) isStored(t Table, id protocol.ItemID) bool {
	b, err := e.row(t, id[:])
	return err == nil && b != nil
}

// takeFromRescued takes what a device says that is cut off, and carries it to the
// others: operations, which hold no secret, its own keys and those of whom they add,
// and the header of the epoch in which it was last, if that is not known here.
func (e *Engine) takeFromRescued(d identity.DeviceID, f protocol.Frame, size int) protocol.Verdict {
	if _, in := e.log.Resolve().MemberOfDevice(d); !in || !e.canSign() {
		return protocol.Ignore
	}
	if f.Kind == protocol.KindEpoch {
		return e.takeAcross(f, size)
	}
	isKey := f.Kind == protocol.KindKeyUpdate || f.Kind == protocol.KindKeyPackage
	if f.Kind != protocol.KindOp && !isKey {
		return protocol.Ignore
	}
	v, err := e.takeRescued(f, size)
	if v != protocol.Accept || err != nil || f.Kind == protocol.KindOp && !e.log.Has(protocol.OpID(f.ID(e.id))) {
		return v
	}
	if k, ok := e.ring.Newest(d); ok && isKey && f.Device == d {
		r := e.rescued[d]
		r.carried = k.Counter
		e.rescued[d] = r
	}
	tell := e.tellKey
	if f.Kind == protocol.KindOp {
		tell = func(f protocol.Frame) error { return e.sealFrame(e.lastOps, e.now.Day(), f, 0) }
	}
	if tell(f) == nil && f.Kind == protocol.KindOp {
		e.authority.carried = carried{} // and to whoever has an older epoch only
	}
	return protocol.Accept
}

// takeAcross takes the header of an epoch in from who is cut off. It may be of a part
// of the group that nobody here reached for weeks: each who was to have a box in it
// can ask for it where it lies now.
func (e *Engine) takeAcross(f protocol.Frame, size int) protocol.Verdict {
	h, err := epoch.ParseHeader(e.id, f)
	if err != nil || e.epochs[h.ID()] != nil || !mayIssue(e.log.Resolve(), h) {
		return protocol.Ignore
	}
	v, err := e.takeRescued(f, size)
	if s := e.epochs[h.ID()]; v == protocol.Accept && err == nil && s != nil {
		if e.putAcross(e.epochs[e.lastOps], s) != nil {
			return protocol.Ignore
		}
	}
	return v
}

// onRescueEnd comes once all was given: now this device says what the other one
// lacks, and looks for a ReBox.
func (e *Engine) onRescueEnd(p *peer, id protocol.MailboxID) bool {
	r := p.rescue
	if r.device != e.self.deviceID || id != r.seed.box.Address() {
		return false
	}
	last := e.epochs[e.lastOps]
	for _, op := range e.since(r.heads) {
		frames := []protocol.Frame{op}
		if last != nil {
			frames = e.withKeys(last, op)
		}
		for _, f := range frames {
			e.giveRescued(p, f)
		}
	}
	for _, f := range e.ring.Frames(e.self.deviceID) {
		e.giveRescued(p, f)
	}
	if e.takeRescueKeys(r) != nil {
		return false
	}
	if last != nil {
		if f, err := protocol.ParseFrame(last.frame); err == nil {
			e.giveRescued(p, f)
		}
	}
	parts := r.parts
	r.parts, r.done = nil, true
	for _, f := range parts {
		if f.Kind != protocol.KindReBox {
			continue
		}
		chunks := func(yield func(protocol.Frame)) {
			for _, c := range parts {
				if c.Kind == protocol.KindChunk {
					yield(c)
				}
			}
		}
		key := e.reboxKey(f)
		if key < 0 {
			continue
		}
		box := e.openReBox(f, key, chunks)
		if box == nil {
			continue
		}
		if _, err := e.enterByReBox(box); err != nil {
			return false
		}
	}
	if e.tellAcross(last, e.epochs[r.newest]) != nil {
		return false
	}
	if e.sending != (protocol.EpochID{}) || len(parts) > 0 {
		p.until = min(p.until, e.now+drainFor)
	}
	return true
}
