package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/wire"
)

func (p *phone) spent() api.Data { return *p.status().Data }

func total(u api.DataUse) (n int64) {
	for _, v := range []api.DataVolume{u.Letters, u.Comparing, u.Carriers, u.Connections} {
		n += v.In + v.Out
	}
	return n
}

// spend says that a phone has used so many bytes more today.
func (p *phone) spend(n int64) {
	p.w.t.Helper()
	err := p.change(context.Background(), func() (*groupState, error) {
		p.data.today(p.clock())[p2p.Carriers].In += n
		return nil, nil
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
}

// What the network cost is told by purpose, and is there after a restart.
func TestDataIsKept(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	if d := ana.spent(); total(d.Month) != 0 || d.CapBytes != 0 || d.Low || d.Reached || d.Until == "" {
		t.Errorf("before anything: %+v", d)
	}
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	post1(t, ana, "un")
	w.shows([]string{"un"}, ben)
	a, b := ana.spent(), ben.spent()
	if a.Today.Letters.Out < 2_048 || b.Today.Letters.In < 2_048 || a.Today.Comparing.Out == 0 || a.Today.Connections.In < 2_000 || a.Today.Carriers != (api.DataVolume{}) {
		t.Errorf("%+v", a)
	}
	if a.Today != a.Month {
		t.Errorf("today is %+v, the month %+v", a.Today, a.Month)
	}
	ana.stop()
	off := w.offline(ana.dir)
	kept := call[api.Data](t, off, api.CommandData, nil)
	if kept.Today.Letters.Out < a.Today.Letters.Out || kept.Today.Comparing.In < a.Today.Comparing.In || total(kept.Today) < total(a.Today) {
		t.Errorf("after a restart %+v, before %+v", kept, a)
	}
	// It is in the sealed store alone, a row a day.
	rows := 0
	if err := off.db.Space([32]byte{}).Scan(tableUse, nil, func(key, value []byte) error {
		rows++
		if _, _, ok := parseUse(key, value); !ok {
			t.Errorf("a row is %x", value)
		}
		return nil
	}); err != nil || rows < 1 || rows > 2 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// It is written down now and then, not with each packet.
func TestDataIsWrittenSeldom(t *testing.T) {
	dir := newWorld(t).profile("Ana")
	n, err := Open(Config{Dir: dir, Passphrase: passphrase, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	n.clock = func() time.Time { return now }
	stored := func() (sum int64) {
		var d data
		if err := d.load(n.db.Space([32]byte{})); err != nil {
			t.Fatal(err)
		}
		for _, u := range d.days {
			sum += u.sum()
		}
		return sum
	}
	step := func(used int64, passed time.Duration, want int64) {
		t.Helper()
		now = now.Add(passed)
		// As if the sockets had counted it.
		n.data.counted[p2p.Carriers].In -= used
		n.countData()
		if got := stored(); got != want {
			t.Errorf("%d bytes are stored, want %d", got, want)
		}
	}
	step(100, 0, 100) // the first
	step(10, time.Second, 100)
	step(10, 9*time.Minute, 100)
	step(10, time.Minute, 130)
	step(saveUseFrom, 2*time.Second, 130) // much, and just written
	step(1, time.Minute, 131+saveUseFrom)
	step(0, time.Hour, 131+saveUseFrom)
	step(5, -2*time.Hour, 136+saveUseFrom) // the clock was set back
}

func TestDaysOfData(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 30, 0, 0, time.UTC)
	today := dayOf(now)
	if endOf(today) != time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC) {
		t.Errorf("the day ends %v", endOf(today))
	}
	d := data{days: map[uint32]*use{}, cap: 1_000_000}
	for _, day := range []uint32{today - 40, today - 35, today - 34, today - 1, today, today + 1, today + 34, today + 35, today + 90} {
		d.days[day] = &use{{In: 100, Out: 10}, {}, {In: 1}, {Out: 2}}
	}
	if u := d.month(now); u != (use{{In: 200, Out: 20}, {}, {In: 2}, {Out: 4}}) {
		t.Errorf("December has %+v", u) // today and tomorrow: a clock ran ahead
	}
	if u := d.month(now.Add(-24 * time.Hour)); u.sum() != 113 { // the others were in October
		t.Errorf("November has %+v", u)
	}
	b := d.batch(now)
	if len(b.Deletes) != 4 || len(b.Puts) != 2 || len(d.days) != 5 {
		t.Errorf("%d rows go, %d are written, %d stay", len(b.Deletes), len(b.Puts), len(d.days))
	}
	for _, c := range []struct {
		used         int64
		low, reached bool
	}{{799_999, false, false}, {800_000, true, false}, {999_999, true, false}, {1_000_000, true, true}} {
		d.days[today] = &use{{In: c.used}}
		if d.low(now) != c.low || d.reached(now) != c.reached {
			t.Errorf("%d bytes: low %t, reached %t", c.used, d.low(now), d.reached(now))
		}
	}
	if d.reached(now.Add(24 * time.Hour)) {
		t.Error("the next day begins used up")
	}
	if d.cap = 0; d.low(now) || d.reached(now) {
		t.Error("there is no cap")
	}
}

func TestPurposes(t *testing.T) {
	for kind := range 256 {
		want := p2p.Comparing
		if kind == 3 || kind == 11 || kind == 16 {
			want = p2p.Letters
		}
		if purposeOf([]byte{byte(kind)}) != want {
			t.Errorf("type %d counts as %d", kind, purposeOf([]byte{byte(kind)}))
		}
	}
}

// A day's row that parses is the one that is written.
func FuzzUse(f *testing.F) {
	f.Add([]byte{0, 0, 80, 1}, (&use{{In: 1, Out: 2}, {In: 3, Out: 4}, {In: 5, Out: 6}, {In: maxUse, Out: 8}}).row())
	f.Add([]byte{0, 0, 80, 1}, wire.Marshal([]uint64{1, 2, 3, 4, 5, 6, 7, 1 << 63}))
	f.Add([]byte{0, 0, 80}, wire.Marshal([]uint64{1, 2}))
	f.Fuzz(func(t *testing.T, key, row []byte) {
		day, u, ok := parseUse(key, row)
		if !ok {
			return
		}
		if !bytes.Equal(u.row(), row) || !bytes.Equal(binary.BigEndian.AppendUint32(nil, day), key) || u.sum() < 0 && len(row) < 20 {
			t.Errorf("%x of %x became %x", row, key, u.row())
		}
	})
}

// The cap is told when it is near and when it is reached, and then nothing comes by
// itself until the day is over. What a person writes goes out all the same.
func TestCapOfADay(t *testing.T) {
	quick(t)
	w := newWorld(t)
	ana, ben := w.phone("Ana"), w.phone("Ben")
	ana.found(api.GroupCreateArgs{})
	ana.admit("", ben)
	w.until("a link", func() bool { return ana.status().Peers == 1 && ben.status().Peers == 1 && len(known(ana)) > 0 })
	heard := make(chan string, 64)
	ctx, stop := context.WithCancel(context.Background())
	watching := make(chan bool)
	go func() {
		defer close(watching)
		_ = ana.Watch(ctx, func(ev api.Event) error { heard <- ev.Event; return nil })
	}()
	defer func() { stop(); <-watching }()
	await := func(want string) {
		t.Helper()
		late := time.NewTimer(patience)
		defer late.Stop()
		for {
			select {
			case got := <-heard:
				if got == want {
					return
				}
			case <-late.C:
				t.Fatalf("%s was not told", want)
			}
		}
	}
	await(api.EventWatching)
	for _, bad := range []int64{-1, 1, minCap - 1, maxCap + 1} {
		refused(t, ana, api.CodeDataBounds, api.CommandDataSet, api.DataSetArgs{CapBytes: bad})
	}
	if d := call[api.Data](t, ana, api.CommandDataSet, api.DataSetArgs{CapBytes: 20_000_000}); d.CapBytes != 20_000_000 || d.Low || d.Reached {
		t.Errorf("%+v", d)
	}
	ana.spend(16_000_000)
	await(api.EventDataLow)
	if d := ana.spent(); !d.Low || d.Reached || ana.status().Peers != 1 {
		t.Errorf("at 80 in 100: %+v", d)
	}
	ana.spend(4_000_000)
	await(api.EventDataReached)
	w.until("the links to end", func() bool { return ana.status().Peers == 0 && ben.status().Peers == 0 })
	ana.inside(func() {
		for _, g := range ana.groups {
			if g.host != nil && len(g.host.Addrs()) > 0 {
				t.Errorf("it listens at %v", g.host.Addrs())
			}
		}
	})
	// Ben's notice waits for Ana; hers reaches him, and brings his along.
	post1(t, ben, "de Ben")
	post1(t, ana, "d'Ana")
	w.shows([]string{"d'Ana", "de Ben"}, ben, ana)
	w.until("the visit to end", func() bool { return ana.status().Peers == 0 && ana.quiet() })
	// By itself nothing comes within the day...
	post1(t, ben, "plus tard")
	w.until("the time of a visit to have passed", func() (passed bool) {
		ana.inside(func() {
			for _, g := range ana.groups {
				passed = g.poll.next == 0 && !g.poll.on
			}
		})
		return passed
	})
	if got := titles(t, ana); len(got) != 2 {
		t.Errorf("by itself came %q", got)
	}
	// ...unless she asks.
	call[api.Done](t, ana, api.CommandFetch, nil)
	w.shows([]string{"d'Ana", "de Ben", "plus tard"}, ana)
	w.until("the visit to end", func() bool { return ana.status().Peers == 0 && ana.quiet() })
	// The cap survives a restart, and holds at once.
	ana.stop()
	<-watching
	post1(t, ben, "encore")
	ana = w.start(ana.dir, "Ana")
	if d := ana.spent(); !d.Reached || d.CapBytes != 20_000_000 {
		t.Errorf("after a restart: %+v", d)
	}
	if len(ana.addrs) > 0 {
		t.Errorf("it listens at %v", ana.addrs)
	}
	// The next day all is as before.
	ana.inside(func() {
		at := ana.clock
		ana.clock = func() time.Time { return at().Add(24 * time.Hour) }
	})
	w.until("a link again", func() bool { return ana.status().Peers == 1 })
	w.shows([]string{"d'Ana", "de Ben", "plus tard", "encore"}, ana)
	if d := ana.spent(); d.Reached || d.Low {
		t.Errorf("on the next day: %+v", d)
	}
	if d := call[api.Data](t, ana, api.CommandDataSet, api.DataSetArgs{}); d.CapBytes != 0 {
		t.Errorf("taken off: %+v", d)
	}
}

// quiet says that no group of the phone is on a visit.
func (p *phone) quiet() (quiet bool) {
	quiet = true
	p.inside(func() {
		for _, g := range p.groups {
			quiet = quiet && !g.poll.on
		}
	})
	return quiet
}
