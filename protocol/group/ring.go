package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Bounds of a KeyRing.
const (
	MaxKeptKeys   = 3   // newest keys of a device that Frames hands over
	maxAuditKeys  = 16  // newest keys of a device kept in small groups
	MaxHeldKeys   = 8   // key updates of a device that wait for the one before
	MaxUnnamed    = 256 // key packages that no operation names yet
	maxSeenKeys   = 64  // counters behind the newest for which a second update is noticed
	maxAlternates = 8   // second updates of a device kept for audits
)

// DeviceKeys are the public keys of a device as of one counter.
type DeviceKeys struct {
	Counter uint64
	ID      protocol.ItemID // of the frame; for a founder's counter 0 the group id
	KEM     protocol.KEMPublic
	Lane    protocol.LanePublic
	Heal    bool
}

// KeyRing holds, for each device, the keys to which boxes are sealed: a row that
// starts with the key package that an AddMember names, or with the Genesis, and
// in which each key update names the one before. Updates are missed where a device
// had no part in the epochs in which they were told: MaxKeptKeys of them that name
// one another carry the row on, because no more is kept of a device. It is owned
// by one goroutine.
type KeyRing struct {
	id      protocol.GroupID
	rows    map[identity.DeviceID]*row
	unnamed map[protocol.ItemID]keyFrame // packages
	named   map[identity.DeviceID]naming
}

type keyFrame struct {
	DeviceKeys
	frame protocol.Frame
	prev  protocol.ItemID
	key   identity.DevicePublic
}

// naming is a key package as an AddMember names it, and the device it certifies.
type naming struct {
	id  protocol.ItemID
	key identity.DevicePublic
}

// row is the keys of one device.
type row struct {
	key        identity.DevicePublic
	kept       []keyFrame // ascending; the last is the newest
	past       []pastKey  // older than kept, for audits alone: as they came
	root       *protocol.Frame
	seen       map[uint64]protocol.ItemID // accepted or held, within maxSeenKeys
	held       map[uint64]keyFrame
	alternates []keyFrame
	flagged    bool
}

// NewKeyRing starts a ring with the founders' keys. Follow must be called with
// the roster whenever it changes.
func NewKeyRing(g Genesis) *KeyRing {
	k := &KeyRing{
		id: g.ID(), rows: map[identity.DeviceID]*row{},
		unnamed: map[protocol.ItemID]keyFrame{}, named: map[identity.DeviceID]naming{},
	}
	for _, o := range g.Organisers {
		k.rows[o.Cert.Device.ID()] = newRow(keyFrame{
			DeviceKeys: DeviceKeys{ID: protocol.ItemID(k.id), KEM: o.KEM, Lane: o.Lane}, key: o.Cert.Device,
		})
	}
	return k
}

func newRow(first keyFrame) *row {
	return &row{
		key: first.key, kept: []keyFrame{first},
		seen: map[uint64]protocol.ItemID{first.Counter: first.ID},
		held: map[uint64]keyFrame{},
	}
}

// Follow takes note of the key packages that the roster names: only these
// start a row. It returns the ids of packages that waited and now count. Rows of
// devices that left stay, for audits of older epochs.
func (k *KeyRing) Follow(r *Roster) []protocol.ItemID {
	var out []protocol.ItemID
	for _, m := range r.list {
		for _, d := range m.Devices {
			if d.KeyPackage == (protocol.ItemID{}) {
				continue
			}
			k.named[d.ID] = naming{d.KeyPackage, d.Public}
			f, ok := k.unnamed[d.KeyPackage]
			if !ok || f.key != d.Public {
				continue
			}
			delete(k.unnamed, d.KeyPackage)
			k.start(d.ID, f)
			out = append(out, d.KeyPackage)
		}
	}
	return protocol.SortIDs(out)
}

func (k *KeyRing) start(d identity.DeviceID, f keyFrame) {
	k.rows[d] = newRow(f)
	k.rows[d].root = &f.frame
}

// Add takes a KeyPackage or KeyUpdate frame. Accept: the ring keeps it, also if
// it waits for another or is the second for one counter, which flags the
// device; make it durable. Ignore: known, older than what is kept, or it cannot
// be judged yet; it may be offered again after Follow. Reject: malformed or
// falsely signed.
func (k *KeyRing) Add(f protocol.Frame) protocol.Verdict {
	switch f.Kind {
	case protocol.KindKeyPackage:
		return k.addPackage(f)
	case protocol.KindKeyUpdate:
		return k.addUpdate(f, false)
	}
	return protocol.Reject
}

// Restore takes frames that this device had accepted before, or that a Welcome
// or an organiser's device brought, in any order. Of each device the oldest update
// may lack the one before it, which was pruned. Call Follow first. It returns how many count.
func (k *KeyRing) Restore(frames []protocol.Frame) int {
	type counted struct {
		f       protocol.Frame
		counter uint64
	}
	var list []counted
	for _, f := range frames {
		switch f.Kind {
		case protocol.KindKeyPackage:
			list = append(list, counted{f, 0})
		case protocol.KindKeyUpdate:
			if u, err := ParseKeyUpdate(f); err == nil {
				list = append(list, counted{f, u.Counter})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b counted) int { return cmp.Compare(a.counter, b.counter) })
	n := 0
	anchored := map[identity.DeviceID]bool{}
	for _, c := range list {
		v := protocol.Ignore
		if c.counter == 0 {
			v = k.addPackage(c.f)
		} else {
			v = k.addUpdate(c.f, !anchored[c.f.Device])
			anchored[c.f.Device] = true
		}
		if v == protocol.Accept {
			n++
		}
	}
	return n
}

func (k *KeyRing) addPackage(f protocol.Frame) protocol.Verdict {
	p, err := ParseKeyPackage(k.id, f)
	if err != nil {
		return protocol.Reject
	}
	id := f.ID(k.id)
	if row := k.rows[f.Device]; row != nil && row.seen[0] == id {
		return protocol.Ignore
	}
	kf := keyFrame{DeviceKeys: DeviceKeys{ID: id, KEM: p.KEM, Lane: p.Lane}, frame: f, key: p.Cert.Device}
	if k.named[f.Device] == (naming{id, kf.key}) {
		k.start(f.Device, kf)
		return protocol.Accept
	}
	if _, ok := k.unnamed[id]; ok || len(k.unnamed) >= MaxUnnamed {
		return protocol.Ignore
	}
	k.unnamed[id] = kf
	return protocol.Accept
}

func (k *KeyRing) addUpdate(f protocol.Frame, anchor bool) protocol.Verdict {
	u, err := ParseKeyUpdate(f)
	if err != nil {
		return protocol.Reject
	}
	r := k.rows[f.Device]
	if r == nil {
		return protocol.Ignore
	}
	if !f.Verify(k.id, r.key) {
		return protocol.Reject
	}
	n := keyFrame{
		DeviceKeys: DeviceKeys{Counter: u.Counter, ID: f.ID(k.id), KEM: u.KEM, Lane: u.Lane, Heal: u.Heal},
		frame:      f, prev: u.Prev, key: r.key,
	}
	newest := r.newest()
	if id, ok := r.seen[u.Counter]; ok {
		if id != n.ID {
			return r.flag(n)
		}
		if _, waits := r.held[u.Counter]; !anchor || !waits {
			return protocol.Ignore
		}
	}
	switch {
	case u.Counter <= newest.Counter:
		return protocol.Ignore
	case anchor && u.Counter > newest.Counter+1:
		k.take(r, n)
	case u.Counter == newest.Counter+1:
		if u.Prev != newest.ID {
			return r.flag(n) // names another predecessor: a second row
		}
		k.take(r, n)
	case !r.hold(n):
		return protocol.Ignore
	case !k.skip(r):
		return protocol.Accept
	}
	for {
		next, ok := r.held[r.newest().Counter+1]
		if !ok {
			return protocol.Accept
		}
		delete(r.held, next.Counter)
		if next.prev != r.newest().ID {
			delete(r.seen, next.Counter)
			r.flag(next)
			return protocol.Accept
		}
		k.take(r, next)
	}
}

// hold keeps an update that the one before is missing of. Of too many the
// newest stay. False: this one is not among them.
func (r *row) hold(n keyFrame) bool {
	if len(r.held) >= MaxHeldKeys {
		oldest := slices.Min(slices.Collect(maps.Keys(r.held)))
		if n.Counter < oldest {
			return false
		}
		delete(r.held, oldest)
		delete(r.seen, oldest)
	}
	r.held[n.Counter], r.seen[n.Counter] = n, n.ID
	return true
}

// skip goes on with as many held updates in a row as are kept of a device: who
// has missed more than the others keep gets no others from anybody.
func (k *KeyRing) skip(r *row) bool {
	for _, c := range slices.Sorted(maps.Keys(r.held)) {
		run := []keyFrame{r.held[c]}
		for len(run) < MaxKeptKeys {
			next, ok := r.held[c+uint64(len(run))]
			if !ok || next.prev != run[len(run)-1].ID {
				break
			}
			run = append(run, next)
		}
		if len(run) == MaxKeptKeys {
			for _, n := range run {
				k.take(r, n)
			}
			r.seen[run[0].Counter-1] = run[0].prev // another one there is a second one
			return true
		}
	}
	return false
}

func (r *row) newest() keyFrame { return r.kept[len(r.kept)-1] }

// recent are the newest keys, which are handed over.
func (r *row) recent() []keyFrame { return r.kept[max(0, len(r.kept)-MaxKeptKeys):] }

// keep is how many keys of a device are kept. Where epochs are audited, those of a
// part of the group that was apart were sealed to keys that the device has
// replaced since.
func (k *KeyRing) keep() int {
	if len(k.rows) <= protocol.SmallGroup {
		return maxAuditKeys
	}
	return MaxKeptKeys
}

// take makes an update the newest of its row.
func (k *KeyRing) take(r *row, n keyFrame) {
	r.kept = append(r.kept, n)
	if over := len(r.kept) - k.keep(); over > 0 {
		if len(k.rows) <= protocol.SmallGroup {
			for _, f := range r.kept[:over] {
				r.pass(f.DeviceKeys)
			}
		}
		r.kept = slices.Delete(r.kept, 0, over)
	}
	r.seen[n.Counter] = n.ID
	for c := range r.seen {
		if c+maxSeenKeys < n.Counter && c != 0 {
			delete(r.seen, c)
		}
	}
	for c := range r.held {
		if c <= n.Counter {
			delete(r.held, c)
		}
	}
}

// flag keeps a second update for one counter: the device, or who copied it,
// said two things, and is boxed by neither until it enrols anew.
func (r *row) flag(n keyFrame) protocol.Verdict {
	known := slices.ContainsFunc(r.alternates, func(a keyFrame) bool { return a.ID == n.ID })
	if known || r.flagged && len(r.alternates) >= maxAlternates {
		return protocol.Ignore
	}
	r.flagged = true
	r.alternates = append(r.alternates, n)
	return protocol.Accept
}

// Newest returns the keys to which a box is sealed. False: none is held, or the
// device is flagged.
func (k *KeyRing) Newest(d identity.DeviceID) (DeviceKeys, bool) {
	r := k.rows[d]
	if r == nil || r.flagged {
		return DeviceKeys{}, false
	}
	return r.newest().DeviceKeys, true
}

// All returns the keys kept of a device, newest first, then those by which it
// was flagged.
func (k *KeyRing) All(d identity.DeviceID) []DeviceKeys {
	r := k.rows[d]
	if r == nil {
		return nil
	}
	out := make([]DeviceKeys, 0, len(r.kept)+len(r.alternates))
	for _, f := range slices.Backward(r.kept) {
		out = append(out, f.DeviceKeys)
	}
	for _, f := range r.alternates {
		out = append(out, f.DeviceKeys)
	}
	return out
}

// Flagged says whether the device signed two key updates for one counter, or
// one that names another predecessor.
func (k *KeyRing) Flagged(d identity.DeviceID) bool { r := k.rows[d]; return r != nil && r.flagged }

// Frames returns the newest MaxKeptKeys frames of a device in ascending order, the
// key package first, then those by which it was flagged: what Restore takes. There
// is none for a founder's counter 0.
func (k *KeyRing) Frames(d identity.DeviceID) []protocol.Frame {
	r := k.rows[d]
	if r == nil {
		return nil
	}
	var out []protocol.Frame
	if r.root != nil {
		out = append(out, *r.root)
	}
	for _, f := range r.recent() {
		if f.Counter > 0 {
			out = append(out, f.frame)
		}
	}
	for _, f := range r.alternates {
		out = append(out, f.frame)
	}
	return out
}

// OldestKept is the lowest counter whose keys are kept of a device: updates below
// it need not be stored.
func (k *KeyRing) OldestKept(d identity.DeviceID) uint64 {
	if r := k.rows[d]; r != nil {
		return r.kept[0].Counter
	}
	return 0
}

// Heals returns, sorted, the ids of the kept key updates that ask for a new epoch.
func (k *KeyRing) Heals() []protocol.ItemID {
	var out []protocol.ItemID
	for _, r := range k.rows {
		for _, f := range r.recent() {
			if f.Heal && !r.flagged {
				out = append(out, f.ID)
			}
		}
	}
	return protocol.SortIDs(out)
}

// HealBy returns the device whose key update of that id asks for a new epoch, also
// if it is not kept any more; false: none does, or the device is flagged.
func (k *KeyRing) HealBy(id protocol.ItemID) (identity.DeviceID, bool) {
	for d, r := range k.rows {
		if !r.flagged && (slices.ContainsFunc(r.kept, func(f keyFrame) bool { return f.Heal && f.ID == id }) ||
			slices.ContainsFunc(r.past, func(p pastKey) bool { return p.heal && p.id == id })) {
			return d, true
		}
	}
	return identity.DeviceID{}, false
}

// IsHeal says whether the id is among Heals.
func (k *KeyRing) IsHeal(id protocol.ItemID) bool {
	_, ok := slices.BinarySearchFunc(k.Heals(), id, func(a, b protocol.ItemID) int {
		return slices.Compare(a[:], b[:])
	})
	return ok
}
