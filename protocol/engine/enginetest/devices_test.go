package enginetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// addDevice signs a second device of x, as x's phone does, and gives it to n.
func addDevice(t *testing.T, n, x *Node, seed byte) identity.DeviceID {
	t.Helper()
	l := logOf(t, n)
	d := identity.DeviceKeyFromSeed([32]byte{seed, 77})
	cert := identity.Certify(n.id, memberKey(t, x), d)
	kem, err := epoch.NewKEMPrivate(n.random)
	must(t, err)
	kp := group.NewKeyPackage(n.id, d, group.KeyPackage{Cert: cert, KEM: kem.Public(),
		Lane: epoch.MailKeyFromSeed([32]byte{seed, 78}).Public(), Expires: n.Now().Unix() + 3600})
	op, err := l.NewOp(device(t, x), x.member, group.AddDevice{Cert: cert.Marshal(), KeyPackage: kp.ID(n.id)}, nil, n.Now().Unix())
	must(t, err)
	// x's phone has it, or it would take it for the work of a copy.
	x.Stop()
	id, kid := op.ID(n.id), kp.ID(n.id)
	x.Store.Commit(engine.Batch{Puts: []engine.Record{{Table: tableOfOps, Key: id[:], Value: op.Marshal()},
		{Table: tableOfKeyFrames, Key: kid[:], Value: kp.Marshal()}}})
	must(t, x.Start())
	k, a := secrets(t, n), asMember(t, n)
	a.give(sealed(t, k, n, op))
	a.give(sealed(t, k, n, kp))
	a.step(engine.PeerDown{Peer: a.id})
	return d.Public().ID()
}

// A device that a member adds is told of, and the member takes it out again; so
// does an organiser with another's. The next epoch is without them.
func TestDevicesComeAndGo(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	for _, n := range w.nodes {
		n.Events = nil
	}
	d1 := addDevice(t, ana, ben, 1)
	must(t, w.Run(engine.Seconds(60)))
	d2 := addDevice(t, ana, cam, 2)
	must(t, w.Run(engine.Seconds(60)))
	for _, n := range []*Node{ana, ben, cam} {
		got := toldOf(n, engine.EventAuthority)
		// The phone on which a device was added knows of it since before its start.
		if want := map[*Node]int{ana: 2, ben: 1, cam: 1}[n]; len(got) != want || want == 2 && got[0] == got[1] {
			t.Errorf("%s is told of %v", n.Name, got)
		}
		n.Events = nil
		for _, x := range []*Node{ben, cam} {
			if l, err := n.Engine.Devices(x.member.String()); err != nil || len(l) != 2 {
				t.Errorf("%s: devices of %s: %v %v", n.Name, x.Name, l, err)
			}
		}
	}
	if err := ben.removeDevice(d2.String()); err == nil {
		t.Error("a member removes another's device")
	}
	gen := ana.epoch()
	must(t, ben.removeDevice(d1.String()[:6]))
	if ben.epoch() != gen {
		t.Error("a reader issued an epoch")
	}
	must(t, w.Run(engine.Seconds(120)))
	if ana.epoch() != gen+1 || ben.epoch() != gen+1 || ana.Engine.Waiting() {
		t.Errorf("epochs %d and %d, was %d", ana.epoch(), ben.epoch(), gen)
	}
	must(t, ana.removeDevice(d2.String()[:6]))
	if ana.epoch() != gen+2 {
		t.Error("an organiser did not renew at once")
	}
	must(t, w.Run(engine.Seconds(120)))
	for _, n := range []*Node{ana, ben, cam} {
		if got := toldOf(n, engine.EventAuthority); n.epoch() != gen+2 || len(got) != 2 || got[0] == got[1] {
			t.Errorf("%s at epoch %d, told of %v", n.Name, n.epoch(), got)
		}
		l, err := n.Engine.Devices(ben.member.String())
		if must(t, err); len(l) != 2 || !l[0].Effective || l[1].Effective || l[1].ID != d1 {
			t.Errorf("%s: %+v", n.Name, l)
		}
	}
	must(t, w.Check())
}

// An organiser's phone was replaced: the others set the new one, the old one reads
// nothing later, votes no more and is cut off at once.
func TestReplacedPhone(t *testing.T) {
	w, ana, ben, cam := organised(t)
	d1 := addDevice(t, ana, ben, 1)
	must(t, w.Run(engine.Seconds(120)))
	set := func(n *Node) engine.Proposed {
		return n.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetDevices(now, ben.member.String(), []string{d1.String()[:8]})
		})
	}
	must(t, ben.Post("ancien", "Corps.", 0))
	must(t, w.Run(engine.Seconds(30)))
	set(ana)
	must(t, w.Run(engine.Seconds(30)))
	gen := cam.epoch()
	if p := set(cam); !p.Effective || p.Have < 2 || p.Need != 2 || p.Of != 3 {
		t.Errorf("%+v", p)
	}
	if cam.epoch() != gen+1 {
		t.Errorf("epoch %d, was %d", cam.epoch(), gen)
	}
	must(t, w.Run(engine.Seconds(120)))
	must(t, ana.Post("neuf", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	for _, name := range []string{"ancien", "neuf"} {
		var shown bool
		for _, v := range cam.Engine.Notices(cam.Now(), nil, false) {
			shown = shown || v.Title == name
		}
		if !shown {
			t.Errorf("%q is not shown", name)
		}
	}
	if _, err := ben.See("neuf"); err == nil {
		t.Error("the old phone reads on")
	}
	for _, o := range ana.Engine.Authority().Organisers {
		if o.ID == ben.member && !slices.Equal(o.Devices, []identity.DeviceID{d1}) {
			t.Errorf("ben votes by %v", o.Devices)
		}
	}
	before := ben.Store.names()
	if _, err := ben.Expel(ana); err == nil {
		t.Error("the old phone proposes")
	}
	if !slices.Equal(before, ben.Store.names()) {
		t.Error("a refused command left something")
	}
}

// TestOwnDeviceIsRemoved: a member adds a device and removes it. Everybody is
// told of both, and the keys are renewed without it.
func TestOwnDeviceIsRemoved(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	for _, n := range w.nodes {
		n.Events = nil
	}
	added := ana.Now().Unix()
	id := addDevice(t, ana, ben, 1)
	must(t, w.Run(engine.Seconds(30)))
	for _, n := range w.nodes {
		list, err := n.Engine.Devices(ben.member.String())
		must(t, err)
		i := slices.IndexFunc(list, func(d engine.DeviceView) bool { return d.ID == id })
		if len(list) != 2 || i < 0 || !list[i].Effective || list[i].Operating || list[i].Self || list[i].AddedAt != added {
			t.Fatalf("%s lists the devices %+v", n.Name, list)
		}
		if got := toldOf(n, engine.EventMembers); n != ben && !slices.Equal(got, []string{ben.member.String()}) {
			t.Errorf("%s is told of %v", n.Name, got)
		}
	}
	before := ana.epoch()
	if err := cam.removeDevice(id.String()); !errors.Is(err, engine.ErrNotOrganiser) {
		t.Errorf("another's device: %v", err)
	}
	for _, n := range w.nodes {
		n.Events = nil
	}
	must(t, ben.removeDevice(id.String()[:8]))
	must(t, w.Run(engine.Seconds(90)))
	for _, n := range w.nodes {
		list, err := n.Engine.Devices(ben.member.String())
		must(t, err)
		i := slices.IndexFunc(list, func(d engine.DeviceView) bool { return d.ID == id })
		if i < 0 || list[i].Effective {
			t.Errorf("%s has the device still: %+v", n.Name, list)
		}
		if c := n.Engine.Changes(1)[0]; c.Kind != group.KindRemoveDevice || c.By != ben.member || c.Device != id || c.Target != ben.member || !c.Effective {
			t.Errorf("%s: the newest change is %+v", n.Name, c)
		}
		if got := toldOf(n, engine.EventMembers); !slices.Equal(got, []string{ben.member.String()}) {
			t.Errorf("%s is told of %v", n.Name, got)
		}
		if n.epoch() <= before || n.waits() {
			t.Errorf("%s is at epoch %d: the keys are not renewed", n.Name, n.epoch())
		}
	}
	must(t, w.Check())
}

func (n *Node) removeDevice(id string) error {
	_, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.RemoveDevice(now, id) })
	return err
}
