package enginetest

import (
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// posted reads the original of the node's last message from its own storage.
func (n *Node) posted(t *testing.T) (last protocol.Original, c protocol.Content) {
	t.Helper()
	d := device(t, n).Public().ID()
	for _, b := range n.Store.rows[tableOfItems] {
		if o, x, err := protocol.ParseOriginal(b.value); err == nil && o.Device == d && x.DevSeq > c.DevSeq {
			last, c = o, x
		}
	}
	return last, c
}

// A member's phone gives ana originals of messages. One of its own that is well made is
// taken in once; one of somebody else's, or one that is false in any part, changes nothing.
func TestFalseOriginals(t *testing.T) {
	w, ana, ben, cam := organised(t)
	must(t, ben.Post("de ben", "Corps.", 0))
	must(t, cam.Post("de cam", "Corps.", 0))
	must(t, w.Run(engine.Seconds(30)))
	k, d, today := secrets(t, ben), device(t, ben), ana.Now().Day()
	o, c := ben.posted(t)
	others, _ := cam.posted(t)
	next := c
	next.DevSeq, next.PrevMsg = c.DevSeq+1, o.ID(ana.id)
	signed := func(change func(*protocol.Content)) protocol.Original {
		x := next
		change(&x)
		return protocol.SignOriginal(ana.id, k.Epoch(), d, 1_000, [4]byte{1}, x)
	}
	good := signed(func(*protocol.Content) {})
	forged := good
	forged.Sig[5] ^= 1
	elsewhere := good
	elsewhere.Generation++
	carried := func(b []byte) protocol.Frame { return protocol.SignFrame(ana.id, protocol.KindOriginal, d, b) }
	a := asMember(t, ana)
	give := func(f protocol.Frame, day protocol.Day) bool {
		before := len(ana.Store.names())
		envelope, err := epoch.CommonMailbox(k.Net(), day).Seal(f.Marshal())
		must(t, err)
		a.give(envelope)
		return len(ana.Store.names()) != before
	}
	for name, f := range map[string]protocol.Frame{
		"somebody else's":           carried(others.Marshal()),
		"a forged one":              carried(forged.Marshal()),
		"one of another place":      carried(elsewhere.Marshal()),
		"one with bytes behind it":  carried(append(good.Marshal(), 0)),
		"one that lives for ever":   carried(signed(func(x *protocol.Content) { x.ExpiresAt = x.CreatedAt + protocol.MaxNoticeSeconds + 1 }).Marshal()),
		"one of another day":        carried(signed(func(x *protocol.Content) { x.CreatedAt -= 2 * protocol.DaySeconds }).Marshal()),
		"one before its own author": carried(signed(func(x *protocol.Content) { x.GovHeads = nil }).Marshal()),
	} {
		if give(f, today) {
			t.Errorf("%s is kept", name)
		}
	}
	if give(carried(good.Marshal()), today+1) {
		t.Error("one in the mailbox of another day is kept")
	}
	if !give(carried(good.Marshal()), today) {
		t.Error("a good one is not kept")
	}
	id := good.ID(ana.id)
	if _, ok := ana.Store.rows[tableOfItems][string(id[:])]; !ok {
		t.Error("a good one is not taken in")
	}
	if give(carried(good.Marshal()), today) {
		t.Error("a good one is kept twice")
	}
	for _, m := range ana.Engine.Members() {
		if m.Twice {
			t.Errorf("%s said two things", m.Name)
		}
	}
	give(carried(signed(func(x *protocol.Content) { x.ExpiresAt-- }).Marshal()), today)
	if !twice(ana, ben) {
		t.Error("another one under its number is not noticed")
	}
	if twice(ana, cam) {
		t.Error("Cam said two things")
	}
}
