package epoch

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// recorder notes under which key and nonce every message was sealed, which it
// works out from the message and from keys of its own that never change.
type recorder struct {
	pristine map[protocol.EpochID]*Keys
	keys     map[[32]byte]string
	guarded  map[string]bool // key and nonce as the cipher took them
	repeats  int             // of a message key
}

func newRecorder() *recorder {
	return &recorder{pristine: map[protocol.EpochID]*Keys{}, keys: map[[32]byte]string{}, guarded: map[string]bool{}}
}

func (r *recorder) note(t testing.TB, g *group, f protocol.Frame) {
	t.Helper()
	b := must[messageBody](t)(parseMessage(f))
	k := r.pristine[b.Epoch]
	sdKey, sdNonce := senderDataKey(label.Expand, k.senderData, b.Ciphertext)
	s := decodeSender(must[[]byte](t)(aead(sdKey).Open(nil, sdNonce[:], b.Sender[:], k.aad(g.id))))
	c, _, err := k.chain(s.device)
	if err != nil {
		t.Fatal(err)
	}
	key := must[messageKey](t)(c.key(label.Expand, s.generation))
	what := fmt.Sprintf("epoch %x, device %x, generation %d", b.Epoch[:2], s.device[:2], s.generation)
	if _, ok := r.keys[key.key]; ok {
		r.repeats++
	}
	r.keys[key.key] = what
	pair := string(key.key[:]) + string(key.guarded(s.guard))
	if r.guarded[pair] {
		t.Fatalf("key and nonce come twice: %s", what)
	}
	r.guarded[pair] = true
}

// No (key, nonce) pair twice, and no message key twice, over many epochs and
// devices, however often the keys go through their records, and whatever was lost
// between the record and the network.
func TestKeyAndNonceOnce(t *testing.T) {
	g := newGroup(t, 4, 110)
	r, roll := newRecorder(), rand.New(rand.NewPCG(1, 2))
	type state struct {
		keys   *Keys
		base   []byte
		chains map[identity.DeviceID][]byte
	}
	store := func(s *state, d identity.DeviceID) { // what the caller commits before a frame leaves
		s.base = s.keys.MarshalBase()
		s.chains[d], _ = s.keys.MarshalChain(d)
	}
	restore := func(s *state) {
		s.keys = must[*Keys](t)(ParseKeys(s.base))
		for _, c := range s.chains {
			if err := s.keys.AddChain(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	sent, restored, lost := 0, 0, 0
	for e := range 6 {
		_, h, _ := g.issue(t, Parent{ID: protocol.EpochID{byte(e)}, Gen: uint32(e)})
		r.pristine[h.ID()] = g.open(t, h, 0)
		states := make([]*state, len(g.people))
		for i := range g.people {
			states[i] = &state{keys: g.open(t, h, i), chains: map[identity.DeviceID][]byte{}}
			states[i].base = states[i].keys.MarshalBase()
		}
		for range 150 {
			i := roll.IntN(len(g.people))
			s := states[i]
			f, _, err := s.keys.Seal(g.id, g.people[i].key, text("x"), g.random)
			if err != nil {
				t.Fatal(err)
			}
			switch roll.IntN(6) {
			case 0: // crash after the commit: the envelope went out or lies in the outbox
				store(s, g.people[i].id())
				restore(s)
				restored++
			case 1: // crash before the commit: the frame never leaves
				restore(s)
				lost++
				continue
			default:
				store(s, g.people[i].id())
			}
			r.note(t, g, f)
			sent++
			for j, other := range states {
				if j != i && roll.IntN(2) == 0 {
					o := must[*Opened](t)(other.keys.Open(g.id, f, g.lookup))
					if err := o.Commit(); err != nil {
						t.Fatal(err)
					}
					store(other, g.people[i].id())
				}
			}
		}
	}
	if r.repeats != 0 || len(r.keys) != sent || restored < 50 || lost < 50 {
		t.Errorf("%d messages, %d keys, %d repeats, %d restored, %d lost", sent, len(r.keys), r.repeats, restored, lost)
	}
}

// A copy that is older than what was sent, which no caller may use, does repeat a
// key; the recorder sees it, and the guard keeps the nonces apart.
func TestRecorderSeesAnOldCopy(t *testing.T) {
	g := newGroup(t, 2, 111)
	_, h, k := g.issue(t)
	r := newRecorder()
	r.pristine[h.ID()] = g.open(t, h, 0)
	old := must[*Keys](t)(ParseKeys(k.MarshalBase()))
	for _, from := range []*Keys{k, old} {
		f, _, err := from.Seal(g.id, g.people[0].key, text("x"), g.random)
		if err != nil {
			t.Fatal(err)
		}
		r.note(t, g, f)
	}
	if r.repeats != 1 || len(r.guarded) != 2 {
		t.Errorf("%d repeats seen, %d pairs", r.repeats, len(r.guarded))
	}
}

// Spec 30 section 5: 1,000 messages of one author in an order by dice.
func TestBurstInRandomOrder(t *testing.T) {
	g := newGroup(t, 2, 112)
	_, h, k := g.issue(t)
	reader := g.open(t, h, 1)
	frames := make([]protocol.Frame, 1_000)
	for i := range frames {
		f, _, err := k.Seal(g.id, g.people[0].key, text(fmt.Sprint(i)), g.random)
		if err != nil {
			t.Fatal(err)
		}
		frames[i] = f
	}
	read := 0
	for n, i := range rand.New(rand.NewPCG(3, 4)).Perm(len(frames)) {
		if g.read(t, reader, frames[i]) == fmt.Sprint(i) {
			read++
		}
		if n%250 == 0 {
			reader = reload(t, reader)
		}
	}
	if c := reader.chains[g.people[0].id()]; read != 1_000 || len(c.skipped) != 0 {
		t.Errorf("%d read, %d keys left", read, len(c.skipped))
	}
}

// Spec 30 section 8: what is erased is gone from the record too, and only that.
func TestErase(t *testing.T) {
	g := newGroup(t, 3, 113)
	_, h, k := g.issue(t)
	reader := g.open(t, h, 1)
	var frames [2][]protocol.Frame
	for i := range 4 {
		for a := range 2 {
			f, _, err := k.Seal(g.id, g.people[a*2].key, text("x"), g.random)
			if err != nil {
				t.Fatal(err)
			}
			frames[a] = append(frames[a], f)
			if i == 2 {
				g.read(t, reader, f)
			}
		}
	}
	var was chainRecord
	record, _ := reader.MarshalChain(g.people[0].id())
	if err := wire.Unmarshal(record, MaxChainRecord, &was); err != nil {
		t.Fatal(err)
	}
	if n := reader.EraseSkipped(g.people[0].id()); n != 2 {
		t.Errorf("%d keys erased", n)
	}
	if n := reader.EraseSkipped(g.people[1].id()); n != 0 {
		t.Errorf("%d keys of nobody erased", n)
	}
	record, _ = reader.MarshalChain(g.people[0].id())
	if bytes.Contains(record, was.Skipped[4:36]) {
		t.Error("an erased key is in the record")
	}
	reader = reload(t, reader)
	for a := range 2 {
		for i, want := range []bool{a == 1, a == 1, false, true} {
			_, err := reader.Open(g.id, frames[a][i], g.lookup)
			if want != (err == nil) || (!want && !errors.Is(err, ErrReplay)) {
				t.Errorf("author %d, message %d: %v", a, i, err)
			}
		}
	}
	org := reader.org
	reader.EraseOrg()
	if _, _, ok := reader.Inbox(); ok || reader.org != [32]byte{} || bytes.Contains(reader.MarshalBase(), org[:]) || reload(t, reader).Organiser() {
		t.Error("the organisers' secret is still there")
	}
	if err := h.Confirm(reader); err != nil {
		t.Error(err)
	}
}
