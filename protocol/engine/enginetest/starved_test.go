package enginetest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/wire"
)

// rubbish makes the box of somebody in an epoch unreadable, and all the rest of
// the header right again: no audit can see it.
func (x *seized) rubbish(f protocol.Frame, k *epoch.Keys, victim *Node) protocol.Frame {
	t := x.t
	t.Helper()
	type box struct {
		_   struct{} `cbor:",toarray"`
		Tag [8]byte
		Ct  []byte
	}
	type page struct {
		_     struct{} `cbor:",toarray"`
		Core  [32]byte
		Index uint16
		Boxes []box
	}
	type ref struct {
		_     struct{} `cbor:",toarray"`
		First [8]byte
		Page  [32]byte
	}
	var body struct {
		_         struct{} `cbor:",toarray"`
		Core      []byte
		Pages     [][]byte
		Conf, Org [32]byte
	}
	must(t, wire.Unmarshal(f.Body, protocol.RoomLarge, &body))
	var base struct {
		_                             struct{} `cbor:",toarray"`
		Version                       uint8
		Epoch                         protocol.EpochID
		Net, SenderData, Pad, Confirm [32]byte
		Org, Taken, Nodes             []byte
	}
	must(t, wire.Unmarshal(k.MarshalBase(), epoch.MaxBaseRecord, &base))
	core := label.Ref(label.EpochCore, body.Core)
	tags := map[[8]byte]bool{}
	for _, own := range x.ring.All(device(t, victim).Public().ID()) {
		key := label.Ref(label.KemKey, own.KEM[:])
		tag := label.Ref(label.BoxTag, append(bytes.Clone(core[:]), key[:]...))
		tags[[8]byte(tag[:8])] = true
	}
	var refs []ref
	spoilt := 0
	for i, b := range body.Pages {
		var p page
		must(t, wire.Unmarshal(b, protocol.RoomMedium, &p))
		for j := range p.Boxes {
			if tags[p.Boxes[j].Tag] {
				p.Boxes[j].Ct[1_150] ^= 1
				spoilt++
			}
		}
		body.Pages[i] = wire.Marshal(p)
		refs = append(refs, ref{First: p.Boxes[0].Tag, Page: label.Ref(label.Page, body.Pages[i])})
	}
	if spoilt != 1 {
		t.Fatalf("%d boxes are the victim's", spoilt)
	}
	pages := label.Ref(label.Pages, wire.Marshal(refs))
	mac := func(key [32]byte) [32]byte {
		h := hmac.New(sha256.New, key[:])
		h.Write(core[:])
		h.Write(pages[:])
		return [32]byte(h.Sum(nil))
	}
	body.Conf, body.Org = mac(base.Confirm), mac(label.Derive(base.Org, label.Confirm))
	return protocol.SignFrame(x.n.id, protocol.KindEpoch, x.device, wire.Marshal(body))
}

// Spec 95 row 71: the box of one member does not open, or is sealed to a key that is long
// erased. All others find the epoch good. The one left out asks for the next epoch
// by itself and gets it, also if the seized phone was quicker, again and again,
// until its owner is suspended.
func TestBoxThatDoesNotOpen(t *testing.T) {
	for _, c := range []struct {
		name  string
		again bool
		old   bool
	}{{"rubbish", false, false}, {"an earlier key", false, true}, {"rubbish again and again", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			w, x, ben, cam, dia, eve := heldUp(t)
			all := []*Node{ben, cam, dia, eve}
			bad := func(under *epoch.Header, heals ...protocol.ItemID) *epoch.Header {
				d := x.draft(under)
				d.Heals = heals
				if c.old {
					for i := range d.Recipients {
						if keys := x.ring.All(d.Recipients[i].Device); d.Recipients[i].Member == dia.member {
							d.Recipients[i].Key = &keys[len(keys)-1].KEM
						}
					}
				}
				f, h := x.issue(d)
				if !c.old {
					f = x.rubbish(f, x.keys[h.ID()], dia)
				}
				h, err := epoch.ParseHeader(x.n.id, f)
				must(t, err)
				x.heads[h.ID()] = h
				x.give(x.last, all, f)
				return h
			}
			u := x.heal()
			x.give(x.last, all, u)
			h := bad(x.last, u.ID(x.n.id))
			must(t, w.Run(engine.Seconds(30)))
			if ben.epoch() != h.Core.Gen || dia.epoch() == h.Core.Gen {
				t.Fatalf("ben is at epoch %d, dia at %d, the bad one is %d", ben.epoch(), dia.epoch(), h.Core.Gen)
			}
			talk(t, w, "pendant", ben, cam, eve)
			if c.again {
				// The seized phone answers each cry, at once, with another bad epoch.
				for range 2 {
					seen := len(x.ring.Heals())
					for range 20 {
						must(t, w.Run(engine.Seconds(10)))
						for _, r := range dia.Store.rows[tableOfKeyFrames] {
							f, err := protocol.ParseFrame(bytes.Clone(r.value))
							must(t, err)
							x.ring.Add(f)
						}
						if len(x.ring.Heals()) != seen {
							break
						}
					}
					h = bad(h, x.ring.Heals()...)
				}
			} else {
				// She asks after two minutes. The phones that can answer are started again
				// before they do, and do not forget it.
				for _, n := range []*Node{ben, cam} {
					n.still = n.Now()
				}
				must(t, w.Run(engine.Seconds(140)))
				for _, n := range []*Node{ben, cam} {
					n.Stop()
					n.still = 0
					must(t, n.Start())
				}
				must(t, w.Run(engine.Seconds(130)))
				talk(t, w, "de retour", all...)
			}
			// What was said under the keys that she cannot open was brought to her.
			must(t, w.Run(engine.Seconds(200)))
			dia.sees(t, true, "pendant "+ben.Name, "pendant "+cam.Name, "pendant "+eve.Name)
			if c.again {
				// The keys without her owner are issued where dia cannot look. She asks again.
				must(t, ben.Suspend(x.n))
				must(t, w.Run(engine.Seconds(3_600+300)))
				talk(t, w, "après une heure", all...)
			}
			for _, n := range []*Node{ben, cam, eve} {
				if _, err := dia.See("pendant " + n.Name); err != nil {
					t.Errorf("what %s said under the keys that dia could not open did not reach her: %v", n.Name, err)
				}
			}
			settledWithout(t, w, x, ben, cam, all...)
			if n := len(rejections(t, ben)); n > 0 {
				t.Errorf("%d epochs were rejected", n)
			}
		})
	}
}

// A member who asks again and again for what he cannot open gets it once for each
// epoch, and nothing of an epoch that was not for him.
func TestRequestsAreAnsweredOnce(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	must(t, cam.Post("avant", "Corps.", 0))
	must(t, w.Run(engine.Seconds(30)))
	x := seize(t, w, ben)
	x.give(x.last, []*Node{ana}, x.heal())
	must(t, w.Run(engine.Seconds(90)))
	if ana.epoch() != x.last.Core.Gen+1 {
		t.Fatal("the keys were not renewed")
	}
	ask := func(times int) int {
		t.Helper()
		a := asMember(t, ana)
		for i := range times {
			f, err := epoch.SealInbox(ana.id, x.device, x.last, epoch.RequestItem{KeyUpdate: protocol.ItemID{byte(i)}, Newest: x.last.ID()})
			must(t, err)
			e, err := epoch.InboxMailbox(x.keys[x.last.ID()].Net(), ana.Now().Day(), x.last.Core.InboxRead).Seal(f.Marshal())
			must(t, err)
			a.give(e)
		}
		a.step(engine.PeerDown{Peer: a.id})
		must(t, w.Run(engine.Seconds(90)))
		n := 0
		for _, k := range ana.Store.keys(tableOfEnvelopes) {
			if protocol.FrameKind(k[68]) == protocol.KindReBox {
				n++
			}
		}
		return n
	}
	if n := ask(30); n != 1 {
		t.Fatalf("%d answers", n)
	}
	if n := ask(30); n != 1 {
		t.Errorf("%d answers after asking again", n)
	}
	must(t, ana.Remove(ben))
	must(t, w.Run(engine.Seconds(90)))
	if n := ask(5); n != 1 {
		t.Errorf("%d answers for who is out", n)
	}
	talk(t, w, "après", ana, cam)
}
