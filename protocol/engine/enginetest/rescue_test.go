package enginetest

import (
	"encoding/binary"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// seedsAt lists the rescue seeds that a phone holds of another one's, or of its own
// device, by counter.
func seedsAt(n, of *Node) map[uint64][32]byte { return seedsOf(n, deviceOf(of)) }

func seedsOf(n *Node, d identity.DeviceID) map[uint64][32]byte {
	list := map[uint64][32]byte{}
	for k, r := range n.Store.rows[tableOfSeeds] {
		if identity.DeviceID([]byte(k[:16])) == d {
			list[binary.BigEndian.Uint64([]byte(k[16:]))] = seedOf(r.value)
		}
	}
	return list
}

func deviceOf(n *Node) identity.DeviceID { return n.gate.Device.Public().ID() }

// Every device's rescue seed reaches every operating device, and nobody else; when
// the organisers are others it is a new one, and the older one goes in time.
func TestSeedsReachTheOrganisers(t *testing.T) {
	for _, v := range levels {
		t.Run(v.name, func(t *testing.T) {
			w, ana, ben, cam := gathered(t)
			if v.high {
				ana.ask(t, func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
					return e.SetPolicy(now, func(p group.Policy) group.Policy { p.HighRisk = true; return p })
				})
			}
			must(t, w.Run(engine.Seconds(600)))
			for _, n := range []*Node{ben, cam} {
				if s := seedsAt(ana, n); len(s) != 1 || s[1] != seedsAt(n, n)[1] {
					t.Errorf("the organiser holds %d seeds of %s", len(s), n.Name)
				}
			}
			if len(seedsAt(ben, cam))+len(seedsAt(ben, ana)) != 0 {
				t.Error("a reader holds seeds of others")
			}

			// A second organiser: everybody draws another one and tells both.
			ana.promote(t, ben)
			must(t, w.Run(engine.Seconds(600)))
			for _, n := range []*Node{ana, ben} {
				own := seedsAt(cam, cam)
				if s := seedsAt(n, cam); len(own) != 2 || own[1] == own[2] || s[2] != own[2] {
					t.Errorf("%s holds %d seeds of cam, who has %d", n.Name, len(s), len(own))
				}
			}
			if s := seedsAt(ana, ben); s[2] == s[1] && len(s) > 1 {
				t.Error("ben's seed did not change")
			}

			// He is stopped: what he knows is not what the others know.
			old := seedsAt(ben, cam)
			must(t, ana.Suspend(ben))
			must(t, w.Run(engine.Seconds(600)))
			if len(seedsAt(ben, cam)) != 0 || len(old) == 0 {
				t.Error("who was stopped still holds seeds of others")
			}
			if own := seedsAt(cam, cam); own[3] == old[2] || own[3] == ([32]byte{}) || seedsAt(ana, cam)[3] != own[3] {
				t.Error("cam did not draw another seed")
			}
			over := int64(30)
			if v.high {
				over = 7
			}
			must(t, w.Run(daysOf(over)-hour))
			if len(seedsAt(ana, cam)) != 3 || len(seedsAt(cam, cam)) != 3 {
				t.Error("an older seed is not served for as long as it should be")
			}
			must(t, w.Run(2*hour))
			if len(seedsAt(ana, cam)) != 1 || len(seedsAt(cam, cam)) != 1 {
				t.Errorf("older seeds are still there: %d and %d", len(seedsAt(ana, cam)), len(seedsAt(cam, cam)))
			}

			if !v.high {
				return // the rest is the same, and takes a month more
			}
			// Who is out is forgotten, a while later: it may be undone.
			must(t, ana.Remove(cam))
			must(t, w.Run(daysOf(over)-hour))
			if len(seedsAt(ana, cam)) != 1 {
				t.Error("the seed of who was removed went at once")
			}
			must(t, w.Run(2*hour))
			if len(seedsAt(ana, cam)) != 0 {
				t.Error("the seed of who was removed is still there")
			}
		})
	}
}

// Who was an organiser knows the seeds of before: they open no door for him, since
// his device is another one, and what a cut-off device gets under a seed of
// afterwards is not for him. Who is out gets nothing under his own.
func TestOldSeedsOpenNothing(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	ana.policy(t, func(p *group.Policy) { p.HighRisk = true })
	ana.promote(t, ben)
	must(t, w.Run(engine.Seconds(600)))
	known := seedsAt(ben, cam)
	must(t, ana.Suspend(ben))
	must(t, w.Run(engine.Seconds(600)))
	camDevice, spy := deviceOf(cam), w.spied()
	cam.Stop()
	w.pass(t, 16, cam)

	// Cam is cut off: his keys are accepted, from him alone.
	accepted := 0
	for _, k := range ana.gate.Accept {
		if k.Device != camDevice {
			continue
		}
		accepted++
		if admits(ana.gate, ben.gate, k) {
			t.Error("another device passes with cam's key")
		}
		if k.Device = (identity.DeviceID{}); !admits(ana.gate, ben.gate, k) {
			t.Error("it is not the key that keeps him out")
		}
	}
	if accepted == 0 {
		t.Fatal("cam is not expected")
	}
	must(t, cam.Start())
	must(t, w.Run(engine.Seconds(900)))
	if cam.epoch() != ana.epoch() {
		t.Fatal("cam did not come back")
	}
	newest := seedsAt(cam, cam)
	for counter, s := range known {
		if _, still := newest[counter]; still && len(newest) == 1 {
			t.Error("cam's seed is one that ben knows")
		}
		for _, k := range ana.gate.Accept {
			if k.Secret == ([32]byte)(epoch.RescueSeedFromBytes(s).Derive(label.GateRescue)) {
				t.Error("a seed that ben knows is served after its time")
			}
		}
		box := epoch.RescueMailbox(epoch.RescueSeedFromBytes(s))
		for _, e := range spy.envelopes {
			if _, err := box.Open(e); err == nil {
				t.Error("what cam got opens with a seed that ben knows")
			}
		}
	}
	fresh := false
	for _, s := range newest {
		box := epoch.RescueMailbox(epoch.RescueSeedFromBytes(s))
		for _, e := range spy.envelopes {
			_, err := box.Open(e)
			fresh = fresh || err == nil
		}
	}
	if !fresh {
		t.Error("the test did not see what cam got")
	}

	// He is removed: with his own seed, which is still kept, he gets nothing.
	tag := epoch.RescueMailbox(epoch.RescueSeedFromBytes(newest[3])).Address()
	in := attack(t, ana, engine.ClassCatchUp, tag)
	in.say(13, wire.Marshal([]protocol.OpID{}))
	if len(in.answers()) == 0 {
		t.Error("a member gets nothing under his seed")
	}
	must(t, ana.Remove(cam))
	out := attack(t, ana, engine.ClassCatchUp, tag)
	out.say(13, wire.Marshal([]protocol.OpID{}))
	if n := len(out.answers()); n != 0 || !out.closed {
		t.Errorf("who was removed gets %d messages, and is thrown out %t", n, out.closed)
	}
}
