package ferry

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// ship is a running program.
type ship struct {
	t     *testing.T
	f     *Ferry
	addrs []string
	stop  context.CancelFunc
	over  chan error // what Serve returned
}

func loopback(dir string) Config {
	return Config{Dir: dir, Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}}
}

// sail starts a program on the real disk and the real network. Alter may change it
// before it serves.
func sail(t *testing.T, cfg Config, alter func(*Ferry)) *ship {
	t.Helper()
	f, err := Open(cfg, true)
	must(t, err)
	if alter != nil {
		alter(f)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	x := &ship{t: t, f: f, stop: stop, over: make(chan error, 1)}
	ready := make(chan []string, 1)
	go func() { x.over <- f.Serve(ctx, func(addrs []string) { ready <- addrs }) }()
	select {
	case x.addrs = <-ready:
	case err := <-x.over:
		t.Fatalf("it ended: %v", err)
	case <-time.After(deadline):
		t.Fatal("it is not ready")
	}
	return x
}

// ended waits for the end and closes the store.
func (x *ship) ended() error {
	x.t.Helper()
	select {
	case err := <-x.over:
		must(x.t, x.f.Close())
		return err
	case <-time.After(deadline):
		x.t.Fatal("it does not end")
	}
	return nil
}

func (x *ship) anchor() {
	x.t.Helper()
	x.stop()
	must(x.t, x.ended())
}

// visit begins a session over the network.
func (x *ship) visit(kind string) (*client, *p2p.Visit) {
	x.t.Helper()
	c, v, err := x.dial(kind)
	if err != nil {
		x.t.Fatalf("%s at %v: %v", kind, x.addrs, err)
	}
	return c, v
}

func (x *ship) dial(kind string) (*client, *p2p.Visit, error) {
	x.t.Helper()
	at := ""
	for _, a := range x.addrs {
		if strings.Contains(a, "/"+kind+"/") {
			at = a
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), deadline)
	defer stop()
	v, err := p2p.VisitFerry(ctx, at, "", nil)
	if err != nil {
		return nil, nil, err
	}
	c := &client{t: x.t, ferry: v.Ferry(), send: v.Send, came: make(chan []byte, 4_096), served: make(chan error, 1)}
	v.Start(func(m []byte) {
		c.bytes += 4 + len(m)
		c.came <- m
	}, func() {
		close(c.came)
		c.served <- nil
	})
	x.t.Cleanup(v.Close)
	c.hello()
	return c, v, nil
}

// What one client brings is there after the program was ended and started again, for
// another one, by another road and under the same name; and nothing of it says who came.
func TestProgramKeepsAcrossARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "ferry")
	x := sail(t, loopback(dir), nil)
	a, v := x.visit("tcp")
	sent := map[string]bool{}
	for i := range 20 {
		d := deposit(t, box(1), i)
		sent[string(d.Envelope)] = true
		if got := a.put(d); got != ferry.Kept {
			t.Fatalf("outcome %d", got)
		}
	}
	a.end()
	name := v.Ferry()
	x.anchor()

	if runtime.GOOS != "windows" {
		for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "key"): 0o600, filepath.Join(dir, "store.db"): 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}
	saysNothingOf(t, dir, v.Client(), "127.0.0.1")

	x = sail(t, loopback(dir), nil)
	b, w := x.visit("udp")
	if !bytes.Equal(w.Ferry(), name) || !bytes.Equal(w.Ferry(), x.f.id) {
		t.Error("it has another name after a restart")
	}
	for _, e := range b.fetch(box(1)) {
		delete(sent, string(e))
	}
	if len(sent) != 0 {
		t.Errorf("%d of 20 were not given", len(sent))
	}
	b.end()
	x.anchor()
	if other := sail(t, loopback(t.TempDir()), nil); bytes.Equal(other.f.id, name) || other.f.keys.store == x.f.keys.store {
		t.Error("two ferries have the same keys")
	} else {
		other.anchor()
	}
}

// saysNothingOf looks for a client in all files of a ferry, and in all rows of its
// store.
func saysNothingOf(t *testing.T, dir string, client []byte, addr string) {
	t.Helper()
	tells := [][]byte{client, []byte(base58(client)), []byte(hex.EncodeToString(client)), []byte(addr)}
	look := func(where string, b []byte) {
		for _, tell := range tells {
			if bytes.Contains(b, tell) {
				t.Errorf("%s holds %q", where, tell)
			}
		}
	}
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range list {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		look(f.Name(), b)
	}
	k, err := readKeys(dir)
	must(t, err)
	db, err := store.Open(dir, k.store)
	must(t, err)
	rows := 0
	for table := range 256 {
		must(t, db.Space(store.Space{}).Scan(engine.Table(table), nil, func(key, value []byte) error {
			rows++
			look("a key", key)
			look("a value", value)
			return nil
		}))
	}
	must(t, db.Close())
	if len(list) < 3 || rows < 20 {
		t.Errorf("%d files with %d rows were looked at", len(list), rows)
	}
}

// base58 is how people see a peer id.
func base58(b []byte) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	s, mod := "", new(big.Int)
	for n := new(big.Int).SetBytes(b); n.Sign() > 0; {
		n.DivMod(n, big.NewInt(58), mod)
		s = string(digits[mod.Int64()]) + s
	}
	for i := 0; i < len(b) && b[i] == 0; i++ {
		s = "1" + s
	}
	return s
}

// The scan would see a client: its name is written as the ferry's own is.
func TestScanKnowsHowNamesAreWritten(t *testing.T) {
	x := sail(t, loopback(t.TempDir()), nil)
	defer x.anchor()
	if !strings.HasSuffix(x.addrs[0], "/p2p/"+base58(x.f.id)) {
		t.Errorf("%s, but the scan looks for %s", x.addrs[0], base58(x.f.id))
	}
}

// A closed ferry serves the holders of its tickets until they are ended.
func TestProgramWithTickets(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Closed = true
	x := sail(t, cfg, nil)
	c, _ := x.visit("tcp")
	if got := c.put(deposit(t, box(1), 1)); got != ferry.NoTicket {
		t.Errorf("without a ticket: outcome %d", got)
	}
	c.end()
	x.anchor()

	f, err := Open(cfg, false)
	must(t, err)
	seed, err := f.NewTicket()
	must(t, err)
	other, err := f.NewTicket()
	must(t, err)
	if list, err := f.Tickets(); err != nil || len(list) != 2 || seed == other {
		t.Errorf("%d tickets, %v", len(list), err)
	}
	must(t, f.Close())

	show := func(kept bool) {
		t.Helper()
		x := sail(t, cfg, nil)
		defer x.anchor()
		c, v := x.visit("tcp")
		c.say(ferry.SignTicket(seed, c.nonce, v.Ferry(), v.Client()))
		if !kept {
			if m := c.next(); m != nil {
				t.Errorf("a ticket that was ended is answered by %.20x", m)
			}
			return
		}
		if got := c.put(deposit(t, box(1), 1)); got != ferry.Kept {
			t.Errorf("with a ticket: outcome %d", got)
		}
		if n := len(c.fetch(box(1))); n != 1 {
			t.Errorf("with a ticket %d are given", n)
		}
		c.end()
	}
	show(true)

	f, err = Open(cfg, false)
	must(t, err)
	key := ferry.TicketOf(seed)
	name := hex.EncodeToString(key[:])
	twin := key
	twin[31] ^= 1
	must(t, f.store.GiveTicket(twin))
	for _, bad := range []string{"", name[:5], name[:63], "zzzzzz", "%" + name[1:], name + "00"} {
		if _, err := f.EndTicket(bad); !errors.Is(err, ErrTicket) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	must(t, f.store.TakeBack(twin))
	if _, err := f.EndTicket(name[:5]); !errors.Is(err, ErrTicket) {
		t.Errorf("5 digits: %v", err)
	}
	if got, err := f.EndTicket(strings.ToUpper(name[:6])); err != nil || got != key {
		t.Errorf("%x, %v", got, err)
	}
	if _, err := f.EndTicket(name); !errors.Is(err, ErrTicket) {
		t.Errorf("the second time: %v", err)
	}
	if list, err := f.Tickets(); err != nil || len(list) != 1 || list[0] != ferry.TicketOf(other) {
		t.Errorf("left are %x, %v", list, err)
	}
	must(t, f.Close())
	show(false)
}

// sick is a disk that fails once it is told to.
type sick struct {
	Database
	fails atomic.Bool
}

func (s *sick) Commit(space store.Space, b engine.Batch) error {
	if s.fails.Load() {
		return errDisk
	}
	return s.Database.Commit(space, b)
}

// Where the disk fails nothing is said to be kept, and the program ends, also while
// others have sessions; so it does where dropping fails, once an hour.
func TestProgramEndsWithItsDisk(t *testing.T) {
	for _, hourly := range []bool{false, true} {
		disk, hours := new(sick), make(chan time.Time)
		x := sail(t, loopback(t.TempDir()), func(f *Ferry) {
			disk.Database = f.db
			f.store = &Store{db: disk}
			f.hours = hours
		})
		idle, _ := x.visit("tcp")
		disk.fails.Store(true)
		if hourly {
			hours <- time.Time{}
		} else {
			c, _ := x.visit("tcp")
			c.say(ferry.PutMessage(deposit(t, box(1), 1)))
			if m := c.next(); m != nil {
				t.Errorf("answered by %.20x", m)
			}
		}
		if err := x.ended(); !errors.Is(err, errDisk) || !errors.Is(err, ErrBroken) {
			t.Errorf("hourly %t: it ended with %v", hourly, err)
		}
		if m := idle.next(); m != nil {
			t.Errorf("the other session goes on with %.20x", m)
		}
	}
}

// What is over goes at the start, and every hour.
func TestProgramDropsWhatIsOver(t *testing.T) {
	dir := t.TempDir()
	var later atomic.Int64 // days
	hours := make(chan time.Time)
	alter := func(f *Ferry) {
		f.now = func() time.Time { return time.Unix(20_000*protocol.DaySeconds, 0).AddDate(0, 0, int(later.Load())) }
		f.hours = hours
	}
	held := func(x *ship, want int) {
		t.Helper()
		c, _ := x.visit("tcp")
		if n := len(c.fetch(box(1))); n != want {
			t.Errorf("day %d: %d are held, want %d", later.Load(), n, want)
		}
		c.end()
	}
	bring := func(x *ship, n int) {
		t.Helper()
		c, _ := x.visit("tcp")
		if got := c.put(deposit(t, box(1), n)); got != ferry.Kept {
			t.Fatalf("outcome %d", got)
		}
		c.end()
	}
	x := sail(t, loopback(dir), alter)
	bring(x, 1)
	later.Store(ferry.KeepDays - 1)
	hours <- time.Time{}
	bring(x, 2)
	held(x, 2)
	later.Store(ferry.KeepDays)
	hours <- time.Time{}
	hours <- time.Time{} // the first one was dealt with
	held(x, 1)
	x.anchor()
	later.Store(2*ferry.KeepDays - 1)
	x = sail(t, loopback(dir), alter)
	held(x, 0)
	x.anchor()
}

// While a program has the store nobody else has; a folder in which none was started
// has none.
func TestOneOpener(t *testing.T) {
	cfg := loopback(t.TempDir())
	x := sail(t, cfg, nil)
	for _, create := range []bool{false, true} {
		if _, err := Open(cfg, create); !errors.Is(err, store.ErrInUse) {
			t.Errorf("create %t: %v", create, err)
		}
	}
	x.anchor()
	for _, bad := range []string{"", "nonsense", "/ip4/127.0.0.1/udp/4001", "/dns4/ferry.example/tcp/4001"} {
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := Open(Config{Dir: dir, Listen: []string{bad}}, true); !errors.Is(err, ErrListen) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%q: the folder was made", bad)
		}
	}
	// An address that is taken.
	x = sail(t, cfg, nil)
	taken, _, err := p2p.FerryAddr(x.addrs[0])
	must(t, err)
	f, err := Open(Config{Dir: t.TempDir(), Listen: []string{taken}}, true)
	must(t, err)
	if err := f.Serve(t.Context(), func([]string) { t.Error("ready") }); !errors.Is(err, ErrListen) {
		t.Errorf("an address that is taken: %v", err)
	}
	must(t, f.Close())
	x.anchor()
}
