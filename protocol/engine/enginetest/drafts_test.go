package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// TestDraftWaitsForEpoch is group keys section 4.3, fail closed: who has the
// removal and not the epoch that covers it sends nothing, keeps what is written
// over a restart, and sends it once the epoch is there.
func TestDraftWaitsForEpoch(t *testing.T) {
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := NewWorld(1)
	ana, ben, cam := w.Add("ana"), w.Add("ben"), w.Add("cam")
	ok(ana.Found("Jardin", group.DefaultPolicy(10)))
	l, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	ok(err)
	ok(ben.Join(l))
	ok(cam.Join(l))
	ok(w.Run(engine.Seconds(10)))
	for _, n := range []*Node{ana, ben} {
		w.Cut(n, cam)
		w.Cut(cam, n)
	}
	held := map[string]bool{}
	for _, k := range ana.Store.keys(tableOfEnvelopes) {
		held[k] = true
	}
	ok(ana.Remove(ben))
	// The operation alone comes to Cam, by a carrier that has nothing else.
	const carrier = engine.Peer(1 << 40)
	cam.step(engine.PeerUp{Peer: carrier, Class: engine.ClassMember, Tag: cam.gate.Accept[0].Tag})
	const kindAt = 32 + 4 + 32 // epoch, day, id (spec 65 section 7)
	brought := 0
	for _, k := range ana.Store.keys(tableOfEnvelopes) {
		if held[k] || protocol.FrameKind(k[kindAt]) != protocol.KindOp {
			continue
		}
		envelope := ana.Store.rows[tableOfEnvelopes][k].value
		cam.step(engine.Hinted{Peer: carrier, IDs: []protocol.EnvelopeID{protocol.IDOf(envelope)}})
		cam.step(engine.Received{Peer: carrier, Data: append([]byte{messageGive}, envelope...)})
		brought++
	}
	cam.step(engine.PeerDown{Peer: carrier})
	if brought == 0 || !cam.Engine.Waiting() || len(cam.Engine.Members()) != 2 {
		t.Fatalf("%d operations came, waiting is %t", brought, cam.Engine.Waiting())
	}
	ok(cam.Post("pendant", "Corps.", 0))
	ok(w.Run(engine.Seconds(5)))
	if _, err := cam.See("pendant"); err == nil {
		t.Fatal("it was sealed under an epoch that does not cover the removal")
	}
	cam.Stop()
	ok(cam.Start())
	if n := cam.Engine.Status().Unsent; n != 1 {
		t.Fatalf("%d messages wait after a restart", n)
	}
	ok(w.HealAll())
	ok(w.Run(engine.Seconds(60)))
	if _, err := ana.See("pendant"); err != nil {
		t.Error(err)
	}
	ok(w.Check()) // among others: Ben cannot read it
}
