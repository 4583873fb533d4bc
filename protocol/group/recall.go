package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// maxPastKeys is how many older keys of a device are known by their names in small
// groups: a box of an epoch that comes late is for one of them, however many the
// device told since. More than its share of an epoch can hold.
const maxPastKeys = 1_024

// pastKey is what is known of a key that is not kept any more.
type pastKey struct {
	counter uint64
	id      protocol.ItemID
	ref     protocol.KEMRef
	heal    bool
}

// Older returns the kept frames of a device that are older than those of Frames,
// ascending, of which a condition holds: keys to which epochs were sealed that are
// still in use.
func (k *KeyRing) Older(d identity.DeviceID, is func(DeviceKeys) bool) []protocol.Frame {
	r := k.rows[d]
	if r == nil {
		return nil
	}
	var out []protocol.Frame
	for _, f := range r.kept[:len(r.kept)-len(r.recent())] {
		if f.Counter > 0 && is(f.DeviceKeys) {
			out = append(out, f.frame)
		}
	}
	return out
}

// Recall takes older updates of devices that are not kept, so that Refs
// names them too: whoever came later audits with them the epochs that it is handed.
// No box is sealed to them, and a Restore does not know of them. Those that are
// malformed or falsely signed are passed over; of too many the last stay.
func (k *KeyRing) Recall(frames []protocol.Frame) {
	for _, f := range frames {
		u, err := ParseKeyUpdate(f)
		r := k.rows[f.Device]
		if err != nil || r == nil || u.Counter > r.newest().Counter || !f.Verify(k.id, r.key) {
			continue
		}
		known := slices.ContainsFunc(k.All(f.Device), func(o DeviceKeys) bool { return o.Counter == u.Counter }) ||
			slices.ContainsFunc(r.past, func(p pastKey) bool { return p.counter == u.Counter })
		if !known {
			r.pass(DeviceKeys{Counter: u.Counter, ID: f.ID(k.id), KEM: u.KEM})
		}
	}
}

// pass keeps the name of a key that is not kept any more.
func (r *row) pass(k DeviceKeys) {
	r.past = append(r.past[max(0, len(r.past)+1-maxPastKeys):], pastKey{k.Counter, k.ID, k.KEM.Ref(), k.Heal})
}

// Refs names all keys that are known of a device, those that are not kept any more
// too: what a box of an epoch may be sealed to.
func (k *KeyRing) Refs(d identity.DeviceID) []protocol.KEMRef {
	var out []protocol.KEMRef
	for _, f := range k.All(d) {
		out = append(out, f.KEM.Ref())
	}
	if r := k.rows[d]; r != nil {
		for _, p := range r.past {
			out = append(out, p.ref)
		}
	}
	return out
}
