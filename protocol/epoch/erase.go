package epoch

import "github.com/palabre-app/palabre/identity"

// EraseOrg forgets the organisers' secret, for a device that is no operating
// device any more. It changes the base record.
func (k *Keys) EraseOrg() { k.org, k.hasOrg = [32]byte{}, false }

// EraseSkipped forgets the keys of a device's messages that were passed over, and
// returns how many they were: what comes of those messages later is a replay. It
// changes the chain's record. Nothing but the caller decides that they are not
// awaited any more: as long as the epoch is kept they are, unless a cut-off says so.
func (k *Keys) EraseSkipped(d identity.DeviceID) int {
	c := k.chains[d]
	if c == nil {
		return 0
	}
	n := len(c.skipped)
	clear(c.skipped)
	return n
}
