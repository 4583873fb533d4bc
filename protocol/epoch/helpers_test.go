package epoch

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// dice is a random source by seed.
func dice(seed uint64) io.Reader {
	var s [32]byte
	binary.BigEndian.PutUint64(s[:], seed)
	return rand.NewChaCha8(s)
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// person is a device with all its keys.
type person struct {
	member identity.MemberID
	key    identity.DeviceKey
	kem    KEMPrivate
	pub    protocol.KEMPublic
}

func (p *person) id() identity.DeviceID { return p.key.Public().ID() }

// group is some devices; the first two are operating devices of organisers.
type group struct {
	id     protocol.GroupID
	people []*person
	random io.Reader
}

func newGroup(t testing.TB, n int, seed uint64) *group {
	g := &group{id: protocol.GroupID{byte(seed), 7}, random: dice(seed)}
	for range n {
		m := must[identity.MemberKey](t)(identity.NewMemberKey(g.random))
		p := &person{member: m.Public().ID()}
		p.key = must[identity.DeviceKey](t)(identity.NewDeviceKey(g.random))
		p.kem = must[KEMPrivate](t)(NewKEMPrivate(g.random))
		p.pub = p.kem.Public()
		g.people = append(g.people, p)
	}
	return g
}

func (g *group) draft(parents ...Parent) Draft {
	d := Draft{Group: g.id, Issuer: g.people[0].member, Device: g.people[0].key, Hedge: HedgeKeyOf(g.people[0].key),
		Seq: uint64(len(parents)) + 1, CreatedAt: 1_700_000_000, Parents: parents,
		GovHeads: []protocol.OpID{{9}, {3}}, Lanes: []protocol.LanePublic{{5}, {4}}}
	for i, p := range g.people {
		d.Recipients = append(d.Recipients, Recipient{Member: p.member, Device: p.id(), Key: &p.pub, Operator: i < 2})
	}
	return d
}

func (g *group) issue(t testing.TB, parents ...Parent) (protocol.Frame, *Header, *Keys) {
	t.Helper()
	f, k, err := Issue(g.draft(parents...), g.random)
	if err != nil {
		t.Fatal(err)
	}
	return f, must[*Header](t)(ParseHeader(g.id, f)), k
}

func (g *group) open(t testing.TB, h *Header, i int) *Keys {
	t.Helper()
	return must[*Keys](t)(h.Open(g.people[i].kem, i < 2))
}

func (g *group) lookup(d identity.DeviceID) (identity.DevicePublic, bool) {
	for _, p := range g.people {
		if p.id() == d {
			return p.key.Public(), true
		}
	}
	return identity.DevicePublic{}, false
}

func (g *group) expected() (out []Expected) {
	for _, p := range g.people {
		out = append(out, Expected{Member: p.member, Device: p.id(), Keys: []protocol.KEMRef{p.pub.Ref()}})
	}
	return out
}

func text(s string) protocol.Content {
	return protocol.Content{Type: protocol.TypeAnnouncement, GovHeads: []protocol.OpID{{1}, {2}}, DevSeq: 1,
		CreatedAt: 1_700_000_000, ExpiresAt: 1_700_100_000, Payload: []byte(s)}
}

// read opens and commits a message.
func (g *group) read(t testing.TB, k *Keys, f protocol.Frame) string {
	t.Helper()
	o := must[*Opened](t)(k.Open(g.id, f, g.lookup))
	if err := o.Commit(); err != nil {
		t.Fatal(err)
	}
	return string(o.Content.Payload)
}

// reload puts the keys through their records.
func reload(t testing.TB, k *Keys) *Keys {
	t.Helper()
	out := must[*Keys](t)(ParseKeys(k.MarshalBase()))
	for d := range k.chains {
		r, _ := k.MarshalChain(d)
		if err := out.AddChain(r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// page parses a page body in a frame of the issuer.
func (g *group) page(t testing.TB, body []byte) Page {
	t.Helper()
	return must[Page](t)(ParsePage(protocol.SignFrame(g.id, protocol.KindPage, g.people[0].key, body)))
}
