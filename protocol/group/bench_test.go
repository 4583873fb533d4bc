package group

import (
	"encoding/json"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// bigWorld is a group of 500 members with n operations in all.
func bigWorld(b testing.TB, n int) *world {
	ann, ben := person(0), person(1)
	w := newWorld(found(b, DefaultPolicy(500), ann, ben))
	var last []protocol.OpID
	for i := range protocol.MaxMembers - 2 {
		a := actor{member: identity.MemberKeyFromSeed(seed('m', 10+i)), device: identity.DeviceKeyFromSeed(seed('d', 7000+i))}
		add := AddMember{Cert: identity.Certify(w.g.ID(), a.member, a.device).Marshal(), KeyPackage: protocol.ItemID{byte(i)}}
		last = []protocol.OpID{w.op(ann, add, last...)}
	}
	for i := len(w.ids); i < n; i++ { // two organisers side by side, merged at times
		who := []actor{ann, ben}[i%2]
		target := identity.MemberKeyFromSeed(seed('m', 10+i%400)).Public().ID()
		id := w.op(who, GrantAuthor{Target: target}, last...)
		if i%5 == 0 {
			last = []protocol.OpID{id}
		}
	}
	return w
}

func BenchmarkAdd5000(b *testing.B) {
	w := bigWorld(b, 5000)
	b.ReportAllocs()
	for b.Loop() {
		l := NewLog(w.g)
		for _, f := range w.frames {
			if _, err := l.Add(f); err != nil {
				b.Fatal(err)
			}
		}
		bytes := 0
		pages := map[*page]bool{}
		for _, n := range l.nodes {
			bytes += 8 * len(n.past)
			for _, p := range n.past {
				if !pages[p] {
					pages[p] = true
					bytes += pageBits / 8
				}
			}
		}
		b.ReportMetric(float64(bytes)/float64(l.Len()), "past-bytes/op")
	}
}

func BenchmarkResolve500Of5000(b *testing.B) {
	w := bigWorld(b, 5000)
	l := NewLog(w.g)
	for _, f := range w.frames {
		l.Add(f)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.rosters.now = nil
		if len(l.Resolve().Members()) != protocol.MaxMembers {
			b.Fatal("members are missing")
		}
	}
}

// Limits bind in the order of what the adds had seen; organisers come first.
func TestLimits(t *testing.T) {
	w := bigWorld(t, protocol.MaxMembers-2)
	l := w.log(t)
	extra := person(3)
	if _, err := l.NewOp(person(0).device, person(0).id(), w.add(extra), nil, 1); err != ErrGroupFull {
		t.Errorf("builder: %v", err)
	}
	w.op(person(1), w.add(extra), l.Heads()...)
	l = w.log(t)
	if r := l.Resolve(); len(r.Members()) != protocol.MaxMembers || r.IsMember(extra.id()) || !r.IsMember(person(1).id()) {
		t.Error("the last one is in, or somebody else is out")
	}
	// Five devices of one member: four count.
	w = newWorld(w.g)
	var last []protocol.OpID
	for i := range 5 {
		last = []protocol.OpID{w.op(person(0), w.add(deviceOf(4, i)), last...)}
	}
	m, _ := w.log(t).Resolve().Member(person(4).id())
	if len(m.Devices) != protocol.MaxDevicesPerMember || len(m.Former) != 1 || m.Former[0].ID != deviceOf(4, 4).dev() {
		t.Errorf("%d devices, %d former", len(m.Devices), len(m.Former))
	}
}

// A roster is shown and logged by layers above: no private key is in reach.
func TestRosterHoldsNoPrivateKey(t *testing.T) {
	l := newWorld(found(t, DefaultPolicy(3), person(0))).log(t)
	if _, err := json.Marshal(l.Resolve().Members()); err != nil {
		t.Error(err) // a private key refuses to be encoded
	}
}
