package engine

import (
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file brings devices back that are in the group but have no box in the
// epochs in force, without anybody's doing (spec 46): somebody was added while
// somebody else renewed the keys, say. Every organiser's device looks for them
// at each change and hands them the keys, sealed to their newest KEM key.

// reboxDays is for how long a ReBox is kept for whom it is for.
const reboxDays = 30

// maxMissed bounds the bytes of missed originals in one ReBox.
const maxMissed = 48 << 10

// repair is what this device means to do for others, and what came for it.
type repair struct {
	due    Time // when whoever is stranded is brought back; 0: nobody is
	again  Time // when it is looked whether what others did was enough; 0: not
	at     uint64
	served map[senderKey]handed                   // what this device handed over, or left to others
	look   bool                                   // a ReBox, or a piece of one, came
	missed map[identity.DeviceID]epoch.MissedItem // who lacks messages that nobody gives
	pass   bool                                   // it is to be looked whether one is to be carried on
	opened map[protocol.EnvelopeID]bool
	// tried are ReBoxes that none of the keys up to one, by its counter, opens: they
	// are for others.
	tried  map[protocol.EnvelopeID]uint64
	asked  map[identity.DeviceID]asking
	handed []heard // the last of what others said that they handed over

	unjudged      [][]byte // originals whose authors had seen operations that are not here yet
	unjudgedBytes int
	retriedAt     int // operations that were held when these were looked at last
}

// reboxIfDue plans to bring back whoever is stranded, and does it up to a minute
// later unless others did meanwhile.
func (e *Engine) reboxIfDue() (bool, error) {
	if e.frozen || e.repair.at == e.version && (e.repair.due == 0 || e.now < e.repair.due) && (e.repair.again == 0 || e.now < e.repair.again) {
		return false, nil
	}
	e.repair.at, e.repair.again = e.version, e.nextServed()
	list := e.stranded()
	if len(list) == 0 {
		e.repair.due = 0
		return false, nil
	}
	if e.repair.due == 0 {
		wait, err := e.randomBelow(int64(issueWait))
		if err != nil {
			return false, err
		}
		e.repair.due = e.now + Time(wait)
		return false, nil
	}
	if e.now < e.repair.due {
		return false, nil
	}
	e.repair.due = 0
	done := sortedDevices(list)
	for _, d := range done {
		e.serve(d)
		if err := e.rebox(d, list[d]); err != nil {
			return false, err
		}
		delete(e.repair.missed, d)
	}
	if len(e.audience(e.epochs[e.sending])) == 0 {
		return true, nil // there is no other organiser's device
	}
	for some := range slices.Chunk(done, epoch.MaxHanded) {
		if err := e.tellOrganisers(epoch.HandedItem{Epoch: e.sending, Devices: some}); err != nil {
			return false, err
		}
	}
	return true, nil
}

func sortedDevices[V any](list map[identity.DeviceID]V) []identity.DeviceID {
	var out []identity.DeviceID
	for d := range list {
		out = append(out, d)
	}
	slices.SortFunc(out, compareDevices)
	return out
}

func compareDevices(a, b identity.DeviceID) int { return slices.Compare(a[:], b[:]) }

// rebox seals the epochs in force, and what was missed, to a device, and puts it
// into the common mailbox of an epoch that the device has.
func (e *Engine) rebox(d identity.DeviceID, old *epochState) error {
	r, err := e.handOverEpochs(d)
	if err != nil {
		return err
	}
	since := old.header.Core.GovHeads
	if old.header.ID() == e.sending && e.newestHad(d, old) == nil {
		since = knownTo(e.log.Adds(d))
	}
	ops, err := e.log.Between(since, e.log.Heads())
	if err != nil {
		return err
	}
	for _, f := range ops {
		r.Ops = append(r.Ops, f.Marshal())
	}
	key, _ := e.ring.Newest(d)
	frames, err := epoch.SealReBox(e.id, e.self.device, d, &key.KEM, r, e.cfg.Random)
	if err != nil {
		return fmt.Errorf("bringing a device back: %w", err)
	}
	day := e.now.Day()
	for _, f := range frames {
		if err := e.sealFrame(old.header.ID(), day, f, day+reboxDays); err != nil {
			return err
		}
	}
	return nil
}

// handOverEpochs is what any ReBox for a device holds: the sending epoch, those that
// the device asked for and the others in force that it was not given, everybody's
// keys, and what was said since.
func (e *Engine) handOverEpochs(d identity.DeviceID) (r epoch.ReBox, err error) {
	m, _ := e.log.Resolve().MemberOfDevice(d)
	operator := e.log.Resolve().IsOrganiser(d)
	var handed []*epochState
	for _, s := range e.keptByUse() {
		id := s.header.ID()
		unasked := !e.repair.asked[d].lacks[id] && (!e.sound(s) || e.superseded(id) || e.given(s, d))
		if id != e.sending && (unasked || len(r.Epochs) == epoch.MaxWelcomeEpochs) {
			continue
		}
		keys, err := s.keys.Export(operator && s.keys.Organiser())
		if err != nil {
			return r, err
		}
		r.Epochs = append(r.Epochs, epoch.WelcomeEpoch{Header: s.frame, Keys: keys})
		handed = append(handed, s)
	}
	for _, f := range append(e.keyFramesToGive(), e.boxedKeys(handed)...) {
		r.KeyFrames = append(r.KeyFrames, f.Marshal())
	}
	if r.Originals, err = e.missed(m.ID, d); err != nil {
		return r, err
	}
	r.Chains = e.chainHeads()
	return r, nil
}

// allKeyFrames lists what is kept of the keys of everybody in the group.
func (e *Engine) allKeyFrames() (list []protocol.Frame) {
	for _, m := range e.log.Resolve().Members() {
		for _, x := range m.Devices {
			list = append(list, e.ring.Frames(x.ID)...)
		}
	}
	return list
}

// boxedKeys lists older keys to which boxes of small groups' epochs are sealed: who
// did not have the epochs audits them with these.
func (e *Engine) boxedKeys(epochs []*epochState) (list []protocol.Frame) {
	boxed := func(k group.DeviceKeys) bool {
		return slices.ContainsFunc(epochs, func(s *epochState) bool { return s.header.Core.Inline() && s.header.Boxes(k.KEM.Ref()) })
	}
	for _, d := range e.log.Resolve().Boxed() {
		list = append(list, e.ring.Older(d, boxed)...)
	}
	return list
}

// missed lists the newest signed originals since the member came, within a
// bound: their keys were used up here, so that nothing else would show them.
func (e *Engine) missed(m identity.MemberID, d identity.DeviceID) ([][]byte, error) {
	since := int64(-1)
	for _, op := range e.log.Adds(d) {
		if since < 0 || op.CreatedAt < since {
			since = op.CreatedAt
		}
	}
	var ids []protocol.ContentID
	for id, it := range e.items {
		if !e.meantFor(it.content, d) {
			continue
		}
		after, err := it.content.CreatedAt >= since, error(nil)
		if !after {
			if after, err = e.saidAfterAdd(id, d); err != nil {
				return nil, err
			}
		}
		if after {
			ids = append(ids, id)
		}
	}
	asked := func(id protocol.ContentID) bool { return e.repair.missed[d].Has(e.items[id].device, e.items[id].seq) }
	slices.SortFunc(ids, func(a, b protocol.ContentID) int {
		if x, y := asked(a), asked(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		if x := e.items[b].content.CreatedAt - e.items[a].content.CreatedAt; x != 0 {
			return int(max(-1, min(1, x)))
		}
		return slices.Compare(a[:], b[:])
	})
	var out [][]byte
	size := 0
	for _, id := range ids {
		b, err := e.row(tableItems, id[:])
		if err != nil {
			return nil, err
		}
		if b == nil || size+len(b) > maxMissed {
			continue
		}
		size += len(b)
		out = append(out, b)
	}
	return out, nil
}

// saidAfterAdd says whether a content was sealed in an epoch that follows one that
// was in force when a device was added: then it was said since, whatever the clocks
// of its author and of the adder say.
func (e *Engine) saidAfterAdd(id protocol.ContentID, d identity.DeviceID) (bool, error) {
	b, err := e.row(tableItems, id[:])
	if err != nil || b == nil {
		return false, err
	}
	o, _, err := protocol.ParseOriginal(b)
	if err != nil {
		return false, err
	}
	for _, op := range e.log.Adds(d) {
		if slices.ContainsFunc(op.EpochHeads, func(h protocol.EpochID) bool { return h != o.Epoch && e.descends(o.Epoch, h) }) {
			return true, nil
		}
	}
	return false, nil
}

// meantFor says whether the author of a content took a device for one of the
// group's, or had not heard of it yet: what is said while somebody is known to be
// suspended or out is not for him later.
func (e *Engine) meantFor(c protocol.Content, d identity.DeviceID) bool {
	then, ok := e.log.At(c.GovHeads)
	if !ok {
		return false
	}
	if _, boxed := slices.BinarySearchFunc(then.Boxed(), d, compareDevices); boxed {
		return true
	}
	_, known := then.MemberOfCert(d)
	return !known
}

// takeReBox looks whether something that came is for this device, and takes it.
func (e *Engine) takeReBox() (bool, error) {
	did := e.retryMissed()
	if !e.repair.look {
		return did, nil
	}
	e.repair.look = false
	newest := e.private[len(e.private)-1].counter
	for _, s := range e.byGen {
		for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool { return n.kind == protocol.KindReBox }) {
			if last, ok := e.repair.tried[n.id]; e.repair.opened[n.id] || ok && last == newest {
				continue
			}
			f, _, err := e.frameOf(n)
			if err != nil || f.Device == e.self.deviceID {
				continue
			}
			key := e.reboxKey(f)
			if key < 0 {
				if e.repair.tried == nil {
					e.repair.tried = map[protocol.EnvelopeID]uint64{}
				}
				e.repair.tried[n.id] = newest
				continue
			}
			chunks := func(yield func(protocol.Frame)) {
				for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool { return n.kind == protocol.KindChunk }) {
					if c, _, err := e.frameOf(n); err == nil {
						yield(c)
					}
				}
			}
			r := e.openReBox(f, key, chunks)
			if r == nil {
				continue
			}
			if e.repair.opened == nil {
				e.repair.opened = map[protocol.EnvelopeID]bool{}
			}
			e.repair.opened[n.id] = true
			entered, err := e.enterByReBox(r)
			if err != nil {
				return did, err
			}
			did = did || entered
		}
	}
	return did, nil
}

// reboxKey finds the own key to which a ReBox is sealed: its index. -1: the ReBox is
// for another device.
func (e *Engine) reboxKey(f protocol.Frame) int {
	return slices.IndexFunc(e.private, func(k kemKey) bool {
		if k.gone {
			return false
		}
		_, ok := epoch.ReBoxKey(e.id, f, e.self.deviceID, k.kem)
		return ok
	})
}

// openReBox opens a ReBox that is sealed to an own key if all of it is here; nil: not.
func (e *Engine) openReBox(f protocol.Frame, key int, chunks func(yield func(protocol.Frame))) *epoch.ReBox {
	frames := []protocol.Frame{f}
	chunks(func(c protocol.Frame) {
		if epoch.ReBoxHasChunk(e.id, f, c) {
			frames = append(frames, c)
		}
	})
	r, err := epoch.OpenReBox(e.id, frames, e.self.deviceID, e.private[key].kem, e.mayRebox)
	if err != nil {
		return nil // not all of it is here, or not from who may
	}
	e.usedKEM(key)
	return r
}

// mayRebox says whether a device acts for an organiser, by the operations that
// are held and those in the ReBox: these are signed one by one.
func (e *Engine) mayRebox(d identity.DeviceID, r *epoch.ReBox) (identity.DevicePublic, bool) {
	for _, b := range r.Ops {
		f, err := protocol.ParseFrame(b)
		if err != nil || f.Kind != protocol.KindOp {
			return identity.DevicePublic{}, false
		}
		e.checkOwn(f, nil)
		if _, err := e.applyOp(f); err != nil {
			return identity.DevicePublic{}, false
		}
	}
	if !e.log.Resolve().IsOrganiser(d) {
		return identity.DevicePublic{}, false
	}
	return e.log.DeviceKey(d)
}

// enterByReBox puts what a ReBox hands over into use. Keys that are held already
// stay: those handed over stand where their giver stood.
func (e *Engine) enterByReBox(r *epoch.ReBox) (bool, error) {
	var keys []protocol.Frame
	for _, b := range r.KeyFrames {
		if f, err := protocol.ParseFrame(b); err == nil {
			keys = append(keys, f)
		}
	}
	if err := e.restoreKeys(keys); err != nil {
		return false, err
	}
	e.ring.Recall(keys)
	did := false
	for _, we := range r.Epochs {
		f, err := protocol.ParseFrame(we.Header)
		if err != nil {
			continue
		}
		if pub, ok := e.log.DeviceKey(f.Device); !ok || !f.Verify(e.id, pub) {
			continue
		}
		h, err := epoch.ParseHeader(e.id, f)
		if err != nil {
			continue
		}
		keys, err := epoch.ParseExport(we.Keys)
		if err != nil || h.Confirm(keys) != nil {
			continue
		}
		s := e.epochs[h.ID()]
		if s != nil && (s.keys != nil || s.erased) {
			continue
		}
		if s == nil {
			s = &epochState{header: h, frame: we.Header, arrived: e.now}
			e.keepEpoch(s)
		}
		e.adopt(s, keys)
		for _, d := range keys.Senders() {
			e.dirty(h.ID(), d)
		}
		e.putEpoch(s)
		did = true
	}
	for _, c := range r.Chains {
		if _, _, ok := e.chains[c.Device].head(); did && !ok {
			e.storeFirst(c.Device, c.Seq, c.Content)
		}
	}
	for _, b := range r.Originals {
		e.takeMissed(b)
	}
	return did, nil
}
