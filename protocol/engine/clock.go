package engine

import (
	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// A phone whose clock jumps ahead must not shred what has not expired. After a
// jump of more than a day nothing is shredded until other devices of the group
// date what they write within a day of this clock: two of them, or as many as
// there are (spec 65 section 8). A phone that was off for a week jumps as well,
// and shreds as soon as it hears from others.

// clockAgrees is how far from this clock, in seconds, another device's date may be.
const clockAgrees = protocol.DaySeconds

// clockWitnesses is how many other devices must agree after a jump.
const clockWitnesses = 2

// clock is what is known of the time by other ways than the own clock.
type clock struct {
	trusted protocol.Day // the last day on which shredding was in order
	doubt   bool         // a jump is not confirmed
	dates   map[identity.DeviceID]int64
}

// witness takes note of the date, in unix seconds, that another device gave to
// something that it wrote.
func (e *Engine) witness(d identity.DeviceID, at int64) {
	if d == e.self.deviceID {
		return
	}
	if e.clock.dates == nil {
		e.clock.dates = map[identity.DeviceID]int64{}
	}
	e.clock.dates[d] = max(e.clock.dates[d], at)
}

// doubtClock asks the others for the time again after a jump of the own clock:
// what they said before was compared with the clock as it was.
func (e *Engine) doubtClock() {
	if e.clock.doubt || !e.jumped() {
		return
	}
	e.clock.doubt = true
	for _, p := range e.sortedPeers() {
		if p.class == ClassMember && !p.old {
			p.told = false
			e.tellClock(p)
		}
	}
}

func (e *Engine) jumped() bool {
	return e.clock.trusted != 0 && e.now.Day() > e.clock.trusted+1
}

// mayShred says whether the clock can be trusted with what cannot be undone.
func (e *Engine) mayShred() bool {
	if !e.jumped() {
		return true
	}
	others, agree := 0, 0
	for _, m := range e.log.Resolve().Members() {
		for _, d := range m.Devices {
			if d.ID == e.self.deviceID {
				continue
			}
			others++
			if at, ok := e.clock.dates[d.ID]; ok && near(at-e.now.Unix()) {
				agree++
			}
		}
	}
	links := 0
	for _, p := range e.peers {
		if p.told && near(p.clock) {
			links++
		}
	}
	return max(agree, links) >= min(clockWitnesses, others)
}

func near(difference int64) bool { return difference >= -clockAgrees && difference <= clockAgrees }

// tellClock tells a proven member the time of this clock.
func (e *Engine) tellClock(p *peer) {
	p.toldAt = e.now
	e.send(p, msgClock, wire.Marshal(e.now.Unix()))
}

// tellAgain is how long a told time stands before it is told again in answer.
var tellAgain = Seconds(60)

func (e *Engine) onClock(p *peer, body []byte) bool {
	var at int64
	if err := wire.Unmarshal(body, 9, &at); err != nil {
		return false
	}
	if p.class == ClassMember && !p.old {
		p.told, p.clock = true, at-e.now.Unix()
		if e.now < p.toldAt || e.now >= p.toldAt+tellAgain {
			e.tellClock(p)
		}
	}
	return true
}

// trustClock makes today the day up to which the clock was in order.
func (e *Engine) trustClock() {
	e.clock.doubt = false
	if today := e.now.Day(); today > e.clock.trusted {
		e.clock.trusted = today
		e.put(tableMeta, keyClock, wire.Marshal(today), 0)
	}
}

func (e *Engine) loadClock(b []byte) error { return wire.Unmarshal(b, 8, &e.clock.trusted) }
