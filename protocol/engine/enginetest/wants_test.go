package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
)

// Ben hears of an envelope, and the link to who announced it ends before it is given.
// It counts as missing for as long as somebody may come who has it, and not for ever.
func TestHeardOfOnce(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	w.tap = func(from, to *Node, data []byte) bool { return from != ben || to != cam || data[0] != messageWant }
	l := w.linkOf(ben, cam)
	ben.step(engine.Hinted{Peer: l.id, IDs: []protocol.EnvelopeID{{1, 2, 3}}})
	w.Cut(ben, cam)
	w.Cut(cam, ben)
	must(t, w.Run(engine.Seconds(30)))
	if n := ben.Engine.Status().Missing; n != 1 {
		t.Fatalf("%d messages are missing", n)
	}
	w.Cut(ben, ana)
	w.Cut(ana, ben)
	must(t, w.Run(engine.Seconds(3600)))
	if n := ben.Engine.Status().Missing; n != 1 {
		t.Fatalf("%d messages are missing, while nobody is there", n)
	}
	w.tap = nil
	clear(w.cuts)
	must(t, w.Run(engine.Seconds(300)))
	if n := ben.Engine.Status().Missing; n != 1 {
		t.Errorf("%d messages are missing, and hardly anybody was asked", n)
	}
	must(t, w.Run(engine.Seconds(900)))
	if n := ben.Engine.Status().Missing; n != 0 {
		t.Errorf("%d messages are missing", n)
	}
	must(t, w.Check())
}
