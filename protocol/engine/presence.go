package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of presence items (group keys section 6.3).
const (
	maxPresenceAddrs = 8
	presenceSeconds  = 48 * 3600
	// at high risk
	presenceSecondsRisk = 24 * 3600
	presencePerDay      = 4
)

// Addresses tells the engine where this device can be dialled now. It becomes a
// presence item for the members when it differs from what they were told.
type Addresses struct{ List []string }

func (Addresses) input() {}

// presenceBody is the body of a presence frame: addresses only, no peer ID (spec 65
// section 12).
type presenceBody struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Addrs   []string
	Told    int64 // when, in Unix seconds; of one device no two have the same
}

// presence is what is known of where devices can be dialled.
type presence struct {
	own    []string
	told   []string // what the members were told last
	at     int64    // and when
	day    protocol.Day
	count  int // items on that day
	others map[identity.DeviceID]presenceBody
}

// tellPresence announces the own addresses if they changed or run out.
func (e *Engine) tellPresence() error {
	a := &e.addresses
	if e.join != nil || e.frozen || len(a.own) == 0 || e.sending == (protocol.EpochID{}) || !e.log.Resolve().IsMember(e.self.memberID) {
		return nil
	}
	// What was told goes with its day, everywhere: it is told anew each day.
	if slices.Equal(a.own, a.told) && protocol.DayOf(a.at) == e.now.Day() {
		return nil
	}
	if today := e.now.Day(); a.day != today {
		a.day, a.count = today, 0
	}
	if a.count >= presencePerDay {
		return nil
	}
	a.count++
	at := e.now.Unix()
	if at <= a.at && a.at <= at+protocol.DaySeconds { // further ahead nobody takes it
		at = a.at + 1
	}
	a.told, a.at = a.own, at
	gone := e.now.Day() + protocol.Day(e.byRisk(presenceDays, presenceDaysRisk))
	body := wire.Marshal(presenceBody{Version: protocol.Version, Addrs: a.told, Told: at})
	e.put(tableMeta, keyAddresses, body, gone)
	f := protocol.SignFrame(e.id, protocol.KindPresence, e.self.device, body)
	return e.sealFrame(e.sending, e.now.Day(), f, gone)
}

func (e *Engine) loadAddresses(b []byte) error {
	var p presenceBody
	if err := wire.Unmarshal(b, protocol.RoomSmall, &p); err != nil {
		return err
	}
	e.addresses.told, e.addresses.at = p.Addrs, p.Told
	return nil
}

// parsePresence decodes a presence item.
func parsePresence(b []byte) (presenceBody, bool) {
	var p presenceBody
	if err := wire.Unmarshal(b, protocol.RoomSmall, &p); err != nil || p.Version != protocol.Version ||
		len(p.Addrs) > maxPresenceAddrs {
		return presenceBody{}, false
	}
	for _, a := range p.Addrs {
		if a == "" || len(a) > protocol.MaxAddress {
			return presenceBody{}, false
		}
	}
	return p, true
}

func (e *Engine) applyPresence(f protocol.Frame) (protocol.Verdict, error) {
	if v, err := e.checkSigned(f); v != protocol.Accept || err != nil {
		return v, err
	}
	p, ok := parsePresence(f.Body)
	if !ok {
		return protocol.Reject, nil
	}
	if p.Told > e.now.Unix()+protocol.DaySeconds || e.presenceOver(p) {
		return protocol.Ignore, nil
	}
	e.signed(f.Device, e.now)
	e.witness(f.Device, p.Told)
	e.notePresence(f.Device, p)
	return protocol.Accept, nil
}

// presenceOver says whether addresses are too old to be dialled.
func (e *Engine) presenceOver(p presenceBody) bool {
	return p.Told+e.byRisk(presenceSeconds, presenceSecondsRisk) <= e.now.Unix()
}

// notePresence keeps of a device what it told last, in whatever order it comes.
func (e *Engine) notePresence(d identity.DeviceID, p presenceBody) {
	if e.addresses.others == nil {
		e.addresses.others = map[identity.DeviceID]presenceBody{}
	}
	if old, ok := e.addresses.others[d]; ok && old.Told >= p.Told {
		return
	}
	e.addresses.others[d] = p
	if d != e.self.deviceID {
		e.deliver(Event{Kind: EventAddresses})
	}
}

// PeerAddresses lists where other members' devices were last to be dialled, the
// addresses of one device together.
func (e *Engine) PeerAddresses() [][]string {
	if e.join != nil {
		return nil
	}
	var list [][]string
	for _, m := range e.log.Resolve().Members() {
		for _, d := range m.Devices {
			p, ok := e.addresses.others[d.ID]
			if ok && d.ID != e.self.deviceID && !e.presenceOver(p) && len(p.Addrs) > 0 {
				list = append(list, p.Addrs)
			}
		}
	}
	return list
}
