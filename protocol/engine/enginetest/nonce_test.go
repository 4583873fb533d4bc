package enginetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// sealedAs is what the key of a message is a function of.
type sealedAs struct {
	epoch      protocol.EpochID
	device     identity.DeviceID
	generation uint32
}

// keysUsed reads from every phone's rows, after each step, under which key and
// with which guard of the nonce each content was sealed.
type keysUsed struct {
	x     *seizing
	by    map[sealedAs]map[protocol.ContentID][4]byte
	pairs int // of key and nonce that were used twice: the nonce is one of the key's, but for the guard
	keys  int // that were used twice
}

func (k *keysUsed) look() {
	k.x.t.Helper()
	for _, n := range k.x.nodes {
		if n.Store == nil {
			continue
		}
		for id, r := range n.Store.rows[rowsOfItems] {
			o, _, err := protocol.ParseOriginal(r.value)
			must(k.x.t, err)
			at := sealedAs{o.Epoch, o.Device, o.Generation}
			if k.by[at] == nil {
				k.by[at] = map[protocol.ContentID][4]byte{}
			}
			cid := protocol.ContentID([]byte(id))
			if _, seen := k.by[at][cid]; seen {
				continue
			}
			for _, guard := range k.by[at] {
				k.keys++
				if guard == o.Guard {
					k.pairs++
				}
			}
			k.by[at][cid] = o.Guard
		}
	}
}

// A year with crashes before and after commits: no key seals two messages. Then
// an old copy of a phone is put back. What it hears of itself freezes it, and it
// seals nothing again, also after a restart. What it sealed before it heard
// anything is under keys that were used, and no pair of key and nonce repeats:
// original and copy are looked at together.
func TestNoKeySealsTwiceInAYear(t *testing.T) {
	x := newSeizing(t, false)
	k := &keysUsed{x: x, by: map[sealedAs]map[protocol.ContentID][4]byte{}}
	for week := range 52 {
		for i, n := range []*Node{x.ana, x.ben} {
			switch x.random.IntN(4) {
			case 0:
				n.crashIn = 1 + x.random.IntN(3)
			case 1:
				n.crashSent = 1 + x.random.IntN(3)
			}
			for j := range 3 {
				err := n.Post(fmt.Sprintf("w%d %d %d", week, i, j), "Corps.", 0)
				if err != nil && !errors.Is(err, errDied) && !errors.Is(err, errOff) {
					t.Fatal(err)
				}
				k.look()
			}
		}
		x.run(engine.Seconds(20))
		for _, n := range []*Node{x.ana, x.ben} {
			if n.off {
				must(t, n.Start())
			}
		}
		x.run(engine.Seconds(40))
		k.look()
		x.apart(7 * day)
	}
	if k.keys != 0 || len(k.by) < 200 || x.Counts["crash before commit"] < 10 || x.Counts["crash before sending"] < 10 {
		t.Fatalf("%d keys of %d used twice, %v", k.keys, len(k.by), x.Counts)
	}
	x.ana.DieAt(0, 0)
	x.ben.DieAt(0, 0)
	x.run(engine.Seconds(120))

	x.posts = nil // from here on, one phone forgets
	old := x.ben.Store.Clone()
	const sealed = 5 // by the phone, and by its copy before it hears anything
	for i := range sealed {
		x.post(x.ben, fmt.Sprint("last ", i), 0)
	}
	x.run(engine.Seconds(20))
	x.ben.Stop()
	x.posts = nil
	for _, blind := range []bool{false, true} {
		x.ben.Store, x.ben.shown = old.Clone(), map[string]int{}
		if blind { // it seals before it hears anything
			x.Cut(x.ana, x.ben)
			x.Cut(x.ben, x.ana)
			must(t, x.ben.Start())
			for i := range sealed {
				x.post(x.ben, fmt.Sprint("blind ", i), 0)
			}
			x.posts = nil
			k.look()
		} else {
			must(t, x.ben.Start())
		}
		x.together()
		x.run(engine.Seconds(120))
		for range 2 {
			if !x.ben.Engine.Frozen() {
				t.Fatalf("blind %v: an old copy goes on writing", blind)
			}
			if err := x.ben.Post("more", "Corps.", 0); !errors.Is(err, engine.ErrCopied) {
				t.Fatalf("blind %v: it writes: %v", blind, err)
			}
			x.ben.Stop()
			must(t, x.ben.Start())
		}
		k.look()
		x.run(8 * hour)
		if _, err := x.ben.See("last 4"); err != nil && !blind {
			t.Error("what it wrote later is not shown to it")
		}
		x.ben.Stop()
		if want := map[bool]int{false: 0, true: sealed}[blind]; k.keys != want || k.pairs != 0 {
			t.Errorf("blind %v: %d keys and %d pairs of key and nonce were used twice", blind, k.keys, k.pairs)
		}
	}
}
