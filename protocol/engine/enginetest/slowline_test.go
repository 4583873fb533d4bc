package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Messages of spec 65 section 2 beside those that other tests name.
const (
	messageHave = 1
	messageLack = 4
)

// said counts what the node said of a kind on the link, in bytes and, where it is a
// list of ids, in ids.
func (a *attacker) said(kind byte) (messages, bytes, ids int) {
	for _, m := range a.got {
		if m[0] != kind {
			continue
		}
		messages++
		bytes += len(m) - 1
		var list []protocol.EnvelopeID
		if kind != messageGive && wire.Unmarshal(m[1:], len(m), &list) == nil {
			ids += len(list)
		}
	}
	return messages, bytes, ids
}

// Whoever asks for all at once is given what a line takes, and told that the rest is
// not there.
func TestHolderGivesWhatALineTakes(t *testing.T) {
	w := NewWorld(92)
	ana := w.Add("Ana")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	for i := range 300 {
		must(t, ana.Post(fmt.Sprintf("long %d", i), strings.Repeat("x", 10_000), 0))
	}
	_, envelopes := ana.stored(t, func(f protocol.Frame) bool { return f.Kind == protocol.KindMessage })
	var ids []protocol.EnvelopeID
	for _, e := range envelopes {
		if len(e) == 16_384 {
			ids = append(ids, protocol.IDOf(e))
		}
	}
	if len(ids) != 300 {
		t.Fatalf("%d envelopes of 16 KiB", len(ids))
	}
	a := asMember(t, ana)
	a.say(messageWant, wire.Marshal(ids))
	given, bytes, _ := a.said(messageGive)
	_, _, lacking := a.said(messageLack)
	if bytes > 4<<20-64<<10 || bytes < 3<<20 || given+lacking != 300 || a.closed {
		t.Fatalf("%d given, of %d bytes, %d lacking", given, bytes, lacking)
	}
}

// twoHolders is a node that lacks what two links say that they hold, and asked the
// first for it. Give has that one give the next of it, wait lets seconds pass.
func twoHolders(t *testing.T) (second *attacker, give func(), wait func(int64)) {
	w := NewWorld(93)
	ana, ben := w.Add("Ana"), w.Add("Ben")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	link, err := ana.Invite(engine.InviteParams{Uses: 1, AutoApprove: true})
	must(t, err)
	must(t, ben.Join(link))
	must(t, w.Run(engine.Seconds(60)))
	w.part([]*Node{ana}, []*Node{ben})
	for i := range 30 {
		must(t, ben.Post(fmt.Sprint("avis ", i), "Corps.", 0))
	}
	var lacking [][]byte
	var ids []protocol.EnvelopeID
	_, envelopes := ben.stored(t, func(f protocol.Frame) bool { return f.Kind == protocol.KindMessage })
	for _, e := range envelopes {
		if id := protocol.IDOf(e); !ana.holds(id) {
			lacking, ids = append(lacking, e), append(ids, id)
		}
	}
	first, second := asMember(t, ana), asMember(t, ana)
	first.say(messageHave, wire.Marshal(ids))
	second.say(messageHave, wire.Marshal(ids))
	if _, _, n := first.said(messageWant); n != 30 || len(ids) != 30 {
		t.Fatalf("%d of %d are asked for", n, len(ids))
	}
	if at := ana.wake; at == 0 || at > ana.Now()+engine.Seconds(10) {
		t.Fatalf("it is %d and the node wakes at %d", ana.Now(), at)
	}
	give = func() {
		first.say(messageGive, lacking[0])
		lacking = lacking[1:]
	}
	return second, give, func(seconds int64) {
		w.Now += engine.Seconds(seconds)
		second.step(engine.Tick{})
	}
}

// A holder on a slow line gives one after the other: nobody else is asked while it
// does, which would bring all of it twice. Once it gives nothing for 10 s another is.
func TestSlowLineIsWaitedFor(t *testing.T) {
	second, give, wait := twoHolders(t)
	for range 5 {
		wait(9)
		give()
	}
	wait(9)
	if _, _, n := second.said(messageWant); n != 0 {
		t.Fatalf("%d are asked for twice", n)
	}
	wait(1)
	if _, _, n := second.said(messageWant); n != 25 {
		t.Fatalf("another is asked for %d of the 25 that are lacking", n)
	}
}

// Nobody is waited for longer than two minutes: who gives one now and then would keep
// all else back.
func TestSlowLineIsNotWaitedForLong(t *testing.T) {
	second, give, wait := twoHolders(t)
	for range 13 {
		wait(9)
		give()
	}
	if _, _, n := second.said(messageWant); n != 0 {
		t.Fatalf("%d are asked for after %d s", n, 13*9)
	}
	wait(3)
	if _, _, n := second.said(messageWant); n != 17 {
		t.Fatalf("another is asked for %d of the 17 that are lacking after two minutes", n)
	}
}
