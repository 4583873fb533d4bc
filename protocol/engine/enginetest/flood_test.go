package enginetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Spec 95 row 20: one device's junk fills its own share of an epoch and no more. Others
// are heard, the roster changes, also by operations of that same device.
func TestOneDeviceCannotFillTheDisk(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	k, d := secrets(t, ana), device(t, ana) // the worst: an organiser's
	// Ana herself hears nothing of it, or she would ask for the next epoch.
	for _, n := range []*Node{ben, cam} {
		w.Cut(ana, n)
		w.Cut(n, ana)
	}
	a := asMember(t, ben)
	flood := func(from, n, size int) (took int) {
		t.Helper()
		for i := range n {
			body := bytes.Repeat([]byte{1}, size)
			copy(body, fmt.Sprint("junk ", from+i))
			e := sealed(t, k, ben, protocol.SignFrame(ben.id, 200, d, body))
			a.give(e)
			if ben.holds(protocol.IDOf(e)) {
				took += len(e)
			}
		}
		return took
	}
	const share = 9 << 20
	took := flood(0, 200, 60_000) + flood(200, 100, 1_000) // the small ones fill what is left
	if took > share || took < share-16*protocol.BucketSmall {
		t.Fatalf("300 envelopes took %d bytes", took)
	}
	ben.Stop()
	must(t, ben.Start())
	must(t, w.Run(engine.Seconds(10)))
	a = asMember(t, ben)
	if took := flood(1_000, 20, 1_000); took > 0 {
		t.Errorf("a start made room for %d bytes more", took)
	}
	must(t, cam.Post("utile", "Corps.", 0))
	must(t, w.Run(engine.Seconds(5)))
	if _, err := ben.See("utile"); err != nil {
		t.Error("another author is not heard: ", err)
	}
	must(t, ana.Remove(cam))
	// In that very epoch the operation itself is taken.
	ops := 0
	for _, r := range ana.Store.rows[tableOfOps] {
		f, err := protocol.ParseFrame(r.value)
		must(t, err)
		e := sealed(t, k, ben, f)
		if a.give(e); ben.holds(protocol.IDOf(e)) {
			ops++
		}
	}
	if all := len(ana.Store.rows[tableOfOps]); ops != all || len(ben.Engine.Members()) != 2 {
		t.Errorf("of %d operations %d were taken, %d members", all, ops, len(ben.Engine.Members()))
	}
	w.Heal(ana, ben)
	must(t, w.Run(engine.Seconds(60)))
	if s := ben.Engine.Status(); s.Members != 2 || s.Epoch == 0 {
		t.Errorf("an operation of the full device did not count: %+v", s)
	}
	// The next epoch is a new share.
	must(t, ana.Post("après", "Corps.", 0))
	must(t, w.Run(engine.Seconds(5)))
	if _, err := ben.See("après"); err != nil {
		t.Error(err)
	}
}

// Spec 95 row 20, the other side: who has much to say is not cut short. The rest waits
// for the next epoch, for which the device asks in time.
func TestFullShareWaitsForTheNextEpoch(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	body := strings.Repeat("mot ", 2_900)
	for i := range 620 { // 9.7 MiB in envelopes of 16 KiB
		must(t, ben.Post(fmt.Sprint("n", i), body, 0))
	}
	if ben.Engine.Status().Epoch != 0 {
		t.Fatal("the epoch changed before anybody could hear of it")
	}
	must(t, w.Run(engine.Seconds(1_800)))
	for _, n := range []*Node{ana, ben} {
		if got := len(n.Engine.Notices(n.Now(), nil, true)); got != 620 || n.epoch() == 0 {
			t.Errorf("%s shows %d notices at epoch %d", n.Name, got, n.epoch())
		}
	}
	must(t, w.Check())
}
