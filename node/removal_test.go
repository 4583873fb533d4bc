package node

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Tables and the message of an engine that this test reads and writes as an
// attacker would who has the specification (spec 65 sections 2 and 7).
const (
	rowsEpochs    engine.Table = 4
	rowsSecrets   engine.Table = 5
	rowsEnvelopes engine.Table = 7
	rowsKEM       engine.Table = 12
	give                       = 3
	want                       = 2
)

// thief is a removed member's complete state: the folder, its key, and all that
// the rows of the group hold.
type thief struct {
	t       *testing.T
	engine  *engine.Engine
	epochs  []*epoch.Keys
	headers map[protocol.EpochID]*epoch.Header
	kem     []epoch.KEMPrivate
	group   protocol.GroupID
	days    []protocol.Day
	asked   []protocol.EnvelopeID
}

// envelopes reads the envelopes that a phone holds.
func (p *phone) envelopes(g protocol.GroupID) map[protocol.EnvelopeID][]byte {
	p.w.t.Helper()
	all := map[protocol.EnvelopeID][]byte{}
	err := p.db.Space(store.Space(g)).Scan(rowsEnvelopes, nil, func(_, v []byte) error {
		all[protocol.IDOf(v)] = bytes.Clone(v)
		return nil
	})
	if err != nil || len(all) == 0 {
		p.w.t.Fatalf("%s holds %d envelopes, %v", p.name, len(all), err)
	}
	return all
}

func steal(t *testing.T, dir string, g protocol.GroupID, now engine.Time) *thief {
	t.Helper()
	db, err := openProfile(dir, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	rows := db.Space(store.Space(g))
	x := &thief{t: t, group: g, headers: map[protocol.EpochID]*epoch.Header{}}
	err = errors.Join(
		rows.Scan(rowsSecrets, nil, func(_, v []byte) error {
			k, err := epoch.ParseKeys(v)
			x.epochs = append(x.epochs, k)
			return err
		}),
		rows.Scan(rowsEpochs, nil, func(_, v []byte) error {
			var r struct {
				_        struct{} `cbor:",toarray"`
				Frame    []byte
				Accepted bool
				Exact    bool
				Covered  int64
				Arrived  int64
				Erased   bool
				Asked    uint32
			}
			if err := wire.Unmarshal(v, engine.MaxValueSize, &r); err != nil {
				return err
			}
			f, err := protocol.ParseFrame(r.Frame)
			if err != nil {
				return err
			}
			h, err := epoch.ParseHeader(g, f)
			if err == nil {
				x.headers[h.ID()] = h
			}
			return err
		}),
		rows.Scan(rowsKEM, nil, func(_, v []byte) error {
			var r struct {
				_       struct{} `cbor:",toarray"`
				Counter uint64
				KEM     [32]byte
				Lane    [32]byte
				Frame   protocol.ItemID
				Used    int64
				Gone    bool
			}
			if err := wire.Unmarshal(v, 256, &r); err != nil {
				return err
			}
			if !r.Gone {
				x.kem = append(x.kem, epoch.KEMPrivateFromSeed(r.KEM))
			}
			return nil
		}))
	if err != nil || len(x.epochs) == 0 || len(x.headers) == 0 || len(x.kem) == 0 {
		t.Fatalf("the state has %d secrets, %d headers, %d keys, %v", len(x.epochs), len(x.headers), len(x.kem), err)
	}
	if x.engine, err = engine.Load(engine.Config{Storage: rows, Random: zeros{}, Zone: knownZone}, g, now); err != nil {
		t.Fatal(err)
	}
	for d := now.Day() - 2; d <= now.Day()+2; d++ {
		x.days = append(x.days, d)
	}
	return x
}

// zeros is randomness that nothing of this test depends on.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// opens tries an envelope with every key that the state holds: each mailbox of
// each epoch, and every header found so with every key that boxes are sealed to.
// A header that opens gives one more epoch to try, until nothing new comes.
func (x *thief) opens(envelopes map[protocol.EnvelopeID][]byte) (opened map[protocol.EnvelopeID]bool, epochs int) {
	opened = map[protocol.EnvelopeID]bool{}
	for again := true; again; {
		again = false
		for id, e := range envelopes {
			if opened[id] {
				continue
			}
			frame, ok := x.open(e)
			if !ok {
				continue
			}
			opened[id], again = true, true
			f, err := protocol.ParseFrame(frame)
			if err != nil || f.Kind != protocol.KindEpoch {
				continue
			}
			if h, err := epoch.ParseHeader(x.group, f); err == nil {
				x.headers[h.ID()] = h
			}
		}
		for id, h := range x.headers {
			if slices.ContainsFunc(x.epochs, func(k *epoch.Keys) bool { return k.Epoch() == id }) {
				continue
			}
			for _, k := range x.kem {
				for _, operator := range []bool{false, true} {
					if keys, err := h.Open(k, operator); err == nil {
						x.epochs, again = append(x.epochs, keys), true
						epochs++
					}
				}
			}
		}
	}
	return opened, epochs
}

func (x *thief) open(envelope []byte) ([]byte, bool) {
	for _, k := range x.epochs {
		boxes := []*epoch.Mailbox{}
		for _, d := range x.days {
			boxes = append(boxes, epoch.CommonMailbox(k.Net(), d))
		}
		for _, h := range x.headers {
			for _, lane := range h.Core.Lanes {
				boxes = append(boxes, epoch.LaneMailbox(k.Net(), lane))
			}
		}
		for _, b := range boxes {
			if frame, err := b.Open(envelope); err == nil {
				return frame, true
			}
		}
	}
	return nil, false
}

// feed offers envelopes to the loaded engine as a peer would that lies about its
// being a member, in every order of need, and returns what notices it shows then.
func (x *thief) feed(now engine.Time, envelopes map[protocol.EnvelopeID][]byte) []string {
	x.t.Helper()
	step := func(in engine.Input) {
		if err := x.engine.Step(now, in); err != nil {
			x.t.Fatal(err)
		}
		r := x.engine.Ready()
		for _, m := range r.Send {
			var ids []protocol.EnvelopeID
			if m.Data[0] == want && wire.Unmarshal(m.Data[1:], 1<<20, &ids) == nil {
				x.asked = append(x.asked, ids...)
			}
		}
		x.engine.Advance()
	}
	ids := []protocol.EnvelopeID{}
	for id := range envelopes {
		ids = append(ids, id)
	}
	peer := engine.Peer(0)
	for _, k := range x.epochs {
		peer++
		step(engine.PeerUp{Peer: peer, Class: engine.ClassMember, Tag: k.Epoch(), Dialled: peer%2 == 0})
		for range 3 { // what could not be judged before may be now
			step(engine.Hinted{Peer: peer, IDs: protocol.SortIDs(ids)})
			for len(x.asked) > 0 {
				id := x.asked[0]
				x.asked = x.asked[1:]
				if e := envelopes[id]; e != nil {
					step(engine.Received{Peer: peer, Data: append([]byte{give}, e...)})
				}
			}
		}
	}
	var titles []string
	for _, v := range x.engine.Notices(now, nil, true) {
		titles = append(titles, v.Title)
	}
	slices.Sort(titles)
	return titles
}

// Whoever was removed gets nothing later, and cannot open what is later with all
// that he has and all that others hold. The same tries open what is earlier.
func TestRemovedReadsNothingLater(t *testing.T) {
	w := newWorld(t)
	ana, ben, eve := w.phone("Ana"), w.phone("Ben"), w.phone("Eve")
	id := groupID(t, ana.found(api.GroupCreateArgs{}))
	ana.admit("", ben, eve)
	post1(t, ana, "avant")
	w.shows([]string{"avant"}, ana, ben, eve)

	// Earlier, and not yet with Eve: what the tries below are measured by.
	stolen := eve.dir
	eve.stop()
	before := ana.envelopes(id)
	post1(t, ana, "absente 1")
	post1(t, ben, "absente 2")
	w.shows([]string{"avant", "absente 1", "absente 2"}, ana, ben)
	earlier := ana.envelopes(id)
	for e := range before {
		delete(earlier, e)
	}

	call[api.Done](t, ana, api.CommandRemove, api.RemoveArgs{Member: ana.memberOf("Eve")})
	epochOf := func(p *phone) uint32 { return p.status().Groups[0].Epoch }
	w.until("a new epoch at both", func() bool { return epochOf(ana) == 1 && epochOf(ben) == 1 })
	post1(t, ana, "après 1")
	post1(t, ben, "après 2")
	call[api.Posted](t, ana, api.CommandPost, api.PostArgs{Kind: api.KindMeeting, Texts: []api.Text{{Lang: "fr", Title: "après 3", Body: "Corps de après 3"}},
		Meeting: &api.Meeting{Start: stamp(ana.now().Unix() + 7*86400), End: stamp(ana.now().Unix() + 7*86400 + 7200), TZ: "Africa/Dakar", Place: "Sous le baobab"}})
	all := []string{"avant", "absente 1", "absente 2", "après 1", "après 2", "après 3"}
	w.shows(all, ana, ben)
	later := ana.envelopes(id)
	for e, b := range ben.envelopes(id) {
		later[e] = b
	}
	for e := range before {
		delete(later, e)
	}
	for e := range earlier {
		delete(later, e)
	}

	// Live: her node dials, is refused, and gets nothing.
	eve = w.start(stolen, "Eve")
	w.until("Eve to be refused everywhere", func() bool {
		refusals := true
		eve.inside(func() {
			for _, p := range eve.sortedGroups()[0].book.places {
				refusals = refusals && p.pause >= pauseFirst
			}
		})
		return refusals
	})
	if s := eve.status(); s.Peers != 0 || s.Groups[0].Epoch != 0 {
		t.Errorf("Eve after her removal: %+v", s)
	}
	if got := titles(t, eve); !slices.Equal(got, []string{"avant"}) {
		t.Errorf("Eve lists %q", got)
	}
	eve.stop()

	// At the desk: her folder and its key, and everything later of the others.
	now := engine.Time(eve.clock().UnixMilli())
	x := steal(t, copyFolder(t, stolen), id, now)
	if opened, _ := x.opens(earlier); len(opened) != len(earlier) {
		t.Errorf("of %d earlier envelopes the tries open %d", len(earlier), len(opened))
	}
	if got := x.feed(now, earlier); !slices.Equal(got, []string{"absente 1", "absente 2", "avant"}) {
		t.Fatalf("fed with what is earlier, her engine shows %q", got)
	}
	opened, epochs := x.opens(later)
	if epochs != 0 {
		t.Errorf("she opened %d later epochs", epochs)
	}
	for e := range opened {
		f, _ := x.open(later[e])
		frame, err := protocol.ParseFrame(f)
		if err != nil || frame.Kind == protocol.KindMessage || frame.Kind == protocol.KindPresence {
			t.Errorf("she opened a later envelope of kind %v, %v", frame.Kind, err)
		}
	}
	if len(opened) == 0 || len(opened) == len(later) {
		t.Errorf("of %d later envelopes %d open: the header and its removal should, all others not", len(later), len(opened))
	}
	if got := x.feed(now, later); !slices.Equal(got, []string{"absente 1", "absente 2", "avant"}) {
		t.Errorf("fed with what is later, her engine shows %q", got)
	}
	// The same code and the same envelopes, with Ben's state: all open.
	ben.stop()
	y := steal(t, copyFolder(t, ben.dir), id, now)
	if opened, _ := y.opens(later); len(opened) != len(later) {
		t.Errorf("with a member's state %d of %d open", len(opened), len(later))
	}
	if got := y.feed(now, later); len(got) != len(all) {
		t.Errorf("a member's engine shows %q", got)
	}
}
