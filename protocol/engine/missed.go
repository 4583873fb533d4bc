package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Who was away for longer than superseded epochs are kept opens all headers, and finds
// nobody who holds what was said meanwhile. Others show it all the same. So who lacks
// messages that nobody gives tells the organisers, who hand them over (spec 46 section 14).

// cutoff is up to where the messages of a device count; nil: all do.
func cutoff(r *group.Roster, d identity.DeviceID) *group.Cutoff {
	if cut, ok := r.Cutoff(d); ok {
		return &cut
	}
	return nil
}

// askedFor is what this device asked for last.
type askedFor struct {
	digest [32]byte
	day    protocol.Day
}

// askForMissed asks the organisers for messages that were missing all the time that others
// were here. The same is asked for once, and something else once a day.
func (e *Engine) askForMissed() error {
	if len(e.wants) > 0 || e.frozen || e.Waiting() || e.now.Day() == e.sought.day || !e.canSign() || !e.log.Resolve().IsMember(e.self.memberID) {
		return nil
	}
	x := e.lacking()
	if len(x.Runs) == 0 {
		return nil
	}
	digest := sha256.Sum256(wire.Marshal(x.Runs))
	if digest == e.sought.digest {
		return nil
	}
	e.sought = askedFor{digest, e.now.Day()}
	e.put(tableMeta, keyMissed, binary.BigEndian.AppendUint32(digest[:], e.sought.day), 0)
	return e.tellOrganisers(x)
}

func (e *Engine) loadMissed(b []byte) error {
	if len(b) != 36 {
		return errors.New("malformed row of what was asked for")
	}
	e.sought = askedFor{[32]byte(b), binary.BigEndian.Uint32(b[32:])}
	return nil
}

// lacking lists what is missing of the messages of others, as much as an item holds.
func (e *Engine) lacking() (x epoch.MissedItem) {
	r := e.log.Resolve()
	for _, d := range sortedDevices(e.chains) {
		if d == e.self.deviceID {
			continue
		}
		for _, g := range e.chains[d].gaps(cutoff(r, d)) {
			if len(x.Runs) < epoch.MaxMissed {
				x.Runs = append(x.Runs, epoch.MissedRun{Device: d, From: g.from, To: g.to})
			}
		}
	}
	return x
}

// noteMissed takes note of a device that lacks messages.
func (e *Engine) noteMissed(d identity.DeviceID, x epoch.MissedItem) {
	if _, in := e.log.Resolve().MemberOfDevice(d); !in || !e.organises() {
		return
	}
	if e.repair.missed == nil {
		e.repair.missed = map[identity.DeviceID]epoch.MissedItem{}
	}
	e.repair.missed[d] = x
	e.version++
}

// lackingOnes lists devices that asked for messages of which some are held here, and
// that read the sending epoch.
func (e *Engine) lackingOnes(s *epochState) (list []identity.DeviceID) {
	for _, d := range sortedDevices(e.repair.missed) {
		x := e.repair.missed[d]
		if !e.given(s, d) && !s.keys.HasChain(d) {
			continue
		}
		for _, it := range e.items {
			if x.Has(it.device, it.seq) && e.meantFor(it.content, d) {
				list = append(list, d)
				break
			}
		}
	}
	return slices.Clip(list)
}
