package engine

import (
	"errors"
	"io"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// kemKeyDays is how long an old key is kept for boxes that are still on their
// way, unless every organiser is known to use a newer one; the second is for
// groups at high risk.
const (
	kemKeyDays     = 14
	kemKeyDaysRisk = 3
)

// ackWait gathers keys into one acknowledgement. All carry it, and in a large
// group many keys come.
var (
	ackWait      = Seconds(30)
	ackWaitLarge = Seconds(300)
)

// healAt is the number of messages in one epoch at which a device asks for the
// next one.
const healAt = 3_600

// kemKey is one own key pair to which boxes are sealed, with the lane that
// goes with it.
type kemKey struct {
	counter uint64
	gone    bool // the KEM key is erased; the lane is kept while an epoch lists it
	kem     epoch.KEMPrivate
	lane    epoch.MailKey
	public  protocol.LanePublic // of the lane: to compute it costs a signature's time
	frame   protocol.ItemID     // the key package or KeyUpdate that published it
	used    Time                // when a box was opened with it; 0: not yet
	ackedBy []identity.DeviceID
}

// kemRecord is the stored form of a kemKey.
type kemRecord struct {
	_       struct{} `cbor:",toarray"`
	Counter uint64
	KEM     [32]byte
	Lane    [32]byte
	Frame   protocol.ItemID
	Used    int64
	Gone    bool
}

func (e *Engine) putKEM(k *kemKey) {
	r := kemRecord{Counter: k.counter, Lane: k.lane.Seed(), Frame: k.frame, Used: int64(k.used), Gone: k.gone}
	if !k.gone {
		r.KEM = k.kem.Seed()
	}
	e.put(tableKEM, numberKey(k.counter), wire.Marshal(r), 0)
}

func (e *Engine) loadKEM(value []byte) error {
	var r kemRecord
	if err := wire.Unmarshal(value, 256, &r); err != nil {
		return err
	}
	e.planned.rekey = r.Used != 0 // the newest row is the last one
	e.private = append(e.private, kemKey{counter: r.Counter, kem: epoch.KEMPrivateFromSeed(r.KEM),
		lane: epoch.MailKeyFromSeed(r.Lane), frame: r.Frame, used: Time(r.Used), gone: r.Gone})
	k := &e.private[len(e.private)-1]
	k.public = k.lane.Public()
	return nil
}

// newKEM draws a key pair and a lane for the next counter.
func newKEM(random io.Reader, counter uint64) (kemKey, error) {
	k := kemKey{counter: counter}
	var err error
	if k.kem, err = epoch.NewKEMPrivate(random); err != nil {
		return kemKey{}, err
	}
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return kemKey{}, err
	}
	k.lane = epoch.MailKeyFromSeed(seed)
	k.public = k.lane.Public()
	return k, nil
}

func (e *Engine) ownLane() protocol.LanePublic {
	if len(e.private) == 0 {
		return protocol.LanePublic{}
	}
	return e.private[len(e.private)-1].public
}

// usedKEM takes note that a box was opened with key i. Keys are for one box:
// the newest one is replaced.
func (e *Engine) usedKEM(i int) {
	k := &e.private[i]
	if k.used == 0 {
		k.used = e.now
		e.putKEM(k)
	}
	if i == len(e.private)-1 {
		e.planned.rekey = true
	}
}

// rekeyIfDue publishes a new KEM key after the newest one was used. A device
// near the end of its messages in the epoch asks for the next epoch with it.
func (e *Engine) rekeyIfDue() (bool, error) {
	if e.frozen || e.lastOps == (protocol.EpochID{}) || !e.log.Resolve().IsMember(e.self.memberID) {
		return false, nil
	}
	heal := e.planned.heal
	e.planned.heal = false
	if s := e.epochs[e.sending]; s != nil && s.keys != nil && (s.keys.Sent(e.self.deviceID) >= healAt || e.written(e.sending) >= healShare) && !s.healed {
		s.healed, heal = true, true
		// The wait is for others to come first: an organiser's own device is exempt.
		e.planned.now = e.planned.now || e.asOrganiser() == nil
	}
	if !e.planned.rekey && !heal {
		return false, nil
	}
	e.planned.rekey = false
	last := e.private[len(e.private)-1]
	k, err := newKEM(e.cfg.Random, last.counter+1)
	if err != nil {
		return false, err
	}
	u := group.KeyUpdate{Counter: k.counter, Prev: last.frame, KEM: k.kem.Public(), Lane: k.lane.Public(), Heal: heal}
	f := group.NewKeyUpdate(e.id, e.self.device, u)
	k.frame = f.ID(e.id)
	e.private = append(e.private, k)
	e.putKEM(&k)
	if _, err := e.addKeyFrame(f); err != nil {
		return false, err
	}
	if e.apart() && !heal {
		e.tellCollectors(f)
		return true, nil
	}
	if err := e.sealFrame(e.lastOps, e.now.Day(), f, 0); err != nil {
		return false, err
	}
	// Where this device will send next, if it finds out that all is well: not all who
	// are there need have the epoch in which it sends now.
	n := 0
	for _, s := range e.keptEpochs() {
		if s.header.Core.Gen <= e.epochs[e.lastOps].header.Core.Gen || n == maxTold {
			break
		}
		if s.accepted && e.standsNow(s) && e.justified(s) {
			n++
			if err := e.sealFrame(s.header.ID(), e.now.Day(), f, 0); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// maxTold is in how many epochs beside its last one a device tells a new key.
const maxTold = 4

// applyKeyFrame takes a key package or KeyUpdate in, which lay in an epoch; nil:
// in none.
func (e *Engine) applyKeyFrame(f protocol.Frame, in *epochState) (protocol.Verdict, error) {
	if f.Kind == protocol.KindKeyPackage {
		// Signed by the device that it certifies; it counts once an operation adds it.
		if _, err := group.ParseKeyPackage(e.id, f); err != nil {
			return protocol.Reject, nil
		}
	} else if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
		return v, err
	}
	v, err := e.addKeyFrame(f)
	if in != nil && !in.header.Core.Inline() && v == protocol.Accept {
		e.version++ // a heal, of which nothing may be known here but this
		if !e.organises() && errors.Is(err, errUnjudged) {
			err = nil // its package is not for this device
		}
	}
	return v, err
}

// toldHeal finds a heal among what was told to all under epochs with pages: there
// the keys before it are for organisers' devices alone, and everybody has to judge
// alike by the heal itself. It gives whose it is.
func (e *Engine) toldHeal(h protocol.ItemID) (identity.DeviceID, bool) {
	if d, ok := e.keyset.heals[h]; ok {
		return d, !e.ring.Flagged(d)
	}
	for _, s := range e.byGen {
		if s.header.Core.Inline() {
			continue
		}
		n, ok := e.held.ofItem(s.header.ID(), h)
		if !ok || n.kind != protocol.KindKeyUpdate {
			continue
		}
		f, _, err := e.frameOf(n)
		if err != nil || f.ID(e.id) != h {
			continue
		}
		u, err := group.ParseKeyUpdate(f)
		pub, known := e.devicePublic(f.Device)
		if err != nil || !u.Heal || !known || !f.Verify(e.id, pub) {
			continue
		}
		if e.keyset.heals == nil {
			e.keyset.heals = map[protocol.ItemID]identity.DeviceID{}
		}
		e.keyset.heals[h] = f.Device
		return f.Device, !e.ring.Flagged(f.Device)
	}
	return identity.DeviceID{}, false
}

func (e *Engine) addKeyFrame(f protocol.Frame) (protocol.Verdict, error) {
	id := f.ID(e.id)
	switch e.ring.Add(f) {
	case protocol.Reject:
		return protocol.Reject, nil
	case protocol.Ignore:
		// Known already, or older than what counts: it is carried for others. What
		// comes before the package that it builds on waits for it.
		if _, ok := e.ring.Newest(f.Device); !ok && !e.ring.Flagged(f.Device) {
			return protocol.Accept, errUnjudged
		}
		return protocol.Accept, nil
	}
	e.put(tableKeyFrames, id[:], f.Marshal(), 0)
	e.version++
	e.retry = true // key updates may have waited for the package
	e.acknowledgeKey(f, id)
	return protocol.Accept, nil
}

// restoreKeys takes in what an organiser's device keeps of the keys of others: of
// each device the oldest may build on one that nobody keeps any more. Those before
// the gap go at once: after a restart they would hide what comes after it.
func (e *Engine) restoreKeys(frames []protocol.Frame) error {
	roster := e.log.Resolve()
	frames = slices.DeleteFunc(frames, func(f protocol.Frame) bool {
		_, in := roster.MemberOfDevice(f.Device)
		return !in || f.Device == e.self.deviceID || f.Kind != protocol.KindKeyPackage && f.Kind != protocol.KindKeyUpdate
	})
	e.ring.Follow(roster)
	if e.ring.Restore(frames) == 0 {
		return nil
	}
	for _, f := range frames {
		id := f.ID(e.id)
		if slices.ContainsFunc(e.ring.Frames(f.Device), func(k protocol.Frame) bool { return k.ID(e.id) == id }) {
			e.put(tableKeyFrames, id[:], f.Marshal(), 0)
			e.acknowledgeKey(f, id)
		}
	}
	e.version++
	e.retry = true
	return e.pruneKeyFrames()
}

// acknowledgeKey plans to tell the device that an organiser's device has its key.
func (e *Engine) acknowledgeKey(f protocol.Frame, id protocol.ItemID) {
	if f.Kind != protocol.KindKeyUpdate || f.Device == e.self.deviceID || e.asOrganiser() != nil || slices.Contains(e.planned.newly, id) {
		return
	}
	e.planned.newly = append(e.planned.newly, id)
	if e.planned.acks == 0 {
		e.planned.acks = e.now + ackWait
		if e.apart() {
			e.planned.acks = e.now + ackWaitLarge
		}
	}
}

// applyAck takes note of keys that an organiser's device says it holds.
func (e *Engine) applyAck(f protocol.Frame, n *entry) (protocol.Verdict, error) {
	if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
		return v, err
	}
	if _, err := group.ParseAck(f); err != nil {
		return protocol.Reject, nil
	}
	m, ok := e.log.Resolve().MemberOfDevice(f.Device)
	if !ok || m.Role != group.Organiser {
		return protocol.Ignore, nil
	}
	e.signed(f.Device, min(e.now, days(int64(n.day)+1))) // it may have been on its way for long
	e.noteAck(f)
	return protocol.Accept, nil
}

// noteAck notes which own keys an acknowledgement names.
func (e *Engine) noteAck(f protocol.Frame) {
	prefixes, err := group.ParseAck(f)
	if err != nil {
		return
	}
	e.acknowledged(prefixes)
	for i := range e.private {
		k := &e.private[i]
		if slices.Contains(prefixes, group.AckPrefix(k.frame)) && !slices.Contains(k.ackedBy, f.Device) {
			k.ackedBy = append(k.ackedBy, f.Device)
		}
	}
}

// tickKeys acknowledges keys that are newly held, and erases own keys that no
// box will be sealed to any more.
func (e *Engine) tickKeys() error {
	if !e.frozen && e.planned.acks != 0 && e.now >= e.planned.acks && e.lastOps != (protocol.EpochID{}) {
		ids := e.planned.newly
		e.planned.newly, e.planned.acks = nil, 0
		for len(ids) > 0 {
			n := min(len(ids), group.MaxAck)
			e.noteOwnAck(ids[:n])
			f := group.NewAck(e.id, e.self.device, ids[:n])
			if err := e.sealFrame(e.lastOps, e.now.Day(), f, e.now.Day()+30); err != nil {
				return err
			}
			ids = ids[n:]
		}
	}
	e.dropOldKEM()
	return nil
}

// noteOwnAck notes what this device has acknowledged, in a large group.
func (e *Engine) noteOwnAck(ids []protocol.ItemID) {
	k := &e.keyset
	if !e.apart() {
		return
	}
	if k.acked == nil || len(k.acked) >= maxUseless {
		k.acked = map[protocol.ItemID]bool{}
	}
	for _, id := range ids {
		k.acked[id] = true
	}
}

func (e *Engine) dropOldKEM() {
	late := e.lateFrom()
	keep := e.private[:0]
	for i, k := range e.private {
		newest := i == len(e.private)-1
		old := late != 0 && k.used != 0 && e.now >= max(late, k.used+e.kemLife()) && e.mayShred()
		if !newest && !k.gone && (old || e.allUseNewer(i)) {
			k.gone, k.kem = true, epoch.KEMPrivate{}
			e.putKEM(&k)
			e.cutLog()
		}
		if k.gone && !e.laneListed(k.public) {
			e.erase(tableKEM, numberKey(k.counter))
			continue
		}
		keep = append(keep, k)
	}
	e.private = keep
}

// touchFor is how long a member has been connected before this device counts
// as up to date with what the group sealed to it.
var touchFor = Seconds(600)

// aloneFor is how long a member has been connected before the only organiser's
// device gives up a key that it used: what authors issued while it was off came.
var aloneFor = Seconds(120)

// lateFrom is when this device counts as up to date: a member has been connected
// for a while then. 0: none is connected. Time offline is added to the life of a
// key: the boxes that were made meanwhile are for it.
func (e *Engine) lateFrom() (at Time) {
	for _, p := range e.peers {
		if p.class == ClassMember && !p.old && (at == 0 || p.since+touchFor < at) {
			at = p.since + touchFor
		}
	}
	return at
}

// kemLife is how long an old key is kept after it opened something, at most.
func (e *Engine) kemLife() Time { return days(e.byRisk(kemKeyDays, kemKeyDaysRisk)) }

// nextKEM is when the next old key is due at the latest. 0: none is, or nobody is
// connected.
func (e *Engine) nextKEM() (next Time) {
	late := e.lateFrom()
	if late == 0 {
		return 0
	}
	for _, k := range e.private[:max(len(e.private)-1, 0)] {
		if at := max(late, k.used+e.kemLife()); k.used != 0 && !k.gone && (next == 0 || at < next) {
			next = at
		}
	}
	return next
}

// laneListed says whether an epoch whose keys are held has the lane.
func (e *Engine) laneListed(lane protocol.LanePublic) bool {
	for _, s := range e.byGen {
		if s.keys != nil && slices.Contains(s.header.Core.Lanes, lane) {
			return true
		}
	}
	return false
}

// allUseNewer says whether every organiser's device that is active has said that
// it holds a key newer than key i, which was used. Who seems idle to a device that
// was away may not be. Where there is no other organiser, authors may have renewed
// the keys with what they knew while this device was away.
func (e *Engine) allUseNewer(i int) bool {
	if e.private[i].used == 0 {
		return false
	}
	late := e.lateFrom()
	inTouch := late != 0 && e.now >= late
	alone := true
	for _, m := range e.log.Resolve().Members() {
		if m.Role != group.Organiser {
			continue
		}
		for _, d := range m.Devices {
			if d.ID == e.self.deviceID {
				continue
			}
			alone = false
			knows := slices.ContainsFunc(e.private[i+1:], func(k kemKey) bool { return slices.Contains(k.ackedBy, d.ID) })
			if !knows && (!inTouch || e.isActive(d.ID)) {
				return false
			}
		}
	}
	return !alone || late != 0 && e.now >= late-touchFor+aloneFor
}
