package enginetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// stored lists the frames in a node's envelopes that pass the filter, with the
// envelope of each, in the order of their rows. Lanes are passed over.
func (n *Node) stored(t *testing.T, keep func(f protocol.Frame) bool) (frames []protocol.Frame, envelopes [][]byte) {
	t.Helper()
	keys := map[protocol.EpochID]*epoch.Keys{}
	for _, r := range n.Store.rows[tableOfSecrets] {
		k, err := epoch.ParseKeys(bytes.Clone(r.value))
		must(t, err)
		keys[k.Epoch()] = k
	}
	for _, row := range n.Store.keys(tableOfEnvelopes) {
		k, day := keys[protocol.EpochID([]byte(row)[:32])], binary.BigEndian.Uint32([]byte(row)[32:])
		if k == nil || day == 0 {
			continue
		}
		envelope := n.Store.rows[tableOfEnvelopes][row].value
		b, err := epoch.CommonMailbox(k.Net(), day).Open(envelope)
		if err != nil {
			continue // it lies in the inbox of the day
		}
		f, err := protocol.ParseFrame(b)
		must(t, err)
		if keep(f) {
			frames, envelopes = append(frames, f), append(envelopes, envelope)
		}
	}
	return frames, envelopes
}

// epochFrame is the header in a row of an epoch.
func epochFrame(t *testing.T, value []byte) protocol.Frame {
	t.Helper()
	var row struct {
		_               struct{} `cbor:",toarray"`
		Frame           []byte
		Accepted, Exact bool
		Covered, Came   int64
		Erased          bool
		Asked           uint32
	}
	must(t, wire.Unmarshal(value, engine.MaxValueSize, &row))
	f, err := protocol.ParseFrame(row.Frame)
	must(t, err)
	return f
}

func (n *Node) frozen(t *testing.T) bool {
	t.Helper()
	err := n.Post("gel", "Corps.", 0)
	if err != nil && !errors.Is(err, engine.ErrCopied) {
		t.Fatal(err)
	}
	if n.Engine.Frozen() != (err != nil) {
		t.Errorf("%s is frozen: %t, and writes: %v", n.Name, n.Engine.Frozen(), err)
	}
	return err != nil
}

// What a device did send freezes it in no mailbox, and in no wrapping, into which
// a member puts it: members must not be able to silence one another.
func TestOwnFramesDoNotFreeze(t *testing.T) {
	w, ana, ben, cam := organised(t)
	must(t, ben.Post("un", "Corps.", 0))
	_, err := ben.SetPolicy(group.PostAuthors)
	must(t, err)
	must(t, w.Run(engine.Seconds(60)))
	old := secrets(t, ana)
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(120)))
	k := secrets(t, ana)
	if old.Epoch() == k.Epoch() {
		t.Fatal("the epoch did not change")
	}
	d := device(t, ben).Public().ID()
	frames, _ := ana.stored(t, func(f protocol.Frame) bool { return f.Device == d })
	kinds := map[protocol.FrameKind]bool{}
	today := ana.Now().Day()
	for _, f := range frames {
		kinds[f.Kind] = true
		batch := protocol.SignFrame(ana.id, protocol.KindBatch, device(t, ana), wire.Marshal([][]byte{f.Marshal()}))
		for _, keys := range []*epoch.Keys{old, k} {
			for _, day := range []protocol.Day{today - 1, today, today + 1} {
				for _, x := range []protocol.Frame{f, batch} {
					envelope, err := epoch.CommonMailbox(keys.Net(), day).Seal(x.Marshal())
					must(t, err)
					asMember(t, ben).give(envelope)
				}
			}
		}
		if ben.frozen(t) {
			t.Fatalf("a frame of kind %d that it sent freezes it", f.Kind)
		}
	}
	for _, kind := range []protocol.FrameKind{protocol.KindMessage, protocol.KindOp, protocol.KindKeyUpdate} {
		if !kinds[kind] {
			t.Errorf("no frame of kind %d was tried", kind)
		}
	}
	ben.Stop()
	must(t, ben.Start())
	if ben.frozen(t) {
		t.Error("it freezes with a start")
	}
}

// What a copy signs freezes the device: each kind of frame, alone and wrapped,
// for good. One row of the storage says so, and one error.
func TestCopiesFreeze(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  protocol.FrameKind
		batch bool
		do    func(x, cam *Node) error
	}{
		{"message", protocol.KindMessage, false, func(x, _ *Node) error { return x.Post("faux", "Corps.", 0) }},
		{"operation", protocol.KindOp, false, func(x, cam *Node) error { _, err := x.Expel(cam); return err }},
		{"wrapped operation", protocol.KindOp, true, func(x, cam *Node) error { _, err := x.Expel(cam); return err }},
		{"epoch", protocol.KindEpoch, false, func(x, cam *Node) error { return x.Suspend(cam) }},
		{"key", protocol.KindKeyUpdate, false, func(x, cam *Node) error { return x.Suspend(cam) }},
		{"wrapped key", protocol.KindKeyUpdate, true, func(x, cam *Node) error { return x.Suspend(cam) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, ana, ben, cam := organised(t)
			must(t, w.Run(engine.Seconds(120)))
			x, err := w.Copy(ben, "Copy")
			must(t, err)
			for _, n := range []*Node{ana, ben, cam} {
				w.Cut(x, n)
				w.Cut(n, x)
			}
			must(t, c.do(x, cam))
			d, k := device(t, ben).Public().ID(), secrets(t, ben)
			has, _ := ben.stored(t, func(f protocol.Frame) bool { return f.Device == d })
			news, _ := x.stored(t, func(f protocol.Frame) bool {
				for _, h := range has {
					if h.ID(ben.id) == f.ID(ben.id) {
						return false
					}
				}
				return f.Device == d && f.Kind == c.kind
			})
			if c.kind == protocol.KindEpoch { // it lies in a lane
				for _, id := range x.Store.keys(tableOfEpochs) {
					if _, known := ben.Store.rows[tableOfEpochs][id]; known {
						continue
					}
					news = append(news, epochFrame(t, x.Store.rows[tableOfEpochs][id].value))
				}
			}
			if len(news) == 0 {
				t.Fatal("the copy signed nothing of the kind")
			}
			f := news[0]
			if c.batch {
				f = protocol.SignFrame(ana.id, protocol.KindBatch, device(t, ana), wire.Marshal([][]byte{f.Marshal()}))
			}
			asMember(t, ben).give(sealed(t, k, ben, f))
			for range 2 {
				if !ben.frozen(t) {
					t.Error("it does not freeze")
				}
				if _, err := ben.Organise(cam); !errors.Is(err, engine.ErrCopied) && !errors.Is(err, engine.ErrAlready) {
					t.Errorf("it signs: %v", err)
				}
				if _, err := ben.SetPolicy(group.PostOrganisers); !errors.Is(err, engine.ErrCopied) {
					t.Errorf("it signs: %v", err)
				}
				if row, _ := ben.Store.Get(tableOfMeta, []byte("frozen")); row == nil {
					t.Error("the storage does not say so")
				}
				ben.Stop()
				must(t, ben.Start())
			}
			// It reads on, and signs nothing by itself either.
			known := map[protocol.ItemID]bool{}
			for _, f := range news {
				known[f.ID(ben.id)] = true // ana tells what the copy signed in the sending epoch
			}
			own := func(f protocol.Frame) bool { return f.Device == d && !known[f.ID(ben.id)] }
			before, _ := ben.stored(t, own)
			must(t, ana.Post("vrai", "Corps.", 0))
			must(t, w.Run(engine.Seconds(600)))
			after, _ := ben.stored(t, own)
			if len(after) > len(before) {
				t.Errorf("%d frames of its own became %d", len(before), len(after))
			}
			if _, err := ben.See("vrai"); err != nil {
				t.Error("it does not read on: ", err)
			}
		})
	}
}
