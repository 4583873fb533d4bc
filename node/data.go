package node

import (
	"encoding/binary"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Bounds of what is kept about data (spec 90 section 8).
const (
	keepUse     = 35               // days
	saveUse     = 10 * time.Minute // what was counted is written down so often
	saveUseFrom = int64(512 << 10) // or when it is so many bytes
	minCap      = int64(1_000_000) // bytes a day
	maxCap      = int64(1e15)      //
	warnAt      = 80               // per cent of the cap
	maxUse      = int64(1) << 62   // of one number in a row
	maxUseRow   = 1 + 8*(1+1+8)    // bytes: a list of 8 numbers
)

// pollUse is how many bytes, about, one short visit may cost once the cap is reached.
var pollUse = int64(2_000_000)

var keyCap = []byte("cap")

// use is what went over the network on one day.
type use p2p.Totals

func (u *use) add(v p2p.Totals) {
	for i := range u {
		u[i].In += v[i].In
		u[i].Out += v[i].Out
	}
}

func (u *use) sum() (bytes int64) {
	for _, v := range u {
		bytes += v.In + v.Out
	}
	return bytes
}

// data is how many bytes this device spent, and how many it may. The owner has it,
// but for traffic.
type data struct {
	traffic p2p.Traffic
	counted p2p.Totals      // of traffic, so far
	days    map[uint32]*use // by the number of the day since 1970, in UTC
	unsaved int64           // bytes of today that are not on disk
	saved   time.Time
	cap     int64  // bytes a day; 0: none
	warned  uint32 // the day on which watchers were told last that most is used up
	over    uint32 // and that all is
}

// dayOf is the number of a day, since 1970.
func dayOf(t time.Time) uint32 { return uint32(max(0, t.Unix()) / 86_400) }

// endOf is when a day is over.
func endOf(day uint32) time.Time { return time.Unix((int64(day)+1)*86_400, 0).UTC() }

// purposeOf says for which purpose a message of a link is, by its type (spec 65
// section 2): what brings an item, a name or keys, or asks what both sides have.
func purposeOf(message []byte) p2p.Purpose {
	switch message[0] {
	case 3, 11, 16: // give, name, keys
		return p2p.Letters
	}
	return p2p.Comparing
}

// load reads what is stored in the profile's space. A row that cannot be read is of another version, and counts
// for nothing.
func (d *data) load(own engine.Storage) error {
	d.days = map[uint32]*use{}
	err := own.Scan(tableUse, nil, func(key, value []byte) error {
		if day, u, ok := parseUse(key, value); ok {
			d.days[day] = u
		}
		return nil
	})
	if err != nil {
		return err
	}
	row, err := own.Get(tableProfile, keyCap)
	if err != nil || row == nil {
		return err
	}
	return wire.Unmarshal(row, 9, &d.cap)
}

// today is what went over the network today.
func (d *data) today(now time.Time) *use {
	day := dayOf(now)
	if d.days[day] == nil {
		d.days[day] = new(use)
	}
	return d.days[day]
}

// month is what did in the month of now, in UTC.
func (d *data) month(now time.Time) (sum use) {
	y, m, _ := now.UTC().Date()
	for day, u := range d.days {
		if yy, mm, _ := time.Unix(int64(day)*86_400, 0).UTC().Date(); yy == y && mm == m {
			sum.add(p2p.Totals(*u))
		}
	}
	return sum
}

// reached says whether today's cap is used up.
func (d *data) reached(now time.Time) bool { return d.cap > 0 && d.today(now).sum() >= d.cap }

// low says whether most of it is.
func (d *data) low(now time.Time) bool {
	return d.cap > 0 && d.today(now).sum() >= d.cap/100*warnAt
}

// count takes what the sockets counted since the last time.
func (d *data) count(now time.Time) {
	all := d.traffic.Totals()
	var since p2p.Totals
	for i := range all {
		since[i] = p2p.Volume{In: all[i].In - d.counted[i].In, Out: all[i].Out - d.counted[i].Out}
	}
	if since == (p2p.Totals{}) {
		return
	}
	d.counted = all
	d.today(now).add(since)
	u := use(since)
	d.unsaved += u.sum()
}

// batch is what is to be written down, and what goes: days that are further away than
// keepUse, in either direction, for clocks jump.
func (d *data) batch(now time.Time) (b engine.Batch) {
	today := dayOf(now)
	for day, u := range d.days {
		key := binary.BigEndian.AppendUint32(nil, day)
		switch {
		case day+keepUse <= today || day >= today+keepUse:
			b.Deletes = append(b.Deletes, engine.Ref{Table: tableUse, Key: key})
			delete(d.days, day)
		case day+1 >= today && day <= today:
			b.Puts = append(b.Puts, engine.Record{Table: tableUse, Key: key, Value: u.row()})
		}
	}
	return b
}

// row is a day as it is stored: in and out, by purpose.
func (u *use) row() []byte {
	list := make([]uint64, 0, 2*len(u))
	for _, v := range u {
		list = append(list, uint64(v.In), uint64(v.Out))
	}
	return wire.Marshal(list)
}

func parseUse(key, value []byte) (day uint32, u *use, ok bool) {
	var list []uint64
	if len(key) != 4 || wire.Unmarshal(value, maxUseRow, &list) != nil || len(list) != 2*int(p2p.Purposes) {
		return 0, nil, false
	}
	u = new(use)
	for i := range u {
		in, out := list[2*i], list[2*i+1]
		if in > uint64(maxUse) || out > uint64(maxUse) {
			return 0, nil, false
		}
		u[i] = p2p.Volume{In: int64(in), Out: int64(out)}
	}
	return binary.BigEndian.Uint32(key), u, true
}

// countData takes what the sockets counted, tells watchers when a cap is near or
// reached, and writes down now and then.
func (n *Node) countData() {
	now, d := n.clock(), &n.data
	d.count(now)
	day := dayOf(now)
	if d.low(now) && d.warned != day {
		d.warned = day
		n.broadcast(api.Event{Event: api.EventDataLow})
	}
	if d.reached(now) && d.over != day {
		d.over = day
		n.broadcast(api.Event{Event: api.EventDataReached})
	}
	passed := now.Sub(d.saved)
	if d.unsaved > 0 && (passed >= saveUse || passed < 0 || d.unsaved >= saveUseFrom && passed >= saveUse/10) {
		n.saveData(now)
	}
}

// saveData writes down what was counted. It is a help and no promise: where the disk is
// full it is tried again later.
func (n *Node) saveData(now time.Time) {
	n.data.saved = now
	if n.commitOwn(n.data.batch(now)) == nil {
		n.data.unsaved = 0
	}
}
