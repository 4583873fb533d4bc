package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// A rescue seed is what a device and the organisers share beside the epochs: with
// it they find one another when no epoch that the device holds is kept by
// anybody (spec 46 section 4). Each device tells its own to the operating
// devices, and draws another one when these are others.

// For how long an older seed is still served, and the seeds of a device that is
// out are kept, because its removal may be undone: in days, standard and at high
// risk.
const (
	seedDays     = 30
	seedDaysRisk = 7
	// The own ones while an organiser's device may not have heard of the newest.
	ownSeedDays     = 90
	ownSeedDaysRisk = 30
)

// maxSeeds is how many seeds of one device are kept, the newest.
const maxSeeds = 4

// seed is one rescue seed of a device.
type seed struct {
	counter uint64
	secret  epoch.RescueSeed
	over    Time             // since when a newer one counts, or the device is out; 0: it is in force
	told    protocol.EpochID // own: the epoch in which it was told last
	to      []identity.DeviceID
	box     *epoch.Mailbox
	looked  uint64 // version as of which needed is known
	needed  bool   // see stillKnownBy
}

// seedRecord is its stored form.
type seedRecord struct {
	_      struct{} `cbor:",toarray"`
	Secret [32]byte
	Over   int64
	Told   protocol.EpochID
	To     []identity.DeviceID
}

// seedWatch is the roster that the seeds were last looked through for.
type seedWatch struct {
	roster   *group.Roster
	operated bool // this device may hold what others told the organisers
}

func newSeed(counter uint64, secret epoch.RescueSeed) *seed {
	return &seed{counter: counter, secret: secret, box: epoch.RescueMailbox(secret)}
}

// key is the key of the gate that the seed gives.
func (s *seed) key() [32]byte { return s.secret.Derive(label.GateRescue) }

// tag names the seed at the gate: the address of its mailbox.
func (s *seed) tag() [32]byte { return s.box.Address() }

func seedKey(d identity.DeviceID, counter uint64) []byte {
	return binary.BigEndian.AppendUint64(d[:], counter)
}

func (e *Engine) putSeed(d identity.DeviceID, s *seed) {
	e.put(tableSeeds, seedKey(d, s.counter), wire.Marshal(seedRecord{Secret: s.secret.Seed(), Over: int64(s.over), Told: s.told, To: s.to}), 0)
}

func (e *Engine) loadSeed(key, value []byte) error {
	var r seedRecord
	if err := wire.Unmarshal(value, 4_096, &r); err != nil || len(key) != 24 {
		return errors.Join(err, errors.New("malformed row of a rescue seed"))
	}
	d := identity.DeviceID(key[:16])
	s := newSeed(binary.BigEndian.Uint64(key[16:]), epoch.RescueSeedFromBytes(r.Secret))
	s.over, s.told, s.to = Time(r.Over), r.Told, r.To
	e.seeds[d] = append(e.seeds[d], s)
	return nil
}

// newestSeed returns the seed of a device with the highest counter, or nil.
func (e *Engine) newestSeed(d identity.DeviceID) *seed {
	list := e.seeds[d]
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// addSeed keeps a seed. Those before it are over.
func (e *Engine) addSeed(d identity.DeviceID, item epoch.RescueItem) {
	if newest := e.newestSeed(d); newest != nil && newest.counter >= item.Counter {
		return
	}
	for _, s := range e.seeds[d] {
		if s.over == 0 {
			s.over = e.now
			e.putSeed(d, s)
		}
	}
	s := newSeed(item.Counter, item.Seed)
	e.seeds[d] = append(e.seeds[d], s)
	e.putSeed(d, s)
	for len(e.seeds[d]) > maxSeeds {
		e.dropSeed(d, e.seeds[d][0])
	}
	e.gateStale = true
}

// takeSeed keeps what a device of the group told the organisers.
func (e *Engine) takeSeed(d identity.DeviceID, item epoch.RescueItem) {
	if _, ok := e.log.Resolve().MemberOfDevice(d); ok {
		e.addSeed(d, item)
	}
}

func (e *Engine) dropSeed(d identity.DeviceID, s *seed) {
	e.seeds[d] = slices.DeleteFunc(e.seeds[d], func(x *seed) bool { return x == s })
	if len(e.seeds[d]) == 0 {
		delete(e.seeds, d)
	}
	e.erase(tableSeeds, seedKey(d, s.counter))
	e.gateStale = true
	e.cutLog()
}

func (e *Engine) seedDevices() []identity.DeviceID {
	return slices.SortedFunc(maps.Keys(e.seeds), compareDevices)
}

// tendSeeds keeps the seeds in step with who is in the group and who organises it,
// and tells the organisers the own one when that is due.
func (e *Engine) tendSeeds() (bool, error) {
	if e.newestSeed(e.self.deviceID) == nil {
		e.addSeed(e.self.deviceID, epoch.RescueItem{Counter: 1, Seed: epoch.RescueSeedFromBytes(e.self.rescue)})
		e.self.rescue = [32]byte{} // from now on it is a row that can be erased
		e.putSelf()
	}
	e.followSeeds()
	return false, e.tellSeed()
}

// followSeeds starts the time of the seeds of devices that are out, ends it for
// those that are back, and erases all but the own ones where this device has
// ceased to act for an organiser.
func (e *Engine) followSeeds() {
	r := e.log.Resolve()
	if e.seedsFor.roster == r {
		return
	}
	e.seedsFor.roster = r
	operates := r.IsOrganiser(e.self.deviceID)
	for _, d := range e.seedDevices() {
		if d == e.self.deviceID {
			continue
		}
		if !operates && e.seedsFor.operated {
			for _, s := range slices.Clone(e.seeds[d]) {
				e.dropSeed(d, s)
			}
			continue
		}
		newest := e.newestSeed(d)
		_, in := r.MemberOfDevice(d)
		if in == (newest.over == 0) {
			continue
		}
		newest.over = 0
		if !in {
			newest.over = e.now
		}
		e.putSeed(d, newest)
		e.gateStale = true
	}
	e.seedsFor.operated = operates
}

// audience lists the operating devices that open the inbox of an epoch, but for
// this one: as of the epoch, because those are who got its secret.
func (e *Engine) audience(s *epochState) []identity.DeviceID {
	then, ok := e.log.At(s.header.Core.GovHeads)
	if !ok {
		return nil
	}
	list := slices.Clone(then.Operators())
	return slices.DeleteFunc(list, func(d identity.DeviceID) bool { return d == e.self.deviceID })
}

// tellSeed tells the organisers the own seed: a new one if they are others than
// those who know the last, and the same again when the epoch in which it was told
// is gone, so that an organiser who was away finds it as well.
func (e *Engine) tellSeed() error {
	s := e.epochs[e.sending]
	if s == nil || s.keys == nil || e.frozen || !e.log.Resolve().IsMember(e.self.memberID) {
		return nil
	}
	to := e.audience(s)
	own := e.newestSeed(e.self.deviceID)
	same := slices.Equal(own.to, to)
	if told := e.epochs[own.told]; len(to) == 0 || same && told != nil && told.keys != nil {
		return nil
	}
	if !same && own.told != (protocol.EpochID{}) {
		secret, err := epoch.NewRescueSeed(e.cfg.Random)
		if err != nil {
			return err
		}
		e.addSeed(e.self.deviceID, epoch.RescueItem{Counter: own.counter + 1, Seed: secret})
		own = e.newestSeed(e.self.deviceID)
	}
	own.told, own.to = e.sending, to
	e.putSeed(e.self.deviceID, own)
	return e.tellOrganisers(epoch.RescueItem{Counter: own.counter, Seed: own.secret})
}

// seedOver is when a seed that is over is erased.
func (e *Engine) seedOver(d identity.DeviceID, s *seed) Time {
	if d == e.self.deviceID && e.stillKnownBy(s) {
		return s.over + days(e.byRisk(ownSeedDays, ownSeedDaysRisk))
	}
	return s.over + days(e.byRisk(seedDays, seedDaysRisk))
}

// stillKnownBy says whether somebody who was told an own seed is not known to have
// opened the epoch in which the newest was told: he knows this device by no other.
func (e *Engine) stillKnownBy(s *seed) bool {
	if s.looked != e.version {
		told := e.epochs[e.newestSeed(e.self.deviceID).told]
		s.looked, s.needed = e.version, slices.ContainsFunc(s.to, func(x identity.DeviceID) bool {
			return e.log.Resolve().IsOrganiser(x) && (told == nil || told.keys == nil || !e.opened(told, x))
		})
	}
	return s.needed
}

// nextSeed is when the next seed is to be erased; 0: none is.
func (e *Engine) nextSeed() (next Time) {
	for d, list := range e.seeds {
		for _, s := range list {
			if s.over == 0 {
				continue
			}
			if at := e.seedOver(d, s); next == 0 || at < next {
				next = at
			}
		}
	}
	return next
}

// eraseOldSeeds erases the seeds that were over for long enough.
func (e *Engine) eraseOldSeeds() {
	for _, d := range e.seedDevices() {
		for _, s := range slices.Clone(e.seeds[d]) {
			if s.over != 0 && e.now >= e.seedOver(d, s) {
				e.dropSeed(d, s)
			}
		}
	}
}

// seedOf finds the seed that a tag names, and whose it is.
func (e *Engine) seedOf(tag [32]byte) (identity.DeviceID, *seed) {
	for _, d := range e.seedDevices() {
		for _, s := range e.seeds[d] {
			if t := s.tag(); bytes.Equal(t[:], tag[:]) {
				return d, s
			}
		}
	}
	return identity.DeviceID{}, nil
}
