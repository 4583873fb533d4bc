package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

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
