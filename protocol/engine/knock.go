package engine

import (
	"github.com/palabre-app/palabre/protocol/wire"
)

// A device that was removed closes its doors. Because the organisers may take the
// removal back, it knocks for a while, ever so often: whoever has it in the group
// again answers, and all others are silent (spec 46 section 6).

// Times of knocking.
var (
	knockFor   = Seconds(600)       // each time
	knockFirst = Seconds(4 * 3600)  // between two, on the first day
	knockThen  = Seconds(20 * 3600) // and after it: less than a day, for a phone that is on at one hour only
)

// knockDays is after how many days it is given up.
const knockDays = 30

// knock is what a device that is out remembers.
type knock struct {
	_     struct{} `cbor:",toarray"`
	Out   int64    // Time at which it learnt so; 0: it is in
	Next  int64    // Time at which it knocks next
	Left  bool     // by its own will: it does not come back
	until Time     // when it ceases to knock; 0: it does not now
}

func (e *Engine) putKnock() { e.put(tableMeta, keyOut, wire.Marshal(e.knock), 0) }

func (e *Engine) loadKnock(b []byte) error { return wire.Unmarshal(b, 64, &e.knock) }

// tickKnock opens and closes the door of a device that is out.
func (e *Engine) tickKnock() {
	k := &e.knock
	switch in := e.log.Resolve().IsMember(e.self.memberID); {
	case in && k.Out == 0:
		return
	case in:
		*k = knock{}
		e.erase(tableMeta, keyOut)
		e.gateStale = true
		return
	case k.Out == 0:
		k.Out, k.Next = int64(e.now), int64(e.now+knockFirst)
		e.putKnock()
	}
	if k.until != 0 && e.now >= k.until {
		k.until, e.gateStale = 0, true
	}
	if k.Left || e.now < Time(k.Next) || e.now >= Time(k.Out)+days(knockDays) {
		return
	}
	pause := knockThen
	if e.now < Time(k.Out)+days(1) {
		pause = knockFirst
	}
	k.Next, k.until = int64(e.now+pause), e.now+knockFor
	e.putKnock()
	e.gateStale = true
}

// reviveKeys reads the stored keys again when somebody came back who was out: a
// ring that was loaded meanwhile has of their devices none after the package.
func (e *Engine) reviveKeys() (bool, error) {
	if !e.revive {
		return false, nil
	}
	e.revive = false
	e.version++
	return true, e.loadKeyFrames()
}

// nextKnock is when the door opens or closes next; 0: never.
func (e *Engine) nextKnock() Time {
	switch k := &e.knock; {
	case k.Out == 0:
		return 0
	case k.until != 0:
		return k.until
	case k.Left || max(e.now, Time(k.Next)) >= Time(k.Out)+days(knockDays):
		return 0
	default:
		return Time(k.Next)
	}
}

// knockKeys adds to a gate what a device that is out knocks with: its newest net
// keys and its rescue keys. The other side has to sign as well.
func (e *Engine) knockKeys(g *Gate) {
	if e.knock.until == 0 {
		return
	}
	g.Knocks = true
	for _, s := range e.keptByUse() {
		if len(g.Dial) < maxDialRescue {
			g.Dial = append(g.Dial, GateKey{Secret: s.keys.Net().Seed(), Class: ClassCatchUp, Tag: s.header.ID()})
		}
	}
	g.Dial = append(g.Dial, e.ownRescueKeys()...)
	e.admitRoster(g)
}
