package enginetest

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Spec 95 rows 46 and 47: whoever is not a member learns nothing by asking, hints and
// what does not open are never answered, and reading leaves no trace: neither
// on the wire nor on the disk.
func TestNoAnswersAndNoTraceOfReading(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	l, err := ana.Invite(engine.InviteParams{})
	must(t, err)
	must(t, ben.Post("avis", "Corps.", 0))
	must(t, w.Run(engine.Seconds(5)))
	var ids []protocol.EnvelopeID
	for id := range envelopesOf(ana) {
		ids = append(ids, id)
	}
	list := wire.Marshal(protocol.SortIDs(ids))
	id := l.ID()
	var tag [32]byte
	copy(tag[:], id[:])
	guest := attack(t, ana, engine.ClassInvite, tag)
	for range 100 {
		for _, kind := range []byte{1, 2, 4, 5, 6, 8, 9, messageCheck, messageChecked, 200} {
			guest.say(kind, list)
		}
		guest.say(messageCheck, question([16]byte{1}))
	}
	if len(guest.got) > 0 {
		t.Errorf("a guest was answered %d times", len(guest.got))
	}
	guest.say(7, wire.Marshal([]protocol.MailboxID{{1}, {2}}))
	for _, m := range guest.got {
		if m[0] == messageGive {
			t.Error("a guest was given what is in a mailbox that does not exist")
		}
	}
	late := attack(t, ana, engine.ClassCatchUp, ana.gate.Accept[0].Tag)
	late.say(messageWant, list)
	messages := 0
	for _, n := range late.got {
		if n[0] != messageGive {
			continue
		}
		plain, err := epoch.CommonMailbox(secrets(t, ana).Net(), ana.Now().Day()).Open(n[1:])
		if err != nil {
			continue
		}
		if f, _ := protocol.ParseFrame(plain); f.Kind == protocol.KindMessage || f.Kind == protocol.KindPresence {
			messages++
		}
	}
	if messages > 0 {
		t.Errorf("an older key was given %d messages", messages)
	}
	member := asMember(t, ana)
	for range 1_000 {
		member.step(engine.Hinted{Peer: member.id, IDs: ids})
	}
	if len(member.got) > 0 {
		t.Errorf("hints of what is held were answered %d times", len(member.got))
	}
	before := ana.Store.names()
	for range 10 {
		for _, v := range ana.Engine.Notices(ana.Now(), []string{"fr"}, true) {
			if _, err := ana.Engine.Notice(ana.Now(), v.Notice.String(), nil); err != nil {
				t.Fatal(err)
			}
		}
		ana.Engine.Members()
		ana.Engine.Requests()
		ana.Engine.Status()
	}
	if r := ana.Engine.Ready(); !r.Empty() || !slices.Equal(before, ana.Store.names()) {
		t.Errorf("reading asks for something to be done: %+v", r)
	}
}
