package node_test

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/engine/enginetest"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// atOnce is how many messages of the network the owner of the engines takes into one
// commit (spec 90 section 2).
const atOnce = 128

// Tables of an engine (spec 65 section 7).
const (
	envelopeRows engine.Table = 7
	textRows     engine.Table = 8
)

// end is one of two engines that have a connection and nothing else.
type end struct {
	*engine.Engine
	commit func(engine.Batch) error
	gate   *engine.Gate
	other  *end
	in     []engine.Input
	spent  time.Duration // in the engine
	stored time.Duration // in commits
	kept   []engine.Batch
}

const onlyPeer engine.Peer = 1

// turn lets an engine take what has arrived, as many messages for each commit as the
// program does, and hands on what it sends.
func (x *end) turn(now engine.Time) error {
	for again := true; again; again = len(x.in) > 0 {
		n := min(len(x.in), atOnce)
		from := time.Now()
		for _, in := range x.in[:n] {
			if err := x.Step(now, in); err != nil {
				return err
			}
		}
		x.in = x.in[n:]
		r := x.Ready()
		x.spent += time.Since(from)
		if !r.Persist.Empty() {
			x.kept = append(x.kept, r.Persist)
			from = time.Now()
			if err := x.commit(r.Persist); err != nil {
				return err
			}
			x.stored += time.Since(from)
		}
		if r.Gate != nil {
			x.gate = r.Gate
		}
		for _, m := range r.Send {
			x.other.in = append(x.other.in, engine.Received{Peer: onlyPeer, Data: m.Data})
		}
		if len(r.Announce) > 0 {
			x.other.in = append(x.other.in, engine.Hinted{Peer: onlyPeer, IDs: r.Announce})
		}
		from = time.Now()
		x.Advance()
		x.spent += time.Since(from)
	}
	return nil
}

// connect proves a connection under the newest key that both have.
func (x *end) connect(t testing.TB, o *end) {
	for _, k := range x.gate.Dial {
		for _, l := range o.gate.Accept {
			if k.Secret == l.Secret && k.Class == engine.ClassMember && l.Class == engine.ClassMember {
				x.in = append(x.in, engine.PeerUp{Peer: onlyPeer, Class: k.Class, Tag: k.Tag, Dialled: true})
				o.in = append(o.in, engine.PeerUp{Peer: onlyPeer, Class: l.Class, Tag: l.Tag})
				return
			}
		}
	}
	t.Fatal("they have no key in common")
}

// behind makes an author with notices of 256 bytes, half of them an organiser's, spread over
// days, and a reader who was away meanwhile, whose store is on a disk.
func behind(t testing.TB, days, perDay int) (author, reader *end, now engine.Time) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := store.Open(t.TempDir(), [store.KeySize]byte{1})
	ok(err)
	t.Cleanup(func() { ok(db.Close()) })
	space := store.Space{1}
	w := enginetest.NewWorld(70)
	ana, ben, cam := w.Add("Ana"), w.Add("Ben"), w.Add("Cam")
	w.Committed(func(n *enginetest.Node, b engine.Batch) {
		if n == cam {
			ok(db.Commit(space, b))
		}
	})
	ok(ana.Found("Jardin", group.DefaultPolicy(10)))
	l, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	ok(err)
	ok(ben.Join(l))
	ok(cam.Join(l))
	ok(w.Run(engine.Seconds(120)))
	if !cam.Engine.Joined() || !ben.Engine.Joined() {
		t.Fatal("they are not in")
	}
	id := cam.Engine.ID()
	ends := map[*enginetest.Node]*end{}
	for i, n := range []*enginetest.Node{ana, ben, cam} {
		n.Stop()
		x := &end{commit: func(b engine.Batch) error { n.Store.Commit(b); return nil }}
		var s engine.Storage = n.Store
		if n == cam {
			s, x.commit = db.Space(space), func(b engine.Batch) error { return db.Commit(space, b) }
		}
		x.Engine, err = engine.Load(engine.Config{Storage: s, Random: rand.NewChaCha8([32]byte{byte(i)}),
			Zone: func(string) bool { return true }}, id, w.Now)
		ok(err)
		ends[n] = x
	}
	organiser, author, reader := ends[ana], ends[ben], ends[cam]
	organiser.other, author.other, reader.other = author, organiser, author
	now = w.Now
	ok(organiser.turn(now))
	ok(author.turn(now))
	organiser.connect(t, author)
	const minutes = 10 // of each day; then the rest of it passes at once
	for day := range days {
		for i := range perDay {
			by := []*end{organiser, author}[i%2]
			_, err := by.Post(now, feed.Notice{Type: protocol.TypeAnnouncement, Urgency: feed.Info, Texts: []feed.Text{{Tag: "fr",
				Title: fmt.Sprintf("avis %d du jour %d", i, day), Body: strings.Repeat("avis ", 51) + "!"}}}, 0)
			ok(err)
			if i%atOnce == 0 {
				ok(settle(now, author, organiser))
			}
		}
		for minute := range minutes + 1 {
			now += engine.Seconds(60)
			if minute == minutes {
				now += engine.Seconds(protocol.DaySeconds - 60*(minutes+1))
			}
			for _, x := range []*end{author, organiser} {
				x.in = append(x.in, engine.Tick{})
			}
			ok(settle(now, author, organiser))
		}
	}
	author.in = append(author.in, engine.PeerDown{Peer: onlyPeer})
	ok(author.turn(now))
	author.other = reader
	return author, reader, now
}

// settle lets two take what arrives until nothing is under way.
func settle(now engine.Time, ends ...*end) error {
	for _, x := range ends {
		if err := x.turn(now); err != nil {
			return err
		}
	}
	if len(ends[0].in)+len(ends[1].in) > 0 {
		return settle(now, ends...)
	}
	return nil
}

// catchUp lets the reader have all that the author has.
func catchUp(t testing.TB, author, reader *end, now engine.Time, notices int) {
	t.Helper()
	if err := settle(now, author, reader); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*end{author, reader} {
		x.spent, x.stored, x.kept = 0, 0, nil
	}
	reader.connect(t, author)
	if err := settle(now, reader, author); err != nil {
		t.Fatal(err)
	}
	if got, s := len(reader.Notices(now, nil, true)), reader.Status(); got != notices || s.Missing != 0 {
		t.Fatalf("the reader shows %d of %d notices, and misses %d", got, notices, s.Missing)
	}
}

// floor is the least that the same items can cost.
type floor struct{ open, message, verify, commit, whole time.Duration }

func (f floor) sum() time.Duration { return f.open + f.message + f.verify + f.commit }

// floorOf opens, checks and stores what the batches brought, in the same batches:
// ciphertexts of the same lengths, one signature each, and the envelopes alone on the disk.
// Whole is what it takes to store all rows of the batches.
func floorOf(t testing.TB, batches []engine.Batch) (f floor) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	envelopes, err := store.Open(t.TempDir(), [store.KeySize]byte{2})
	ok(err)
	defer envelopes.Close()
	all, err := store.Open(t.TempDir(), [store.KeySize]byte{3})
	ok(err)
	defer all.Close()
	outer, err := chacha20poly1305.NewX(make([]byte, 32))
	ok(err)
	inner, err := chacha20poly1305.New(make([]byte, 32))
	ok(err)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := key.Public().(ed25519.PublicKey)
	for _, b := range batches {
		var rows []engine.Record
		var sealed, texts, signed, signatures [][]byte
		for _, r := range b.Puts {
			switch r.Table {
			case envelopeRows:
				rows = append(rows, r)
				plain := make([]byte, len(r.Value)-chacha20poly1305.Overhead)
				sealed = append(sealed, outer.Seal(nil, make([]byte, outer.NonceSize()), plain, nil))
			case textRows:
				texts = append(texts, inner.Seal(nil, make([]byte, inner.NonceSize()), r.Value, nil))
				signed, signatures = append(signed, r.Value), append(signatures, ed25519.Sign(key, r.Value))
			}
		}
		at := time.Now()
		lap := func(d *time.Duration) { *d += time.Since(at); at = time.Now() }
		for _, s := range sealed {
			_, err := outer.Open(nil, make([]byte, outer.NonceSize()), s, nil)
			ok(err)
		}
		lap(&f.open)
		for _, s := range texts {
			_, err := inner.Open(nil, make([]byte, inner.NonceSize()), s, nil)
			ok(err)
		}
		lap(&f.message)
		for i, m := range signed {
			if !ed25519.Verify(public, m, signatures[i]) {
				t.Fatal("a signature does not hold")
			}
		}
		lap(&f.verify)
		ok(envelopes.Commit(store.Space{1}, engine.Batch{Puts: rows}))
		lap(&f.commit)
		ok(all.Commit(store.Space{1}, b))
		lap(&f.whole)
	}
	return f
}

// The floor is of the same items as what is measured beside it.
func TestCatchUpWithAFloor(t *testing.T) {
	author, reader, now := behind(t, 2, 100)
	catchUp(t, author, reader, now, 200)
	texts := 0
	for _, b := range reader.kept {
		for _, r := range b.Puts {
			if r.Table == textRows {
				texts++
			}
		}
	}
	if f := floorOf(t, reader.kept); texts < 200 || f.open == 0 || f.message == 0 || f.verify == 0 || f.commit == 0 {
		t.Errorf("%d texts were stored, the floor is %+v", texts, f)
	}
}

// BenchmarkCatchUp is the rate of spec 70 section 10.
func BenchmarkCatchUp(b *testing.B) {
	const days, perDay = 10, 1_000
	for range b.N {
		author, reader, now := behind(b, days, perDay)
		catchUp(b, author, reader, now, days*perDay)
		f := floorOf(b, reader.kept)
		rate := func(d time.Duration) float64 { return days * perDay / d.Seconds() }
		b.ReportMetric(rate(reader.spent+reader.stored), "notices/s")
		b.ReportMetric(rate(f.sum()), "floor-notices/s")
		b.ReportMetric((reader.spent+reader.stored).Seconds()/f.sum().Seconds(), "times-floor")
		b.Logf("%d notices in %d commits: engine %v, commits %v; who gives: %v; floor: envelopes opened %v, messages opened %v, one signature each %v, envelopes committed %v; all rows of the same batches committed: %v",
			days*perDay, len(reader.kept), reader.spent, reader.stored, author.spent, f.open, f.message, f.verify, f.commit, f.whole)
	}
}
