package group

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// actor is one device of one person, made from numbers.
type actor struct {
	member identity.MemberKey
	device identity.DeviceKey
	kem    protocol.KEMPublic
	lane   protocol.LanePublic
}

func seed(kind byte, n int) (s [32]byte) {
	s[0] = kind
	binary.BigEndian.PutUint32(s[1:], uint32(n))
	return s
}

var kemCache = map[int]protocol.KEMPublic{}

func kemOf(n int) protocol.KEMPublic {
	if k, ok := kemCache[n]; ok {
		return k
	}
	s := seed('k', n)
	k, err := hpke.MLKEM768X25519().DeriveKeyPair(s[:])
	if err != nil {
		panic(err)
	}
	kemCache[n] = protocol.KEMPublic(k.PublicKey().Bytes())
	return kemCache[n]
}

func person(n int) actor { return deviceOf(n, 0) }

func deviceOf(n, d int) actor {
	return actor{
		member: identity.MemberKeyFromSeed(seed('m', n)), device: identity.DeviceKeyFromSeed(seed('d', n*100+d)),
		kem: kemOf(n*100 + d), lane: protocol.LanePublic{1, byte(n), byte(d)},
	}
}

func (a actor) id() identity.MemberID  { return a.member.Public().ID() }
func (a actor) dev() identity.DeviceID { return a.device.Public().ID() }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func found(t testing.TB, p Policy, founders ...actor) Genesis {
	t.Helper()
	var list []Founder
	for _, f := range founders {
		list = append(list, Founder{Member: f.member, Device: f.device, KEM: f.kem, Lane: f.lane})
	}
	g, err := NewGenesis(zeros{}, list, RecoveryPublic{}, p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// world signs operations with any parents, as a hostile device can.
type world struct {
	g      Genesis
	frames []protocol.Frame
	ids    []protocol.OpID
	seq    map[identity.DeviceID]uint64
	last   map[identity.DeviceID]protocol.OpID

	epochHeads []protocol.EpochID // of what is signed next
}

func newWorld(g Genesis) *world {
	return &world{g: g, seq: map[identity.DeviceID]uint64{}, last: map[identity.DeviceID]protocol.OpID{}}
}

func (w *world) sign(a actor, o Op) protocol.OpID {
	o.Version, o.Member = 1, a.id()
	o.Parents = protocol.SortIDs(slices.Clone(o.Parents))
	f := protocol.SignFrame(w.g.ID(), protocol.KindOp, a.device, wire.Marshal(o))
	id := protocol.OpID(f.ID(w.g.ID()))
	w.frames, w.ids = append(w.frames, f), append(w.ids, id)
	return id
}

// raw signs the device's next operation.
func (w *world) raw(a actor, kind OpKind, payload []byte, parents ...protocol.OpID) protocol.OpID {
	d := a.dev()
	id := w.sign(a, Op{Kind: kind, Seq: w.seq[d] + 1, PrevOwn: w.last[d], Parents: parents, EpochHeads: w.epochHeads, Payload: payload})
	w.seq[d]++
	w.last[d] = id
	return id
}

func (w *world) op(a actor, p Payload, parents ...protocol.OpID) protocol.OpID {
	return w.raw(a, p.Kind(), p.marshal(), parents...)
}

func (w *world) add(of actor) AddMember {
	return AddMember{
		Cert:       identity.Certify(w.g.ID(), of.member, of.device).Marshal(),
		KeyPackage: w.pack(of).ID(w.g.ID()),
	}
}

func (w *world) pack(of actor) protocol.Frame {
	return NewKeyPackage(w.g.ID(), of.device, KeyPackage{
		Cert: identity.Certify(w.g.ID(), of.member, of.device), Invite: protocol.InviteID{1},
		Inviter: [32]byte{2}, KEM: of.kem, Lane: of.lane, Expires: 1000,
	})
}

// log takes all frames in the order in which they were signed.
func (w *world) log(t testing.TB) *Log {
	t.Helper()
	l := NewLog(w.g)
	for i, f := range w.frames {
		if r, err := l.Add(f); err != nil || r.Outcome != Added {
			t.Fatalf("op %d: %v, %v", i, r.Outcome, err)
		}
	}
	return l
}

// dump writes down all that a roster says.
func dump(r *Roster, devices []identity.DeviceID) string {
	var b strings.Builder
	for _, m := range r.Members() {
		fmt.Fprintf(&b, "%v %v %v %v:", m.ID, m.Role, r.MayPost(m.ID), m.Suspended)
		for _, d := range m.Devices {
			fmt.Fprintf(&b, " %v", d.ID)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "boxed %v\noperators %v\n", r.Boxed(), r.Operators())
	for _, d := range r.Decisions() {
		fmt.Fprintf(&b, "decided %v\n", d.ID)
	}
	for _, id := range r.Removals() {
		fmt.Fprintf(&b, "removal %v\n", id)
	}
	for _, d := range devices {
		if c, ok := r.Cutoff(d); ok {
			fmt.Fprintf(&b, "cut %v %d %v\n", d, c.Seq, c.Content)
		}
	}
	return b.String()
}

// history draws a hostile history: any parents, any signer.
func history(rnd *rand.Rand, g Genesis, founders int, steps int) (*world, []identity.DeviceID) {
	w := newWorld(g)
	var cast []actor
	for n := range founders + 4 {
		cast = append(cast, person(n), deviceOf(n, 1))
	}
	var devices []identity.DeviceID
	for _, a := range cast {
		devices = append(devices, a.dev())
	}
	log := NewLog(g)
	var good []protocol.OpID
	for len(w.frames) < steps {
		var signer actor
		if rnd.IntN(4) > 0 {
			signer = cast[2*rnd.IntN(founders)]
		} else {
			signer = cast[rnd.IntN(len(cast))]
		}
		other := cast[2*founders+rnd.IntN(len(cast)-2*founders)]
		if rnd.IntN(8) == 0 {
			other = cast[rnd.IntN(len(cast))]
		}
		var parents []protocol.OpID
		for range rnd.IntN(4) {
			if len(good) > 0 {
				// Mostly recent ones, sometimes any: a backdated operation.
				k := len(good) - 1 - rnd.IntN(min(len(good), 1+rnd.IntN(len(good))))
				if p := good[k]; !slices.Contains(parents, p) {
					parents = append(parents, p)
				}
			}
		}
		cuts := func() []Cutoff {
			if rnd.IntN(2) == 0 {
				return nil
			}
			return []Cutoff{{Device: other.dev(), Seq: 1 + rnd.Uint64N(3), Content: protocol.ContentID{byte(1 + rnd.IntN(3))}}}
		}
		d := signer.dev()
		seqBefore, lastBefore := w.seq[d], w.last[d]
		var p Payload
		switch rnd.IntN(10) {
		case 0, 1, 2, 3:
			p = w.add(other)
		case 4, 5:
			p = RemoveMember{Target: other.id(), Cutoffs: cuts()}
		case 6:
			p = GrantAuthor{Target: other.id()}
		case 7:
			p = RevokeAuthor{Target: other.id(), Cutoffs: cuts()}
		case 8:
			p = RemoveDevice{Device: other.dev(), Seq: 2, Content: protocol.ContentID{9}}
		}
		var id protocol.OpID
		switch {
		case p != nil:
			id = w.op(signer, p, parents...)
		case rnd.IntN(2) == 0:
			id = w.op(signer, Merge{}, parents...)
		default:
			id = w.raw(signer, OpKind(rnd.IntN(60)+10), []byte{byte(rnd.IntN(256))}, parents...)
		}
		if r, err := log.Add(w.frames[len(w.frames)-1]); err == nil && r.Outcome == Added {
			good = append(good, id)
			if rnd.IntN(12) == 0 { // forget: the next one equivocates
				w.seq[d], w.last[d] = seqBefore, lastBefore
			}
		} else { // refused for ever; a stranger's chain does not start with it
			w.seq[d], w.last[d] = seqBefore, lastBefore
		}
	}
	return w, devices
}
